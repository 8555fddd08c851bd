"""The equations of docs/derivations.md, each evaluated against a computation of another kind.

The equations stand here as the document writes them, in NumPy alone. Nothing is imported from the package, so that the
page and the package are two statements that can contradict each other. The other computations are complex arithmetic,
the complex step f'(x) = Im f(x + ih) / h, sums over the past written out in full, matrix equations and simulation.
`@equations(k)` names the numbers that a test evaluates; the last tests see to it that every number on the page has one.

Shapes: n != d, states (2, n) for c1 and c2, runs (STEPS, 2, n) that start away from zero.
"""

import importlib
import math
import re
from collections.abc import Callable
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from tolerances import COMPLEX_STEP, DIFFERENCES, PLAIN

Array = npt.NDArray[Any]
Parameters = dict[str, Array]
Schedule = Callable[[Parameters, int], Parameters]
Test = TypeVar("Test", bound=Callable[..., None])

# Like those of tolerances.py, relative to the largest element of what is expected.
QUADRATURE = 1e-7
SAMPLING = 0.03

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "derivations.md").read_text(encoding="utf-8")
LAST = 51

N, D, STEPS = 5, 3, 60
BLOCKS = ("nu_log", "theta_log", "W1", "W2")
both_cells = pytest.mark.parametrize("cell", ["linear", "nonlinear"])
every_f = pytest.mark.parametrize("kind", ["identity", "relu", "tanh"])

TESTED: dict[int, list[str]] = {}


def equations(*numbers: int) -> Callable[[Test], Test]:
    """Say which numbered equations a test evaluates."""

    def note(test: Test) -> Test:
        for k in numbers:
            TESTED.setdefault(k, []).append(test.__name__)
        return test

    return note


def error(actual: Any, expected: Any) -> float:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    scale = np.abs(expected).max()
    assert 0 < scale < np.inf, "nothing to compare with"
    return float(np.abs(actual - expected).max() / scale)


# ------------------------------------------------------------------------------------- the equations, as on the page


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


def td_step(
    w: Array, z: Array, y: Array, y_tm1: Array, cumulant: float, discount: float, lambda_: float, alpha: float
) -> tuple[float, Array, Array]:
    """(18), (19), (20), in the order of a step, for a linear readout of given features: delta, w, z."""
    delta = cumulant + discount * (w @ y) - w @ y_tm1
    w = w + alpha * delta * z
    return delta, w, discount * lambda_ * z + y


def bayes(isis: Array, itis: Array, us_length: int, discount: float) -> tuple[Array, Array]:
    """(25): values by time since CS onset and since US onset, solved for the one unknown U, the value at US onset."""
    one, U = np.array([1.0, 0.0]), np.array([0.0, 1.0])  # a + b U as (a, b)
    v_cs, v_us = np.zeros((isis.max() + 1, 2)), np.zeros((itis.max() + 1, 2))
    for k in reversed(range(isis.max())):
        hazard = (isis == k + 1).sum() / (isis >= k + 1).sum()
        v_cs[k] = hazard * (one + discount * U) + (1 - hazard) * discount * v_cs[k + 1]
    for m in reversed(range(itis.max())):
        hazard = (itis == m + 1).sum() / (itis >= m + 1).sum()
        v_us[m] = (m + 1 < us_length) * one + discount * (hazard * v_cs[0] + (1 - hazard) * v_us[m + 1])
    solved = np.array([1.0, v_us[0, 0] / (1 - v_us[0, 1])])
    return v_cs[:-1] @ solved, v_us[:-1] @ solved


# ----------------------------------------------------------------------------------------------- material for the tests


def fixed(params: Parameters, t: int) -> Parameters:
    return params


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


def by_complex_step(function: Callable[[Parameters], Array], params: Parameters, block: str) -> Array:
    """All derivatives of `function` by one block, each element bumped on its own; the block's axes come last."""
    h, value = 1e-30, params[block]
    bumps = 1j * h * np.eye(value.size).reshape(value.size, *value.shape)
    columns = np.stack([function(params | {block: value + bump}).imag / h for bump in bumps], axis=-1)
    return columns.reshape(*columns.shape[:-1], *value.shape)


def own_unit(jacobian: Array) -> Array:
    """From d c_i / d (parameter of unit k) keep i = k, after seeing that all others are exactly zero."""
    shape = jacobian.shape[3:]
    by_unit = jacobian.reshape(STEPS, 2, N, -1, N)
    assert not (by_unit * (1 - np.eye(N))[:, None, :]).any()
    return np.asarray(np.einsum("tkiji->tkji", by_unit).reshape(STEPS, 2, *shape))


# ---------------------------------------------------------------------------------------------------- from RNN to RTU


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


@equations(1)
def test_linear_network_sums_over_the_past() -> None:
    A, B, h_0, xs, hs = linear_network(1)
    powers = [np.linalg.matrix_power(A, k) for k in range(STEPS + 1)]
    expected = powers[STEPS] @ h_0 + sum(powers[STEPS - 1 - k] @ B @ xs[k] for k in range(STEPS))
    assert error(hs[-1], expected) < PLAIN


@equations(2)
def test_diagonal_complex_network_is_the_same_network() -> None:
    A, B, h_0, xs, hs = linear_network(3)
    Lambda, V = np.linalg.eig(A)
    V_inverse = np.linalg.inv(V)
    s, ss = V_inverse @ h_0, []
    for x in xs:
        s = Lambda * s + V_inverse @ B @ x
        ss.append(s)
    S = np.array(ss)
    assert error(S @ V.T, hs) < PLAIN
    # The real eigenvalues and one of each complex pair give all of h back.
    real, one = Lambda.imag == 0, Lambda.imag > 0
    assert (real.sum(), one.sum()) == (3, 2)
    pairs = 2 * (S[:, one].real @ V[:, one].real.T - S[:, one].imag @ V[:, one].imag.T)
    assert error(S[:, real].real @ V[:, real].real.T + pairs, hs) < PLAIN


@equations(2)
def test_almost_every_real_matrix_is_diagonalisable() -> None:
    As = np.random.default_rng(3).standard_normal((1000, 4, 4))
    values, V = np.linalg.eig(As)
    assert (np.abs(values[:, :, None] - values[:, None, :]) + np.eye(4)).min() > 0
    assert error((V * values[:, None, :]) @ np.linalg.inv(V), As) < 1e-9  # V is badly conditioned now and then
    assert error(np.sort_complex(values.conj()), np.sort_complex(values)) < PLAIN
    jordan = np.array([[1.0, 1.0], [0.0, 1.0]])  # the exception: one eigenvector where two are needed
    assert np.linalg.matrix_rank(jordan - np.eye(2)) == 1


