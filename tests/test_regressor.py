"""Online regression: against an oracle that knows the forward pass alone; the order of calls; what a user may do to it."""

import copy
import pickle

import numpy as np
import oracles
import pytest
from cases import COMPILED, rtu
from regressor_oracle import Oracle
from td_cases import OPTIMIZERS
from tolerances import LEARNING, assert_close

from rtu_np import RTRL, TBPTT, LinearRTU, OnlineRegressor

T, D, N = 120, 2, 3
# Compiled, one of each kind: compiling takes seconds. {name: (targets, columns, settings)}
CASES = {
    "squared": (1, [1], {}),
    "huber, two targets": (2, [None, 0], {"loss": "huber"}),
    "logistic": (1, [None], {"loss": "logistic"}),
    "behind": (2, [0, 1], {"horizon": 3}),
    "stored": (1, [0], {"horizon": 3, "delay": "stored"}),
    "missing": (2, [None, 1], {"missing": "hold", "horizon": 2}),
    "zero": (1, [0], {"missing": "zero"}),
    "T-BPTT": (1, [None], {"gradient": TBPTT(3), "normalize": False}),
}
MORE = {
    "ObGD": (1, [0], {"optimizer": "ObGD"}),
    "ObGD, two targets": (2, [0, None], {"optimizer": "ObGD"}),
    "SGD, behind": (1, [None], {"optimizer": "SGD", "horizon": 1}),
    "RMSProp, stored": (1, [None], {"optimizer": "RMSProp", "horizon": 5, "delay": "stored"}),
    "stored, logistic": (1, [None], {"loss": "logistic", "horizon": 2, "delay": "stored"}),
    "T-BPTT, behind": (2, [0, 1], {"gradient": TBPTT(2), "horizon": 2}),
}
ALL = CASES if COMPILED else {**CASES, **MORE}


def stream(n_targets, columns, settings, rng, steps=T):
    """Observations and targets; a target with a column is a change behind its last value."""
    x = rng.standard_normal((steps, D)).cumsum(axis=0) * [3.0, 0.2] + [5.0, -1.0]
    y = rng.standard_normal((steps, n_targets)) * 2 + 1
    for j, k in enumerate(columns):
        y[:, j] += 0 if k is None else x[:, k]
    if settings.get("loss") == "logistic":
        y = (y > 1).astype(float)
    if "missing" in settings:
        x[rng.random(x.shape) < 0.2], y[rng.random(y.shape) < 0.3] = np.nan, np.nan
        x[0] = 1.0
    return x, y, rng.random(steps) < 0.03


def learner(n_targets, columns, settings, **more):
    own = {"optimizer": OPTIMIZERS[settings.get("optimizer", "Adam")], "seed": 1}
    own |= {name: value for name, value in settings.items() if name != "optimizer"}
    changes = list(columns) if any(k is not None for k in columns) else False
    return OnlineRegressor(LinearRTU(N, r_max=0.95), D, n_targets, predict_changes=changes, **{**own, **more})


def everything(agent):
    return b"".join(array.tobytes() for array in agent._arrays().values())


@pytest.mark.parametrize("name", ALL)
def test_learning_equals_the_oracle(name, rng):
    n_targets, columns, settings = ALL[name]
    agent = learner(n_targets, columns, settings)
    agent.parameters["readout.W"][:] = rng.standard_normal((n_targets, 2 * N))
    start = {key: view.copy() for key, view in agent.parameters.items()}
    optimizer = settings.get("optimizer", "Adam")
    own = {key: settings[key] for key in ("loss", "horizon", "delay", "missing", "normalize") if key in settings}
    window = getattr(settings.get("gradient"), "steps", None)
    rule = oracles.Optimizer(optimizer, **vars(OPTIMIZERS[optimizer]))
    oracle = Oracle(rtu(LinearRTU, "tanh").in_blocks, 2 * N, dict(start), list(columns), rule, window=window, **own)
    x, y, ends = stream(n_targets, columns, settings, rng)
    assert ends.any()
    expected = oracle.run(x, y, ends)
    assert_close(agent.run(x, y, ends, progress=False).reshape(T, -1), expected, LEARNING, "predictions")
    for key, view in agent.parameters.items():
        assert not np.allclose(view, start[key], rtol=1e-4), f"{key} has hardly moved"
        assert_close(view, oracle.params[key], LEARNING, key)
    if settings.get("loss") == "huber":
        assert any(oracle.seen)
        assert not all(oracle.seen)


@pytest.mark.parametrize("name", CASES)
def test_rows_one_by_one_are_a_run_to_the_bit(name, rng, tmp_path):
    """Also if each is predicted beforehand, and if the learner is copied or saved in between."""
    n_targets, columns, settings = CASES[name]
    x, y, ends = stream(n_targets, columns, settings, rng)
    whole, one = learner(n_targets, columns, settings), learner(n_targets, columns, settings)
    expected = whole.run(x, y, ends, progress=False)
    got = []
    for t in range(T):
        if t == 40:
            one = pickle.loads(pickle.dumps(one))
        if t == 60:
            one = type(one).load(one.save(tmp_path / "middle"))
        if t == 80:
            one = copy.deepcopy(one)
        before = everything(one)
        predicted = one.predict_one(x[t])
        one.predict(x[t])
        one.predict(x[: t + 1], reset=True)
        after = everything(one)
        got.append(one.step(x[t], y[t], ends[t]))
        assert np.array_equal(predicted, got[-1])
        if t % 20 == 0:
            assert memory_of_predict(before, after)
    assert np.array_equal(got, expected)
    one.predict(x[0], reset=True)
    whole.predict(x[0], reset=True)
    assert everything(one) == everything(whole)


def memory_of_predict(before, after):
    """Whether two states are of the same size; `predict` has a memory among them that moves."""
    return len(before) == len(after)
