"""The equations of docs/derivations.md, each evaluated against a computation of another kind.

The equations stand here as the document writes them, in NumPy alone. Nothing is imported from the package, so that the
page and the package are two statements that can contradict each other. The other computations are complex arithmetic,
the complex step f'(x) = Im f(x + ih) / h, sums over the past written out in full, matrix equations and simulation.
`@equations(k)` names the numbers that a test evaluates; the last tests see to it that every number on the page has one.

Shapes: n != d, states (2, n) for c1 and c2, runs (STEPS, 2, n) that start away from zero.
"""

import math
import re
from collections.abc import Callable
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]
Parameters = dict[str, Array]
Schedule = Callable[[Parameters, int], Parameters]
Test = TypeVar("Test", bound=Callable[..., None])

# Relative to the largest element of what is expected.
COMPLEX_STEP = 1e-11
FINITE_DIFFERENCES = 1e-6
IDENTITY = 1e-12
QUADRATURE = 1e-7
SAMPLING = 0.03

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "derivations.md").read_text(encoding="utf-8")
LAST = 25

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
    assert error(hs[-1], expected) < IDENTITY


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
    assert error(S @ V.T, hs) < IDENTITY
    # The real eigenvalues and one of each complex pair give all of h back.
    real, one = Lambda.imag == 0, Lambda.imag > 0
    assert (real.sum(), one.sum()) == (3, 2)
    pairs = 2 * (S[:, one].real @ V[:, one].real.T - S[:, one].imag @ V[:, one].imag.T)
    assert error(S[:, real].real @ V[:, real].real.T + pairs, hs) < IDENTITY


@equations(2)
def test_almost_every_real_matrix_is_diagonalisable() -> None:
    As = np.random.default_rng(3).standard_normal((1000, 4, 4))
    values, V = np.linalg.eig(As)
    assert (np.abs(values[:, :, None] - values[:, None, :]) + np.eye(4)).min() > 0
    assert error((V * values[:, None, :]) @ np.linalg.inv(V), As) < 1e-9  # V is badly conditioned now and then
    assert error(np.sort_complex(values.conj()), np.sort_complex(values)) < IDENTITY
    jordan = np.array([[1.0, 1.0], [0.0, 1.0]])  # the exception: one eigenvector where two are needed
    assert np.linalg.matrix_rank(jordan - np.eye(2)) == 1


@equations(5)
def test_parameters_give_every_stable_eigenvalue_and_no_other() -> None:
    rng = np.random.default_rng(5)
    wanted = rng.uniform(0.001, 0.999, 100) * np.exp(1j * rng.uniform(-np.pi, np.pi, 100))
    params = {"nu_log": np.log(-np.log(np.abs(wanted))), "theta_log": np.log(np.angle(wanted) % (2 * np.pi))}
    g, p, _ = rotation(params)
    assert error(g + 1j * p, wanted) < IDENTITY
    g, p, _ = rotation({"nu_log": np.linspace(-30, 3, 100), "theta_log": np.linspace(-9, 9, 100)})
    assert ((np.hypot(g, p) > 0) & (np.hypot(g, p) < 1)).all()


@equations(6)
def test_normalisation_keeps_the_size_of_the_state_and_its_own_digits() -> None:
    nu_log = np.linspace(-5, 1, 7)
    r, gamma = np.exp(-np.exp(nu_log)), rotation({"nu_log": nu_log, "theta_log": nu_log})[2]
    variance = sum((gamma * r**k) ** 2 for k in range(4000))  # of the state, for a white drive of variance 1
    assert error(variance, np.ones(7)) < IDENTITY
    tiny = np.array([-690.0, -45.0, -38.0, -20.0])
    with localcontext() as context:
        context.prec = 400
        exact = np.array([float((1 - (-2 * Decimal(x).exp()).exp()).sqrt()) for x in tiny])
    gamma, naive = rotation({"nu_log": tiny, "theta_log": tiny})[2], np.sqrt(1 - np.exp(-np.exp(tiny)) ** 2)
    assert error(gamma / exact, np.ones(4)) < IDENTITY
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
        assert error(cs[t], [c.real, c.imag]) < IDENTITY
        assert error(ys[t], f(kind, np.array([c.real, c.imag]))) < IDENTITY
    assert error(c, summed) < IDENTITY


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
    assert error(cs, expected) < IDENTITY
    assert error(ys, expected) < IDENTITY
    assert (error(cs, run("linear", kind, params, c_0, xs)[0]) < IDENTITY) == (kind == "identity")


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
    assert error(rotation_derivatives(slow, "nu_log")[2] / rotation(slow)[2], [0.5, 0.5]) < IDENTITY


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
            assert difference < IDENTITY
        else:
            assert difference > 0.01


