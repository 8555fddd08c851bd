"""A gate that sees the input alone: (55) to (57)."""

import math

import numpy as np
import pytest
from tolerances import COMPLEX_STEP, PLAIN

from derivations.calculus import Array, Parameters, by_complex_step, error
from derivations.units import STEPS, D

N = 4


def sigma(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-z)))


def material(seed: int) -> tuple[Parameters, Array, Array, np.random.Generator]:
    rng = np.random.default_rng(seed)
    params = {"W_z": rng.standard_normal((D, N)), "W_h": rng.standard_normal((D, N))}
    params |= {"b_z": rng.standard_normal(N), "b_h": 0.3 * rng.standard_normal(N)}
    return params, rng.standard_normal(N), rng.standard_normal((STEPS, D)), rng


def parts(q: Parameters, x: Array) -> tuple[Array, Array, Array]:
    """u, g and g' of (55) and (56)."""
    z, a = x @ q["W_z"] + q["b_z"], x @ q["W_h"] + q["b_h"]
    above = a.real >= 0
    g = np.where(above, a + 0.5, sigma(a))
    return sigma(z), g, np.where(above, 1, g * (1 - g))


def step(q: Parameters, h: Array, x: Array) -> Array:
    u, g, _ = parts(q, x)
    return np.asarray((1 - u) * h + u * g)


def run(q: Parameters, h: Array, xs: Array) -> Array:
    hs = []
    for x in xs:
        h = step(q, h, x)
        hs.append(h)
    return np.array(hs)


def shares(q: Parameters, h: Array, x: Array) -> tuple[Array, Array, Array]:
    """1 - u, and q of (56) for W_z and for W_h."""
    u, g, slope = parts(q, x)
    return 1 - u, (g - h) * u * (1 - u), u * slope


def sensitivities(q: Parameters, h: Array, xs: Array) -> Parameters:
    """(56) over a run."""
    e = {name: np.zeros_like(value) for name, value in q.items()}
    for x in xs:
        keep, by_z, by_h = shares(q, h, x)
        for name, share in (("z", by_z), ("h", by_h)):
            e[f"W_{name}"] = keep * e[f"W_{name}"] + np.outer(x, share)
            e[f"b_{name}"] = keep * e[f"b_{name}"] + share
        h = step(q, h, x)
    return e


def test_eq55_steps_in_scalars() -> None:
    params, h, xs, _ = material(55)
    expected, seen, now = [], set(), [float(each) for each in h]
    for x in xs:
        for i in range(N):
            z, a = (sum(float(x[j] * params[W][j, i]) for j in range(D)) for W in ("W_z", "W_h"))
            z, a = z + float(params["b_z"][i]), a + float(params["b_h"][i])
            u = 1 / (1 + math.exp(-z))
            g = a + 0.5 if a >= 0 else 1 / (1 + math.exp(-a))
            seen.add(a >= 0)
            now[i] = (1 - u) * now[i] + u * g
        expected.append(list(now))
    assert seen == {True, False}
    assert error(run(params, h, xs), expected) < PLAIN


def test_eq55_the_candidate_is_continuous_and_positive() -> None:
    still = {"W_z": np.zeros((D, N)), "W_h": np.zeros((D, N)), "b_z": np.zeros(N)}
    b_h = np.array([-1e-12, 0.0, 1e-12, -30.0])
    _, g, slope = parts(still | {"b_h": b_h}, np.zeros(D))
    assert np.abs(g[:3] - 0.5).max() < 1e-11
    assert error(slope[:3], [0.25, 1.0, 1.0]) < 1e-11
    assert 0 < g[3] < 1e-12


def test_eq55_a_state_is_a_mean_of_candidates() -> None:
    """Weights u_t prod (1 - u) and prod (1 - u) are positive and sum to 1; so nothing grows."""
    params, h, xs, _ = material(56)
    us, gs, _ = zip(*(parts(params, x) for x in xs), strict=True)
    after = [np.prod(1 - np.array(us[t + 1 :]), axis=0) for t in range(STEPS)]
    weights = np.array([*(u * later for u, later in zip(us, after, strict=True)), np.prod(1 - np.array(us), axis=0)])
    assert (weights > 0).all()
    assert error(weights.sum(0), np.ones(N)) < PLAIN
    assert error((weights * np.array([*gs, h])).sum(0), run(params, h, xs)[-1]) < PLAIN


