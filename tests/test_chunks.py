"""Streams that nobody holds: rows and chunks of an iterator, and what is learned if it stops halfway."""

import itertools
import os
import signal
import tracemalloc

import numpy as np
import oracles
import pandas as pd
import pytest
from cases import COMPILED
from td_cases import D, everything, learner, run

from rtu_np import LinearRTU, TDLambda

S = oracles.stream(500, D, seed=4)
ROWS = list(zip(S.observations, S.cumulants, S.discounts, S.terminated, S.truncated, strict=True))


def chunks(*ends):
    for start, stop in itertools.pairwise((0, *ends)):
        yield tuple(part[start:stop] for part in (S.observations, S.cumulants, S.discounts, S.terminated, S.truncated))


def names(chunk):
    return dict(zip(("observations", "cumulants", "discounts", "terminated", "truncated"), chunk, strict=True))


@pytest.mark.parametrize(
    ("stream", "lengths"),
    [
        (lambda: iter(ROWS), [64] * 7 + [52]),
        (lambda: ((x.tolist(), float(c), g, t or None, u) for x, c, g, t, u in ROWS), [64] * 7 + [52]),
        (lambda: chunks(1, 100, 100, 500), [1, 99, 0, 400]),
        (lambda: map(names, chunks(7, 500)), [7, 493]),
        (
            lambda: itertools.chain(ROWS[:70], itertools.islice(chunks(70, 90), 1, 2), ROWS[90:]),
            [64, 6, 20, *[64] * 6, 26],
        ),
    ],
    ids=["rows", "rows of lists", "chunks", "dicts", "both"],
)
def test_any_iterator_is_learned_as_one_run(stream, lengths):
    one, other = learner(), learner()
    made = list(one.run_stream(stream(), chunk=64))
    assert [len(each) for each in made] == lengths
    assert np.concatenate(made).tobytes() == run(other, S).tobytes()
    assert everything(one) == everything(other)


def test_rows_without_discounts_and_flags():
    one, other = learner(), learner()
    made = list(one.run_stream(zip(S.observations, S.cumulants, strict=True), 300))
    assert np.concatenate(made).tobytes() == other.run(S.observations, S.cumulants, progress=False).tobytes()


def test_chunks_of_frames_have_their_index():
    frame = pd.DataFrame(S.observations, columns=["a", "b"])
    parts = [(frame[:200], S.cumulants[:200]), (frame[200:], S.cumulants[200:])]
    made = pd.concat(learner().run_stream(parts))
    assert made.index.equals(frame.index)


@pytest.mark.skipif(not COMPILED, reason="takes minutes in plain Python")
def test_the_stream_is_not_held():
    def endless():
        rng = np.random.default_rng(0)
        while True:
            yield rng.standard_normal((1000, 50)), np.zeros(1000)

    agent = TDLambda(LinearRTU(2), 50)
    stream = agent.run_stream(endless())
    next(stream)
    tracemalloc.start()
    for _ in range(50):
        next(stream)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3e6  # a chunk has 4e5 bytes, all have 2e7
    assert agent.steps == 51_000


def test_nothing_happens_before_it_is_asked_for():
    agent = learner()
    before = everything(agent)
    agent.run_stream(iter(ROWS))
    assert everything(agent) == before
    for chunk in (0, 1.5, None):
        with pytest.raises((TypeError, ValueError), match=r"^chunk is"):
            agent.run_stream(iter(ROWS), chunk)


def test_a_refused_chunk_leaves_what_was_learned():
    agent, other = learner(), learner()
    bad = [*ROWS[:150], (np.array([0.0, np.nan]), 0.0), *ROWS[150:]]
    with pytest.raises(ValueError, match=r"^rows 100 to 199 of the stream: observations\[50, 1\] is nan") as caught:
        list(agent.run_stream(iter(bad), 100))
    assert caught.value.__notes__ == ["100 rows of the stream have been learned; the learner can go on from there"]
    other.run(*(part[:100] for part in vars(S).values()), progress=False)
    assert everything(agent) == everything(other)
    list(agent.run_stream(iter(ROWS[100:])))  # goes on
    run(other := learner(), S)
    assert everything(agent) == everything(other)


@pytest.mark.parametrize("item", [S.observations[0], [1.0, 2.0], (S.observations[0],), 3.0, (1, 2, 3, 4, 5, 6)])
def test_items_of_another_kind(item):
    agent = learner()
    with pytest.raises(TypeError, match=r"rows has an item of type .*expected tuples \(x, c\)"):
        list(agent.run_stream(iter([ROWS[0], item])))
    assert agent.steps == 0


def test_a_chunk_with_a_misspelt_name_is_refused():
    with pytest.raises(TypeError, match="rows has a chunk of observation, cumulants: expected observations and"):
        list(learner().run_stream(iter([{"observation": S.observations, "cumulants": S.cumulants}])))


def test_an_error_of_the_source_says_how_many_rows_have_been_learned():
    def broken():
        yield from ROWS[:130]
        raise OSError("the sensor is off")

    agent = learner()
    with pytest.raises(OSError, match="the sensor is off") as caught:
        list(agent.run_stream(broken(), 100))
    assert caught.value.__notes__ == ["100 rows of the stream have been learned; the learner can go on from there"]


def test_ctrl_c_in_a_chunk(monkeypatch):
    monkeypatch.setattr("rtu_np.prediction.stretches._BRIEF", 0.0)  # short stretches

    def interrupted():
        yield next(chunks(100))
        yield tuple(part[100:] for part in next(chunks(500)))

    agent = learner()
    learn_from = agent.learn_from

    def with_ctrl_c(stream, predictions):
        for n in learn_from(stream, predictions):
            if agent.steps > 150:
                os.kill(os.getpid(), signal.SIGINT)
            yield n

    monkeypatch.setattr(agent, "learn_from", with_ctrl_c)
    with pytest.raises(KeyboardInterrupt) as caught:
        list(agent.run_stream(interrupted()))
    n = agent.steps
    assert 150 < n < 500
    assert caught.value.__notes__ == [f"{n} rows of the stream have been learned; the learner can go on from there"]
    assert caught.value.result.tobytes() == run(learner(), S)[100:n].tobytes()
    monkeypatch.undo()
    list(agent.run_stream(ROWS[n:]))
    run(other := learner(), S)
    assert everything(agent) == everything(other)


def test_a_step_without_a_cumulant_has_its_own_discount():
    """What is missing takes another way through `step`, which must not keep the discount of the step before."""
    agent, other = (learner(missing="hold", normalize=True, dtype="float32") for _ in range(2))
    rows = [([1.0, None], None, None), ([None, 2.0], 1e-300, 0.5), ([3.0, 1.0], None, None), ((0.0, 1.0), 2, None)]
    with np.errstate(all="raise"):
        made = [agent.step(x, c, discount) for x, c, discount in rows]
    gamma = agent.gamma
    x = np.array([x for x, _, _ in rows], float)
    c, discounts = [np.nan, 0.0, np.nan, 2.0], [gamma, 0.5, gamma, gamma]
    assert np.array(made, "f").tobytes() == other.run(x, c, discounts, progress=False).tobytes()
    assert everything(agent) == everything(other)
