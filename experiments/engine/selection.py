"""Step sizes are chosen on seeds that are not reported.

A preset with `"tuning": {"step_sizes": ..., "seeds": ...}` has settings without a step size. Each setting is run with
every step size on the tuning seeds. These runs have as many steps as the reported runs, since a step size that is best
in a short run may diverge in a long one; if that takes too long, `"tuning"` also has the number of their `"steps"`. The
step sizes with the fewest diverged runs are compared, and the best one is chosen: the one with the largest mean
`final`, the return of an agent, or with the smallest mean `msre`, the error of a prediction. The reported runs use this
step size and the preset's `seeds`.

An experiment with other stages has a function `stages(preset)` of its own, which replaces the one here.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.engine.results import Config, Results

Preset = dict[str, Any]
# A stage: a function from the results of all earlier stages to the stage's settings, and the seeds of its runs.
Stage = tuple[Callable[[list[Results]], list[Config]], list[int]]


def stages(preset: Preset) -> list[Stage]:
    """The stages of a preset, in order. The results of the last stage are reported."""
    settings, seeds = preset["settings"], list(preset["seeds"])
    if "tuning" not in preset:
        return [(lambda _: settings, seeds)]
    tuning = preset["tuning"]
    return [
        (lambda _: trials(settings, tuning), list(tuning["seeds"])),
        (lambda earlier: chosen(settings, earlier[-1]), seeds),
    ]


def trials(settings: list[Config], tuning: dict[str, Any]) -> list[Config]:
    """The settings of the runs on the tuning seeds: each of `settings` with each step size.

    Examples
    --------
    >>> trials([{"method": "a", "steps": 900}], {"step_sizes": [0.1, 0.2], "steps": 100})
    [{'method': 'a', 'steps': 100, 'step_size': 0.1}, {'method': 'a', 'steps': 100, 'step_size': 0.2}]
    """
    shorter = {"steps": tuning["steps"]} if "steps" in tuning else {}
    return [{**setting, **shorter, "step_size": each} for setting in settings for each in tuning["step_sizes"]]


def chosen(settings: list[Config], tried: Results) -> list[Config]:
    """Each of `settings` with its best step size. `tried` has the runs of `trials`, in the same order."""
    n = len(tried) // len(settings)
    best = [min(tried[k : k + n], key=lambda trial: rank(trial[1]))[0]["step_size"] for k in range(0, len(tried), n)]
    return [{**setting, "step_size": each} for setting, each in zip(settings, best, strict=True)]


def rank(runs: list[dict[str, np.ndarray]]) -> tuple[int, float]:
    """What orders the trials of one setting, the best first: (number of diverged runs, mean error or negative return).

    A run that diverges near its end may still have a small error, or a large return. What is not a number, as the
    return of a run in which no episode ended, is the worst.

    Examples
    --------
    >>> runs = {"diverged": np.array(False), "final": np.array(3)}, {"diverged": np.array(True), "final": np.array(5)}
    >>> rank(list(runs))
    (1, -4.0)
    """
    if "final" in runs[0]:
        loss = -float(np.mean([arrays["final"] for arrays in runs]))
    else:
        loss = float(np.mean([arrays["msre"] for arrays in runs]))
    return sum(bool(arrays["diverged"]) for arrays in runs), np.inf if np.isnan(loss) else loss


def divergences(seeds: list[int], found: Results) -> dict[str, Any]:
    """How many runs of a stage diverged, also by step size, as plain data.

    Examples
    --------
    >>> runs = [{"diverged": np.array(True)}, {"diverged": np.array(False)}]
    >>> divergences([7, 8], [({"step_size": 0.1}, runs)])
    {'seeds': [7, 8], 'runs': 2, 'diverged': 1, 'by step size': {'0.1': 1}}
    """
    counted: Counter[str | None] = Counter()
    for config, runs in found:
        step_size = f"{config['step_size']:g}" if "step_size" in config else None
        counted[step_size] += sum(bool(arrays.get("diverged", False)) for arrays in runs)
    by_step_size = {name: n for name, n in counted.items() if n and name is not None}
    n_runs = sum(len(runs) for _, runs in found)
    return {"seeds": seeds, "runs": n_runs, "diverged": sum(counted.values()), "by step size": by_step_size}


def at_an_edge(preset: Preset, found: Results) -> list[str]:
    """Lines that count the settings whose best step size is the smallest tried, or the largest."""
    step_sizes = preset.get("tuning", {}).get("step_sizes")
    if not step_sizes:  # nothing is tuned, or by stages of the experiment's own
        return []
    lines = []
    for name, edge in (("smallest", min(step_sizes)), ("largest", max(step_sizes))):
        count = sum(config.get("step_size") == edge for config, _ in found)
        if count:
            lines.append(f"the {name} step size tried, {edge:g}, was the best for {count} of {len(found)} settings")
    return lines
