"""Numbers in compiled environments: small types are the same step by step, and settings that change are seen."""

from typing import NamedTuple

import gymnasium
import numpy as np
import pytest
from compiled_cases import AGENTS, both_ways, state
from gymnasium.spaces import Box, MultiBinary
from loop_cases import QUIET

from rtu_np import numba_compiler
from rtu_np.compiled_environment import CompiledEnvironment, advance, begin, compiled
from rtu_np.control import compiled_loop
from rtu_np.control.callbacks import every

pytestmark = pytest.mark.skipif(numba_compiler.PLAIN, reason="with plain Numba all goes step by step")


class Push(NamedTuple):
    gain: float
    table: np.ndarray


@begin.register(Push)
def begin_push(dynamics, state, rng, observation):
    state[0] = 0.1
    observation[0] = state[0]


@advance.register(Push)
def advance_push(dynamics, state, action, rng, observation):
    push = 0.0
    for i in range(action.shape[0]):
        push += dynamics.gain * action[i] + action[i] * 100
    state[0] = 0.9 * state[0] + push
    observation[0] = min(max(state[0], -1.0), 1.0)
    return state[0] + dynamics.table[0], bool(rng.random() < 0.2), False


@compiled
class Pushed(CompiledEnvironment, gymnasium.Env):
    observation_space = Box(-1.0, 1.0, (1,))

    def __init__(self, action_space, dtype=np.float64):
        self.action_space = action_space
        self.dynamics, self.state = Push(0.3, np.full(1, 0.7, dtype)), np.zeros(1)


@pytest.mark.parametrize("action_space", [Box(-1.0, 1.0, (2,), np.float32), MultiBinary(2)], ids=["Box", "MultiBinary"])
def test_small_types_of_actions_and_settings_that_change(monkeypatch, action_space):
    """NumPy would add bytes as bytes. A callback makes the environment harder in the middle of a call."""

    def work():
        env = Pushed(action_space)

        def harder(agent):
            env.dynamics = env.dynamics._replace(gain=env.dynamics.gain + 1)

        agent = AGENTS["actor-critic"](env, seed=2)
        ended = agent.learn(env, 60, **QUIET, callback=every(20, harder))
        return [np.stack(ended).tolist(), state(agent, env)]

    one, other = both_ways(monkeypatch, work)
    assert one == other


def test_small_types_of_settings_go_step_by_step():
    env = Pushed(Box(-1.0, 1.0, (1,)), np.float32)
    agent = AGENTS["actor-critic"](env)
    assert compiled_loop.compiled_loop(agent, env, 10**6) is None
    env.dynamics, env.state = env.dynamics._replace(table=np.zeros(1)), np.zeros(1, np.float32)
    assert compiled_loop.compiled_loop(agent, env, 10**6) is None
