"""The base of every agent: it acts in an environment and learns from observations and rewards.

`learn` is the loop; `step` is one turn of the loop, for loops of your own:

    action = agent.step(observation)                        the first observation of an episode
    action = agent.step(observation, reward)                the result of the action
    agent.step(observation, reward, terminated=True)        the last observation; no action follows
    agent.step(observation, reward, truncated=True)         cut off: learns from the value of `observation`

Termination bootstraps nothing; truncation bootstraps from the final observation. After either, memory and traces are
cleared, and the next call begins an episode.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from rtu_np import checkpoint
from rtu_np.control import spaces
from rtu_np.control.acting import act, acting_memory
from rtu_np.control.inputs import (
    DETERMINISTIC,
    EXECUTED,
    REWARD,
    InputSettings,
    StepBuffers,
    input_statistics,
    largest_input,
    likely_cause,
    why_refused,
)
from rtu_np.control.logs import Log
from rtu_np.control.policies import Gaussian, Policy, Softmax
from rtu_np.jit import compile_for, entry
from rtu_np.learning.optimizers import cure_of_divergence
from rtu_np.learning.outcomes import CONTINUES, DONE, END, IS_FIRST, REFUSED, STEPS, TERMINATED, TRUNCATED
from rtu_np.numerics.buffers import allocate, size
from rtu_np.validation import brief, check_count, check_dtype, check_number, check_real

_SPACES = ("observation_space", "action_space")
_SHOWN = 100  # episodes whose mean return the progress bar shows
_BETWEEN = 500  # steps between two updates of the progress bar
# Slots of the present episode: its return and length so far, and how many episodes have ended.
_RETURN, _LENGTH, _ENDED = 0, 1, 2
_ONE_REWARD = "mo_gymnasium.wrappers.LinearReward makes one number of a vector"


class Episodes(NamedTuple):
    """Episodes that ended while learning."""

    steps: np.ndarray  # (n,)   at which step of the agent's life
    returns: np.ndarray  # (n,)   sum of rewards
    lengths: np.ndarray  # (n,)   steps


class Agent(ABC):
    """Base of all agents: spaces, the loop, logs, evaluation, checkpoints.

    A subclass stores its settings under the names of its constructor's arguments, makes its spec, and calls `_ready`.
    """

    _step_kernel: Callable
    _layout: Callable  # of all learning arrays

    def __init__(self, env: Any, gamma: float, inputs: InputSettings, seed: int | None, dtype: Any) -> None:
        spaces.check_environment(env)
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.actions = spaces.Actions(env.action_space)
        n_observation, self._write = spaces.observation_writer(env.observation_space)
        self.gamma = check_real("gamma", gamma, low=0.0, high=1.0)
        self.dtype, self.inputs = check_dtype("dtype", dtype), inputs.checked()
        self._inputs = self.inputs.spec(n_observation, self.actions.n, self.gamma)
        start, drawing, acting, environment = np.random.SeedSequence(seed).spawn(4)
        self._start = np.random.default_rng(start)
        self._rng, self._acting_rng = np.random.default_rng(drawing), np.random.default_rng(acting)
        self._env_seed = int(environment.generate_state(1)[0])
        self._env: Any = None
        self._closed = False

    def _policy_for(self, policy: Policy | None, continuous: Gaussian) -> Policy:
        """The policy, if it suits the action space; by default a softmax, or the `continuous` one."""
        default = Softmax() if self.actions.discrete else continuous
        policy = policy or default
        if not (hasattr(policy, "spec") and hasattr(policy, "draw")):
            raise TypeError(f"policy is {policy!r}: expected a policy such as {brief(default)}")
        if isinstance(policy, Softmax) != self.actions.discrete:
            raise ValueError(f"policy is {policy!r} for action space {self.action_space}: expected {brief(default)}")
        return policy

    def _ready(self, spec: Any, policy: Any) -> None:
        """Allocate the arrays of the kernels of `spec`."""
        self._spec, self._policy = spec, policy
        self._flat = allocate(size(type(self)._layout, spec), self.dtype)
        self._acting = allocate(size(acting_memory, spec), self.dtype)
        self._episode = np.zeros(3)
        self._buffers = StepBuffers(
            statistics=allocate(size(input_statistics, self._inputs), "float64"),
            clock=np.array([0, 1]),
            observation=np.zeros(self._inputs.n_observation),
            signal=np.zeros(3),
            noise=np.zeros(spec.policy.n_noise, self.dtype),
            action=np.zeros((2, spec.policy.n_action), self.dtype),
            bounds=self.actions.bounds.astype(self.dtype),
        )
        policy.draw(self._buffers.noise, self._rng)
        # `act` has an action and noise of its own. So the action and noise that learning has drawn stay.
        self._acting_buffers = self._buffers._replace(
            noise=self._buffers.noise.copy(), action=self._buffers.action.copy()
        )
        # Looked up once: each step from Python reads them.
        self._clock, self._signal, self._noise = self._buffers.clock, self._buffers.signal, self._buffers.noise
        self._observation, self._executed = self._buffers.observation, self._buffers.action[EXECUTED]
        self._acting_noise, self._acted = self._acting_buffers.noise, self._acting_buffers.action[EXECUTED]
        self._to_step = (spec, self._flat, self._buffers)
        self._to_act = (spec, self._flat, self._acting, self._acting_buffers)
        self._step = entry(compile_for(type(self)._step_kernel, spec), *self._to_step)
        self._act: Callable | None = None  # compiled at the first call of `act`

    # ------------------------------------------------------------------------------------------------- learning

    def step(self, observation: Any, reward: float = 0.0, terminated: bool = False, truncated: bool = False) -> Any:
        """Learn from one step; returns the next action as the environment takes it, or None if the episode has ended.

        Parameters
        ----------
        observation : the present observation
        reward : the reward that arrives with the observation; ignored at the first step of an episode
        terminated, truncated : whether the episode ends here, and how; if both are true, it has terminated

        Raises
        ------
        ValueError : if observation or reward is not finite or of another shape; nothing has been learned
        RuntimeError : after `close`
        FloatingPointError : if learning has diverged
        """
        self._check_open()
        end = TERMINATED if terminated else TRUNCATED if truncated else CONTINUES
        self._write(observation, self._observation)
        signal = self._signal
        reward = reward if isinstance(reward, float) else check_number("reward", reward, hint=_ONE_REWARD)
        signal[REWARD], signal[END] = reward, end
        first = self._clock[IS_FIRST]
        outcome = self._take_step()
        if outcome < DONE:
            self._explain(outcome)
        if not first:
            self._episode[_RETURN] += reward
            self._episode[_LENGTH] += 1
        if end != CONTINUES:
            return None
        self._policy.draw(self._noise, self._rng)
        return self.actions.to_environment(self._executed)

    def _take_step(self) -> int:
        """The compiled step; returns its outcome (`rtu_np.learning.outcomes`)."""
        return self._step(*self._to_step)

    def _explain(self, outcome: int) -> None:
        """Raise the error for a compiled step that did not succeed."""
        if outcome == REFUSED:
            raise ValueError(why_refused(self._inputs, self._buffers))
        raise FloatingPointError(
            f"learning diverged by step {self.steps}: values, outputs or parameters are no longer usable."
            f"{likely_cause(self._buffers)} The usual cure is {cure_of_divergence(*self._settings().values())}. "
            "To go on, load a checkpoint saved earlier."
        )

    def learn(
        self,
        env: Any,
        steps: int,
        progress: bool = True,
        callback: Callable[["Agent"], Any] | None = None,
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
                self.step(observation, reward, terminated, truncated)
                if terminated or truncated:
                    ended.append((self.steps, self._episode[_RETURN], int(self._episode[_LENGTH])))
                    self._episode[:] = 0, 0, self._episode[_ENDED] + 1
                    table.episode(int(self._episode[_ENDED]), *ended[-1])
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
        self.step(observation)
        self._env = env
        self._episode[_RETURN], self._episode[_LENGTH] = 0, 0

    def resume(self, env: Any) -> None:
        """Continue in env, which is in the middle of the episode that this agent left: `learn` will not reset env."""
        self._check_spaces(env)
        self._env = env

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this agent has been closed: load it again, or make another, to go on learning")

    def _check_spaces(self, env: Any) -> None:
        spaces.check_environment(env)
        for name in _SPACES:
            mine, given = getattr(self, name), getattr(env, name)
            if spaces.describe(mine) != spaces.describe(given):
                raise ValueError(f"env has {name} {given}: expected {mine}; is the agent made for another environment?")

    # --------------------------------------------------------------------------------------------------- acting

    def act(self, observation: Any, deterministic: bool = False, reward: float = 0.0) -> Any:
        """Return an action without learning; if `deterministic`, the most probable action. Learning does not change the
        memory of `act`, and `reset` clears it. `reward` : the previous reward, if `previous_action_reward` is True."""
        if self._act is None:
            self._act = entry(compile_for(act, self._spec), *self._to_act)
        self._write(observation, self._observation)
        self._signal[DETERMINISTIC] = deterministic
        self._check_reward(reward)
        if not np.abs(self._observation).max(initial=0) <= largest_input(
            self._buffers, self.inputs.normalize_observations
        ):
            self._explain(REFUSED)
        self._policy.draw(self._acting_noise, self._acting_rng)
        self._act(*self._to_act)
        return self.actions.to_environment(self._acted)

    def _check_reward(self, reward: Any) -> float:
        """The reward as a float, by the rule of `step`."""
        number = self._signal[REWARD] = check_number("reward", reward, hint=_ONE_REWARD)
        if not abs(number) <= largest_input(self._buffers, self.inputs.scale_rewards):
            self._explain(REFUSED)
        return number

    def evaluate(self, env: Any, episodes: int = 10, deterministic: bool = True, seed: int | None = 0) -> np.ndarray:
        """Returns (episodes,) of whole episodes without learning; parameters and memory stay. Pass another environment
        than that of `learn`, whose present episode would be lost."""
        check_count("episodes", episodes)
        self._check_spaces(env)
        if env is self._env:
            self._env = None
        own, drawn, returns = self._acting.copy(), self._acting_rng.bit_generator.state, np.zeros(episodes)
        try:
            for k in range(episodes):
                self._acting[:] = 0
                observation, _ = env.reset(seed=seed if k == 0 else None)
                reward, over = 0.0, False
                while not over:
                    action = self.act(observation, deterministic, reward)
                    observation, reward, terminated, truncated, _ = env.step(action)
                    reward, over = self._check_reward(reward), terminated or truncated
                    returns[k] += reward
        except (TypeError, ValueError):  # a number was refused: as if no action had been drawn
            self._acting_rng.bit_generator.state = drawn
            raise
        finally:
            self._acting[:] = own
        return returns

    # ---------------------------------------------------------------------------------------------------- state

    @property
    def steps(self) -> int:
        """Steps learned from so far."""
        return int(self._clock[STEPS])

    @property
    @abstractmethod
    def parameters(self) -> dict[str, np.ndarray]:
        """{name: writable view}"""

    @abstractmethod
    def diagnostics(self) -> dict[str, float]:
        """{name: number} about learning, for `learning.csv`."""

    @abstractmethod
    def _forget(self) -> None:
        """Clear memory, and all other arrays that belong to the stream."""

    def reset(self) -> None:
        """Clear memory, traces and the memory of `act`. Parameters stay."""
        self._forget()
        self._acting[:] = 0
        self._clock[IS_FIRST] = 1
        self._env = None

    def close(self) -> None:
        """Release the environment. The agent can still act and be saved; learning then raises RuntimeError."""
        self._env, self._closed = None, True

    def __repr__(self) -> str:
        return f"{type(self).__name__}({brief(self.cell)}, steps={self.steps})"  # type: ignore[attr-defined]

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """The constructor's arguments except env and seed."""

    @abstractmethod
    def _learned(self) -> dict[str, np.ndarray]:
        """{name: view} of all arrays that change in the networks, and of their latest input."""

    def _arrays(self) -> dict[str, np.ndarray]:
        changing = ("clock", "action", "noise", "statistics")
        own = {name: getattr(self._buffers, name) for name in changing}
        return {**self._learned(), **own, "episode": self._episode, "acting": self._acting}

    def save(self, path: str | os.PathLike) -> Path:
        """Write all but the environment's state to `path`, so that `load` continues in mid-episode, bit for bit."""
        settings = {name: checkpoint.describe(part) for name, part in self._settings().items()}
        generators = {"rng": self._rng.bit_generator.state, "acting_rng": self._acting_rng.bit_generator.state}
        environment: dict[str, Any] = {name: spaces.describe(getattr(self, name)) for name in _SPACES}
        environment["env_seed"] = self._env_seed
        page = {"learner": type(self).__name__, "settings": settings, **generators, **environment}
        return checkpoint.save(path, page, self._arrays())

    @classmethod
    def load(cls, path: str | os.PathLike, **given: Any) -> Any:
        """The agent that was saved at `path`. Pass parts that are not of this package by name: cell=..."""
        page, arrays = checkpoint.load(path)
        if page.get("learner") != cls.__name__:
            raise ValueError(
                f"path {os.fspath(path)!r} is a checkpoint of {page.get('learner')}: expected one of {cls.__name__}"
            )
        if isinstance(page.get("settings"), dict):
            page["settings"].setdefault("clip_observations", None)  # an older file lacks it
        if unknown := given.keys() - page.get("settings", given).keys():
            raise TypeError(
                f"{min(unknown)} is given: expected settings of {cls.__name__}, {', '.join(page['settings'])}"
            )
        try:
            settings = {
                name: given[name] if name in given else checkpoint.build(name, part) if isinstance(part, dict) else part
                for name, part in page["settings"].items()
            }
            stand_in = _Spaces(spaces.build(page["observation_space"]), spaces.build(page["action_space"]))
            agent = cls(stand_in, **settings)
            agent._rng.bit_generator.state = page["rng"]
            agent._acting_rng.bit_generator.state = page["acting_rng"]
            agent._env_seed = page["env_seed"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"path {os.fspath(path)!r} holds settings that cannot be built: {error}") from error
        if "clock" in arrays and arrays["clock"].shape == agent._clock.shape:
            agent._clock[:] = arrays["clock"]  # the number of stored transitions depends on it
        checkpoint.restore(path, agent._arrays(), arrays)
        return agent


class _Spaces(NamedTuple):
    """Enough of an environment to make an agent for it."""

    observation_space: Any
    action_space: Any


def _name_of(env: Any) -> str:
    spec = getattr(env, "spec", None)
    return (spec.id if spec is not None else type(env).__name__).replace("/", "-")
