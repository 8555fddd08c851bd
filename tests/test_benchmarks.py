"""What ours is timed against does the same work: it makes the same predictions while learning."""

import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from cases import COMPILED
from tolerances import DIFFERENCES, FLOAT32, LEARNING, assert_close

from envs import TraceConditioning
from rtu_np import ELSTM, RTRL, SGD, ActorCritic, GatedRTU, LinearRTU, MinGRU, TDLambda, jit
from rtu_np.timing import stream

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import cards  # noqa: E402  a script beside the package, not a part of it
import many_predictions  # noqa: E402
import peers  # noqa: E402
import soak  # noqa: E402
import speed  # noqa: E402
import subnormals  # noqa: E402
import two_layers  # noqa: E402
import what_to_tune  # noqa: E402

pytestmark = pytest.mark.skipif(not COMPILED, reason="plain Python is not what is timed")
N, D, T = 10, 3, 400


# What stands first in the file that a yardstick reads.
YARDSTICKS = [
    (LinearRTU, ("nu_log", "theta_log", "W1", "W2")),
    (MinGRU, ("W_z", "W_h", "b_z", "b_h")),
    (ELSTM, ("W_z", "W_f", "w_z", "w_f", "b_z", "b_f")),
    (GatedRTU, ("nu_log", "theta_log", "W1", "W2", "W_g", "b_g")),
]


@pytest.fixture
def learning():
    return learning_of(LinearRTU)


