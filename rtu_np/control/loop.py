"""The loop between an agent and an environment: `learn` learns on every step, `evaluate` only acts."""

import math
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rtu_np.control import spaces
from rtu_np.control.callbacks import Callbacks
from rtu_np.control.compiled_loop import CompiledLoop, compiled_loop
from rtu_np.control.environments import check_free, five, innermost, learning_in, moved_by, two, was_moved_by_another
from rtu_np.control.inputs import ENDED, LENGTH, RETURN
from rtu_np.control.logs import EVERY, Log
from rtu_np.interrupts import HoldCtrlC
from rtu_np.learning.outcomes import CONTINUES, IS_FIRST, how_it_ends
from rtu_np.progress import progress_bar, silent_unless
from rtu_np.validation import check_count

_SHOWN = 100  # episodes whose mean return the progress bar shows
_BETWEEN = 500  # steps between two updates of the progress bar


class Episodes(NamedTuple):
    """Episodes that ended while learning."""

    steps: np.ndarray  # (n,)   at which step of the agent's life
    returns: np.ndarray  # (n,)   sum of rewards
    lengths: np.ndarray  # (n,)   steps


class Loop(ABC):
    """What agents do in an environment. `Agent` has one step of learning, and one of acting."""

    observation_space: Any
    action_space: Any
    actions: spaces.Actions
    _env: Any  # the environment of the present episode, or None
    _env_seed: int
    _clock: np.ndarray
    _episode: np.ndarray  # (3,)   RETURN, LENGTH, ENDED
    _executed: np.ndarray  # the present action, as an array
    _acting: np.ndarray  # the memory of `act`
    _acting_rng: np.random.Generator
    _log: Log | None = None  # while `learn` runs
    log_folder: Path | None = None  # of the last call of `learn`, if it wrote a log

    @property
    @abstractmethod
    def steps(self) -> int:
        """Steps learned from so far."""

    @abstractmethod
    def step(self, observation: Any, reward: float = 0.0, terminated: bool = False, truncated: bool = False) -> Any:
        """Learn from one step."""

    @abstractmethod
    def act(
        self, observation: Any, deterministic: bool = False, reward: float = 0.0, episode_start: bool = False
    ) -> Any:
        """Return an action without learning."""

    @abstractmethod
    def _check_reward(self, reward: Any) -> float:
        """The reward as a float; TypeError or ValueError if it is not usable."""

    @abstractmethod
    def _compile_act(self) -> None:
        """Make `act` ready."""

    @abstractmethod
    def reset(self) -> None:
        """Clear memory, traces and the memory of `act`."""

    @abstractmethod
    def _take_stretch(self, loop: CompiledLoop, n: int) -> None:
        """Up to n steps in compiled code."""

    @abstractmethod
    def _check_open(self) -> None:
        """RuntimeError after `close`."""

    def learn(
        self,
        env: Any,
        steps: int,
        progress: bool = True,
        callback: Callable[[Any], Any] | Sequence[Callable[[Any], Any]] | None = None,
        log: str | os.PathLike | None = "runs",
        log_every: int = EVERY,
    ) -> Episodes:
        """Act in `env` and learn on every step, for `steps` steps. Returns the episodes that ended.

        In the environment of the last call, the agent continues in the middle of the episode. Another environment is
        reset first, and memory and traces are cleared. If you reset `env` yourself in between, call `agent.reset()`,
        too: `learn` does not see it.

        Ctrl-C stops between steps. The KeyboardInterrupt carries the episodes that ended as `result`, the agent can be
        saved, and the next call continues in the middle of the episode. The bits are those of one long call. A second
        Ctrl-C stops at once. Any other exception carries `result`, too. After an exception from within a step, the
        environment may have moved on without the agent, so the next call begins an episode.

        A compiled environment (`rtu_np.compiled_environment`) and the agent make stretches of a tenth of a second in
        compiled code, with the same bits, unless a callback looks at every step. Ctrl-C is then heard between
        stretches.

        Parameters
        ----------
        progress : whether to show a bar, on a terminal or in a notebook, and to print the log's folder
        callback : called as `callback(agent)` after every step, or after steps that it names, or a list of such
            functions (`rtu_np.control.callbacks`). Learning stops if one returns a false value that is not None, such
            as False, np.False_ or 0
        log : folder of `settings.json`, `episodes.csv` and `learning.csv` (`rtu_np.control.logs`); "runs" makes a new
            folder in `runs`, None writes nothing. `log_folder` is its path
        log_every : steps between two rows of `learning.csv`

        Raises
        ------
        ValueError, TypeError : if an argument is not usable, or if the environment gives a reward or an observation
            that is not
        RuntimeError : after `close`, and if an agent learns in `env` at this moment
        FloatingPointError : if learning has diverged
        """
        check_count("steps", steps)
        self._check_open()
        self._check_spaces(env)
        self._check_length(steps)
        callbacks, log_every = Callbacks(callback), check_count("log_every", log_every)
        callbacks.check(self, env, log)
        with silent_unless(progress):  # may compile, so Ctrl-C is not held yet
            loop = compiled_loop(self, env, steps) if callbacks.leave_stretches else None
        ended: list[tuple[int, float, int]] = []
        with (
            HoldCtrlC(lambda: _episodes(ended), insists=True) as ctrl_c,
            learning_in(env, self),
            Log(log, self, env, steps, log_every) as table,
            _logging(self, table, progress),
            _bar(steps, progress) as bar,
        ):
            self._enter(env)
            k = shown = 0
            due = callbacks.until(self.steps)
            while k < steps:
                if ctrl_c.asked:
                    ctrl_c.stop()
                if loop is not None and loop.is_stale:
                    loop = compiled_loop(self, env, steps - k)
                if loop is not None and loop.is_ready():
                    k += self._stretch(env, loop, min(steps - k, table.until_row(self.steps), due - k), ended, table)
                else:
                    k += 1
                    action = self.actions.to_environment(self._executed)
                    try:
                        observation, reward, terminated, truncated, _ = five(env.step(action))
                        self.step(observation, reward, terminated, truncated)
                    except BaseException:
                        self._env = None  # which may be a step ahead of the agent
                        raise
                    if terminated or truncated:
                        self._end_episode(env, ended, table)
                if table.writes:
                    table.step(self.steps)
                if k - shown >= _BETWEEN or k == steps:
                    bar.update(k - shown)
                    shown = k
                    if ended:
                        recent = np.mean([total for _, total, _ in ended[-_SHOWN:]])
                        bar.set_postfix_str(f"return {recent:.4g}", refresh=False)
                if k >= due:
                    ctrl_c.released = True
                    goes_on = callbacks.call(self)
                    ctrl_c.released = False
                    if not goes_on:
                        break
                    due = k + callbacks.until(self.steps)
                    if self._env is not env:  # a callback has called `reset`, for example
                        self._enter(env)
        return _episodes(ended)

    def _stretch(self, env: Any, loop: CompiledLoop, n: int, ended: list[tuple[int, float, int]], table: Log) -> int:
        """Up to n turns in compiled code; returns how many."""
        first = int(self._episode[ENDED]) + 1
        try:
            self._take_stretch(loop, n)
        except BaseException:
            if not loop.begins:
                self._env = None
            raise
        finally:
            over = loop.take_episodes()
            ended += over
            table.episodes(first, over)
        if self._clock[IS_FIRST]:  # the last step ended an episode, and was not simply done
            self._end_episode(env, ended, table)
        return loop.made

    def _end_episode(self, env: Any, ended: list[tuple[int, float, int]], table: Log) -> None:
        """Note the episode that has ended, and begin the next."""
        ended.append((self.steps, self._episode[RETURN], int(self._episode[LENGTH])))
        self._episode[ENDED] += 1
        table.episodes(int(self._episode[ENDED]), ended[-1:])
        self._begin_episode(env)

    def log_scalars(self, numbers: dict[str, float]) -> None:
        """Let TensorBoard show numbers at the present step, {"group/name": number}; for callbacks.

        Nothing happens if `learn` does not run, writes no log, or if TensorBoard is not installed.
        """
        if self._log is not None:
            self._log.show(self.steps, numbers)

    def _check_length(self, steps: int) -> None:  # noqa: B027   most agents learn at every step
        """Warn if `steps` are too few to learn anything from."""

    def _enter(self, env: Any) -> None:
        """Continue in the middle of the episode in `env`, or begin an episode."""
        if env is not self._env or was_moved_by_another(env, self):
            self.reset()
        moved_by(env, self)
        if self._clock[IS_FIRST]:
            self._begin_episode(env)

    def _begin_episode(self, env: Any) -> None:
        """Begin an episode. The agent's seed gives the seed of the first episode in an environment."""
        seed = None if env is self._env else self._env_seed + self.steps  # other episodes after each change of env
        observation, _ = two(env.reset(seed=seed))
        self._env = env
        self.step(observation)

    def resume(self, env: Any) -> None:
        """Continue in env, which is in the middle of the episode that this agent left: `learn` will not reset env."""
        self._check_spaces(env)
        self._env = env
        moved_by(env, self)

    def _check_spaces(self, env: Any) -> None:
        spaces.check_spaces(env, self.observation_space, self.action_space)

    def evaluate(
        self,
        env: Any,
        episodes: int = 10,
        deterministic: bool = True,
        seed: int | None = 0,
        max_steps: int | None = None,
        progress: bool = True,
    ) -> np.ndarray:
        """The returns of whole episodes, without learning; parameters and memory stay.

        Pass another environment than that of `learn`. If the environment is that of the last call of `learn`, or a
        wrapper of it, the next call of `learn` begins an episode; while `learn` runs, that environment is refused.

        Parameters
        ----------
        episodes : how many episodes
        deterministic : whether to take the most probable action
        seed : of the first episode; None for fresh entropy
        max_steps : the largest number of steps of all episodes together. An episode that is cut off is not among the
            returns, and a RuntimeWarning says so. For a task without end, `gymnasium.wrappers.TimeLimit` makes episodes
        progress : whether to show a bar, on a terminal or in a notebook

        Returns
        -------
        (episodes,) sums of rewards; fewer if `max_steps` came first. After Ctrl-C, the KeyboardInterrupt carries those
        of the episodes that ended as `result`

        Raises
        ------
        ValueError, TypeError : if an argument or a reward is not usable
        RuntimeError : if an agent learns in `env` at this moment
        """
        check_count("episodes", episodes)
        most = math.inf if max_steps is None else check_count("max_steps", max_steps)
        self._check_spaces(env)
        check_free(env)
        if self._env is not None and innermost(env) is innermost(self._env):
            self._env = None
        moved_by(env, None)
        with silent_unless(progress):  # before Ctrl-C is held: it may take long
            self._compile_act()
        own, drawn, returns = self._acting.copy(), self._acting_rng.bit_generator.state, list[float]()
        made, length, total = 0, 0, 0.0
        try:
            with HoldCtrlC(lambda: np.array(returns), insists=True) as ctrl_c, _bar(max_steps, progress) as bar:
                while len(returns) < episodes and made < most:
                    observation, _ = two(env.reset(seed=None if returns else seed))
                    reward, total, length, over = 0.0, 0.0, 0, False
                    while not over and made < most:
                        if ctrl_c.asked:
                            ctrl_c.stop()
                        action = self.act(observation, deterministic, reward, episode_start=length == 0)
                        observation, reward, terminated, truncated, _ = five(env.step(action))
                        over = bool(terminated or truncated) and how_it_ends(terminated, truncated) != CONTINUES
                        reward = self._check_reward(reward)
                        total, length, made = total + reward, length + 1, made + 1
                        if made % _BETWEEN == 0:
                            bar.update(_BETWEEN)
                    if over:
                        returns.append(total)
                        total, length = 0.0, 0
                        ended = f"{len(returns)} of {episodes} episodes, return {np.mean(returns):.4g}"
                        bar.set_postfix_str(ended, refresh=False)
                bar.update(made % _BETWEEN)
        except (TypeError, ValueError):  # a number was refused: as if no action had been drawn
            self._acting_rng.bit_generator.state = drawn
            raise
        finally:
            self._acting[:] = own
        if len(returns) < episodes:
            warnings.warn(
                f"max_steps is {max_steps}: {len(returns)} of {episodes} episodes ended, and only these are in the "
                f"result. An episode of {length} steps so far, with rewards of {total:.4g} in all, was cut off. If the "
                "task has no end, wrap env in gymnasium.wrappers.TimeLimit",
                RuntimeWarning,
                stacklevel=2,
            )
        return np.array(returns)


@contextmanager
def _logging(agent: Loop, table: Log, progress: bool) -> Iterator[None]:
    """Let callbacks find the log of the agent that learns."""
    agent._log, agent.log_folder = table, table.folder
    if progress:
        table.name_folder()
    try:
        yield
    finally:
        agent._log = None


def _bar(steps: int | None, progress: bool) -> Any:
    """The bar of a call. The bar of an evaluation in a callback, below another, is removed at its end."""
    return progress_bar(steps, progress, delay=1, unit="step", unit_scale=True, leave=None)


def _episodes(ended: list[tuple[int, float, int]]) -> Episodes:
    columns = np.array(ended).reshape(-1, 3).T
    return Episodes(columns[0].astype(int), columns[1], columns[2].astype(int))
