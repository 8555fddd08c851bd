"""Online regression: rows that are dicts, frames, what is missing, and what is refused."""

import warnings

import numpy as np
import pytest
from cases import COMPILED
from numba.core.runtime import _nrt_python as _nrt
from numba.core.runtime import rtsys

from rtu_np import SGD, TIDBD, Adam, LinearRTU, ObGD, OnlineRegressor, jit

N, D = 3, 2


@pytest.fixture
def agent():
    return OnlineRegressor(LinearRTU(N), D)


def everything(agent):
    return b"".join(array.tobytes() for array in agent._arrays().values())


def test_dicts_are_arrays_in_the_order_of_their_names(agent, rng):
    other, two = OnlineRegressor(LinearRTU(N), D), OnlineRegressor(LinearRTU(N), D, 2)
    for a, b, y in rng.standard_normal((30, 3)):
        row = {"b": b, "a": a}
        assert agent.predict_one(row) == other.predict_one([a, b])
        agent.learn_one(row, y)
        other.learn_one([a, b], y)
        two.learn_one(row, {"v": y, "u": -y})
    assert agent.names == ("a", "b")
    assert set(two.predict_one({"a": 1.0, "b": 2.0})) == {"u", "v"}
    assert two.target_names == ("u", "v")


def test_a_new_name_is_ignored_with_one_warning(agent):
    agent.learn_one({"a": 1.0, "b": 2.0}, 3.0)
    with pytest.warns(UserWarning, match="x has 'c', which the first row did not have") as caught:
        agent.learn_one({"a": 1.0, "b": 2.0, "c": 5.0}, 3.0)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent.learn_one({"a": 1.0, "b": 2.0, "c": 5.0}, 3.0)
        agent.learn_one({"a": 1.0, "b": 2.0, "d": 5.0}, 3.0)


def test_a_missing_name_is_a_missing_value():
    named, array = (OnlineRegressor(LinearRTU(N), D, missing="hold") for _ in range(2))
    named.learn_one({"a": 1.0, "b": 2.0}, 3.0)
    array.learn_one([1.0, 2.0], 3.0)
    assert named.predict_one({"b": 4.0}) == array.predict_one([np.nan, 4.0])
    named.learn_one({"b": 4.0}, np.nan)
    array.learn_one([np.nan, 4.0], np.nan)
    assert everything(named) == everything(array)


def test_a_missing_target_teaches_nothing(rng):
    agent = OnlineRegressor(LinearRTU(N), D, 2, missing="zero")
    agent.run(rng.standard_normal((50, D)), rng.standard_normal((50, 2)), progress=False)
    before = {name: view.copy() for name, view in agent.parameters.items()}
    scale = agent._all.scale.variance.copy()
    agent.learn_one([1.0, 2.0], [np.nan, np.nan])
    assert all(np.array_equal(view, before[name]) for name, view in agent.parameters.items())
    agent.learn_one([1.0, 2.0], [np.nan, 1.0])
    assert agent._all.scale.variance[0] == scale[0]
    assert agent._all.scale.variance[1] != scale[1]
    assert np.array_equal(agent.parameters["readout.W"][0], before["readout.W"][0]) is False, "Adam's mean moves it on"


def test_frames_give_frames_with_their_index_and_names(rng):
    pandas = pytest.importorskip("pandas")
    x = pandas.DataFrame(rng.standard_normal((40, D)), columns=["q", "p"], index=range(7, 47))
    y = pandas.Series(rng.standard_normal(40), index=x.index)
    agent, plain = (
        OnlineRegressor(LinearRTU(N), D, predict_changes="p"),
        OnlineRegressor(LinearRTU(N), D, predict_changes=1),
    )
    made = agent.run(x, y, progress=False)
    assert np.array_equal(made.to_numpy(), plain.run(x.to_numpy(), y.to_numpy(), progress=False))
    assert made.index.equals(x.index)
    assert agent.names == ("q", "p")
    assert agent.last_values == [1]
    assert agent.predict_one({"p": 1.0, "q": 2.0}) == plain.predict_one([2.0, 1.0])
    assert np.array_equal(agent.predict(x[["p", "q"]], reset=True), plain.predict(x.to_numpy(), reset=True))
    with pytest.raises(ValueError, match=r"targets has .* in its index"):
        agent.run(x, y[::-1], progress=False)


