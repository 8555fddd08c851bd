"""What a user does with a learner of many predictions: steps and runs, files and copies, gaps, refusals."""

import copy
import pickle
import threading

import many_oracle
import numpy as np
import pytest
from cases import COMPILED
from loop_cases import ctrl_c
from numba.core.runtime import _nrt_python as _nrt
from numba.core.runtime import rtsys
from td_cases import OPTIMIZERS, everything
from tolerances import FLOAT32, assert_close

from rtu_np import (
    GRU,
    LRU,
    SGD,
    TBPTT,
    Adam,
    AdaptiveObGD,
    Blocks,
    HiddenReadout,
    LinearRTU,
    ObGD,
    TDLambda,
    run_many,
)
from rtu_np.learning.outcomes import LOOK_EVERY
from rtu_np.prediction.td_many import ManyPredictions

M, D = 6, 2
BODIES = ["traces", "shared", "lambda0", "frozen"]
RULES = ["SGD", "Adam"]
GAMMA = np.array([0.5, 0.9, 0.9, 0.5, 0.95, 0.9])


def made(body="traces", optimizer="Adam", **settings) -> ManyPredictions:
    gamma = np.full(M, 0.9) if body == "shared" else GAMMA
    own = {"gamma": gamma, "lambda_": 0.8, "seed": 1, "body": body, "optimizer": OPTIMIZERS[optimizer], **settings}
    return TDLambda(LinearRTU(5), D, **own)


def run(agent, s: dict, rows: slice = slice(None)) -> np.ndarray:
    return agent.run(**{name: array[rows] for name, array in s.items()}, progress=False)


def steps(agent, s: dict) -> np.ndarray:
    rows = zip(*(s[name] for name in many_oracle.NAMES), strict=True)
    return np.array([agent.step(x, c, discount, end, cut, ratio) for x, c, discount, ratio, end, cut in rows])


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("optimizer", RULES)
def test_step_and_run_give_the_same_bits_however_they_are_cut(body, optimizer):
    s = many_oracle.stream(300, D, M, seed=3, each=False)
    whole, pieces, single = (made(body, optimizer) for _ in range(3))
    expected = run(whole, s)
    assert expected.shape == (300, M)
    cut = [run(pieces, s, rows) for rows in (slice(0, 1), slice(1, 130), slice(130, 300))]
    assert np.array_equal(np.concatenate(cut), expected)
    assert np.array_equal(steps(single, s), expected)
    assert everything(whole) == everything(pieces) == everything(single)


@pytest.mark.parametrize("body", ["lambda0", "frozen"])
def test_signals_of_each_prediction_part_traces_that_were_one(body, tmp_path):
    """Two predictions with one discount have one trace, until a step gives each its own."""
    alike, apart = many_oracle.stream(40, D, M, seed=4, each=False), many_oracle.stream(40, D, M, seed=5)
    agent, other = made(body, "SGD"), made(body, "SGD", gamma=GAMMA + 1e-9 * np.arange(M))
    for each in (agent, other):
        run(each, alike)
    path = agent.save(tmp_path / "grouped")
    first = run(agent, apart)
    assert_close(first, run(other, apart), 1e-6)
    loaded = TDLambda.load(path)
    assert np.array_equal(run(loaded, apart), first)
    again = TDLambda.load(agent.save(tmp_path / "apart"))
    assert np.array_equal(run(again, alike), run(agent, alike))


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("optimizer", RULES)
def test_files_and_copies_go_on_to_the_bit(body, optimizer, tmp_path):
    s = many_oracle.stream(128, D, M, seed=6, each=False)
    agent = made(body, optimizer)
    run(agent, s, slice(0, 60))
    agent.predict(s["observations"][:7])
    others = [TDLambda.load(agent.save(tmp_path / "many")), copy.deepcopy(agent), pickle.loads(pickle.dumps(agent))]
    found = agent.diagnostics()
    expected, ahead = run(agent, s, slice(60, None)), agent.predict(s["observations"][8])
    for other in others:
        assert other.diagnostics() == found
        assert type(other) is ManyPredictions
        assert np.array_equal(run(other, s, slice(60, None)), expected)
        assert np.array_equal(other.predict(s["observations"][8]), ahead)
        assert everything(other) == everything(agent)
    agent.reset()
    assert not any(trace.any() for trace in agent.traces.values())
    fresh = made(body, optimizer)
    for name, view in fresh.parameters.items():
        view[:] = agent.parameters[name]
    if optimizer == "SGD":
        assert np.array_equal(run(agent, s), run(fresh, s))


