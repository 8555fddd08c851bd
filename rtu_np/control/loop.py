"""The loop between an agent and an environment: `learn` learns on every step, `evaluate` only acts."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from rtu_np.control import spaces
from rtu_np.control.logs import Log
from rtu_np.learning.outcomes import IS_FIRST
from rtu_np.validation import check_count, check_real

SPACES = ("observation_space", "action_space")
# Slots of the present episode: its return and length so far, and how many episodes have ended.
RETURN, LENGTH, ENDED = 0, 1, 2
_SHOWN = 100  # episodes whose mean return the progress bar shows
_BETWEEN = 500  # steps between two updates of the progress bar


class Episodes(NamedTuple):
    """Episodes that ended while learning."""

    steps: np.ndarray  # (n,)   at which step of the agent's life
    returns: np.ndarray  # (n,)   sum of rewards
    lengths: np.ndarray  # (n,)   steps


class Loop(ABC):
    """What agents do in an environment. `Agent` has one step of learning, and one of acting."""

    actions: spaces.Actions
    _env: Any  # the environment of the present episode, or None
    _env_seed: int
    _clock: np.ndarray
    _episode: np.ndarray  # (3,)   RETURN, LENGTH, ENDED
    _executed: np.ndarray  # the present action, as an array
    _acting: np.ndarray  # the memory of `act`

    @property
    @abstractmethod
    def steps(self) -> int:
        """Steps learned from so far."""

    @abstractmethod
    def step(self, observation: Any, reward: float = 0.0, terminated: bool = False, truncated: bool = False) -> Any:
        """Learn from one step."""

    @abstractmethod
    def act(self, observation: Any, deterministic: bool = False, reward: float = 0.0) -> Any:
        """Return an action without learning."""

    @abstractmethod
    def reset(self) -> None:
        """Clear memory, traces and the memory of `act`."""

    @abstractmethod
    def _check_open(self) -> None:
        """RuntimeError after `close`."""

    def learn(
        self,
        env: Any,
        steps: int,
        progress: bool = True,
        callback: Callable[[Any], Any] | None = None,
        log: str | os.PathLike | None = "runs",
    ) -> Episodes:
        """Act in `env` and learn on every step, for `steps` steps. Returns the episodes that ended.

        In the environment of the last call, the agent continues in the middle of the episode. Another environment is
        reset first, and memory and traces are cleared.

        Parameters
        ----------
        progress : whether to show a bar, on a terminal
        callback : called as `callback(agent)` after every step; learning stops if it returns False
        log : folder of `episodes.csv` and `learning.csv` (`rtu_np.control.logs`); "runs" makes a new folder in `runs`,
            None writes nothing
        """
        check_count("steps", steps)
        self._check_open()
        self._check_spaces(env)
        if env is not self._env or self._clock[IS_FIRST]:
            if env is not self._env:
                self.reset()
            self._begin_episode(env)
        ended: list[tuple[int, float, int]] = []
        with (
            Log(log, f"{type(self).__name__}-{_name_of(env)}", self) as table,
            tqdm(total=steps, disable=None if progress else True, delay=1, unit="step", unit_scale=True) as bar,
        ):
            for k in range(1, steps + 1):
                action = self.actions.to_environment(self._executed)
                observation, reward, terminated, truncated, _ = env.step(action)
                self.step(observation, float(reward), terminated, truncated)
                if terminated or truncated:
                    ended.append((self.steps, self._episode[RETURN], int(self._episode[LENGTH])))
                    self._episode[:] = 0, 0, self._episode[ENDED] + 1
                    table.episode(int(self._episode[ENDED]), *ended[-1])
                    self._begin_episode(env)
                table.step(self.steps)
                if k % _BETWEEN == 0 or k == steps:
                    bar.update((k - 1) % _BETWEEN + 1)
                    if ended:
                        recent = np.mean([total for _, total, _ in ended[-_SHOWN:]])
                        bar.set_postfix_str(f"return {recent:.4g}", refresh=False)
                if callback is not None and callback(self) is False:
                    break
        columns = np.array(ended).reshape(-1, 3).T
        return Episodes(columns[0].astype(int), columns[1], columns[2].astype(int))

    def _begin_episode(self, env: Any) -> None:
        """Begin an episode. The agent's seed gives the seed of the first episode in an environment."""
        seed = None if env is self._env else self._env_seed + self.steps  # other episodes after each change of env
        observation, _ = env.reset(seed=seed)
        self._env = env
        self._episode[RETURN], self._episode[LENGTH] = 0, 0
        self.step(observation)

    def resume(self, env: Any) -> None:
        """Continue in env, which is in the middle of the episode that this agent left: `learn` will not reset env."""
        self._check_spaces(env)
        self._env = env

    def _check_spaces(self, env: Any) -> None:
        spaces.check_environment(env)
        for name in SPACES:
            mine, given = getattr(self, name), getattr(env, name)
            if spaces.describe(mine) != spaces.describe(given):
                raise ValueError(f"env has {name} {given}: expected {mine}; is the agent made for another environment?")

    def evaluate(self, env: Any, episodes: int = 10, deterministic: bool = True, seed: int | None = 0) -> np.ndarray:
        """Returns (episodes,) of whole episodes without learning; parameters and memory stay. Pass another environment
        than that of `learn`, whose present episode would be lost."""
        check_count("episodes", episodes)
        self._check_spaces(env)
        if env is self._env:
            self._env = None
        own, returns = self._acting.copy(), np.zeros(episodes)
        for k in range(episodes):
            self._acting[:] = 0
            observation, _ = env.reset(seed=seed if k == 0 else None)
            reward, over = 0.0, False
            while not over:
                action = self.act(observation, deterministic, reward)
                observation, reward, terminated, truncated, _ = env.step(action)
                reward, over = check_real("reward", reward), terminated or truncated
                returns[k] += reward
        self._acting[:] = own
        return returns


def _name_of(env: Any) -> str:
    spec = getattr(env, "spec", None)
    return (spec.id if spec is not None else type(env).__name__).replace("/", "-")