def test_names_and_columns_survive_a_file(rng, tmp_path):
    agent = OnlineRegressor(LinearRTU(N), D, 2, predict_changes=["b", None], missing="hold", normalize=False)
    for a, b, y in rng.standard_normal((30, 3)):
        agent.learn_one({"b": b, "a": a}, {"u": y, "v": -y})
    again = OnlineRegressor.load(agent.save(tmp_path / "named"))
    assert (again.names, again.target_names, again.last_values) == (("a", "b"), ("u", "v"), [1, None])
    assert again.predict_one({"a": 1.0}) == agent.predict_one({"a": 1.0})
    assert repr(again) == repr(agent)


def test_reset_forgets_the_stream_and_keeps_what_is_learned(rng):
    agent = OnlineRegressor(LinearRTU(N), D, horizon=3)
    x, y = rng.standard_normal((30, D)), rng.standard_normal(30)
    agent.run(x, y, progress=False)
    agent.reset()
    params = agent._views.flat_params.copy()
    agent.run(x[:3], y[:3], progress=False) if False else [
        agent.learn_one(*row) for row in zip(x[:3], y[:3], strict=True)
    ]
    assert np.array_equal(agent._views.flat_params, params), "the targets of three rows have not come"
    agent.learn_one(x[3], y[3])
    assert not np.array_equal(agent._views.flat_params, params)


@pytest.mark.parametrize("rule", [TIDBD(1e-3), ObGD(), SGD(1e-2)], ids=lambda rule: type(rule).__name__)
def test_other_rules_learn(rule, rng):
    series = np.sin(np.arange(800) / 4)
    agent = OnlineRegressor(LinearRTU(8), 1, optimizer=rule)
    made = agent.run(series[:-1].reshape(-1, 1), series[1:], progress=False)
    last = np.diff(series)[-200:]
    assert np.mean((made - series[1:])[-200:] ** 2) < 0.2 * np.mean(last**2)


@pytest.mark.skipif(not COMPILED or jit.numba_compiler.PLAIN, reason="plain Python and plain Numba allocate")
def test_a_step_allocates_nothing(agent, rng):
    x, y = rng.standard_normal((200, D)), rng.standard_normal(200)
    agent.run(x, y, progress=False)
    _nrt.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats()
        agent.run(x, y, progress=False)
        agent.predict(x)
        assert rtsys.get_allocation_stats() == before
    finally:
        _nrt.memsys_disable_stats()


X, Y = np.zeros((10, D)), np.zeros(10)
REFUSED = [
    (lambda a: a.learn_one([1.0], 2.0), r"x has shape \(1,\)"),
    (lambda a: a.learn_one([1.0, np.nan], 2.0), r"x\[1\] is nan.*missing="),
    (lambda a: a.learn_one(np.array([1.0, np.inf]), 2.0), r"x\[1\] is inf"),
    (lambda a: a.learn_one([1.0, 2.0], np.nan), r"y is nan.*missing="),
    (lambda a: a.learn_one([1.0, 2.0], None), "y is None"),
    (lambda a: a.learn_one([1.0, 2.0], [1.0, 2.0]), r"y has shape \(2,\)"),
    (lambda a: a.learn_one([1.0, 2.0], "high"), "y is 'high'"),
    (lambda a: a.learn_one({"a": 1.0}, 2.0), "x has the names 'a': expected 2 different names"),
    (lambda a: a.predict_one({"a": 1.0}), "x has the names 'a': expected 2"),
    (lambda a: a.learn_one({"a": 1.0, "b": 2.0}, np.nan), "y is nan"),
    (lambda a: a.run(X, Y[:9]), r"targets has shape \(9,\): expected \(10,\); as many rows"),
    (lambda a: a.run(X, np.full(10, np.nan)), r"targets\[0\] is nan"),
    (lambda a: a.run(X[:0], Y[:0]), "expected at least one step"),
    (lambda a: a.run(X, Y, np.zeros(3)), "ends has shape"),
    (lambda a: a.run(X, Y, observed=X == 0), "observed is given"),
    (lambda a: a.predict(np.full((3, D), np.nan)), r"x\[0, 0\] is nan"),
]


