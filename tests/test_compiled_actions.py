"""Stretches in compiled code for every kind of action, and environments that compute with real numbers."""

import functools
import math
import os
import signal
import threading
import time
from typing import NamedTuple

import gymnasium
import numpy as np
import pytest
from cases import COMPILED, in_plain_python
from compiled_cases import agents, both_ways, learned, state
from gymnasium.spaces import Box, MultiBinary, MultiDiscrete
from loop_cases import QUIET

import envs
import rtu_np
from rtu_np import ActorCritic, Epsilon, Gaussian, LinearRTU, Softmax, numba_compiler
from rtu_np.compiled_environment import advance, normal
from rtu_np.control import compiled_loop

pytestmark = [
    pytest.mark.skipif(numba_compiler.PLAIN, reason="with plain Numba all goes step by step"),
    pytest.mark.filterwarnings("ignore:steps is .*, so this call learns nothing"),
]
# Each agent takes seconds to compile.
ACTORS = ("actor-critic",) if COMPILED else ("actor-critic", "shared", "PPO")
SPACES = {
    "Box": Box(-1.0, np.array([1.0, 0.5, 3.0], np.float32)),
    "Box of float64": Box(-0.3, 0.3, (2,), np.float64),
    "MultiDiscrete": MultiDiscrete([3, 2, 4], start=[5, 0, -2]),
    "MultiBinary": MultiBinary(3),
    "one bit": MultiBinary(1),
}


@functools.cache
def pushed(package=rtu_np):
    """A compiled environment of a user's own, full of products and sums, that any vector pushes about."""
    protocol = package.compiled_environment

    class Pushed(NamedTuple):
        friction: float

    @protocol.begin.register(Pushed)
    def begin(dynamics, state, rng, observation):
        state[0] = rng.random()
        observation[0] = state[0]

    @protocol.advance.register(Pushed)
    def advance(dynamics, state, action, rng, observation):
        for k in range(action.shape[0]):
            state[0] = state[0] * dynamics.friction + 0.3 * float(action[k]) * (1 + 0.1 * k)
            state[1] = 0.3 * state[1] + 0.2 * math.cos(state[0]) * state[1] + 0.2 * state[0]
        state[1] += 0.1 * protocol.normal(rng)
        observation[0], observation[1] = state[0], 0.7 * state[1] + 0.1 * state[0]
        return -state[0] * state[0] + 0.3 * state[1], bool(rng.random() < 0.1), bool(rng.random() < 0.1)

    @protocol.compiled
    class Env(protocol.CompiledEnvironment, gymnasium.Env):
        observation_space = Box(-np.inf, np.inf, (2,), np.float32)

        def __init__(self, space=SPACES["Box"]):
            self.action_space, self.dynamics, self.state = space, Pushed(0.5), np.zeros(2)

    return Env


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("agent", ACTORS)
def test_every_kind_of_action(monkeypatch, agent, space):
    for dtype in ("float32", "float64") if not COMPILED else ("float32",):

        def work(dtype=dtype):
            return learned(functools.partial(agents()[agent], dtype=dtype), pushed()(SPACES[space]))

        one, other = both_ways(monkeypatch, work)
        assert one == other


TASKS = {"ReacherPOMDP": {"length": 9}, "TMaze": {"length": 2, "noise": 0.1, "form": "cue"}}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("agent", ACTORS)
def test_the_memory_tasks(monkeypatch, agent, task):
    def work():
        return learned(agents()[agent], gymnasium.make(f"rtu_np/{task}-v0", **TASKS[task]), (1, 30, 7, 300))

    one, other = both_ways(monkeypatch, work)
    assert one == other


@pytest.mark.skipif(not COMPILED, reason="many steps")
def test_many_steps_with_pauses_and_a_checkpoint(monkeypatch, tmp_path):
    """Past a look at whether learning goes on: as the tails of normal numbers are rare, a hundred thousand of them."""

    def work():
        env = envs.ReacherPOMDP()
        agent = ActorCritic(env, LinearRTU(3), seed=1)
        agent.learn(env, 30_001, **QUIET)
        loaded = ActorCritic.load(agent.save(tmp_path / "agent.npz"))
        loaded.resume(env)
        returns = loaded.learn(env, 36_000, **QUIET).returns
        return [returns.tolist(), state(loaded, env)]

    one, other = both_ways(monkeypatch, work)
    assert one == other


