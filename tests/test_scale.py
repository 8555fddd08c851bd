"""Outliers, which an agent can clip, and streams out of scale, of which TD(lambda) warns once."""

import json
import warnings

import numpy as np
import pytest
from agent_cases import World, everything, make
from tolerances import PLAIN, assert_close

from rtu_np import ActorCritic, LinearRTU, TDLambda, run_many
from rtu_np.control.logs import Log
from rtu_np.jit import njit
from rtu_np.learning import normalizers
from rtu_np.numerics.buffers import size

OUTLIER = -9999.0


# ------------------------------------------------------------------------------------------------------------ clipping


@njit
def deviations(flat, rows, limit, out):
    stats, _ = normalizers.statistics(rows.shape[1], flat)
    for t in range(rows.shape[0]):
        normalizers.clip(stats, limit, rows[t])
        normalizers.include(stats, rows[t])
        for i in range(rows.shape[1]):
            out[t, i] = np.sqrt(stats.M[i] / max(stats.n[0] - 1, 1))


def deviation(samples, limit):
    """The running deviation, of samples that are clipped."""
    rows = np.array(samples)[:, None]
    out = np.zeros_like(rows)
    deviations(np.zeros(size(normalizers.statistics, 1)), rows, limit, out)
    return out[:, 0]


def test_one_outlier():
    """Without clipping, one sample of -9999 is in the deviation as 9999 / sqrt(n) from then on."""
    samples = np.random.default_rng(0).standard_normal(20_000)
    clean = deviation(samples, 1e9)[-1]
    samples[1000] = OUTLIER
    assert_close(deviation(samples, 1e9)[-1:], np.array([9999 / np.sqrt(20_000)]), 1e-3)
    assert_close(deviation(samples, 10.0)[-1:], np.array([clean]), 0.01)


def test_clipping_by_the_definition():
    samples = np.random.default_rng(1).standard_t(2, 300)
    samples[:3] = 0.5  # constant so far
    clipped = list(samples[:4])
    for x in samples[4:]:
        mean, sigma = np.mean(clipped), np.sqrt(np.var(clipped, ddof=1) + normalizers.EPSILON)
        clipped.append(np.clip(x, mean - 3 * sigma, mean + 3 * sigma))
    assert np.count_nonzero(samples != clipped) > 5
    assert_close(deviation(samples, 3.0)[-1:], np.array([np.std(clipped, ddof=1)]), PLAIN)


def test_a_stream_that_changes_its_scale_is_followed_within_as_many_samples():
    rng = np.random.default_rng(2)
    samples = np.concatenate([rng.standard_normal(1000), 1e6 * rng.standard_normal(1000)])
    found = deviation(samples, 5.0)
    assert found[999] < 1.1
    assert_close(np.log2(found[-1:] ** 2), np.array([24.0]), 0.02)  # 2^(25 - 1)
    assert deviation(samples, 10.0)[-1] > 1e5
    first = deviation(1e6 * samples[:1000], 5.0)  # and at the start, no unit is expected
    assert_close(first[20:], 1e6 * found[20:1000], 1e-6)


@pytest.mark.parametrize(("limit", "seen"), [(10.0, True), (5.0, False)])
def test_what_is_rarer_than_one_in_limit_squared_is_an_outlier_for_ever(limit, seen):
    samples = np.zeros(50_000)
    samples[::50] = 1.0
    assert (deviation(samples[1:], limit)[-1] > 0.1) == seen  # the true one is 0.14


def stream(n=40):
    rng = np.random.default_rng(3)
    return rng.standard_normal((n, 3)), rng.standard_normal(n)


def test_an_agent_that_clips(tmp_path):
    agents = {limit: make(False, clip_observations=limit) for limit in (None, 1e6, 5.0)}
    xs, rewards = stream()
    for agent in agents.values():
        for x, reward in zip(xs, rewards, strict=True):
            agent.step(x, reward)
    never = agents[1e6]
    assert never.diagnostics()["largest_observation"] > agents[None].diagnostics()["largest_observation"] > 2
    assert everything(never) == everything(agents[None])  # bits do not depend on a clip that is never reached
    assert never.diagnostics()["largest_observation"] == 0

    clips = agents[5.0]
    clips.diagnostics()
    path = clips.save(tmp_path / "agent.npz")
    loaded = ActorCritic.load(path)
    assert loaded.inputs.clip_observations == 5.0
    for agent in (clips, loaded, agents[None]):
        agent.step(np.array([OUTLIER, 0, 0]), 0.0)
    assert everything(clips) == everything(loaded)
    assert abs(clips._views.x[0]) <= 5
    assert 5000 < clips.diagnostics()["largest_observation"] < 20_000
    assert 6 < agents[None].diagnostics()["largest_observation"] < 7  # sqrt(41): no sample is farther from its own mean
    clips.act(np.array([OUTLIER, 0, 0]))
    at_limit = clips._acting.copy()
    clips.reset()
    clips.act(np.array([10 * OUTLIER, 0, 0]))
    assert clips._acting[0] == at_limit[0]
    assert_close(at_limit[:1], np.array([-5.0]), 1e-9)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"clip_observations": 0.5}, ValueError, r"clip_observations is 0.5: expected a finite number in \[1.0, inf\)"),
        ({"clip_observations": True}, TypeError, "clip_observations is True"),
        (
            {"clip_observations": 5, "normalize_observations": False},
            ValueError,
            "clip_observations is 5.0 with normalize_observations=False: expected None",
        ),
    ],
)
def test_settings_of_clipping(settings, error, message):
    with pytest.raises(error, match=message):
        make(False, **settings)


