"""The tasks of POPGym (Morad et al. 2023) as the package popgym has them, with observations as vectors.

Six card games are made by envs/cards.py and envs/card_tables.py under their ids, and need no popgym. Here is the
package's own, against which tests compare them: `make("RepeatPreviousEasy")`.
"""

import importlib
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space, Tuple

from rtu_np.validation import check_choice

FAMILIES = {  # {name: its module in popgym.envs}
    "Autoencode": "autoencode",
    "Battleship": "battleship",
    "Concentration": "concentration",
    "CountRecall": "count_recall",
    "HigherLower": "higher_lower",
    "MineSweeper": "minesweeper",
    "MultiarmedBandit": "multiarmed_bandit",
    "NoisyPositionOnlyCartPole": "noisy_position_only_cartpole",
    "NoisyPositionOnlyPendulum": "noisy_position_only_pendulum",
    "PositionOnlyCartPole": "position_only_cartpole",
    "PositionOnlyPendulum": "position_only_pendulum",
    "RepeatFirst": "repeat_first",
    "RepeatPrevious": "repeat_previous",
    "VelocityOnlyCartPole": "velocity_only_cartpole",
}
# Morad et al. call some tasks by another name than the package does; both are registered.
NAMES = {name: name for name in FAMILIES} | {
    name.replace("PositionOnly", "Stateless"): name for name in FAMILIES if "PositionOnly" in name
}
TASKS = {  # {task: (its class, its module in popgym.envs)}
    f"{name}{level}": (f"{family}{level}", FAMILIES[family])
    for name, family in NAMES.items()
    for level in ("Easy", "Medium", "Hard")
}


class Task(gymnasium.Wrapper):
    """A task of POPGym whose observation is a vector of reals already; as `OneHot`, without popgym's info."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space = env.observation_space
        if isinstance(space, Box):  # the noise of noisy tasks goes beyond the bounds
            self.observation_space = Box(-np.inf, np.inf, space.shape, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        return self._vector(self.env.reset(seed=seed, options=options)[0]), {}

    def step(self, action: Any):
        # popgym's info is dropped: it is the hidden state, in an array that popgym overwrites later.
        observation, reward, terminated, truncated, _ = self.env.step(action)
        return self._vector(observation), reward, terminated, truncated, {}

    def _vector(self, observation: Any) -> np.ndarray:
        return np.array(observation, np.float32)


class OneHot(Task):
    """A task of POPGym, its observation as concatenated one-hot vectors.

    ## Description
    Tasks of the package popgym, `-Easy`, `-Medium` and `-Hard` (more cards, or a larger board): Battleship, MineSweeper
    (actions: two coordinates, `MultiDiscrete`), MultiarmedBandit, and the control tasks PositionOnlyCartPole,
    PositionOnlyPendulum, VelocityOnlyCartPole, NoisyPositionOnlyCartPole and NoisyPositionOnlyPendulum, whose
    observations are vectors already. Morad et al. call PositionOnly Stateless, and either name is registered.

    `envs.popgym.make(task)` also makes the package's own RepeatPrevious, RepeatFirst, CountRecall, Autoencode,
    Concentration and HigherLower. The ids of these are compiled environments, of the same observations and rewards.

    The paper's agents also get their previous action and reward. Here the agent adds these, not the environment.

    ## Action Space
    `Discrete`; `MultiDiscrete` in Battleship and MineSweeper; `Box(-2, 2)` in the Pendulums.

    ## Observation Space
    `Box(0, 1)`: one entry for each possible value of each part of popgym's observation, in popgym's order; 1 for the
    present value, else 0.

    ## Rewards
    popgym's: an episode's return lies within -1 and 1.

    ## Starting State
    popgym's: a random board, or a shuffled deck.

    ## Episode End
    popgym's.

    ## Version History
    - v0: first version.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        sizes = _sizes(env.observation_space)
        self._offsets = np.cumsum([0, *sizes[:-1]])
        self._n = sum(sizes)
        self.observation_space = Box(0.0, 1.0, (self._n,), np.float32)

    def _vector(self, observation: Any) -> np.ndarray:
        out = np.zeros(self._n, np.float32)
        out[self._offsets + observation] = 1.0
        return out


def make(task: str, **settings: Any) -> Task:
    """A task of the package popgym, by its name; the entry point of all that are not compiled.

    Examples
    --------
    >>> make("RepeatPreviousEasy").observation_space.shape
    (4,)
    """
    name, module = check_choice("task", task, TASKS)
    try:
        found = importlib.import_module(f"popgym.envs.{module}")
    except ImportError as error:
        raise ImportError(
            f"{task} is a task of the package popgym, which could not be imported ({error}): install it with "
            'python -m pip install -e ".[popgym]"'
        ) from error
    env = getattr(found, name)(**settings)
    return Task(env) if isinstance(env.observation_space, Box) else OneHot(env)


def _sizes(space: Space) -> list[int]:
    """Number of possible values of each part of an observation."""
    if isinstance(space, Discrete):
        return [int(space.n)]
    if isinstance(space, MultiDiscrete):
        return [int(n) for n in space.nvec]
    assert isinstance(space, Tuple)  # true of every task in the table
    return [n for part in space for n in _sizes(part)]
