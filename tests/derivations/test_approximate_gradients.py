"""Approximate gradients: (91) to (97)."""

import itertools
import math

import numpy as np
import pytest
from tolerances import COMPLEX_STEP, PLAIN

from derivations import units
from derivations.calculus import Array, Parameters, by_complex_step, error, flat, whole_jacobian
from derivations.dense import NH, dense_material, dense_reverse, dense_step, gates
from derivations.units import D

LEAK = 0.3
CELLS = ("vanilla tanh", "gru", "leaky tanh")
every_cell = pytest.mark.parametrize("name", CELLS)
FEW = 12  # steps


def material(name: str, seed: int) -> tuple[Parameters, Array, Array, np.random.Generator]:
    params, h, xs, rng = dense_material(name.replace("leaky", "vanilla"), seed)
    return params, h, xs[:FEW], rng


def step(name: str, q: Parameters, h: Array, x: Array, a: float = LEAK) -> Array:
    """(33), (34), or (92)."""
    if name.startswith("leaky"):
        return np.asarray((1 - a) * h + a * dense_step("vanilla tanh", q, h, x))
    return dense_step(name, q, h, x)


def reverse(name: str, q: Parameters, h: Array, x: Array, total: Array, a: float = LEAK) -> tuple[Array, Parameters]:
    """The reverse step of (33), (34), or (92): the derivative by h_{t-1}, and the gradient."""
    if name.startswith("leaky"):
        back, gradient, _ = dense_reverse("vanilla tanh", q, h, x, a * total)
        return (1 - a) * total + back, gradient
    return dense_reverse(name, q, h, x, total)[:2]


def keep_and_slopes(name: str, q: Parameters, h: Array, x: Array) -> tuple[Array, Array]:
    """k (n,) and s (G, n) of (91)."""
    if name == "gru":
        r, z, n, m = gates(q, h, x)
        inner = (1 - z) * (1 - n**2)
        return z, np.stack([inner * m * r * (1 - r), (h - n) * z * (1 - z), inner * r])
    slope = 1 - dense_step("vanilla tanh", q, h, x) ** 2
    return (np.zeros(NH), slope[None]) if name.startswith("vanilla") else (np.full(NH, 1 - LEAK), LEAK * slope[None])


def jacobian(name: str, q: Parameters, h: Array, x: Array) -> Array:
    """(91)"""
    keep, slopes = keep_and_slopes(name, q, h, x)
    J = np.diag(keep).astype(float)
    for g, slope in enumerate(slopes):
        J += slope[:, None] * q["W_recurrent"][:, g * NH : (g + 1) * NH].T
    return J


def owner(q: Parameters) -> Array:
    """u(p) of (93) for each parameter, flat: the columns belong to the units, block after block."""
    return flat({name: np.broadcast_to(np.arange(v.shape[-1]) % NH, v.shape) for name, v in q.items()}, q)


def direct(name: str, q: Parameters, h: Array, x: Array) -> Array:
    """F_up of (93) for all p, from one reverse step with ones."""
    return flat(reverse(name, q, h, x, np.ones(NH))[1], q)


@every_cell
def test_eq91_the_jacobian_of_a_dense_cell(name: str) -> None:
    q, h, xs, _ = material(name, 91)
    expected = by_complex_step(lambda s: step(name, q, s["h"], xs[0]), {"h": h}, "h")
    assert error(jacobian(name, q, h, xs[0]), expected) < COMPLEX_STEP


def test_eq92_steps_in_scalars_and_the_limit_without_a_leak() -> None:
    q, h, xs, _ = material("leaky tanh", 92)
    for x in xs:
        into = [
            sum(float(x[j] * q["W_input"][j, i]) for j in range(D))
            + sum(float(h[k] * q["W_recurrent"][k, i]) for k in range(NH))
            + float(q["b"][i])
            for i in range(NH)
        ]
        expected = [(1 - LEAK) * float(h[i]) + LEAK * math.tanh(into[i]) for i in range(NH)]
        assert error(step("leaky tanh", q, h, x, 1.0), dense_step("vanilla tanh", q, h, x)) < PLAIN
        h = step("leaky tanh", q, h, x)
        assert error(h, expected) < PLAIN


