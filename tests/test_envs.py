"""All environments: the checker, determinism, pickling, and one stream however it is read; then each by itself."""

import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from envs import NoisyPatterning, ThreeState, TraceConditioning, TracePatterning
from rtu_np.metrics import returns

IDS = [f"rtu_np/{name}-v0" for name in ("TraceConditioning", "TracePatterning", "NoisyPatterning", "ThreeState")]


@pytest.fixture(params=IDS)
def make(request):
    return lambda **settings: gymnasium.make(request.param, **settings).unwrapped


def stepped(env, n, seed=None):
    """(observations, cumulants) of n steps, one at a time."""
    rows, cumulants = [], []
    if seed is not None:
        rows.append(env.reset(seed=seed)[0])
        cumulants.append(rows[0][0])
    while len(rows) < n:
        observation, reward, terminated, truncated, _ = env.step(0)
        assert not terminated
        assert not truncated
        rows.append(observation)
        cumulants.append(reward)
    return np.array(rows), np.array(cumulants)


def test_gymnasium_s_checker(make):
    check_env(make(), skip_render_check=True)


def test_generated_equals_stepped_however_it_is_cut(make):
    whole, _ = make().generate(700, seed=3)
    one_by_one, cumulants = stepped(make(), 700, seed=3)
    assert np.array_equal(whole, one_by_one)
    env = make()
    parts = [env.generate(1, seed=3)[0], env.generate(250)[0], stepped(env, 99)[0], env.generate(350)[0]]
    assert np.array_equal(np.concatenate(parts), whole)
    assert np.array_equal(cumulants, whole[:, 0])
    assert np.array_equal(make().generate(700, seed=3)[1], cumulants)
    assert whole.any(axis=0).all()  # everything has been on


def test_seeds(make):
    env = make()
    first = env.generate(500, seed=4)[0]
    assert np.array_equal(env.generate(500, seed=4)[0], first)
    assert not np.array_equal(env.generate(500, seed=5)[0], first)
    assert not np.array_equal(make().generate(500)[0], make().generate(500)[0])  # fresh entropy


def test_pickled_in_mid_stream(make):
    env = make()
    env.generate(123, seed=6)
    copy = pickle.loads(pickle.dumps(env))
    assert np.array_equal(env.generate(500)[0], copy.generate(500)[0])


def test_names_and_spaces(make):
    env = make()
    assert len(env.observation_names) == env.n_inputs == env.observation_space.shape[0]
    assert len(set(env.observation_names)) == env.n_inputs
    assert env.observation_space.contains(env.generate(1, seed=0)[0][0])


def test_step_before_reset(make):
    with pytest.raises(gymnasium.error.ResetNeeded):
        make().step(0)


def onsets(column):
    return np.flatnonzero((column > 0) & (np.r_[0.0, column[:-1]] == 0))


def lengths(column):
    """How long each stimulus that ended was on."""
    ends = np.flatnonzero((column == 0) & (np.r_[0.0, column[:-1]] > 0))
    return ends - onsets(column)[: len(ends)]


def assert_uniform(values, low, high):
    """Counts on low ... high within five standard deviations of equal ones, and none elsewhere."""
    assert values.min() >= low
    assert values.max() <= high
    counts, p = np.bincount(values - low, minlength=high - low + 1), 1 / (high - low + 1)
    assert np.abs(counts - p * values.size).max() < 5 * np.sqrt(values.size * p * (1 - p))


def test_trials_of_trace_conditioning():
    env = TraceConditioning(isi=10)
    x, _ = env.generate(400_000, seed=7)
    cs, us = onsets(x[:, 1]), onsets(x[:, 0])
    n = len(us)
    assert abs(len(cs) - n) <= 1
    assert_uniform(us - cs[:n], 7, 13)
    assert_uniform(cs[1:n] - us[: n - 1], 80, 120)
    assert 80 <= cs[0] <= 120
    assert set(lengths(x[:, 1])) == {4}
    assert set(lengths(x[:, 0])) == {2}
    for k in range(10):
        on = x[:, 2 + k]
        assert lengths(on).min() >= 4  # a new one may follow at once
        p = 1 / (10 * (k + 1))
        expected = 4 * p / (1 + 3 * p)  # on 4 steps, then off a geometric time that may be nought: 1/p - 1
        assert abs(on.mean() - expected) < 5 * np.sqrt(expected * 8 / on.size)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_us_follows_activating_patterns(noise):
    env = TracePatterning(noise=noise, pattern_seed=1)
    x, _ = env.generate(300_000, seed=8)
    start = np.flatnonzero(x[:, 1:7].any(1) & ~np.vstack([np.zeros((1, 6)), x[:-1, 1:7]]).any(1))[:-1]
    patterns = x[start, 1:7]
    assert (patterns.sum(1) == 3).all()
    activating = {tuple(p) for p in env.activating_patterns}
    assert len(activating) == 10
    announced = np.array([tuple(p) in activating for p in patterns])
    came = np.array([x[t + 7 : t + 15, 0].any() for t in start])
    flipped = announced != came
    assert abs(announced.mean() - 0.5) < 5 * np.sqrt(0.25 / start.size)
    assert abs(flipped.mean() - noise) <= 5 * np.sqrt(noise * (1 - noise) / start.size)
    assert_uniform(np.unique(patterns[announced], axis=0, return_inverse=True)[1], 0, 9)
    assert_uniform(np.unique(patterns[~announced], axis=0, return_inverse=True)[1], 0, 9)


