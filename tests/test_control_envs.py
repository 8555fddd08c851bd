"""Environments in which there is something to do: what is hidden stays hidden, and memory is what they ask for."""

import logging
import pickle
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs import KMemoryChain, MemoryChain, TMaze, popgym
from envs.masked import TASKS

ROOT = Path(__file__).parent.parent
CONTROL = [
    *(f"rtu_np/{name}-{keep}-v0" for name, task in TASKS.items() for keep in task.keep),
    *(f"rtu_np/{name}-v0" for name in ("MemoryChain", "KMemoryChain", "TMaze", "ReacherPOMDP", "ReacherPOMDP-MuJoCo")),
    *(f"rtu_np/{name}Easy-v0" for name in popgym.FAMILIES),
]
# Written down by hand: what -P and -V keep, and of how many entries.
KEPT = {
    "Ant": (range(13), range(13, 27)),
    "HalfCheetah": (range(8), range(8, 17)),
    "Hopper": (range(5), range(5, 11)),
    "Walker2d": (range(8), range(8, 17)),
    "Humanoid": (range(22), range(22, 45)),
    "Reacher": ([0, 1, 2, 3, 4, 5, 8, 9], [6, 7]),
    "InvertedPendulum": ([0, 1], [2, 3]),
}


@pytest.fixture(params=CONTROL)
def make(request):
    return lambda **settings: gymnasium.make(request.param, **settings)


@pytest.mark.filterwarnings("ignore::UserWarning")  # that it is wrapped, and that its bounds are infinite
def test_gymnasium_s_checker(make):
    check_env(make(disable_env_checker=True), skip_render_check=True)


def rollout(env, n, seed):
    rng, space = np.random.default_rng(seed), env.action_space
    seen = [env.reset(seed=seed)[0]]
    for _ in range(n):
        if isinstance(space, gymnasium.spaces.Box):
            action = rng.uniform(space.low, space.high).astype(np.float32)
        else:
            action = rng.integers(getattr(space, "nvec", getattr(space, "n", None)))
        observation, _, terminated, truncated, _ = env.step(action)
        seen.append(observation)
        if terminated or truncated:
            seen.append(env.reset()[0])
    return seen


def test_seeds(make):
    first, again, other = rollout(make(), 50, 1), rollout(make(), 50, 1), rollout(make(), 50, 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=False))


def test_observations_are_not_written_again(make):
    env = make()
    observation, _ = env.reset(seed=0)
    seen, copies = [observation], [observation.copy()]
    for _ in range(5):
        observation, *_ = env.step(env.action_space.sample())
        seen.append(observation)
        copies.append(observation.copy())
    env.reset()
    assert all(np.array_equal(a, b) for a, b in zip(seen, copies, strict=True))


def test_made_again_from_its_spec(make):
    env = make()
    again = gymnasium.make(env.spec)
    assert str(again) == str(env)
    assert again.observation_space == env.observation_space


def test_time_limits_are_gymnasium_s():
    for name, task in TASKS.items():
        assert gymnasium.spec(f"rtu_np/{name}-P-v0").max_episode_steps == gymnasium.spec(task.base).max_episode_steps


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept(name):
    for keep, expected in zip("PV", KEPT[name], strict=True):
        env = gymnasium.make(f"rtu_np/{name}-{keep}-v0")
        assert env.get_wrapper_attr("indices").tolist() == list(expected)
        assert env.observation_space.shape == (len(expected),)
        whole = gymnasium.make(TASKS[name].base, **TASKS[name].settings)
        assert np.array_equal(env.reset(seed=1)[0], whole.reset(seed=1)[0][list(expected)])
    assert sorted([*KEPT[name][0], *KEPT[name][1]]) == list(range(whole.observation_space.shape[0]))


