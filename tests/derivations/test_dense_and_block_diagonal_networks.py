"""Dense and block-diagonal networks: (33) to (35)."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tolerances import COMPLEX_STEP, PLAIN

from derivations.calculus import Array, by_complex_step, error
from derivations.dense import DENSE, NH, dense_material, dense_reverse, dense_run, dense_step, linear_network
from derivations.units import STEPS, D, N, f_prime, material, rotation, run

EQUATIONS = {"vanilla": "eq33", "gru": "eq34", "pairs": "eq35"}
each_equation = pytest.mark.parametrize("name", [pytest.param(n, id=f"{EQUATIONS[n.split()[0]]}-{n}") for n in DENSE])


@each_equation
def test_steps_in_scalars(name: str) -> None:
    params, h, xs, _ = dense_material(name, 33)
    actual = dense_run(name, params, h, xs)

    def reach(column: int, weights: Array, values: Any) -> float:
        return sum(float(weights[j, column]) * float(v) for j, v in enumerate(values))

    squash: Callable[[float], float] = {"relu": lambda u: max(u, 0.0), "identity": lambda u: u}.get(
        name.split()[-1], math.tanh
    )
    W, R, b, expected = params["W_input"], params["W_recurrent"], params["b"], []
    for x in xs:
        before = [float(u) for u in h]
        after = []
        for i in range(NH):
            if name == "gru":  # r, z, n: the first, second and third n columns
                bh = params["b_recurrent"]
                reset = 1 / (1 + math.exp(-(reach(i, W, x) + b[i] + reach(i, R, before) + bh[i])))
                k = NH + i
                keep = 1 / (1 + math.exp(-(reach(k, W, x) + b[k] + reach(k, R, before) + bh[k])))
                k = 2 * NH + i
                fresh = math.tanh(reach(k, W, x) + b[k] + reset * (reach(k, R, before) + bh[k]))
                after.append((1 - keep) * fresh + keep * before[i])
            elif name.startswith("vanilla"):
                after.append(squash(reach(i, W, x) + reach(i, R, before) + b[i]))
            else:
                partner = i + 1 if i % 2 == 0 else i - 1
                own, other = R[i // 2, i % 2, i % 2], R[i // 2, partner % 2, i % 2]
                after.append(squash(reach(i, W, x) + own * before[i] + other * before[partner] + b[i]))
        h = np.array(after)
        expected.append(h)
    assert error(actual, expected) < PLAIN


@each_equation
def test_one_step_of_reverse_mode(name: str) -> None:
    params, h_0, xs, rng = dense_material(name, 34)
    everything, dy = params | {"h": h_0, "x": xs[0]}, rng.standard_normal(NH)
    a_hat, gradient, dx = dense_reverse(name, params, h_0, xs[0], dy)
    for block, actual in (gradient | {"h": a_hat, "x": dx}).items():
        expected = by_complex_step(lambda q: (dy * dense_step(name, q, q["h"], q["x"])).sum(), everything, block)
        assert error(actual, expected) < COMPLEX_STEP


@each_equation
def test_reverse_mode_over_a_run(name: str) -> None:
    params, h_0, xs, rng = dense_material(name, 35)
    dys, hs = rng.standard_normal((STEPS, NH)), dense_run(name, params, h_0, xs)
    hs_tm1, a_hat = np.concatenate([h_0[None], hs[:-1]]), np.zeros(NH)
    total = {block: np.zeros_like(value) for block, value in params.items()}
    for t in reversed(range(STEPS)):
        a_hat, gradient, _ = dense_reverse(name, params, hs_tm1[t], xs[t], dys[t] + a_hat)
        for block in params:
            total[block] += gradient[block]
    for block in params:
        expected = by_complex_step(lambda q: (dys * dense_run(name, q, h_0, xs)).sum(), params, block)
        assert error(total[block], expected) < COMPLEX_STEP


def test_eq33_vanilla_network_without_f_is_the_linear_network() -> None:
    A, B, h_0, xs, hs = linear_network(33)
    params = {"W_input": B.T, "W_recurrent": A.T, "b": np.zeros(7)}
    assert error(dense_run("vanilla identity", params, h_0, xs), hs) < PLAIN


def test_eq34_gates_of_the_gru_at_their_limits() -> None:
    params, h_0, xs, _ = dense_material("gru", 36)
    r, z, n = (slice(k * NH, (k + 1) * NH) for k in range(3))

    def with_gates(reset: float, keep: float) -> Array:
        b = params["b"].copy()
        b[r], b[z] = reset, keep
        return dense_run("gru", params | {"b": b}, h_0, xs)

    assert error(with_gates(0.0, 1e3), np.broadcast_to(h_0, (STEPS, NH))) < PLAIN  # z = 1 keeps the state
    parts = {"W_input": params["W_input"][:, n], "W_recurrent": params["W_recurrent"][:, n]}
    vanilla = parts | {"b": params["b"][n] + params["b_recurrent"][n]}
    hs = with_gates(200.0, -200.0)  # r = 1, z = 0: the vanilla network
    assert error(hs[:5], dense_run("vanilla tanh", vanilla, h_0, xs)[:5]) < PLAIN
    feedforward = np.tanh(xs @ parts["W_input"] + params["b"][n])  # r = 0, z = 0: even b_hn is shut out
    assert error(with_gates(-200.0, -200.0), feedforward) < PLAIN


@pytest.mark.parametrize("kind", ["tanh", "relu", "identity"])
def test_eq35_a_pair_is_sensitive_to_its_own_parameters_alone(kind: str) -> None:
    name = f"pairs {kind}"
    params, h_0, xs, rng = dense_material(name, 37)
    W, h = params["W_recurrent"], h_0
    e = {block: np.zeros((2, *value.shape)) for block, value in params.items()}  # of the pair's two units

    def pair_step(k: int, slope: Array, e: Array, s: Array) -> Array:
        e0 = slope[0] * (W[k, 0, 0] * e[0] + W[k, 1, 0] * e[1] + s[0])
        e1 = slope[1] * (W[k, 0, 1] * e[0] + W[k, 1, 1] * e[1] + s[1])
        return np.stack([e0, e1])

    for x in xs:
        h_tm1, h = h, dense_step(name, params, h, x)
        slopes = f_prime(kind, h)
        for k in range(NH // 2):
            for b in (0, 1):
                i, own, slope = 2 * k + b, np.eye(2)[b], slopes[2 * k : 2 * k + 2]
                e["W_input"][:, :, i] = pair_step(k, slope, e["W_input"][:, :, i], np.outer(own, x))
                e["b"][:, i] = pair_step(k, slope, e["b"][:, i], own)
                for a in (0, 1):
                    s = own * h_tm1[2 * k + a]
                    e["W_recurrent"][:, k, a, b] = pair_step(k, slope, e["W_recurrent"][:, k, a, b], s)
    dy = rng.standard_normal(NH)
    for block, value in params.items():
        jacobian = by_complex_step(lambda q: dense_run(name, q, h_0, xs)[-1], params, block)
        by_pair = jacobian.reshape(NH // 2, 2, *value.shape)
        pair_of = np.arange(NH // 2) if block == "W_recurrent" else np.arange(NH) // 2
        if block == "W_recurrent":
            pair_of = pair_of[:, None, None]
        own_pair = np.stack([np.where(pair_of == k, by_pair[k], 0) for k in range(NH // 2)])
        assert (own_pair == by_pair).all()
        assert error(e[block], own_pair.sum(0)) < COMPLEX_STEP
        credit = np.stack([np.repeat(dy[a::2], 2) for a in (0, 1)])
        if block == "W_recurrent":
            credit = credit[:, ::2].reshape(2, -1, 1, 1)
        else:
            credit = credit.reshape(2, *([1] * (value.ndim - 1)), NH)
        assert error((credit * e[block]).sum(0), np.tensordot(dy, jacobian, 1)) < COMPLEX_STEP


def test_eq35_linear_rtu_is_a_block_diagonal_network() -> None:
    params, c_0, xs, _ = material(38)
    r, theta, gamma = np.exp(-np.exp(params["nu_log"])), np.exp(params["theta_log"]), rotation(params)[2]
    blocks = [q * np.array([[np.cos(u), np.sin(u)], [-np.sin(u), np.cos(u)]]) for q, u in zip(r, theta, strict=True)]
    W = np.zeros((D, 2 * N))
    W[:, ::2], W[:, 1::2] = gamma * params["W1"], gamma * params["W2"]
    h, hs = c_0.T.ravel(), []
    for x in xs:
        h = x @ W + np.concatenate([h[2 * k : 2 * k + 2] @ block for k, block in enumerate(blocks)])
        hs.append(h)
    cs = run("linear", "identity", params, c_0, xs)[0]
    assert error(np.array(hs).reshape(STEPS, N, 2).transpose(0, 2, 1), cs) < PLAIN
