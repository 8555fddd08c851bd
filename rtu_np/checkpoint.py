"""Checkpoints: named arrays and a page of JSON in one .npz file, written atomically.

Nothing is pickled, so loading a file executes nothing, and NumPy can read it without this package:
`numpy.load(path, allow_pickle=False)`.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import field, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rtu_np import archive
from rtu_np.validation import plain_number

VERSION = 3  # 3: rows of memory are padded
_SETTINGS = "settings.json"
_COUNTS = ("n_inputs", "n_hidden", "n_outputs", "n", "nvec")  # sizes of cells, readouts and spaces
_KINDS: dict[str, type] = {}  # the dataclasses that a file may name


def offer(kinds: Iterable[Any]) -> None:
    """Let files name these dataclasses, each by its own name. Kinds that are not dataclasses are ignored."""
    _KINDS.update({kind.__name__: kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)})


def place(path: str | os.PathLike) -> Path:
    """The file that `save` and `load` mean by `path`. A leading `~` is expanded.

    A name without a suffix gets `.npz`, unless something other than a folder has exactly this name.

    Examples
    --------
    >>> place("agents/best").as_posix()
    'agents/best.npz'
    >>> place("agents/best.before").as_posix()
    'agents/best.before'
    """
    path = Path(os.path.expanduser(os.fspath(path)))
    exact = path.suffix or not path.name or path.is_symlink() or (path.exists() and not path.is_dir())
    return path if exact else path.with_suffix(".npz")


def save(path: str | os.PathLike, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    """Write a checkpoint to `place(path)`, and return that. The file is written completely, or not at all."""
    written = place(path)
    page = json.dumps({"format": "rtu_np", "version": VERSION, **settings})
    archive.write(written, {_SETTINGS: np.frombuffer(page.encode(), np.uint8), **arrays})
    return written


def load(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(settings, arrays) of the checkpoint `place(path)`.

    Raises
    ------
    ValueError : if the file is truncated, damaged or of another program, or if `path` is not a file
    OSError : what the system says: the file is missing, or may not be read
    """
    try:
        arrays = archive.read(place(path))
        if _SETTINGS not in arrays:
            raise ValueError(f"it has no {_SETTINGS}")
        settings = _parsed(arrays.pop(_SETTINGS).tobytes())
    except ValueError as error:
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
            f"expected format {VERSION}, in which settings, parameters or memory are stored otherwise. Load it with "
            "the version that wrote it, or train again; numpy.load(path) still reads its arrays"
        )
    if version != VERSION:
        raise ValueError(
            f"path {os.fspath(path)!r} has checkpoint format {version!r}: expected {VERSION}; was it written by a "
            "newer version of rtu_np?"
        )
    return settings, arrays


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its settings are nested too deeply") from error


@contextmanager
def building(path: str | os.PathLike, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Iterator[None]:
    """A block that builds a learner from the `settings` of the file `path`: if it cannot, ValueError names the file.

    A network has at least one number for each unit, input and action. So a size that exceeds the count of all numbers
    of the file is refused before anything is allocated.
    """
    try:
        largest = sum(array.size for array in arrays.values())
        for name, size in _sizes(settings):
            if size > largest:
                raise ValueError(f"{name} is {size}, and the file holds {largest} numbers in all; is it damaged?")
        with np.errstate(over="ignore", invalid="ignore"):  # a bound of a space that its type cannot hold
            yield
    except MemoryError as error:
        raise ValueError(
            f"path {os.fspath(path)!r} holds settings that this machine has no memory for, or that are damaged: {error}"
        ) from error
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        missing = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"path {os.fspath(path)!r} holds settings that cannot be built: {missing}") from error


def _sizes(settings: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """(name, size) of every size among settings that stand in any depth."""
    if isinstance(settings, dict):
        if settings.get("name", "") not in ("", *_KINDS):
            return  # another program's cell, whose words may mean anything
        for key, value in settings.items():
            yield from _sizes(value, key)
    elif isinstance(settings, list):
        for value in settings:
            yield from _sizes(value, name)
    elif isinstance(settings, int) and name in _COUNTS:
        yield name, settings


_ADDED = "added"  # in the metadata of a dataclass's field


def added(default: Any) -> Any:
    """The default of a setting that a dataclass got later. A description leaves it out at its default.

    So what was described earlier has the same description now: the runs of experiments are named by it.
    """
    return field(default=default, metadata={_ADDED: True})


def _settings(part: Any) -> Iterator[tuple[str, Any]]:
    for each in fields(part):
        value = getattr(part, each.name)
        if not (_ADDED in each.metadata and value == each.default):
            yield each.name, value


def shown(part: Any) -> str:
    """The `__repr__` of a dataclass with settings that are `added`: without those at their defaults."""
    return f"{type(part).__name__}({', '.join(f'{name}={value!r}' for name, value in _settings(part))})"


def name_of_function(function: Any) -> str:
    """Its name, for messages; of a partial function, that of the function in it; of an object, that of its class.

    Examples
    --------
    >>> name_of_function(partial(sorted, reverse=True))
    'sorted'
    """
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def describe(part: Any) -> Any:
    """The name and the settings of a dataclass, and of the dataclasses among its settings; of a function, its name.

    Of a partial function, that of the function in it, with what it has been given.
    """
    if isinstance(part, tuple):
        return [describe(each) for each in part]
    if isinstance(part, partial):
        given = [*map(repr, part.args), *(f"{name}={value!r}" for name, value in part.keywords.items())]
        return f"{describe(part.func)}({', '.join(given)})"
    if callable(part) and not is_dataclass(part):
        named = part if hasattr(part, "__qualname__") else type(part)
        return f"{named.__module__}.{named.__qualname__}"
    if not is_dataclass(part):
        return plain_number(part)
    return {"name": type(part).__name__, **{name: describe(value) for name, value in _settings(part)}}


def build(role: str, description: dict[str, Any]) -> Any:
    """The dataclass that `describe` described. A file can name only kinds passed to `offer`, and imports nothing."""
    if not isinstance(description, dict) or not isinstance(description.get("name"), str):
        raise ValueError(f"{role} is {description!r}: expected a name and settings")
    settings = dict(description)
    name = settings.pop("name")
    kind = _KINDS.get(name)
    if kind is None:
        raise ValueError(f"{role} {name!r} is not part of rtu_np; pass it: {role}=...")
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
                "was it saved by a learner of another size, or by an earlier version?"
            )
    for name, view in views.items():
        view[...] = arrays[name]
