"""Agents that are pickled or copied, in this process or for another, learn and act as the original, to the bit."""

import copy
import dataclasses
import multiprocessing
import pickle

import gymnasium
import numpy as np
import pytest
from agent_cases import World
from gymnasium import spaces
from loop_cases import AGENTS, QUIET, SMALL, state

from rtu_np import ActorCritic, Gaussian, LinearRTU, Softmax

COPIES = {"pickle": lambda agent: pickle.loads(pickle.dumps(agent)), "deepcopy": copy.deepcopy, "copy": copy.copy}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("steps", [0, 9, 16])  # before any, in the middle of an episode, and at the end of a rollout
@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.filterwarnings("ignore:steps is .*this call learns nothing:RuntimeWarning")
def test_a_copy_goes_on_bit_for_bit(name, steps, how):
    discrete, make = AGENTS[name]
    agent, env = make(), World(discrete)
    if steps:
        agent.learn(env, steps, **QUIET)
    agent.act(np.ones(3))
    twin = COPIES[how](agent)
    assert type(twin) is type(agent)
    assert repr(twin) == repr(agent)
    assert state(twin) == state(agent)
    there = copy.deepcopy(env)
    if steps:
        twin.resume(there)
    for each, its in ((agent, env), (twin, there)):
        each.learn(its, 20, **QUIET)
        each.act(np.ones(3), reward=0.5)
    assert state(twin) == state(agent)
    assert np.array_equal(env.actions, there.actions)  # which a copied array of actions would not follow


def test_a_copy_shares_nothing_and_takes_no_environment():
    discrete, make = AGENTS["actor-critic"]
    agent, env = make(), World(discrete)
    env.lock = (each for each in ())  # an environment need not be one that can be pickled
    agent.learn(env, 9, **QUIET)
    before = state(agent)
    twin = pickle.loads(pickle.dumps(agent))
    twin.learn(World(discrete), 20, **QUIET)  # resets it: the copy is in no environment
    assert twin.steps == 29
    assert state(agent) == before


def test_a_closed_agent_stays_closed():
    discrete, make = AGENTS["actor-critic"]
    agent = make()
    agent.learn(World(discrete), 9, **QUIET)
    agent.close()
    twin = pickle.loads(pickle.dumps(agent))
    with pytest.raises(RuntimeError, match="has been closed"):
        twin.step(np.ones(3))
    assert np.array_equal(twin.act(np.ones(3)), agent.act(np.ones(3)))


OBSERVATIONS = {
    "Box": spaces.Box(-1, 1, (2, 2), np.float64),
    "Discrete": spaces.Discrete(3, start=5),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3], start=[1, 0]),
    "MultiBinary": spaces.MultiBinary(3),
    "Tuple": spaces.Tuple([spaces.Discrete(2), spaces.Tuple([spaces.Box(0, 1, (1,)), spaces.MultiBinary(2)])]),
}


@dataclasses.dataclass(frozen=True)
class OwnPolicy(Gaussian):
    """A policy of one's own: a file holds no code, and a pickle names it."""


POLICIES = {"softmax": Softmax(), "free": Gaussian("free"), "softplus": Gaussian(), "own": OwnPolicy()}


class Of(gymnasium.Env):
    """Samples of a space."""

    def __init__(self, observation_space, action_space) -> None:
        self.observation_space, self.action_space = copy.deepcopy(observation_space), action_space

    def reset(self, *, seed=None, options=None):
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 1.0, False, False, {}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("space", OBSERVATIONS)
def test_every_space_and_every_policy(space, policy):
    actions = spaces.Discrete(3, start=1) if policy == "softmax" else spaces.Box(-1, 1, (2, 1), np.float64)
    env = Of(OBSERVATIONS[space], actions)
    agent = ActorCritic(env, LinearRTU(4), policy=POLICIES[policy], **SMALL)
    agent.learn(env, 7, **QUIET)
    twin, there = pickle.loads(pickle.dumps(agent)), copy.deepcopy(env)
    assert (twin.observation_space, twin.action_space) == (agent.observation_space, agent.action_space)
    twin.resume(there)
    agent.learn(env, 7, **QUIET)
    twin.learn(there, 7, **QUIET)
    assert state(twin) == state(agent)
    twin.learn(Of(OBSERVATIONS[space], actions), 2, **QUIET)


def learned(agent):
    """What a process of a pool does."""
    agent.learn(World(False), 12, **QUIET)
    return agent


def test_a_pool_of_processes():
    agents = [AGENTS["actor-critic"][1]() for _ in range(2)]
    agents[1].learn(World(False), 9, **QUIET)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        back = pool.map(learned, agents)
    for agent, twin in zip(agents, back, strict=True):
        assert state(learned(agent)) == state(twin)
