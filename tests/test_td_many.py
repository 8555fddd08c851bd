"""Many predictions on one body: against an oracle that knows forward passes alone, and against single learners."""

from dataclasses import asdict

import many_oracle
import numpy as np
import oracles
import pytest
from cases import COMPILED, KINDS, Case, in_plain_python, rtu
from mutants import rebuilt
from td_cases import OPTIMIZERS
from tolerances import LEARNING, PLAIN, assert_close

import rtu_np
from rtu_np import RTRL, SGD, TBPTT, Dense, LinearRTU, TDLambda

M, D, STEPS = 6, 2, 60
LINEAR = rtu(LinearRTU, "tanh", r_max=0.95)
ENDS = "terminated", "truncated"
BODIES = ["traces", "shared", "lambda0", "frozen"]


def made(case: Case, optimizer: str, body: str = "traces", package=rtu_np, **settings):
    """A learner, and the oracle that begins as it does. Readouts are not zero, so that the body learns at once."""
    gamma = [0.9] * M if body == "shared" else np.linspace(0.5, 0.95, M)
    rule = getattr(package, optimizer)(**asdict(OPTIMIZERS[optimizer]))
    own = {"gamma": gamma, "lambda_": 0.8, "seed": 1, "body": body, **settings}
    agent = package.TDLambda(rebuilt(package, case.cell), D, optimizer=rule, **own)
    agent.parameters["readout.w"][:] = np.random.default_rng(3).normal(0, 0.3, agent.parameters["readout.w"].shape)
    params = {k: view.astype(float) for k, view in agent.parameters.items()}
    method = settings.get("gradient")
    oracle = many_oracle.ManyOracle(
        case.in_blocks,
        params,
        case.n_state,
        own["lambda_"],
        oracles.Optimizer(optimizer, **asdict(OPTIMIZERS[optimizer])),
        body,
        getattr(method, "steps", None),
    )
    return agent, oracle


def near(actual, expected, tolerance: float, name: str) -> None:
    """As `assert_close`; but all may be zero, as parameters before the first update are."""
    error = np.abs(actual - expected).max() / max(1.0, np.abs(expected).max())
    assert error <= tolerance, f"{name}: off by {error:.2e}"


def compare(agent, oracle, s: dict, tolerance: float = LEARNING) -> None:
    """Step by step: predictions, and the whole update of all parameters."""
    for x, c, discount, ratio, terminated, truncated in zip(*(s[name] for name in many_oracle.NAMES), strict=True):
        v = agent.step(x, c, discount, terminated, truncated, ratio)
        expected = oracle.step(x, c, np.broadcast_to(discount, M), np.broadcast_to(ratio, M), terminated, truncated)
        near(v, expected, tolerance, "predictions")
        for name, view in agent.parameters.items():
            near(view, oracle.params[name], tolerance, name)


CASES = [(LINEAR, optimizer, body) for body in BODIES for optimizer in OPTIMIZERS]
CASES = [each for each in CASES if each[1] != "ObGD" or each[2] in ("traces", "frozen")]
COMPILED_CASES = [each for each in CASES if each[1] in ("SGD", "Adam")]


@pytest.mark.parametrize(("case", "optimizer", "body"), COMPILED_CASES if COMPILED else CASES)
def test_learning_equals_the_oracle(case, optimizer, body):
    agent, oracle = made(case, optimizer, body)
    start = {name: view.copy() for name, view in agent.parameters.items()}
    s = many_oracle.stream(STEPS, D, M, seed=2, each=body != "shared")
    assert s["terminated"].any()
    assert s["truncated"].any()
    compare(agent, oracle, s)
    for name, view in agent.parameters.items():
        still = body == "frozen" and not name.startswith("readout")
        assert np.array_equal(view, start[name]) == still, name


def test_traces_of_the_oracle():
    agent, oracle = made(LINEAR, "SGD")
    compare(agent, oracle, many_oracle.stream(20, D, M, seed=5) | dict.fromkeys(ENDS, [False] * 20))
    for name in oracle.names:
        assert_close(agent.traces[name], np.array([z[name] for z in oracle.z_body]), LEARNING, name)
    assert_close(agent.traces["readout.w"], oracle.z_w, LEARNING, "w")
    assert_close(agent.traces["readout.b"], oracle.z_b, LEARNING, "b")


