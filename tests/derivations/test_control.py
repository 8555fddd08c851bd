"""Control: (36) to (45)."""

import numpy as np
import pytest
from tolerances import COMPLEX_STEP, PLAIN

from derivations.calculus import Array, by_complex_step, error

N = 5


def layer_norm(x: Array) -> Array:
    centred = x - x.sum() / x.size
    return centred / np.sqrt((centred**2).sum() / x.size + 1e-5)


def test_eq36_eq37_layer_norm() -> None:
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


def test_eq38_heads() -> None:
    rng = np.random.default_rng(51)
    p = {"W": rng.standard_normal((3, N)), "b": rng.standard_normal(3), "y": rng.standard_normal(N)}
    do = rng.standard_normal(3)

    def value(q):
        return sum(do[k] * (sum(q["W"][k, i] * q["y"][i] for i in range(N)) + q["b"][k]) for k in range(3))

    gradient = {"W": np.outer(do, p["y"]), "b": do, "y": do @ p["W"]}
    for block, actual in gradient.items():
        assert error(actual, by_complex_step(value, p, block)) < COMPLEX_STEP


def test_eq39_a_choice() -> None:
    o, a = np.random.default_rng(52).standard_normal(4), 2
    p = np.exp(o) / np.exp(o).sum()
    H = -(p * np.log(p)).sum()

    def log_p(o):
        return np.log(np.exp(o["o"]) / np.exp(o["o"]).sum())

    score = by_complex_step(lambda q: log_p(q)[a], {"o": o}, "o")
    assert error((np.arange(4) == a) - p, score) < COMPLEX_STEP
    slope = by_complex_step(lambda q: -(np.exp(log_p(q)) * log_p(q)).sum(), {"o": o}, "o")
    assert error(-p * (np.log(p) + H), slope) < COMPLEX_STEP


@pytest.mark.parametrize("softplus", [True, False])
def test_eq40_normal_components(softplus: bool) -> None:
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


def test_eq41_running_statistics() -> None:
    x = 1e6 + np.random.default_rng(54).standard_normal(100)
    mean, M = 0.0, 0.0
    for n, x_n in enumerate(x, 1):
        before, mean = mean, mean + (x_n - mean) / n
        M += (x_n - before) * (x_n - mean)
    assert error(mean, x.mean()) < PLAIN
    assert error(M / 99, x.var(ddof=1)) < 1e-8  # the mean of a million costs digits of the deviation


def test_eq42_truncation_is_no_end() -> None:
    """A chain that pays 1 for ever: cut anywhere, the values that its TD errors make are those of the whole chain."""
    v, gamma = 0.0, 0.9
    for _ in range(4000):
        terminated = False  # every tenth step is a truncation, and bootstraps
        v += 0.05 * (1 + gamma * (1 - terminated) * v - v)
    assert error(v, 1 / (1 - gamma)) < 1e-6
    for t in range(20_000):
        v += 0.01 * (1 + gamma * (1 - (t % 2)) * v - v)  # every other step terminates: v is 1 or 1 + gamma v
    assert abs(v - 1 / (1 - gamma / 2)) < 0.05


def test_eq43_actors_trace() -> None:
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


def episode(seed: int, lambda_: float) -> tuple[Array, ...]:
    """20 random steps with 3 actions: rewards, values, their gradients (20, 3, N), actions, decays g gamma lambda."""
    rng = np.random.default_rng(seed)
    r, q, grads = rng.standard_normal(20), rng.standard_normal((20, 3)), rng.standard_normal((20, 3, N))
    actions = np.where(rng.random(20) < 0.7, q.argmax(1), rng.integers(3, size=20))
    greedy = q[np.arange(20), actions] == q.max(1)
    assert 0 < greedy.sum() < 20
    return r, q, grads, actions, 0.9 * lambda_ * greedy


def errors(r: Array, q: Array, actions: Array) -> Array:
    """delta_{t+1} of (44), the last step terminating."""
    target = np.r_[q.max(1)[1:], 0.0]
    return np.asarray(r + 0.9 * target - q[np.arange(20), actions])