@equations(5)
def test_parameters_give_every_stable_eigenvalue_and_no_other() -> None:
    rng = np.random.default_rng(5)
    wanted = rng.uniform(0.001, 0.999, 100) * np.exp(1j * rng.uniform(-np.pi, np.pi, 100))
    params = {"nu_log": np.log(-np.log(np.abs(wanted))), "theta_log": np.log(np.angle(wanted) % (2 * np.pi))}
    g, p, _ = rotation(params)
    assert error(g + 1j * p, wanted) < PLAIN
    g, p, _ = rotation({"nu_log": np.linspace(-30, 3, 100), "theta_log": np.linspace(-9, 9, 100)})
    assert ((np.hypot(g, p) > 0) & (np.hypot(g, p) < 1)).all()


@equations(6)
def test_normalisation_keeps_the_size_of_the_state_and_its_own_digits() -> None:
    nu_log = np.linspace(-5, 1, 7)
    r, gamma = np.exp(-np.exp(nu_log)), rotation({"nu_log": nu_log, "theta_log": nu_log})[2]
    variance = sum((gamma * r**k) ** 2 for k in range(4000))  # of the state, for a white drive of variance 1
    assert error(variance, np.ones(7)) < PLAIN
    tiny = np.array([-690.0, -45.0, -38.0, -20.0])
    with localcontext() as context:
        context.prec = 400
        exact = np.array([float((1 - (-2 * Decimal(x).exp()).exp()).sqrt()) for x in tiny])
    gamma, naive = rotation({"nu_log": tiny, "theta_log": tiny})[2], np.sqrt(1 - np.exp(-np.exp(tiny)) ** 2)
    assert error(gamma / exact, np.ones(4)) < PLAIN
    assert (np.abs(naive / exact - 1) > [0.9, 0.9, 0.9, 1e-9]).all()


# -------------------------------------------------------------------------------------------------------- the two cells


@equations(3, 4, 7)
@every_f
def test_linear_unit_is_one_complex_number(kind: str) -> None:
    params, c_0, xs, _ = material(7)
    lam = np.exp(-np.exp(params["nu_log"]) + 1j * np.exp(params["theta_log"]))
    drive = np.sqrt(1 - np.abs(lam) ** 2) * (xs @ (params["W1"] + 1j * params["W2"]))
    c = c_0[0] + 1j * c_0[1]
    summed = lam**STEPS * c + sum(lam ** (STEPS - 1 - k) * drive[k] for k in range(STEPS))
    cs, ys = run("linear", kind, params, c_0, xs)
    for t in range(STEPS):
        c = lam * c + drive[t]
        assert error(cs[t], [c.real, c.imag]) < PLAIN
        assert error(ys[t], f(kind, np.array([c.real, c.imag]))) < PLAIN
    assert error(c, summed) < PLAIN


@equations(8)
@every_f
def test_nonlinear_unit_applies_f_within_the_recurrence(kind: str) -> None:
    params, c_0, xs, _ = material(8)
    cs, ys = run("nonlinear", kind, params, c_0, xs)
    scalar_f: dict[str, Callable[[float], float]] = {
        "identity": lambda a: a,
        "relu": lambda a: max(a, 0.0),
        "tanh": math.tanh,
    }
    expected = np.zeros_like(cs)
    for i in range(N):  # unit by unit, in complex scalars
        lam = np.exp(-np.exp(params["nu_log"][i]) + 1j * np.exp(params["theta_log"][i]))
        w, c = params["W1"][:, i] + 1j * params["W2"][:, i], complex(*c_0[:, i])
        for t, x in enumerate(xs):
            z = lam * c + np.sqrt(1 - abs(lam) ** 2) * (w @ x)
            c = complex(scalar_f[kind](z.real), scalar_f[kind](z.imag))
            expected[t, :, i] = c.real, c.imag
    assert error(cs, expected) < PLAIN
    assert error(ys, expected) < PLAIN
    assert (error(cs, run("linear", kind, params, c_0, xs)[0]) < PLAIN) == (kind == "identity")


# -------------------------------------------------------------------------------------------------------- sensitivities


@equations(9, 10)
@pytest.mark.parametrize("block", ["nu_log", "theta_log"])
def test_derivatives_of_the_rotation(block: str) -> None:
    params = material(9)[0]
    expected = by_complex_step(lambda q: np.stack(rotation(q)), params, block)
    for k, actual in enumerate(rotation_derivatives(params, block)):
        if block == "theta_log" and k == 2:
            assert not (np.diag(actual) + expected[k]).any()
        else:
            assert error(np.diag(actual), expected[k]) < COMPLEX_STEP
    slow = {"nu_log": np.array([-100.0, -600.0]), "theta_log": np.zeros(2)}
    assert error(rotation_derivatives(slow, "nu_log")[2] / rotation(slow)[2], [0.5, 0.5]) < PLAIN


@equations(11, 12, 13)
@both_cells
@every_f
@pytest.mark.parametrize("block", BLOCKS)
def test_sensitivities(cell: str, kind: str, block: str) -> None:
    params, c_0, xs, _ = material(11)
    expected = own_unit(by_complex_step(lambda q: run(cell, kind, q, c_0, xs)[0], params, block))
    actual = sensitivities(cell, kind, params, c_0, xs, block)
    for t in range(1, STEPS):
        assert error(actual[t], expected[t]) < COMPLEX_STEP


@equations(11)
@both_cells
@pytest.mark.parametrize("block", BLOCKS)
def test_stale_sensitivities_are_exact_for_a_common_shift(cell: str, block: str) -> None:
    params, c_0, xs, rng = material(12)
    drift = {name: 0.05 * rng.standard_normal((STEPS, *value.shape)).cumsum(0) for name, value in params.items()}

    def schedule(p: Parameters, t: int) -> Parameters:
        return {name: p[name] + drift[name][t] for name in BLOCKS}

    expected = own_unit(by_complex_step(lambda q: run(cell, "tanh", q, c_0, xs, schedule)[0], params, block))
    actual = sensitivities(cell, "tanh", params, c_0, xs, block, schedule)
    assert error(actual, expected) < COMPLEX_STEP
    throughout = sensitivities(cell, "tanh", schedule(params, STEPS - 1), c_0, xs, block)
    assert error(actual[-1], throughout[-1]) > 1e-3