def learning_of(cell):
    """A learner at its start, a stream, and what it predicts while it learns from that."""
    observations, cumulants = stream(T, D)
    learner, other = (TDLambda(cell(N), D, 0.9, 0.9, SGD(1e-3), seed=3) for _ in range(2))
    expected = other.run(observations, cumulants, progress=False)
    assert np.abs(expected[T // 2 :]).max() > 1e-2
    return learner, observations, cumulants, expected


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", LEARNING), ("float32", FLOAT32)])
@pytest.mark.parametrize(("cell", "blocks"), YARDSTICKS, ids=["LinearRTU", "MinGRU", "ELSTM", "GatedRTU"])
def test_the_yardstick_in_c_predicts_what_we_predict(cell, blocks, dtype, tolerance, tmp_path):
    programs = speed.yardsticks(tmp_path, cell)
    if not programs:
        pytest.skip("there is no C compiler")
    learner, observations, cumulants, expected = learning_of(cell)
    parts = [learner.parameters[f"cell.{name}"] for name in blocks]
    np.concatenate([np.ravel(part) for part in (*parts, observations, cumulants)]).tofile(tmp_path / "start")
    command = [str(programs[dtype]), str(N), str(D), str(T), str(tmp_path / "start")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    got = np.array(printed.split(), float)
    assert_close(got, expected, tolerance)


def test_the_yardstick_of_two_layers_predicts_what_we_predict(tmp_path):
    programs = speed.compiled_c(tmp_path, two_layers.YARDSTICK)
    if not programs:
        pytest.skip("there is no C compiler")
    observations, cumulants = stream(T, D)
    learner = TDLambda(two_layers.two(LinearRTU, N), D, 0.9, 0.9, SGD(1e-3), RTRL(exact=True), seed=3)
    parts = [learner.parameters[f"cell.{layer}.{name}"] for layer in (0, 1) for name in YARDSTICKS[0][1]]
    np.concatenate([np.ravel(part) for part in (*parts, observations, cumulants)]).tofile(tmp_path / "start")
    expected = learner.run(observations, cumulants, progress=False)
    for dtype, tolerance in (("float64", LEARNING), ("float32", FLOAT32)):
        command = [str(programs[dtype]), str(N), str(D), str(T), str(tmp_path / "start")]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert_close(np.array(printed.split(), float), expected, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", LEARNING), ("float32", FLOAT32)])
def test_the_yardstick_of_many_predictions_predicts_what_we_predict(dtype, tolerance, tmp_path):
    programs, m = speed.compiled_c(tmp_path, many_predictions.YARDSTICK), 6  # more than four, and no multiple of it
    if not programs:
        pytest.skip("there is no C compiler")
    observations, _ = stream(T, D)
    cumulants = np.random.default_rng(0).standard_normal((T, m))
    learner = TDLambda(LinearRTU(N), D, 0.5 + 0.49 * np.arange(m) / m, 0.9, SGD(1e-3), seed=3)
    parts = [learner.parameters[f"cell.{name}"] for name in YARDSTICKS[0][1]]
    np.concatenate([np.ravel(part) for part in (*parts, observations, cumulants)]).tofile(tmp_path / "start")
    command = [str(programs[dtype]), *map(str, (N, D, T, m)), str(tmp_path / "start")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    expected = learner.run(observations, cumulants, progress=False)
    assert np.abs(expected[T // 2 :]).max() > 1e-2
    assert_close(np.array(printed.split(), float).reshape(T, m), expected, tolerance)


@pytest.mark.parametrize("kind", ["scanned", "per call"])
def test_the_jax_peer_predicts_what_we_predict(learning, kind):
    pytest.importorskip("jax")
    learner, observations, cumulants, expected = learning
    got = np.array(peers.jax_rtu(learner, observations, cumulants)[kind]())
    assert_close(got, expected, FLOAT32)


def test_a_row_of_the_grid():
    (row, *rest) = speed.grid(1, [(4, 2)])
    assert row["us"] > 0
    assert [r["dtype"] for r in (row, *rest)] == ["float64", "float32"]
    if "us in C" in row:
        assert row["ours / C"] == pytest.approx(row["us"] / row["us in C"])
    assert speed.markdown([row, *rest]).count("\n") == 3


def test_a_row_of_card_games(monkeypatch):
    """All steps are made: of the environment alone in compiled code, of popgym's, and of an agent in either."""
    monkeypatch.setattr(cards, "ROUNDS", 1)
    monkeypatch.setattr(cards, "STEPS", 200)
    monkeypatch.setattr(cards, "FEW", 110)
    ours, theirs = gymnasium.make("rtu_np/RepeatFirstEasy-v0").unwrapped, cards.popgym.make("RepeatFirstEasy")
    assert [cards.compiled(ours)(), cards.from_python(theirs)()] == [200, 110]
    assert ours.state[0] == 200 - 3 * 51  # steps of the fourth episode
    assert all(us > 0 for us in cards.row("RepeatFirstEasy"))


@pytest.mark.skipif(not jit.FLUSHES, reason="there is no switch here")
def test_learners_with_and_without_the_switch_for_subnormal_numbers():
    zeros = np.zeros((2000, subnormals.D), subnormals.DTYPE)
    learners = subnormals.both(LinearRTU(4), SGD(1e-6), None, np.concatenate([np.ones_like(zeros[:9]), zeros]))
    held = {name: subnormals.subnormal(learner._arrays()["memory"]) for name, learner in learners.items()}
    assert held["with"] == 0 < held["without"]
    assert subnormals.subnormal(np.array([0, 1e-39, -1e-45, 1e-37, np.nan], np.float32)) == 2
    assert subnormals.share_on_the_way_back(LinearRTU(4, r_max=0.3), 4) == 0
    assert 0.1 < subnormals.share_on_the_way_back(LinearRTU(4, r_min=0.3, r_max=0.31), 90) < 0.3


def test_the_exponent_of_a_known_power():
    rows = [{"dtype": "float64", "n": n, "d": d, "us": 0.1 * (n * d) ** 1.25} for n, d in speed.SIZES]
    assert speed.exponent(rows, "float64") == pytest.approx(1.25, rel=DIFFERENCES)


def test_a_soak_finds_what_is_not_finite_and_measures_drift():
    env = gymnasium.make("rtu_np/Hopper-P-v0")
    agent = ActorCritic(env, LinearRTU(8))  # as in a smoke preset, so that it is compiled
    steps, speed_, memory, _, greatest = soak.part(agent, env, 30)
    assert steps == 30
    assert min(speed_, memory, greatest) > 0
    agent._buffers.statistics[-1] = np.inf
    with pytest.raises(FloatingPointError, match="statistics is not finite after 30 steps"):
        soak.check_finite(agent)
    rows = np.array([[k, 90.0 + 5 * k] for k in range(5)])
    rows[0, 1] = 1e3  # compiling
    assert soak.drift(rows, 1) == pytest.approx(15 / 102.5 * 100, rel=DIFFERENCES)


def test_a_soak_of_prediction_measures_each_part():
    stream, learner = TraceConditioning(), TDLambda(LinearRTU(N), TraceConditioning().observation_space.shape[0])
    learner.parameters["cell.nu_log"][:] = np.log(np.log(2) / 2.0)
    row = soak.prediction_part(learner, stream, 300)
    named = dict(zip(soak.PREDICTION_HEADS, row, strict=True))
    assert (named["steps"], learner.steps) == (300, 300)
    assert named["half_life.median"] == pytest.approx(2.0, rel=0.1)
    assert min(named["us/step"], named["resident, MB"], named["RMSE of the return"]) > 0
    learner.traces["cell.W1"][:] = np.inf
    with pytest.raises(FloatingPointError, match="is not finite after 300 steps"):
        soak.check_finite(learner)


def test_the_page_on_tuning_has_the_table_of_its_results():
    docs = BENCHMARKS.parent / "docs"
    found = json.loads((docs / "results" / "tuning" / "tuning.json").read_text())["streams"]
    assert what_to_tune.table(found) in (docs / "what_to_tune.md").read_text()
