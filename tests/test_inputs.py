"""What the network sees of a stream with gaps, levels and scales, and what is learned from it."""

import copy
import json
import pickle
import warnings

import numpy as np
import oracles
import pytest
import stream_oracle
from cases import in_plain_python, rtu
from mutants import rebuilt
from td_cases import OPTIMIZERS, everything
from tolerances import PLAIN, assert_close

from rtu_np import SGD, Adam, Blocks, Intentional, LinearRTU, Normalize, TDLambda, run_many

D = 2
SETTINGS = {
    "normalize": {"normalize": True},
    "forget": {"normalize": Normalize(half_life=7.0)},
    "clip": {"normalize": Normalize(clip=2.0)},
    "hold": {"missing": "hold"},
    "zero": {"missing": "zero"},
    "all": {"normalize": Normalize(half_life=20.0, clip=3.0), "missing": "hold"},
    "zero, normalized": {"normalize": True, "missing": "zero"},
}


def gappy(n=80, seed=0, gaps=True):
    """(observations, cumulants, truncated) of unlike levels and scales, with spikes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, D)) * [1e-6, 40.0] + [3e-5, -1e3]
    x[rng.random(n) < 0.05] *= 30
    c = rng.standard_normal(n)
    if gaps:
        x[rng.random((n, D)) < 0.3] = np.nan
        x[:2, 1] = np.nan  # nothing to hold yet
        c[rng.random(n) < 0.2] = np.nan
    return x, c, rng.random(n) < 0.05


def learner(**settings):
    return TDLambda(LinearRTU(3), D, **{"optimizer": SGD(0.01), "seed": 1, **settings})


def seen_by_the_network(agent, x, c, truncated):
    """(T, width) the input of the network at each step."""
    rows = []
    for row, cumulant, cut in zip(x, c, truncated, strict=True):
        agent.step(row, cumulant, truncated=cut)
        rows.append(agent._inputs._x.copy())
    return np.array(rows)


def by_definition(x, truncated, settings):
    starts = np.concatenate([[True], truncated[:-1]])
    normalize = settings.get("normalize")
    normalize = Normalize() if normalize is True else normalize
    pair = None if normalize is None else (normalize.half_life, normalize.clip)
    return stream_oracle.stage(x, starts, pair, settings.get("missing"))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_network_sees(name, dtype):
    settings = SETTINGS[name]
    x, c, truncated = gappy(gaps="missing" in settings)
    found = seen_by_the_network(learner(dtype=dtype, **settings), x, c, truncated)
    expected = by_definition(x, truncated, settings)
    for column, other in zip(found.T, expected.T, strict=True):
        assert_close(column, other, 1e-9 if dtype == "float64" else 1e-5)


def run(agent, x, c, truncated):
    return agent.run(x, c, truncated=truncated, progress=False)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("name", ["all", "zero, normalized"])
def test_learning_against_the_definitions(name, optimizer):
    """The oracle gets what the network sees by definition, and cumulants of which some are NaN."""
    x, c, truncated = gappy(200)
    agent = TDLambda(LinearRTU(3, r_max=0.95), D, optimizer=OPTIMIZERS[optimizer], seed=1, **SETTINGS[name])
    inputs = by_definition(x, truncated, SETTINGS[name])
    start = {key: view.copy() for key, view in agent.parameters.items()}
    settings = dict(vars(OPTIMIZERS[optimizer]))
    oracle = oracles.TDOracle(rtu(LinearRTU, "tanh").in_blocks, start, 6, 0.9, oracles.Optimizer(optimizer, **settings))
    stream = oracles.Stream(inputs, c, np.full(len(c), agent.gamma), np.zeros(len(c), bool), truncated)
    assert np.isnan(c).sum() > 20
    assert_close(run(agent, x, c, truncated), oracle.run(stream), 1e-8)
    for key, view in agent.parameters.items():
        assert_close(view, oracle.params[key], 1e-8, key)
        assert_close(agent.traces[key], oracle.traces[key], 1e-8, f"trace of {key}")


@pytest.mark.parametrize(
    "rule", [Blocks(cell=SGD(0.01), readout=SGD(0.01)), Intentional()], ids=["Blocks", "Intentional"]
)
def test_rules_that_carry_their_traces_miss_no_gradient(rule):
    """They store the latest gradient; a step without a cumulant moves no parameter, and adds it to the traces."""
    x, c, truncated = gappy()
    agent, plain = learner(optimizer=rule, missing="hold"), learner(missing="hold")
    for row, cumulant, cut in zip(x, c, truncated, strict=True):
        earlier = {name: view.copy() for name, view in agent.parameters.items()}
        agent.step(row, cumulant, truncated=cut)
        plain.step(row, cumulant, truncated=cut)
        if np.isnan(cumulant):
            assert all(np.array_equal(view, earlier[name]) for name, view in agent.parameters.items())
    if isinstance(rule, Blocks):
        for name, view in agent.parameters.items():
            assert_close(view, plain.parameters[name], PLAIN, name)


def test_a_missing_cumulant_moves_neither_parameters_nor_moments():
    x, c, _ = gappy()
    agent = learner(optimizer=Adam(0.01), missing="hold")
    agent.run(x, c, progress=False)
    same = {name: view.copy() for name, view in agent._arrays().items() if name.startswith(("params", "moments"))}
    traces = agent._views.flat_traces.copy()
    for missing in (np.nan, None, np.float32(np.nan), np.ma.masked):
        agent.step(x[0], missing)
    assert all(np.array_equal(agent._arrays()[name], view) for name, view in same.items())
    assert not np.array_equal(agent._views.flat_traces, traces)


@pytest.mark.parametrize("name", SETTINGS)
def test_any_way_through_a_stream_has_the_same_bits(name, tmp_path):
    settings = SETTINGS[name]
    x, c, truncated = gappy(gaps="missing" in settings)
    whole, agent = learner(**settings), learner(**settings)
    expected = run(whole, x, c, truncated)
    made = []
    for t in range(20):
        made.append(agent.step(x[t], c[t], truncated=truncated[t]))
        agent.predict(x[: t + 1])  # has a memory of its own, and reads the statistics
    made += run(agent, x[20:40], c[20:40], truncated[20:40]).tolist()
    agent = copy.deepcopy(pickle.loads(pickle.dumps(agent)))
    made += run(agent, x[40:60], c[40:60], truncated[40:60]).tolist()
    agent = TDLambda.load(agent.save(tmp_path / "agent"))
    assert repr(agent).replace("60", "80") == repr(whole)
    made += [agent.step(*row, truncated=cut) for *row, cut in zip(x[60:], c[60:], truncated[60:], strict=True)]
    assert np.array(made).tobytes() == expected.tobytes()
    agent.predict(x[0], reset=True)
    whole.predict(x[0], reset=True)
    assert everything(agent) == everything(whole)
    (many,) = run_many([again := learner(**settings)], x, c, truncated=truncated, progress=False)
    assert many.tobytes() == expected.tobytes()
    again.predict(x[0], reset=True)
    assert everything(again) == everything(whole)


def test_predictions_read_statistics_and_hold_values_of_their_own():
    x, c, _ = gappy()
    agent = learner(normalize=True, missing="hold")
    agent.run(x, c, progress=False)
    names = [name for name in agent._arrays() if name.startswith("inputs.") and "predict" not in name]
    before = {name: agent._arrays()[name].copy() for name in names}
    foreseen = agent.predict([[3e-5, np.nan], [np.nan, -1e3]], reset=True)
    assert all(np.array_equal(agent._arrays()[name], view) for name, view in before.items())
    held = agent._arrays()["inputs.predict.held"]
    assert held.tolist() == [3e-5, -1e3]
    second = agent.predict([3e-5, -1e3])
    again = [agent.predict([3e-5, None], reset=True), agent.predict(np.ma.masked_invalid([np.nan, -1e3]))]
    assert foreseen.tolist() == again
    assert second == agent.predict([3e-5, -1e3])


def test_reset_keeps_statistics_and_drops_what_is_held():
    x, c, _ = gappy()
    agent = learner(normalize=True, missing="hold")
    agent.run(x, c, progress=False)
    agent.predict(x)
    statistics = {name: agent._arrays()[f"inputs.{name}"].copy() for name in ("weight", "squares", "mean", "M")}
    agent.reset()
    for name, view in statistics.items():
        assert np.array_equal(agent._arrays()[f"inputs.{name}"], view)
    assert np.isnan(agent._arrays()["inputs.held"]).all()
    assert np.isnan(agent._arrays()["inputs.predict.held"]).all()
    agent.step([np.nan, np.nan], np.nan)
    assert agent._inputs._x.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("unit", [2.0**-40, 2.0**60])
def test_the_unit_of_an_observation_does_not_matter(unit):
    x, c, truncated = gappy(300)
    for settings in (SETTINGS["all"], SETTINGS["zero, normalized"]):
        made = run(learner(**settings), x, c, truncated)
        assert run(learner(**settings), x * unit, c, truncated).tobytes() == made.tobytes()


def test_a_column_that_never_varies_is_zero_also_after_a_change():
    x = np.stack([np.full(1000, 0.1), np.r_[np.arange(300.0), np.full(700, 0.1)]], 1)
    agent = learner(normalize=Normalize(half_life=10.0))
    agent.run(x, np.zeros(1000), progress=False)
    assert np.abs(agent._inputs._x).tolist() == [0, pytest.approx(0, abs=1e-6)]
    agent.predict([0.2, 1e90])
    assert agent._inputs._x.tolist() == [pytest.approx(0.1), 1e6]  # what has not varied has the deviation 1


def test_long_silence_is_named_once_and_learning_goes_on():
    x = np.full((1100, D), np.nan)
    x[0] = 1.0
    agent, stepwise, strict = (learner(missing="hold") for _ in range(3))
    message = "all inputs have been missing for 1000 steps, up to step 1001: the learner goes on with their last values"
    with pytest.warns(UserWarning, match=message) as caught:
        made = agent.run(x, np.ones(1100), progress=False)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert np.isfinite(made).all()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for row in x:
            stepwise.step(row, 1.0)
    assert [str(each.message)[: len(message)] for each in caught] == [message]
    assert everything(stepwise) == everything(agent)
    with pytest.raises(UserWarning, match="1000 steps"):
        strict.run(x, np.ones(1100), progress=False)
    assert strict.steps == 1001  # the step is done
    assert strict.run(x[1001:], np.ones(99), progress=False).tobytes() == made[1001:].tobytes()

    x[900] = [np.nan, 0.0]
    learner(missing="zero").run(x, np.ones(1100), progress=False)  # no warning


def test_the_mask_is_as_good_as_nan():
    x, c, truncated = gappy()
    seen = ~np.isnan(x)
    one, other, third = (learner(**SETTINGS["all"]) for _ in range(3))
    made = run(one, x, c, truncated)
    for fill, mask in ((-9999.0, seen), (np.inf, seen.astype(int).tolist())):
        agent = learner(**SETTINGS["all"])
        assert np.array_equal(
            agent.run(np.where(seen, x, fill), c, truncated=truncated, observed=mask, progress=False), made
        )
    other.run(x, c, truncated=truncated, observed=np.ones_like(seen), progress=False)  # NaN is missing all the same
    third.run(
        np.ma.masked_array(np.nan_to_num(x), mask=~seen), np.ma.masked_invalid(c), truncated=truncated, progress=False
    )
    assert everything(one) == everything(other) == everything(third)


@pytest.mark.parametrize(
    ("settings", "call", "message"),
    [
        ({}, lambda a: a.step([np.nan, 0], 0.0), r'x\[0\] is nan: .*missing="hold" or missing="zero" takes'),
        ({}, lambda a: a.step(np.array([0, np.nan]), 0.0), r'x\[1\] is nan: .*missing="hold"'),
        ({}, lambda a: a.step([0, 0], np.nan), r'c is nan: .*missing="hold"'),
        ({}, lambda a: a.step([0, 0], None), r'c is None .*, as missing="hold"'),
        ({"normalize": True}, lambda a: a.step([np.nan, 0], 0.0), r'x\[0\] is nan: .*missing="hold"'),
        ({}, lambda a: a.run([[0, 0]], [np.nan]), r'cumulants\[0\] is nan: .*missing="hold"'),
        (
            {},
            lambda a: a.run([[0, 0]], [0], observed=[[1, 0]]),
            'observed is given, but .* missing=None: expected missing="h',
        ),
        (
            {"missing": "hold"},
            lambda a: a.run([[0, 0]], [0], observed=[[1]]),
            r"observed has shape \(1, 1\): expected \(1, 2\)",
        ),
        (
            {"missing": "hold"},
            lambda a: a.run([[0, 0]], [0], observed=[1, 0]),
            r"observed has shape \(2,\): expected \(1, 2\)",
        ),
        ({"missing": "hold"}, lambda a: a.run([[0, 0]], [0], observed=[[1, np.nan]]), r"observed\[0, 1\] is nan"),
        ({"missing": "hold"}, lambda a: a.step([np.inf, np.nan], 0.0), r"x\[0\] is inf: expected finite numbers"),
        ({"missing": "hold"}, lambda a: a.step([0, 0], -np.inf), "c is -inf: expected a finite number"),
        ({"missing": "hold"}, lambda a: a.step([0, 0], 0.0, np.nan), "discount is nan"),
        ({"missing": "hold"}, lambda a: a.run([[0, 0]], [0], [np.nan]), r"discounts\[0\] is nan"),
        ({"missing": "hold"}, lambda a: a.predict([[0, 0], [0, np.inf]]), r"x\[1, 1\] is inf"),
        (
            {"normalize": True},
            lambda a: a.step(np.array([0, 1e101]), 0.0),
            r"x\[1\] is 1e\+101: expected .* at most 1e\+100",
        ),
        ({"normalize": True}, lambda a: a.run([[0, -1e101]], [0]), r"observations\[0, 1\] is -1e\+101: expected"),
        (
            {"missing": "hold", "dtype": "float32"},
            lambda a: a.step(np.array([1e39, 0]), 0.0),
            r"x\[0\] is 1e\+39: expected",
        ),
    ],
)
def test_what_is_refused_changes_nothing(settings, call, message):
    agent = learner(**settings)
    agent.step([1.0, 2.0], 3.0)
    before = everything(agent)
    with pytest.raises((ValueError, TypeError), match=message):
        call(agent)
    assert everything(agent) == before


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"missing": "last"}, ValueError, "missing is 'last': expected one of 'hold', 'zero'"),
        ({"missing": True}, ValueError, "missing is True"),
        ({"normalize": "yes"}, TypeError, r"normalize is 'yes': expected True, False or settings"),
        ({"normalize": 1}, TypeError, "normalize is 1"),
    ],
)
def test_settings_that_are_no_settings(settings, error, message):
    with pytest.raises(error, match=message):
        learner(**settings)
    for bad in ({"half_life": 0.5}, {"half_life": True}, {"clip": 0}, {"clip": np.nan}):
        with pytest.raises((TypeError, ValueError), match=f"^{next(iter(bad))} is"):
            Normalize(**bad)


def test_files_and_their_faults(tmp_path):
    agent = learner(**SETTINGS["all"])
    agent.run(*gappy()[:2], progress=False)
    path = agent.save(tmp_path / "agent")
    with np.load(path) as file:
        arrays = dict(file)
    page = json.loads(arrays.pop("settings.json").tobytes())
    assert page["normalize"] == {"name": "Normalize", "half_life": 20.0, "clip": 3.0}
    for bad in (
        {"missing": "last"},
        {"normalize": {"name": "SGD"}},
        {"normalize": 7},
        {"columns": ["a"]},
        {"columns": 3},
    ):
        text = np.frombuffer(json.dumps(page | bad).encode(), np.uint8)
        np.savez(tmp_path / "bad.npz", **{"settings.json": text}, **arrays)
        with pytest.raises(ValueError, match=r"bad\.npz"):
            TDLambda.load(tmp_path / "bad.npz")


def test_the_scale_of_normalised_observations_is_no_news():
    x = 1e5 * np.ones((200, D))
    learner(normalize=True).run(x, np.ones(200), progress=False)
    with pytest.warns(UserWarning, match=r"cumulants of mean .*1; divide cumulants") as caught:
        learner(normalize=True).run(x, 1e5 * np.arange(200), progress=False)
    assert "normalize" not in str(caught[0].message)
    x[::2] = np.nan
    with pytest.warns(UserWarning, match=r"first 200 steps .* observations\[:, 1\] of mean 1e\+05 .*normalize=True"):
        learner(missing="zero").run(x, np.ones(200), progress=False)


BUGS = {
    "marks are turned": ("inputs.py", "0.0 if seen else 1.0", "1.0 if seen else 0.0"),
    "held values leak into the next episode": (
        "inputs.py",
        "        if first:\n            memory.held[i] = np.nan\n",
        "",
    ),
    "missing values enter statistics": (
        "inputs.py",
        "        if value == value:\n            n_seen += 1",
        "        if True:\n            n_seen += 1",
    ),
    "the deviation of n, not of n - 1": ("inputs.py", "weight - stats.squares[i] / weight", "weight"),
    "nothing is forgotten of squares": ("inputs.py", "spec.keep * stats.M[i]", "stats.M[i]"),
    "clipped for the network alone": (
        "inputs.py",
        "            _include(spec, stats, i, value)",
        "            _include(spec, stats, i, raw[t, i])",
    ),
    "a missing cumulant is zero": ("inputs.py", "    return cumulant == cumulant", "    return True"),
    "zero holds": ("inputs.py", "    elif spec.holds:", "    elif spec.marks:"),
}


@in_plain_python
@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_show(bug, mutant):
    file, old, new = BUGS[bug]
    package = mutant(f"prediction/{file}", [(old, new)])
    x, c, truncated = gappy()
    shown = False
    for settings in SETTINGS.values():
        if "missing" not in settings and bug != "clipped for the network alone":
            continue
        rows = x if "missing" in settings else gappy(gaps=False)[0]
        own = {
            key: rebuilt(package, value) if isinstance(value, Normalize) else value for key, value in settings.items()
        }
        agent = package.TDLambda(package.LinearRTU(3), D, optimizer=package.SGD(0.01), seed=1, **own)
        expected = run(learner(**settings), rows, c if "missing" in settings else np.nan_to_num(c), truncated)
        with np.errstate(all="ignore"):
            try:
                found = run(agent, rows, c if "missing" in settings else np.nan_to_num(c), truncated)
            except (FloatingPointError, ValueError):
                found = np.full(len(c), np.nan)
        shown |= not np.allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert shown
