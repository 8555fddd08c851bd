"""Sensitivities: (9) to (14), and that the page's *Deviations* from them would be seen."""

import numpy as np
import pytest
from tolerances import COMPLEX_STEP, DIFFERENCES, PLAIN

from derivations.calculus import Parameters, by_complex_step, error
from derivations.units import (
    BLOCKS,
    STEPS,
    N,
    both_cells,
    every_f,
    material,
    own_unit,
    rotation,
    rotation_derivatives,
    run,
    sensitivities,
)

each_block = pytest.mark.parametrize(
    "block",
    [
        pytest.param("nu_log", id="eq11-nu_log"),
        pytest.param("theta_log", id="eq11-theta_log"),
        pytest.param("W1", id="eq12-W1"),
        pytest.param("W2", id="eq13-W2"),
    ],
)


@pytest.mark.parametrize("block", ["nu_log", "theta_log"], ids=["eq09-nu_log", "eq10-theta_log"])
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


@both_cells
@every_f
@each_block
def test_sensitivities(cell: str, kind: str, block: str) -> None:
    params, c_0, xs, _ = material(11)
    expected = own_unit(by_complex_step(lambda q: run(cell, kind, q, c_0, xs)[0], params, block))
    actual = sensitivities(cell, kind, params, c_0, xs, block)
    for t in range(1, STEPS):
        assert error(actual[t], expected[t]) < COMPLEX_STEP


@both_cells
@each_block
def test_eq11_stale_sensitivities_are_exact_for_a_common_shift(cell: str, block: str) -> None:
    params, c_0, xs, rng = material(12)
    drift = {name: 0.05 * rng.standard_normal((STEPS, *value.shape)).cumsum(0) for name, value in params.items()}

    def schedule(p: Parameters, t: int) -> Parameters:
        return {name: p[name] + drift[name][t] for name in BLOCKS}

    expected = own_unit(by_complex_step(lambda q: run(cell, "tanh", q, c_0, xs, schedule)[0], params, block))
    actual = sensitivities(cell, "tanh", params, c_0, xs, block, schedule)
    assert error(actual, expected) < COMPLEX_STEP
    throughout = sensitivities(cell, "tanh", schedule(params, STEPS - 1), c_0, xs, block)
    assert error(actual[-1], throughout[-1]) > 1e-3


@every_f
def test_eq14_one_complex_sensitivity_per_pair_of_weights(kind: str) -> None:
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


def test_eq09_eq10_deviations_would_be_seen() -> None:
    """Rows 1 and 3 of the page's list: the first is plain, the second is too small for finite differences."""
    params = material(15)[0]
    g, p, gamma = rotation(params)
    dg, dp, _ = rotation_derivatives(params, "theta_log")
    assert min(error(-p, dg), error(g, dp)) > 0.1
    assert error(-p * np.exp(params["theta_log"]), dg) < PLAIN
    nu = np.exp(params["nu_log"])
    released = error(nu * np.exp(-2 * nu) / (gamma + 1e-8), rotation_derivatives(params, "nu_log")[2])
    assert COMPLEX_STEP < released < DIFFERENCES