def test_patterns_belong_to_the_task():
    a, b, c = TracePatterning(pattern_seed=1), TracePatterning(pattern_seed=1), TracePatterning(pattern_seed=2)
    a.reset(seed=1)
    b.reset(seed=2)
    assert np.array_equal(a.activating_patterns, b.activating_patterns)
    assert not np.array_equal(a.activating_patterns, c.activating_patterns)


def test_noisy_patterning_leaves_no_gap():
    env = NoisyPatterning(cs_length=5)
    x, _ = env.generate(100_000, seed=9)
    us = onsets(x[:, 0])
    cs_on = x[:, 1:7].any(1)
    assert len(us) > 300
    assert cs_on[us - 1].all()
    assert not cs_on[us].any()


def test_returns_by_their_definition():
    rng = np.random.default_rng(10)
    c = rng.standard_normal(50)
    expected = [sum(0.9**k * c[t + 1 + k] for k in range(49 - t)) for t in range(50)]
    assert np.allclose(returns(c, 0.9), expected, rtol=1e-12, atol=1e-14)


def monte_carlo(env, x, t, gamma, draws, rng):
    """E[G_t | x_0 ... x_t] by simulating this trial's rest and enough after it, from the words of the task alone."""
    cs, us = onsets(x[: t + 1, 1]), onsets(x[: t + 1, 0])
    last_cs, last_us = (cs[-1] if cs.size else -1), (us[-1] if us.size else -1)
    low, high = env.isi - env.isi // 3, env.isi + env.isi // 3
    totals = []
    for _ in range(draws):
        total, now = 0.0, t
        if last_us >= 0 and last_us == t:
            total += 1.0  # on for one step more
        if last_cs > last_us:
            isi = rng.choice([k for k in range(low, high + 1) if last_cs + k > t])
            us_at = last_cs + isi
        else:
            since = max(last_us, 0)
            cs_at = since + rng.choice([k for k in range(80, 121) if since + k > t])
            us_at = cs_at + rng.integers(low, high + 1)
        while us_at - now < 250:
            total += gamma ** (us_at - t - 1) * (1 + gamma)
            us_at += rng.integers(80, 121) + rng.integers(low, high + 1)
        totals.append(total)
    return np.mean(totals), np.std(totals) / np.sqrt(draws)


def test_the_bayes_prediction_is_the_conditional_expectation():
    env = TraceConditioning(isi=10)
    x, _ = env.generate(600, seed=11)
    bayes = env.bayes_prediction(x)
    rng = np.random.default_rng(12)
    us, cs = onsets(x[:, 0])[1], onsets(x[:, 1])[1]
    for t in (0, 1, 40, 79, cs, cs + 1, cs + 6, us - 1, us, us + 1, us + 2, us + 79, us + 85):
        if t == us - 1 and us - cs == 13:
            continue
        mean, error = monte_carlo(env, x, t, env.gamma, 4000, rng)
        assert abs(bayes[t] - mean) < 5 * error + 1e-9, f"step {t}: {bayes[t]:.4f}, simulated {mean:.4f} +- {error:.4f}"


# Exact, from the variance of the return about its value (docs/derivations.md, after (25)).
FLOORS = {10: 0.012468, 20: 0.015350, 40: 0.021495}