@pytest.mark.parametrize("body", BODIES)
def test_predict_learns_nothing(body):
    s = many_oracle.stream(150, D, M, seed=7, each=False)
    agent, twin = made(body), made(body)
    run(agent, s)
    run(twin, s)
    at_once = agent.predict(s["observations"], reset=True)
    assert at_once.shape == (150, M)
    agent.predict(s["observations"][0], reset=True)
    assert np.array_equal([agent.predict(x) for x in s["observations"][1:]], at_once[1:])
    assert np.array_equal(run(agent, s), run(twin, s))


@pytest.mark.parametrize("body", BODIES)
def test_float32_is_near_float64(body):
    s = many_oracle.stream(30, D, M, seed=8, each=False)
    assert_close(run(made(body, "SGD", dtype="float32"), s), run(made(body, "SGD"), s), FLOAT32)


def test_run_many_and_a_stream_in_chunks():
    s = many_oracle.stream(100, D, M, seed=9)
    given = {name: s[name] for name in ("observations", "cumulants", "discounts", "terminated")}
    learners = [made(seed=k) for k in range(3)]
    together = run_many(learners, **given, progress=False)
    for k, predictions in enumerate(together):
        assert np.array_equal(made(seed=k).run(**given, progress=False), predictions)
    rows = zip(s["observations"], s["cumulants"], s["discounts"], strict=True)
    chunks = list(made().run_stream(rows, chunk=33))
    expected = made().run(s["observations"], s["cumulants"], s["discounts"], progress=False)
    assert np.array_equal(np.concatenate(chunks), expected)


def test_nothing_is_allocated_or_left():
    agent, s = made(), many_oracle.stream(60, D, M, seed=10)
    run(agent, s)
    _nrt.memsys_enable_stats()
    before = rtsys.get_allocation_stats()
    run(agent, s)
    after = rtsys.get_allocation_stats()
    assert (after.alloc, after.mi_alloc) == (before.alloc, before.mi_alloc)


# ------------------------------------------------------------------------------------------------------- raw streams


def test_a_missing_cumulant_teaches_its_prediction_nothing():
    s = many_oracle.stream(50, D, M, seed=11)
    gaps = s["cumulants"].copy()
    gaps[:, 2] = np.nan  # never known
    gaps[30] = np.nan  # none is known
    for optimizer in RULES:
        agent, others = made(optimizer=optimizer, missing="hold"), made(optimizer=optimizer, missing="hold")
        run(agent, s | {"cumulants": gaps}, slice(0, 30))
        assert not agent.parameters["readout.w"][2].any()
        assert agent.parameters["readout.w"][3].any()
        assert agent.traces["readout.w"][2].any()
        before = {name: view.copy() for name, view in agent.parameters.items()}
        run(agent, s | {"cumulants": gaps}, slice(30, 31))
        assert all(np.array_equal(view, before[name]) for name, view in agent.parameters.items())
        with pytest.raises(ValueError, match=r"cumulants\[0, 2\] is nan"):
            made().run(s["observations"], gaps)
        assert others.steps == 0


