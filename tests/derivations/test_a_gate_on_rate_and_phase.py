"""A gate on rate and phase: (86) and (87)."""

import cmath
import math

import numpy as np
import pytest
from tolerances import COMPLEX_STEP, PLAIN

from derivations import units
from derivations.calculus import Array, Parameters, by_complex_step, error
from derivations.units import STEPS, D, N, f, f_prime, own_unit

every_block = pytest.mark.parametrize("block", ["nu_log", "theta_log", "W1", "W2", "W_g", "b_g"])


def sigma(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-z)))


def material(seed: int) -> tuple[Parameters, Array, Array, np.random.Generator]:
    params, c, xs, rng = units.material(seed)
    return params | {"W_g": rng.standard_normal((D, N)), "b_g": rng.standard_normal(N)}, c, xs, rng


def gate(q: Parameters, x: Array) -> tuple[Array, Array, Array, Array, Array]:
    """q, nu q, theta q, r and gamma of (86)."""
    opened = sigma(x @ q["W_g"] + q["b_g"])
    rate, phase = np.exp(q["nu_log"]) * opened, np.exp(q["theta_log"]) * opened
    r = np.exp(-rate)
    return opened, rate, phase, r, np.sqrt(1 - r**2)


def turn(q: Parameters, e: Array, x: Array) -> Array:
    """The rotation of (86) of a pair."""
    _, _, phase, r, _ = gate(q, x)
    g, p = r * np.cos(phase), r * np.sin(phase)
    return np.stack([g * e[0] - p * e[1], g * e[1] + p * e[0]])


def drive(q: Parameters, x: Array) -> Array:
    return np.stack([x @ q["W1"], x @ q["W2"]])


def step(kind: str, q: Parameters, c: Array, x: Array) -> Array:
    return f(kind, turn(q, c, x) + gate(q, x)[4] * drive(q, x))


def run(kind: str, q: Parameters, c: Array, xs: Array) -> Array:
    cs = []
    for x in xs:
        c = step(kind, q, c, x)
        cs.append(c)
    return np.array(cs)


def within(q: Parameters, block: str, c: Array, x: Array) -> Array:
    """D of (87)."""
    opened, rate, phase, r, gamma = gate(q, x)
    if block in ("W1", "W2"):
        effect = gamma * x[:, None]
        return np.stack([effect, 0 * effect] if block == "W1" else [0 * effect, effect])
    u = turn(q, c, x)
    by_nu = -rate * u + rate * r**2 / gamma * drive(q, x)
    by_theta = phase * np.stack([-u[1], u[0]])
    of_gate = (1 - opened) * (by_nu + by_theta)
    weighted = x[:, None] * of_gate[:, None]
    return {"nu_log": by_nu, "theta_log": by_theta, "b_g": of_gate, "W_g": weighted}[block]


def sensitivities(kind: str, q: Parameters, c: Array, xs: Array, block: str) -> Array:
    """(87) over a run: (STEPS, 2, *shape of the block)."""
    e, es = np.zeros((2, *q[block].shape)), []
    for x in xs:
        now = step(kind, q, c, x)
        slope = f_prime(kind, now).reshape(2, *[1] * (e.ndim - 2), N)
        e = slope * (turn(q, e, x) + within(q, block, c, x))
        c = now
        es.append(e)
    return np.array(es)


def test_eq86_steps_in_complex_scalars() -> None:
    params, c, xs, _ = material(86)
    expected, now = [], [complex(*pair) for pair in c.T]
    for x in xs:
        for i in range(N):
            z = sum(float(x[j] * params["W_g"][j, i]) for j in range(D)) + float(params["b_g"][i])
            lam = -math.exp(params["nu_log"][i]) + 1j * math.exp(params["theta_log"][i])
            turned = cmath.exp(lam / (1 + math.exp(-z)))  # lambda^q
            weights = sum(complex(params["W1"][j, i], params["W2"][j, i]) * float(x[j]) for j in range(D))
            into = turned * now[i] + math.sqrt(1 - abs(turned) ** 2) * weights
            now[i] = complex(math.tanh(into.real), math.tanh(into.imag))
        expected.append([[each.real for each in now], [each.imag for each in now]])
    assert error(run("tanh", params, c, xs), expected) < PLAIN


