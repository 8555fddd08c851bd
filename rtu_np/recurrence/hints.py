"""Which known mistake explains the error of a gradient, if one does."""

from collections.abc import Iterator

import numpy as np

from rtu_np.recurrence import mistakes
from rtu_np.recurrence.linearised import Linearised
from rtu_np.recurrence.mistakes import Mistake
from rtu_np.recurrence.references import Quantity, References
from rtu_np.recurrence.report import WRONG

Values = dict[int, np.ndarray]  # by the number of steps: (numbers, parameters)
_EXPLAINED = 1e-3  # a mistake explains an error if no more than this part of it is left
_FEWEST = 2  # so many numbers may not agree by chance


def explain(
    quantity: Quantity, references: References, values: Values, wrong: dict[str, int], tolerance: float
) -> dict[str, Mistake]:
    """For each array of the names in `wrong`, which has the first number of steps T, the mistake that explains it."""
    found: dict[str, Mistake] = {}
    evidence = _Evidence(references, values, tolerance)
    for mistake in _known(quantity, references, values):
        for name in wrong.keys() - found.keys():
            if evidence.shows(mistake, references.recurrence.params.slices[name]):
                found[name] = mistake
        if len(found) == len(wrong):
            break
        if mistake.text == mistakes.LAST_OF_RESULT:
            found |= {n: m for n in wrong.keys() - found.keys() if (m := evidence.factor(n)) is not None}
    for name in wrong.keys() - found.keys():
        found[name] = Mistake(evidence.part(name, wrong[name]), {})
    return found


def _known(quantity: Quantity, references: References, values: Values) -> Iterator[Mistake]:
    """From the simplest on; the step's own derivatives are computed only if these do not explain it."""
    yield from mistakes.of_the_result(references)
    yield Mistake(mistakes.LAST_OF_RESULT, {})
    yield from mistakes.of_a_parameter(references)
    yield from mistakes.of_time(references, quantity)
    lines = Linearised(quantity, references.way)
    yield from mistakes.of_the_reach(lines, sorted(values))
    yield from mistakes.of_resets(lines, quantity, references)
    yield from mistakes.of_products(lines)
    yield from mistakes.of_carrying(lines)


class _Evidence:
    """The user's gradient next to the right one."""

    def __init__(self, references: References, values: Values, tolerance: float) -> None:
        self._references, self._values, self._tolerance = references, values, tolerance

    def shows(self, mistake: Mistake, part: slice) -> bool:
        """Whether the mistake leads to the user's gradient in these columns, for all T that both have."""
        compared = 0
        for T in self._values.keys() & mistake.gradients.keys():
            given, right = self._values[T][:, part], self._references.best[T - 1][:, part]
            error = np.abs(given - right).max()
            rounding = 10 * self._tolerance * max(self._references.scale(T - 1)[part].max(), np.abs(given).max())
            left = np.abs(given - mistake.gradients[T][:, part]).max()
            if not left <= _EXPLAINED * error + rounding:
                return False
            if error > rounding:
                compared += np.count_nonzero(right)
        return compared >= _FEWEST

    def factor(self, name: str) -> Mistake | None:
        """One factor for all numbers, or one for each parameter that does not change with time."""
        part = self._references.recurrence.params.slices[name]
        both = {T: (given[:, part], self._references.best[T - 1][:, part]) for T, given in self._values.items()}
        last, steps = both[max(both)], max(both)
        if not last[1].any():
            return None
        for by, times in (("", lambda T: 1.0), ("T", float), ("1 / T", lambda T: 1.0 / T)):
            c = float((last[0] * last[1]).sum() / (last[1] * last[1]).sum()) / times(steps)
            gradients = {T: self._widened(c * times(T) * E, part) for T, (_, E) in both.items()}
            size = sum(np.count_nonzero(E) for _, E in both.values())
            if by and len(both) < 2:
                continue
            if size > _FEWEST and self.shows(Mistake("", gradients), part):
                return Mistake(f"it is {_number(c, by, self._sizes(name))} what is expected", gradients)
        with np.errstate(all="ignore"):
            each = np.where(last[1] != 0, last[0] / last[1], 0.0)
        if len(both) > 2 and sum(bool(E.any()) for _, E in both.values()) > 2:
            gradients = {T: self._widened(each * E, part) for T, (_, E) in both.items()}
            if self.shows(Mistake("", gradients), part):
                return Mistake("each entry is off by a factor that does not change with time; is a factor missing that "
                               f"depends on the parameter alone? ({_first(each)} for the first entry)", gradients)
        return None

    def _widened(self, columns: np.ndarray, part: slice) -> np.ndarray:
        """(numbers, all parameters)"""
        out = np.zeros((len(columns), self._references.recurrence.params.size))
        out[:, part] = columns
        return out

    def _sizes(self, name: str) -> dict[str, int]:
        r = self._references.recurrence
        axes = {f"the length of axis {k} of {name}": n for k, n in enumerate(r.params.shapes[name])}
        return {"the size of the state": r.state.size, "the size of y": r.y.size, "the number of steps": r.steps} | axes

    def part(self, name: str, wrong: int) -> str:
        """Which part of the recursion is wrong, as no known mistake explains it."""
        part = self._references.recurrence.params.slices[name]
        tested = [T for T in sorted(self._values) if self._references.best[T - 1][:, part].any()]
        unknown = "no known mistake explains it"
        if len(self._values) == 1 or not tested:
            return unknown
        if wrong <= tested[0]:
            return f"{unknown}; it is wrong at once, at T = {wrong}, so the direct effect of the parameter is"
        if wrong - 1 in self._references.recurrence.resets:
            return f"{unknown}; it is right up to T = {wrong - 1}, and wrong after the reset there"
        return f"{unknown}; it is right up to T = {wrong - 1}, so the direct effect is, and d state / d state may be wrong"


def _number(c: float, by: str, sizes: dict[str, int]) -> str:
    if by:
        return f"{c:.6g} times {by}, times"
    for word, size in sizes.items():
        if size > 1 and abs(c - size) < 1e-6 * size:
            return f"{c:.6g} times ({word})"
        if size > 1 and abs(c * size - 1) < 1e-6:
            return f"1/{size} of (divided by {word}?)"
    return f"{c:.6g} times"


def _first(each: np.ndarray) -> str:
    return f"{each.ravel()[0]:.6g}"
