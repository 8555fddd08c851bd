"""From RNN to RTU: (1), (2), (5), (6); (3) and (4) are with the two cells."""

from decimal import Decimal, localcontext

import numpy as np
from tolerances import PLAIN

from derivations.calculus import error
from derivations.dense import linear_network
from derivations.units import STEPS, rotation


def test_eq01_linear_network_sums_over_the_past() -> None:
    A, B, h_0, xs, hs = linear_network(1)
    powers = [np.linalg.matrix_power(A, k) for k in range(STEPS + 1)]
    expected = powers[STEPS] @ h_0 + sum(powers[STEPS - 1 - k] @ B @ xs[k] for k in range(STEPS))
    assert error(hs[-1], expected) < PLAIN


def test_eq02_diagonal_complex_network_is_the_same_network() -> None:
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


def test_eq02_almost_every_real_matrix_is_diagonalisable() -> None:
    As = np.random.default_rng(3).standard_normal((1000, 4, 4))
    values, V = np.linalg.eig(As)
    assert (np.abs(values[:, :, None] - values[:, None, :]) + np.eye(4)).min() > 0
    assert error((V * values[:, None, :]) @ np.linalg.inv(V), As) < 1e-9  # V is badly conditioned now and then
    assert error(np.sort_complex(values.conj()), np.sort_complex(values)) < PLAIN
    jordan = np.array([[1.0, 1.0], [0.0, 1.0]])  # the exception: one eigenvector where two are needed
    assert np.linalg.matrix_rank(jordan - np.eye(2)) == 1


def test_eq05_parameters_give_every_stable_eigenvalue_and_no_other() -> None:
    rng = np.random.default_rng(5)
    wanted = rng.uniform(0.001, 0.999, 100) * np.exp(1j * rng.uniform(-np.pi, np.pi, 100))
    params = {"nu_log": np.log(-np.log(np.abs(wanted))), "theta_log": np.log(np.angle(wanted) % (2 * np.pi))}
    g, p, _ = rotation(params)
    assert error(g + 1j * p, wanted) < PLAIN
    g, p, _ = rotation({"nu_log": np.linspace(-30, 3, 100), "theta_log": np.linspace(-9, 9, 100)})
    assert ((np.hypot(g, p) > 0) & (np.hypot(g, p) < 1)).all()


def test_eq06_normalisation_keeps_the_size_of_the_state_and_its_own_digits() -> None:
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