def summed(decays: Array, terms: Array, t: int) -> Array:
    """A trace written out: the sum over the past, each term with the decays of all steps after it."""
    return sum((np.prod(decays[k + 1 : t + 1]) * terms[k] for k in range(t + 1)), 0 * terms[0])


def test_eq44_cut_traces_sum_to_errors_of_the_cut_return() -> None:
    r, q, grads, actions, decays = episode(56, 0.8)
    chosen = np.arange(20), actions
    delta, G = errors(r, q, actions), np.zeros(21)
    for t in reversed(range(20)):
        g = decays[t + 1] / (0.9 * 0.8) if t < 19 else 0.0
        best = q[t + 1].max() if t < 19 else 0.0
        G[t] = r[t] + 0.9 * ((1 - 0.8 * g) * best + 0.8 * g * G[t + 1])
    z, backward = np.zeros(N), np.zeros(N)
    for t in range(20):
        z = decays[t] * z + grads[t, actions[t]]
        assert error(z, summed(decays, grads[chosen], t)) < PLAIN
        backward = backward + delta[t] * z
    assert error(backward, ((G[:20] - q[chosen])[:, None] * grads[chosen]).sum(0)) < PLAIN


@pytest.mark.parametrize("lambda_", [0.0, 0.8])
def test_eq45_corrected_traces_sum_to_the_corrected_gradient(lambda_: float) -> None:
    r, q, grads, actions, decays = episode(57, lambda_)
    chosen, h = (np.arange(20), actions), np.random.default_rng(58).standard_normal(20)
    grad_h = np.random.default_rng(59).standard_normal((20, N))
    of_max = np.r_[grads[np.arange(20), q.argmax(1)][1:], np.zeros((1, N))]
    delta, grad_delta = errors(r, q, actions), 0.9 * of_max - grads[chosen]
    of_lambda, grad_of_lambda = np.zeros(20), np.zeros((20, N))
    for t in range(20):
        for k in range(t, 20):
            weight = np.prod(decays[t + 1 : k + 1])
            of_lambda[t] += weight * delta[k]
            grad_of_lambda[t] += weight * grad_delta[k]
    dw = -h[:, None] * grad_of_lambda + (of_lambda - h)[:, None] * grads[chosen]
    dTheta = (of_lambda - h)[:, None] * grad_h
    e, z, z_h, w, Theta = 0.0, *np.zeros((4, N))
    for t in range(20):
        e = decays[t] * e + h[t]
        z, z_h = decays[t] * z + grads[t, actions[t]], decays[t] * z_h + grad_h[t]
        step = delta[t] * z - e * grad_delta[t] - h[t] * grads[t, actions[t]]
        if lambda_ == 0:
            assert error(step, delta[t] * grads[t, actions[t]] - 0.9 * h[t] * of_max[t]) < PLAIN
        w, Theta = w + step, Theta + delta[t] * z_h - h[t] * grad_h[t]
    assert error(w, dw.sum(0)) < PLAIN
    assert error(Theta, dTheta.sum(0)) < PLAIN


def test_eq45_correction_follows_the_projected_bellman_error() -> None:
    """q and h linear in the same features, h at its best: the mean step is half the gradient of the error, downhill."""
    rng = np.random.default_rng(60)
    phi, of_next, r, w = *(rng.standard_normal((200, *s)) for s in ((N,), (3, N), ())), rng.standard_normal(N)

    def delta(w):
        q = of_next @ w
        return r + 0.9 * q[np.arange(200), q.real.argmax(1)] - phi @ w

    def projected(p):
        h = phi @ np.linalg.solve(phi.T @ phi, phi.T @ delta(p["w"]))
        return (h * h).sum() / 200  # = the maximum over h of 2 delta h - h^2

    h = phi @ np.linalg.solve(phi.T @ phi, phi.T @ delta(w))
    grad_max = of_next[np.arange(200), (of_next @ w).argmax(1)]
    grad_delta = 0.9 * grad_max - phi
    step = delta(w)[:, None] * phi - h[:, None] * grad_delta - h[:, None] * phi
    assert error(step.mean(0), -0.5 * by_complex_step(projected, {"w": w}, "w")) < 1e-9
    semigradient = (delta(w)[:, None] * phi).mean(0)
    assert error(semigradient, step.mean(0)) > 0.01