@in_plain_python
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gradient", [None, TBPTT(3), RTRL(dense=True)], ids=["own", "window", "dense"])
def test_any_cell_and_gradient(kind, gradient):
    case = KINDS[kind]
    if gradient is None and case.layers and not isinstance(case.cell.layers[-1], Dense):
        pytest.skip("layer-local")
    settings = {} if gradient is None else {"gradient": gradient}
    compare(*made(case, "SGD", **settings), many_oracle.stream(15, D, M, seed=7))


@in_plain_python
@pytest.mark.parametrize("kind", ["nonlinear RTU", "minGRU"])
@pytest.mark.parametrize("body", ["shared", "lambda0"])
def test_traces_of_features_of_other_cells(kind, body):
    compare(*made(KINDS[kind], "Adam", body), many_oracle.stream(30, D, M, seed=8, each=False))


@in_plain_python
def test_one_discount_and_ratio_for_all():
    compare(*made(LINEAR, "RMSProp", "lambda0"), many_oracle.stream(30, D, M, seed=9, each=False))


# ---------------------------------------------------------------------------------------------- one learner and many


@pytest.mark.parametrize("body", BODIES)
def test_equal_predictions_move_the_body_as_one_with_m_times_the_step(body):
    one = TDLambda(LinearRTU(5), D, gamma=[0.9], optimizer=SGD(0.002 * M), body=body)
    many = TDLambda(LinearRTU(5), D, gamma=[0.9] * M, optimizer=SGD(0.002), body=body)
    if body in ("traces", "shared"):  # as today's path, too
        one = TDLambda(LinearRTU(5), D, gamma=0.9, optimizer=SGD(0.002 * M))
    rng = np.random.default_rng(0)
    w = rng.standard_normal(10)
    one.parameters["readout.w"][...] = w
    many.parameters["readout.w"][:] = w
    # The readout of one learns M times as fast. So only the body may learn here: its traces, over one step.
    s = oracles.stream(20, D, seed=1, ends=False)
    for t, (x, c) in enumerate(zip(s.observations, s.cumulants, strict=True)):
        one.step(x, c if body in ("traces", "shared") else [c])
        many.step(x, np.full(M, c))
        for name in ("cell.W1", "cell.theta_log"):
            if t:
                assert_close(many.parameters[name], one.parameters[name], PLAIN, name)
        for learner in (one, many):  # the readouts stay together
            learner.parameters["readout.w"][...] = w
            learner.parameters["readout.b"][...] = 0.0


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"] if COMPILED else OPTIMIZERS)
@pytest.mark.parametrize("kind", ["linear RTU"] if COMPILED else KINDS)
def test_an_array_of_one_is_one_prediction(kind, optimizer):
    cell, rule = KINDS[kind].cell, OPTIMIZERS[optimizer]
    one, array = (TDLambda(cell, D, gamma=gamma, optimizer=rule) for gamma in (0.9, [0.9]))
    s = oracles.stream(100, D, seed=3)
    rest = s.discounts, s.terminated, s.truncated
    expected = one.run(s.observations, s.cumulants, *rest, progress=False)
    got = array.run(s.observations, s.cumulants[:, None], *rest, progress=False)
    assert got.shape == (100, 1)
    assert_close(got[:, 0], expected, PLAIN, "predictions")
    for name, view in one.parameters.items():
        assert_close(array.parameters[name].reshape(view.shape), view, PLAIN, name)
    assert array.predict(s.observations[0]).shape == (1,)