def test_normalised_and_missing_observations():
    s = many_oracle.stream(80, D, M, seed=12)
    raw = s | {"observations": 1e3 * s["observations"] + 500}
    raw["observations"][5:9, 1] = np.nan
    agent, twin = (made(normalize=True, missing="zero") for _ in range(2))
    assert np.array_equal(run(agent, raw), steps(twin, raw))
    assert agent.predict(raw["observations"]).shape == (80, M)
    assert np.isfinite(agent.parameters["readout.w"]).all()


def test_a_warning_names_the_cumulant_out_of_scale():
    s = many_oracle.stream(200, D, M, seed=13)
    s["cumulants"][:, 4] *= 1e4
    with pytest.warns(UserWarning, match=r"cumulants\[:, 4\] of mean"):
        run(made(), s)


def test_looks_and_pauses(monkeypatch):
    """A look at whether learning goes on, and Ctrl-C, between steps."""
    agent, twin = made("shared", "SGD"), made("shared", "SGD")
    s = many_oracle.stream(LOOK_EVERY // 64 + 40, D, M, seed=14, each=False)
    monkeypatch.setattr("rtu_np.prediction.stretches._BRIEF", 0.0)
    for each in (agent, twin):
        each._clock[0] = LOOK_EVERY - 20
    assert np.array_equal(steps(agent, s), run(twin, s))
    assert agent._watch._when == LOOK_EVERY


@pytest.mark.skipif(not COMPILED, reason="learns for seconds")
def test_ctrl_c(monkeypatch):
    monkeypatch.setattr("rtu_np.prediction.stretches._BRIEF", 0.0)
    rng = np.random.default_rng(0)
    xs, cs = rng.standard_normal((300_000, D)), rng.standard_normal((300_000, M))
    one, other = made(), made()
    one.compile()
    timer = threading.Timer(0.05, ctrl_c)
    timer.start()
    with pytest.raises(KeyboardInterrupt) as stopped:
        one.run(xs, cs, progress=False)
    timer.join()
    part, end = stopped.value.result, one.steps + 50
    assert part.shape == (one.steps, M)
    rest = one.run(xs[one.steps : end], cs[one.steps : end], progress=False)
    assert np.array_equal(np.concatenate([part, rest]), other.run(xs[:end], cs[:end], progress=False))


def test_divergence_is_named():
    s = many_oracle.stream(400, D, M, seed=15)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="learning diverged by step"):
        run(TDLambda(LinearRTU(5), D, gamma=GAMMA, optimizer=SGD(1e30)), s)


def test_diagnostics_are_those_of_one_prediction():
    s = many_oracle.stream(60, D, 1, seed=16, each=False)
    for rule in OPTIMIZERS.values():
        one, array = (TDLambda(LinearRTU(5), D, gamma=gamma, optimizer=rule) for gamma in (0.9, [0.9]))
        one.run(s["observations"], s["cumulants"][:, 0], progress=False)
        array.run(s["observations"], s["cumulants"], progress=False)
        found, expected = array.diagnostics(), one.diagnostics()
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-9), name


# --------------------------------------------------------------------------------------------------------- refusals