@equations(14)
@every_f
def test_one_complex_sensitivity_per_pair_of_weights(kind: str) -> None:
    params, c_0, xs, rng = material(14)
    drift = 0.1 * rng.standard_normal((STEPS, N))

    def schedule(p: Parameters, t: int) -> Parameters:
        return p | {"nu_log": p["nu_log"] + drift[t], "theta_log": p["theta_log"] - drift[t]}

    for cell in ("linear", "nonlinear"):
        e = sensitivities(cell, kind, params, c_0, xs, "W1", schedule)
        difference = error(np.stack([-e[:, 1], e[:, 0]], 1), sensitivities(cell, kind, params, c_0, xs, "W2", schedule))
        if cell == "linear" or kind == "identity":
            assert difference < PLAIN
        else:
            assert difference > 0.01


def test_deviations_would_be_seen() -> None:
    """Rows 1 and 3 of the page's list: the first is plain, the second is too small for finite differences."""
    params = material(15)[0]
    g, p, gamma = rotation(params)
    dg, dp, _ = rotation_derivatives(params, "theta_log")
    assert min(error(-p, dg), error(g, dp)) > 0.1
    assert error(-p * np.exp(params["theta_log"]), dg) < PLAIN
    nu = np.exp(params["nu_log"])
    released = error(nu * np.exp(-2 * nu) / (gamma + 1e-8), rotation_derivatives(params, "nu_log")[2])
    assert COMPLEX_STEP < released < DIFFERENCES


# --------------------------------------------------------------------------------------------------------- the gradient


@equations(15)
@both_cells
@every_f
def test_gradient_from_sensitivities(cell: str, kind: str) -> None:
    params, c_0, xs, rng = material(15)
    dy, y = rng.standard_normal((2, N)), run(cell, kind, params, c_0, xs)[1][-1]
    es = {block: sensitivities(cell, kind, params, c_0, xs, block)[-1] for block in BLOCKS}
    for block in BLOCKS:
        expected = by_complex_step(lambda q: (dy * run(cell, kind, q, c_0, xs)[1][-1]).sum(), params, block)
        assert error(gradient(cell, kind, es[block], y, dy), expected) < COMPLEX_STEP
    if cell == "linear":  # that of W2 from the sensitivity of W1; `expected` is still of W2
        a1, a2 = f_prime(kind, y) * dy
        assert error(a2 * es["W1"][0] - a1 * es["W1"][1], expected) < COMPLEX_STEP


@equations(16)
@both_cells
@every_f
def test_gradient_by_the_input_is_one_step(cell: str, kind: str) -> None:
    params, c_0, xs, rng = material(16)
    dy, y = rng.standard_normal((2, N)), run(cell, kind, params, c_0, xs)[1][-1]
    b = f_prime(kind, y) * dy
    actual = (rotation(params)[2] * (b[0] * params["W1"] + b[1] * params["W2"])).sum(axis=1)
    c_0 = run(cell, kind, params, c_0, xs[:-2])[0][-1]
    last = by_complex_step(lambda q: (dy * run(cell, kind, params, c_0, q["xs"])[1][-1]).sum(), {"xs": xs[-2:]}, "xs")
    assert error(actual, last[1]) < COMPLEX_STEP
    assert np.abs(last[0]).max() > 1e-3  # the input before matters too, and is left out


@equations(17)
@both_cells
@every_f
def test_reverse_mode_equals_rtrl(cell: str, kind: str) -> None:
    params, c_0, xs, rng = material(17)
    dys = rng.standard_normal((STEPS, 2, N))
    cs, ys = run(cell, kind, params, c_0, xs)
    cs_tm1, slopes = np.concatenate([c_0[None], cs[:-1]]), f_prime(kind, ys)
    g, p, _ = rotation(params)
    a_hat, total = np.zeros((2, N)), {block: np.zeros_like(value) for block, value in params.items()}
    for t in reversed(range(STEPS)):
        b = slopes[t] * dys[t] + (a_hat if cell == "linear" else slopes[t] * a_hat)
        for block in BLOCKS:
            effect = direct_effect(params, block, cs_tm1[t], xs[t])
            total[block] += b[0] * effect[0] + b[1] * effect[1]
        a_hat = np.stack([g * b[0] + p * b[1], g * b[1] - p * b[0]])

    def loss(q: Parameters) -> Array:
        return np.asarray((dys * run(cell, kind, q, q["c_0"], xs)[1]).sum())

    everything = params | {"c_0": c_0}
    assert error(a_hat, by_complex_step(loss, everything, "c_0")) < COMPLEX_STEP
    for block in BLOCKS:
        assert error(total[block], by_complex_step(loss, everything, block)) < COMPLEX_STEP
        es = sensitivities(cell, kind, params, c_0, xs, block)
        rtrl = sum(gradient(cell, kind, es[t], ys[t], dys[t]) for t in range(STEPS))
        assert error(rtrl, total[block]) < COMPLEX_STEP
    direction = {name: 1e-6 * rng.standard_normal(value.shape) for name, value in params.items()}
    ahead, behind = (loss({n: v + s * direction.get(n, 0) for n, v in everything.items()}) for s in (1, -1))
    assert error(sum((total[n] * direction[n]).sum() for n in BLOCKS), (ahead - behind) / 2) < DIFFERENCES


# ----------------------------------------------------------------------------------------------- learning from a stream


