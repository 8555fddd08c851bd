"""The arm of two links: its dynamics by an oracle that shares no code, and a goal that is shown once."""

import copy
import pickle

import gymnasium
import numpy as np
import pytest
from planted_tasks import planted

from envs import ReacherPOMDP


def oracle(theta, omega, goal, actions):
    """(observations, rewards) after each action: complex numbers, from the words of the task alone."""
    theta, omega, rows, rewards = np.array(theta), np.array(omega), [], []
    for action in np.clip(np.asarray(actions, float), -1, 1):
        omega = omega + action / 20
        theta = theta + omega / 20
        links = np.exp(1j * theta)
        rewards.append(np.exp(-(abs(links.sum() - complex(*goal)) ** 2)))
        rows.append([*links.real, *links.imag, *omega, 0, 0])
    return np.array(rows), np.array(rewards)


def start(first):
    """Angles, velocities and goal, from the first observation, which shows them all."""
    return np.arctan2(first[2:4], first[0:2]), first[4:6], first[6:8]


def judge(kind, length=100):
    """AssertionError if an environment is not the task."""
    env, rng = kind(length), np.random.default_rng(0)
    for seed in range(5):
        first = env.reset(seed=seed)[0]
        actions = rng.uniform(-1.5, 1.5, (length, 2))
        steps = [env.step(action) for action in actions]
        observations, rewards, terminated, truncated, _ = zip(*steps, strict=True)
        expected, paid = oracle(*start(first.astype(float)), actions)
        # The first observation is in float32, so what follows from it is known to 1e-7 or so, times the steps.
        assert np.allclose(observations, expected, rtol=0, atol=3e-5)
        assert np.allclose(rewards, paid, rtol=0, atol=3e-5)
        assert min(np.ptp(rewards), *np.ptp(expected[:, :6], axis=0)) > 1e-2, "a test of nothing"
        assert np.abs(first[6:8]).min() > 1e-3
        assert not any(terminated)
        assert truncated == (False,) * (length - 1) + (True,)


def test_the_oracle_s_dynamics():
    judge(ReacherPOMDP)
    judge(ReacherPOMDP, 40)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("DT = 0.05", "DT = 0.06"),
        ("x * x + y * y", "abs(x) + abs(y)"),
        ("math.exp(-(x * x + y * y))", "math.exp(-math.sqrt(x * x + y * y))"),
        ("    state[_T] += 1\n", "    state[_T] += 1\n    observation[_TARGET] = state[_GOAL]\n"),
        ("        observation[_TARGET + i] = state[_GOAL + i]\n", ""),
        ("DT * state[_OMEGA + i]", "DT * (state[_OMEGA + i] - DT * float(action[i]))"),
        ("min(max(float(action[i]), -1.0), 1.0)", "float(action[i])"),
        ("math.cos(state[_THETA + i])\n        y", "math.cos(state[_THETA + i] + i * state[_THETA])\n        y"),
        ("False, bool(state[_T] >= dynamics.length)", "bool(state[_T] >= dynamics.length), False"),
        ("state[_T] >= dynamics.length", "state[_T] > dynamics.length"),
        ("observation[_VELOCITY + i] = state[_OMEGA + i]", "observation[_VELOCITY + i] = state[_THETA + i]"),
    ],
)
def test_planted_bugs_are_found(old, new):
    with pytest.raises(AssertionError):
        judge(planted("reacher_pomdp.py", old, new).ReacherPOMDP)


def test_starts_are_uniform():
    env = ReacherPOMDP()
    env.reset(seed=0)
    first = np.array([env.reset()[0] for _ in range(4000)], float)
    theta, omega, goal = np.arctan2(first[:, 2:4], first[:, 0:2]), first[:, 4:6], first[:, 6:8]
    for numbers, high in ((theta, np.pi), (omega, 1), (goal, 2)):
        assert np.abs(numbers).max() <= high + 1e-6
        for column in numbers.T:  # Kolmogorov and Smirnov's statistic
            gaps = np.sort(column) - np.linspace(-high, high, len(column))
            assert np.abs(gaps).max() < 1.95 / np.sqrt(len(column)) * 2 * high
    independent = np.corrcoef(np.hstack([theta, omega, goal]).T) - np.eye(6)
    assert np.abs(independent).max() < 0.08


def test_observations_lie_in_their_space():
    env = gymnasium.make("rtu_np/ReacherPOMDP-v0")
    for seed, sign in enumerate((-1, 1)):
        seen = [env.reset(seed=seed)[0]]
        env.unwrapped.state[2:4] = sign * (1 - 1e-16)
        seen += [env.step(np.full(2, sign, np.float32))[0] for _ in range(100)]
        assert all(each in env.observation_space for each in seen)
        assert abs(seen[-1][4]) > 5.99


def test_copies_and_pickles_go_on_alike():
    env = ReacherPOMDP()
    env.reset(seed=3)
    env.step(np.array([1, -1], np.float32))
    for other in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        there = copy.deepcopy(env)
        for _ in range(3):
            one, two = (each.step(np.array([0.5, 1], np.float32)) for each in (there, other))
            assert one[0].tobytes() == two[0].tobytes()
            assert one[1:] == two[1:]
        assert np.array_equal(there.reset()[0], other.reset()[0])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"length": 0}, ValueError, "length is 0: expected an integer of at least 1 and at most 1000000; the goal"),
        ({"length": 10**12}, ValueError, "length is 1000000000000: expected an integer of at least 1 and at most"),
        ({"length": 2.5}, TypeError, "length is 2.5 of type float: expected an integer"),
        ({"length": True}, TypeError, "length is True"),
    ],
)
def test_sizes_out_of_range_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        ReacherPOMDP(**settings)


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (np.zeros(3), ValueError, r"action has shape \(3,\): expected \(2,\); the accelerations of both links"),
        (1.0, ValueError, "action has shape"),
        (np.array([0, np.nan]), ValueError, r"action\[1\] is nan"),
        (["left", "right"], TypeError, "action has dtype"),
    ],
)
def test_actions_that_are_refused(action, error, message):
    env = ReacherPOMDP()
    env.reset(seed=0)
    before = env.state.copy()
    with pytest.raises(error, match=message):
        env.step(action)
    assert np.array_equal(env.state, before)
    with pytest.raises(gymnasium.error.ResetNeeded, match="outside an episode"):
        ReacherPOMDP().step(np.zeros(2))
