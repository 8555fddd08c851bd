"""Two layers of trace units, exactly: (98) to (102)."""

from itertools import product

import numpy as np
import pytest
from tolerances import COMPLEX_STEP, PLAIN

from derivations.calculus import Array, Parameters, by_complex_step, error
from derivations.units import BLOCKS, STEPS, N, f_prime, material, rotation, run, sensitivities, step

M = 4  # units above
pairs = pytest.mark.parametrize(("lower", "upper"), list(product(("linear", "nonlinear"), repeat=2)))


def above(seed: int) -> tuple[Parameters, Array]:
    """Parameters and start of the upper layer."""
    rng = np.random.default_rng(seed)
    params = {
        "nu_log": rng.uniform(np.log(0.04), 0, M),
        "theta_log": np.log(rng.uniform(0.1, 6.28, M)),
        "W1": 0.5 * rng.standard_normal((2 * N, M)),
        "W2": 0.5 * rng.standard_normal((2 * N, M)),
    }
    return params, rng.standard_normal((2, M))


def matrices(lower: str, upper: str, kind: str, up: Parameters, y_low: Array, y_up: Array) -> tuple[Array, Array]:
    """(99): A (2, 2, M) and U (2, 2, N, M)."""
    g, p, gamma = rotation(up)
    A = np.array([[g, -p], [p, g]])
    U = gamma * np.array([[up["W1"][:N], up["W1"][N:]], [up["W2"][:N], up["W2"][N:]]])
    if upper == "nonlinear":
        A, U = f_prime(kind, y_up)[:, None] * A, f_prime(kind, y_up)[:, None, None] * U
    if lower == "linear":
        U = U * f_prime(kind, y_low)[None, :, :, None]
    return A, U


def effects(lower: str, upper: str, kind: str, low: Parameters, up: Parameters, start: tuple, xs: Array) -> dict:
    """(98): {block: (2, M, *shape of the block)}, and the state above after the last step."""
    E: dict[str, Array] = {name: np.zeros((2, M, *low[name].shape)) for name in BLOCKS}
    es = {name: sensitivities(lower, kind, low, start[0], xs, name) for name in BLOCKS}
    ys, c = run(lower, kind, low, start[0], xs)[1], start[1]
    for t in range(len(xs)):
        c, y = step(upper, kind, up, c, ys[t].ravel())
        A, U = matrices(lower, upper, kind, up, ys[t], y)
        E = {n: np.einsum("ack,ck...->ak...", A, E[n]) + np.einsum("acik,c...i->ak...i", U, es[n][t]) for n in BLOCKS}
    return {**E, "c": c, "y": y}


def both(lower: str, upper: str, kind: str, low: Parameters, up: Parameters, start: tuple, xs: Array) -> tuple:
    """State and features above after the last step, by the steps alone."""
    c = start[1]
    for y in run(lower, kind, low, start[0], xs)[1]:
        c, out = step(upper, kind, up, c, y.ravel())
    return c, out


@pairs
@pytest.mark.parametrize("kind", ["tanh", "identity"])
def test_eq98_eq99_eq101_the_way_through_the_memory_above(lower: str, upper: str, kind: str) -> None:
    low, c_0, xs, rng = material(98)
    (up, k_0), dy = above(99), rng.standard_normal((2, M))
    found = effects(lower, upper, kind, low, up, (c_0, k_0), xs)
    D = dy * f_prime(kind, found["y"]) if upper == "linear" else dy
    for name in BLOCKS:
        state = by_complex_step(lambda q: both(lower, upper, kind, q, up, (c_0, k_0), xs)[0], low, name)
        value = by_complex_step(
            lambda q: np.asarray((both(lower, upper, kind, q, up, (c_0, k_0), xs)[1] * dy).sum()), low, name
        )
        assert error(found[name], state) < COMPLEX_STEP
        assert error(np.einsum("ak,ak...->...", D, found[name]), value) < COMPLEX_STEP


@pytest.mark.parametrize("kind", ["tanh", "identity"])
def test_eq100_the_effect_is_no_product_with_a_complex_number(kind: str) -> None:
    low, c_0, xs, _ = material(100)
    up, k_0 = above(101)
    found = effects("linear", "linear", kind, low, up, (c_0, k_0), xs)
    es, ys = sensitivities("linear", kind, low, c_0, xs, "W1"), run("linear", kind, low, c_0, xs)[1]
    g, p, _ = rotation(up)
    lam = (g + 1j * p)[:, None, None]
    P = Q = np.zeros((M, *low["W1"].shape), complex)
    for t in range(STEPS):
        U = matrices("linear", "linear", kind, up, ys[t], ys[t])[1]
        by = (U[0, 0] + U[1, 1] + 1j * (U[1, 0] - U[0, 1])) / 2, (U[0, 0] - U[1, 1] + 1j * (U[1, 0] + U[0, 1])) / 2
        e = es[t, 0] + 1j * es[t, 1]
        P = lam * P + by[0].T[:, None, :] * e
        Q = lam * Q + by[1].T[:, None, :] * e.conj()
    E1, E2 = (found[name][0] + 1j * found[name][1] for name in ("W1", "W2"))
    assert error(P + Q, E1) < PLAIN
    assert error(1j * (P - Q), E2) < PLAIN
    assert error(1j * E1, E2) > 1e-2  # (14) does not carry over, and tanh is not to blame


def test_eq102_what_layer_local_rtrl_has_of_a_constant_effect() -> None:
    up, _ = above(102)
    g, p, _ = rotation(up)
    lam, Ue, E = g + 1j * p, np.random.default_rng(102).standard_normal(M) + 1j, np.zeros(M, complex)
    for _ in range(2000):
        E = lam * E + Ue
    assert error((1 - lam) * E, Ue) < PLAIN
    slow = np.array([0.99 + 0j])
    assert abs((1 - slow) / 1).item() == pytest.approx(0.01)
    assert np.degrees(np.angle(1 - 0.99 * np.exp(0.3j))) == pytest.approx(-79.5, abs=0.1)  # nearly a right angle
