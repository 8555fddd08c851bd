"""The base of every agent: it acts in an environment and learns from observations and rewards.

`learn` is the loop (`rtu_np.control.loop`); `step` is one turn of the loop, for loops of your own:

    action = agent.step(observation)                        the first observation of an episode
    action = agent.step(observation, reward)                the result of the action
    agent.step(observation, reward, terminated=True)        the last observation; no action follows
    agent.step(observation, reward, truncated=True)         cut off: learns from the value of `observation`

Termination bootstraps nothing; truncation bootstraps from the final observation. After either, memory and traces are
cleared, and the next call begins an episode.
"""

import os
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rtu_np.cells.layer import Cell
from rtu_np.compiled_environment import replaces_functions
from rtu_np.control import agent_files, spaces
from rtu_np.control.acting import act, acting_memory
from rtu_np.control.actions import Actions
from rtu_np.control.compiled_loop import CompiledLoop
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
from rtu_np.control.loop import Loop
from rtu_np.control.policies import Gaussian, Policy
from rtu_np.control.softmax import Softmax
from rtu_np.fixed_settings import FixedSettings
from rtu_np.jit import compile_for, entry
from rtu_np.learning.diagnostics import Watch
from rtu_np.learning.optimizers import cure_of_divergence
from rtu_np.learning.outcomes import CONTINUES, DONE, END, IS_FIRST, PAUSED, REFUSED, STEPS, how_it_ends
from rtu_np.numerics.buffers import allocate, size
from rtu_np.progress import compiling
from rtu_np.validation import brief, check_dtype, check_number, check_real, check_seed, check_settings

_ONE_REWARD = "mo_gymnasium.wrappers.LinearReward makes one number of a vector"


