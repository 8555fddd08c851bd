"""DataFrames of pandas, the real ones: columns by name, rows in order, and predictions with the same index."""

import copy
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from td_cases import everything

from rtu_np import LinearRTU, OnlineRegressor, TDLambda, run_many

NAMES = ["load", "wind"]


def table(n=30, seed=0, names=NAMES):
    rng = np.random.default_rng(seed)
    times = pd.date_range("2026-01-01", periods=n, freq="5min", name="time")
    return pd.DataFrame(rng.standard_normal((n, 2)), index=times, columns=names), pd.Series(
        rng.standard_normal(n), index=times, name="price"
    )


def learner(**settings):
    return TDLambda(LinearRTU(3), 2, **{"seed": 1, **settings})


def test_a_frame_in_and_a_series_out():
    frame, price = table()
    one, other = learner(), learner()
    made = one.run(frame, price, progress=False)
    expected = other.run(frame.to_numpy(), price.to_numpy(), progress=False)
    assert isinstance(made, pd.Series)
    assert made.index.equals(frame.index)
    assert made.name == "prediction"
    assert np.array_equal(made.to_numpy(), expected)
    foreseen = one.predict(frame)
    assert foreseen.index.equals(frame.index)
    assert np.array_equal(foreseen.to_numpy(), other.predict(frame.to_numpy()))
    assert everything(one) == everything(other)
    assert isinstance(one.step(frame.iloc[0], price.iloc[0]), float)
    assert isinstance(one.predict(frame.iloc[0]), float)


def test_a_frame_of_one_precision_gives_predictions_of_the_learners():
    frame, price = table()
    assert learner(dtype="float32").run(frame, price, progress=False).dtype == np.float32


@pytest.mark.parametrize("kind", [TDLambda, OnlineRegressor])
def test_rows_of_a_frame_have_names_from_the_first_on(kind):
    frame, price = table()
    one, other = kind(LinearRTU(3), 2, seed=1), kind(LinearRTU(3), 2, seed=1)
    for k in range(3):
        one.step(frame.iloc[k], price.iloc[k])
        other.step(frame[NAMES[:: -1 if k else 1]].iloc[k], price.iloc[k])
    assert everything(one) == everything(other)


def test_columns_are_taken_by_name():
    frame, price = table()
    one, other = learner(), learner()
    turned = frame[NAMES[::-1]]
    for agent, second in ((one, frame), (other, turned)):
        agent.run(frame, price, progress=False)
        agent.run(second, price, progress=False)
        agent.predict(second)
        agent.step(second.iloc[0], 0.0)
    assert everything(one) == everything(other)
    one.run(frame.to_numpy(), price, progress=False)  # an array has no names


