"""The linear network, (1), and the dense and block-diagonal ones, (33) to (35), with a step of reverse mode."""

import numpy as np
import pytest

from derivations.calculus import Array, Parameters, Schedule, fixed, flat
from derivations.units import STEPS, D, f, f_prime

DENSE = ("vanilla tanh", "vanilla relu", "vanilla identity", "gru", "pairs tanh", "pairs relu")
every_dense = pytest.mark.parametrize("name", DENSE)
NH = 4  # units; even, for pairs


def linear_network(seed: int) -> tuple[Array, Array, Array, Array, Array]:
    """A, B, h_0, inputs and the states of (1), for 7 units with real and complex eigenvalues."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((7, 7))
    A *= 0.97 / np.abs(np.linalg.eigvals(A)).max()
    B, h_0, xs = rng.standard_normal((7, D)), rng.standard_normal(7), rng.standard_normal((STEPS, D))
    h, hs = h_0, []
    for x in xs:
        h = A @ h + B @ x
        hs.append(h)
    return A, B, h_0, xs, np.array(hs)


def dense_material(name: str, seed: int, d: int = D) -> tuple[Parameters, Array, Array, np.random.Generator]:
    rng = np.random.default_rng(seed)
    recurrent: dict[str, tuple[int, ...]] = {"vanilla": (NH, NH), "gru": (NH, 3 * NH), "pairs": (NH // 2, 2, 2)}
    cell = name.split()[0]
    width = recurrent[cell][1] if cell != "pairs" else NH
    params = {
        "W_input": rng.standard_normal((d, width)),
        "W_recurrent": 0.9 * rng.standard_normal(recurrent[cell]) / np.sqrt(recurrent[cell][-2]),
        "b": 0.3 * rng.standard_normal(width),
    }
    if cell == "gru":
        params |= {"b_recurrent": rng.standard_normal(width)}
        params["W_recurrent"] *= 2
    if cell != "gru":
        params["W_recurrent"] *= 0.8
    return params, rng.standard_normal(NH), rng.standard_normal((STEPS, d)), rng


def gates(params: Parameters, h: Array, x: Array) -> tuple[Array, Array, Array, Array]:
    """r, z, n, m of (34); `b` is b_input."""
    on_input = np.split(x @ params["W_input"] + params["b"], 3)
    on_state = np.split(h @ params["W_recurrent"] + params["b_recurrent"], 3)
    r, z = (1 / (1 + np.exp(-on_input[k] - on_state[k])) for k in (0, 1))
    return r, z, np.tanh(on_input[2] + r * on_state[2]), on_state[2]


def dense_step(name: str, params: Parameters, h: Array, x: Array) -> Array:
    """h after a step of (33), (34) or (35)."""
    if name == "gru":
        _, z, n, _ = gates(params, h, x)
        return np.asarray((1 - z) * n + z * h)
    cell, kind = name.split()
    if cell == "vanilla":
        return f(kind, x @ params["W_input"] + h @ params["W_recurrent"] + params["b"])
    z = [
        x @ params["W_input"][:, 2 * k + b]
        + sum(h[2 * k + a] * params["W_recurrent"][k, a, b] for a in (0, 1))
        + params["b"][2 * k + b]
        for k in range(NH // 2)
        for b in (0, 1)
    ]
    return f(kind, np.array(z))


def dense_reverse(
    name: str, params: Parameters, h_tm1: Array, x: Array, total: Array
) -> tuple[Array, Parameters, Array]:
    """A step of reverse mode of (33), (34) or (35), from total = dl/dy + a_hat: a_hat_tm1, the gradient, dL/dx."""
    if name == "gru":
        r, z, n, m = gates(params, h_tm1, x)
        zeta_n = total * (1 - z) * (1 - n**2)
        zeta_r, zeta_z = zeta_n * m * r * (1 - r), total * (h_tm1 - n) * z * (1 - z)
        on_input, on_state = np.concatenate([zeta_r, zeta_z, zeta_n]), np.concatenate([zeta_r, zeta_z, r * zeta_n])
        gradient = {
            "W_input": np.outer(x, on_input),
            "W_recurrent": np.outer(h_tm1, on_state),
            "b": on_input,
            "b_recurrent": on_state,
        }
        return z * total + on_state @ params["W_recurrent"].T, gradient, on_input @ params["W_input"].T
    cell, kind = name.split()
    zeta = f_prime(kind, dense_step(name, params, h_tm1, x)) * total
    gradient = {"W_input": np.outer(x, zeta), "b": zeta}
    if cell == "vanilla":
        gradient["W_recurrent"] = np.outer(h_tm1, zeta)
        a_hat = zeta @ params["W_recurrent"].T
    else:
        gradient["W_recurrent"] = np.einsum("ka,kb->kab", h_tm1.reshape(-1, 2), zeta.reshape(-1, 2))
        a_hat = np.einsum("kb,kab->ka", zeta.reshape(-1, 2), params["W_recurrent"]).ravel()
    return a_hat, gradient, zeta @ params["W_input"].T


def dense_run(name: str, params: Parameters, h: Array, xs: Array, schedule: Schedule = fixed) -> Array:
    hs = []
    for t, x in enumerate(xs):
        h = dense_step(name, schedule(params, t), h, x)
        hs.append(h)
    return np.array(hs)


def jacobians(name: str, params: Parameters, h_tm1: Array, x: Array) -> tuple[Array, Array]:
    """J and F of (28), row by row, from one step of reverse mode each."""
    rows = [dense_reverse(name, params, h_tm1, x, unit) for unit in np.eye(NH)]
    return np.array([row[0] for row in rows]), np.array([flat(row[1], params) for row in rows])
