"""Online regression: against an oracle that knows the forward pass alone; the order of calls; last values; scales."""

import copy
import pickle

import numpy as np
import oracles
import pytest
from cases import COMPILED, rtu
from regressor_oracle import Oracle
from td_cases import OPTIMIZERS
from tolerances import LEARNING, assert_close

from rtu_np import TBPTT, LinearRTU, OnlineRegressor
from rtu_np.numerics.buffers import size
from rtu_np.prediction import targets

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
        before = moved(one)
        predicted = one.predict_one(x[t])
        one.predict(x[: t % 5 + 1], reset=t % 3 == 0)
        assert moved(one) == before
        got.append(one.step(x[t], y[t], ends[t]))
        assert np.array_equal(predicted, got[-1])
    assert np.array_equal(got, expected)
    assert moved(one) == moved(whole)


def moved(agent):
    """All that learning moves: everything but the memory of `predict`."""
    return b"".join(array.tobytes() for name, array in agent._arrays().items() if "predict" not in name)


@pytest.mark.parametrize("name", ["behind", "stored", "missing"])
def test_a_run_in_pieces_is_one_run(name, rng):
    n_targets, columns, settings = CASES[name]
    x, y, ends = stream(n_targets, columns, settings, rng)
    whole, pieces = learner(n_targets, columns, settings), learner(n_targets, columns, settings)
    expected = whole.run(x, y, ends, progress=False)
    cuts = (slice(0, 10), slice(10, 11), slice(11, 80), slice(80, T))
    got = [pieces.run(x[rows], y[rows], ends[rows], progress=False) for rows in cuts]
    assert np.array_equal(np.concatenate(got), expected)
    assert everything(pieces) == everything(whole)


@pytest.mark.parametrize("name", ["squared", "behind", "zero"])
def test_predict_goes_on_as_a_stream_of_its_own(name, rng):
    """With a learner that has seen nothing but other streams, `predict` is a run without learning."""
    n_targets, columns, settings = CASES[name]
    x, y, ends = stream(n_targets, columns, settings, rng)
    agent = learner(n_targets, columns, settings)
    agent.run(x, y, ends, progress=False)
    fresh = agent.predict(x[:20], reset=True)
    agent.predict(x[0], reset=True)
    one_by_one = [agent.predict(row) for row in x[1:20]]
    assert np.array_equal(fresh[1:], one_by_one)


# ---------------------------------------------------------------------------------------------- last values are found


@pytest.mark.parametrize("horizon", [0, 1, 4])
def test_the_input_that_is_a_target_is_found(horizon, rng):
    """Input 2 is target 1, without or with a horizon; target 0 is no input."""
    x = rng.standard_normal((200, 3)).cumsum(axis=0)
    shift = 1 if horizon == 0 else 0
    y = np.column_stack([rng.standard_normal(200), np.roll(x[:, 2], -shift)])
    agent = OnlineRegressor(LinearRTU(N), 3, 2, horizon=horizon)
    predictions = agent.run(x[:-1], y[:-1], progress=False)
    assert agent.last_values == [None, 2]
    known = OnlineRegressor(LinearRTU(N), 3, 2, horizon=horizon, predict_changes=[None, 2])
    assert np.abs(predictions[2:10, 1] - x[2:10, 2]).max() < 1e-9, "until it is sure, it predicts the last value"
    assert known.last_values == [None, 2]


def test_a_constant_is_no_proof(rng):
    """An input that is zero, as its target is so far, is not its last value once they differ."""
    x, y = np.zeros((100, 1)), np.zeros(100)
    y[60:] = rng.standard_normal(40)
    agent = OnlineRegressor(LinearRTU(N), 1)
    agent.run(x[:60], y[:60], progress=False)
    assert agent.last_values == ["?"]
    agent.run(x[60:], y[60:], progress=False)
    assert agent.last_values == [None]


def test_missing_values_neither_prove_nor_refute(rng):
    series = rng.standard_normal(300).cumsum()
    x, y = series[:-1].reshape(-1, 1).copy(), series[1:].copy()
    x[rng.random(x.shape) < 0.3], y[rng.random(y.shape) < 0.3] = np.nan, np.nan
    agent = OnlineRegressor(LinearRTU(N), 1, missing="hold")
    agent.run(x, y, progress=False)
    assert agent.last_values == [0]


def test_with_last_values_and_nothing_learned_the_last_value_is_predicted(rng):
    x = rng.standard_normal((50, 2)) + 100
    agent = learner(1, [1], {"horizon": 7})
    assert np.array_equal(agent.run(x, x[:, 1], progress=False)[:7], x[:7, 1])


# ------------------------------------------------------------------------------------------------------- the scale


