"""Captured in mid-episode, written down, read back and restored: the rest is what it would have been, bit for bit."""

import io
import json

import gymnasium
import numpy as np
import pytest

from envs.masked import log_warnings
from envs.snapshot import Snapshot, capture, restore

SETTINGS = {"rtu_np/MemoryChain-v0": {"length": 50}, "rtu_np/KMemoryChain-v0": {"length": 50}}
IDS = [id for id in gymnasium.registry if id.startswith("rtu_np/")]
ROBOTS = [f"{robot}-v5" for robot in ("Ant", "HalfCheetah", "Hopper", "Walker2d", "Humanoid", "Reacher")]


def actions(env, n):
    rng, space = np.random.default_rng(1), env.action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        return rng.integers(space.n, size=n).tolist()
    return rng.uniform(space.low, space.high, (n, *space.shape)).astype(space.dtype)


def follow(env, actions):
    """All that is returned, as bytes."""
    seen = []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        seen.append((observation.tobytes(), np.float64(reward).tobytes(), terminated, truncated))
        if terminated or truncated:
            seen.append(env.reset()[0].tobytes())
    return seen


def written_and_read(snapshot):
    file = io.BytesIO()
    np.savez(file, **snapshot.arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return Snapshot(json.loads(json.dumps(snapshot.settings)), dict(arrays))


@pytest.mark.parametrize("id", [*IDS, *ROBOTS])
def test_goes_on_bit_for_bit(id):
    log_warnings()  # the robots themselves would write a file

    def make():
        return gymnasium.make(id, max_episode_steps=110, **SETTINGS.get(id, {}))

    env = make()
    moves = actions(env, 237)
    env.reset(seed=3)
    follow(env, moves[:37])
    snapshot = written_and_read(capture(env))
    unbroken = follow(env, moves[37:])
    assert any(isinstance(each, bytes) for each in unbroken)  # an episode has ended, and another begun
    assert len(set(unbroken)) > 5
    fresh = make()
    restore(fresh, snapshot)
    assert follow(fresh, moves[37:]) == unbroken
    restore(env, snapshot)  # into one that is somewhere else
    assert follow(env, moves[37:]) == unbroken


@pytest.mark.parametrize("robot", ["Ant-v5", "Humanoid-v5"])
def test_mujoco_s_own_state_would_not_do(robot):
    """The red example: what MuJoCo calls its full physics state gives another first reward."""
    import mujoco

    env = gymnasium.make(robot)
    moves = actions(env, 40)
    env.reset(seed=3)
    follow(env, moves[:37])
    model, data = env.unwrapped.model, env.unwrapped.data
    whole = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(model, whole))
    mujoco.mj_getState(model, data, state, whole)
    snapshot = capture(env)
    unbroken = follow(env, moves[37:38])
    env.reset(seed=4)
    mujoco.mj_setState(model, data, state, whole)
    mujoco.mj_forward(model, data)
    assert follow(env, moves[37:38]) != unbroken
    restore(env, snapshot)
    assert follow(env, moves[37:38]) == unbroken


def test_clock_and_generator_are_needed():
    """The red example of the others: with either as of an earlier step, the first test would fail."""
    env = gymnasium.make("rtu_np/KMemoryChain-v0", length=50)
    moves = actions(env, 237)
    env.reset(seed=4)
    early = capture(env)
    env.reset(seed=3)
    follow(env, moves[:37])
    late = capture(env)
    unbroken = follow(env, moves[37:])
    for name in ("_t", "_np_random"):
        settings = json.loads(json.dumps(late.settings))
        settings["layers"][-1][name] = early.settings["layers"][-1][name]
        restore(env, Snapshot(settings, late.arrays))
        assert settings != late.settings
        assert follow(env, moves[37:]) != unbroken, name