@pytest.mark.parametrize("name", KEPT)
def test_velocities_are_hidden_and_positions_are_shown(name):
    """Every velocity is changed by itself, and nothing of -P changes; every position, and nothing of -V does."""
    for keep, hidden, shown in (("P", "qvel", "qpos"), ("V", "qpos", "qvel")):
        env = gymnasium.make(f"rtu_np/{name}-{keep}-v0", disable_env_checker=True)
        env.reset(seed=1)
        robot = env.unwrapped
        qpos, qvel = robot.data.qpos.copy(), robot.data.qvel.copy()

        def observe(part, entry, env=env, robot=robot, qpos=qpos, qvel=qvel):
            state = {"qpos": qpos.copy(), "qvel": qvel.copy()}
            if part:
                state[part][entry] += 0.1
            robot.set_state(state["qpos"], state["qvel"])
            return env.get_wrapper_attr("observation")(robot._get_obs())

        before = observe("", 0)
        for entry in range(getattr(robot.data, hidden).size):
            assert np.array_equal(observe(hidden, entry), before), f"{hidden}[{entry}] shows"
        changed = [not np.array_equal(observe(shown, k), before) for k in range(getattr(robot.data, shown).size)]
        reacher = name == "Reacher" and keep == "P"  # four coordinates, shown as eight numbers
        assert sum(changed) == (4 if reacher else env.observation_space.shape[0])


@pytest.mark.parametrize(("name", "hidden"), [("CartPole", [1, 3]), ("Pendulum", [1])])
def test_classic_velocities_are_hidden(name, hidden):
    env = gymnasium.make(f"rtu_np/{name}-P-v0", disable_env_checker=True)
    first, _ = env.reset(seed=0)
    inner = env.unwrapped
    state = np.array(inner.state)
    state[hidden] += 1.0
    inner.state = state
    whole = inner._get_obs() if name == "Pendulum" else state.astype(np.float32)
    assert np.array_equal(env.get_wrapper_attr("observation")(whole), first)


def test_the_published_mask_of_halfcheetah():
    shown = {
        keep: gymnasium.make(f"rtu_np/HalfCheetah-{keep}-v0", mask="published").get_wrapper_attr("indices").tolist()
        for keep in "PV"
    }
    assert shown == {"P": list(range(9)), "V": list(range(9, 17))}
    env = gymnasium.make("rtu_np/HalfCheetah-P-v0", mask="published")
    env.reset(seed=0)
    observation, _, _, _, info = env.step(env.action_space.high)
    assert abs(observation[8] - info["x_velocity"]) < 1.0  # at the step's end, and its mean
    assert observation[8] == env.unwrapped.data.qvel[0]


def test_settings_go_to_the_task():
    env = gymnasium.make("rtu_np/Ant-P-v0", reset_noise_scale=0.0, exclude_current_positions_from_observation=False)
    observation, _ = env.reset()
    assert np.array_equal(observation, env.unwrapped.init_qpos)
    env = gymnasium.make("rtu_np/Hopper-V-v0", max_episode_steps=3, healthy_reward=7.0)
    env.reset(seed=0)
    steps = [env.step(env.action_space.high) for _ in range(3)]
    assert [step[3] for step in steps] == [False, False, True]
    assert steps[0][4]["reward_survive"] == 7.0


@pytest.mark.parametrize(
    ("id", "settings", "error", "message"),
    [
        ("HalfCheetah-P", {"mask": "off by one"}, ValueError, "mask is 'off by one': expected one of 'exact', 'publ"),
        ("Hopper-P", {"mask": "published"}, ValueError, "differ for HalfCheetah only"),
        ("Ant-P", {"keep": "Q"}, ValueError, "keep is 'Q': expected one of 'P', 'V'"),
        ("Ant-P", {"gravity": 3}, TypeError, "gravity"),
        ("MemoryChain", {"length": 0}, ValueError, "length is 0: expected an integer of at least 1"),
        ("MemoryChain", {"length": 2.0}, TypeError, "length is 2.0"),
        ("MemoryChain", {"timing": "gymnax"}, ValueError, "timing is 'gymnax': expected one of 'lag-free', 'bsuite'"),
        ("KMemoryChain", {"k": 0}, ValueError, "k is 0"),
        ("TMaze", {"length": 0}, ValueError, "length is 0: expected an integer of at least 1"),
        ("ReacherPOMDP-MuJoCo", {"gravity": 3}, TypeError, "gravity"),
        ("BattleshipEasy", {"task": "Chess"}, ValueError, "task is 'Chess': expected one of 'AutoencodeEasy'"),
        (
            "RepeatFirstEasy",
            {"level": "Expert"},
            ValueError,
            "level is 'Expert': expected one of 'Easy', 'Medium', 'Hard'",
        ),
    ],
)
def test_bad_settings(id, settings, error, message):
    with pytest.raises(error, match=message):
        gymnasium.make(f"rtu_np/{id}-v0", **settings)


