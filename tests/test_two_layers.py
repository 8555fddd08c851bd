"""Exact RTRL of two layers of recurrent trace units, one on the other."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from cases import COMPILED, in_plain_python
from planting import planted
from tolerances import COMPLEX_STEP, FLOAT32, LEARNING, PLAIN, assert_close

import rtu_np
from envs import TMaze
from experiments import agreement, two_layers
from rtu_np import (
    GRU,
    LRU,
    PPO,
    RTRL,
    SGD,
    ActorCritic,
    Adam,
    Dense,
    LayerNorm,
    LinearRTU,
    MinGRU,
    NonlinearRTU,
    OnlineRegressor,
    Stack,
    TDLambda,
    check_gradients,
    check_learner,
    checkpoint,
    flops,
    protocol,
)
from rtu_np.cells.two_layers import TwoLayersSpec
from rtu_np.gradcheck import gradient_angles
from rtu_np.numerics.buffers import leaves, size

EXACT, DENSE = RTRL(exact=True), RTRL(dense=True)
KINDS = (LinearRTU, NonlinearRTU)
PAIRS = list(product(KINDS, KINDS))
pairs = pytest.mark.parametrize(("lower", "upper"), PAIRS)
compiled = pytest.mark.skipif(not COMPILED, reason="of what is compiled")


@pytest.fixture
def one_regime(monkeypatch):
    """A function after which one regime is checked: the eight take most of the time."""
    return lambda: monkeypatch.setattr(
        rtu_np.gradcheck.check, "regimes", lambda on: [rtu_np.gradcheck.regimes.BASIC[0]]
    )


@in_plain_python
@pytest.mark.parametrize(("lower", "upper", "activation"), [(*p, "tanh") for p in PAIRS] + [(*PAIRS[1], "leaky_relu")])
def test_every_pair(lower, upper, activation, one_regime):
    if (lower, upper) != PAIRS[1]:
        one_regime()
    report = check_gradients(Stack([lower(3, activation), upper(5, activation)]), 2, 12, EXACT, seed=1, reset_at=4)
    assert report.passed, str(report)
    assert report.max_error <= COMPLEX_STEP
    kinds = {block.kind for block in report.blocks if block.block[0].isdigit()}
    assert kinds == {"exact for fixed parameters"}


@in_plain_python
def test_layers_without_a_state_above(one_regime):
    one_regime()
    cell = Stack([NonlinearRTU(3), LinearRTU(2), LayerNorm("tanh"), Dense(3, "tanh"), Dense(2)])
    report = check_gradients(cell, 2, 12, EXACT)
    assert report.passed, str(report)
    assert {block.kind for block in report.blocks if block.block[0].isdigit()} == {"exact for fixed parameters"}


@in_plain_python
def test_where_layer_local_rtrl_is_exact_it_is_what_one_gets():
    for cell in (LinearRTU(3), GRU(3), Stack([LinearRTU(3), Dense(2)]), Stack([GRU(2), Dense(3, "tanh"), Dense(2)])):
        angles = gradient_angles(cell, 2, EXACT, DENSE, steps=9)
        assert max(angles.values()) < 1e-5
    two = Stack([LinearRTU(3), LinearRTU(3)])
    assert max(gradient_angles(two, 2, EXACT, DENSE, steps=20).values()) < 1e-5
    assert max(gradient_angles(two, 2, RTRL(), DENSE, steps=20).values()) > 1


@in_plain_python
@pytest.mark.parametrize(("lower", "upper", "above"), [(*p, []) for p in PAIRS] + [(*PAIRS[0], [Dense(3, "tanh")])])
def test_the_plain_form_is_that_of_the_kernels(lower, upper, above):
    layer = Stack([lower(3), upper(5), *above]).build(2, EXACT, seed=4)
    assert isinstance(layer.spec, TwoLayersSpec)
    params, memory = (of[0] for of in (protocol.parameters(layer.spec, layer._params), layer_memory(layer)))
    plain, rng = protocol.memory(layer.spec, np.zeros(layer._memory.size))[0], np.random.default_rng(4)
    for x in rng.standard_normal((9, 2)):
        layer.advance(x)
        plain = protocol.plain_advance(layer.spec, params, plain, x)
    for name in ("E", "U", "y"):
        assert_close(getattr(plain, name), getattr(memory, name), PLAIN, name)
    dy = rng.standard_normal(layer.n_outputs)
    gradient, dx = protocol.plain_gradient(layer.spec, params, plain, dy)
    for name, expected in leaves(gradient).items():
        assert_close(layer.gradient(dy)[name], expected, PLAIN, name)
    assert_close(layer.input_gradient(dy), dx, PLAIN)


def layer_memory(layer):
    return protocol.memory(layer.spec, layer._memory)


@in_plain_python
@pytest.mark.parametrize("above", [[], [Dense(2, "tanh")]])
def test_stored_sensitivities_are_those_of_the_state(above):
    layers = [Stack([LinearRTU(3), NonlinearRTU(2), *above]).build(2, method, seed=2) for method in (EXACT, DENSE)]
    rng = np.random.default_rng(2)
    for x in rng.standard_normal((8, 2)):
        for layer in layers:
            layer.advance(x)
    dstate, gradients = rng.standard_normal(10), []
    for layer in layers:
        stored = protocol.stored_sensitivities(layer.spec, np.zeros(size(protocol.stored_sensitivities, layer.spec)))[0]
        protocol.store_sensitivities(layer.spec, layer_memory(layer)[0], stored)
        out = protocol.parameters(layer.spec, np.zeros(layer._params.size))[0]
        protocol.accumulate_stored(layer.spec, stored, dstate, out)
        gradients.append(leaves(out))
    for name, expected in gradients[1].items():
        if expected.any():  # a layer above the last state has no sensitivities
            assert_close(gradients[0][name], expected, COMPLEX_STEP, name)


def both_ways(make):
    """What two learners predict, one with each exact gradient, and how far layer-local RTRL is from it."""
    exact, dense, local = (make(method) for method in (EXACT, DENSE, RTRL()))
    assert_close(exact, dense, LEARNING)
    assert np.abs(exact - local).max() > 1e-4 * np.abs(exact).max()


TWO = Stack([LinearRTU(7), LinearRTU(9)])


def stream(steps):
    rng = np.random.default_rng(8)
    return rng.standard_normal((steps, 2)), rng.standard_normal(steps), rng.random(steps) < 0.05


def learned(cell, method, steps, optimizer, dtype="float64"):
    """The parameters after a stream with ends of episodes."""
    xs, cs, ends = stream(steps)
    learner = TDLambda(cell, 2, 0.9, 0.9, optimizer, method, seed=1, dtype=dtype)
    learner.run(xs, cs, terminated=ends, truncated=~ends & (np.arange(steps) % 21 == 20), progress=False)
    return np.concatenate([view.ravel() for view in learner.parameters.values()])


@compiled
def test_compiled_it_learns_in_float32_as_in_float64():
    """test_benchmarks.py has the same learner in float64 and in float32, without ends of episodes, beside C."""
    double, single = (learned(TWO, EXACT, 150, SGD(1e-3), dtype) for dtype in ("float64", "float32"))
    assert_close(single, double, FLOAT32)
    assert np.abs(double - learned(TWO, EXACT, 1, SGD(1e-3))).max() > 1e-2


@in_plain_python
@pytest.mark.parametrize("what", ["SGD", "Adam", "many", "regressor", "agent", "PPO"])
def test_every_learner_learns_as_with_full_rtrl(what):
    xs, cs, _ = stream(40)
    small = Stack([LinearRTU(3, max_phase=1.0), NonlinearRTU(2, max_phase=1.0)])

    def learn(method):
        if what in ("SGD", "Adam"):
            return learned(small, method, 40, {"SGD": SGD(3e-2), "Adam": Adam(1e-2)}[what])
        if what == "many":
            learner = TDLambda(small, 2, np.array([0.5, 0.8, 0.9]), optimizer=SGD(1e-2), gradient=method)
            learner.run(xs, np.stack([cs, cs, -cs], axis=1), progress=False)
        elif what == "regressor":
            learner = OnlineRegressor(small, 2, optimizer=SGD(1e-2), gradient=method)
            learner.run(xs, cs, progress=False)
        elif what == "agent":
            learner = ActorCritic(TMaze(length=3), cell=small, gradient=method, dtype="float64", seed=3)
            learner.learn(TMaze(length=3), 25, progress=False, log=None)
        else:
            settings = {"n_steps": 8, "n_epochs": 2, "n_minibatches": 1, "threads": 1}
            learner = PPO(TMaze(length=3), cell=small, gradient=method, dtype="float64", seed=3, **settings)
            learner.learn(TMaze(length=3), 18, progress=False, log=None)
        return np.concatenate([view.ravel() for view in learner.parameters.values()])

    both_ways(learn)


REFUSED = {
    "LinearRTU, LinearRTU, LinearRTU": [LinearRTU(2), LinearRTU(2), LinearRTU(2)],
    "Dense, LinearRTU": [Dense(2), LinearRTU(2)],
    "Dense, LinearRTU, LinearRTU": [Dense(2), LinearRTU(2), LinearRTU(2)],
    "GRU, LinearRTU": [GRU(2), LinearRTU(2)],
    "LRU, LinearRTU": [LRU(2, projection=False), LinearRTU(2)],
    "LinearRTU, LRU": [LinearRTU(2), LRU(2)],
    "LinearRTU, MinGRU, Dense": [LinearRTU(2), MinGRU(2), Dense(2)],
    "LinearRTU, Dense, LinearRTU": [LinearRTU(2), Dense(2), LinearRTU(2)],
}


@pytest.mark.parametrize("names", REFUSED)
def test_other_layers_are_refused_by_name(names):
    for make in (
        lambda: Stack(REFUSED[names]).build(2, EXACT),
        lambda: TDLambda(Stack(REFUSED[names]), 2, gradient=EXACT),
    ):
        with pytest.raises(TypeError) as error:
            make()
        assert f"gradient is RTRL(exact=True) for a Stack of {names}: expected two layers, each a" in str(error.value)


def test_what_the_method_itself_refuses():
    with pytest.raises(ValueError, match="dense and exact are both True: expected one of them"):
        RTRL(dense=True, exact=True)
    with pytest.raises(TypeError, match="exact"):
        RTRL(exact="yes")


def test_it_is_described_only_if_it_is_asked_for():
    """Names of runs are hashes of descriptions, so that of RTRL() stays what it was before there was `exact`."""
    assert checkpoint.describe(RTRL()) == {"name": "RTRL", "dense": False}
    assert checkpoint.build("gradient", checkpoint.describe(EXACT)) == EXACT
    assert checkpoint.build("gradient", {"name": "RTRL", "dense": True}) == DENSE


@in_plain_python
def test_a_wrapped_phase_rescales_the_way_through_the_layer_above():
    layer = Stack([LinearRTU(3), LinearRTU(2)]).build(2, EXACT, seed=6)
    memory, n_rows = layer_memory(layer)[0], 4 * (1 + 2)
    for x in np.random.default_rng(6).standard_normal((5, 2)):
        layer.advance(x)
    before, factors = memory.E.copy(), protocol.parameters(layer.spec, np.ones(layer._params.size))[0]
    factors.lower.eigenvalue[1][1] = 0.5
    protocol.rescale(layer.spec, factors, memory, factors)
    changed = np.unique(np.argwhere(before != memory.E)[:, 0]).tolist()
    assert changed == [n_rows + 2, n_rows + 3]  # the phase of the second unit below
    assert_close(memory.E[changed], before[changed] / 2, PLAIN)


FILES = "cells/two_layers.py", "cells/couplings.py"
LL, NN = PAIRS[0], PAIRS[3]
BUGS = {  # (pair, what stands there, what the bug makes of it)
    "U is transposed": (LL, "p[k] * E2[k] + U11[k] * e1 + U12[k] * e2", "p[k] * E2[k] + U11[k] * e1 + U21[k] * e2"),
    "the rotation turns back": (LL, "+ p[k] * F1_tm1", "- p[k] * F1_tm1"),
    "W2 = i W1 above, too": (LL, "    return e1, e2, -e2, e1\n", "    return e1, e2, e2, -e1\n"),
    "the slope below is lost": (
        LL,
        "    return slope(spec.activation, memory.y[i]), slope(",
        "    return like(memory.y[i], 1.0), slope(",
    ),
    "the slope above is lost": (NN, "(memory.gamma1, memory.gamma2)", "(memory.gamma1, memory.gamma1)"),
    "the memory above is left out": (NN, "E1[k] = g1[k] * E1_tm1 - p1[k] * E2[k] +", "E1[k] ="),
    "one input is left out": (LL, "row += 4\n", "row += 4 if j + 1 < spec.lower.n_inputs else 0\n"),
    "c2 above has no credit": (
        NN,
        "dot(d1, E[row + 2]) + dot(d2, E[row + 3]))\n    for",
        "dot(d1, E[row + 2]))\n    for",
    ),
    "learn: gradients of the step before": (
        LL,
        "        _carry_unit(spec, memory, i)\n        _contract_unit(spec, memory.E, i, "
        "(units.credit1, units.credit2), decay, traces.lower)\n",
        "        _contract_unit(spec, memory.E, i, (units.credit1, units.credit2), decay, traces.lower)\n"
        "        _carry_unit(spec, memory, i)\n",
    ),
    "learn: the lower layer is not updated": (LL, "add_scaled(params.lower, traces.lower, step)", "pass"),
    "from the ninth unit above on": (
        LL,
        "    for k in range(scale.shape[0]):",
        "    for k in range(min(scale.shape[0], 8)):",
    ),
}


@in_plain_python
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug, plant, one_regime):
    (lower, upper), old, new = BUGS[bug]
    (file,) = (each for each in FILES if old in (Path(rtu_np.__file__).parent / each).read_text())
    plant(file, [(old, new)])
    one_regime()
    cell = Stack([lower(2), upper(9 if "ninth" in bug else 2)])
    assert not check_gradients(cell, 2, 5, EXACT, seed=3).passed


@in_plain_python
def test_without_a_bug_it_passes(one_regime):
    one_regime()
    assert check_gradients(Stack([LinearRTU(2), NonlinearRTU(3)]), 2, 8, EXACT).passed


@in_plain_python
@pytest.mark.parametrize("name", ["running", "held"])
def test_the_bayes_prediction_of_the_agreement_streams_is_the_mean_of_the_sign(name):
    task = getattr(agreement, name)(60_000, np.random.default_rng(1), agreeing=0.7)
    seen = np.isfinite(task.bayes) & np.isfinite(task.target)
    bayes, sign = task.bayes[seen], task.target[seen]
    error = (sign - bayes) * bayes  # what is left over does not go with the prediction
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(seen.sum() / 20)  # some 20 rows have much in common
    assert ((sign - bayes) ** 2).mean() < 0.8
    assert abs(np.corrcoef(task.observations[1:, 0], task.observations[:-1, 0])[0, 1]) < 0.05


@in_plain_python
def test_single_layers_are_as_large_as_they_may_be():
    for task in two_layers.TASKS:
        for method in two_layers.SINGLE:
            one, d = two_layers.cell(task, method), two_layers.TASKS[task]
            costs = [
                flops(cell, d, EXACT)
                if "operations" in method
                else sum(v.size for v in cell.build(d).parameters.values())
                for cell in (one, LinearRTU(one.n_hidden + 1), two_layers.cell(task, "exact RTRL"))
            ]
            readouts = [0, 2, 2 * 8 - 2 * one.n_hidden] if "parameters" in method else [0, 0, 0]  # beyond that of `one`
            sizes = [cost + more for cost, more in zip(costs, readouts, strict=True)]
            assert sizes[0] <= sizes[2] < sizes[1]


def _checked():
    cell = Stack([LinearRTU(2), NonlinearRTU(2), Dense(2)])
    return check_learner(TDLambda(cell, 2, optimizer=SGD(0.01), gradient=EXACT), 20)


@in_plain_python
def test_check_learner_knows_the_exact_gradient():
    """It is red if the way through the upper layer's memory, E <- A E, is left out."""
    assert _checked().passed, str(_checked())
    with planted("cells/couplings.py", [("E1[k] = g1[k] * E1_tm1 - p1[k] * E2[k] + ", "E1[k] = ")]):
        report = _checked()
    assert [part.name for part in report.parts if part.parts_at][:1] == ["traces.cell"], str(report)