@pytest.mark.parametrize(("call", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_a_refused_call_names_the_fault_and_changes_nothing(agent, call, words):
    agent.run(X + np.arange(10)[:, None], Y, progress=False)
    before = everything(agent), agent.names
    with pytest.raises((TypeError, ValueError), match=words):
        call(agent)
    assert (everything(agent), agent.names) == before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"loss": "cubic"}, "loss is 'cubic'"),
        ({"horizon": -1}, "horizon is -1"),
        ({"horizon": 2.5}, "horizon is 2.5"),
        ({"delay": "never"}, "delay is 'never'"),
        ({"delay": "stored", "horizon": 1, "n_targets": 2}, "delay is 'stored' with n_targets=2"),
        ({"n_targets": 0}, "n_targets is 0"),
        ({"predict_changes": True}, "predict_changes is True with n_inputs=2 and n_targets=1"),
        ({"predict_changes": 2}, "predict_changes is 2"),
        ({"predict_changes": [0, 1]}, "expected one input for each of 1 targets"),
        ({"predict_changes": "c", "names": ["a", "b"]}, "predict_changes is 'c': expected a name of x: 'a', 'b'"),
        ({"predict_changes": 0, "loss": "logistic"}, "predict_changes is 0: expected False"),
        ({"names": ["a", "a"]}, "expected 2 different names"),
        ({"missing": "drop"}, "missing is 'drop'"),
        ({"optimizer": 0.1}, "optimizer is 0.1"),
    ],
)
def test_a_bad_setting_is_named(settings, words):
    with pytest.raises((TypeError, ValueError), match=words):
        OnlineRegressor(LinearRTU(N), D, **settings)


def test_a_horizon_longer_than_the_stream_is_refused():
    agent = OnlineRegressor(LinearRTU(N), D, horizon=10)
    with pytest.raises(ValueError, match="horizon is 10, and the stream has 10 rows"):
        agent.run(X, Y)
    assert agent.steps == 0
    for row in X[:4]:
        agent.learn_one(row, 0.0)
    assert len(agent.run(X[:7], Y[:7], progress=False)) == 7


def test_targets_of_the_logistic_loss_are_between_0_and_1():
    agent = OnlineRegressor(LinearRTU(N), D, loss="logistic")
    with pytest.raises(ValueError, match=r"y is 2\.0: expected a finite number in \[0\.0, 1\.0\]"):
        agent.learn_one([1.0, 2.0], 2.0)
    with pytest.raises(ValueError, match=r"targets\[0\] is -1\.0: expected numbers in \[0, 1\]"):
        agent.run(X, Y - 1.0)
    assert 0 < agent.predict_one([1.0, 2.0]) < 1


def test_divergence_is_said(rng):
    agent = OnlineRegressor(LinearRTU(N), D, optimizer=Adam(1e300))
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="learning diverged by step"):
        agent.run(rng.standard_normal((500, D)), rng.standard_normal(500), progress=False)


def test_all_inputs_missing_for_long_is_warned_of():
    agent = OnlineRegressor(LinearRTU(N), D, missing="hold")
    with pytest.warns(UserWarning, match="all inputs have been missing for 1000 steps"):
        agent.run(np.full((1100, D), np.nan), np.zeros(1100), progress=False)


def test_float32_is_taken_without_a_warning(rng):
    """Warnings are errors here: float32 made infinity of the largest number that is allowed."""
    for settings in ({}, {"normalize": True}, {"missing": "hold"}):
        agent = OnlineRegressor(LinearRTU(N), D, **settings)
        x, y = rng.standard_normal((5, D)).astype(np.float32), rng.standard_normal(5).astype(np.float32)
        agent.run(x, y, progress=False)
        agent.learn_one(x[0], y[0])
        agent.predict_one(x[0])
