"""Captured in mid-episode, written down, read back and restored: the rest is what it would have been, bit for bit."""

import io
import json
import re
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.mujoco import MujocoEnv

from envs.masked import log_warnings
from envs.snapshot import Snapshot, capture, restore

SETTINGS = {"rtu_np/MemoryChain-v0": {"length": 50}, "rtu_np/KMemoryChain-v0": {"length": 50}}
IDS = [id for id in gymnasium.registry if re.match("rtu_np/(?!.*(Medium|Hard|Stateless))", id)]
ROBOTS = [f"{robot}-v5" for robot in ("Ant", "HalfCheetah", "Hopper", "Walker2d", "Humanoid", "Reacher")]


def actions(env, n):
    rng, space = np.random.default_rng(1), env.action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        return rng.integers(space.n, size=n).tolist()
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        return rng.integers(space.nvec, size=(n, *space.shape))
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
    assert len(set(unbroken)) > 3
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
    clock = late.settings["layers"][-1]["state"]["array"]
    settings = json.loads(json.dumps(late.settings))
    settings["layers"][-1]["_np_random"] = early.settings["layers"][-1]["_np_random"]
    assert settings != late.settings
    for name, mixed in (
        ("state", Snapshot(late.settings, {**late.arrays, clock: early.arrays[clock]})),
        ("_np_random", Snapshot(settings, late.arrays)),
    ):
        restore(env, mixed)
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
        {"state": {"array": "nothing of that name"}},
        {"length": {"enum": "os"}},
        {"length": {"attributes": {"real": 1}}},
        {"length": {"nonsense": []}},
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


# ------------------------------------------------------------------------------------- models that change as they run

DOOR = """
<mujoco>
  <asset>
    <texture name="wall" type="2d" builtin="checker" width="256" height="256" rgb1="0 0 0" rgb2="1 1 1"/>
    <material name="wall" texture="wall"/>
  </asset>
  <worldbody>
    <body name="arm" pos="0 0 1">
      <joint name="shoulder" type="hinge" axis="0 1 0"/>
      <geom type="capsule" size=".05" fromto="0 0 0 .5 0 0" material="wall"/>
      <site name="hand" pos=".5 0 0"/>
    </body>
    <body name="door" pos="1 0 1"><geom type="box" size=".1 .1 .1"/><site name="handle" pos="0 0 .1"/></body>
  </worldbody>
  <actuator><motor joint="shoulder" gear="1"/></actuator>
</mujoco>
"""


class Door(MujocoEnv):
    """An arm, and a door that stands elsewhere in each episode, as some of gymnasium-robotics' tasks have it."""

    metadata: ClassVar = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"], "render_fps": 100}
    paints = False

    def __init__(self, path):
        super().__init__(str(path), 5, gymnasium.spaces.Box(-np.inf, np.inf, (7,)))

    def step(self, action):
        self.do_simulation(action, self.frame_skip)
        return self._seen(), 0.0, False, False, {}

    def reset_model(self):
        self.model.body_pos[2] = self.np_random.uniform(-1, 1, 3)
        self.model.site_pos[1] = self.np_random.uniform(-0.1, 0.1, 3)
        self.model.opt.gravity[2] = self.np_random.uniform(-10, -5)
        self.model.opt.density = self.np_random.uniform(0, 1)
        if self.paints:
            self.model.tex_data[:] = self.np_random.integers(0, 255, self.model.tex_data.size)
        self.set_state(self.init_qpos, self.init_qvel)
        return self._seen()

    def _seen(self):
        return np.concatenate([self.data.qpos, self.data.xpos[2], self.data.site_xpos[1]])


@pytest.fixture
def door(tmp_path):
    """A function that makes the environment, in mid-episode of the episode that `seed` begins."""
    log_warnings()
    (tmp_path / "door.xml").write_text(DOOR)

    def make(seed, painted=False):
        env = type("Door", (Door,), {"paints": painted})(tmp_path / "door.xml")
        env.reset(seed=seed)
        follow(env, actions(env, 20))
        return env

    return make


def test_a_model_that_a_reset_changes_is_captured(door):
    env, moves = door(1), actions(door(1), 60)
    snapshot = written_and_read(capture(env))
    unbroken = follow(env, moves[20:])
    for fresh in (door(2), env):
        restore(fresh, snapshot)
        assert follow(fresh, moves[20:]) == unbroken
    assert sum(array.nbytes for array in snapshot.arrays.values()) < 50_000  # the texture alone has 196,608 bytes
    other = door(2)
    without = written_and_read(snapshot)
    path = without.settings["layers"][0]["model"]["mujoco_model"]
    without.arrays[path] = capture(other).arrays[path]  # the red example: the data alone would not do
    restore(other, without)
    assert follow(other, moves[20:]) != unbroken


def test_a_large_array_that_differs_is_refused_by_name(door):
    snapshot = capture(door(1, painted=True))
    env = door(1, painted=True)
    position = env.model.body_pos.copy()
    with pytest.raises(ValueError, match=r"model differs in tex_data, of which a snapshot holds a hash"):
        restore(env, snapshot)
    assert not np.array_equal(position, env.model.body_pos)  # as reset


def older(snapshot):
    """As a snapshot was before it held models."""
    layers = [{k: v for k, v in layer.items() if k != "model"} for layer in snapshot.settings["layers"]]
    arrays = {k: v for k, v in snapshot.arrays.items() if not k.endswith(".model")}
    return Snapshot({**snapshot.settings, "layers": layers}, arrays)


def test_a_snapshot_without_its_model_is_refused_if_a_reset_changes_the_model(door):
    snapshot = older(capture(door(1)))
    with pytest.raises(ValueError, match=r"snapshot lacks the MuJoCo model.* changes body_pos, site_pos, opt\.density"):
        restore(door(2), snapshot)


@pytest.mark.parametrize("id", ["Hopper-v5", "rtu_np/Ant-P-v0"])
def test_a_snapshot_without_its_model_keeps_working_if_nothing_changes_the_model(id):
    log_warnings()
    env = started(id)
    snapshot = older(written_and_read(capture(env)))
    unbroken = follow(env, moves := actions(env, 30))
    restore(fresh := started(id), snapshot)
    assert follow(fresh, moves) == unbroken


def test_a_model_that_is_none_of_this_environment_is_refused(door):
    env = door(1)
    snapshot = capture(env)
    layer = snapshot.settings["layers"][0]
    for change, message in (
        ({**layer["model"], "layout": "[]"}, "MuJoCo model does not fit"),
        ({**layer["model"], "numbers": {}}, "MuJoCo model does not fit"),
        (3, "tampered"),
        ({"attributes": {}}, "tampered"),
    ):
        with pytest.raises(ValueError, match=message):
            restore(env, Snapshot({**snapshot.settings, "layers": [{**layer, "model": change}]}, snapshot.arrays))
