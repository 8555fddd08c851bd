"""What mistake explains how a learner and its reference part.

For each known mistake of a rule, the reference computes what the mistake leads to. A hint is given if the learner has
the same, from the first step up to the most steps of all mistakes. If no mistake explains the first wrong step, the
change of each part is compared with the expected one: its sign, a factor, nothing at all, or one kind of step alone.
"""

from typing import Any

import numpy as np

_EXACT = 1e-6  # to which a factor has to hold
_MOST = 3  # hints of one kind


def explain(steps: Any, by: Any, allowed: float, difference: Any) -> list[str]:
    """The hints of steps of which some are wrong. `difference(expected, found, start)` is an error."""
    first = next(t for t, step in enumerate(steps) if max(step.errors.values()) > allowed)
    reach = {name: _reach(steps, by, name, allowed, difference) for name in by.mistakes}
    best = max(reach.values(), default=0)
    if best > first:
        found = [name for name, steps_right in reach.items() if steps_right == best]
        more = (
            "" if best == len(steps) else f" (this explains the steps up to {best}; from there on another one is wrong)"
        )
        return [name + more for name in found[:_MOST]]
    return _patterns(steps, allowed)


def _reach(steps: Any, by: Any, mistake: str, allowed: float, difference: Any) -> int:
    """How many steps, from the first, are as the mistake makes them."""
    for t, step in enumerate(steps):
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a mistake may make a learner diverge
            expected = by.expected(step.at, mistake)
        if any(difference(array, step.found[name], step.state.get(name)) > allowed for name, array in expected.items()):
            return t
    return len(steps)


def _patterns(steps: Any, allowed: float) -> list[str]:
    """What is said of each name that is wrong, one line for all names of which the same is said."""
    names: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for step in steps for name in step.errors):
        wrong = [step for step in steps if step.errors.get(name, 0.0) > allowed]
        if wrong and (text := _pattern(name, wrong, steps)):
            names.setdefault(text, []).append(name)
    return [f"{', '.join(group)}: {text}" for text, group in names.items()][:_MOST]


def _pattern(name: str, wrong: list, steps: Any) -> str:
    at = _kind_of_step(name, wrong, steps)
    changes = [_changes(step, name) for step in wrong]
    expected = np.concatenate([e for e, _ in changes])
    found = np.concatenate([f for _, f in changes])
    if not expected.any():
        return f"it changes, though no change is expected{at}"
    if not any(step.expected[name].any() for step in wrong):
        return f"it is not set to zero{at}"
    if not found.any():
        return f"it does not change{at}"
    factors = found[expected != 0] / expected[expected != 0]
    factor = factors[0]
    if factors.size == 1:  # of which every change is some factor
        return f"it is wrong{at}" if at else ""
    if np.ptp(factors) <= _EXACT * abs(factor) and not np.isclose(factor, 1) and not found[expected == 0].any():
        if np.isclose(factor, -1):
            return f"its change has the wrong sign{at}"
        return f"its change is {factor:.6g} times what is expected{at}"
    return f"it is wrong{at}" if at else ""


def _changes(step: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The expected and the found change of an array."""
    start = np.ravel(step.state.get(name, 0.0 * step.found[name]))
    expected, found = np.ravel(step.expected[name]) - start, np.ravel(step.found[name]) - start
    known = ~np.isnan(expected)
    return expected[known], found[known]


def _kind_of_step(name: str, wrong: list, steps: Any) -> str:
    """In words, the kind of step of which all are wrong, and no others; "" if there is no such kind."""
    rows, at_fault = [step.row for step in steps if name in step.errors], [step.row for step in wrong]
    kinds = {
        " at steps that terminate": lambda row: bool(row.get("terminated")),
        " at steps that are truncated": lambda row: bool(row.get("truncated")) and not row.get("terminated"),
        " at the end of an episode": lambda row: any(bool(row.get(key)) for key in ("terminated", "truncated", "ends")),
    }
    for text, belongs in kinds.items():
        if all(map(belongs, at_fault)) and len(at_fault) == sum(map(belongs, rows)) < len(rows):
            return text
    return ""