@pytest.mark.parametrize("how", ["same", "pickled", "copied", "saved"])
def test_other_columns_are_refused_by_name(how, tmp_path):
    frame, price = table()
    agent = learner()
    agent.predict(frame.rename(columns={"load": "anything"}))  # nothing has been learned yet
    with pytest.raises(ValueError, match="cumulants has shape"):
        agent.run(frame.rename(columns={"load": "anything"}), price[:-1], progress=False)
    agent.run(frame, price, progress=False)
    agent = {
        "same": lambda: agent,
        "pickled": lambda: pickle.loads(pickle.dumps(agent)),
        "copied": lambda: copy.deepcopy(agent),
        "saved": lambda: TDLambda.load(agent.save(tmp_path / "agent")),
    }[how]()
    before, other = everything(agent), frame.rename(columns={"load": "solar"})
    message = r"has the columns 'solar' and lacks 'load': expected those that .* 'load', 'wind', in any order"
    for call in (
        lambda: agent.run(other, price, progress=False),
        lambda: agent.predict(other),
        lambda: agent.step(other.iloc[0], 0.0),
        lambda: run_many([agent], other, price, progress=False),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert everything(agent) == before
    with pytest.raises(ValueError, match=r"shape \(30, 1\)"):
        agent.run(frame[["load"]], price, progress=False)


def test_names_that_are_no_strings_or_not_different_are_no_names():
    for names in ([0, 1], ["load", "load"], [("a", "b"), ("a", "c")]):
        frame, price = table(names=names)
        agent = learner()
        assert agent.run(frame, price, progress=False).index.equals(frame.index)
        assert agent._inputs.columns is None


def test_another_index_is_refused():
    frame, price = table()
    agent = learner()
    before = everything(agent)
    late = price.copy()
    late.index = price.index + pd.Timedelta("5min")
    with pytest.raises(
        ValueError, match=r"cumulants has 2026-01-01T00:05.* in its index at row 0, and observations 2026"
    ):
        agent.run(frame, late, progress=False)
    with pytest.raises(ValueError, match=r"truncated has .* at row 3"):
        agent.run(frame, price, truncated=(price > 0).iloc[[0, 1, 2, 4, 3, *range(5, 30)]], progress=False)
    assert everything(agent) == before
    agent.run(frame, late.to_numpy(), progress=False)


def test_missing_values_of_frames_of_several_types():
    frame, price = table()
    frame = frame.assign(load=pd.array([None, 2] * 15, dtype="Int64"), wind=frame["wind"].where(frame["wind"] > 0))
    price = price.where(price > -1)
    with pytest.raises(TypeError, match=r"observations\[0, 0\] \(column 'load'\) is <NA>.*missing=\"hold\""):
        learner().run(frame, price.fillna(0), progress=False)
    agent, other = (learner(missing="hold", normalize=True) for _ in range(2))
    agent.run(frame, price, progress=False)
    values = frame.to_numpy(float, na_value=np.nan)
    other.run(np.nan_to_num(values, nan=7.0), price.to_numpy(), observed=~np.isnan(values), progress=False)
    assert everything(agent) == everything(other)


def test_many_learners_of_frames():
    frame, price = table()
    single = learner().run(frame, price, progress=False)
    made = run_many([learner(), learner(seed=2)], frame, price, progress=False)
    pd.testing.assert_series_equal(made[0], single)
    made = run_many([learner(), learner(seed=2)], [frame, frame.to_numpy()], price.to_numpy(), progress=False)
    pd.testing.assert_series_equal(made[0], single)
    assert isinstance(made[1], np.ndarray)


def test_files_of_learners_without_names_have_no_names(tmp_path):
    frame, price = table()
    agent = learner()
    agent.run(frame.to_numpy(), price.to_numpy(), progress=False)
    with np.load(agent.save(tmp_path / "agent")) as file:
        page = json.loads(file["settings.json"].tobytes())
    assert not {"columns", "normalize", "missing"} & page.keys()


def test_many_predictions_have_the_columns_of_their_cumulants():
    frame, price = table()
    cumulants = pd.DataFrame({"soon": price, "late": price})
    agent = TDLambda(LinearRTU(3), 2, gamma=[0.5, 0.9], normalize=True)
    made = agent.run(frame, cumulants, progress=False)
    assert list(made.columns) == ["soon", "late"]
    assert made.index.equals(frame.index)
    assert agent.predict(frame).shape == (30, 2)
    again = TDLambda(LinearRTU(3), 2, gamma=[0.5, 0.9], normalize=True)
    chunks = [(frame[k : k + 7], cumulants[k : k + 7]) for k in range(0, 30, 7)]
    pd.testing.assert_frame_equal(pd.concat(again.run_stream(chunks)), made)
    assert everything(again) != everything(agent)  # which has predicted
    rows = TDLambda(LinearRTU(3), 2, gamma=[0.5, 0.9], normalize=True)
    (last,) = rows.run_stream(zip(frame.to_numpy(), cumulants.to_numpy(), strict=True))
    assert np.array_equal(last, made.to_numpy())
