"""What a sweep would do: its runs, those that are finished, and minutes on this machine. Nothing is written.

The minutes of a setting come from, in this order:

1. its finished runs, of whatever code, in the output folder;
2. finished runs there of settings that differ from it in `steps` and in numbers with a point only, in proportion to the
   steps, if they have at least a tenth of its steps;
3. short runs of it, here and now, in one process: each has four times the steps of the one before, until one takes a
   second, much of it for its steps. The last two give the seconds per step, and the seconds of a run besides. Of two
   runs of each length the faster counts, since the first may load compiled code, and fill memory, that the second has.

What takes long to time is timed for some settings only; the others count as the mean of those. A setting without
`steps` cannot be shortened, and only its finished runs say how long it takes.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from joblib import cpu_count

from experiments.engine import results, sweep
from experiments.engine.plain import leaves
from experiments.engine.protocol import Experiment
from rtu_np import progress

SHOWN = 12  # settings that a plan lists
FIRST, FACTOR = 200, 4  # steps of the first short run, and how much longer the next is
ENOUGH = 1.0  # seconds of a run that is long enough to time
SHARE = 0.3  # of it is for its steps, at least: how long it takes to make an agent varies
LIKE = 10  # a run of at least a tenth of the steps says how long a longer one takes
BUDGET = 30.0  # seconds for all short runs
# Stands for a run that is not finished, where a later stage chooses among them: all are as good. Which settings that
# stage has depends on the choice, and how many it has, and how long they take, hardly does.
LEVEL = {"final": np.array(0.0), "msre": np.array(1.0), "diverged": np.array(False)}


class CannotRunError(Exception):
    """A short run of a setting raises."""


def plan(
    experiment: Experiment,
    preset: str,
    output: Path,
    jobs: int | None,
    is_finished: Callable[[sweep.Task], bool],
    arrays_of: Callable[[sweep.Task], dict[str, np.ndarray]],
) -> list[str]:
    """The lines of a plan. `is_finished(task)` says whether a run counts, and `arrays_of(task)` loads it.

    CannotRunError if a setting fails in a short run.
    """
    stages = experiment.stages(experiment.PRESETS[preset])
    lines, earlier, waiting = [], list[results.Results](), list[sweep.Task]()
    is_known = True  # whether the runs of the earlier stages are all finished, so that they have chosen
    for k, (settings, seeds) in enumerate(stages, 1):
        name = f"stage {k} of {len(stages)}: " if len(stages) > 1 else ""
        configs = _configs(settings, earlier)
        if configs is None:
            seconds = "its minutes are not included"
            lines.append(f"{name}its settings depend on the results of the earlier stages; {_seeds(seeds)}; {seconds}")
            continue
        tasks = sweep.plan(experiment.place, configs, seeds, output)
        done = [is_known and is_finished(task) for task in tasks]
        made = sum(done)
        of = f"{len(configs)} setting{'s' * (len(configs) != 1)} with {_seeds(seeds)}"
        finished = f"{made} finished, {len(tasks) - made} to make"
        finished = finished if is_known else "the earlier stages choose them, so which are finished is not known"
        lines.append(f"{name}{len(tasks)} runs: {of}; {finished}")
        for j, task in enumerate(tasks[: min(SHOWN, len(configs))] if is_known else []):
            lines.append(f"  {task.setting}: {sum(done[j :: len(configs)])} of {len(seeds)} finished")
        if len(configs) > SHOWN and is_known:
            lines.append(f"  and {len(configs) - SHOWN} more settings")
        waiting += [task for task, each in zip(tasks, done, strict=True) if not each]
        is_known = made == len(tasks)
        runs = [arrays_of(task) for task in tasks] if is_known and k < len(stages) else [LEVEL] * len(tasks)
        earlier.append([(config, runs[i :: len(configs)]) for i, config in enumerate(configs)])
    at_once = min(jobs or experiment.JOBS or cpu_count(), max(len(waiting), 1))
    return [*lines, _minutes(experiment, waiting, output, at_once)]


def _configs(settings: Callable, earlier: list[results.Results]) -> list[results.Config] | None:
    """The settings of a stage. None if `earlier` lacks what it needs: another array of a run that is not finished."""
    try:
        return settings(earlier)
    except (IndexError, KeyError, ZeroDivisionError):
        return None


def _seeds(seeds: list[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    whole = list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"seeds {seeds[0]} to {seeds[-1]}" if whole else f"seeds {', '.join(map(str, seeds))}"


# --------------------------------------------------------------------------------------------------------- minutes


def _minutes(experiment: Experiment, waiting: list[sweep.Task], output: Path, at_once: int) -> str:
    if not waiting:
        return "nothing is left to make"
    finished = _Finished(output)
    began, timed, guessed = time.perf_counter(), dict[str, tuple[float, float]](), list[int]()
    seconds: list[float | None] = []
    sources = {"finished runs of the same setting": 0, "finished runs of like settings": 0, "short runs made now": 0}
    for k, task in enumerate(waiting):
        setting, steps, kind = task.settings, task.settings.get("steps"), _kind(task.settings)
        took = finished.same(setting)
        source = "finished runs of the same setting"
        if took is None and (per_step := finished.like(setting)) is not None:
            took, source = per_step * int(steps or 0), "finished runs of like settings"
        if took is None and type(steps) is int and steps > 0:
            if kind not in timed and (not timed or time.perf_counter() - began < BUDGET):
                timed[kind] = _line(experiment, task)
            source = "short runs made now"
            if kind not in timed:
                guessed.append(k)
            fixed, per_step = timed[kind] if kind in timed else np.mean(list(timed.values()), axis=0)
            took = float(fixed + per_step * steps)
        seconds.append(took)
        sources[source] += took is not None
    known = [each for each in seconds if each is not None]
    unknown = len(seconds) - len(known)
    if not known:
        return "no estimate of minutes: no run is finished, and settings without `steps` cannot be shortened"
    total = sum(known)
    wall = max(total / at_once, max(known)) / 60
    text = f"{_short(wall)} on this machine with {at_once} run{'s' * (at_once != 1)} at a time"
    text += f", {_short(total / 60)} of one core, without starting processes and compiling. Base: "
    text += ", ".join(f"{name} for {n}" for name, n in sources.items() if n)
    if guessed:
        text += f" ({len(timed)} settings were timed; {len(guessed)} runs of others count as their mean)"
    if unknown:
        text += f"; {unknown} runs are left out: none of them is finished, and their settings have no `steps`"
    return text


def _short(minutes: float) -> str:
    if minutes >= 100:
        return f"about {minutes / 60:.2g} hours"
    return f"about {minutes:.2g} minutes" if minutes >= 0.1 else "less than 0.1 minutes"


def _kind(setting: results.Config) -> str:
    """A setting without steps and the numbers that do not decide how long a step takes: those with a point."""
    flat = leaves(setting)
    return json.dumps({k: v for k, v in flat.items() if k != "steps" and not isinstance(v, float)}, sort_keys=True)


class _Finished:
    """The seconds of the finished runs below a folder."""

    def __init__(self, output: Path) -> None:
        self._same: dict[str, list[float]] = {}
        self._like: dict[str, list[tuple[int, float]]] = {}  # steps and seconds per step
        for path in output.glob("*/seed-*/manifest.json"):
            try:
                page = json.loads(path.read_text())
                setting, seconds = page["settings"], float(page["seconds"]) - float(page.get("compiling", 0.0))
            except (OSError, ValueError, KeyError, TypeError):
                continue
            self._same.setdefault(json.dumps(setting, sort_keys=True), []).append(seconds)
            if type(steps := setting.get("steps")) is int and steps > 0:
                self._like.setdefault(_kind(setting), []).append((steps, seconds / steps))

    def same(self, setting: results.Config) -> float | None:
        found = self._same.get(json.dumps(setting, sort_keys=True))
        return float(np.median(found)) if found else None

    def like(self, setting: results.Config) -> float | None:
        steps = setting.get("steps")
        known = self._like.get(_kind(setting), []) if type(steps) is int else []
        found = [per_step for made, per_step in known if made * LIKE >= int(steps or 0)]
        return float(np.median(found)) if found else None


def _seconds(experiment: Experiment, task: sweep.Task, steps: int) -> float:
    """How long a run of so many steps takes, without compiling."""
    began = time.perf_counter() - progress.seconds_compiling()
    try:
        results.as_arrays(experiment.run({**task.settings, "steps": steps}, task.seed))
    except Exception as error:
        raise CannotRunError(
            f"{experiment.label(task.settings)}: a run of {steps} steps fails: {type(error).__name__}: {error}"
        ) from error
    return time.perf_counter() - progress.seconds_compiling() - began


def _line(experiment: Experiment, task: sweep.Task) -> tuple[float, float]:
    """(seconds of a run besides its steps, seconds per step) of a setting, from short runs of it."""
    steps, whole = FIRST, task.settings["steps"]
    earlier = 0, 0.0
    while True:
        steps = min(steps, whole)
        took = min(_seconds(experiment, task, steps) for _ in range(2))  # the first may load what the second has
        if steps == whole:
            return 0.0, took / steps
        if took >= ENOUGH and earlier[0] and took - earlier[1] >= SHARE * took:
            per_step = (took - earlier[1]) / (steps - earlier[0])
            return max(took - per_step * steps, 0.0), per_step
        earlier, steps = (steps, took), steps * FACTOR
