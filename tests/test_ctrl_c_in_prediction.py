"""Ctrl-C while `TDLambda.run` and `run_many` learn: the predictions so far are kept, and the learners go on."""

import threading

import numpy as np
import pytest
from cases import COMPILED
from loop_cases import ctrl_c

from rtu_np import SGD, LinearRTU, TDLambda, run_many


@pytest.fixture
def slow(monkeypatch):
    """A stream of some seconds in the smallest stretches, and Ctrl-C in the middle."""
    monkeypatch.setattr("rtu_np.prediction.stretches._BRIEF", 0.0)
    rng = np.random.default_rng(0)
    learners(1)  # compiles
    timer = threading.Timer(0.3, ctrl_c)
    timer.start()
    yield rng.standard_normal((200_000, 2)), rng.standard_normal(200_000)
    timer.join()


def learners(n: int) -> list[TDLambda]:
    made = [TDLambda(LinearRTU(16), 2, seed=k) for k in range(n)]
    for each in made:
        each.compile()
    return made


def test_a_run_is_continued(slow):
    (one,), (other,) = learners(1), learners(1)
    xs, cs = slow
    with pytest.raises(KeyboardInterrupt) as stopped:
        one.run(xs, cs, progress=False)
    part = stopped.value.result
    assert len(part) == one.steps < len(xs)
    end = one.steps + 500
    rest = one.run(xs[one.steps : end], cs[one.steps : end], progress=False)
    assert np.array_equal(np.concatenate([part, rest]), other.run(xs[:end], cs[:end], progress=False))


def test_many_runs_are_continued(slow):
    xs, cs = slow
    made = learners(3)  # one more than there are threads
    with pytest.raises(KeyboardInterrupt) as stopped:
        run_many(made, xs, cs, n_threads=2, progress=False)
    parts = stopped.value.result
    assert [len(part) for part in parts] == [each.steps for each in made]
    assert 0 < parts[0].size < len(xs)
    assert parts[2].size == 0
    rest = run_many(made, [xs[len(v) :][:500] for v in parts], [cs[len(v) :][:500] for v in parts], progress=False)
    for part, more, other in zip(parts, rest, learners(3), strict=True):
        end = len(part) + 500
        assert np.array_equal(np.concatenate([part, more]), other.run(xs[:end], cs[:end], progress=False))


@pytest.mark.skipif(not COMPILED, reason="NumPy warns of the overflow")
def test_divergence_carries_what_was_predicted():
    rng = np.random.default_rng(0)
    learner = TDLambda(LinearRTU(4), 2, optimizer=SGD(1e30))
    with pytest.raises(FloatingPointError) as diverged:
        learner.run(rng.standard_normal((500, 2)), rng.standard_normal(500), progress=False)
    assert len(diverged.value.result) == learner.steps > 0
    assert np.isfinite(diverged.value.result).all()
