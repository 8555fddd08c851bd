"""TD(lambda): what it refuses, by name and value, and that nothing has changed then."""

import numpy as np
import oracles
import pytest
from td_cases import D, everything, learner, run

from rtu_np import SGD, Adam, LinearRTU, ObGD, RMSProp, TDLambda

GOOD = {"observations": np.ones((5, D)), "cumulants": np.ones(5)}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"observations": np.ones((5, D + 1))}, ValueError, r"observations has shape \(5, 3\): expected \(any, 2\)"),
        ({"observations": np.ones(5)}, ValueError, r"observations has shape \(5,\)"),
        ({"observations": np.ones((0, D)), "cumulants": np.ones(0)}, ValueError, "expected at least one step"),
        ({"observations": np.full((5, D), "x")}, TypeError, "observations has dtype <U1: expected real numbers"),
        ({"observations": np.full((5, D), 1j)}, TypeError, "not complex ones"),
        ({"observations": np.array([[1, 2]] * 4 + [[3, np.nan]])}, ValueError, r"observations\[4, 1\] is nan"),
        ({"cumulants": np.ones(4)}, ValueError, r"cumulants has shape \(4,\): expected \(5,\); as many as"),
        ({"cumulants": [1, 2, np.inf, 4, 5]}, ValueError, r"cumulants\[2\] is inf"),
        ({"discounts": np.ones(6)}, ValueError, "discounts has shape"),
        ({"discounts": [0, 0, 1.5, 0, 0]}, ValueError, r"discounts\[2\] is 1.5: expected numbers in \[0, 1\]"),
        ({"discounts": [0, -0.25, 1, 0, 0]}, ValueError, r"discounts\[1\] is -0.25"),
        ({"terminated": np.zeros(3, bool)}, ValueError, "terminated has shape"),
        ({"truncated": ["no"] * 5}, TypeError, "truncated has dtype"),
    ],
)
def test_bad_streams_change_nothing(change, error, message):
    agent = learner()
    run(agent, oracles.stream(20, D, seed=17))
    before = everything(agent)
    with pytest.raises(error, match=message):
        agent.run(**{**GOOD, **change}, progress=False)
    assert everything(agent) == before


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": [1.0]}, ValueError, r"x has shape \(1,\): expected \(2,\)"),
        ({"x": [1.0, np.nan]}, ValueError, r"x\[1\] is nan"),
        ({"x": None}, TypeError, "x is None of type NoneType: expected a real number; fill in a missing value"),
        ({"c": np.inf}, ValueError, "c is inf: expected a finite number"),
        ({"c": None}, TypeError, "c is None of type NoneType"),
        ({"c": "1"}, TypeError, "c is '1' of type str: expected a real number"),
        ({"discount": 1.01}, ValueError, r"discount is 1.01: expected a finite number in \[0.0, 1.0\]"),
        ({"discount": np.nan}, ValueError, "discount is nan"),
    ],
)
def test_bad_steps_change_nothing(change, error, message):
    agent = learner()
    agent.step([1.0, 2.0], 0.0)
    before = everything(agent)
    with pytest.raises(error, match=message):
        agent.step(**{"x": [1.0, 2.0], "c": 0.0, **change})
    assert everything(agent) == before


def test_numbers_too_large_for_float32_are_refused():
    agent = learner(dtype="float32")
    before = everything(agent)
    with pytest.raises(
        ValueError, match=r"observations\[4, 0\] is 1e\+300: .* in the range of float32, up to 3.4e\+38"
    ):
        agent.run(np.array([[1.0, 1.0]] * 4 + [[1e300, 1.0]]), np.ones(5), progress=False)
    with pytest.raises(ValueError, match=r"c is 1e\+300: .* in the range of float32, up to 3.4e\+38"):
        agent.step([1.0, 1.0], 1e300)
    assert everything(agent) == before


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"gamma": 1.1}, ValueError, r"gamma is 1.1: expected a finite number in \[0.0, 1.0\]"),
        ({"gamma": -0.1}, ValueError, "gamma is -0.1"),
        ({"gamma": np.nan}, ValueError, "gamma is nan"),
        ({"lambda_": 2}, ValueError, "lambda_ is 2"),
        ({"lambda_": "high"}, TypeError, "lambda_ is 'high' of type str"),
        ({"n_inputs": 0}, ValueError, "n_inputs is 0: expected an integer of at least 1"),
        ({"n_inputs": 2.0}, TypeError, "n_inputs is 2.0"),
        ({"dtype": "float16"}, ValueError, "dtype is 'float16': expected 'float64' or 'float32'"),
        ({"dtype": "nonsense"}, ValueError, "dtype is 'nonsense'"),
        ({"optimizer": 1e-3}, TypeError, r"optimizer is 0.001: expected an optimiser such as Adam\(1e-3\)"),
        ({"gradient": "RTRL"}, TypeError, "gradient is 'RTRL'"),
        ({"cell": 16}, TypeError, r"cell is 16: expected a cell such as LinearRTU\(16\)"),
    ],
)
def test_bad_settings(settings, error, message):
    with pytest.raises(error, match=message):
        TDLambda(**{"cell": LinearRTU(3), "n_inputs": 2, **settings})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(0.0), "step_size is 0.0: expected a finite number in"),
        (lambda: SGD(-1.0), "step_size is -1.0"),
        (lambda: ObGD(1.0, kappa=0.0), "kappa is 0.0"),
        (lambda: Adam(np.inf), "step_size is inf"),
        (lambda: Adam(beta1=1.0), "beta1 is 1.0"),
        (lambda: Adam(epsilon=0.0), "epsilon is 0.0"),
        (lambda: RMSProp(beta=-0.5), "beta is -0.5"),
    ],
)
def test_bad_optimizers(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_degenerate_and_foreign_parameters_are_named_before_a_step():
    agent = learner()
    agent.parameters["cell.nu_log"][1] = -1000.0
    before = everything(agent)
    for act in (lambda: agent.step([1.0, 2.0], 0.0), lambda: agent.run(**GOOD), lambda: agent.predict([1.0, 2.0])):
        with pytest.raises(ValueError, match=r"nu_log\[1\] is -1000.0: exp\(nu_log\) underflows"):
            act()
        assert everything(agent) == before
    agent.parameters["cell.nu_log"][1] = 0.0
    agent.parameters["cell.W2"][1, 0] = np.nan
    before = everything(agent)
    with pytest.raises(ValueError, match=r"W2\[1, 0\] is nan"):
        agent.run(**GOOD, progress=False)
    assert everything(agent) == before
