"""What all agents are to their user: one that acts in an environment and learns from what comes of it.

`learn` is the loop; `step` is one turn of it, for loops of your own:

    action = agent.step(observation)                        the first observation of an episode
    action = agent.step(observation, reward)                what the action led to
    agent.step(observation, reward, terminated=True)        the last; no action follows
    agent.step(observation, reward, truncated=True)         cut short: learns from the value of `observation`

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
from rtu_np.control.inputs import InputSpec, senses
from rtu_np.control.logs import Log
from rtu_np.control.policies import Policy, Softmax
from rtu_np.jit import compile_for, entry
from rtu_np.numerics.buffers import allocate, size
from rtu_np.prediction.td_kernels import CONTINUES, REFUSED, TERMINATED, TRUNCATED
from rtu_np.validation import check_count, check_dtype, check_finite, check_flag, check_real

_SPACES = ("observation_space", "action_space")
_SHOWN = 100  # episodes whose mean return the progress bar shows
_BETWEEN = 500  # steps between two looks of the progress bar


class Episodes(NamedTuple):
    """Episodes that ended while learning."""

    steps: np.ndarray  # (n,)   at which step of the agent's life
    returns: np.ndarray  # (n,)   sum of rewards
    lengths: np.ndarray  # (n,)   steps


class Inputs(NamedTuple):
    """What a network is given, as an agent's settings say it."""

    normalize_observations: bool
    scale_rewards: bool
    previous: bool


