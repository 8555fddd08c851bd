"""A campaign at the doors of OnlineRegressor: random settings, streams, gaps, ends and copies (campaign_cases.py)."""

import copy
import math
import pickle
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from campaign_cases import bad_numbers, door, floats, given_as, outcome, refuses, spoiled
from cases import COMPILED
from hypothesis import given
from hypothesis import strategies as st
from rule_cases import RULES
from td_cases import everything

from rtu_np import GRU, RTRL, SGD, TBPTT, Adam, LinearRTU, MinGRU, NonlinearRTU, ObGD, OnlineRegressor, RMSProp

# Uncompiled, NumPy warns of what a compiled kernel meets without a word.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
SIZES = st.integers(1, 3)
CELLS, OPTIMIZERS, GRADIENTS, DTYPES = SIZES.map(LinearRTU), st.just(Adam(0.003)), st.none(), st.just("float64")
LOSSES, MISSING = st.just("squared"), st.just("hold")
if not COMPILED:  # each would take seconds to compile
    CELLS = st.one_of(CELLS, SIZES.map(NonlinearRTU), SIZES.map(GRU), SIZES.map(MinGRU))
    OPTIMIZERS = st.sampled_from([SGD(0.01), ObGD(0.1), Adam(0.003), RMSProp(0.003), None, *RULES.values()])
    GRADIENTS = st.sampled_from([None, RTRL(), RTRL(dense=True), TBPTT(1), TBPTT(3)])
    DTYPES = st.sampled_from(["float64", "float32"])
    LOSSES, MISSING = st.sampled_from(["squared", "huber", "logistic"]), st.sampled_from([None, "hold", "zero"])


@st.composite
def learners(draw):
    """Settings that fit each other."""
    n_inputs, horizon, loss = draw(SIZES), draw(st.sampled_from([0, 0, 1, 3])), draw(LOSSES)
    delay = draw(st.sampled_from(["behind", "stored"]))
    n_targets = 1 if delay == "stored" and horizon else draw(st.integers(1, 2))
    changes = [None, False, *([] if loss == "logistic" else [[0] * n_targets, [n_inputs - 1] * n_targets])]
    return {
        "cell": draw(CELLS),
        "n_inputs": n_inputs,
        "n_targets": n_targets,
        "horizon": horizon,
        "delay": delay,
        "loss": loss,
        "predict_changes": draw(st.sampled_from(changes)),
        "missing": draw(MISSING),
        "normalize": draw(st.booleans()) if not COMPILED else True,
        "optimizer": draw(OPTIMIZERS),
        "gradient": draw(GRADIENTS),
        "dtype": draw(DTYPES),
    }


def stream(draw, settings, n):
    x, y = floats(draw, n, settings["n_inputs"]), floats(draw, n, settings["n_targets"])
    if draw(st.booleans()):  # a target that is an input
        y[:, 0] = x[:, 0] if settings["horizon"] else np.roll(x[:, 0], -1)
    if settings["loss"] == "logistic":
        y = np.abs(np.sin(y))
    if settings["missing"]:
        x[draw_mask(draw, x.shape)], y[draw_mask(draw, y.shape)] = math.nan, math.nan
    return x, y, np.array(draw(st.lists(st.sampled_from([False] * 9 + [True]), min_size=n, max_size=n)))


def draw_mask(draw, shape):
    n = math.prod(shape)
    return np.array(draw(st.lists(st.sampled_from([False, False, True]), min_size=n, max_size=n))).reshape(shape)


def not_one_target(y):
    """Whether `y` is no list or array of one number, as which the target of a row may be given, too."""
    return type(y) not in (list, np.ndarray) or np.shape(y) != (1,)


def again(agent, how):
    if how == "saved":
        with tempfile.TemporaryDirectory() as folder:
            return OnlineRegressor.load(agent.save(Path(folder) / "learner"))
    if how == "pickled":
        return pickle.loads(pickle.dumps(agent))
    return copy.deepcopy(agent) if how == "copied" else agent