def test_mujoco_s_warnings_are_logged(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG, logger="mujoco")
    env = gymnasium.make("rtu_np/HalfCheetah-P-v0", disable_env_checker=True)
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]
    env.reset(seed=0)
    env.unwrapped.data.qvel[3] = np.nan
    env.step(np.zeros(6, np.float32))
    assert any("Nan" in each.message for each in caplog.records if each.levelno == logging.WARNING)
    assert list(tmp_path.iterdir()) == []


def test_importing_brings_neither_mujoco_nor_popgym():
    code = "import envs, sys; print([m for m in ('mujoco', 'popgym', 'pygame', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_memory_chain_step_by_step():
    """Both timings, every observation written out: (time remaining, query, cue)."""
    for timing, times, cues in (
        ("lag-free", [1, 0.75, 0.5, 0.25, 0, 0], [1, 0, 0, 0, 0, 0]),
        ("bsuite", [1, 1, 0.75, 0.5, 0.25, 0], [1, 1, 0, 0, 0, 0]),
    ):
        env = MemoryChain(length=4, timing=timing)
        for seed in range(6):
            rows, rewards, ends = [env.reset(seed=seed)[0]], [], []
            bit = int(rows[0][2] > 0)
            for k in range(5):
                observation, reward, terminated, truncated, _ = env.step(bit if seed % 2 else 1 - bit)
                rows.append(observation)
                rewards.append(reward)
                ends.append(terminated)
                assert not truncated, k
            assert np.array(rows)[:, 0].tolist() == times
            assert (np.array(rows)[:, 1] == 0).all()
            assert np.array(rows)[:, 2].tolist() == [(2 * bit - 1) * cue for cue in cues]
            assert rewards == [0, 0, 0, 0, 1 if seed % 2 else -1]
            assert ends == [False] * 4 + [True]


def test_k_memory_chain_step_by_step():
    for timing in ("lag-free", "bsuite"):
        env = KMemoryChain(length=4, k=3, timing=timing)
        asked = set()
        for seed in range(20):
            rows = [env.reset(seed=seed)[0]]
            rows += [env.step(0)[0] for _ in range(4)]
            queries, bits = np.array(rows)[:, 1:4], np.array(rows)[:, 4:]
            assert set(np.abs(bits[0])) == {1}
            seen = 2 if timing == "bsuite" else 1
            assert (bits[:seen] == bits[0]).all()
            assert not bits[seen:].any()
            assert queries.sum(1).tolist() == [0, 0, 0, 0, 1]
            which = int(queries[4].argmax())
            asked.add(which)
            answer = int(bits[0, which] > 0)
            observation, reward, terminated, _, _ = env.step(answer)
            assert (reward, terminated) == (1, True)
            assert not observation.any()
        assert asked == {0, 1, 2}


def episodes(env, act, n=400):
    """Mean return of `act(observation, memory)`, whose memory is a dictionary that an episode begins empty."""
    total, observation = 0.0, env.reset(seed=5)[0]
    for _ in range(n):
        memory, over = {}, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(act(observation, memory))
            total, over = total + reward, terminated or truncated
        observation, _ = env.reset()
    return total / n


@pytest.mark.parametrize("timing", ["lag-free", "bsuite"])
@pytest.mark.parametrize("length", [1, 2, 7])
def test_chains_ask_for_memory(timing, length):
    def remember(observation, memory):
        k = (len(observation) - 1) // 2
        bits, query = observation[-k:], observation[1 : 1 + k]
        memory.setdefault("bits", bits)
        return int(memory["bits"][query.argmax()] > 0)

    def look(observation, memory):
        return remember(observation, {})

    for env in (MemoryChain(length, timing), KMemoryChain(length, 3, timing)):
        assert episodes(env, remember) == 1.0
        shown = timing == "bsuite" and length == 1  # the cue is still there at the last action
        assert episodes(env, look) == 1.0 if shown else abs(episodes(env, look)) < 0.2


