"""What the experiments on prediction share: settings as data, step sizes chosen apart, features that are given."""

import importlib
import json

import numpy as np
import pytest
from cases import COMPILED

from experiments import prediction, representations
from experiments.__main__ import EXPERIMENTS, listed
from experiments.engine import selection
from experiments.released_lru import ReleasedRTRL
from rtu_np import GRU, LRU, RTRL, SGD, TBPTT, HiddenReadout, Identity, LinearRTU, TDLambda, check_gradients, flops

compiled = pytest.mark.skipif(not COMPILED, reason="learning takes too long in plain Python")
PLACE = {"panel": "p", "method": "m", "x": 1}


def modules():
    return {name: importlib.import_module(module) for name, module in EXPERIMENTS.items()}


SIZES = ("smoke", "laptop", "long", "overnight", "paper")
RUN = {"final": np.array(0.5), "msre": np.array(0.5), "diverged": np.array(False)}  # all runs are equally good


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_presets_are_plain_data_by_size_and_no_seed_is_both_tuned_and_reported(name):
    experiment = modules()[name]
    sizes = [preset for preset in experiment.PRESETS if preset in SIZES]
    assert sizes == sorted(sizes, key=SIZES.index)
    assert sizes[0] == next(iter(experiment.PRESETS)) == "smoke"
    for preset in experiment.PRESETS.values():
        earlier, settings = [], []
        *tuning, (reported, seeds) = getattr(experiment, "stages", selection.stages)(preset)
        for settings_of, of_stage in (*tuning, (reported, seeds)):
            settings = settings_of(earlier)
            assert json.loads(json.dumps(settings)) == settings
            assert len({json.dumps(each, sort_keys=True) for each in settings}) == len(settings)
            earlier.append([(config, [RUN] * len(of_stage)) for config in settings])
        assert len({experiment.label(each) for each in settings}) == len(settings)
        assert not set(seeds) & {seed for _, of_stage in tuning for seed in of_stage}
        assert not tuning or all("step_size" not in each for each in preset.get("settings", []))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_says_what_it_claims_and_how_long_it_takes(name):
    text = listed(name)
    assert "Claim: " in text
    minutes = " ".join(text.split("Minutes on two cores: ")[1].split())
    for preset in modules()[name].PRESETS:
        assert f"{preset} " in minutes


def test_the_best_step_size_on_the_tuning_seeds_is_chosen():
    settings = [{"panel": "p", "method": m, "steps": 7} for m in "ab"]
    preset = {"settings": settings, "tuning": {"step_sizes": [0.1, 0.2, 0.3], "seeds": range(5, 7)}}
    preset["seeds"] = range(2)
    (trials, tuning_seeds), (reported, seeds) = selection.stages(preset)
    tried = trials([])
    assert (tuning_seeds, seeds) == ([5, 6], [0, 1])
    assert [(c["method"], c["step_size"], c["steps"]) for c in tried][:4] == [
        ("a", 0.1, 7),
        ("a", 0.2, 7),
        ("a", 0.3, 7),
        ("b", 0.1, 7),
    ]
    errors = [[3, 3], [1, 2], [0, 9], [1, 1], [2, 2], [5, 0]]  # by mean, not by the luckiest seed
    runs = [
        (c, [{"msre": np.array(e), "diverged": np.array(False)} for e in each])
        for c, each in zip(tried, errors, strict=True)
    ]
    chosen = reported([runs])
    assert [c["step_size"] for c in chosen] == [0.2, 0.1]
    assert selection.at_an_edge(preset, [(c, []) for c in chosen]) == [
        "the smallest step size tried, 0.1, was the best for 1 of 2 settings"
    ]
    runs[1][1][0]["diverged"] = np.array(True)  # at its end, so that the error is the smallest still
    assert [c["step_size"] for c in reported([runs])] == [0.1, 0.1]
    for _, each in runs[:3]:
        each[1]["diverged"] = np.array(True)
    assert [c["step_size"] for c in reported([runs])] == [0.1, 0.1]  # all have diverged: fewest, then smallest error


@compiled
def test_a_setting_is_the_learner_that_was_written_down():
    config = prediction.setting(LinearRTU(3), TBPTT(2), steps=300, step_size=1e-2, dtype="float64", **PLACE)
    stream = prediction.follow(config, seed=1)
    env_seed, learner_seed = np.random.SeedSequence(1).generate_state(2).tolist()
    from envs import TraceConditioning
    from rtu_np import Adam
    from rtu_np.metrics import returns

    env = TraceConditioning(isi=10)
    learner = TDLambda(
        LinearRTU(3), 12, 0.9, 0.9, Adam(1e-2, beta2=0.9999), TBPTT(2), seed=learner_seed, dtype="float64"
    )
    x, c = env.generate(3000, seed=env_seed)
    assert np.array_equal(stream.prediction, learner.run(x[:300], c[:300], progress=False))
    assert np.allclose(stream.target, returns(c, 0.9)[:300], atol=1e-8)
    assert np.array_equal(stream.bayes, env.bayes_prediction(x)[:300])
    score = prediction.summary(stream)
    assert score["msre"] == ((stream.prediction - stream.target) ** 2)[-30:].mean()