class Agent(FixedSettings, Loop):
    """Base of all agents: spaces, arrays, one step, acting, checkpoints.

    A subclass stores its settings under the names of its constructor's arguments, makes its spec, and calls `_ready`.
    """

    _step_kernel: Callable
    _layout: Callable  # of all learning arrays

    def __init__(self, env: Any, gamma: float, inputs: InputSettings, seed: int | None, dtype: Any) -> None:
        spaces.check_environment(env)
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.actions = Actions(env.action_space)
        n_observation, self._write = spaces.observation_writer(env.observation_space)
        self.gamma = check_real("gamma", gamma, low=0.0, high=1.0)
        self.dtype, self.inputs = check_dtype("dtype", dtype), inputs.checked()
        self._inputs = self.inputs.spec(n_observation, self.actions.width, self.gamma)
        seeds: Any = check_seed("seed", seed).bit_generator.seed_seq
        if seeds is None:
            raise TypeError(f"seed is {seed!r}: expected an integer, a SeedSequence, or a Generator made from one")
        self.seed = agent_files.plain_seed(seeds)  # which may be that of fresh entropy
        start, drawing, acting, environment = seeds.spawn(4)
        self._start = np.random.default_rng(start)
        self._rng, self._acting_rng = np.random.default_rng(drawing), np.random.default_rng(acting)
        self._env_seed = int(environment.generate_state(1)[0])
        self._env: Any = None
        self._closed = False
        self._watch = Watch()

    def _policy_for(self, policy: Policy | None, continuous: Gaussian) -> Policy:
        """The policy, if it suits the action space; by default a softmax, or the `continuous` one."""
        default = Softmax() if self.actions.discrete else continuous
        policy = default if policy is None else policy
        expected = f"a policy such as {brief(default)}"
        if isinstance(policy, Cell) or not hasattr(check_settings("policy", policy, expected, 1), "draw"):
            raise TypeError(f"policy is {policy!r}: expected {expected}")
        if isinstance(policy, Softmax) != self.actions.discrete:
            raise ValueError(f"policy is {policy!r} for action space {self.action_space}: expected {brief(default)}")
        if isinstance(policy, Gaussian):
            self.actions.warn_of_scale(stacklevel=4)  # the caller of the agent's constructor
        return policy

    def _ready(self, spec: Any, policy: Any, *more: Any) -> None:
        """Allocate the arrays of the kernels of `spec`. The compiled step also gets the arguments `more`."""
        self._spec, self._policy = spec, policy
        self._flat = allocate(size(type(self)._layout, spec), self.dtype)
        self._acting = allocate(size(acting_memory, spec), self.dtype)
        self._buffers = StepBuffers(
            statistics=allocate(size(input_statistics, self._inputs), "float64"),
            clock=np.array([0, 1]),
            episode=np.zeros(3),
            observation=np.zeros(self._inputs.n_observation),
            signal=np.zeros(3),
            noise=np.zeros(spec.policy.n_noise, self.dtype),
            action=np.zeros((2, spec.policy.n_action), self.dtype),
            bounds=self.actions.bounds(self.dtype),
        )
        policy.draw(self._buffers.noise, self._rng)
        # `act` has an action and noise of its own. So the action and noise that learning has drawn stay.
        self._acting_buffers = self._buffers._replace(
            noise=self._buffers.noise.copy(), action=self._buffers.action.copy()
        )
        # Looked up once: each step from Python reads them.
        self._clock, self._signal, self._noise = self._buffers.clock, self._buffers.signal, self._buffers.noise
        self._episode = self._buffers.episode
        self._observation, self._executed = self._buffers.observation, self._buffers.action[EXECUTED]
        self._acting_noise, self._acted = self._acting_buffers.noise, self._acting_buffers.action[EXECUTED]
        self._to_step = (spec, self._flat, self._buffers, *more)
        self._to_act = (spec, self._flat, self._acting, self._acting_buffers)
        self._compiled_step = compile_for(type(self)._step_kernel, spec)
        with compiling(f"{type(self).__name__} with {type(self.cell).__name__}"):  # type: ignore[attr-defined]
            self._step = entry(self._compiled_step, *self._to_step)
        self._act: Any = None  # compiled at the first call of `act`

    # ------------------------------------------------------------------------------------------------- learning

    def step(self, observation: Any, reward: float = 0.0, terminated: bool = False, truncated: bool = False) -> Any:
        """Learn from one step; returns the next action as the environment takes it, or None if the episode has ended.

        If Ctrl-C interrupts the call, the step is made or it is not: `steps` says how many were made. An update of PPO
        is finished first.

        Parameters
        ----------
        observation : the present observation, of the environment's space: an array (d,), or what the space has
        reward : the reward that arrives with the observation; ignored at the first step of an episode
        terminated, truncated : whether the episode ends here, and how; if both are true, it has terminated

        Raises
        ------
        ValueError : if observation or reward is not finite, or not of their space; nothing has been learned
        RuntimeError : after `close`
        FloatingPointError : if learning has diverged
        """
        if self._closed:
            self._check_open()
        end = how_it_ends(terminated, truncated) if terminated or truncated else CONTINUES
        self._write(observation, self._observation)
        signal = self._signal
        reward = reward if isinstance(reward, float) else check_number("reward", reward, hint=_ONE_REWARD)
        signal[REWARD], signal[END] = reward, end
        try:
            outcome = self._take_step(self._step, self._to_step)
            if outcome < DONE:
                self._see_to(outcome)
            if end != CONTINUES:
                return None
            self._policy.draw(self._noise, self._rng)
            return self.actions.to_environment(self._executed)
        except KeyboardInterrupt:
            self._policy.draw(self._noise, self._rng)  # the noise may be that of an action that has been drawn
            raise

    def _take_step(self, step: Callable, arguments: tuple) -> int:
        """The compiled step, or a stretch of them; returns its outcome (`rtu_np.learning.outcomes`)."""
        return step(*arguments)

    def _see_to(self, outcome: int) -> None:
        """What follows a step that was not simply done."""
        if outcome != PAUSED:
            self._explain(outcome)
        self._between_steps()

    def _take_stretch(self, loop: CompiledLoop, n: int) -> None:
        """Up to n steps in compiled code. If the last returned early, what follows it is as in `step`."""
        try:
            outcome = self._take_step(loop.run, (n,))
            if loop.outcome == DONE:
                return
            if outcome < DONE:
                self._see_to(outcome)
            if self._signal[END] == CONTINUES:
                self._policy.draw(self._noise, self._rng)
        except KeyboardInterrupt:
            self._policy.draw(self._noise, self._rng)
            raise

    def _can_take_stretches(self) -> bool:
        """Whether `step` is the one above, and not that of somebody's subclass."""
        return type(self).step is Agent.step and not replaces_functions(self)

    def _explain(self, outcome: int) -> None:
        """Raise the error for a compiled step that did not succeed."""
        if outcome == REFUSED:
            raise ValueError(why_refused(self._inputs, self._buffers))
        raise FloatingPointError(
            f"learning diverged by step {self.steps}: values, outputs or parameters are no longer usable."
            f"{likely_cause(self._buffers)} The usual cure is {cure_of_divergence(*self._settings().values())}. "
            "To go on, load a checkpoint saved earlier."
        )

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this agent has been closed: load it again, or make another, to go on learning")

    # --------------------------------------------------------------------------------------------------- acting

    def act(
        self, observation: Any, deterministic: bool = False, reward: float = 0.0, episode_start: bool = False
    ) -> Any:
        """Return an action without learning.

        `act` has a memory of its own. It changes nothing of learning, and learning does not change it; `reset` clears
        the memories of both. It is not for another thread while the agent learns: both use arrays of the agent.

        Parameters
        ----------
        observation : the present observation, of the environment's space: an array (d,), or what the space has
        deterministic : whether to take the most probable action, in place of drawing one
        reward : the previous reward, if `previous_action_reward` is True
        episode_start : whether this observation begins an episode; the memory of `act` is cleared first

        Raises
        ------
        ValueError, TypeError : if observation or reward is not usable; the memory of `act` stays
        FloatingPointError : if learning has diverged
        """
        if self._act is None:
            self._compile_act()
        self._write(observation, self._observation)
        self._signal[DETERMINISTIC] = deterministic
        self._check_reward(reward)
        if not np.abs(self._observation).max(initial=0) <= largest_input(
            self._buffers, self.inputs.normalize_observations
        ):
            self._explain(REFUSED)
        if episode_start:
            self._acting[:] = 0
        self._policy.draw(self._acting_noise, self._acting_rng)
        if not self._act(*self._to_act):
            self._explain_act()
        return self.actions.to_environment(self._acted)

    def _explain_act(self) -> None:
        raise FloatingPointError(
            "the policy's outputs are not finite, so there is no action: learning has diverged. To go on, load a "
            "checkpoint saved earlier."
        )

    def _compile_act(self) -> None:
        if self._act is None:
            with compiling(f"act of {type(self).__name__}"):
                self._act = entry(compile_for(act, self._spec), *self._to_act)

    def _check_reward(self, reward: Any) -> float:
        """The reward as a float, by the rule of `step`."""
        number = self._signal[REWARD] = check_number("reward", reward, hint=_ONE_REWARD)
        if not abs(number) <= largest_input(self._buffers, self.inputs.scale_rewards):
            self._explain(REFUSED)
        return number

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

    def _between_steps(self) -> None:
        """The work of a pause between two steps (`rtu_np.learning.outcomes.PAUSED`)."""

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
        """Write all but the environment's state to `path`, so that `load` continues in mid-episode, bit for bit.

        Returns the file's path: one without a suffix gets `.npz`. The file is written completely, or not at all.
        """
        return agent_files.save(self, path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Settings, spaces and arrays for `copy.deepcopy` and `pickle`; as in a file, no environment."""
        stand_in = agent_files.Spaces(self.observation_space, self.action_space)
        return agent_files.revived, (type(self), stand_in, self._settings(), agent_files.contents(self))

    @classmethod
    def load(cls, path: str | os.PathLike, **given: Any) -> Any:
        """The agent that was saved at `path`. Pass parts that are not of this package by name: cell=...

        Raises
        ------
        ValueError : if the file is damaged, cut short, or of another program or agent
        OSError : what the system says: the file is missing, or may not be read
        TypeError : if a name that is given is not a setting of this agent
        """
        return agent_files.load(cls, path, given)
