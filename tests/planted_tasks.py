"""Copies of an environment's file with a bug planted in them."""

import importlib.util
import sys
import types
from pathlib import Path

import envs

FOLDER = Path(envs.__file__).parent


def planted(file: str, old: str, new: str) -> types.ModuleType:
    """The module of envs/`file` with `old` replaced; its dynamics have types of their own."""
    text = (FOLDER / file).read_text()
    assert old in text, f"nothing to plant the bug in: {old!r}"
    name = f"planted_{Path(file).stem}"
    spec = importlib.util.spec_from_loader(name, loader=None)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # NamedTuple looks there for annotations
    try:
        exec(compile(text.replace(old, new), file, "exec"), module.__dict__)
    finally:
        del sys.modules[name]
    return module
