"""Step sizes are chosen on seeds that are not reported.

A preset with `"tuning": {"step_sizes": ..., "seeds": ...}` has settings without a step size. Each setting is run with
every step size on the tuning seeds. These runs have as many steps as the reported runs, since a step size that is best
in a short run may diverge in a long one. The step sizes with the fewest diverged runs are compared, and the one with
the smallest mean error is chosen. The reported runs use this step size and the preset's `seeds`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.engine.results import Config, Results

Preset = dict[str, Any]


def stages(preset: Preset) -> list[tuple[Callable[[Results], list[Config]], list[int]]]:
    """The stages of a preset, in order: (a function from the previous stage's results to settings, seeds)."""
    last = (lambda tried: chosen(preset, tried), list(preset["seeds"]))
    if "tuning" not in preset:
        return [last]
    return [(lambda _: trials(preset), list(preset["tuning"]["seeds"])), last]


def trials(preset: Preset) -> list[Config]:
    """The settings of the runs on the tuning seeds."""
    step_sizes = preset["tuning"]["step_sizes"]
    return [{**setting, "step_size": step_size} for setting in preset["settings"] for step_size in step_sizes]


def chosen(preset: Preset, tried: Results) -> list[Config]:
    """The reported settings, each with its best step size. `tried` has the runs of `trials`, in the same order."""
    if "tuning" not in preset:
        return preset["settings"]
    n = len(preset["tuning"]["step_sizes"])
    best = [min(tried[k : k + n], key=_divergence_and_error)[0]["step_size"] for k in range(0, len(tried), n)]
    return [{**setting, "step_size": each} for setting, each in zip(preset["settings"], best, strict=True)]


def _divergence_and_error(trial: tuple[Config, list[dict[str, np.ndarray]]]) -> tuple[int, float]:
    """(number of diverged runs, mean error). A run that diverges near its end may still have a small error."""
    _, runs = trial
    return sum(bool(arrays["diverged"]) for arrays in runs), float(np.mean([arrays["msre"] for arrays in runs]))


def at_an_edge(preset: Preset, found: Results) -> list[str]:
    """Lines that count the settings whose best step size is the smallest tried, or the largest."""
    if "tuning" not in preset:
        return []
    step_sizes = preset["tuning"]["step_sizes"]
    lines = []
    for name, edge in (("smallest", min(step_sizes)), ("largest", max(step_sizes))):
        count = sum(config["step_size"] == edge for config, _ in found)
        if count:
            lines.append(f"the {name} step size tried, {edge:g}, was the best for {count} of {len(found)} settings")
    return lines