@pytest.mark.parametrize("isi", FLOORS)
def test_the_floor(isi):
    env = TraceConditioning(isi=isi)
    x, cumulants = env.generate(400_000, seed=13)
    target = returns(cumulants, env.gamma)
    errors = ((env.bayes_prediction(x) - target) ** 2)[:-2000]
    blocks = errors[: len(errors) // 100 * 100].reshape(100, -1).mean(1)
    assert abs(errors.mean() - FLOORS[isi]) < 4 * blocks.std() / 10
    others = (target[:-2000] - target.mean()) ** 2
    assert errors.mean() < 0.1 * others.mean()
    shifted = np.r_[0.0, env.bayes_prediction(x)[:-1]]  # one step late is worse
    assert errors.mean() < 0.9 * ((shifted - target) ** 2)[:-2000].mean()


def test_bayes_prediction_of_a_stream_of_another_kind():
    env = TraceConditioning(isi=10)
    with pytest.raises(ValueError, match="a stimulus is overdue"):
        env.bayes_prediction(np.zeros((500, 2)))
    with pytest.raises(ValueError, match="at least two columns"):
        env.bayes_prediction(np.zeros((500, 1)))
    with pytest.raises(ValueError, match="infinite"):
        env.bayes_prediction(np.zeros((50, 2)), gamma=1.0)


def test_the_benchmark_s_discounts():
    assert [TraceConditioning(isi=k).gamma for k in (4, 10, 30, 80)] == [0.75, 0.9, 0.966, 0.9875]
    assert TraceConditioning(isi=25).gamma == 1 - 1 / 25


@pytest.mark.parametrize(
    ("kind", "settings", "error", "message"),
    [
        (TraceConditioning, {"isi": 0}, ValueError, "isi is 0: expected an integer of at least 1"),
        (TraceConditioning, {"isi": 2.5}, TypeError, "isi is 2.5"),
        (TraceConditioning, {"iti": (120, 80)}, ValueError, "are they swapped"),
        (TraceConditioning, {"iti": 80}, TypeError, "expected a pair"),
        (TraceConditioning, {"iti": (3, 80)}, ValueError, "expected at least 5 steps"),
        (TraceConditioning, {"cs_length": 0}, ValueError, "cs_length is 0"),
        (TraceConditioning, {"us_length": -1}, ValueError, "us_length is -1"),
        (TraceConditioning, {"n_distractors": -1}, ValueError, "n_distractors is -1"),
        (TracePatterning, {"n_cs": 5}, ValueError, "expected an even number"),
        (TracePatterning, {"n_cs": 40}, ValueError, "up to 16"),
        (TracePatterning, {"n_activating": 20}, ValueError, "fewer than the 20 patterns"),
        (TracePatterning, {"noise": 1.5}, ValueError, "noise is 1.5"),
        (NoisyPatterning, {"cs_length": 0}, ValueError, "cs_length is 0"),
    ],
)
def test_bad_settings(kind, settings, error, message):
    with pytest.raises(error, match=message):
        kind(**settings)


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (-3, ValueError), (2.0, TypeError)])
def test_bad_number_of_steps(n, error):
    with pytest.raises(error, match="n_steps is"):
        TraceConditioning().generate(n)


def test_every_environment_is_registered():
    assert {f"rtu_np/{name}-v0" for name in envs.__all__ if name[0].isupper()} <= set(gymnasium.registry)


PATTERNING = {
    "trace patterning": TracePatterning(isi=10),
    "with noise": TracePatterning(isi=10, noise=0.2),
    "noisy patterning": NoisyPatterning(),
    "few activating": TracePatterning(isi=5, n_cs=4, n_activating=1, noise=0.05),
}


@pytest.mark.parametrize("name", PATTERNING)
def test_the_bayes_prediction_of_patterning_is_the_conditional_expectation(name):
    """Among all steps that look alike, by kind of pattern and clock, the mean return is what is predicted."""
    env = PATTERNING[name]
    x, cumulants = env.generate(600_000, seed=14)
    bayes, target = env.bayes_prediction(x), returns(cumulants, env.gamma)
    on = x[:, 1 : env.n_stimuli].any(1)
    begins = np.flatnonzero(on & ~np.r_[False, on[:-1]])
    begins = begins[begins < len(x) - 3000]
    activates = (x[begins, None, 1 : env.n_stimuli] == env.activating_patterns).all(2).any(1)
    predicted = set()
    for kind in (True, False):
        for clock in (-1, 0, 1, 3, env.isi - 1, env.isi, env.isi + 1, env.isi + 6, 70, 90):
            rows = begins[activates == kind] + clock
            for value in np.unique(np.round(bayes[rows], 12)):
                alike = target[rows[np.abs(bayes[rows] - value) < 1e-9]]
                predicted.add(value)
                if len(alike) > 200:
                    z = (alike.mean() - value) / (alike.std() / np.sqrt(len(alike)) + 1e-6)
                    assert abs(z) < 5, f"{kind}, {clock}: {alike.mean():.4f}, predicted {value:.4f}, of {len(alike)}"
    assert len(predicted) > 20


def test_noise_of_one_half_leaves_nothing_to_patterns():
    env = TracePatterning(isi=10, noise=0.5)
    x, _ = env.generate(20_000, seed=15)
    swapped = TracePatterning(isi=10, noise=0.5, pattern_seed=1)
    assert np.allclose(env.bayes_prediction(x), swapped.bayes_prediction(x), rtol=0, atol=1e-12)


def test_three_states():
    states = ThreeState().generate(50_000, seed=16)[0].argmax(1)
    at_s3 = np.flatnonzero(states[1:-1] == 2) + 1
    assert (states[at_s3 - 1] == states[at_s3 + 1]).all()
    assert (states[at_s3 - 1] != 2).all()
    elsewhere = np.flatnonzero(states[:-1] != 2)
    shares = np.bincount(states[elsewhere + 1], minlength=3) / len(elsewhere)
    assert np.abs(shares - 1 / 3).max() < 4 * np.sqrt(2 / 9 / len(elsewhere))