@units.every_f
def test_eq86_an_open_gate_gives_the_nonlinear_unit(kind: str) -> None:
    params, c, xs, _ = material(87)
    opened = params | {"b_g": np.full(N, 800.0)}
    assert error(run(kind, opened, c, xs), units.run("nonlinear", kind, params, c, xs)[0]) < PLAIN


def test_eq86_a_closed_gate_keeps_the_state() -> None:
    params, c, xs, _ = material(100)
    with np.errstate(over="ignore"):
        cs = run("identity", params | {"b_g": np.full(N, -800.0)}, c, xs)
    assert error(cs, np.broadcast_to(c, cs.shape)) < PLAIN


def test_eq86_two_half_steps_without_input_are_one() -> None:
    params, c, _, _ = material(101)
    still, x = params | {"W1": 0 * params["W1"], "W2": 0 * params["W2"], "W_g": 0 * params["W_g"]}, np.zeros(D)
    half = step("identity", still | {"b_g": np.zeros(N)}, c, x)
    twice = step("identity", still | {"b_g": np.zeros(N)}, half, x)
    assert error(twice, step("identity", still | {"b_g": np.full(N, 800.0)}, c, x)) < PLAIN


@every_block
@units.every_f
def test_eq87_sensitivities(kind: str, block: str) -> None:
    params, c, xs, _ = material(102)
    expected = own_unit(by_complex_step(lambda q: run(kind, q, c, xs), params, block))
    assert error(sensitivities(kind, params, c, xs, block), expected) < COMPLEX_STEP


@every_block
def test_eq87_what_a_parameter_does_within_a_step(block: str) -> None:
    params, c, xs, _ = material(103)
    jacobian = by_complex_step(lambda q: step("identity", q, c, xs[0]), params, block)
    own = np.moveaxis(np.array([jacobian[:, i, ..., i] for i in range(N)]), 0, -1)
    assert error(within(params, block, c, xs[0]), own) < COMPLEX_STEP


@every_block
def test_eq87_reverse_mode(block: str) -> None:
    """The third row, with the gradient by the state as in (17)."""
    params, start, xs, rng = material(104)
    dys, cs = rng.standard_normal((STEPS, 2, N)), np.concatenate([start[None], run("tanh", params, start, xs)])
    back, total, to_x = np.zeros((2, N)), np.zeros_like(params[block]), np.zeros(D)
    for t in reversed(range(STEPS)):
        a, x = f_prime("tanh", cs[t + 1]) * (dys[t] + back), xs[t]
        shares = {name: (a * within(params, name, cs[t], x)).sum(0) for name in ("nu_log", "theta_log")}
        opened, *_, gamma = gate(params, x)
        zeta = (1 - opened) * (shares["nu_log"] + shares["theta_log"])
        weights = {"W1": np.outer(x, gamma * a[0]), "W2": np.outer(x, gamma * a[1]), "W_g": np.outer(x, zeta)}
        total += (shares | weights | {"b_g": zeta})[block]
        to_x = params["W1"] @ (gamma * a[0]) + params["W2"] @ (gamma * a[1]) + params["W_g"] @ zeta
        back = turn(params, np.stack([a[0], -a[1]]), x) * np.array([[1.0], [-1.0]])
    expected = by_complex_step(lambda q: (dys * run("tanh", q, start, xs)).sum(), params, block)
    assert error(total, expected) < COMPLEX_STEP
    first = by_complex_step(
        lambda q: (dys * run("tanh", params, start, np.concatenate([q["x"][None], xs[1:]]))).sum(), {"x": xs[0]}, "x"
    )
    assert error(to_x, first) < COMPLEX_STEP