@door(60)
@given(learners(), st.data())
def test_rows_are_a_run(settings, data):
    """Row by row as arrays or dicts, with copies and predictions in between: the bits of one run."""
    n = data.draw(st.integers(settings["horizon"] + 1, 20))
    x, y, ends = stream(data.draw, settings, n)
    whole, one = OnlineRegressor(**settings), OnlineRegressor(**settings)
    targets = y[:, 0] if settings["n_targets"] == 1 else y
    given_x = x if settings["missing"] else given_as(data.draw, x)
    made = outcome(lambda: whole.run(given_x, targets, ends, progress=False), FloatingPointError)
    diverged = isinstance(made, FloatingPointError)
    named, how = data.draw(st.booleans()), data.draw(st.sampled_from(["same", "saved", "pickled", "copied"]))
    for t in range(len(made.result) if diverged else n):
        row = dict(enumerate(x[t])) if named else x[t]
        if t == n // 2:
            one = again(one, how)
        predicted = one.predict_one(row)
        got = outcome(partial(one.step, row, targets[t], ends[t]), FloatingPointError)
        if isinstance(got, FloatingPointError):
            assert diverged
            return
        assert np.array_equal(got, predicted)
        assert np.array_equal(got, (made.result if diverged else made)[t])
    if not diverged:
        assert everything(one) == everything(whole)


@door(60)
@given(learners(), st.data())
def test_bad_rows_are_refused(settings, data):
    agent = OnlineRegressor(**{**settings, "missing": None})
    x, y = floats(data.draw, 6, settings["n_inputs"]), np.abs(np.sin(floats(data.draw, 6, settings["n_targets"])))
    agent.run(x, y, progress=False)
    which = data.draw(st.sampled_from(["x", "y", "observations", "targets"]))

    def state():
        return everything(agent) + repr((agent.names, agent.target_names)).encode()

    if which == "x":
        refuses(lambda: agent.learn_one(spoiled(data.draw, x[0], settings["dtype"]), y[0]), "^x", state)
    elif which == "y" and settings["n_targets"] == 1:
        bad = data.draw(bad_numbers(settings["dtype"]).filter(not_one_target))
        refuses(lambda: agent.learn_one(x[0], bad), "^y", state)
    elif which == "observations":
        refuses(lambda: agent.run(spoiled(data.draw, x, settings["dtype"]), y), "^(observations|targets)", state)
    else:
        refuses(lambda: agent.run(x, spoiled(data.draw, y, settings["dtype"])), "^targets", state)


BAD_SETTINGS = {
    "n_inputs": [0, -1, 2.0, True, "2", None, math.nan, 10**30],
    "n_targets": [0, -1, 2.0, True, "2", None, math.nan, 10**30],
    "loss": ["", None, 1, "l2", []],
    "horizon": [-1, 1.5, True, "1", None, math.nan, 10**30],
    "delay": ["", None, 1, []],
    "normalize": [2, "yes", []],
    "missing": ["", True, 0, []],
    "predict_changes": [-1, 7, 1.5, "a", [], [0, 0, 0], math.nan, {}],
    "names": [["a", "a"], ["a"], 3, [[], []]],
    "target_names": [["a", "b", "c"], 3],
}


@door(60)
@given(st.sampled_from([(name, bad) for name, values in BAD_SETTINGS.items() for bad in values]))
def test_bad_settings_are_refused(setting):
    name, bad = setting
    good = {"cell": LinearRTU(2), "n_inputs": 2, "n_targets": 1, "names": ["p", "q"]}
    words = {"names": "^(x has the names|names)", "target_names": "^(y has the names|target_names)"}.get(name, name)
    errors = (TypeError, ValueError, MemoryError)
    refuses(lambda: OnlineRegressor(**{**good, name: bad}), words if bad != 10**30 else ".", bytes, errors)
