"""Step-size rules: (58) to (64)."""

import numpy as np
import pytest
from tolerances import PLAIN

from derivations.calculus import Array, error

H = 1e-30


def obgd(z: Array, delta: float, alpha: float, kappa: float) -> Array:
    """(21)"""
    return alpha * delta * z / max(1.0, alpha * kappa * max(abs(delta), 1.0) * np.abs(z).sum())


@pytest.mark.parametrize("delta", [0.3, -7.0])
def test_eq58_shares_bound_the_whole_step_and_separate_the_blocks(delta: float) -> None:
    rng, kappa, shares = np.random.default_rng(60), 2.0, np.array([0.2, 0.5, 0.3])
    blocks = [scale * rng.standard_normal(5) for scale in (1e3, 10.0, 5.0)]
    steps = [obgd(z, delta, 1.0, kappa / share) for z, share in zip(blocks, shares, strict=True)]
    sizes = np.array([np.abs(step).sum() for step in steps])
    assert error(sizes, shares * min(abs(delta), 1) / kappa) < PLAIN  # every bound is reached
    assert error(sizes.sum(), np.array(min(abs(delta), 1) / kappa)) < PLAIN
    whole = np.abs(obgd(np.concatenate(blocks), delta, 1.0, kappa))
    assert whole[-5:].sum() < 0.02 * sizes[-1], "one bound starves the block with small traces"


def test_eq59_a_step_changes_the_prediction_by_eta_delta() -> None:
    """With lambda = 0 and a constant gradient; a horizon of traces averages the change."""
    rng, eta, beta, ell = np.random.default_rng(61), 0.3, 0.9, 0.7
    g, v, s, n, changes = rng.standard_normal(6), np.zeros(6), 0.0, 0.0, []
    for t in range(1, 20):
        v = beta * v + (1 - beta) * g**2
        m = np.sqrt(v / (1 - beta**t)) + 1e-8
        assert error(m, np.abs(g) + 1e-8) < PLAIN
        n = ell * n + 1
        s += ((g**2 / m).sum() - s) / n
        step = eta / np.sqrt(s * (g**2 / m).sum()) * 0.5 * g / m
        assert error(g @ step, np.array(eta * 0.5)) < PLAIN
        changes.append(t * (g**2 / m).sum())
    n = mean = 0.0
    for change in changes:
        n = ell * n + 1
        mean += (change - mean) / n
    ages = ell ** np.arange(19)[::-1]
    assert error(mean, np.array((ages * changes).sum() / ages.sum())) < PLAIN


def test_eq60_the_direction_does_not_depend_on_the_scale_of_a_weight() -> None:
    beta, scales = 0.9, np.array([1.0, 1e3, 1e-3])

    def directions(scales: Array) -> list[Array]:
        draws, v, found = np.random.default_rng(1), np.zeros(3), []
        for t in range(1, 15):
            z, delta = scales * draws.standard_normal(3), draws.standard_normal()
            v = beta * v + (1 - beta) * (delta * z) ** 2
            u = z / np.sqrt(v / (1 - beta**t) + 1e-300)
            found.append(obgd(u, delta, 1.0, 2.0))
        return found

    for one, other in zip(directions(np.ones(3)), directions(scales), strict=True):
        assert error(one, other) < PLAIN
        assert np.abs(one).sum() <= 0.5 * (1 + PLAIN)


def test_eq61_no_weight_limits_another() -> None:
    rng, ell, alpha, epsilon = np.random.default_rng(63), 0.72, 0.1, 0.1
    gs, delta = rng.standard_normal((12, 4)), 30.0

    def step(gs: Array) -> Array:
        v, z = np.zeros(gs.shape[1]), np.zeros(gs.shape[1])
        for g in gs:
            v, z = ell * v + (1 - ell) * g**2, ell * z + g
        return alpha * max(min(delta, 1.0), -1.0) * z / (np.sqrt(v) + epsilon)

    other = gs * np.array([1.0, 1e6, 1.0, 1e-6])
    assert (step(gs)[[0, 2]] == step(other)[[0, 2]]).all()
    ages = ell ** np.arange(12)[::-1, None]
    expected = alpha * (ages * gs).sum(0) / (np.sqrt((1 - ell) * (ages * gs**2).sum(0)) + epsilon)
    assert error(step(gs), expected) < PLAIN


def test_eq61_no_weight_moves_further_than_the_horizon_allows() -> None:
    rng, ell, z, s = np.random.default_rng(68), 0.9, np.zeros(20), np.zeros(20)
    gradients = np.concatenate([rng.standard_normal((50, 20)) * 10.0 ** rng.uniform(-3, 3, 20), np.ones((500, 20))])
    for g in gradients:
        z, s = ell * z + g, ell * s + (1 - ell) * g**2
        assert np.abs(z / np.sqrt(s)).max() <= (1 + PLAIN) / (1 - ell)
    assert error(z / np.sqrt(s), np.full(20, 1 / (1 - ell))) < 1e-9, "a constant gradient reaches the bound"


