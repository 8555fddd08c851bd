"""Other ways of carrying the gradient: (28) and (29)."""

from collections.abc import Callable

import numpy as np
import pytest
from tolerances import COMPLEX_STEP, PLAIN

from derivations.calculus import Array, Parameters, by_complex_step, error, flat, whole_jacobian
from derivations.dense import NH, dense_material, dense_reverse, dense_run, dense_step, every_dense, jacobians
from derivations.units import BLOCKS, STEPS, N, material, sensitivities, step


@every_dense
def test_eq28_dense_rtrl(name: str) -> None:
    params, h, xs, rng = dense_material(name, 28)
    h_0, dy, M = h, rng.standard_normal(NH), rng.standard_normal((NH, NH))
    S = np.zeros((NH, flat(params, params).size))

    def state_at(t: int) -> Callable[[Parameters], Array]:
        return lambda q: dense_run(name, q, h_0, xs[: t + 1])[-1]

    for t, x in enumerate(xs):
        J, F = jacobians(name, params, h, x)
        S_tm1, S, h_tm1, h = S, J @ S + F, h, dense_step(name, params, h, x)
        if t in (0, 1, STEPS - 1):
            assert error(S, whole_jacobian(state_at(t), params)) < COMPLEX_STEP

    def loss(q: Parameters) -> Array:  # a loss that sees the state before and the parameters too
        hs = dense_run(name, q, h_0, xs)
        return np.asarray(np.tanh(hs[-1] @ M) @ dy + hs[-2] @ dy * (q["b"] ** 2).sum())

    dh = M @ ((1 - np.tanh(h @ M) ** 2) * dy)
    a, direct, _ = dense_reverse(name, params, h_tm1, xs[-1], dh)
    a, direct["b"] = a + dy * (params["b"] ** 2).sum(), direct["b"] + 2 * params["b"] * (h_tm1 @ dy)
    assert error(a @ S_tm1 + flat(direct, params), whole_jacobian(loss, params)) < COMPLEX_STEP


def test_eq28_rtrl_of_units_is_the_dense_recursion_in_blocks() -> None:
    params, c_0, xs, _ = material(39)
    c, S = c_0, np.zeros((2 * N, flat(params, params).size))

    def one_step(q: Parameters) -> Array:
        return step("nonlinear", "tanh", q, q["c"], q["x"])[0]

    for x in xs:
        everything = params | {"c": c, "x": x}
        blocks = [by_complex_step(one_step, everything, n).reshape(2 * N, -1) for n in ("c", *params)]
        J, F = blocks[0], np.concatenate(blocks[1:], -1)
        S, c = J @ S + F, step("nonlinear", "tanh", params, c, x)[0]
    expected = []
    for block in BLOCKS:
        e = sensitivities("nonlinear", "tanh", params, c_0, xs, block)[-1]
        own = np.einsum("k...i,ij->kj...i", e, np.eye(N)) if e.ndim == 2 else np.einsum("kdi,ij->kjdi", e, np.eye(N))
        expected.append(own.reshape(2 * N, -1))
    assert error(S, np.concatenate(expected, -1)) < COMPLEX_STEP


def window_gradient(name: str, params: Parameters, h: Array, xs: Array, dy: Array) -> Array:
    """(29): the stored state h, the inputs of the window, today's parameters."""
    replayed = np.concatenate([h[None], dense_run(name, params, h, xs)])
    a, total = dy, np.zeros(flat(params, params).size)
    for s in reversed(range(len(xs))):
        J, F = jacobians(name, params, replayed[s], xs[s])
        total, a = total + a @ F, a @ J
    return total


@every_dense
@pytest.mark.parametrize("T", [1, 2, 7])
def test_eq29_truncated_bptt_is_exact_within_its_window(name: str, T: int) -> None:
    params, h_0, xs, rng = dense_material(name, 40)
    drift = {n: 0.02 * rng.standard_normal((STEPS, *v.shape)).cumsum(0) for n, v in params.items()}

    def schedule(p: Parameters, t: int) -> Parameters:
        return {n: p[n] + drift[n][t] for n in params}

    hs, dy, today = dense_run(name, params, h_0, xs, schedule), rng.standard_normal(NH), schedule(params, STEPS - 1)
    stored, window = hs[-1 - T], xs[-T:]
    actual = window_gradient(name, today, stored, window, dy)

    def replay(q: Parameters) -> Array:
        h = stored
        for x in window:
            h = dense_step(name, q, h, x)
        return h

    assert error(actual, whole_jacobian(lambda q: dy @ replay(q), today)) < COMPLEX_STEP
    assert (error(replay(today), hs[-1]) < PLAIN) == (T == 1)  # the cell goes on from another state
    if T == 1:
        assert error(actual, dy @ jacobians(name, today, stored, xs[-1])[1]) < PLAIN
    exact = dy @ whole_jacobian(lambda q: dense_run(name, q, h_0, xs, schedule)[-1], params)
    assert error(actual, exact) > 1e-4


@every_dense
def test_eq28_eq29_a_window_over_the_whole_run_is_rtrl(name: str) -> None:
    params, h_0, xs, rng = dense_material(name, 41)
    dy, h, S = rng.standard_normal(NH), h_0, np.zeros((NH, flat(params, params).size))
    for x in xs:
        J, F = jacobians(name, params, h, x)
        S, h = J @ S + F, dense_step(name, params, h, x)
    assert error(window_gradient(name, params, h_0, xs, dy), dy @ S) < COMPLEX_STEP
