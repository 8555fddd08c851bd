"""What learners say about their learning, and the warnings of a learner that has stopped."""

import warnings

import gymnasium
import numpy as np
import pytest
from tolerances import LEARNING, PLAIN, assert_close

from rtu_np import (
    GRU,
    LRU,
    PPO,
    QRC,
    RTRL,
    SGD,
    TBPTT,
    ActorCritic,
    Adam,
    Dense,
    GatedRTU,
    LinearRTU,
    ObGD,
    QLambda,
    RMSProp,
    Stack,
    TDLambda,
)
from rtu_np.learning.diagnostics import Watch
from rtu_np.learning.outcomes import LOOK_EVERY

SLOW, FAST = np.log(2) / 1e-4, np.log(2) / 10.0


def stream(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 2)), rng.standard_normal(n)


def test_units_by_hand() -> None:
    learner = TDLambda(LinearRTU(4), 2)
    learner.parameters["cell.nu_log"][:] = np.log([1e-4, 0.1, 0.2, 10.0])
    learner.parameters["cell.theta_log"][:] = np.log([0.1, 0.2, 2 * np.pi - 0.1, np.pi])
    found = learner.diagnostics()
    names = [f"cell.{kind}.{which}" for kind in ("half_life", "period") for which in ("shortest", "median", "longest")]
    middle = np.log(2) / 2 * (1 / 0.1 + 1 / 0.2)
    expected = [FAST, middle, SLOW, 2, 15 * np.pi, 20 * np.pi]
    assert_close([found[name] for name in names], expected, 1e-9)
    assert found["cell.at_bound"] == 2


@pytest.mark.parametrize("optimizer", [SGD(1e-3), ObGD(), Adam(), RMSProp(1e-3)], ids=lambda rule: type(rule).__name__)
def test_the_last_step_and_its_shares(optimizer) -> None:
    learner = TDLambda(LinearRTU(4), 2, gamma=0.9, optimizer=optimizer, seed=2)
    x, c = stream(200)
    learner.run(x[:199], c[:199], progress=False)
    before = {name: view.copy() for name, view in learner.parameters.items()}
    found = learner.diagnostics()  # SGD, ObGD: what a TD error of 1 would do
    learner.run(x[199:], c[199:], progress=False)
    moved = {name: np.abs(view - before[name]).sum() for name, view in learner.parameters.items()}
    total = sum(moved.values())
    by_block = {
        "cell": total - moved["readout.w"] - moved["readout.b"],
        "readout": moved["readout.w"] + moved["readout.b"],
    }
    if isinstance(optimizer, Adam):
        found = learner.diagnostics()
        assert_close(found["last_step"], total, LEARNING)
    if not isinstance(optimizer, RMSProp):
        for block, size in by_block.items():
            assert_close(found[f"share.{block}"], size / total, LEARNING)
    assert_close(found["share.cell"] + found["share.readout"], 1.0, PLAIN)
    assert ("step_size" in found) == isinstance(optimizer, SGD | ObGD)


@pytest.mark.parametrize(
    ("cell", "gradient", "expected"),
    [
        (LRU(3), RTRL(), {"cell.at_bound": 0, "cell.dead": 0}),
        (GatedRTU(3), RTRL(), {"cell.at_bound": 0, "cell.dead": 0}),
        (GRU(3), TBPTT(2), {}),
        (Stack([Dense(2, "relu"), LinearRTU(3), Dense(2, "relu")]), RTRL(), {"encoder.dead": 2, "hidden.dead": 2}),
        (Stack([Dense(2, "relu"), LinearRTU(3), Dense(2, "relu")]), TBPTT(2), {"hidden.dead": 2}),
        (Stack([LinearRTU(2, "tanh"), LinearRTU(3)]), RTRL(), {"cell.0.saturated": 4, "cell.1.at_bound": 0}),
    ],
    ids=["LRU", "gated RTU", "GRU", "stack", "stack by T-BPTT", "two recurrent layers"],
)
def test_layers_by_name(cell, gradient, expected) -> None:
    learner = TDLambda(cell, 2, gradient=gradient)
    for name, view in learner.parameters.items():
        if name.endswith(".b"):
            view[:] = -100.0
        if name == "cell.0.nu_log":
            learner.parameters["cell.0.W1"][:] = learner.parameters["cell.0.W2"][:] = 100.0
    learner.run(np.ones((3, 2)), np.ones(3), progress=False)
    found = learner.diagnostics()
    assert {name: found[name] for name in expected} == expected
    assert any(name.startswith("cell.half_life") or name.startswith("cell.0.half") for name in found) == (
        cell != GRU(3)
    )


