"""Keeping eigenvalues in range: (52) and (53)."""

import numpy as np
import pytest
from tolerances import COMPLEX_STEP, PLAIN, SAMPLING

from derivations.calculus import by_complex_step, error
from derivations.diagonal import diagonal_material, diagonal_run, eigenvalue, eigenvalue_derivatives, every_form
from derivations.units import N

TURN = 2 * np.pi
NU = np.array([1e-4, 10.0])


@every_form
def test_eq52_a_bound_has_a_derivative(form: str) -> None:
    """At the bounds of nu each form has the same r, and a derivative that is not zero."""
    modulus = form.split("/")[0]
    a = {"nu_log": np.log(NU), "nu": NU, "r": np.exp(-NU)}[modulus]
    for outside in (a + np.array([-99, 99]), a + np.array([99, -99])):
        bounded = np.clip(outside, a.min(), a.max())
        assert set(bounded) == set(a)
    r, _ = eigenvalue(form, a, a)
    assert error(r, np.exp(-NU)) < PLAIN
    dlog_r, _ = eigenvalue_derivatives(form, a, a)
    assert (np.abs(dlog_r) >= 1e-4 * (1 - PLAIN)).all()


@pytest.mark.parametrize("nu", [1e-3, 0.1, 1.0])
def test_eq52_power_does_not_depend_on_the_modulus(nu: float) -> None:
    """sum_k gamma^2 r^(2k) = 1, with white input; so in the mean the derivative by nu_log is zero."""
    k = np.arange(int(40 / nu))

    def power(log_nu: complex) -> complex:
        r = np.exp(-np.exp(log_nu))
        return (1 - r**2) * (r ** (2 * k)).sum()

    assert error(power(np.log(nu)), np.array(1.0)) < PLAIN
    h = 1e-30
    assert abs(power(np.log(nu) + 1j * h).imag / h) < COMPLEX_STEP


@pytest.mark.parametrize("start", [1e-1, 1e-2, 1e-5])
def test_eq52_a_rate_that_falls_too_fast_leaves_the_state_as_it_is(start: float) -> None:
    """If log nu falls by v a step, the unit keeps exp(-nu / v) of its state for ever."""
    v, kept = 1e-2, 1.0
    for t in range(3000):
        kept *= np.exp(-start * np.exp(-v * t))
    assert error(kept, np.array(np.exp(-start / -np.expm1(-v)))) < COMPLEX_STEP
    assert (kept > 0.99) == (start == 1e-5)
    assert (kept < SAMPLING) == (start == 1e-1)


@pytest.mark.parametrize("scale", ["tied", "free"])
@pytest.mark.parametrize("turns", [1, 2, 5])
def test_eq53_a_wrap_multiplies_the_derivative_by_the_ratio(scale: str, turns: int) -> None:
    params, c_0, xs, _ = diagonal_material("nu_log/theta_log", 53, scale)
    theta = TURN * (1 + turns) + np.exp(params["b"]) % TURN  # above 4 pi
    wrapped = theta - TURN * turns
    assert ((theta > 2 * TURN) & (wrapped > TURN) & (wrapped <= 2 * TURN)).all()
    above, below = {**params, "b": np.log(theta)}, {**params, "b": np.log(wrapped)}

    def run(p):
        return diagonal_run("nu_log/theta_log", p, c_0, xs)

    assert error(run(below), run(above)) < 1e3 * PLAIN  # the phase turns at every step, and so does its rounding
    for name in ("a", "W1", "W2", *(["gamma_log"] if scale == "free" else [])):
        assert error(by_complex_step(run, below, name), by_complex_step(run, above, name)) < 1e3 * PLAIN
    rho = wrapped / theta
    before, after = by_complex_step(run, above, "b"), by_complex_step(run, below, "b")
    assert error(after, before * rho) < 1e3 * PLAIN
    assert error(after, before) > 0.1


def test_eq53_adams_step_stays() -> None:
    """The mean is linear in the gradient and the mean square quadratic, so mean / sqrt(square) stays."""
    rng = np.random.default_rng(54)
    gradients, rho = rng.standard_normal((40, N)), rng.uniform(0.1, 0.9, N)

    def moments(g):
        mean = square = np.zeros(N)
        for row in g:
            mean, square = 0.9 * mean + 0.1 * row, 0.99 * square + 0.01 * row**2
        return mean, square

    (mean, square), (other_mean, other_square) = moments(gradients), moments(rho * gradients)
    assert error(rho * mean, other_mean) < PLAIN
    assert error(rho**2 * square, other_square) < PLAIN
    assert error(mean / np.sqrt(square), other_mean / np.sqrt(other_square)) < PLAIN