@compiled
def test_a_learner_that_diverges_is_told_and_counted():
    config = prediction.setting(Identity(), steps=40_000, step_size=1e300, dtype="float64", **PLACE)
    arrays = prediction.run(config, 0)
    assert arrays["diverged"]
    assert np.isfinite(arrays["curve"]).all()
    assert prediction.score([(config, [arrays, arrays])])["p: m, 1"]["diverged"] == 2


@compiled
@pytest.mark.parametrize("cell", [LRU(6), LRU(6, projection=False, recurrence="tanh")])
def test_the_published_gradient_is_wrong_in_one_term_and_no_other(cell):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 3))
    gradients = []
    for method in (RTRL(), ReleasedRTRL()):
        # With lambda 0 the traces are the gradient of v_t; a step of 1e-300 moves nothing.
        learner = TDLambda(cell, 3, lambda_=0.0, optimizer=SGD(1e-300), gradient=method, seed=0)
        learner.parameters["readout.w"][:] = np.random.default_rng(1).standard_normal(learner.cell.spec(3).n_outputs)
        learner.run(x, x[:, 0], progress=False)
        gradients.append({name: trace.copy() for name, trace in learner.traces.items()})
    exact, released = gradients
    for name in exact:
        if name in ("cell.B_re", "cell.B_im"):
            cosine = (exact[name] * released[name]).sum() / np.sqrt(
                (exact[name] ** 2).sum() * (released[name] ** 2).sum()
            )
            assert cosine < 0
        else:
            assert np.array_equal(exact[name], released[name])


def test_the_published_gradient_leaves_other_cells_alone():
    spec = LinearRTU(4).spec(3)
    assert ReleasedRTRL().spec(spec, "float64") == RTRL().spec(spec, "float64")
    assert ReleasedRTRL().spec(GRU(4).spec(3), "float64") == RTRL().spec(GRU(4).spec(3), "float64")


def test_sizes_are_the_largest_within_a_budget():
    cell = prediction.largest(GRU, 10_000, lambda cell: flops(cell, 12, TBPTT(4)))
    assert flops(cell, 12, TBPTT(4)) <= 10_000 < flops(GRU(cell.n_hidden + 1), 12, TBPTT(4))
    assert prediction.largest(GRU, 0, lambda cell: 1) == GRU(1)
    assert prediction.parameters(LinearRTU(5), 12) == 2 * 5 + 2 * 5 * 12


@pytest.mark.parametrize("name", representations.REPRESENTATIONS)
def test_representations_do_not_depend_on_where_a_stream_is_cut(name):
    x = (np.random.default_rng(0).random((300, 3)) < 0.1).astype(float)
    whole = representations.REPRESENTATIONS[name](3)
    parts = representations.REPRESENTATIONS[name](3)
    features = whole(x)
    assert features.shape == (300, whole.n_features)
    assert np.array_equal(features, np.concatenate([parts(x[:1]), parts(x[1:120]), parts(x[120:])]))


def test_a_trace_tells_how_long_ago_a_stimulus_began():
    x = np.zeros((40, 1))
    x[5:9] = 1
    tiles, micro = representations.TileCodedTraces(1)(x), representations.Microstimuli(1)(x)
    assert not tiles[:5].any()
    assert not micro[:5].any()
    assert (tiles[5:20].sum(1) == representations.TILINGS).all()  # one tile of each tiling
    assert len(np.unique(tiles[5:19], axis=0)) == 14  # every step up to the longest ISI looks different
    heights = representations.DECAY ** np.arange(35.0)
    expected = heights * np.exp(-((heights - 0.5) ** 2) / (2 * representations.SIGMA**2))
    assert np.allclose(micro[5:, 4], expected, rtol=1e-12)


@pytest.mark.parametrize("method", [RTRL(), TBPTT(3)])
def test_ready_made_features_have_no_gradient_but_the_readout_s(method):
    report = check_gradients(Identity(), n_inputs=3, steps=15, gradient=method)
    assert report.passed
    assert [check.block for check in report.blocks] == ["readout.w", "readout.b", "x"]
    assert flops(Identity(), 3) == 0


def test_features_ready_made_go_with_a_hidden_readout():
    learner = TDLambda(Identity(), 2, readout=HiddenReadout(3), lambda_=0.0, optimizer=SGD(1e-300), seed=0)
    learner.parameters["readout.w"][:] = [1.0, -2.0, 0.5]
    learner.step([0.3, -0.7], 0.0)
    hidden = np.tanh(np.array([0.3, -0.7]) @ learner.parameters["readout.W_hidden"])
    outer = np.outer([0.3, -0.7], (1 - hidden**2) * [1.0, -2.0, 0.5])
    assert np.allclose(learner.traces["readout.W_hidden"], outer, rtol=1e-12)
