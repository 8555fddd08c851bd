"""Known mistakes, each as the gradient that it would lead to.

A mistake is never guessed from the looks of an error: `hints.explain` names it if the gradient that it leads to is the
user's, for all numbers of steps that were checked.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from rtu_np.recurrence.linearised import Linearised
from rtu_np.recurrence.products import Factor, Preactivation, preactivations
from rtu_np.recurrence.references import Quantity, References
from rtu_np.recurrence.report import TRUNCATED, WRONG

NONE: frozenset[int] = frozenset()
ByStep = Callable[[int], np.ndarray]


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
            for text, times in (
                (f"the factor {word} is missing", 1 / factor),
                (f"the factor {word} is too much", factor),
            ):
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
    yield Mistake(
        "it is the sum over all steps, and not of the last alone", {T: sums[T - 1] for T in range(1, steps + 1)}
    )
    yield Mistake("it is the mean over all steps", {T: sums[T - 1] / T for T in range(1, steps + 1)})
    if quantity.dy is not None:
        ones = Quantity(quantity.recurrence, np.ones_like(quantity.dy))
        found = ones.by_differences()[0] if references.no_complex else ones.derivative()
        yield Mistake("dy is left out: it is the gradient of the sum of y", {t + 1: E for t, E in enumerate(found)})


def of_the_reach(lines: Linearised, lengths: list[int]) -> Iterator[Mistake]:
    """Steps that are left out, for so many steps."""
    few = {*lengths[:8], *(T for T in lengths if T & (T - 1) == 0), lengths[-1]}  # by age they need T times the memory
    ages = {T: lines.by_age(T) for T in few}
    yield Mistake("what the first step does is missing", {T: parts[:-1].sum(axis=0) for T, parts in ages.items()})
    for k in range(1, max(map(len, ages.values()))):
        text = (
            "it is truncated to 1 step: nothing is carried through the state"
            if k == 1
            else f"it is truncated to {k} steps: what parameters did before the last {k} is missing"
        )
        yield Mistake(text, {T: parts[:k].sum(axis=0) for T, parts in ages.items()}, f"{TRUNCATED} to {k}")
    yield Mistake(
        "what the last step does directly is missing", {T: parts[1:].sum(axis=0) for T, parts in ages.items()}
    )
    yield Mistake(
        "it is not added up: only what the first step does is there", {T: parts[-1] for T, parts in ages.items()}
    )
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


class _Carrying:
    """Mistakes in how sensitivities are carried: with another J, or another F, than those of the step."""

    def __init__(self, lines: Linearised) -> None:
        self.lines = lines
        self.J = [step.state_by_state for step in lines.steps]
        self.F = [step.state_by_params for step in lines.steps]

    def mistake(self, text: str, by_state: ByStep | None, by_params: ByStep | None = None) -> Mistake:
        return Mistake(text, self.lines.gradients(self.lines.carried(by_state, by_params)))


def of_carrying(lines: Linearised) -> Iterator[Mistake]:
    """Another d state / d state, or another direct effect, than that of the step."""
    carrying = _Carrying(lines)
    J, F, mistake = carrying.J, carrying.F, carrying.mistake
    last, one = len(J) - 1, np.eye(len(J[0]))
    yield mistake("d state / d state is transposed", lambda t: J[t].T)
    yield mistake("d state / d state is left out: sensitivities are added up", lambda t: one)
    yield mistake("d state / d state has the wrong sign", lambda t: -J[t])
    yield mistake("d state / d state has 1 too much on its diagonal; is += written for =?", lambda t: J[t] + one)
    yield mistake("of d state / d state only the diagonal is used", lambda t: np.diag(np.diag(J[t])))
    yield mistake("d state / d state is that of the step before", lambda t: J[max(t - 1, 0)])
    yield mistake("d state / d state is that of the next step", lambda t: J[min(t + 1, last)])
    yield mistake("the direct effect goes through d state / d state of its step, too", None, lambda t: J[t] @ F[t])
    yield mistake("the direct effect is that of the step before", None, lambda t: F[t - 1] if t else 0 * F[0])
    new = [lines.at(state, t) for t, state in enumerate(lines.states)]
    both = (lambda t: new[t].state_by_state), (lambda t: new[t].state_by_params)
    yield mistake("the derivatives are taken at the new state, and not at the state before the step", *both)
    yield mistake("d state / d state is taken at the new state", both[0])
    yield mistake("the direct effect is taken at the new state", None, both[1])


def of_products(lines: Linearised) -> Iterator[Mistake]:
    """In the product of a matrix with the state or the input, or in what is computed from the sum of such products."""
    carrying = _Carrying(lines)
    J = carrying.J
    found = preactivations(lines)
    for z in found:
        for factor in z.factors:
            yield from _of_an_input(carrying, z, factor) if factor.of_input else _of_a_state(carrying, z, factor)
        yield from _of_a_slope(carrying, z)
    paths = [sum((z.path(t) for z in found), np.zeros_like(J[0])) for t in range(len(J))]
    text = "d state / d state lacks what the state does to the next without a matrix"
    yield carrying.mistake(text, lambda t: paths[t])
    yield carrying.mistake("d state / d state lacks all paths through matrices", lambda t: J[t] - paths[t])


def _of_an_input(carrying: _Carrying, z: Preactivation, factor: Factor) -> Iterator[Mistake]:
    for word, inputs in (
        ("the step before", lambda t: factor.b(t - 1)),
        ("the next step", lambda t: factor.b(t + 1)),
    ):

        def direct(t: int, inputs: ByStep = inputs) -> np.ndarray:
            return factor.direct(z.effect[t], inputs(t), t)

        yield carrying.mistake(f"the input of {word} is used", None, direct)


def _of_a_state(carrying: _Carrying, z: Preactivation, factor: Factor) -> Iterator[Mistake]:
    J, A, name = carrying.J, z.effect, factor.name or "params"
    text = "the new state is used where the state before the step is expected"
    yield carrying.mistake(text, None, lambda t: factor.direct(A[t], factor.new(t), t))
    text = f"d state / d state lacks the path through {name}: what {name} multiplies is treated as constant"
    yield carrying.mistake(text, lambda t: J[t] - factor.path(A[t]))
    if factor.square:
        text = f"{name} is transposed in d state / d state"
        yield carrying.mistake(text, lambda t: J[t] - factor.path(A[t]) + factor.path(A[t], transposed=True))


def _of_a_slope(carrying: _Carrying, z: Preactivation) -> Iterator[Mistake]:
    """The derivative by a preactivation is multiplied by something else."""

    def three(text: str, ratios: list[np.ndarray]) -> Iterator[Mistake]:
        def by_state(t: int) -> np.ndarray:
            return carrying.J[t] - z.path(t) + z.path(t, ratios[t])

        def direct(t: int) -> np.ndarray:
            return z.direct(t, ratios[t])

        yield carrying.mistake(text, by_state, direct)
        yield carrying.mistake(f"{text}, in the direct effect", None, direct)
        yield carrying.mistake(f"{text}, in d state / d state", by_state)

    yield from three(f"the derivative by {z.text} has the wrong sign", [-np.ones_like(v) for v in z.values])
    for name, (function, slope, slope_of_value) in _SLOPES.items():
        wrong: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            f"the derivative of {name} is left out": np.ones_like,
            f"the derivative of {name} is computed as if {z.text} were its value": slope_of_value,
            **{
                f"the derivative of {name} is written as {word}": written
                for word, (whose, written) in _WRITTEN.items()
                if whose != name
            },
        }
        right = [slope(v) for v in z.values]
        at_value = [slope(function(v)) / at for v, at in zip(z.values, right, strict=True)]
        yield from three(f"the derivative of {name} is taken at its value, and not at {z.text}", at_value)
        for text, slopes in wrong.items():
            yield from three(text, [slopes(v) / at for v, at in zip(z.values, right, strict=True)])


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


# The function, its derivative, and the derivative from the function's value.
_SLOPES: dict[str, tuple[Callable, Callable, Callable]] = {
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2, lambda y: 1 - y * y),
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * _sigmoid(-z), lambda y: y * (1 - y)),
}
# What is written in the place of a derivative, and of which function it is the right one.
_WRITTEN: dict[str, tuple[str, Callable]] = {
    "1 - tanh²": ("tanh", lambda z: 1 - np.tanh(z) ** 2),
    "1 - tanh": ("", lambda z: 1 - np.tanh(z)),
    "1 + tanh²": ("", lambda z: 1 + np.tanh(z) ** 2),
    "tanh": ("", np.tanh),
    "sigmoid (1 - sigmoid)": ("sigmoid", lambda z: _sigmoid(z) * _sigmoid(-z)),
    "sigmoid": ("", _sigmoid),
    "1 - sigmoid": ("", lambda z: _sigmoid(-z)),
}