REFUSED = {
    "a discount above one": ({"gamma": [0.5, 1.5]}, ValueError, r"gamma\[1\] is 1.5: expected numbers in \[0, 1\]"),
    "no discounts": ({"gamma": []}, ValueError, r"gamma has shape \(0,\)"),
    "a matrix": ({"gamma": [[0.5]]}, ValueError, r"gamma has shape \(1, 1\)"),
    "text": ({"gamma": ["a"]}, TypeError, "gamma has dtype"),
    "an unknown body": ({"body": "some"}, ValueError, "body is 'some': expected one of 'traces', 'shared'"),
    "a hidden layer": ({"readout": HiddenReadout(3)}, ValueError, r"readout is HiddenReadout\(.*belongs to the body"),
    "unequal discounts": ({"body": "shared"}, ValueError, r"gamma is \[0.5, 0.9, .*body='shared'"),
    "ObGD without a trace": ({"body": "lambda0", "optimizer": ObGD()}, ValueError, r"optimizer is ObGD\(.*lambda0"),
    "rules per block": (
        {"optimizer": Blocks(others=Adam(1e-3))},
        ValueError,
        "optimizer is Blocks.*expected one of SGD",
    ),
    "another rule": ({"optimizer": AdaptiveObGD()}, ValueError, "expected one of SGD, Adam, RMSProp, ObGD for many"),
    "a dense cell": ({"body": "lambda0", "cell": GRU(3)}, ValueError, r"cell is GRU\(.*one unit"),
    "a projection": ({"body": "lambda0", "cell": LRU(3)}, ValueError, r"cell is LRU\("),
    "a window": ({"body": "lambda0", "gradient": TBPTT(3)}, ValueError, r"with TBPTT\(steps=3\) and body='lambda0'"),
    "one prediction": ({"gamma": 0.9, "body": "frozen"}, ValueError, r"body is 'frozen' for one prediction"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_settings(case):
    settings, error, message = REFUSED[case]
    settings = {"cell": LinearRTU(5), "gamma": GAMMA, **settings}
    with pytest.raises(error, match=message):
        TDLambda(settings.pop("cell"), D, **settings)


STREAMS = {
    "one column": ({"cumulants": np.ones(20)}, r"cumulants has shape \(20,\): expected \(20, 6\)"),
    "another width": (
        {"cumulants": np.ones((20, 5))},
        r"cumulants has shape \(20, 5\): expected \(20, 6\).*6 predictions",
    ),
    "a discount": ({"discounts": np.full((20, 6), 2.0)}, r"discounts\[0, 0\] is 2.0: expected numbers in \[0"),
    "a ratio": ({"ratios": -np.ones(20)}, r"ratios\[0\] is -1.0: expected numbers in \[0"),
    "a number that is not one": ({"ratios": np.full((20, 6), np.nan)}, r"ratios\[0, 0\] is nan"),
    "ratios of another length": ({"ratios": np.ones(19)}, r"ratios has shape \(19,\): expected \(20,\)"),
}


@pytest.mark.parametrize("case", STREAMS)
def test_refused_streams(case):
    changed, message = STREAMS[case]
    agent = made()
    before = everything(agent)
    with pytest.raises(ValueError, match=message):
        agent.run(**{"observations": np.ones((20, D)), "cumulants": np.ones((20, M)), **changed})
    assert everything(agent) == before


def test_refused_steps_and_arguments():
    agent, before = made(), everything(made())
    for c, more, message in (
        (1.0, {}, r"c has shape \(\): expected \(6,\); one cumulant for each prediction"),
        (np.ones(5), {}, r"c has shape \(5,\): expected \(6,\)"),
        (np.ones(M), {"discount": 2.0}, "discount is 2.0"),
        (np.ones(M), {"discount": np.ones(3)}, r"discount has shape \(3,\)"),
        (np.ones(M), {"ratio": [-1.0] * M}, r"ratio\[0\] is -1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            agent.step([0.0, 1.0], c, **more)
    assert everything(agent) == before
    with pytest.raises(ValueError, match="discounts has a number for each prediction with body='shared'"):
        made("shared").run(np.ones((3, D)), np.ones((3, M)), np.random.default_rng(0).random((3, M)))
    with pytest.raises(ValueError, match="ratios is given for one prediction"):
        TDLambda(LinearRTU(3), D).run(np.ones((3, D)), np.ones(3), ratios=np.ones(3))


def test_it_is_written_as_it_was_made():
    agent = made("frozen", "SGD")
    assert repr(agent).startswith(
        "TDLambda(LinearRTU(5), n_inputs=2, gamma=[0.5, 0.9, 0.9, 0.5, 0.95, 0.9], lambda_=0.8"
    )
    assert "body='frozen'" in repr(agent)
    with pytest.raises(ValueError, match="read-only"):
        agent.gamma[0] = 0.1
    assert isinstance(agent, TDLambda)
