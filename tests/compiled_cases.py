"""What the tests of compiled environments share: agents, worlds, and all that a step may change."""

import functools
from typing import NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from loop_cases import QUIET

import rtu_np
import rtu_np.compiled_environment
import rtu_np.control.compiled_loop
from envs.snapshot import capture

PARTS = (1, 2, 13, 5, 24, 1, 3)  # steps of calls of `learn` that end at odd places


def agents(package=rtu_np):
    """{name: makes an agent of the package for an environment}"""
    cell, narrow = package.LinearRTU(3), package.Dense(3, "tanh")
    explore = {"epsilon": package.Epsilon(0.6, 0.1, 30)}
    rollout = {"actor": narrow, "critic": narrow, "n_steps": 8, "n_minibatches": 2, "n_epochs": 1, "threads": 1}
    kinds = {
        "Q": (package.QLambda, explore),
        "QRC": (package.QRC, {**explore, "h_optimizer": package.SGD(1e-3)}),
        "actor-critic": (package.ActorCritic, {"previous_action_reward": True}),
        "shared": (package.ActorCritic, {"shared": True}),
        "PPO": (package.PPO, rollout),
    }
    return {
        name: lambda env, kind=kind, own=own, **how: kind(env, cell, **{"dtype": "float64", **own, **how})
        for name, (kind, own) in kinds.items()
    }


AGENTS = agents()
WORLDS = ("MemoryChain", "KMemoryChain", "TMaze", "ThreeState", "TraceConditioning", "TracePatterning")
SETTINGS = {
    "MemoryChain": {"length": 2},
    "KMemoryChain": {"length": 3, "timing": "bsuite"},
    "TMaze": {"length": 2},
    "TraceConditioning": {"isi": 4, "iti": (5, 7), "n_distractors": 3},
    "TracePatterning": {"isi": 4, "iti": (5, 7), "n_distractors": 1, "noise": 0.3},
}


def world(name: str, limit: int | None = 7) -> gymnasium.Env:
    import envs  # noqa: F401   registers the environments

    return gymnasium.make(f"rtu_np/{name}-v0", max_episode_steps=limit, **SETTINGS.get(name, {}))


@functools.cache
def coins(package=rtu_np):
    """A compiled environment of a user's own, with ends of both kinds; its observation is `spoilt` at one step."""
    protocol = package.compiled_environment

    class Coins(NamedTuple):
        p: float
        spoilt: int

    @protocol.begin.register(Coins)
    def begin(dynamics, state, rng, observation):
        state[0] = rng.random()
        observation[0] = state[0]

    @protocol.advance.register(Coins)
    def advance(dynamics, state, action, rng, observation):
        state[1] += 1
        state[0] = 0.5 * state[0] + rng.random() * (action - 4)
        observation[0], observation[1] = state[0], 1
        if state[1] == dynamics.spoilt:
            observation[1] = np.nan
        return state[0] - 0.5, bool(rng.random() < dynamics.p), bool(rng.random() < dynamics.p)

    @protocol.compiled
    class Env(protocol.CompiledEnvironment, gymnasium.Env):
        observation_space = Box(-np.inf, np.inf, (2,), np.float32)
        action_space = Discrete(3, start=5)

        def __init__(self, p=0.2, spoilt=-1):
            self.dynamics, self.state = Coins(p, spoilt), np.zeros(2)

    return Env


def state(agent, env) -> list:
    """All that steps change: of the agent, of its generators, of the environment and of its wrappers."""
    arrays = [array.tobytes() for array in agent._arrays().values()]
    buffers = [array.tobytes() for array in agent._buffers]
    generators = [agent._rng.bit_generator.state, agent._acting_rng.bit_generator.state]
    settings, found = capture(env)
    world = str(settings), {name: array.tobytes() for name, array in found.items()}
    return [arrays, buffers, agent._flat.tobytes(), generators, world, agent._env is env]


def learned(make, env, parts=PARTS) -> list:
    """What learning in parts gives: episodes and states after each part."""
    agent, found = make(env, seed=2), []
    for n in parts:
        found += [np.stack(agent.learn(env, n, **QUIET)).tolist(), state(agent, env)]
    return found


def both_ways(monkeypatch, work, package=rtu_np) -> tuple:
    """What `work()` returns with stretches in compiled code, and step by step; and how many stretches there were."""
    module, stretches = package.control.compiled_loop, []
    run = module.CompiledLoop.run
    monkeypatch.setattr(module.CompiledLoop, "run", lambda self, n: (stretches.append(n), run(self, n))[1])
    found = []
    for enough in (0, 10**12):
        monkeypatch.setattr(module, "ENOUGH", enough)
        monkeypatch.setattr(module, "LEAST", 1)
        made = len(stretches)
        found.append(work())
    assert made > 0, "no stretch was made in compiled code"
    assert len(stretches) == made, "a stretch was made where none was asked for"
    return tuple(found)
