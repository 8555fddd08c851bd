"""The tasks of POPGym: all are registered, observations are vectors, and agents learn in them."""

import sys

import gymnasium
import numpy as np
import pytest

from envs.cards import CardGame
from envs.popgym import TASKS, make
from rtu_np import ActorCritic, LinearRTU

SIX = ("Autoencode", "Concentration", "CountRecall", "HigherLower", "RepeatFirst", "RepeatPrevious")


def test_all_of_popgym_is_registered():
    """42 tasks, and the paper's names of twelve; each is the class that popgym itself registers, or a game of ours."""
    import popgym.envs

    theirs = {kind: named["id"] for kind, named in popgym.envs.ALL.items()}
    assert len(theirs) == 42
    made = {}
    for task in TASKS:
        env = gymnasium.make(f"rtu_np/{task}-v0", disable_env_checker=True)
        assert isinstance(env.observation_space, gymnasium.spaces.Box)
        made[task] = type(make(task).unwrapped)
        ours = task.removesuffix("Easy").removesuffix("Medium").removesuffix("Hard") in SIX
        assert isinstance(env.unwrapped, CardGame) if ours else type(env.unwrapped) is made[task]
    assert set(made.values()) == theirs.keys()
    assert sum(theirs[kind].lower() == f"popgym-{task}-v0".lower() for task, kind in made.items()) == 42
    assert made["StatelessCartPoleEasy"] is made["PositionOnlyCartPoleEasy"]
    assert len(made) == 54


@pytest.mark.parametrize("name", ["NoisyPositionOnlyPendulum", "VelocityOnlyCartPole"])
def test_popgym_s_vectors_are_its_own(name):
    env = gymnasium.make(f"rtu_np/{name}Hard-v0", disable_env_checker=True)
    twin = type(env.unwrapped)()
    (observation, info), expected = env.reset(seed=2), twin.reset(seed=2)[0]
    for _ in range(30):
        assert np.array_equal(observation, expected.astype(np.float32))
        assert info == {}
        action = env.action_space.sample()
        observation, _, terminated, truncated, info = env.step(action)
        expected = twin.step(action)[0]
        if terminated or truncated:
            break


@pytest.mark.parametrize("task", ["BattleshipEasy", "MineSweeperEasy", "StatelessPendulumEasy"])
def test_agents_learn_in_popgym_s_others(task):
    env = gymnasium.make(f"rtu_np/{task}-v0")
    agent = ActorCritic(env, LinearRTU(4), previous_action_reward=True)
    assert agent.learn(env, 300, progress=False, log=None).returns.size > 0


def test_popgym_s_own_card_games():
    """As Gymnasium flattens them, and what popgym knows behind them is left out."""
    for name in SIX:
        env = make(f"{name}Easy")
        twin = type(env.unwrapped)()
        (observation, info), expected = env.reset(seed=2), twin.reset(seed=2)[0]
        for k in range(50):
            assert np.array_equal(observation, gymnasium.spaces.flatten(twin.observation_space, expected)), name
            assert info == {}
            action = k % int(env.action_space.n)
            observation, reward, _, _, info = env.step(action)
            expected, other, *_ = twin.step(action)
            assert reward == other


def test_without_popgym(monkeypatch):
    monkeypatch.setitem(sys.modules, "popgym.envs.battleship", None)
    with pytest.raises(ImportError, match=r"BattleshipEasy is a task of the package popgym.*\[popgym\]"):
        gymnasium.make("rtu_np/BattleshipEasy-v0")