@pytest.mark.skipif(not COMPILED, reason="many steps")
def test_ctrl_c_in_a_stretch(monkeypatch):
    """Learning goes on from there: the bits, also of the generators, are those of one long call."""
    monkeypatch.setattr(compiled_loop, "ENOUGH", 0)
    monkeypatch.setattr(compiled_loop, "LEAST", 1)
    env, there = envs.ReacherPOMDP(), envs.ReacherPOMDP()
    agent, other = (ActorCritic(each, LinearRTU(3), seed=1) for each in (env, there))
    agent.learn(env, 100, **QUIET)  # compiles

    def send():
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        agent.learn(env, 10**9, **QUIET)
    thread.join()
    assert agent.steps > 1000
    agent.learn(env, 17, **QUIET)
    other.learn(there, agent.steps, **QUIET)
    assert state(agent, env) == state(other, there)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("policy", "n"), [(Gaussian(), 3), (Gaussian(), 1), (Softmax(), 2), (Softmax(), (2, 3)), (Epsilon(), 3)]
)
def test_rows_of_noise_are_what_single_draws_are(policy, n, dtype):
    spec = policy.spec() if isinstance(policy, Epsilon) else policy.spec(n)
    rows, single = np.zeros((3001, spec.n_noise), dtype), np.zeros(spec.n_noise, dtype)
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    policy.draw_rows(rows[:2], one)
    policy.draw_rows(rows[2:], one)
    for row in rows:
        policy.draw(single, other)
        assert row.tobytes() == single.tobytes()
    assert one.bit_generator.state == other.bit_generator.state


def test_a_policy_without_rows_goes_step_by_step(monkeypatch):
    monkeypatch.setattr(compiled_loop, "ENOUGH", 0)
    env = envs.ReacherPOMDP()
    agent = ActorCritic(env, LinearRTU(3))
    assert compiled_loop.compiled_loop(agent, env, 10**6) is not None
    policy = agent._policy

    class Policy:
        draw = staticmethod(policy.draw)

    agent._policy = Policy()
    assert compiled_loop.compiled_loop(agent, env, 10**6) is None


@pytest.mark.parametrize("space", [Box(-1, 1, (2, 1)), Box(-1, 1, (2,), np.float16), MultiBinary((2, 2))])
def test_actions_that_are_made_in_python(space):
    env = pushed()(space)
    agent = agents()["actor-critic"](env)
    assert compiled_loop.compiled_loop(agent, env, 10**6) is None


# ------------------------------------------------------------------------------------------------------------ numbers


def walk(dynamics, state, rng, observation, n):
    for _ in range(n):
        advance(dynamics, state, observation, rng, observation)
    return 0


@pytest.mark.skipif(not COMPILED, reason="it runs as plain Python")
def test_arithmetic_of_an_environment_has_python_s_bits():
    """With products fused with sums, every seventh step or so would differ."""
    env, compiled_walk = pushed()(), rtu_np.jit.njit(walk)
    one, other = np.array([0.3, 0.2]), np.array([0.3, 0.2])
    rngs = [np.random.default_rng(0) for _ in range(2)]
    seen = [np.full(2, 0.3, np.float32) for _ in range(2)]
    for _ in range(2000):
        compiled_walk(env.dynamics, one, rngs[0], seen[0], 1)
        walk(env.dynamics, other, rngs[1], seen[1], 1)
        assert one.tobytes() == other.tobytes()
        assert seen[0].tobytes() == seen[1].tobytes()
    assert rngs[0].bit_generator.state == rngs[1].bit_generator.state


def draw(rng, out):
    for k in range(out.shape[0]):
        out[k] = normal(rng)
    return 0


def test_normal_numbers():
    out, n = np.zeros(200_000), 200_000
    rtu_np.jit.njit(draw)(np.random.default_rng(0), out)
    rng = np.random.default_rng(0)
    assert out[:2000].tolist() == [normal(rng) for _ in range(2000)]
    below = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in np.sort(out)])
    moments = [(out**k).mean() for k in (1, 2, 3, 4)]
    errors = [1, np.sqrt(2), np.sqrt(15), np.sqrt(96)]
    assert np.abs((np.array(moments) - [0, 1, 0, 3]) / errors).max() < 4 / np.sqrt(n)
    assert np.abs(below - np.linspace(0, 1, n)).max() < 2 / np.sqrt(n)
    assert abs(np.corrcoef(out[1:], out[:-1])[0, 1]) < 4 / np.sqrt(n)


@in_plain_python
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("control/actions.py", "        action[j] = executed[j]\n", "        action[j] = executed[0]\n"),
        ("control/actions.py", "int(executed[j]) + kind.start[j]", "int(executed[j])"),
        ("control/compiled_loop.py", "            rng.bit_generator.state = before\n", ""),
        ("control/compiled_loop.py", "            made[DRAWN] += 1\n", ""),
    ],
)
def test_planted_bugs_are_found(monkeypatch, mutant, file, old, new):
    package = mutant(file, [(old, new)])

    def work():
        make = agents(package)["actor-critic"]
        return [learned(make, pushed(package)(SPACES[space])) for space in ("Box", "MultiDiscrete")]

    one, other = both_ways(monkeypatch, work, package)
    assert one != other


def test_a_stretch_is_made_for_each_task():
    for env in (envs.ReacherPOMDP(), envs.TMaze(noise=0.1), envs.KMemoryChain(k=4)):
        agent = agents()["actor-critic"](env)
        assert compiled_loop.compiled_loop(agent, env, 10**6) is not None