def test_chains_out_of_order():
    env = MemoryChain(length=1)
    with pytest.raises(gymnasium.error.ResetNeeded, match="outside an episode"):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action is 2: expected 0 or 1"):
        env.step(2)
    env.step(0)
    env.step(0)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
    env.reset(seed=0)
    copy = pickle.loads(pickle.dumps(env))
    assert [each[1:3] for each in (copy.step(1), copy.step(1))] == [each[1:3] for each in (env.step(1), env.step(1))]


def test_t_maze_step_by_step():
    north, east, south, west = range(4)
    env = TMaze(length=3)
    signs = {}
    for seed in range(8):
        sign = tuple(env.reset(seed=seed)[0])
        # against three walls, one step back, and to the sign again
        walk = [(north, sign, -0.1), (west, sign, -0.1), (east, (1, 0, 1), 0), (south, (1, 0, 1), -0.1)]
        walk += [(west, sign, 0), (east, (1, 0, 1), 0), (east, (1, 0, 1), 0), (east, (0, 1, 0), 0)]
        walk += [(east, (0, 1, 0), -0.1), (west, (1, 0, 1), 0), (east, (0, 1, 0), 0)]
        for action, seen, reward in walk:
            observation, *rest = env.step(action)
            assert (tuple(observation), *rest) == (seen, reward, False, False, {})
        _, reward, terminated, truncated, _ = env.step(north)
        assert (terminated, truncated) == (True, False)
        assert signs.setdefault(sign, reward) == reward
    assert signs == {(0, 1, 1): 4.0, (1, 1, 0): -0.1}


def test_t_maze_asks_for_memory():
    def remember(observation, memory):
        sign = memory.setdefault("sign", observation)
        return 1 if tuple(observation) != (0, 1, 0) else int(2 * sign[0])

    for length in (1, 6):
        assert episodes(TMaze(length), remember) == 4.0
        assert abs(episodes(TMaze(length), lambda seen, _: remember(seen, {})) - 1.95) < 0.45


def test_t_maze_out_of_order():
    env = TMaze(length=2)
    with pytest.raises(gymnasium.error.ResetNeeded, match="outside an episode"):
        env.step(1)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action is 4: expected 0, 1, 2 or 3"):
        env.step(4)
    assert [env.step(3)[2:4] for _ in range(30)] == [(False, False)] * 29 + [(False, True)]
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(1)


def test_the_target_is_seen_once():
    """Two arms that differ by their target alone are seen alike from the second observation on."""
    envs = [gymnasium.make("rtu_np/ReacherPOMDP-MuJoCo-v0") for _ in range(2)]
    whole = gymnasium.make("Reacher-v5")
    rng = np.random.default_rng(0)
    for seed in range(3):
        first = [env.reset(seed=seed)[0] for env in envs]
        assert np.array_equal(first[0], first[1])
        assert np.array_equal(first[0], whole.reset(seed=seed)[0])
        assert first[0][[4, 5, 8, 9]].all()
        arm = envs[1].unwrapped
        qpos = arm.data.qpos.copy()
        qpos[2:] = rng.uniform(-0.1, 0.1, 2)
        arm.set_state(qpos, arm.data.qvel.copy())
        for _ in range(50):
            action = rng.uniform(-1, 1, 2).astype(np.float32)
            (seen, reward, *_), (other, another, *_) = (env.step(action) for env in envs)
            assert np.array_equal(seen, other)
            assert reward != another  # as the targets do differ
            everything = whole.step(action)[0]
            assert np.array_equal(seen[[0, 1, 2, 3, 6, 7]], everything[[0, 1, 2, 3, 6, 7]])
            assert not seen[[4, 5, 8, 9]].any()