def test_deviations_would_be_seen() -> None:
    """Rows 1 and 3 of the page's list: the first is plain, the second is too small for finite differences."""
    params = material(15)[0]
    g, p, gamma = rotation(params)
    dg, dp, _ = rotation_derivatives(params, "theta_log")
    assert min(error(-p, dg), error(g, dp)) > 0.1
    assert error(-p * np.exp(params["theta_log"]), dg) < IDENTITY
    nu = np.exp(params["nu_log"])
    released = error(nu * np.exp(-2 * nu) / (gamma + 1e-8), rotation_derivatives(params, "nu_log")[2])
    assert COMPLEX_STEP < released < FINITE_DIFFERENCES


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
    assert error(sum((total[n] * direction[n]).sum() for n in BLOCKS), (ahead - behind) / 2) < FINITE_DIFFERENCES


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
        assert error(z, z_tm1) < IDENTITY
        A, b = np.outer(z_tm1, ys[t - 1] - discounts[t] * ys[t]), cumulants[t] * z_tm1
        delta = cumulants[t] - (ys[t - 1] - discounts[t] * ys[t]) @ solved
        solved = (np.eye(2 * N) - alpha * A) @ solved + alpha * b
        actual, w, z = td_step(w, z, ys[t], ys[t - 1], cumulants[t], discounts[t], lambda_, alpha)
        assert abs(actual - delta) < IDENTITY * np.abs(cumulants).max()
        assert error(w, solved) < IDENTITY
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
    assert error(total, expected) < IDENTITY


@equations(21)
def test_obgd_bounds_the_update() -> None:
    rng, bounded = np.random.default_rng(21), 0
    for _ in range(200):
        z, delta = rng.standard_normal(N) * 10 ** rng.uniform(-3, 2), 3 * rng.standard_normal()
        alpha, kappa = rng.uniform(0.1, 2), rng.uniform(1, 3)
        eta = alpha * delta / max(1, alpha * kappa * max(abs(delta), 1) * np.abs(z).sum())
        plain, bound = np.abs(alpha * delta * z).sum(), min(abs(delta), 1) / kappa
        assert error(eta * z, min(plain, bound) * delta * z / np.abs(delta * z).sum()) < IDENTITY
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
    assert error(g + 1j * p, r * np.exp(1j * theta)) < IDENTITY
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
    assert error(np.concatenate([v_cs, v_us]), v) < IDENTITY
    # The closed form, and the table of what is left.
    to_us, to_cs = np.mean(discount ** (isis - 1.0)), np.mean(discount ** ITIS.astype(float))  # the page's D and Q
    S = sum(discount ** (m - 1) for m in range(1, US_LENGTH))
    assert error(v_us[0], (S + to_cs * to_us) / (1 - discount * to_cs * to_us)) < IDENTITY
    assert error(v_cs[0], to_us * (1 + discount * v_us[0])) < IDENTITY
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


# ------------------------------------------------------------------------------------------------- the document itself


def cited(text: str) -> list[int]:
    """Numbers after "derivations": (11), (9)-(11), (3), (4) and (7), also across a line break in a comment."""
    lists = re.findall(r"[Dd]erivations?(?:\.md)?[\s#]*((?:\(\d+\)(?:[\s#]*(?:-|,|and|to)?[\s#]*)?)+)", text)
    return [int(k) for found in lists for k in re.findall(r"\d+", found)]


def test_every_equation_is_numbered_in_order_and_tested() -> None:
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
