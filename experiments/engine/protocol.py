"""What an experiment is: a module that follows the protocol, found by the name that a user gives.

The protocol is on the page docs/own_sweep.md. A module needs `run` and `PRESETS`; what else it lacks,
`experiments.engine.plain` has.
"""

import difflib
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.engine import plain, selection
from experiments.engine.curves import Shown
from experiments.engine.modules import ExperimentError, line_of, module_of, renewed

PAGE = "docs/own_sweep.md"


class UnknownError(ExperimentError):
    """Nothing has the name that a user gives."""


class Experiment:
    """A module that follows the protocol. What it lacks has defaults, and its presets may be changed here."""

    def __init__(self, place: str, name: str, module: ModuleType) -> None:
        self.place, self.name, self.module = place, name, module
        self.PRESETS: dict[str, dict[str, Any]] = dict(getattr(module, "PRESETS", {}))
        self.changes: dict[str, dict[str, Any]] = {}  # {name of a changed preset: how}

    def labels(self, configs: list[dict[str, Any]]) -> list[str]:
        """The label of each of some settings; without a `label` of the module, what distinguishes them."""
        own = getattr(self.module, "label", None)
        return plain.labels(configs) if own is None else [own(config) for config in configs]

    def plot(self, results: list[tuple[dict[str, Any], list[dict[str, Any]]]]) -> Any:
        """The figure of some results: the module's own, of the runs or of their table; or that of `plain`."""
        if own := getattr(self.module, "draw_curves", None):
            return own(self.shown(results))
        if own := getattr(self.module, "plot", None):
            return own(results)
        if draw := getattr(self.module, "draw", None):
            return draw([config for config, _ in results], self.score(results))
        return plain.plot(results)

    def shown(self, results: list[tuple[dict[str, Any], list[dict[str, Any]]]]) -> Shown:
        """What the figure shows of some results, for `draw_curves`; empty if the module draws in another way."""
        if not hasattr(self.module, "draw_curves"):
            return []
        return [{"seeds": len(results[0][1]), **each} for each in self.module.curves(results)]

    def __getattr__(self, word: str) -> Any:
        found = getattr(self.module, word, _DEFAULTS.get(word, self))
        if found is self:
            raise AttributeError(word)
        return found


_DEFAULTS: dict[str, Any] = {
    "label": plain.label,
    "describe": plain.describe,
    "score": plain.score,
    "stages": selection.stages,
    "SCORES": None,
    "JOBS": None,
}


def experiment_at(place: str) -> Experiment:
    """The experiment of a task. Its module is not checked."""
    return Experiment(place, place, module_of(place))


def find(given: str, known: Mapping[str, str]) -> Experiment:
    """The experiment that a user names: one of `known` {name: module}, a dotted module, or the path of a file.

    Raises
    ------
    ExperimentError : in one line, if there is no such experiment, or if its module does not follow the protocol
    """
    if given in known:
        return checked(Experiment(known[given], given, importlib.import_module(known[given])))
    by_module = {module: name for name, module in known.items()}
    if given in by_module:
        return find(by_module[given], known)
    if given.endswith(".py") or "/" in given or "\\" in given:
        path = Path(given).expanduser().resolve()
        if path.stem in known:
            raise ExperimentError(f"{given} has the name of the experiment {path.stem}: expected another; rename it")
        renewed(str(path))
        place = str(path)
    else:
        place = given
        if str(Path.cwd()) not in sys.path:  # the command rtu-np does not look there first, so that nothing is hidden
            sys.path.append(str(Path.cwd()))
    try:
        module = module_of(place)
    except ImportError as error:
        missing = getattr(error, "name", None) or ""
        if missing and (given == missing or given.startswith(f"{missing}.")):
            raise UnknownError(_unknown(given, known)) from error
        raise ExperimentError(f"{given} cannot be imported: {error}") from error
    except ExperimentError:
        raise
    except Exception as error:
        raise ExperimentError(f"{line_of(error, Path(given))}: {type(error).__name__}: {error}") from error
    return checked(Experiment(place, module.__name__, module))


def _unknown(given: str, known: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(given, known, 3, 0.6)
    if Path(f"{given}.py").is_file():
        near.insert(0, f"{given}.py")
    meant = f" (did you mean {' or '.join(near)}?)" if near else ""
    return f"NAME is {given!r}{meant}: expected {', '.join(known)}, a dotted module, or the path of a file of your own"


def checked(experiment: Experiment) -> Experiment:
    """`experiment`, if its module follows the protocol; else ExperimentError names what it lacks."""
    where, module = experiment.name, experiment.module
    file = Path(str(getattr(module, "__file__", where))).name
    if not callable(getattr(module, "run", None)):
        raise ExperimentError(f"{file} has no `run`: expected run(config, seed), which returns arrays; {PAGE}")
    if len(_positional(module.run)) < 2:
        raise ExperimentError(f"run of {file} takes {len(_positional(module.run))} arguments: expected config and seed")
    if hasattr(module, "draw_curves") and not callable(getattr(module, "curves", None)):
        raise ExperimentError(f"{file} has `draw_curves` and no `curves`: expected curves(results); {PAGE}")
    presets = getattr(module, "PRESETS", None)
    if not isinstance(presets, dict) or not presets:
        raise ExperimentError(f"{file} has no `PRESETS`: expected {{name: {{'settings': ..., 'seeds': ...}}}}; {PAGE}")
    for name, preset in presets.items():
        if fault := _fault(preset, hasattr(module, "stages")):
            raise ExperimentError(f"PRESETS[{name!r}] of {file} {fault}; {PAGE}")
    return experiment


def _positional(function: Callable) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a function that is not of Python
        return ["config", "seed"]
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return ["config", "seed"]
    return [each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]


def _fault(preset: Any, has_stages: bool) -> str:
    """What is wrong with a preset; empty if nothing is."""
    if not isinstance(preset, dict):
        return f"is {preset!r}: expected {{'settings': ..., 'seeds': ...}}"
    seeds = preset.get("seeds")
    if not _are_seeds(seeds):
        return f"has seeds {seeds!r}: expected whole numbers of at least 0, such as range(5)"
    if has_stages:
        return ""
    settings = preset.get("settings")
    if not isinstance(settings, list | tuple) or not settings or not all(isinstance(each, dict) for each in settings):
        return f"has settings {settings!r}: expected a list of dicts, one for each row of the table"
    for k, setting in enumerate(settings):
        if fault := _not_plain(setting, f"settings[{k}]"):
            return fault
    tuning = preset.get("tuning")
    if tuning is not None and not (
        isinstance(tuning, dict) and tuning.get("step_sizes") and _are_seeds(tuning.get("seeds"))
    ):
        return f"has tuning {tuning!r}: expected {{'step_sizes': [...], 'seeds': range(1000, 1002)}}"
    return ""


def _are_seeds(seeds: Any) -> bool:
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        return False
    listed = list(seeds)
    return bool(listed) and all(type(each) is int and each >= 0 for each in listed)


def _not_plain(value: Any, place: str) -> str:
    """What in a setting JSON cannot hold; a run's folder is named by a hash of the setting's JSON."""
    if isinstance(value, dict):
        found = [_not_plain(part, f"{place}[{name!r}]") for name, part in value.items()]
        return next((text for text in found if text), "")
    if isinstance(value, list | tuple):
        return next((text for k, part in enumerate(value) if (text := _not_plain(part, f"{place}[{k}]"))), "")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return (
            f"has {place} = {value!r}: expected plain data; rtu_np.checkpoint.describe(...) makes it of a cell or an "
            "optimiser, and float(...) or int(...) of a number of NumPy"
        )
    return ""