def test_eq62_h_is_the_derivative_by_the_logarithm_of_the_step_size() -> None:
    """Of one weight, with lambda = 0 and the target held; small steps, so that nothing is clipped."""
    rng, w, h, a = np.random.default_rng(64), 0j, 0.0, 0.05
    exact = np.exp(np.log(a) + 1j * H)
    for _ in range(30):
        phi, target = rng.uniform(0.5, 1.5), rng.standard_normal()
        delta = target - w * phi
        h = h * min(max(1 - a * phi * phi, 0.0), 1.0) + a * delta.real * phi
        w += exact * delta * phi
        assert abs(h - w.imag / H) < PLAIN
        slope = -2 * delta.real * phi * h  # of delta^2, by log a before this step: the exponent descends it
        assert slope == -2 * (delta.real * phi * h)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_eq63_step_sizes_do_not_depend_on_the_scale_of_targets_and_never_overshoot(scale: float) -> None:
    def learn(scale: float) -> Array:
        rng = np.random.default_rng(65)
        w, h, v, a = np.zeros(3), np.zeros(3), np.zeros(3), np.full(3, 0.4)
        for _ in range(40):
            g, target = rng.standard_normal(3), scale * rng.standard_normal()
            delta = target - w @ g
            meta = delta * g * h
            v = np.maximum(np.abs(meta), v + a * g**2 / 50 * (np.abs(meta) - v))
            a = a * np.exp(0.1 * np.divide(meta, v, out=np.zeros(3), where=v > 0))
            a = a / max(1.0, (a * g**2).sum())
            h = h * np.clip(1 - a * g**2, 0, 1) + a * delta * g
            w = w + a * delta * g
            assert (target - w @ g) * delta >= -PLAIN * delta**2, "the error has changed its sign"
        return a

    assert error(learn(scale), learn(1.0)) < 1e-9


@pytest.mark.parametrize("lambda_", [0.0, 0.6, 1.0])
def test_eq64_with_fixed_step_sizes_is_the_online_lambda_return(lambda_: float) -> None:
    """Van Seijen et al. 2016: at each time, the weights of the forward view that ends there."""
    rng, gamma, n, d = np.random.default_rng(66), 0.9, 12, 3
    phis, rewards, a = rng.standard_normal((n + 1, d)), rng.standard_normal(n + 1), np.array([0.05, 0.02, 0.1])
    w, z, change, history = np.zeros(d), np.zeros(d), np.zeros(d), [np.zeros(d)]
    for t in range(n):
        phi = phis[t]
        V = change @ phi
        delta = rewards[t + 1] + gamma * w @ phis[t + 1] - w @ phi
        z = gamma * lambda_ * z
        z = z + a * phi * (1 - z @ phi)
        change = (delta + V) * z - V * a * phi
        w = w + change
        history.append(w)
        forward = history[0]
        for k in range(t + 1):
            G = w_at(history, t, k, phis, rewards, gamma, lambda_)
            forward = forward + a * (G - forward @ phis[k]) * phis[k]
        assert error(w, forward) < PLAIN


def test_eq64_h_is_the_derivative_by_the_logarithm_of_the_step_size() -> None:
    """Of one weight, with the targets held and the step size fixed: complex steps through all of the equations."""
    rng, ell, a = np.random.default_rng(67), 0.8, 0.05
    w, z, change, moved = 0j, 0j, 0j, np.exp(np.log(a) + 1j * H)
    h, h_old, zbar = 0.0, 0.0, 0.0
    for _ in range(30):
        phi, target = rng.uniform(0.5, 1.5), rng.standard_normal()
        V, delta = change * phi, target - w * phi
        z, zbar = ell * z, ell * zbar
        d, T = moved * phi, z * phi
        z, zbar = z + (1 - T) * d, zbar + d.real * (1 - T.real - zbar * phi)
        change = (delta + V) * z - V * d
        w += change
        step = h - h_old * phi * (z - d).real - h * d.real * phi
        h_old, h = h, step + (delta + V).real * zbar - V.real * d.real
        assert error(np.array([zbar, h]), np.array([z.imag, w.imag]) / H) < PLAIN


def w_at(history: list, t: int, k: int, phis: Array, rewards: Array, gamma: float, lambda_: float) -> float:
    """The lambda-return of step k that ends at t + 1, with the weights of each time for its bootstraps."""
    total, reward, weight = 0.0, 0.0, 1.0
    for end in range(k + 1, t + 2):
        reward += gamma ** (end - k - 1) * rewards[end]
        G = reward + gamma ** (end - k) * history[end - 1] @ phis[end]
        last = end == t + 1
        total += weight * (1.0 if last else 1 - lambda_) * G
        weight *= lambda_
    return total
