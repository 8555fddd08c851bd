"""Step sizes chosen without cheating: on seeds of their own, which take no part in what is reported.

A preset with `"tuning": {"step_sizes": ..., "seeds": ...}` has settings without a step size. Each is run with every
step size on the tuning seeds, for as many steps as are reported, since a step size that is best in a short run may
diverge in a long one. Of those with the fewest diverged runs, that with the smallest mean error is the setting's own,
and what is reported are runs on `seeds`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.engine.results import Config, Results

Preset = dict[str, Any]


def stages(preset: Preset) -> list[tuple[Callable[[Results], list[Config]], list[int]]]:
    """What is run one after the other: (results of the stage before -> settings, seeds)."""
    last = (lambda tried: chosen(preset, tried), list(preset["seeds"]))
    if "tuning" not in preset:
        return [last]
    return [(lambda _: trials(preset), list(preset["tuning"]["seeds"])), last]


def trials(preset: Preset) -> list[Config]:
    """The settings that are run on the tuning seeds."""
    step_sizes = preset["tuning"]["step_sizes"]
    return [{**setting, "step_size": step_size} for setting in preset["settings"] for step_size in step_sizes]


def chosen(preset: Preset, tried: Results) -> list[Config]:
    """The settings that are reported, each with its best step size; `tried` are the runs of `trials`, in that order."""
    if "tuning" not in preset:
        return preset["settings"]
    n = len(preset["tuning"]["step_sizes"])
    best = [min(tried[k : k + n], key=_badness)[0]["step_size"] for k in range(0, len(tried), n)]
    return [{**setting, "step_size": each} for setting, each in zip(preset["settings"], best, strict=True)]


def _badness(trial: tuple[Config, list[dict[str, np.ndarray]]]) -> tuple[int, float]:
    """Number of diverged runs, then mean error: a run that diverged near its end may have a small error still."""
    _, runs = trial
    return sum(bool(arrays["diverged"]) for arrays in runs), float(np.mean([arrays["msre"] for arrays in runs]))


def at_an_edge(preset: Preset, found: Results) -> list[str]:
    """A line that says for how many settings the best step size was the smallest or the largest tried."""
    if "tuning" not in preset:
        return []
    step_sizes = preset["tuning"]["step_sizes"]
    lines = []
    for name, edge in (("smallest", min(step_sizes)), ("largest", max(step_sizes))):
        count = sum(config["step_size"] == edge for config, _ in found)
        if count:
            lines.append(f"the {name} step size tried, {edge:g}, was the best for {count} of {len(found)} settings")
    return lines