@pytest.mark.parametrize("block", ["W_input", "W_recurrent", "b", "h"])
def test_eq92_reverse_mode(block: str) -> None:
    q, h, xs, rng = material("leaky tanh", 93)
    total = rng.standard_normal(NH)
    back, gradient = reverse("leaky tanh", q, h, xs[0], total)
    expected = by_complex_step(lambda s: step("leaky tanh", s, s["h"], xs[0]) @ total, q | {"h": h}, block)
    assert error(back if block == "h" else gradient[block], expected) < COMPLEX_STEP


def snap1(name: str, q: Parameters, h: Array, xs: Array, kept: float | None = None) -> Array:
    """e of (93) after a run, flat; or of (94), if `kept` is 1 - a."""
    e, u = np.zeros(owner(q).size), owner(q)
    for x in xs:
        own = np.diag(jacobian(name, q, h, x)) if kept is None else np.full(NH, kept)
        e = own[u] * e + direct(name, q, h, x)
        h = step(name, q, h, x)
    return e


@every_cell
def test_eq93_is_the_derivative_of_a_network_whose_units_see_the_others_as_they_were(name: str) -> None:
    q, h_0, xs, _ = material(name, 94)
    hs = [h_0]
    for x in xs:
        hs.append(step(name, q, hs[-1], x))

    def alone(s: Parameters) -> Array:
        own = h_0.astype(complex)
        for seen, x in zip(hs, xs, strict=False):
            rows = np.where(np.eye(NH, dtype=bool), own, seen)
            own = np.array([step(name, s, row, x)[i] for i, row in enumerate(rows)])
        return own

    expected = whole_jacobian(alone, q)  # (n, m): zero outside of a unit's own parameters
    others = expected * (np.arange(NH)[:, None] != owner(q))
    assert not others.any()
    assert error(snap1(name, q, h_0, xs), expected.sum(0)) < COMPLEX_STEP


@pytest.mark.parametrize("cell", ["linear", "nonlinear"])
def test_eq93_by_unit_it_is_rtrl_of_an_rtu_and_entry_by_entry_it_is_not(cell: str) -> None:
    q, c_0, xs, _ = units.material(95)
    for block in units.BLOCKS:
        by_unit, by_entry = np.zeros((2, *q[block].shape)), np.zeros((2, *q[block].shape))
        c = c_0
        for x in xs:
            g, p, _ = units.rotation(q)
            c_tm1 = c
            c, y = units.step(cell, "tanh", q, c, x)
            slope = np.ones_like(y) if cell == "linear" else units.f_prime("tanh", y)
            F = slope.reshape(2, *(1,) * (q[block].ndim - 1), -1) * units.direct_effect(q, block, c_tm1, x)
            J = slope[:, None] * np.array([[g, -p], [p, g]])  # of each unit
            by_unit = np.einsum("abi,b...i->a...i", J, by_unit) + F
            acts = np.array([F[a].any() for a in (0, 1)]).reshape(2, *(1,) * q[block].ndim)
            by_entry = np.einsum("aai,a...i->a...i", J, by_entry) + F
            by_entry = by_entry * acts
        exact = units.sensitivities(cell, "tanh", q, c_0, xs, block)[-1]
        assert error(by_unit, exact) < PLAIN
        assert error(by_entry, exact) > 0.1


def test_eq94_the_plain_formula_and_the_limit_without_a_leak() -> None:
    q, h_0, xs, _ = material("leaky tanh", 96)
    plain = {name: np.zeros_like(v) for name, v in q.items()}
    h = h_0
    for x in xs:
        slope = 1 - dense_step("vanilla tanh", q, h, x) ** 2
        seen = {"W_input": x[:, None], "W_recurrent": h[:, None], "b": np.ones(NH)}
        plain = {name: (1 - LEAK) * p + LEAK * slope * seen[name] for name, p in plain.items()}
        h_tm1, h = h, step("leaky tanh", q, h, x)
    assert error(snap1("leaky tanh", q, h_0, xs, 1 - LEAK), flat(plain, q)) < PLAIN
    without = snap1("vanilla tanh", q, h_0, xs, 0.0)
    h = h_0
    for x in xs:
        h_tm1, h = h, dense_step("vanilla tanh", q, h, x)
    assert error(without, direct("vanilla tanh", q, h_tm1, xs[-1])) < PLAIN


