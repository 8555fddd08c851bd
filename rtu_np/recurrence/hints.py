"""Which known mistake explains the error of a gradient, if one does."""

from collections.abc import Iterator
from itertools import chain

import numpy as np

from rtu_np.recurrence import mistakes
from rtu_np.recurrence.linearised import Linearised
from rtu_np.recurrence.mistakes import Mistake
from rtu_np.recurrence.references import Quantity, References

Values = dict[int, np.ndarray]  # by the number of steps: (numbers, parameters)
_EXPLAINED = 1e-3  # a mistake explains an error if no more than this part of it is left
_ROUNDED = 1e-5  # a relative error below this may be rounding
_FEWEST = 2  # so many numbers may not agree by chance


def explain(
    quantity: Quantity, references: References, values: Values, wrong: dict[str, int], tolerance: float
) -> dict[str, Mistake]:
    """For each array of the names in `wrong`, which has the first number of steps T, the mistake that explains it."""
    found: dict[str, Mistake] = {}
    evidence = _Evidence(references, values, tolerance)
    for k, group in enumerate(_known(quantity, references, values)):
        with np.errstate(all="ignore"):  # a mistake may lead to states that the user's function is not made for
            for mistake in group:
                for name in wrong.keys() - found.keys():
                    if evidence.shows(mistake, references.recurrence.params.slices[name]):
                        found[name] = mistake
                if len(found) == len(wrong):
                    return found
            if k == 0:
                found |= {name: known for name in wrong.keys() - found.keys() if (known := evidence.factor(name))}
    for name in wrong.keys() - found.keys():
        found[name] = evidence.own_factors(name) or Mistake(evidence.part(name, wrong[name]), {})
    return found


def _known(quantity: Quantity, references: References, values: Values) -> Iterator[Iterator[Mistake]]:
    """From the simplest on; the step's own derivatives are computed only if these do not explain it."""
    yield chain(mistakes.of_the_result(references), mistakes.of_a_parameter(references))
    yield mistakes.of_time(references, quantity)
    lines = Linearised(quantity, references.way)
    yield mistakes.of_the_reach(lines, sorted(values))
    yield mistakes.of_resets(lines, quantity, references)
    yield mistakes.of_products(lines)
    yield mistakes.of_carrying(lines)


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
                compared += int(np.count_nonzero(right))
        return compared >= _FEWEST

    def factor(self, name: str) -> Mistake | None:
        """One factor for all numbers: the same for all T, or T or 1 / T times the same."""
        part, both = self._both(name)
        given, right = both[max(both)]
        if not right.any() or sum(np.count_nonzero(E) for _, E in both.values()) <= _FEWEST:
            return None
        ratio = float((given * right).sum() / (right * right).sum())
        for by, power in (("", 0), ("T", 1), ("1 / T", -1))[: 1 if len(both) == 1 else 3]:
            c = ratio * float(max(both)) ** -power
            gradients = {T: self._widened(c * float(T) ** power * E, part) for T, (_, E) in both.items()}
            known = Mistake(f"it is {_number(c, by, self._sizes(name))} what is expected", gradients)
            if self.shows(known, part):
                return known
        return None

    def own_factors(self, name: str) -> Mistake | None:
        """A factor for each parameter that does not change with time."""
        part, both = self._both(name)
        given, right = both[max(both)]
        if sum(bool(E.any()) for _, E in both.values()) < 3:
            return None
        with np.errstate(all="ignore"):
            each = np.where(right != 0, given / right, 0.0)
        known = Mistake(
            "each entry is off by a factor of its own that does not change with time; is a factor missing that depends "
            f"on parameters alone? (the first entry is {each.ravel()[0]:.6g} times what is expected)",
            {T: self._widened(each * E, part) for T, (_, E) in both.items()},
        )
        return known if self.shows(known, part) else None

    def _both(self, name: str) -> tuple[slice, dict[int, tuple[np.ndarray, np.ndarray]]]:
        part = self._references.recurrence.params.slices[name]
        return part, {T: (given[:, part], self._references.best[T - 1][:, part]) for T, given in self._values.items()}

    def _widened(self, columns: np.ndarray, part: slice) -> np.ndarray:
        """(numbers, all parameters)"""
        out = np.zeros((len(columns), self._references.recurrence.params.size))
        out[:, part] = columns
        return out

    def _sizes(self, name: str) -> dict[str, int]:
        r = self._references.recurrence
        axes = {f"the length of axis {k} of {name}": n for k, n in enumerate(r.params.shapes[name])}
        return {"the size of the state": r.state.size, "the size of y": r.y.size, "the number of steps": r.steps} | axes

    def _error(self, T: int, part: slice) -> float:
        apart = np.abs(self._values[T] - self._references.best[T - 1]) / self._references.scale(T - 1)
        return float(apart[:, part].max(initial=0.0))

    def part(self, name: str, wrong: int) -> str:
        """Which part of the recursion is wrong, as no known mistake explains it."""
        part = self._references.recurrence.params.slices[name]
        tested = [T for T in sorted(self._values) if self._references.best[T - 1][:, part].any()]
        unknown = "no known mistake explains it"
        if all(self._error(T, part) < _ROUNDED for T in self._values):
            return f"{unknown}; is something computed in float32, or by differences? It is that small"
        if len(self._values) == 1 or not tested:
            return unknown
        if wrong <= tested[0]:
            return f"{unknown}; it is wrong at once, at T = {wrong}, so the direct effect of the parameter is"
        if wrong - 1 in self._references.recurrence.resets:
            return f"{unknown}; it is right up to T = {wrong - 1}, and wrong after the reset there"
        return (
            f"{unknown}; it is right up to T = {wrong - 1}, so the direct effect is, and d state / d state may be wrong"
        )


def _number(c: float, by: str, sizes: dict[str, int]) -> str:
    """A factor c, or c T, or c / T, in words."""
    if by:
        return f"{by} times" if abs(c - 1) < 1e-6 else f"{c:.6g} * {by} times"
    for word, size in sizes.items():
        if size > 1 and abs(c - size) < 1e-6 * size:
            return f"{size} times (by {word}?)"
        if size > 1 and abs(c * size - 1) < 1e-6:
            return f"1 / {size} times (divided by {word}?)"
    return f"{c:.6g} times"