def test_wrappers_that_hold_data():
    def make():
        env = gymnasium.wrappers.NormalizeObservation(gymnasium.make("rtu_np/CartPole-P-v0"))
        env = gymnasium.wrappers.TransformReward(env, np.tanh)
        return gymnasium.wrappers.RecordEpisodeStatistics(env, buffer_length=5)

    env = make()
    moves = actions(env, 300)
    env.reset(seed=3)
    follow(env, moves[:137])
    snapshot = written_and_read(capture(env))
    unbroken, returns = follow(env, moves[137:]), list(env.return_queue)
    fresh = make()
    restore(fresh, snapshot)
    assert follow(fresh, moves[137:]) == unbroken
    assert list(fresh.return_queue) == returns
    assert fresh.return_queue.maxlen == 5


def test_before_the_first_reset():
    env = gymnasium.make("rtu_np/MemoryChain-v0")
    restore(env, capture(env))
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)


def started(id, **settings):
    env = gymnasium.make(id, **settings)
    env.reset(seed=0)
    return env


@pytest.mark.parametrize(
    "other",
    [
        lambda: started("rtu_np/MemoryChain-v0", length=9),
        lambda: started("rtu_np/KMemoryChain-v0"),
        lambda: started("rtu_np/MemoryChain-v0", disable_env_checker=True),
    ],
)
def test_of_another_environment(other):
    with pytest.raises(ValueError, match="make the environment with the same id, settings and wrappers"):
        restore(other(), capture(started("rtu_np/MemoryChain-v0")))


def test_what_is_not_data_is_named():
    env = started("rtu_np/MemoryChain-v0")
    env.unwrapped.lock = (number for number in range(3))
    with pytest.raises(
        ValueError, match=r"cannot be captured in mid-episode: 2\.MemoryChain\.lock is a builtins\.generator"
    ):
        capture(env)


@pytest.mark.parametrize("name", ["data.qpos", "data.xpos"])
def test_of_another_model(name):
    env = started("rtu_np/Hopper-P-v0")
    snapshot = capture(env)
    (path,) = (path for path in snapshot.arrays if path.endswith(name))
    cut = Snapshot(snapshot.settings, {**snapshot.arrays, path: np.zeros(3)})
    qpos = env.unwrapped.data.qpos
    env.step(env.action_space.high)
    with pytest.raises(ValueError, match=name.split(".")[1]):
        restore(env, cut)
    assert np.isfinite(qpos).all()
    with pytest.raises(ValueError, match="another version of MuJoCo"):
        restore(env, Snapshot(snapshot.settings, {k: v for k, v in snapshot.arrays.items() if k != path}))


def test_of_another_version_of_mujoco():
    env = started("rtu_np/Hopper-P-v0")
    snapshot = written_and_read(capture(env))
    snapshot.settings["layers"][-1]["data"]["version"] = "3.0.0"
    with pytest.warns(UserWarning, match=r"captured with MuJoCo 3\.0\.0"):
        restore(env, snapshot)


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"attributes": {"entry_point": "os:getcwd"}}},  # what gymnasium.make would import and call
        {"step": {"attributes": {}}},
        {"action_space": 3},
        {"_rows": {"array": "nothing of that name"}},
        {"_t": {"enum": "os"}},
        {"_t": {"attributes": {"real": 1}}},
        {"_t": {"nonsense": []}},
    ],
)
def test_tampered_with(change):
    env = started("rtu_np/MemoryChain-v0")
    snapshot = capture(env)
    layers = [*snapshot.settings["layers"][:-1], {**snapshot.settings["layers"][-1], **change}]
    spec = str(env.unwrapped.spec)
    with pytest.raises(ValueError, match=r"tampered|damaged"):
        restore(env, Snapshot({**snapshot.settings, "layers": layers}, snapshot.arrays))
    assert str(env.unwrapped.spec) == spec


def test_cut_short():
    env = started("rtu_np/MemoryChain-v0")
    with pytest.raises(ValueError, match="damaged"):
        restore(env, Snapshot({"environment": capture(env).settings["environment"]}, {}))
