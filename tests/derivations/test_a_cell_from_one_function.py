"""A cell from one function: (88) to (90)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tolerances import COMPLEX_STEP

from derivations.calculus import Array, Parameters, by_complex_step, error

N, D, STEPS = 4, 3, 6


class Dual:
    """A value and its tangents; each operation is (88) with its two slopes."""

    def __init__(self, value: float, tangents: Array) -> None:
        self.value, self.tangents = value, tangents

    def apply(self, value: float, by_own: float, other: "Dual | None" = None, by_other: float = 0.0) -> "Dual":
        return Dual(value, by_own * self.tangents + (by_other * other.tangents if other else 0.0))

    def __add__(self, other: "Dual") -> "Dual":
        return self.apply(self.value + other.value, 1.0, other, 1.0)

    def __mul__(self, other: "Dual") -> "Dual":
        return self.apply(self.value * other.value, other.value, other, self.value)

    def __truediv__(self, other: "Dual") -> "Dual":
        y = self.value / other.value
        return self.apply(y, 1 / other.value, other, -y / other.value)

    def exp(self) -> "Dual":
        return self.apply(np.exp(self.value), np.exp(self.value))

    def tanh(self) -> "Dual":
        return self.apply(np.tanh(self.value), 1 - np.tanh(self.value) ** 2)


def unit(h: Any, a: Any, b: Any, one: Any) -> Any:
    """A unit with two gates: any numbers that know +, *, /, exp and tanh."""
    u = one / (one + b.exp() if isinstance(b, Dual) else one + np.exp(b))
    return u * h + (u * h * a).tanh() if isinstance(h, Dual) else u * h + np.tanh(u * h * a)


def test_eq88_dual_numbers() -> None:
    rng = np.random.default_rng(88)
    at = rng.standard_normal(3)
    dual = unit(*(Dual(v, e) for v, e in zip(at, np.eye(3), strict=True)), Dual(1.0, np.zeros(3)))
    expected = by_complex_step(lambda q: unit(*q["at"], 1.0), {"at": at}, "at")
    assert error(dual.tangents, expected) < COMPLEX_STEP
    assert dual.value == pytest.approx(unit(*at, 1.0))


def parameters(rng: np.random.Generator, own: bool) -> Parameters:
    """W feeds the first gate; V comes from the state, or each unit has a number w of its own."""
    second = {"w": rng.standard_normal(N)} if own else {"V": rng.standard_normal((N, N))}
    return {"W": rng.standard_normal((D, N)), "b": rng.standard_normal(N), **second}


def drives(q: Parameters, h: Array, x: Array) -> tuple[Array, Array]:
    return x @ q["W"], (h @ q["V"] if "V" in q else h * q["w"]) + q["b"]


def step(q: Parameters, h: Array, x: Array) -> Array:
    return unit(h, *drives(q, h, x), 1.0)


def reverse(q: Parameters, h: Array, x: Array, bar: Array) -> tuple[Array, Parameters]:
    """(89): through the loop by the tangents of (88), through the products by their matrices."""
    inputs = np.array([h, *drives(q, h, x)])
    duals = [
        unit(*(Dual(v, e) for v, e in zip(column, np.eye(3), strict=True)), Dual(1.0, np.zeros(3)))
        for column in inputs.T
    ]
    bar_h, bar_a, bar_b = np.array([dual.tangents for dual in duals]).T * bar
    back = {"W": np.outer(x, bar_a), "b": bar_b}
    if "V" in q:
        return bar_h + q["V"] @ bar_b, back | {"V": np.outer(h, bar_b)}
    return bar_h + q["w"] * bar_b, back | {"w": h * bar_b}


def blocks(own: bool) -> list[str]:
    return ["W", "b", "w" if own else "V"]


@pytest.mark.parametrize("own", [False, True])
def test_eq89_one_step_of_reverse_mode(own: bool) -> None:
    rng = np.random.default_rng(89)
    q, h, x, bar = parameters(rng, own), rng.standard_normal(N), rng.standard_normal(D), rng.standard_normal(N)
    bar_h, back = reverse(q, h, x, bar)
    value: Callable[[Parameters], Array] = lambda p: step(p, p["h"], x) @ bar  # noqa: E731
    assert error(bar_h, by_complex_step(value, q | {"h": h}, "h")) < COMPLEX_STEP
    for block in blocks(own):
        assert error(back[block], by_complex_step(value, q | {"h": h}, block)) < COMPLEX_STEP


@pytest.mark.parametrize("block", blocks(own=True))
def test_eq90_units_that_do_not_see_one_another(block: str) -> None:
    rng = np.random.default_rng(90)
    q, start, xs = parameters(rng, own=True), rng.standard_normal(N), rng.standard_normal((STEPS, D))
    h, e = start, np.zeros(q[block].shape)
    for x in xs:
        keep, own = reverse(q, h, x, np.ones(N))
        h, e = step(q, h, x), keep * e + own[block]

    def last(p: Parameters) -> Array:
        state = start
        for x in xs:
            state = step(p, state, x)
        return state

    whole = by_complex_step(last, q, block)
    mine = np.stack([whole[i, ..., i] for i in range(N)], axis=-1)
    assert error(e, mine) < COMPLEX_STEP
    assert error(e, whole.sum(0)) < COMPLEX_STEP  # a unit has no other one's parameters
