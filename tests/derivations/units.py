"""The two units, (4) to (15), with states (2, n) for c1 and c2, and runs (STEPS, 2, n) that start away from zero."""

import numpy as np
import pytest

from derivations.calculus import Array, Parameters, Schedule, fixed

N, D, STEPS = 5, 3, 60
BLOCKS = ("nu_log", "theta_log", "W1", "W2")
both_cells = pytest.mark.parametrize("cell", ["linear", "nonlinear"])
every_f = pytest.mark.parametrize("kind", ["identity", "relu", "tanh"])


def f(kind: str, z: Array) -> Array:
    values: dict[str, Array] = {"identity": z, "relu": np.where(z.real > 0, z, 0), "tanh": np.tanh(z)}
    return values[kind]


def f_prime(kind: str, y: Array) -> Array:
    """f'(z), from y = f(z)."""
    return {"identity": np.ones_like(y), "relu": (y > 0).astype(y.dtype), "tanh": 1 - y**2}[kind]


def rotation(params: Parameters) -> tuple[Array, Array, Array]:
    """(4), (5), (6): g, p, gamma."""
    nu, theta = np.exp(params["nu_log"]), np.exp(params["theta_log"])
    r = np.exp(-nu)
    return r * np.cos(theta), r * np.sin(theta), np.sqrt(-np.expm1(-2 * nu))


def rotation_derivatives(params: Parameters, block: str) -> tuple[Array, Array, Array]:
    """(9), (10): the derivatives of g, p, gamma by nu_log or theta_log."""
    g, p, gamma = rotation(params)
    nu, theta = np.exp(params["nu_log"]), np.exp(params["theta_log"])
    if block == "nu_log":
        return -nu * g, -nu * p, nu * np.exp(-nu) ** 2 / gamma
    return -theta * p, theta * g, 0 * gamma


def step(cell: str, kind: str, params: Parameters, c: Array, x: Array) -> tuple[Array, Array]:
    """(4), then (7) or (8): c and y after the step."""
    g, p, gamma = rotation(params)
    z1 = g * c[0] - p * c[1] + gamma * (x @ params["W1"])
    z2 = g * c[1] + p * c[0] + gamma * (x @ params["W2"])
    z = np.stack([z1, z2])
    y = f(kind, z)
    return (z, y) if cell == "linear" else (y, y)


def direct_effect(params: Parameters, block: str, c_tm1: Array, x: Array) -> Array:
    """What a parameter does within one step: the first four terms of the brackets in (11), and those of (17)."""
    gamma = rotation(params)[2]
    if block in ("W1", "W2"):
        effect = gamma * x[:, None]
        return np.stack([effect, 0 * effect] if block == "W1" else [0 * effect, effect])
    dg, dp, dgamma = rotation_derivatives(params, block)
    effect1 = dg * c_tm1[0] - dp * c_tm1[1] + dgamma * (x @ params["W1"])
    effect2 = dg * c_tm1[1] + dp * c_tm1[0] + dgamma * (x @ params["W2"])
    return np.stack([effect1, effect2])


def sensitivity(params: Parameters, block: str, slope: Array, e: Array, c_tm1: Array, x: Array) -> Array:
    """One step of (11), or of its cases (12) and (13); `slope` is (f'_1, f'_2)."""
    g, p, gamma = rotation(params)
    if block == "W1":
        e1 = slope[0] * (g * e[0] - p * e[1] + gamma * x[:, None])
        e2 = slope[1] * (g * e[1] + p * e[0])
    elif block == "W2":
        e1 = slope[0] * (g * e[0] - p * e[1])
        e2 = slope[1] * (g * e[1] + p * e[0] + gamma * x[:, None])
    else:
        effect = direct_effect(params, block, c_tm1, x)
        e1 = slope[0] * (effect[0] + g * e[0] - p * e[1])
        e2 = slope[1] * (effect[1] + g * e[1] + p * e[0])
    return np.stack([e1, e2])


def gradient(cell: str, kind: str, e: Array, y: Array, dy: Array) -> Array:
    """(15), with f' from y = f(c)."""
    a1, a2 = f_prime(kind, y) * dy if cell == "linear" else dy
    return np.asarray(a1 * e[0] + a2 * e[1])


def material(seed: int) -> tuple[Parameters, Array, Array, np.random.Generator]:
    """Parameters with r from .37 to .96, a start, inputs, and a generator for more."""
    rng = np.random.default_rng(seed)
    params = {
        "nu_log": rng.uniform(np.log(0.04), 0, N),
        "theta_log": np.log(rng.uniform(0.1, 6.28, N)),
        "W1": rng.standard_normal((D, N)),
        "W2": rng.standard_normal((D, N)),
    }
    return params, rng.standard_normal((2, N)), rng.standard_normal((STEPS, D)), rng


def run(
    cell: str, kind: str, params: Parameters, c: Array, xs: Array, schedule: Schedule = fixed
) -> tuple[Array, Array]:
    """States and features of a run, (STEPS, 2, N) each; `schedule` gives the parameters of step t."""
    cs, ys = [], []
    for t, x in enumerate(xs):
        c, y = step(cell, kind, schedule(params, t), c, x)
        cs.append(c)
        ys.append(y)
    return np.array(cs), np.array(ys)


def sensitivities(
    cell: str, kind: str, params: Parameters, c: Array, xs: Array, block: str, schedule: Schedule = fixed
) -> Array:
    """(11) to (13) over a run: (STEPS, 2, *shape of the block)."""
    e, es = np.zeros((2, *params[block].shape)), []
    for t, x in enumerate(xs):
        now, c_tm1 = schedule(params, t), c
        c, y = step(cell, kind, now, c_tm1, x)
        slope = np.ones_like(y) if cell == "linear" else f_prime(kind, y)
        e = sensitivity(now, block, slope, e, c_tm1, x)
        es.append(e)
    return np.array(es)


def own_unit(jacobian: Array) -> Array:
    """From d c_i / d (parameter of unit k) keep i = k, after seeing that all others are exactly zero."""
    shape = jacobian.shape[3:]
    by_unit = jacobian.reshape(STEPS, 2, N, -1, N)
    assert not (by_unit * (1 - np.eye(N))[:, None, :]).any()
    return np.asarray(np.einsum("tkiji->tkji", by_unit).reshape(STEPS, 2, *shape))
