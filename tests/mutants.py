"""Copies of the package with a bug planted in them: what a check must find."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest

import rtu_np


@pytest.fixture
def mutant(tmp_path, monkeypatch):
    """A function that makes a copy of the package with replacements in one file, or in more, and imports it."""

    def make(file, replacements, *more):
        planted = {file: replacements, **dict(more)}
        name = "mutant" + "".join(filter(str.isalnum, tmp_path.name))
        folder = tmp_path / name
        shutil.copytree(Path(rtu_np.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
        for source in folder.rglob("*.py"):
            text = source.read_text()
            for old, new in planted.get(str(source.relative_to(folder)), ()):
                assert old in text, f"nothing to plant the bug in: {old!r}"
                text = text.replace(old, new)
            source.write_text(text.replace("rtu_np", name))
        monkeypatch.syspath_prepend(tmp_path)
        yield_to = importlib.import_module(name)
        made.append(name)
        return yield_to

    made: list[str] = []
    yield make
    for name in [module for module in sys.modules if any(module.split(".")[0] == n for n in made)]:
        del sys.modules[name]


def rebuilt(package, settings):
    """The same cell, of another package's classes."""
    if isinstance(settings, tuple):
        return tuple(rebuilt(package, each) for each in settings)
    if not hasattr(settings, "__dataclass_fields__"):
        return settings
    own = {name: rebuilt(package, getattr(settings, name)) for name in settings.__dataclass_fields__}
    return getattr(package, type(settings).__name__)(**own)