@pytest.mark.parametrize(("gate", "expected"), [(-800.0, "kept"), (800.0, "feedforward")])
def test_eq55_gates_at_their_limits(gate: float, expected: str) -> None:
    params, h, xs, _ = material(57)
    params |= {"b_z": np.full(N, gate)}
    with np.errstate(over="ignore"):
        hs = run(params, h, xs)
        candidates = np.array([parts(params, x)[1] for x in xs])
    assert error(hs, np.broadcast_to(h, hs.shape) if expected == "kept" else candidates) < PLAIN


@pytest.mark.parametrize("block", ["W_z", "W_h", "b_z", "b_h"])
def test_eq56_sensitivities(block: str) -> None:
    params, h, xs, _ = material(58)
    jacobian = by_complex_step(lambda q: run(q, h, xs)[-1], params, block)  # (units, *parameter)
    own = np.moveaxis(np.array([jacobian[i, ..., i] for i in range(N)]), 0, -1)
    for i in range(N):
        others = np.delete(jacobian[i], i, axis=-1)
        assert not others.any()
    assert error(sensitivities(params, h, xs)[block], own) < COMPLEX_STEP


def test_eq56_the_jacobian_of_a_step() -> None:
    params, h, xs, _ = material(59)
    jacobian = by_complex_step(lambda q: step(params, q["h"], xs[0]), {"h": h}, "h")
    assert error(np.diag(shares(params, h, xs[0])[0]), jacobian) < COMPLEX_STEP


def test_eq56_is_a_sum_over_lags_that_keep_their_sign() -> None:
    params, h, xs, _ = material(60)
    kept, by_h = [], []
    for x in xs:
        keep, _, q = shares(params, h, x)
        kept.append(keep)
        by_h.append(q)
        h = step(params, h, x)
    later = [np.prod(np.array(kept)[t + 1 :], axis=0) for t in range(STEPS)]
    assert (np.array(later) > 0).all()
    total = sum(q * product for q, product in zip(by_h, later, strict=True))
    assert error(sensitivities(params, material(60)[1], xs)["b_h"], total) < PLAIN


def reverse(q: Parameters, h_tm1: Array, x: Array, delta: Array) -> tuple[Array, Parameters, Array]:
    """(57): a_hat_tm1, the gradient of this step, dL/dx."""
    u, g, slope = parts(q, x)
    zeta_z, zeta_a = delta * (g - h_tm1) * u * (1 - u), delta * u * slope
    gradient = {"W_z": np.outer(x, zeta_z), "W_h": np.outer(x, zeta_a), "b_z": zeta_z, "b_h": zeta_a}
    return (1 - u) * delta, gradient, zeta_z @ q["W_z"].T + zeta_a @ q["W_h"].T


def test_eq57_one_step_of_reverse_mode() -> None:
    params, h, xs, rng = material(61)
    everything, dy = params | {"h": h, "x": xs[0]}, rng.standard_normal(N)
    a_hat, gradient, dx = reverse(params, h, xs[0], dy)
    for block, actual in (gradient | {"h": a_hat, "x": dx}).items():
        expected = by_complex_step(lambda q: (dy * step(q, q["h"], q["x"])).sum(), everything, block)
        assert error(actual, expected) < COMPLEX_STEP


def test_eq56_eq57_forward_and_backward_give_one_gradient() -> None:
    params, h, xs, rng = material(62)
    dys, hs = rng.standard_normal((STEPS, N)), np.concatenate([h[None], run(params, h, xs)])
    a_hat, total = np.zeros(N), {block: np.zeros_like(value) for block, value in params.items()}
    for t in reversed(range(STEPS)):
        a_hat, gradient, _ = reverse(params, hs[t], xs[t], dys[t] + a_hat)
        for block in params:
            total[block] += gradient[block]
    for block in params:
        forward = sum(dys[t] * sensitivities(params, h, xs[: t + 1])[block] for t in range(STEPS))
        expected = by_complex_step(lambda q: (dys * run(q, h, xs)).sum(), params, block)
        assert error(total[block], expected) < COMPLEX_STEP
        assert error(forward, expected) < COMPLEX_STEP