def two_units(seed: int) -> tuple[Parameters, Array, Array]:
    rng = np.random.default_rng(seed)
    q = {
        "W_input": rng.standard_normal((1, 2)),
        "W_recurrent": rng.standard_normal((2, 2)),
        "b": rng.standard_normal(2),
    }
    return q, rng.standard_normal(2), rng.standard_normal((4, 1))


def uoro(q: Parameters, h: Array, xs: Array, signs: Array) -> tuple[Array, Array, Array]:
    """s and w of (95) after a run, and the S that they stand for."""
    s, w, S = np.zeros(2), np.zeros(8), np.zeros((2, 8))
    for x, nu in zip(xs, signs, strict=True):
        slope = 1 - np.tanh(x @ q["W_input"] + h @ q["W_recurrent"] + q["b"]) ** 2
        J = slope[:, None] * q["W_recurrent"].T
        F = np.concatenate([np.diag(slope * each) for each in (x[0], h[0], h[1], 1.0)], axis=1)
        pushed, pulled = J @ s, nu @ F
        rho1 = math.sqrt(np.linalg.norm(pulled) / np.linalg.norm(nu))
        rho0 = math.sqrt(np.linalg.norm(w) / np.linalg.norm(pushed)) if pushed.any() else 1.0
        s, w, S = rho0 * pushed + rho1 * nu, w / rho0 + pulled / rho1, J @ S + F
        h = np.tanh(x @ q["W_input"] + h @ q["W_recurrent"] + q["b"])
    return s, w, S


def test_eq95_the_mean_over_all_signs_is_exact() -> None:
    """All 256 sequences of signs of two units over four steps."""
    q, h, xs = two_units(97)
    products = []
    for signs in itertools.product([-1.0, 1.0], repeat=8):
        s, w, S = uoro(q, h, xs, np.reshape(signs, (4, 2)))
        products.append(np.outer(s, w))
    assert error(np.mean(products, 0), S) < PLAIN
    assert error(products[0], S) > 0.1
    without = np.outer(*uoro(q, h, xs, np.ones((4, 2)))[:2])
    assert error(without, S) > 0.1


def test_eq95_the_two_vectors_have_summands_of_equal_norm() -> None:
    q, h, xs = two_units(98)
    s, w, _ = uoro(q, h, xs[:1], np.array([[1.0, -1.0]]))
    assert error(np.linalg.norm(s), np.linalg.norm(w)) < PLAIN


def along(cell: str, q: Parameters, cs: Array, xs: Array, block: str) -> Array:
    """e along given states `cs` (STEPS + 1, 2, n), with all J and F at the parameters `q`."""
    e = np.zeros((2, units.N), complex)
    for c_tm1, c, x in zip(cs[:-1], cs[1:], xs, strict=True):
        slope = np.ones_like(c) if cell == "linear" else units.f_prime("tanh", c)
        e = units.sensitivity(q, block, slope, e, c_tm1, x)
    return e


def corrected(cell: str, path: list[Parameters], cs: Array, xs: Array, block: str) -> tuple[Array, Array]:
    """e of (96) and e' of (97) over a run with the parameters of `path`, one for each step."""
    e = derivative = np.zeros((2, units.N))
    last = path[0][block]
    for q, c_tm1, c, x in zip(path, cs[:-1], cs[1:], xs, strict=True):
        e = e + derivative * (q[block] - last)
        last = q[block]
        g, p, gamma = units.rotation(q)
        dgamma = units.rotation_derivatives(q, block)[2]
        rate = -np.exp(q["nu_log"]) if block == "nu_log" else np.exp(q["theta_log"])
        lam, u = g + 1j * p, (g + 1j * p) * (c_tm1[0] + 1j * c_tm1[1])
        factor = rate if block == "nu_log" else 1j * rate
        second = 0.0
        if block == "nu_log":
            second = -(np.abs(lam) ** 2 * (rate + 2 * rate**2) + dgamma**2) / gamma
        now = lam * (derivative[0] + 1j * derivative[1]) + factor * lam * (e[0] + 1j * e[1])
        now = now + (factor**2 + factor) * u + second * (x @ q["W1"] + 1j * (x @ q["W2"]))
        slope = np.ones_like(c) if cell == "linear" else units.f_prime("tanh", c)
        derivative = slope * np.stack([now.real, now.imag])
        e = units.sensitivity(q, block, slope, e, c_tm1, x)
    return e, derivative


