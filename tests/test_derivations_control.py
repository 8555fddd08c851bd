"""The equations of docs/derivations.md on control, as test_derivations.py has the others."""

import numpy as np
import pytest
from test_derivations import COMPLEX_STEP, PLAIN, Array, by_complex_step, equations, error

N = 5


def layer_norm(x: Array) -> Array:
    centred = x - x.sum() / x.size
    return centred / np.sqrt((centred**2).sum() / x.size + 1e-5)


@equations(36, 37)
def test_layer_norm() -> None:
    rng = np.random.default_rng(50)
    x, dy = 3 + 2 * rng.standard_normal((2, N))
    k = layer_norm(x)
    assert abs(k.mean()) < PLAIN
    assert abs(k.var() - 1) < 1e-4
    assert error(layer_norm(x + 7), k) < PLAIN
    assert error(layer_norm(100 * x), k) < 1e-4
    s, y = k[0] / (x[0] - x.mean()), np.tanh(k)
    xi = (1 - y**2) * dy
    gradient = s * (xi - xi.mean() - k * (k * xi).mean())
    expected = by_complex_step(lambda p: (np.tanh(layer_norm(p["x"])) * dy).sum(), {"x": x}, "x")
    assert error(gradient, expected) < COMPLEX_STEP


@equations(38)
def test_heads() -> None:
    rng = np.random.default_rng(51)
    p = {"W": rng.standard_normal((3, N)), "b": rng.standard_normal(3), "y": rng.standard_normal(N)}
    do = rng.standard_normal(3)

    def value(q):
        return sum(do[k] * (sum(q["W"][k, i] * q["y"][i] for i in range(N)) + q["b"][k]) for k in range(3))

    gradient = {"W": np.outer(do, p["y"]), "b": do, "y": do @ p["W"]}
    for block, actual in gradient.items():
        assert error(actual, by_complex_step(value, p, block)) < COMPLEX_STEP


@equations(39)
def test_a_choice() -> None:
    o, a = np.random.default_rng(52).standard_normal(4), 2
    p = np.exp(o) / np.exp(o).sum()
    H = -(p * np.log(p)).sum()

    def log_p(o):
        return np.log(np.exp(o["o"]) / np.exp(o["o"]).sum())

    score = by_complex_step(lambda q: log_p(q)[a], {"o": o}, "o")
    assert error((np.arange(4) == a) - p, score) < COMPLEX_STEP
    slope = by_complex_step(lambda q: -(np.exp(log_p(q)) * log_p(q)).sum(), {"o": o}, "o")
    assert error(-p * (np.log(p) + H), slope) < COMPLEX_STEP


@equations(40)
@pytest.mark.parametrize("softplus", [True, False])
def test_normal_components(softplus: bool) -> None:
    rng = np.random.default_rng(53)
    o, s, a = rng.standard_normal((3, 4))
    at = {"o": o, "s": s}

    def sigma_of(q):
        return np.log(1 + np.exp(q["s"])) if softplus else np.exp(q["s"])

    def log_pi(q):
        sigma = sigma_of(q)
        return np.log(np.prod(np.exp(-((a - q["o"]) ** 2) / (2 * sigma**2)) / np.sqrt(2 * np.pi * sigma**2)))

    sigma = sigma_of(at)
    e, slope = (a - o) / sigma, 1 - np.exp(-sigma) if softplus else sigma
    assert error(-(e**2 / 2 + np.log(sigma) + np.log(2 * np.pi) / 2).sum(), log_pi(at)) < PLAIN
    assert error(e / sigma, by_complex_step(log_pi, at, "o")) < COMPLEX_STEP
    assert error((e**2 - 1) / sigma * slope, by_complex_step(log_pi, at, "s")) < COMPLEX_STEP
    entropy = by_complex_step(lambda q: (np.log(sigma_of(q)) + (1 + np.log(2 * np.pi)) / 2).sum(), at, "s")
    assert error(slope / sigma, entropy) < COMPLEX_STEP
    draws = o[0] + sigma[0] * rng.standard_normal(200_000)
    density = np.exp(-((draws - o[0]) ** 2) / (2 * sigma[0] ** 2)) / (sigma[0] * np.sqrt(2 * np.pi))
    assert error(-np.log(density).mean(), np.log(sigma[0]) + (1 + np.log(2 * np.pi)) / 2) < 0.01


@equations(41)
def test_running_statistics() -> None:
    x = 1e6 + np.random.default_rng(54).standard_normal(100)
    mean, M = 0.0, 0.0
    for n, x_n in enumerate(x, 1):
        before, mean = mean, mean + (x_n - mean) / n
        M += (x_n - before) * (x_n - mean)
    assert error(mean, x.mean()) < PLAIN
    assert error(M / 99, x.var(ddof=1)) < 1e-8  # the mean of a million costs digits of the deviation


@equations(42)
def test_truncation_is_no_end() -> None:
    """A chain that pays 1 for ever: cut anywhere, the values that its TD errors make are those of the whole chain."""
    v, gamma = 0.0, 0.9
    for _ in range(4000):
        terminated = False  # every tenth step is a truncation, and bootstraps
        v += 0.05 * (1 + gamma * (1 - terminated) * v - v)
    assert error(v, 1 / (1 - gamma)) < 1e-6
    for t in range(20_000):
        v += 0.01 * (1 + gamma * (1 - (t % 2)) * v - v)  # every other step terminates: v is 1 or 1 + gamma v
    assert abs(v - 1 / (1 - gamma / 2)) < 0.05


@equations(43)
def test_actors_trace() -> None:
    """The trace as a sum over the past; the entropy's share of the step is toward more entropy, whatever the sign."""
    rng = np.random.default_rng(55)
    score, dH, delta, decay, tau = *rng.standard_normal((2, 30)), rng.standard_normal(30), 0.9 * 0.8, 0.1
    z = 0.0
    for t in range(30):
        z = decay * z + score[t] + tau * np.sign(delta[t]) * dH[t]
    written_out = sum(decay ** (29 - t) * (score[t] + tau * np.sign(delta[t]) * dH[t]) for t in range(30))
    assert error(z, written_out) < PLAIN
    assert error(delta * tau * np.sign(delta) * dH, tau * np.abs(delta) * dH) < PLAIN
    assert ((delta * np.sign(delta) * dH) * dH >= 0).all()
