"""Learning from a stream: (18) to (24)."""

import numpy as np
import pytest
from tolerances import COMPLEX_STEP, PLAIN, QUADRATURE, SAMPLING

from derivations.calculus import Array, error
from derivations.units import STEPS, N, rotation


def td_step(
    w: Array, z: Array, y: Array, y_tm1: Array, cumulant: float, discount: float, lambda_: float, alpha: float
) -> tuple[float, Array, Array]:
    """(18), (19), (20), in the order of a step, for a linear readout of given features: delta, w, z."""
    delta = cumulant + discount * (w @ y) - w @ y_tm1
    w = w + alpha * delta * z
    return delta, w, discount * lambda_ * z + y


def stream(seed: int) -> tuple[Array, Array, Array, Array]:
    """Features (STEPS + 1, 2N), cumulants, discounts, one of which is zero, and a readout."""
    rng = np.random.default_rng(seed)
    discounts = rng.uniform(0.7, 1.0, STEPS + 1)
    discounts[STEPS // 2] = 0
    ys, cumulants = rng.standard_normal((STEPS + 1, 2 * N)), rng.standard_normal(STEPS + 1)
    return ys, cumulants, discounts, rng.standard_normal(2 * N)


def test_eq18_eq19_eq20_td_is_a_linear_system() -> None:
    """w <- (I - alpha A) w + alpha b, true only if both values in delta are read with the present w."""
    ys, cumulants, discounts, w = stream(18)
    lambda_, alpha, z, solved = 0.8, 0.01, ys[0], w
    for t in range(1, STEPS + 1):
        z_tm1 = sum(np.prod(lambda_ * discounts[k + 1 : t]) * ys[k] for k in range(t))
        assert error(z, z_tm1) < PLAIN
        A, b = np.outer(z_tm1, ys[t - 1] - discounts[t] * ys[t]), cumulants[t] * z_tm1
        delta = cumulants[t] - (ys[t - 1] - discounts[t] * ys[t]) @ solved
        solved = (np.eye(2 * N) - alpha * A) @ solved + alpha * b
        actual, w, z = td_step(w, z, ys[t], ys[t - 1], cumulants[t], discounts[t], lambda_, alpha)
        assert abs(actual - delta) < PLAIN * np.abs(cumulants).max()
        assert error(w, solved) < PLAIN
        assert discounts[t] != 0 or (z == ys[t]).all()


@pytest.mark.parametrize("terminated", [True, False], ids=["terminated", "truncated"])
@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
def test_eq18_eq20_updates_of_an_episode_sum_to_the_lambda_return(terminated: bool, lambda_: float) -> None:
    ys, cumulants, discounts, w = stream(20)
    total, z = np.zeros(2 * N), ys[0]
    for t in range(1, STEPS + 1):
        discount = 0.0 if terminated and t == STEPS else discounts[t]
        delta, _, z_t = td_step(w, z, ys[t], ys[t - 1], cumulants[t], discount, lambda_, 0.0)
        total, z = total + delta * z, z_t
    values = ys @ w
    if terminated:
        values[-1] = 0
    expected, G = np.zeros(2 * N), values[-1]
    for t in reversed(range(STEPS)):
        G = cumulants[t + 1] + discounts[t + 1] * ((1 - lambda_) * values[t + 1] + lambda_ * G)
        expected += (G - values[t]) * ys[t]
    assert error(total, expected) < PLAIN


def test_eq21_obgd_bounds_the_update() -> None:
    rng, bounded = np.random.default_rng(21), 0
    for _ in range(200):
        z, delta = rng.standard_normal(N) * 10 ** rng.uniform(-3, 2), 3 * rng.standard_normal()
        alpha, kappa = rng.uniform(0.1, 2), rng.uniform(1, 3)
        eta = alpha * delta / max(1, alpha * kappa * max(abs(delta), 1) * np.abs(z).sum())
        plain, bound = np.abs(alpha * delta * z).sum(), min(abs(delta), 1) / kappa
        assert error(eta * z, min(plain, bound) * delta * z / np.abs(delta * z).sum()) < PLAIN
        bounded += plain > bound
    assert 20 < bounded < 180  # both cases came up


def test_eq22_eq23_adam_and_rmsprop_divide_weighted_averages() -> None:
    rng = np.random.default_rng(22)
    directions = rng.standard_normal((STEPS, N)) * 10.0 ** np.arange(-3, 2)
    alpha, beta1, beta2, eps = 0.01, 0.9, 0.99, 1e-3
    m, s = np.zeros(N), np.zeros(N)
    for tau in range(1, STEPS + 1):
        a, past = directions[tau - 1], directions[:tau]
        m, s = beta1 * m + (1 - beta1) * a, beta2 * s + (1 - beta2) * a**2
        adam = alpha * (m / (1 - beta1**tau)) / (np.sqrt(s / (1 - beta2**tau)) + eps)
        rmsprop = alpha * a / (np.sqrt(s) + eps)
        age = np.arange(tau)[::-1]
        mean, square = np.average(past, 0, beta1**age), np.average(past**2, 0, beta2**age)  # weights that sum to 1
        assert error(adam, alpha * mean / (np.sqrt(square) + eps)) < COMPLEX_STEP
        assert error(rmsprop, alpha * a / (np.sqrt((1 - beta2) * (beta2**age @ past**2)) + eps)) < COMPLEX_STEP


def test_eq24_starting_values_are_uniform_on_the_ring() -> None:
    r_min, r_max, max_phase, n, d = 0.3, 0.9, 2.0, 4000, 8
    u = (np.arange(n) + 0.5) / n
    r = np.sqrt(r_min**2 + (r_max**2 - r_min**2) * u)
    for k in range(1, 5):  # the mean of r^k over the ring's area
        expected = 2 * (r_max ** (k + 2) - r_min ** (k + 2)) / ((k + 2) * (r_max**2 - r_min**2))
        assert error((r**k).mean(), expected) < QUADRATURE
    rng = np.random.default_rng(24)
    theta = max_phase * rng.permutation(u)
    g, p, gamma = rotation({"nu_log": np.log(-0.5 * np.log(r**2)), "theta_log": np.log(theta)})
    assert error(g + 1j * p, r * np.exp(1j * theta)) < PLAIN
    # W of variance 1/d and inputs of variance 1: a second moment of 1 for each part of the stationary state.
    w = (rng.standard_normal((d, n)) + 1j * rng.standard_normal((d, n))) / np.sqrt(d)
    responses = [gamma * (g + 1j * p) ** k * w for k in range(200)]
    parts = [sum((c.real**2).sum(0) for c in responses).mean(), sum((c.imag**2).sum(0) for c in responses).mean()]
    assert error(parts, [1, 1]) < SAMPLING