def stream(seed: int) -> tuple[Array, Array, Array, Array]:
    """Features (STEPS + 1, 2N), cumulants, discounts, one of which is zero, and a readout."""
    rng = np.random.default_rng(seed)
    discounts = rng.uniform(0.7, 1.0, STEPS + 1)
    discounts[STEPS // 2] = 0
    ys, cumulants = rng.standard_normal((STEPS + 1, 2 * N)), rng.standard_normal(STEPS + 1)
    return ys, cumulants, discounts, rng.standard_normal(2 * N)


@equations(18, 19, 20)
def test_td_is_a_linear_system() -> None:
    """w <- (I - alpha A) w + alpha b, true only if both values in delta are read with the present w."""
    ys, cumulants, discounts, w = stream(18)
    lambda_, alpha, z, solved = 0.8, 0.01, ys[0], w
    for t in range(1, STEPS + 1):
        z_tm1 = sum(np.prod(lambda_ * discounts[k + 1 : t]) * ys[k] for k in range(t))
        assert error(z, z_tm1) < PLAIN
        A, b = np.outer(z_tm1, ys[t - 1] - discounts[t] * ys[t]), cumulants[t] * z_tm1
        delta = cumulants[t] - (ys[t - 1] - discounts[t] * ys[t]) @ solved
        solved = (np.eye(2 * N) - alpha * A) @ solved + alpha * b
        actual, w, z = td_step(w, z, ys[t], ys[t - 1], cumulants[t], discounts[t], lambda_, alpha)
        assert abs(actual - delta) < PLAIN * np.abs(cumulants).max()
        assert error(w, solved) < PLAIN
        assert discounts[t] != 0 or (z == ys[t]).all()


@equations(18, 20)
@pytest.mark.parametrize("terminated", [True, False], ids=["terminated", "truncated"])
@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
def test_updates_of_an_episode_sum_to_the_lambda_return(terminated: bool, lambda_: float) -> None:
    ys, cumulants, discounts, w = stream(20)
    total, z = np.zeros(2 * N), ys[0]
    for t in range(1, STEPS + 1):
        discount = 0.0 if terminated and t == STEPS else discounts[t]
        delta, _, z_t = td_step(w, z, ys[t], ys[t - 1], cumulants[t], discount, lambda_, 0.0)
        total, z = total + delta * z, z_t
    values = ys @ w
    if terminated:
        values[-1] = 0
    expected, G = np.zeros(2 * N), values[-1]
    for t in reversed(range(STEPS)):
        G = cumulants[t + 1] + discounts[t + 1] * ((1 - lambda_) * values[t + 1] + lambda_ * G)
        expected += (G - values[t]) * ys[t]
    assert error(total, expected) < PLAIN


@equations(21)
def test_obgd_bounds_the_update() -> None:
    rng, bounded = np.random.default_rng(21), 0
    for _ in range(200):
        z, delta = rng.standard_normal(N) * 10 ** rng.uniform(-3, 2), 3 * rng.standard_normal()
        alpha, kappa = rng.uniform(0.1, 2), rng.uniform(1, 3)
        eta = alpha * delta / max(1, alpha * kappa * max(abs(delta), 1) * np.abs(z).sum())
        plain, bound = np.abs(alpha * delta * z).sum(), min(abs(delta), 1) / kappa
        assert error(eta * z, min(plain, bound) * delta * z / np.abs(delta * z).sum()) < PLAIN
        bounded += plain > bound
    assert 20 < bounded < 180  # both cases came up


@equations(22, 23)
def test_adam_and_rmsprop_divide_weighted_averages() -> None:
    rng = np.random.default_rng(22)
    directions = rng.standard_normal((STEPS, N)) * 10.0 ** np.arange(-3, 2)
    alpha, beta1, beta2, eps = 0.01, 0.9, 0.99, 1e-3
    m, s = np.zeros(N), np.zeros(N)
    for tau in range(1, STEPS + 1):
        a, past = directions[tau - 1], directions[:tau]
        m, s = beta1 * m + (1 - beta1) * a, beta2 * s + (1 - beta2) * a**2
        adam = alpha * (m / (1 - beta1**tau)) / (np.sqrt(s / (1 - beta2**tau)) + eps)
        rmsprop = alpha * a / (np.sqrt(s) + eps)
        age = np.arange(tau)[::-1]
        mean, square = np.average(past, 0, beta1**age), np.average(past**2, 0, beta2**age)  # weights that sum to 1
        assert error(adam, alpha * mean / (np.sqrt(square) + eps)) < COMPLEX_STEP
        assert error(rmsprop, alpha * a / (np.sqrt((1 - beta2) * (beta2**age @ past**2)) + eps)) < COMPLEX_STEP


@equations(24)
def test_starting_values_are_uniform_on_the_ring() -> None:
    r_min, r_max, max_phase, n, d = 0.3, 0.9, 2.0, 4000, 8
    u = (np.arange(n) + 0.5) / n
    r = np.sqrt(r_min**2 + (r_max**2 - r_min**2) * u)
    for k in range(1, 5):  # the mean of r^k over the ring's area
        expected = 2 * (r_max ** (k + 2) - r_min ** (k + 2)) / ((k + 2) * (r_max**2 - r_min**2))
        assert error((r**k).mean(), expected) < QUADRATURE
    rng = np.random.default_rng(24)
    theta = max_phase * rng.permutation(u)
    g, p, gamma = rotation({"nu_log": np.log(-0.5 * np.log(r**2)), "theta_log": np.log(theta)})
    assert error(g + 1j * p, r * np.exp(1j * theta)) < PLAIN
    # W of variance 1/d and inputs of variance 1: a second moment of 1 for each part of the stationary state.
    w = (rng.standard_normal((d, n)) + 1j * rng.standard_normal((d, n))) / np.sqrt(d)
    responses = [gamma * (g + 1j * p) ** k * w for k in range(200)]
    parts = [sum((c.real**2).sum(0) for c in responses).mean(), sum((c.imag**2).sum(0) for c in responses).mean()]
    assert error(parts, [1, 1]) < SAMPLING


# ------------------------------------------------------------------------------------------------------ the Bayes floor

ITIS, US_LENGTH = np.arange(80, 121), 2
conditioning = pytest.mark.parametrize(("isi", "discount"), [(10, 0.9), (20, 0.95), (40, 0.975)])


def around(isi: int) -> Array:
    return np.arange(isi - isi // 3, isi + isi // 3 + 1)


@equations(25)
@conditioning
def test_bayes_prediction_solves_the_markov_chain(isi: int, discount: float) -> None:
    isis = around(isi)
    v_cs, v_us = bayes(isis, ITIS, US_LENGTH, discount)
    a, b = len(v_cs), len(v_us)
    chain, cumulant = np.zeros((a + b, a + b)), np.zeros((a + b, a + b))
    for k in range(a):
        chain[k, a] = np.mean(isis[k < isis] == k + 1)
        chain[k, min(k + 1, a)] += 1 - chain[k, a]
    for m in range(b):
        chain[a + m, 0] = np.mean(ITIS[m < ITIS] == m + 1)
        chain[a + m, (a + m + 1) % (a + b)] += 1 - chain[a + m, 0]
    cumulant[:, a : a + US_LENGTH] = 1  # while the US is on, whichever step leads there
    v = np.linalg.solve(np.eye(a + b) - discount * chain, (chain * cumulant).sum(1))
    assert error(np.concatenate([v_cs, v_us]), v) < PLAIN
    # The closed form, and the table of what is left.
    to_us, to_cs = np.mean(discount ** (isis - 1.0)), np.mean(discount ** ITIS.astype(float))  # the page's D and Q
    S = sum(discount ** (m - 1) for m in range(1, US_LENGTH))
    assert error(v_us[0], (S + to_cs * to_us) / (1 - discount * to_cs * to_us)) < PLAIN
    assert error(v_cs[0], to_us * (1 + discount * v_us[0])) < PLAIN
    surprise = (chain * (cumulant + discount * v - v[:, None]) ** 2).sum(1)
    M = np.linalg.solve(np.eye(a + b) - discount**2 * chain, surprise)
    visits = np.array([np.mean(k < isis) for k in range(a)] + [np.mean(m < ITIS) for m in range(b)])
    floor = np.average(M, weights=visits)
    spread = np.average(M + v**2, weights=visits) - np.average(v, weights=visits) ** 2
    assert f"| {isi} | {discount} | {floor:.5f} | {spread:.5f} |" in PAGE


@equations(25)
@conditioning
def test_bayes_prediction_on_a_simulated_stream(isi: int, discount: float) -> None:
    rng, isis = np.random.default_rng(isi), around(isi)
    v_cs, v_us = bayes(isis, ITIS, US_LENGTH, discount)
    us, v = [], []
    for _ in range(2000):
        i, j = rng.choice(isis), rng.choice(ITIS)
        us += [0] * i + [1] * US_LENGTH + [0] * (j - US_LENGTH)
        v += [*v_cs[:i], *v_us[:j]]
    G, returns = 0.0, np.zeros(len(us))
    for t in reversed(range(len(us) - 1)):
        G = us[t + 1] + discount * G
        returns[t] = G
    settled = slice(0, -1000)
    msre = np.mean((np.array(v) - returns)[settled] ** 2)
    stated = re.search(rf"\| {isi} \| {discount} \| ([.\d]+) \|", PAGE)
    assert stated
    assert error(msre, float(stated[1])) < SAMPLING
    shifted = np.mean((np.array([v[0], *v])[:-1] - returns)[settled] ** 2)
    assert shifted > 1.1 * msre  # a prediction late by one step is seen


# ------------------------------------------------------------------------------------------------- variants of the unit

FORMS = ("nu_log/theta_log", "nu_log/theta", "nu/theta", "r/theta")
every_form = pytest.mark.parametrize("form", FORMS)
LOW, HIGH = 1e-6, 1 - 1e-6


def eigenvalue(form: str, a: Array, b: Array) -> tuple[Array, Array]:
    """The table before (26): r, theta."""
    modulus, phase = form.split("/")
    clipped = np.where(a.real <= LOW, LOW, np.where(a.real >= HIGH, HIGH, a))
    r = {"nu_log": lambda: np.exp(-np.exp(a)), "nu": lambda: np.exp(-a), "r": lambda: clipped}[modulus]()
    return r, np.exp(b) if phase == "theta_log" else b


def eigenvalue_derivatives(form: str, a: Array, b: Array) -> tuple[Array, Array]:
    """The table before (26): d log r / da, d theta / db."""
    modulus, phase = form.split("/")
    if modulus == "r":
        dlog_r = np.where((a > LOW) & (a < HIGH), 1 / a, 0)
    else:
        dlog_r = -np.exp(a) if modulus == "nu_log" else -np.ones_like(a)
    return dlog_r, np.exp(b) if phase == "theta_log" else np.ones_like(b)


def input_scale(params: Parameters, r: Array) -> Array:
    """(27) where the scale is free, (6) where it is tied."""
    return np.exp(params["gamma_log"]) if "gamma_log" in params else np.sqrt(1 - r**2)


def parts(form: str, params: Parameters) -> Array:
    """g, p, gamma, from their definitions: (3, N)."""
    r, theta = eigenvalue(form, params["a"], params["b"])
    return np.stack([r * np.cos(theta), r * np.sin(theta), input_scale(params, r)])


def diagonal_material(form: str, seed: int, scale: str) -> tuple[Parameters, Array, Array, np.random.Generator]:
    """As `material`, with the eigenvalues in another form, and gamma_log where the scale is free."""
    old, c_0, xs, rng = material(seed)
    nu, theta = np.exp(old["nu_log"]), np.exp(old["theta_log"])
    modulus, phase = form.split("/")
    params = {
        "a": {"nu_log": np.log(nu), "nu": nu, "r": np.exp(-nu)}[modulus],
        "b": np.log(theta) if phase == "theta_log" else theta,
        "W1": old["W1"],
        "W2": old["W2"],
    }
    return params | ({"gamma_log": rng.uniform(-2, 0.5, N)} if scale == "free" else {}), c_0, xs, rng


@equations(26)
@every_form
@pytest.mark.parametrize("scale", ["tied", "free"])
def test_parameterisations_of_the_eigenvalue(form: str, scale: str) -> None:
    params = diagonal_material(form, 26, scale)[0]
    g, p, _ = rotation(material(26)[0])
    assert error(parts(form, params)[:2], [g, p]) < PLAIN  # all forms can say the same
    if form == "r/theta":
        params["a"][:2] = -0.3, 1.2  # clipped at both ends
    dlog_r, dtheta = eigenvalue_derivatives(form, params["a"], params["b"])
    r, theta = eigenvalue(form, params["a"], params["b"])
    lam, gamma = r * np.exp(1j * theta), input_scale(params, r)
    dgamma = -dlog_r * r**2 / gamma if scale == "tied" else 0 * gamma
    by_a = by_complex_step(lambda q: parts(form, q), params, "a")
    by_b = by_complex_step(lambda q: parts(form, q), params, "b")
    assert error(np.diag(dlog_r * lam), by_a[0] + 1j * by_a[1]) < COMPLEX_STEP
    assert error(np.diag(1j * dtheta * lam), by_b[0] + 1j * by_b[1]) < COMPLEX_STEP
    assert not by_b[2].any()
    if scale == "tied":
        assert error(np.diag(dgamma), by_a[2]) < COMPLEX_STEP
    else:
        assert not dgamma.any()
        assert not by_a[2].any()
    if form == "r/theta":
        assert (r[:2] == (LOW, HIGH)).all()
        assert not dlog_r[:2].any()
        assert not by_a[:, :2].any()
        assert dlog_r[2:].all()


@equations(26)
def test_first_form_is_the_special_case() -> None:
    params = material(27)[0]
    g, p, gamma = rotation(params)
    dlog_r, dtheta = eigenvalue_derivatives("nu_log/theta_log", params["nu_log"], params["theta_log"])
    assert (
        error(
            np.stack([dlog_r * g, dlog_r * p, -dlog_r * (g**2 + p**2) / gamma]),
            np.stack(rotation_derivatives(params, "nu_log")),
        )
        < PLAIN
    )
    assert error(np.stack([-dtheta * p, dtheta * g]), np.stack(rotation_derivatives(params, "theta_log")[:2])) < PLAIN
    moduli = eigenvalue("nu/theta", np.array([-0.5, 0.0, 0.5]), np.zeros(3))[0]
    assert ((1 - moduli**2 > 0) == [False, False, True]).all()  # no gamma without a positive nu


def diagonal_run(form: str, params: Parameters, c: Array, xs: Array) -> Array:
    """States of (4) with g, p, gamma from `parts`, in real numbers: (STEPS, 2, N)."""
    g, p, gamma = parts(form, params)
    cs = []
    for x in xs:
        drive1, drive2 = gamma * (x @ params["W1"]), gamma * (x @ params["W2"])
        c = np.stack([g * c[0] - p * c[1] + drive1, g * c[1] + p * c[0] + drive2])
        cs.append(c)
    return np.array(cs)


def diagonal_sensitivities(form: str, params: Parameters, c_0: Array, xs: Array) -> dict[str, Array]:
    """(26), (27) at the end of a run: complex e for a, b, gamma_log, W1, W2."""
    (dlog_r, dtheta), (r, theta) = (k(form, params["a"], params["b"]) for k in (eigenvalue_derivatives, eigenvalue))
    lam, gamma, h = r * np.exp(1j * theta), input_scale(params, r), c_0[0] + 1j * c_0[1]
    dgamma = 0 * r if "gamma_log" in params else -dlog_r * r**2 / gamma
    e = {name: np.zeros(value.shape, complex) for name, value in params.items()}
    for x in xs:
        drive = x @ (params["W1"] + 1j * params["W2"])
        e["a"] = lam * e["a"] + dlog_r * lam * h + dgamma * drive
        e["b"] = lam * e["b"] + 1j * dtheta * lam * h
        e["W1"] = lam * e["W1"] + gamma * x[:, None]
        e["W2"] = 1j * e["W1"]
        if "gamma_log" in e:
            e["gamma_log"] = lam * e["gamma_log"] + gamma * drive
        h = lam * h + gamma * drive
    return e


@equations(26, 27)
@every_form
@pytest.mark.parametrize("scale", ["tied", "free"])
def test_sensitivities_with_any_form_and_scale(form: str, scale: str) -> None:
    params, c_0, xs, _ = diagonal_material(form, 28, scale)
    actual = diagonal_sensitivities(form, params, c_0, xs)
    for block in params:
        expected = own_unit(by_complex_step(lambda q: diagonal_run(form, q, c_0, xs), params, block))[-1]
        assert error(np.stack([actual[block].real, actual[block].imag]), expected) < COMPLEX_STEP


@equations(27)
def test_lru_recurrence_and_its_released_error() -> None:
    params, c_0, xs, rng = diagonal_material("nu_log/theta_log", 29, "free")
    lam = np.exp(-np.exp(params["a"]) + 1j * np.exp(params["b"]))
    drive = np.exp(params["gamma_log"]) * (xs @ (params["W1"] + 1j * params["W2"]))
    h = lam**STEPS * (c_0[0] + 1j * c_0[1]) + sum(lam ** (STEPS - 1 - k) * drive[k] for k in range(STEPS))
    assert error(diagonal_run("nu_log/theta_log", params, c_0, xs)[-1], np.stack([h.real, h.imag])) < PLAIN
    params["gamma_log"] = 0.5 * np.log(1 - np.abs(lam) ** 2)  # the start
    due = diagonal_sensitivities("nu_log/theta_log", params, c_0, xs)["W1"]
    released = sum(lam ** (STEPS - 1 - k) * params["gamma_log"] * xs[k][:, None] for k in range(STEPS))
    ratio = released / due
    assert error(ratio, np.broadcast_to(params["gamma_log"] / np.exp(params["gamma_log"]), (D, N))) < COMPLEX_STEP
    assert (ratio.real < 0).all()
    assert error(released, due) > 1
    # Starting values: a state and an output of second moment 1 for white inputs of variance 1.
    n, d = 4000, 8
    r, theta = np.sqrt((np.arange(n) + 0.5) / n * 0.81), rng.uniform(0, 6.28, n)
    scaled = np.sqrt(1 - r**2) * (rng.standard_normal((d, n)) + 1j * rng.standard_normal((d, n))) / np.sqrt(2 * d)
    responses = [(r * np.exp(1j * theta)) ** k * scaled for k in range(200)]
    assert error(sum((np.abs(e) ** 2).sum(0) for e in responses).mean(), 1.0) < SAMPLING
    C_re, C_im = rng.standard_normal((2, n, 100)) / np.sqrt(n)
    output = sum(((e.real @ C_re - e.imag @ C_im) ** 2).sum(0).mean() for e in responses)
    assert error(output, 1.0) < SAMPLING


# ----------------------------------------------------------------------------------- dense and block-diagonal networks

DENSE = ("vanilla tanh", "vanilla relu", "vanilla identity", "gru", "pairs tanh", "pairs relu")
every_dense = pytest.mark.parametrize("name", DENSE)
NH = 4  # units; even, for pairs


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


def flat(params: Parameters, order: Parameters) -> Array:
    return np.concatenate([params[name].ravel() for name in order])


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


def whole_jacobian(function: Callable[[Parameters], Array], params: Parameters) -> Array:
    """By complex step, all parameters in one last axis."""
    blocks = [by_complex_step(function, params, name) for name in params]
    return np.concatenate(
        [b.reshape(*b.shape[: b.ndim - params[n].ndim], -1) for b, n in zip(blocks, params, strict=True)], -1
    )


@equations(33, 34, 35)
@every_dense
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


@equations(33, 34, 35)
@every_dense
def test_one_step_of_reverse_mode(name: str) -> None:
    params, h_0, xs, rng = dense_material(name, 34)
    everything, dy = params | {"h": h_0, "x": xs[0]}, rng.standard_normal(NH)
    a_hat, gradient, dx = dense_reverse(name, params, h_0, xs[0], dy)
    for block, actual in (gradient | {"h": a_hat, "x": dx}).items():
        expected = by_complex_step(lambda q: (dy * dense_step(name, q, q["h"], q["x"])).sum(), everything, block)
        assert error(actual, expected) < COMPLEX_STEP


@equations(33, 34, 35)
@every_dense
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


@equations(33)
def test_vanilla_network_without_f_is_the_linear_network() -> None:
    A, B, h_0, xs, hs = linear_network(33)
    params = {"W_input": B.T, "W_recurrent": A.T, "b": np.zeros(7)}
    assert error(dense_run("vanilla identity", params, h_0, xs), hs) < PLAIN


@equations(34)
def test_gates_of_the_gru_at_their_limits() -> None:
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


@equations(35)
@pytest.mark.parametrize("kind", ["tanh", "relu", "identity"])
def test_a_pair_is_sensitive_to_its_own_parameters_alone(kind: str) -> None:
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


@equations(35)
def test_linear_rtu_is_a_block_diagonal_network() -> None:
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


# ------------------------------------------------------------------------------- other ways of carrying the gradient


@equations(28)
@every_dense
def test_dense_rtrl(name: str) -> None:
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


@equations(28)
def test_rtrl_of_units_is_the_dense_recursion_in_blocks() -> None:
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


@equations(29)
@every_dense
@pytest.mark.parametrize("T", [1, 2, 7])
def test_truncated_bptt_is_exact_within_its_window(name: str, T: int) -> None:
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


@equations(28, 29)
@every_dense
def test_a_window_over_the_whole_run_is_rtrl(name: str) -> None:
    params, h_0, xs, rng = dense_material(name, 41)
    dy, h, S = rng.standard_normal(NH), h_0, np.zeros((NH, flat(params, params).size))
    for x in xs:
        J, F = jacobians(name, params, h, x)
        S, h = J @ S + F, dense_step(name, params, h, x)
    assert error(window_gradient(name, params, h_0, xs, dy), dy @ S) < COMPLEX_STEP


# ------------------------------------------------------------------------------------------------ more than one layer


@equations(30)
@every_f
def test_hidden_readout(kind: str) -> None:
    rng = np.random.default_rng(30)
    n_k = 6
    params = {
        "W_hidden": rng.standard_normal((2 * N, n_k)),
        "b_hidden": rng.standard_normal(n_k),
        "w": rng.standard_normal(n_k),
        "b": rng.standard_normal(1),
        "y": rng.standard_normal(2 * N),
    }

    def value(q: Parameters) -> Array:
        return np.asarray(q["w"] @ f(kind, q["y"] @ q["W_hidden"] + q["b_hidden"]) + q["b"][0])

    k = f(kind, params["y"] @ params["W_hidden"] + params["b_hidden"])
    xi = f_prime(kind, k) * params["w"]
    gradient = {
        "W_hidden": np.outer(params["y"], xi),
        "b_hidden": xi,
        "w": k,
        "b": np.ones(1),
        "y": xi @ params["W_hidden"].T,
    }
    for block, actual in gradient.items():
        assert error(actual, by_complex_step(value, params, block)) < COMPLEX_STEP
    # A value read again after a step has moved by gradient . step, to first order: from both sides, to second.
    z = {n: 1e-6 * rng.standard_normal(v.shape) for n, v in params.items() if n != "y"}
    ahead, behind = (value(params | {n: params[n] + s * z[n] for n in z}) for s in (1, -1))
    assert error(sum((gradient[n] * z[n]).sum() for n in z), (ahead - behind) / 2) < DIFFERENCES


def stacked_run(lower: str, upper: str, params: Parameters, h: Array, k: Array, xs: Array) -> tuple[Array, Array]:
    """Two layers with the parameters "low.*" and "up.*": the states of both after each step."""
    low, up = ({n.split(".")[1]: v for n, v in params.items() if n.startswith(part)} for part in ("low.", "up."))
    hs, ks = [], []
    for x in xs:
        h = dense_step(lower, low, h, x)
        k = dense_step(upper, up, k, h) if upper != "feedforward" else np.tanh(h @ up["W_input"])
        hs.append(h)
        ks.append(k)
    return np.array(hs), np.array(ks)


def stacked_material(lower: str, upper: str) -> tuple[Parameters, Parameters, Array, Array, Array, Array]:
    low, h_0, xs, rng = dense_material(lower, 42)
    up, k_0 = dense_material(upper, 43, NH)[:2]
    return low, up, h_0, k_0, xs, rng.standard_normal(NH)


@equations(31)
@pytest.mark.parametrize(("lower", "upper"), [("vanilla tanh", "gru"), ("gru", "pairs tanh"), ("pairs relu", "gru")])
def test_two_layers(lower: str, upper: str) -> None:
    low, up, h_0, k_0, xs, dy = stacked_material(lower, upper)
    both = {f"low.{n}": v for n, v in low.items()} | {f"up.{n}": v for n, v in up.items()}
    h, k, S_low, S_up = h_0, k_0, np.zeros((NH, flat(low, low).size)), np.zeros((NH, flat(low, low).size))
    own = np.zeros((NH, flat(up, up).size))
    for x in xs:
        J, F = jacobians(lower, low, h, x)
        S_low, h = J @ S_low + F, dense_step(lower, low, h, x)
        Y = S_low  # the output of these layers is their state
        J_up, F_up = jacobians(upper, up, k, h)
        X = np.array([dense_reverse(upper, up, k, h, unit)[2] for unit in np.eye(NH)])
        S_up_tm1, S_up, k_tm1 = S_up, J_up @ S_up + X @ Y, k
        own, k = J_up @ own + F_up, dense_step(upper, up, k, h)
    a_up, _, dy_low = dense_reverse(upper, up, k_tm1, h, dy)
    local, exact = dy_low @ Y, a_up @ S_up_tm1 + dy_low @ Y
    jacobian = whole_jacobian(lambda q: stacked_run(lower, upper, q, h_0, k_0, xs)[1][-1], both)
    m = flat(low, low).size
    assert error(S_up, jacobian[:, :m]) < COMPLEX_STEP
    assert error(own, jacobian[:, m:]) < COMPLEX_STEP  # parameters of the upper layer: its own recursion is exact
    assert error(exact, dy @ jacobian[:, :m]) < COMPLEX_STEP
    if "relu" not in lower:
        assert S_up.all()  # every unit above, every parameter below
    # Layer-local: the derivative with the state above held where it was before the last step.
    below = {n: v for n, v in both.items() if n.startswith("low.")}

    def last_step(q: Parameters) -> Array:
        return dy @ dense_step(upper, up, k_tm1, stacked_run(lower, upper, both | q, h_0, k_0, xs)[0][-1])

    assert error(local, whole_jacobian(last_step, below)) < COMPLEX_STEP
    assert error(local, exact) > 1e-2


@equations(31)
def test_layer_local_is_exact_below_a_feedforward_layer() -> None:
    low, up, h_0, k_0, xs, dy = stacked_material("gru", "vanilla tanh")
    both = {f"low.{n}": v for n, v in low.items()} | {"up.W_input": up["W_input"]}
    h, S = h_0, np.zeros((NH, flat(low, low).size))
    for x in xs:
        J, F = jacobians("gru", low, h, x)
        S, h = J @ S + F, dense_step("gru", low, h, x)
    local = ((1 - np.tanh(h @ up["W_input"]) ** 2) * dy) @ up["W_input"].T @ S
    jacobian = whole_jacobian(lambda q: stacked_run("gru", "feedforward", q, h_0, k_0, xs)[1][-1], both)
    assert error(local, dy @ jacobian[:, : S.shape[1]]) < COMPLEX_STEP


@equations(31)
def test_sensitivities_above_a_layer_sum_over_the_past() -> None:
    """The page's reason why they do not factorise: linear units, row by row."""
    params, _, _, rng = material(44)
    n_low, Y = 4, rng.standard_normal((STEPS, 4, 9))
    lam, X = np.exp(-np.exp(params["nu_log"]) + 1j * np.exp(params["theta_log"])), rng.standard_normal((N, n_low))
    S = np.zeros((N, 9), complex)
    for t in range(STEPS):
        S = lam[:, None] * S + X @ Y[t]
    rows = [X[i] @ sum(lam[i] ** (STEPS - 1 - s) * Y[s] for s in range(STEPS)) for i in range(N)]
    assert error(S, rows) < PLAIN
    # With one input, X is a column, and S would be of rank 1 if all eigenvalues above were equal.
    one = [sum(u ** (STEPS - 1 - s) * Y[s, 0] for s in range(STEPS)) for u in (*lam, lam[0])]
    assert np.linalg.matrix_rank(np.array(one[:-1])) == N
    assert np.linalg.matrix_rank(np.array([one[0], 2 * one[-1]])) == 1


@equations(32)
@every_f
@pytest.mark.parametrize("direct", [True, False])
def test_output_of_the_lru(kind: str, direct: bool) -> None:
    rng = np.random.default_rng(32)
    n_y = 4
    params = {
        "C_re": rng.standard_normal((N, n_y)),
        "C_im": rng.standard_normal((N, n_y)),
        "re": rng.standard_normal(N),
        "im": rng.standard_normal(N),
    }
    if direct:
        params |= {"D": rng.standard_normal((D, n_y)), "x": rng.standard_normal(D)}
    dy = rng.standard_normal(n_y)

    def output(q: Parameters) -> Array:
        z = q["re"] @ q["C_re"] - q["im"] @ q["C_im"]
        return f(kind, z + q["x"] @ q["D"] if direct else z)

    h, C = params["re"] + 1j * params["im"], params["C_re"] + 1j * params["C_im"]
    z = np.array([sum(h[i] * C[i, j] for i in range(N)).real for j in range(n_y)])
    y = output(params)
    assert error(y, f(kind, z + params["x"] @ params["D"] if direct else z)) < PLAIN
    xi = f_prime(kind, y) * dy
    gradient = {
        "C_re": np.outer(params["re"], xi),
        "C_im": -np.outer(params["im"], xi),
        "re": xi @ params["C_re"].T,
        "im": -xi @ params["C_im"].T,
    }
    if direct:
        gradient |= {"D": np.outer(params["x"], xi), "x": xi @ params["D"].T}
    for block, actual in gradient.items():
        assert error(actual, by_complex_step(lambda q: output(q) @ dy, params, block)) < COMPLEX_STEP


@equations(32)
@every_form
def test_lru_and_linear_rtu(form: str) -> None:
    tied, c_0, xs, rng = diagonal_material(form, 45, "tied")
    r = eigenvalue(form, tied["a"], tied["b"])[0]
    gamma = np.sqrt(1 - r**2)
    free = tied | {"gamma_log": np.log(gamma)}
    cs = diagonal_run(form, free, c_0, xs)
    assert error(cs, diagonal_run(form, tied, c_0, xs)) < PLAIN
    if form == "nu_log/theta_log":
        rtu = {"nu_log": tied["a"], "theta_log": tied["b"], "W1": tied["W1"], "W2": tied["W2"]}
        assert error(cs, run("linear", "identity", rtu, c_0, xs)[0]) < PLAIN
    C_re, C_im = np.eye(N, 2 * N), -np.eye(N, 2 * N, N)  # [I, 0] and [0, -I]
    assert error(cs[-1, 0] @ C_re - cs[-1, 1] @ C_im, cs[-1].ravel()) < PLAIN
    dy = rng.standard_normal((2, N))
    rtu, lru = (
        {n: by_complex_step(lambda q: (dy * diagonal_run(form, q, c_0, xs)[-1]).sum(), p, n) for n in p}
        for p in (tied, free)
    )
    dgamma_log = -eigenvalue_derivatives(form, tied["a"], tied["b"])[0] * r**2 / gamma**2
    assert error(lru["a"] + dgamma_log * lru["gamma_log"], rtu["a"]) < COMPLEX_STEP
    assert error(lru["a"], rtu["a"]) > 1e-3
    for block in ("b", "W1", "W2"):
        assert error(lru[block], rtu[block]) < COMPLEX_STEP
    if form == "nu_log/theta_log":
        assert error(dgamma_log, np.exp(tied["a"]) * r**2 / gamma**2) < PLAIN


# ------------------------------------------------------------------------------------------------- the document itself


def cited(text: str) -> list[int]:
    """Numbers after "derivations": (11), (9)-(11), (3), (4) and (7), also across a line break in a comment."""
    lists = re.findall(r"[Dd]erivations?(?:\.md)?[\s#]*((?:\(\d+\)(?:[\s#]*(?:-|,|and|to)?[\s#]*)?)+)", text)
    return [int(k) for found in lists for k in re.findall(r"\d+", found)]


def test_every_equation_is_numbered_in_order_and_tested() -> None:
    importlib.import_module("test_derivations_control")
    importlib.import_module("test_derivations_rollouts")
    assert [int(k) for k in re.findall(r"\\tag\{(\d+)\}", PAGE)] == list(range(1, LAST + 1))
    assert sorted(TESTED) == list(range(1, LAST + 1))


def test_code_cites_equations_that_exist() -> None:
    found = {
        path: cited(path.read_text(encoding="utf-8"))
        for folder in ("rtu_np", "envs", "experiments")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }
    assert any(found.values()), "no citation was found"
    wrong = [f"{path.relative_to(ROOT)}: ({k})" for path, ks in found.items() for k in ks if not 1 <= k <= LAST]
    assert not wrong
    assert cited("as in derivations (3), (4) and\n    # (7)-(99); see (2).") == [3, 4, 7, 99]


def test_maths_survives_markdown() -> None:
    """GitHub takes the backslash off escaped punctuation, such as a double backslash, before it sets the maths."""
    blocks = re.findall(r"\$\$(.+?)\$\$", PAGE, re.DOTALL)
    inline = re.findall(r"\$([^$]+)\$", re.sub(r"\$\$.+?\$\$|`[^`]*`", "", PAGE, flags=re.DOTALL))
    assert len(blocks) >= LAST
    assert len(inline) > 100
    for maths in blocks + inline:
        assert not re.search(r"\\[^A-Za-z]", maths), maths
        assert maths.count("{") == maths.count("}"), maths
    assert not any("\n" in maths for maths in inline)