def moved(q: Parameters, blocks: tuple[str, ...], by: float) -> list[Parameters]:
    """Parameters of each step: those of `blocks` move at three of them."""
    path = []
    for t in range(units.STEPS):
        q = {name: v + by * (name in blocks and t in (20, 35, 50)) for name, v in q.items()}
        path.append(q)
    return path


def states(cell: str, path: list[Parameters], c: Array, xs: Array) -> Array:
    cs = [c]
    for q, x in zip(path, xs, strict=True):
        cs.append(units.step(cell, "tanh", q, cs[-1], x)[0])
    return np.array(cs)


@units.both_cells
@pytest.mark.parametrize("block", ["nu_log", "theta_log"])
def test_eq96_an_error_of_second_order_in_its_own_moves_in_place_of_the_first(cell: str, block: str) -> None:
    q, c, xs, _ = units.material(101)
    stale, mended = [], []
    for by in (1e-3, 1e-4):
        path = moved(q, (block,), by)
        cs = states(cell, path, c, xs)
        today = along(cell, path[-1], cs, xs, block).real
        carried = units.sensitivities(cell, "tanh", q, c, xs, block, lambda _, t, path=path: path[t])[-1]
        stale.append(np.abs(carried - today).max())
        mended.append(np.abs(corrected(cell, path, cs, xs, block)[0] - today).max())
    assert 5 < stale[0] / stale[1] < 20
    assert 50 < mended[0] / mended[1] < 200
    assert mended[1] < 0.05 * stale[1]


def test_eq96_is_diagonal_moves_of_another_parameter_leave_an_error_of_first_order() -> None:
    q, c, xs, _ = units.material(102)
    errors = []
    for by in (1e-3, 1e-4):
        path = moved(q, ("theta_log",), by)
        cs = states("linear", path, c, xs)
        today = along("linear", path[-1], cs, xs, "nu_log").real
        errors.append(np.abs(corrected("linear", path, cs, xs, "nu_log")[0] - today).max())
    assert 5 < errors[0] / errors[1] < 20


@units.both_cells
@pytest.mark.parametrize("block", ["nu_log", "theta_log"])
def test_eq97_is_the_derivative_of_the_sensitivity_along_given_states(cell: str, block: str) -> None:
    q, c, xs, _ = units.material(103)
    path = [q] * units.STEPS
    cs = states(cell, path, c, xs)
    h = 1e-30
    expected = along(cell, q | {block: q[block] + 1j * h}, cs, xs, block).imag / h
    assert error(corrected(cell, path, cs, xs, block)[1], expected) < COMPLEX_STEP


def test_eq97_forms_whose_derivative_has_no_logarithm() -> None:
    """L and its derivative, and gamma'', for nu and for r as parameters, against differences."""
    h, r = 1e-3, 0.8
    for to_r, rate, dot in (
        (lambda nu: math.exp(-nu), -1.0, 0.0),
        (lambda value: value, 1 / r, -1 / r**2),
    ):
        at = -math.log(r) if dot == 0.0 else r
        gammas = [math.sqrt(1 - to_r(at + k * h) ** 2) for k in (-2, -1, 0, 1, 2)]
        first = -(r**2) * rate / gammas[2]
        second = -(r**2 * (dot + 2 * rate**2) + first**2) / gammas[2]
        expected = (-gammas[0] + 16 * gammas[1] - 30 * gammas[2] + 16 * gammas[3] - gammas[4]) / (12 * h**2)
        assert abs(second - expected) < 1e-6 * abs(expected)