class Agent(ABC):
    """Base of all agents: spaces, the loop, logs, evaluation, checkpoints.

    A subclass writes its settings down in `_settings`, makes its spec and calls `_ready`.
    """

    _step_kernel: Callable
    _act_kernel: Callable
    _carve: Callable  # of all that learns
    _carve_acting: Callable  # of the memory of `act`

    def __init__(
        self, env: Any, gamma: float, inputs: Inputs, seed: int | None, dtype: Any, discrete: bool = False
    ) -> None:
        spaces.check_environment(env)
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.actions = spaces.Actions(env.action_space)
        if discrete and not self.actions.discrete:
            raise ValueError(
                f"the action space is {env.action_space}: expected Discrete; {type(self).__name__} chooses"
            )
        n_observation, self._write = spaces.observation_writer(env.observation_space)
        self.gamma = check_real("gamma", gamma, low=0.0, high=1.0)
        self.dtype, self.inputs = check_dtype("dtype", dtype), inputs
        for name, value in inputs._asdict().items():
            check_flag(name, value)
        before = self.actions.n + 1 if inputs.previous else 0
        self._inputs = InputSpec(n_observation, before, inputs.normalize_observations, inputs.scale_rewards, self.gamma)
        start, drawing, acting, world = np.random.SeedSequence(seed).spawn(4)
        self._start = np.random.default_rng(start)
        self._rng, self._acting_rng = np.random.default_rng(drawing), np.random.default_rng(acting)
        self._env_seed = int(world.generate_state(1)[0])
        self._env: Any = None
        self._closed = False

    def _policy_for(self, policy: Policy | None, of_components: Policy) -> Policy:
        """The policy, where it is one for these actions; by default a softmax of choices, or `of_components`."""
        policy = policy or (Softmax() if self.actions.discrete else of_components)
        if isinstance(policy, Softmax) != self.actions.discrete:
            raise ValueError(f"policy is {policy!r} for the action space {self.action_space}: the other kind is due")
        return policy

    def _ready(self, spec: Any, policy: Any, policy_spec: Any) -> None:
        """Set aside what the kernels of `spec` work on."""
        self._spec, self._policy = spec, policy
        self._flat = allocate(size(type(self)._carve, spec), self.dtype)
        self._acting = allocate(size(type(self)._carve_acting, spec), self.dtype)
        self._senses = allocate(size(senses, self._inputs), "float64")
        self._clock = np.array([0, 1])  # steps so far; whether the next is the first of an episode
        self._episode = np.zeros(3)  # return and length so far; how many have ended
        self._action = np.zeros((2, policy_spec.n_action), self.dtype)  # as drawn; as executed
        self._noise = np.zeros(policy_spec.n_noise, self.dtype)
        policy.draw(self._noise, self._rng)
        self._observation, self._signal = np.zeros(self._inputs.n_observation), np.zeros(2)
        bounds = self.actions.bounds.astype(self.dtype)
        world = (self._observation, self._signal, self._noise, self._action, bounds)
        self._to_step = (spec, self._flat, self._senses, self._clock, *world)
        self._acted, self._acting_noise = self._action.copy(), self._noise.copy()
        world = (self._observation, self._signal, self._acting_noise, self._acted, bounds)
        self._to_act = (spec, self._flat, self._senses, self._clock, self._acting, *world)
        self._step = entry(compile_for(type(self)._step_kernel, spec), *self._to_step)
        self._act: Callable | None = None  # compiled when it is first asked for

    # ------------------------------------------------------------------------------------------------- learning

    def step(self, observation: Any, reward: float = 0.0, terminated: bool = False, truncated: bool = False) -> Any:
        """Learn from one step; returns the next action as the environment takes it, or None where the episode ended.

        Parameters
        ----------
        observation : what the environment shows now
        reward : what came with it; of the first step of an episode it is ignored
        terminated, truncated : whether the episode ends here, and how; where both, it has terminated

        Raises
        ------
        ValueError : where observation or reward is not finite or of another shape; nothing has been learned from it
        RuntimeError : after `close`
        FloatingPointError : where learning has diverged
        """
        self._check_open()
        ends = TERMINATED if terminated else TRUNCATED if truncated else CONTINUES
        self._write(observation, self._observation)
        self._signal[0] = reward
        self._signal[1] = ends
        first = self._clock[1]
        done = self._step(*self._to_step)
        if done < 1:
            self._explain(done)
        if not first:
            self._episode[0] += reward
            self._episode[1] += 1
        if ends != CONTINUES:
            return None
        self._policy.draw(self._noise, self._rng)
        return self.actions.to_environment(self._action[1])

    def _explain(self, done: int) -> None:
        if done == REFUSED:
            hint = (
                f"after step {self.steps}: expected a finite number; a fault of the environment. "
                "The agent is as it was before, and can be saved"
            )
            if not np.isfinite(self._signal[0]):
                raise ValueError(f"reward is {self._signal[0]} {hint}")
            k = np.flatnonzero(~np.isfinite(self._observation))[0]
            raise ValueError(f"observation[{k}] is {self._observation[k]} {hint}")
        raise FloatingPointError(
            f"learning diverged by step {self.steps}: values, outputs or parameters are no longer usable. A smaller "
            "step size, or ObGD, which bounds its steps, is the usual cure. To go on, load a checkpoint saved earlier."
        )

    def learn(
        self,
        env: Any,
        steps: int,
        progress: bool = True,
        callback: Callable[["Agent"], Any] | None = None,
        log: str | os.PathLike | None = "runs",
    ) -> Episodes:
        """Act in `env` and learn on every step, for so many steps. Returns the episodes that ended.

        In the environment of the last call, it goes on in the middle of the episode; in another, it resets that, and
        forgets the stream.

        Parameters
        ----------
        progress : whether to show a bar, on a terminal
        callback : called as `callback(agent)` after every step; where it returns False, learning stops
        log : folder of `episodes.csv` and `learning.csv` (`rtu_np.control.logs`): "runs" makes a new one in there, None none
        """
        check_count("steps", steps)
        self._check_open()
        self._check_spaces(env)
        if env is not self._env or self._clock[1]:
            if env is not self._env:
                self.reset()
            self._begin(env)
        ended: list[tuple[int, float, int]] = []
        with (
            Log(log, f"{type(self).__name__}-{_name_of(env)}", self) as book,
            tqdm(total=steps, disable=None if progress else True, delay=1, unit="step", unit_scale=True) as bar,
        ):
            for k in range(1, steps + 1):
                observation, reward, terminated, truncated, _ = env.step(self.actions.to_environment(self._action[1]))
                self.step(observation, float(reward), terminated, truncated)
                if terminated or truncated:
                    ended.append((self.steps, self._episode[0], int(self._episode[1])))
                    self._episode[:] = 0, 0, self._episode[2] + 1
                    book.episode(int(self._episode[2]), *ended[-1])
                    self._begin(env)
                book.step(self.steps)
                if k % _BETWEEN == 0 or k == steps:
                    bar.update((k - 1) % _BETWEEN + 1)
                    if ended:
                        recent = np.mean([row[1] for row in ended[-_SHOWN:]])
                        bar.set_postfix_str(f"return {recent:.4g}", refresh=False)
                if callback is not None and callback(self) is False:
                    break
        columns = np.array(ended).reshape(-1, 3).T
        return Episodes(columns[0].astype(int), columns[1], columns[2].astype(int))

    def _begin(self, env: Any) -> None:
        """Begin an episode; the first in an environment with the agent's own seed, so that one seed says all."""
        seed = None if env is self._env else self._env_seed + self.steps  # not the same episodes after each change
        observation, _ = env.reset(seed=seed)
        self._env = env
        self._episode[:2] = 0
        self.step(observation)

    def resume(self, env: Any) -> None:
        """Say that `env` stands in mid-episode where this agent left it, so that `learn` goes on from there."""
        self._check_spaces(env)
        self._env = env

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this agent has been closed: load it again, or make another, to go on learning")

    def _check_spaces(self, env: Any) -> None:
        spaces.check_environment(env)
        for name in _SPACES:
            mine, its = getattr(self, name), getattr(env, name)
            if spaces.describe(mine) != spaces.describe(its):
                raise ValueError(f"env has {name} {its}: expected {mine}; is the agent another environment's?")

    # --------------------------------------------------------------------------------------------------- acting

    def act(self, observation: Any, deterministic: bool = False, reward: float = 0.0) -> Any:
        """An action without learning, with a memory of its own that learning does not touch; `reset` clears it.

        Parameters
        ----------
        deterministic : whether to take the most probable action
        reward : the one before, for an agent that is shown it (`previous=True`)
        """
        if self._act is None:
            self._act = entry(compile_for(type(self)._act_kernel, self._spec), *self._to_act)
        self._write(observation, self._observation)
        check_finite("observation", self._observation)
        self._signal[0], self._signal[1] = check_real("reward", reward), deterministic
        self._policy.draw(self._acting_noise, self._acting_rng)
        self._act(*self._to_act)
        return self.actions.to_environment(self._acted[1])

    def evaluate(self, env: Any, episodes: int = 10, deterministic: bool = True, seed: int | None = 0) -> np.ndarray:
        """Returns (episodes,) of whole episodes without learning. Neither what is learned nor its memory changes.

        Let `env` be another than the one it learns in, whose episode would be lost.
        """
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

    # ---------------------------------------------------------------------------------------------------- state

    @property
    def steps(self) -> int:
        """Steps learned from so far."""
        return int(self._clock[0])

    @property
    @abstractmethod
    def parameters(self) -> dict[str, np.ndarray]:
        """{name: writable view}"""

    @abstractmethod
    def diagnostics(self) -> dict[str, float]:
        """How learning goes, as numbers: what `learning.csv` holds."""

    @abstractmethod
    def _forget(self) -> None:
        """Clear memory, and whatever else belongs to the stream."""

    def reset(self) -> None:
        """Forget the stream: memory and traces, and what `act` remembers; what was learned stays."""
        self._forget()
        self._acting[:] = 0
        self._clock[1] = 1
        self._env = None

    def close(self) -> None:
        """Let the environment go. It can still act and be saved; learning after this is an error."""
        self._env, self._closed = None, True

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """The constructor's arguments beside env and seed."""

    @abstractmethod
    def _learned(self) -> dict[str, np.ndarray]:
        """{name: view} of all that changes in the networks, and of their latest input."""

    def _arrays(self) -> dict[str, np.ndarray]:
        own = {"clock": self._clock, "episode": self._episode, "action": self._action, "noise": self._noise}
        own |= {"acting": self._acting, "senses": self._senses}
        return {**self._learned(), **own}

    def save(self, path: str | os.PathLike) -> Path:
        """Write everything to `path`, so that `load` continues in mid-episode, bit for bit; the environment's own state
        is not in it."""
        settings = {name: checkpoint.describe(part) for name, part in self._settings().items()}
        generators = {"rng": self._rng.bit_generator.state, "acting_rng": self._acting_rng.bit_generator.state}
        world: dict[str, Any] = {name: spaces.describe(getattr(self, name)) for name in _SPACES}
        world["env_seed"] = self._env_seed
        page = {"learner": type(self).__name__, "settings": settings, **generators, **world}
        return checkpoint.save(path, page, self._arrays())

    @classmethod
    def load(cls, path: str | os.PathLike, **given: Any) -> Any:
        """The agent that was saved at `path`. Parts that are not of this package are `given` by name, cell=..."""
        page, arrays = checkpoint.load(path)
        if page.get("learner") != cls.__name__:
            raise ValueError(
                f"path {os.fspath(path)!r} is a checkpoint of {page.get('learner')}: expected one of {cls.__name__}"
            )
        if unknown := given.keys() - page.get("settings", given).keys():
            raise TypeError(
                f"{min(unknown)} is given: expected settings of {cls.__name__}, {', '.join(page['settings'])}"
            )
        try:
            settings = {
                name: given[name] if name in given else checkpoint.build(name, part) if isinstance(part, dict) else part
                for name, part in page["settings"].items()
            }
            world = _Spaces(spaces.build(page["observation_space"]), spaces.build(page["action_space"]))
            agent = cls(world, **settings)
            agent._rng.bit_generator.state = page["rng"]
            agent._acting_rng.bit_generator.state = page["acting_rng"]
            agent._env_seed = page["env_seed"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"path {os.fspath(path)!r} holds settings that cannot be built: {error}") from error
        if "clock" in arrays and arrays["clock"].shape == agent._clock.shape:
            agent._clock[:] = arrays["clock"]  # how much of a rollout there is depends on it
        checkpoint.restore(path, agent._arrays(), arrays)
        return agent


class _Spaces(NamedTuple):
    """Enough of an environment to make an agent for it."""

    observation_space: Any
    action_space: Any


def _name_of(env: Any) -> str:
    spec = getattr(env, "spec", None)
    return (spec.id if spec is not None else type(env).__name__).replace("/", "-")
