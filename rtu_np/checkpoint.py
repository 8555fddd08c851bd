"""Checkpoints: named arrays and a page of JSON in one .npz file, written atomically.

Nothing is pickled, so loading a file executes nothing, and NumPy can read it without this package:
`numpy.load(path, allow_pickle=False)`.
"""

import json
import os
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 2
_SETTINGS = "settings.json"
_KINDS: dict[str, type] = {}  # the dataclasses that a file may name


def offer(kinds: Iterable[Any]) -> None:
    """Let files name these dataclasses, each by its own name. Kinds that are not dataclasses are ignored."""
    _KINDS.update({kind.__name__: kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)})


def save(path: str | os.PathLike, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    """Write a checkpoint to `path`. An existing file is replaced only when the new one is complete."""
    path = Path(path)
    page = json.dumps({"format": "rtu_np", "version": VERSION, **settings})
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **{_SETTINGS: np.frombuffer(page.encode(), np.uint8)}, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return path


def load(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(settings, arrays) of a checkpoint. ValueError if the file is truncated, damaged or of another program."""
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
            settings = json.loads(arrays.pop(_SETTINGS).tobytes())
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"path {os.fspath(path)!r} is not a whole rtu_np checkpoint ({error}): expected a file written by save(); "
            "was the copy cut short, or is it another program's file?"
        ) from error
    if not isinstance(settings, dict) or settings.get("format") != "rtu_np":
        raise ValueError(f"path {os.fspath(path)!r} is an .npz file of another program: expected one written by save()")
    version = settings.get("version")
    if isinstance(version, int) and version < VERSION:
        raise ValueError(
            f"path {os.fspath(path)!r} was written by an older version of rtu_np (checkpoint format {version}): "
            f"expected format {VERSION}, in which settings and parameters have other names. Load it with the version "
            "that wrote it, or train again; numpy.load(path) still reads its arrays"
        )
    if version != VERSION:
        raise ValueError(
            f"path {os.fspath(path)!r} has checkpoint format {version!r}: expected {VERSION}; was it written by a "
            "newer version of rtu_np?"
        )
    return settings, arrays


def describe(part: Any) -> Any:
    """The name and the settings of a dataclass, and of the dataclasses among its settings."""
    if isinstance(part, tuple):
        return [describe(each) for each in part]
    if not is_dataclass(part):
        return part
    return {"name": type(part).__name__, **{f.name: describe(getattr(part, f.name)) for f in fields(part)}}


def build(role: str, description: dict[str, Any]) -> Any:
    """The dataclass that `describe` described. A file can name only kinds passed to `offer`, and imports nothing."""
    settings = dict(description)
    name = settings.pop("name")
    kind = _KINDS.get(name)
    if kind is None:
        raise ValueError(f"{role} {name!r} is not part of rtu_np; pass it to load(): load(path, {role}=...)")
    for key, value in settings.items():
        if isinstance(value, list):
            settings[key] = tuple(build(role, each) for each in value)
        elif isinstance(value, dict):
            settings[key] = build(role, value)
    return kind(**settings)


def restore(path: str | os.PathLike, views: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> None:
    """Copy `arrays` into the `views` of the same names. ValueError before any copy, if one does not fit."""
    if views.keys() != arrays.keys():
        misfits = ", ".join(sorted(views.keys() ^ arrays.keys()))
        raise ValueError(
            f"path {os.fspath(path)!r} has other arrays than this learner ({misfits}); was it saved by another learner?"
        )
    for name, view in views.items():
        array = arrays[name]
        if array.shape != view.shape or array.dtype != view.dtype:
            raise ValueError(
                f"path {os.fspath(path)!r}: {name} is {array.dtype} {array.shape}, expected {view.dtype} {view.shape}; "
                "was it saved by a learner of another size?"
            )
    for name, view in views.items():
        view[...] = arrays[name]