def test_checkpoints_and_logs_of_versions_that_did_not_clip(tmp_path):
    agent = make(False)
    agent.learn(World(False), 3, progress=False, log=None)
    agent.diagnostics()
    path = agent.save(tmp_path / "agent.npz")
    with np.load(path) as file:
        arrays = dict(file)
    page = json.loads(arrays.pop("settings.json").tobytes())
    del page["settings"]["clip_observations"]
    older = tmp_path / "older.npz"
    np.savez(older, **{"settings.json": np.frombuffer(json.dumps(page).encode(), np.uint8)}, **arrays)
    loaded = ActorCritic.load(older)
    assert loaded.inputs.clip_observations is None
    assert everything(loaded) == everything(agent)
    assert ActorCritic.load(older, clip_observations=10).inputs.clip_observations == 10

    with Log(tmp_path / "log", agent, World(False), 10):
        pass
    table = tmp_path / "log" / "learning.csv"
    columns = table.read_text().strip().split(",")
    older_columns = [name for name in columns if name != "largest_observation"]
    table.write_text(f"{','.join(older_columns)}\n{','.join(['2'] * len(older_columns))}\n")
    with Log(tmp_path / "log", agent, World(False), 10):
        pass
    assert table.read_text().splitlines()[1].split(",") == [
        "" if name == "largest_observation" else "2" for name in columns
    ]


# ------------------------------------------------------------------------------------------------- streams out of scale


def td(n_inputs=2, **settings):
    return TDLambda(LinearRTU(3), n_inputs, **settings)


ONES = np.ones(200)
NOISE = np.random.default_rng(4).standard_normal(200)


@pytest.mark.parametrize(
    ("x", "c", "message"),
    [
        (1e5 * ONES, 1e5 * ONES, r"observations\[:, 1\] of mean 1e\+05 and deviation 0, cumulants of mean 1e\+05"),
        (
            300 + NOISE,
            NOISE,
            r"first 200 steps the stream has observations\[:, 1\] of mean 3e\+02 and deviation 1\.?\d*: ",
        ),
        (NOISE, 1e3 * NOISE, r"cumulants of mean .* and deviation 1e\+03"),
        (NOISE, 1e-5 * NOISE, r"cumulants of mean .* and deviation 1e-05"),
        (1e160 * ONES, NOISE, r"observations\[:, 1\]"),
    ],
)
def test_a_stream_out_of_scale_is_named_once(x, c, message):
    learner, observations = td(), np.stack([ONES, x], 1)
    with pytest.warns(UserWarning, match=message) as caught:
        learner.run(observations, c, progress=False)
    assert caught[0].filename == __file__
    learner.run(observations, c, progress=False)


def test_steps_one_by_one_are_seen_together():
    learner = td()
    for _ in range(99):
        learner.step([1.0, 1e3], 1.0)
    watched = learner._run
    with pytest.warns(UserWarning, match=r"in its first 100 steps .* observations\[:, 1\] of mean 1e\+03") as caught:
        learner.step([1.0, 1e3], 1.0)
    assert caught[0].filename == __file__
    assert learner._run is not watched  # later steps pay nothing
    for _ in range(200):
        learner.step([1.0, 1e3], 1.0)


def test_the_warning_changes_nothing_and_can_be_an_error():
    quiet, strict = td(), td()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = quiet.run(np.stack([ONES, 1e3 * ONES], 1), ONES, progress=False)
    before = everything(strict)
    with pytest.raises(UserWarning, match="normalize=True"):  # pytest makes errors of warnings
        strict.run(np.stack([ONES, 1e3 * ONES], 1), ONES, progress=False)
    assert everything(strict) == before
    assert np.array_equal(strict.run(np.stack([ONES, 1e3 * ONES], 1), ONES, progress=False), expected)


def test_many_learners(tmp_path):
    learners = [td(seed=seed) for seed in range(3)]
    with pytest.warns(UserWarning, match="observations"):
        run_many(learners, np.full((200, 2), 1e3), ONES, progress=False)
    learners[0].save(tmp_path / "td.npz")
    TDLambda.load(tmp_path / "td.npz").run(np.full((200, 2), 1e3), ONES, progress=False)  # in mid-stream; seen before


def test_ordinary_streams_are_silent():
    """One-hot, binary, rare, constant and bias inputs, all zeros, angles and velocities, scaled cumulants."""
    rng = np.random.default_rng(5)
    columns = [
        *np.eye(4)[rng.integers(4, size=200)].T,
        (rng.random(200) < 0.5).astype(float),
        (np.arange(200) == 150).astype(float),
        ONES,
        0 * ONES,
        10 * NOISE,
        np.pi * rng.random(200),
    ]
    for cumulants in (0 * ONES, ONES, -16 * rng.random(200), (1 - 0.999) * ONES, 10 * NOISE):
        td(len(columns)).run(np.stack(columns, 1), cumulants, progress=False)
