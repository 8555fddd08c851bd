"""Load the module of an experiment: by its dotted name, or from a file.

A file is loaded as a module with the name of the file, and its folder is the last that Python searches for what the
file imports. So nothing in that folder hides a package of ours, whatever its name. A process of a sweep loads the file
by the same path, in whatever folder it works.
"""

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from rtu_np.commands import HOME

_INSTALLED = {"site-packages", "dist-packages"}  # folders of installed packages
_loaded: dict[str, dict[str, str]] = {}  # {path of an experiment: {source file in its folder: hash when loaded}}
_appended: list[str] = []  # folders that this file added to Python's path


class ExperimentError(Exception):
    """There is no such experiment, or its module does not follow the protocol."""


def module_of(place: str) -> ModuleType:
    """The module at `place`, a dotted name or the path of a file. If it has been loaded, as it was loaded."""
    if not place.endswith(".py"):
        return importlib.import_module(place)
    module = sys.modules.get(Path(place).stem)
    return module if module is not None and _is_from(module, Path(place)) else _from_file(Path(place))


def renewed(place: str) -> bool:
    """Load a file of the user's again if it, or a module next to it, has changed on disk. Whether it has."""
    if not place.endswith(".py") or place not in _loaded or _loaded[place] == _sources(_loaded[place]):
        return False
    _forget(place)
    return True


def _forget(place: str) -> None:
    folder = Path(place).parent
    for name, module in list(sys.modules.items()):
        if _is_of_folder(module, folder):
            del sys.modules[name]
    importlib.invalidate_caches()
    _loaded.pop(place, None)
    if str(folder) in _appended:  # where modules of the same names may be
        _appended.remove(str(folder))
        sys.path[:] = [each for each in sys.path if each != str(folder)]


def _is_from(module: ModuleType, path: Path) -> bool:
    return bool(getattr(module, "__file__", None)) and Path(str(module.__file__)).resolve() == path.resolve()


def _is_of_folder(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    if not file:
        return False
    root = module.__name__.partition(".")[0]
    if root in ("rtu_np", "envs", "experiments", "__main__") or root in sys.stdlib_module_names:
        return False  # an interpreter may lie below the user's folder, too
    path = Path(file).resolve()
    return folder in path.parents and not _INSTALLED.intersection(path.parts)


def _sources(files: Iterable[str]) -> dict[str, str]:
    """{file: hash} of source files as they are on disk."""
    out = {}
    for file in files:
        try:
            out[file] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        except OSError:
            out[file] = "gone"
    return out


def _from_file(path: Path) -> ModuleType:
    """Load a file. ExperimentError says in one line why it cannot be."""
    path = path.resolve()
    name, folder = path.stem, str(path.parent)
    if not path.is_file():
        raise ExperimentError(f"{path} is not a file: expected the path of an experiment; `new {path.name}` writes one")
    if "." in name:
        raise ExperimentError(f"{path.name} is no name of a module: expected one without a dot before .py; rename it")
    if hidden := _taken_by(name, path):
        raise ExperimentError(f"{path.name} has the name of the module {hidden}: expected a name of its own; rename it")
    if folder not in sys.path:
        sys.path.append(folder)
        _appended.append(folder)
    before = set(sys.modules)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        # Not by the loader, which may take bytecode of an earlier text: two versions within a second have one date.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except Exception as error:
        for each in set(sys.modules) - before:
            if _is_of_folder(sys.modules[each], path.parent):
                del sys.modules[each]
        sys.modules.pop(name, None)
        raise ExperimentError(f"{line_of(error, path)}: {type(error).__name__}: {error}") from error
    files = [str(each.__file__) for each in list(sys.modules.values()) if _is_of_folder(each, path.parent)]
    _loaded[str(path)] = _sources(files)
    return module


def _taken_by(name: str, path: Path) -> str:
    """What else a file's name is the name of; empty if it is free."""
    if name in sys.stdlib_module_names:
        return f"{name} of Python"
    for place in [place for place in _loaded if Path(place).stem == name]:
        _forget(place)  # an experiment in another folder
    module = sys.modules.get(name)
    if module is not None:
        return "" if _is_from(module, path) else str(getattr(module, "__file__", name))
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return ""
    found = Path(spec.origin).resolve() if spec is not None and spec.origin else path
    is_installed = bool(_INSTALLED.intersection(found.parts)) or HOME in found.parents
    return str(found) if is_installed and found != path else ""


def line_of(error: Exception, path: Path) -> str:
    """FILE, line N: the deepest place of an error in the user's folder."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if str(path.parent) in frame.filename]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else str(path)
