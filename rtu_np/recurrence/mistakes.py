"""Known mistakes, each as the gradient that it would lead to.

A mistake is never guessed from the looks of an error: `hints.explain` names it if the gradient that it leads to is the
user's, for all numbers of steps that were checked.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from rtu_np.recurrence.linearised import Factor, Linearised, factors
from rtu_np.recurrence.references import Quantity, References
from rtu_np.recurrence.report import TRUNCATED, WRONG

NONE: frozenset[int] = frozenset()
LAST_OF_RESULT = "constant factors"


class Mistake(NamedTuple):
    """What it is, in words, and the derivative (numbers, parameters) that it leads to after T steps."""

    text: str
    gradients: dict[int, np.ndarray]
    kind: str = WRONG


def of_the_result(references: References) -> Iterator[Mistake]:
    """The right gradient, changed when it was returned."""
    right = {t + 1: value for t, value in enumerate(references.best)}
    params = references.recurrence.params
    yield Mistake("it is zero; is it never added up, or set to zero at the end?", {T: 0 * E for T, E in right.items()})
    yield Mistake("its sign is wrong", {T: -E for T, E in right.items()})

    def transposed(E: np.ndarray) -> np.ndarray:
        E = E.copy()
        for name, shape in params.shapes.items():
            if len(shape) == 2 and shape[0] == shape[1]:
                block = E[:, params.slices[name]].reshape(-1, *shape)
                E[:, params.slices[name]] = block.transpose(0, 2, 1).reshape(len(E), -1)
        return E

    yield Mistake("it is transposed", {T: transposed(E) for T, E in right.items()})
    names = list(params.shapes)
    for one in names:
        for other in names:
            if one != other and params.shapes[one] == params.shapes[other]:

                def swapped(E: np.ndarray, one: str = one, other: str = other) -> np.ndarray:
                    E = E.copy()
                    E[:, params.slices[one]] = E[:, params.slices[other]]
                    return E

                yield Mistake(f"it is the gradient by {other}", {T: swapped(E) for T, E in right.items()})


def of_a_parameter(references: References) -> Iterator[Mistake]:
    """A factor of the chain rule that depends on the parameter alone."""
    p = references.recurrence.params.flat
    with np.errstate(all="ignore"):
        sigmoid = 1 / (1 + np.exp(-p))
        known = {
            "exp(p)": np.exp(p),
            "-exp(p)": -np.exp(p),
            "-exp(-p)": -np.exp(-p),
            "p": p,
            "2 p": 2 * p,
            "sigmoid'(p)": sigmoid * (1 - sigmoid),
            "sigmoid(p)": sigmoid,
            "1 - tanh(p)²": 1 - np.tanh(p) ** 2,
            "-exp(p) exp(-exp(p))": -np.exp(p - np.exp(p)),
            "1 / p": 1 / p,
        }
        for word, factor in known.items():
            for text, times in ((f"the factor {word} is missing", 1 / factor), (f"the factor {word} is too much", factor)):
                if np.isfinite(times).all():
                    yield Mistake(
                        f"{text}, p being the parameter", {t + 1: E * times for t, E in enumerate(references.best)}
                    )


def of_time(references: References, quantity: Quantity) -> Iterator[Mistake]:
    """The gradient of another step, or of several."""
    best, steps = references.best, len(references.best)
    late = {T: best[T - 2] if T > 1 else 0 * best[0] for T in range(1, steps + 1)}
    yield Mistake("it is off by one step: the gradient after T - 1 steps", late)
    yield Mistake("it is off by one step: the gradient after T + 1 steps", {T: best[T] for T in range(1, steps)})
    sums = np.cumsum(best, axis=0)
    yield Mistake("it is the sum over all steps, and not of the last alone", {T: sums[T - 1] for T in range(1, steps + 1)})
    yield Mistake("it is the mean over all steps", {T: sums[T - 1] / T for T in range(1, steps + 1)})
    if quantity.dy is not None:
        ones = Quantity(quantity.recurrence, np.ones_like(quantity.dy))
        found = ones.by_differences()[0] if references.no_complex else ones.derivative()
        yield Mistake("dy is left out: it is the gradient of the sum of y", {t + 1: E for t, E in enumerate(found)})


def of_the_reach(lines: Linearised, lengths: list[int]) -> Iterator[Mistake]:
    """Steps that are left out, for so many steps."""
    ages = {T: lines.by_age(T) for T in lengths}
    for k in range(1, max(map(len, ages.values()))):
        text = (
            "it is truncated to 1 step: nothing is carried through the state"
            if k == 1
            else f"it is truncated to {k} steps: what parameters did before the last {k} is missing"
        )
        yield Mistake(text, {T: parts[:k].sum(axis=0) for T, parts in ages.items()}, f"{TRUNCATED} to {k}")
    yield Mistake("what the last step does directly is missing", {T: parts[1:].sum(axis=0) for T, parts in ages.items()})
    yield Mistake("what the first step does is missing", {T: parts[:-1].sum(axis=0) for T, parts in ages.items()})
    without = lines.gradients(lines.carried(), direct=False)
    yield Mistake("what the parameters do to y directly, and not through the state, is missing", without)


def of_resets(lines: Linearised, quantity: Quantity, references: References) -> Iterator[Mistake]:
    """The state forgets, and the gradient does not, or at another step."""
    r = lines.recurrence
    if not r.resets:
        return
    carried = lines.carried(resets=NONE)
    yield Mistake("sensitivities are not set to zero at a reset", lines.gradients(carried, NONE))
    whole = quantity.by_differences(NONE)[0] if references.no_complex else quantity.derivative(resets=NONE)
    yield Mistake("resets are left out", {t + 1: E for t, E in enumerate(whole)})
    for shift, word in ((1, "late"), (-1, "early")):
        moved = frozenset(t + shift for t in r.resets)
        yield Mistake(
            f"sensitivities are set to zero one step too {word}", lines.gradients(lines.carried(resets=moved), moved)
        )


def of_carrying(lines: Linearised) -> Iterator[Mistake]:
    """Another d state / d state, or another direct effect, than that of the step."""
    J = [step.state_by_state for step in lines.steps]
    F = [step.state_by_params for step in lines.steps]
    last = len(J) - 1

    def carried(text: str, by_state: Callable[[int], Any] | None, by_params: Callable[[int], Any] | None = None) -> Mistake:
        return Mistake(text, lines.gradients(lines.carried(by_state, by_params)))

    yield carried("d state / d state is transposed", lambda t: J[t].T)
    yield carried("d state / d state is left out: sensitivities are added up", lambda t: np.eye(len(J[t])))
    yield carried("d state / d state has the wrong sign", lambda t: -J[t])
    yield carried("of d state / d state only the diagonal is used", lambda t: np.diag(np.diag(J[t])))
    yield carried("d state / d state is that of the step before", lambda t: J[max(t - 1, 0)])
    yield carried("d state / d state is that of the next step", lambda t: J[min(t + 1, last)])
    through = "the direct effect goes through d state / d state of its own step, too"
    yield carried(through, None, lambda t: J[t] @ F[t])
    yield carried("the direct effect is that of the step before", None, lambda t: F[t - 1] if t else 0 * F[0])
    new = [lines.at(state, t) for t, state in enumerate(lines.states)]
    yield carried(
        "the derivatives are taken at the new state, and not at the state before the step",
        lambda t: new[t].state_by_state,
        lambda t: new[t].state_by_params,
    )
    yield carried("d state / d state is taken at the new state", lambda t: new[t].state_by_state)
    yield carried("the direct effect is taken at the new state", None, lambda t: new[t].state_by_params)


def of_products(lines: Linearised) -> Iterator[Mistake]:
    """In the product of a matrix with the state or the input."""
    J = [step.state_by_state for step in lines.steps]
    found = factors(lines)
    for factor, A in found:
        if factor.what == "x":
            yield from _of_an_input(lines, factor, A)
        else:
            yield from _of_a_state(lines, factor, A, J)
    yield from _without_slope(lines, found, J)


def _of_an_input(lines: Linearised, factor: Factor, A: list[np.ndarray]) -> Iterator[Mistake]:
    for shift, word in ((-1, "the step before"), (1, "the next step")):
        carried = lines.carried(None, lambda t, shift=shift: factor.direct(A[t], factor.b(t + shift), t))
        yield Mistake(f"the input of {word} is used", lines.gradients(carried))


def _of_a_state(lines: Linearised, factor: Factor, A: list[np.ndarray], J: list[np.ndarray]) -> Iterator[Mistake]:
    name = factor.name or "params"
    carried = lines.carried(None, lambda t: factor.direct(A[t], factor.new(t), t))
    yield Mistake("the new state is used where the state before the step is expected", lines.gradients(carried))
    carried = lines.carried(lambda t: J[t] - factor.path(A[t]))
    yield Mistake(
        f"d state / d state lacks the path through {name}: what {name} multiplies is treated as constant",
        lines.gradients(carried),
    )
    if len({*lines.recurrence.params.shapes[factor.name]}) == 1:
        carried = lines.carried(lambda t: J[t] - factor.path(A[t]) + factor.path(A[t], transposed=True))
        yield Mistake(f"{name} is transposed in d state / d state", lines.gradients(carried))


def _without_slope(
    lines: Linearised, found: list[tuple[Factor, list[np.ndarray]]], J: list[np.ndarray]
) -> Iterator[Mistake]:
    """f' = 1: each product, and each bias, acts on the state with slope 1."""
    slopes = [(A[0] != 0) * 1.0 for _, A in found]
    if not found or any((slope.sum(axis=1) > 1).any() or (slope.sum(axis=0) > 1).any() for slope in slopes):
        return
    params = lines.recurrence.params

    def direct(t: int) -> np.ndarray:
        F = lines.steps[t].state_by_params.copy()
        for (factor, _), slope in zip(found, slopes, strict=True):
            part = params.slices[factor.name]
            F[:, part] = factor.direct(slope, factor.b(t), t)[:, part]
        for name, part in params.slices.items():
            if len(params.shapes[name]) == 1:
                F[:, part] = F[:, part] != 0
        return F

    def by_state(t: int) -> np.ndarray:
        changed = J[t].copy()
        for (factor, A), slope in zip(found, slopes, strict=True):
            if factor.what != "x":
                changed += factor.path(slope) - factor.path(A[t])
        return changed

    text = "the derivative of the activation function is left out"
    yield Mistake(text, lines.gradients(lines.carried(by_state, direct)))
    yield Mistake(f"{text} of the direct effect", lines.gradients(lines.carried(None, direct)))
    yield Mistake(f"{text} of d state / d state", lines.gradients(lines.carried(by_state)))
