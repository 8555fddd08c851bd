"""Gates that see their own unit: (83) to (85)."""

import math

import numpy as np
import pytest
from tolerances import COMPLEX_STEP, PLAIN

from derivations.calculus import Array, Parameters, by_complex_step, error
from derivations.units import STEPS, D

N = 4
BLOCKS = ("W_z", "W_f", "w_z", "w_f", "b_z", "b_f")


def sigma(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-z)))


def material(seed: int) -> tuple[Parameters, Array, Array, np.random.Generator]:
    rng = np.random.default_rng(seed)
    shapes = {"W": (D, N), "w": (N,), "b": (N,)}
    params = {name: 0.6 * rng.standard_normal(shapes[name[0]]) for name in BLOCKS}
    return params, rng.uniform(-1, 1, N), rng.standard_normal((STEPS, D)), rng


def gates(q: Parameters, h: Array, x: Array) -> tuple[Array, Array]:
    """z and f of (83)."""
    return np.tanh(x @ q["W_z"] + q["w_z"] * h + q["b_z"]), sigma(x @ q["W_f"] + q["w_f"] * h + q["b_f"])


def step(q: Parameters, h: Array, x: Array) -> Array:
    z, f = gates(q, h, x)
    return np.asarray(f * h + (1 - f) * z)


def run(q: Parameters, h: Array, xs: Array) -> Array:
    hs = []
    for x in xs:
        h = step(q, h, x)
        hs.append(h)
    return np.array(hs)


def shares(q: Parameters, h: Array, x: Array) -> tuple[Array, dict[str, Array]]:
    """j of (84), and its q by the name of what they belong to."""
    z, f = gates(q, h, x)
    q_z, q_f = (1 - f) * (1 - z**2), (h - z) * f * (1 - f)
    return f + q_z * q["w_z"] + q_f * q["w_f"], {"z": q_z, "f": q_f}


def sensitivities(q: Parameters, h: Array, xs: Array) -> Parameters:
    """(84) over a run."""
    e = {name: np.zeros_like(value) for name, value in q.items()}
    for x in xs:
        j, by = shares(q, h, x)
        multiplied = {"W": x[:, None], "w": h, "b": np.ones(N)}
        e = {name: j * old + by[name[-1]] * multiplied[name[0]] for name, old in e.items()}
        h = step(q, h, x)
    return e


def test_eq83_steps_in_scalars() -> None:
    params, h, xs, _ = material(83)
    expected, now = [], [float(each) for each in h]
    for x in xs:
        for i in range(N):
            into = {
                k: sum(float(x[j] * params[f"W_{k}"][j, i]) for j in range(D))
                + float(params[f"w_{k}"][i]) * now[i]
                + float(params[f"b_{k}"][i])
                for k in "zf"
            }
            f = 1 / (1 + math.exp(-into["f"]))
            now[i] = f * now[i] + (1 - f) * math.tanh(into["z"])
        expected.append(list(now))
    assert error(run(params, h, xs), expected) < PLAIN


@pytest.mark.parametrize(("gate", "expected"), [(800.0, "kept"), (-800.0, "feedforward")])
def test_eq83_gates_at_their_limits(gate: float, expected: str) -> None:
    params, h, xs, _ = material(84)
    params |= {"b_f": np.full(N, gate), "w_z": np.zeros(N)}
    with np.errstate(over="ignore"):
        hs = run(params, h, xs)
    candidates = np.array([gates(params | {"b_f": np.zeros(N)}, h, x)[0] for x in xs])
    assert error(hs, np.broadcast_to(h, hs.shape) if expected == "kept" else candidates) < PLAIN


def test_eq83_the_state_stays_within_one() -> None:
    params, _, xs, _ = material(85)
    large = {name: 20 * value for name, value in params.items()}
    hs = run(large, np.ones(N), xs)
    assert 0.9 < np.abs(hs).max() <= 1


@pytest.mark.parametrize("block", BLOCKS)
def test_eq84_sensitivities(block: str) -> None:
    params, h, xs, _ = material(86)
    jacobian = by_complex_step(lambda q: run(q, h, xs)[-1], params, block)  # (units, *parameter)
    own = np.moveaxis(np.array([jacobian[i, ..., i] for i in range(N)]), 0, -1)
    for i in range(N):
        others = np.delete(jacobian[i], i, axis=-1)
        assert not others.any()
    assert error(sensitivities(params, h, xs)[block], own) < COMPLEX_STEP


def test_eq84_the_jacobian_of_a_step() -> None:
    params, h, xs, _ = material(87)
    jacobian = by_complex_step(lambda q: step(params, q["h"], xs[0]), {"h": h}, "h")
    assert error(np.diag(shares(params, h, xs[0])[0]), jacobian) < COMPLEX_STEP


def test_eq84_a_unit_that_has_two_stable_states_grows_between_them() -> None:
    params, _, _, _ = material(100)
    still = {name: np.zeros_like(value) for name, value in params.items()} | {"w_z": np.full(N, 3.0)}
    x, start = np.zeros(D), np.array([-1e-3, 1e-3, -0.5, 0.5])
    assert (shares(still, 0 * start, x)[0] == 0.5 + 0.5 * 3).all()
    ends = run(still, start, np.zeros((200, D)))[-1]
    assert error(np.sign(start) * ends, np.full(N, ends[1])) < PLAIN
    assert (shares(still, ends, x)[0] < 1).all()


def reverse(q: Parameters, h_tm1: Array, x: Array, delta: Array) -> tuple[Array, Parameters, Array]:
    """(85): a_hat_tm1, the gradient of this step, dL/dx."""
    j, by = shares(q, h_tm1, x)
    zeta = {k: each * delta for k, each in by.items()}
    gradient = {f"W_{k}": np.outer(x, each) for k, each in zeta.items()}
    gradient |= {f"w_{k}": h_tm1 * each for k, each in zeta.items()} | {f"b_{k}": each for k, each in zeta.items()}
    return j * delta, gradient, zeta["z"] @ q["W_z"].T + zeta["f"] @ q["W_f"].T


def test_eq85_one_step_of_reverse_mode() -> None:
    params, h, xs, rng = material(101)
    everything, dy = params | {"h": h, "x": xs[0]}, rng.standard_normal(N)
    a_hat, gradient, dx = reverse(params, h, xs[0], dy)
    for block, actual in (gradient | {"h": a_hat, "x": dx}).items():
        expected = by_complex_step(lambda q: (dy * step(q, q["h"], q["x"])).sum(), everything, block)
        assert error(actual, expected) < COMPLEX_STEP


def test_eq84_eq85_forward_and_backward_give_one_gradient() -> None:
    params, h, xs, rng = material(102)
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
