"""Learning from rollouts: (46) to (51)."""

import math

import numpy as np
import pytest
from tolerances import COMPLEX_STEP, PLAIN

from derivations.calculus import Array, Parameters, by_complex_step, error, flat, whole_jacobian
from derivations.dense import NH, dense_material, dense_reverse, dense_run, dense_step, jacobians


@pytest.mark.parametrize("name", ["vanilla tanh", "gru", "pairs tanh"])
def test_eq46_gradient_with_stored_sensitivities(name: str) -> None:
    """That of a state which moves as it is sensitive; with fixed parameters, that of the whole run."""
    params, h_0, xs, rng = dense_material(name, 46)
    dy, moved = rng.standard_normal(NH), {n: v + 0.1 * rng.standard_normal(v.shape) for n, v in params.items()}
    h, S = h_0, np.zeros((NH, flat(params, params).size))
    for x in xs[:-1]:
        J, F = jacobians(name, params, h, x)
        S, h = J @ S + F, dense_step(name, params, h, x)
    for now in (params, moved):
        y = dense_step(name, now, h, xs[-1])
        a, own, _ = dense_reverse(name, now, h, xs[-1], np.cos(y) * dy)
        stored = flat(own, params) + a @ S

        def moving(q: Parameters, now: Parameters = now) -> Array:
            state = h + S @ (flat(q, params) - flat(now, params))
            return np.asarray(np.sin(dense_step(name, q, state, xs[-1])) @ dy)

        assert error(stored, whole_jacobian(moving, now)) < COMPLEX_STEP
        exact = whole_jacobian(lambda q: np.asarray(np.sin(dense_run(name, q, h_0, xs)[-1]) @ dy), now)
        assert (error(stored, exact) < COMPLEX_STEP) is (now is params)


@pytest.mark.parametrize("lambda_", [0.0, 0.8, 1.0])
def test_eq47_advantages_are_sums_of_td_errors(lambda_: float) -> None:
    rng, gamma, n = np.random.default_rng(47), 0.9, 40
    C, v, after = rng.standard_normal((3, n))
    terminated = rng.random(n) < 0.1
    cut = terminated | (rng.random(n) < 0.1)
    cut[-1] = True
    assert 3 < cut.sum() < n / 2
    following = np.where(terminated, 0, np.where(cut, after, np.append(v[1:], 0)))
    delta, A = C + gamma * following - v, np.zeros(n + 1)
    for t in reversed(range(n)):
        A[t] = delta[t] + gamma * lambda_ * (not cut[t]) * A[t + 1]
    for t in range(n):
        last = t + int(np.argmax(cut[t:]))
        terms = [(gamma * lambda_) ** k * delta[t + k] for k in range(last - t + 1)]
        assert abs(A[t] - sum(terms)) < PLAIN * 10
        if lambda_ == 1:
            rewards = sum(gamma**k * C[t + k] for k in range(last - t + 1))
            assert abs(A[t] + v[t] - rewards - gamma ** (last - t + 1) * following[last]) < PLAIN * 10


def test_eq48_eq49_clipped_losses() -> None:
    """Every case of the clips, each derivative by differences of the loss as it stands."""
    c, h, seen = 0.2, 1e-6, set()
    for A in (-1.3, 0.7):
        for log_ratio in (-0.5, -0.1, 0.1, 0.5):
            ratio = math.exp(log_ratio)

            def surrogate(u: float, A: float = A) -> float:
                return -min(math.exp(u) * A, min(max(math.exp(u), 1 - c), 1 + c) * A)

            free = ratio * A <= min(max(ratio, 1 - c), 1 + c) * A
            slope = (surrogate(log_ratio + h) - surrogate(log_ratio - h)) / (2 * h)
            assert abs(-ratio * A * free - slope) < 1e-8
            seen.add((A > 0, free))
    assert len(seen) == 4
    seen.clear()
    for old, target in ((0.0, 1.0), (0.0, -1.0), (0.4, 0.35)):
        for v in (-0.5, -0.1, 0.1, 0.5, 0.9):

            def squared(u: float, old: float = old, target: float = target) -> float:
                return 0.5 * max((u - target) ** 2, (old + min(max(u - old, -c), c) - target) ** 2)

            free = (v - target) ** 2 >= (old + min(max(v - old, -c), c) - target) ** 2
            slope = (squared(v + h) - squared(v - h)) / (2 * h)
            assert abs((v - target) * free - slope) < 1e-8
            seen.add((abs(v - old) < c, free))
    assert len(seen) == 3  # within the clip, the two are one


def test_eq50_loss_of_a_minibatch() -> None:
    """Derivatives by the outputs of a softmax, with normalised advantages that are held."""
    rng, M, n, c, k_v, k_h = np.random.default_rng(50), 6, 3, 0.2, 0.5, 0.01
    material: Parameters = {"o": rng.standard_normal((M, n)), "v": rng.standard_normal(M)}
    log_old, v_old, G, A = rng.normal(-1.1, 0.3, M), *rng.standard_normal((3, M))
    action = rng.integers(0, n, M)
    normal = (A - A.sum() / M) / (math.sqrt(((A - A.sum() / M) ** 2).sum() / M) + 1e-8)
    assert abs(normal.mean()) < PLAIN * 10
    assert abs((normal**2).mean() - 1) < 1e-6

    def clip(u: Array, low: float, high: float) -> Array:
        return np.where(u.real < low, low, np.where(u.real > high, high, u))

    def loss(q: Parameters) -> Array:
        log_p = q["o"] - np.log(np.exp(q["o"]).sum(1))[:, None]
        ratio = np.exp(log_p[np.arange(M), action] - log_old)
        free, bound = ratio * normal, clip(ratio, 1 - c, 1 + c) * normal
        far, near = (q["v"] - G) ** 2, (v_old + clip(q["v"] - v_old, -c, c) - G) ** 2
        worst = np.where(far.real >= near.real, far, near)
        return (
            -np.where(free.real <= bound.real, free, bound) + k_v * worst / 2 + k_h * (np.exp(log_p) * log_p).sum(1)
        ).mean()

    p = np.exp(material["o"]) / np.exp(material["o"]).sum(1)[:, None]
    ratio = p[np.arange(M), action] / np.exp(log_old)
    along = -ratio * normal * (ratio * normal <= np.clip(ratio, 1 - c, 1 + c) * normal)
    H = -(p * np.log(p)).sum(1)[:, None]
    do = (along[:, None] * (np.eye(n)[action] - p) + k_h * p * (np.log(p) + H)) / M
    v = material["v"]
    dv = k_v / M * (v - G) * ((v - G) ** 2 >= (v_old + np.clip(v - v_old, -c, c) - G) ** 2)
    assert 0 < (along == 0).sum() < M
    assert error(do, by_complex_step(loss, material, "o")) < COMPLEX_STEP
    assert error(dv, by_complex_step(loss, material, "v")) < COMPLEX_STEP


@pytest.mark.parametrize("longest", [0.5, 50.0])
def test_eq51_a_gradient_is_shortened_but_not_turned(longest: float) -> None:
    g = np.random.default_rng(51).standard_normal(100)
    norm = math.sqrt(sum(x * x for x in g))
    shortened = g * min(1, longest / norm)
    assert error(shortened / np.linalg.norm(shortened), g / norm) < PLAIN
    assert abs(np.linalg.norm(shortened) - min(longest, norm)) < PLAIN * 100
    assert (norm > longest) is (longest == 0.5)