def test_the_unit_of_a_target_and_of_an_input_does_not_matter(rng):
    """Predictions scale with targets, to rounding; so no step size depends on a unit."""
    x, y, ends = stream(2, [None, 0], {}, rng)
    plain, other = learner(2, [None, 0], {}), learner(2, [None, 0], {})
    expected = plain.run(x, y, ends, progress=False)
    got = other.run(1e4 * x, 1e4 * y, ends, progress=False)
    assert_close(got, 1e4 * expected, LEARNING)
    assert_close(other.parameters["readout.W"], plain.parameters["readout.W"], LEARNING)


def test_a_target_whose_square_is_no_number_is_refused(rng):
    agent = OnlineRegressor(LinearRTU(N), D)
    agent.run(rng.standard_normal((5, D)), rng.standard_normal(5), progress=False)
    for give in (
        lambda: agent.learn_one(np.ones(D), 1e160),
        lambda: agent.run(np.ones((2, D)), [0.0, -1e160], progress=False),
    ):
        with pytest.raises(ValueError, match=r"^(y|targets)\[.*\] is -?1e\+160: expected numbers of magnitude at most"):
            give()
    assert agent.steps == 5


def test_ctrl_c_in_a_prediction_moves_no_memory(rng):
    agent = OnlineRegressor(LinearRTU(N), D)
    agent.run(rng.standard_normal((5, D)), rng.standard_normal(5), progress=False)
    before, run = {name: view.copy() for name, view in agent._arrays().items()}, agent._run

    def interrupted(*arguments):
        run(*arguments)
        raise KeyboardInterrupt

    agent._run = interrupted
    with pytest.raises(KeyboardInterrupt):
        agent.predict_one(np.ones(D))
    assert [name for name, view in agent._arrays().items() if view.tobytes() != before[name].tobytes()] == []


def test_the_scale_forgets(rng):
    """Its window has 1,000 targets: each counts 1 - 1/1000 times as much as the next."""
    values = rng.standard_normal(3000) * np.linspace(1, 9, 3000)
    flat = np.zeros(size(targets.target_scale, 1))
    scale, _ = targets.target_scale(1, flat)
    for value in values:
        targets.include(scale, 0, value, True)
    weights = np.ones(3000)
    weights[1000:] = 1e-3
    for t in range(1000, 3000):
        weights[:t] *= 1 - 1e-3
    weights[:1000] *= 1e-3
    mean = np.sum(weights * values) / np.sum(weights)
    assert np.isclose(scale.mean[0], mean, rtol=1e-10)
    assert 6 < np.sqrt(scale.variance[0]) < 9 < 1.2 * values[-500:].std() + 3


# ------------------------------------------------------------------------------------------------------- planted bugs


BUGS = {
    "huber": [("targets.py", "max(min(y - o, like(o, 1.0))", "max(min(y - o, like(o, 2.0))", "huber, two targets")],
    "logistic": [("targets.py", "return y - sigmoid(o)", "return y - o", "logistic")],
    "sum of losses": [("regressor_kernels.py", "delta, do[0] = do[0], one", "delta, do[0] = one, one", "squared")],
    "own target": [
        (
            "regressor_kernels.py",
            "errors(task, views, base, target, True)",
            "errors(task, views, views.known.origins.base, target, True)",
            "behind",
        )
    ],
    "row of the ring": [("regressor_kernels.py", "% delay.horizon", "% max(delay.horizon - 1, 1)", "behind")],
    "stored gradient": [
        ("regressor_kernels.py", "    swap(network.flat_traces, delayed.gradients[row])\n", "", "stored")
    ],
    "output of then": [("regressor_kernels.py", "    o[0] = earlier\n", "", "stored")],
    "state that predicts": [
        ("regressor_kernels.py", "    copy(delayed.forward.flat_state_t, delayed.forward.flat_state)\n", "", "behind")
    ],
    "ends": [
        (
            "regressor_kernels.py",
            "    clear_memory(task.network.cell, network.memory, network.flat_memory)\n",
            "",
            "squared",
        )
    ],
    "scale of changes": [
        (
            "last_values.py",
            "(change_of(origins, j) ** 2 - known.square[j])",
            "(change_of(origins, j) - known.square[j])",
            "squared",
        )
    ],
}


@pytest.mark.skipif(COMPILED, reason="uncompiled, a planted bug takes a second")
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug, rng, mutant):
    ((file, old, new, name),) = BUGS[bug]
    package = mutant(f"prediction/{file}", [(old, new)])
    n_targets, columns, settings = CASES[name]
    x, y, ends = stream(n_targets, columns, settings, rng)
    right = learner(n_targets, columns, settings).run(x, y, ends, progress=False)
    changes = list(columns) if any(k is not None for k in columns) else False
    rule = package.Adam(**vars(OPTIMIZERS["Adam"]))
    agent = package.OnlineRegressor(
        package.LinearRTU(N, r_max=0.95), D, n_targets, predict_changes=changes, seed=1, optimizer=rule, **settings
    )
    wrong = agent.run(x, y, ends, progress=False)
    assert not np.allclose(wrong, right, rtol=1e-6)