def test_a_wrap_of_phases_is_that_of_one_prediction():
    one, array, many = (TDLambda(LinearRTU(4), D, gamma=g, optimizer=SGD(0.01)) for g in (0.9, [0.9], [0.9] * 5))
    s = oracles.stream(64, D, seed=3, ends=False)
    for learner in (one, array, many):
        learner.parameters["readout.w"][...] = 0.3
        learner.parameters["cell.theta_log"][0] = np.log(13.0)
    expected = one.run(s.observations, s.cumulants, progress=False)
    assert_close(
        array.run(s.observations, s.cumulants[:, None], progress=False)[:, 0], expected, LEARNING, "predictions"
    )
    for name, view in one.parameters.items():
        assert_close(array.parameters[name].reshape(view.shape), view, LEARNING, name)
    for name, view in one.traces.items():
        assert_close(array.traces[name].reshape(view.shape), view, LEARNING, name)
    many.run(s.observations, np.repeat(s.cumulants[:, None], 5, axis=1), progress=False)
    assert one.parameters["cell.theta_log"][0] < np.log(13.0) - 0.3
    assert many.parameters["cell.theta_log"][0] < np.log(13.0) - 0.3


# ------------------------------------------------------------------------------------------------------ planted bugs

KERNELS, NETWORK, CELLS = "prediction/td_many_kernels.py", "prediction/td_many_network.py", "cells/many.py"
BUGS = {
    "the trace decays with another prediction's discount": (
        NETWORK,
        "discount, ratio = signal[DISCOUNT * m + j]",
        "discount, ratio = signal[DISCOUNT * m]",
        "traces",
    ),
    "no importance ratio in the trace": (NETWORK, "decays[j] = ratio * (discount", "decays[j] = (discount", "traces"),
    "no importance ratio in the update": (NETWORK, "error = ratio * (signal", "error = (signal", "traces"),
    "the bias does not bootstrap": (NETWORK, "v_t[j] += b[j]", "pass", "traces"),
    "the first step learns": (KERNELS, "if learns:", "if True:", "Adam"),
    "the bias learns without a trace": (NETWORK, "decays[j] * z[j] + one", "one", "traces"),
    "a readout has its neighbour's trace": (NETWORK, "z.w[int(n.group[start])]", "z.w[0]", "traces"),
    "only the first prediction's trace moves the body": (CELLS, "many.factors[j])", "many.factors[0])", "traces"),
    "the gradient has another readout": (CELLS, "many.dy[j + k]", "many.dy[j]", "traces"),
    "the third trace is left out of the sum": (CELLS, "sum1 + f2 * z1", "sum1", "traces"),
    "the sign of the sensitivity to W2": (CELLS, "- credits[4, i] * e2", "+ credits[4, i] * e2", "traces"),
    "the traces of features decay by nothing": (
        KERNELS,
        "network, network.decays[0])",
        "network, 0 * network.dy[0])",
        "shared",
    ),
    "a feature has the weight of the unit's other": (
        KERNELS,
        "z, dy[k * units : (k + 1) * units]",
        "z, dy[(1 - k) * units : (2 - k) * units]",
        "lambda0",
    ),
    "lambda 0 has traces": (KERNELS, "network, network.dy.dtype.type(0))", "network, network.decays[0])", "lambda0"),
    "a frozen body forgets its state": (
        KERNELS,
        "memory.flat_state)\n    copy(record",
        "memory.dstate)\n    copy(record",
        "frozen",
    ),
    "traces outlive an episode": (KERNELS, "clear(network.memory.y)\n    clear(network.flat_traces)", "pass", "frozen"),
    "each prediction has the whole bound": (
        "prediction/td_many.py",
        "kappa=m * rule.kappa",
        "kappa=rule.kappa",
        "ObGD",
    ),
    "the bound does not see the bias": (NETWORK, "tail[spec.n_tail - 1] = n.traces.readout.b[j]", "pass", "ObGD"),
}


@in_plain_python
@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_found(bug, mutant):
    file, old, new, body = BUGS[bug]
    package = mutant(file, [(old, new)])
    optimizer, body = ("SGD", body) if body in BODIES else (body, "traces")
    s = many_oracle.stream(STEPS, D, M, seed=2, each=body != "shared")
    with np.errstate(all="ignore"), pytest.raises(AssertionError, match="off by"):
        compare(*made(LINEAR, optimizer, body, package), s)