@pytest.mark.parametrize("kind", [ActorCritic, QLambda, QRC, PPO])
def test_agents(kind) -> None:
    env = gymnasium.make("CartPole-v1")
    own = {"n_steps": 64, "n_minibatches": 4, "threads": 1} if kind is PPO else {}
    agent = kind(env, LinearRTU(4), **own)
    first = agent.diagnostics()
    agent.learn(env, 200, progress=False, log=None)
    found = agent.diagnostics()
    assert found.keys() == first.keys()  # the columns of a log
    assert all(np.isfinite(value) for value in found.values())
    prefix = {ActorCritic: "actor.", QRC: "q."}.get(kind, "")
    assert found[f"{prefix}cell.half_life.longest"] > found[f"{prefix}cell.half_life.shortest"] > 0
    shares = {name: value for name, value in found.items() if name.startswith(f"share.{prefix}")}
    assert_close(sum(shares.values()), 1.0, PLAIN)
    assert min(shares.values()) > 0


def test_a_starved_learner_warns_once() -> None:
    """One huge trace that does not fade takes ObGD's whole bound."""
    learner = TDLambda(LinearRTU(3), 2, gamma=1.0, lambda_=1.0, optimizer=ObGD(), dtype="float32")
    x, c = stream(2 * LOOK_EVERY)
    learner.run(x[:10], c[:10], progress=False)
    learner.traces["readout.w"][0] = 1e25
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            learner.run(x, 0.1 * c, progress=False)
    (warning,) = caught
    assert str(warning.message).startswith(f"by step {2 * LOOK_EVERY}, cell.nu_log, cell.theta_log, cell.W1")
    assert "The largest trace is that of readout.w, 1e+25" in str(warning.message)
    assert warning.filename == __file__


def test_step_by_step_the_warning_comes_too() -> None:
    learner = TDLambda(LinearRTU(3), 2, optimizer=SGD(1e-300))
    learner.parameters["cell.nu_log"][:2] = np.log(1e-4)
    with pytest.warns(RuntimeWarning, match=f"by step {LOOK_EVERY}, 2 of 3 units of cell are at the bound of r"):
        [learner.step(np.ones(2), 1.0) for _ in range(LOOK_EVERY)]


def test_learning_that_has_come_to_rest_does_not_warn() -> None:
    learner = TDLambda(LinearRTU(3), 2, optimizer=SGD(0.1), dtype="float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner.run(np.zeros((5 * LOOK_EVERY, 2)), np.zeros(5 * LOOK_EVERY), progress=False)
        learner.run(np.ones((5 * LOOK_EVERY, 2)), np.ones(5 * LOOK_EVERY), progress=False)


def test_an_agent_warns() -> None:
    env = gymnasium.make("CartPole-v1")
    agent = QLambda(env, LinearRTU(3), optimizer=SGD(1e-300))
    agent.parameters["cell.nu_log"][:] = np.log(1e-4)
    with pytest.warns(RuntimeWarning, match="3 of 3 units of cell are at the bound"):
        agent.learn(env, LOOK_EVERY + 1, progress=False, log=None)


def test_a_watch_compares_arrays() -> None:
    ones, moved = {"W": np.ones(2), "b": np.ones(1)}, {"W": np.ones(2), "b": np.full(1, 2.0)}
    for traces, after, warns in ((ones, moved, True), (ones, ones, False), ({**ones, "W": np.zeros(2)}, moved, False)):
        watch = Watch()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            watch.compare(ones, traces, 0)
            watch.compare(after, traces, 10)
        assert len(caught) == warns


@pytest.mark.parametrize("optimizer", [Adam(), RMSProp()], ids=lambda rule: type(rule).__name__)
@pytest.mark.filterwarnings("ignore:in its first:UserWarning")  # the stream is out of scale, on purpose
def test_moments_that_overflow_stop_the_learner(optimizer) -> None:
    """1e25 is a float32, and its square is not: a weight with an infinite mean square would never move again."""
    learner = TDLambda(LinearRTU(3), 2, optimizer=optimizer, dtype="float32")
    x, c = stream(50)
    learner.run(x, c, progress=False)
    with pytest.raises(FloatingPointError, match="diverged"):
        learner.run(x, np.where(np.arange(50) == 20, 1e25, c), progress=False)
