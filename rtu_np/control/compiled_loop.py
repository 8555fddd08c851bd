"""Stretches of steps of an agent and its environment, in compiled code.

`learn` makes them if the environment is compiled (`rtu_np.compiled_environment`) behind no other wrappers than those of
`gymnasium.make`, and if nobody looks at single steps. A stretch calls the compiled step of the agent that `Agent.step`
calls, by its address. So after n steps all is as after n turns of the loop in Python, to the bit: arrays, generators,
environment, and the counters of wrappers.

NumPy draws the noise of a whole stretch beforehand: Numba's own normal numbers are not NumPy's to the bit. Behind the
stretch, the agent's generator is set back, and draws again what the stretch has used.

A stretch ends after n steps, or early if the agent's step returns something else than DONE. Then Python does what it
does after such a step.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rtu_np import numba_compiler
from rtu_np.compiled_environment import advance, begin, has_wide_numbers, is_compiled, replaces_functions
from rtu_np.control.actions import environment_action
from rtu_np.control.inputs import ENDED, EXECUTED, LENGTH, RETURN, REWARD
from rtu_np.jit import address, call_at, compile_for, entry
from rtu_np.learning.outcomes import CONTINUES, DONE, END, IS_FIRST, STEPS, TERMINATED, TRUNCATED
from rtu_np.numerics.buffers import clear, copy
from rtu_np.progress import compiling

ENOUGH = 50_000  # steps of an agent's life from which on compiling a stretch pays
LEAST = 1_000  # steps of one call, below which finding the compiled stretch takes longer than its steps
_ROWS = 1 << 13  # episodes that one stretch holds
_FIRST, _BRIEF = 16, 0.1  # steps of the first stretch; seconds of a stretch, after which the next is not longer

# Rows of the limits of TimeLimit wrappers: steps of the present episode, and the most there may be.
ELAPSED, MOST = 0, 1
# Slots of what a stretch has made: steps; episodes that ended; whether its last observation began an episode; how many
# rows of noise it has used.
MADE, OVER, BEGINS, DRAWN = 0, 1, 2, 3


class EnvArrays(NamedTuple):
    """The arrays of an environment that a stretch reads and writes."""

    dynamics: Any
    state: np.ndarray
    observation: np.ndarray  # (n_observation,) of the space's own type
    takes: Any  # how it takes an action, for `environment_action`
    action: np.ndarray
    limits: np.ndarray  # (2, n)   ELAPSED, MOST, for each TimeLimit
    episodes: np.ndarray  # (rows, 3) float64   step, return, length
    made: np.ndarray  # (4,)   MADE, OVER, BEGINS, DRAWN


def stretch(step, agent, env, noise, env_rng, n):
    """Make up to n steps of the environment; returns the outcome of the agent's last step.

    step : address of the agent's compiled step, whose arguments are `agent`
    noise : (more than n, n_noise)   a row for each action
    """
    buffers = agent[2]  # PPO's step has another argument
    clock, signal, episode, made, limits = buffers.clock, buffers.signal, buffers.episode, env.made, env.limits
    made[MADE], made[OVER], made[DRAWN] = 0, 0, 0
    while clock[IS_FIRST] != 0 or (made[MADE] < n and made[OVER] < env.episodes.shape[0]):
        begins, reward, end = clock[IS_FIRST] != 0, 0.0, CONTINUES
        clear(env.observation)
        if begins:
            begin(env.dynamics, env.state, env_rng, env.observation)
            for k in range(limits.shape[1]):
                limits[ELAPSED, k] = 0
        else:
            action = environment_action(env.takes, buffers.action[EXECUTED], env.action)
            reward, terminated, truncated = advance(env.dynamics, env.state, action, env_rng, env.observation)
            for k in range(limits.shape[1]):
                limits[ELAPSED, k] += 1
                truncated = truncated or limits[ELAPSED, k] >= limits[MOST, k]
            end = TERMINATED if terminated else TRUNCATED if truncated else CONTINUES
            made[MADE] += 1
        made[BEGINS] = begins
        for k in range(env.observation.shape[0]):
            buffers.observation[k] = env.observation[k]
        signal[REWARD], signal[END] = reward, end
        outcome = call_at(step, agent)
        if outcome != DONE:
            return outcome
        if end == CONTINUES:
            copy(noise[made[DRAWN]], buffers.noise)
            made[DRAWN] += 1
        else:
            row = env.episodes[made[OVER]]
            row[0], row[1], row[2] = clock[STEPS], episode[RETURN], episode[LENGTH]
            made[OVER] += 1
            episode[ENDED] += 1
    return DONE


class CompiledLoop:
    """Makes stretches of one agent in one environment."""

    def __init__(self, agent: Any, env: Any, layers: list[Any]) -> None:
        from gymnasium.wrappers import TimeLimit

        self._env, self._agent = env, agent
        self._layers, inner = layers, env.unwrapped
        self._limiting: list[Any] = [layer for layer in layers if type(layer) is TimeLimit]
        space, (takes, action) = inner.observation_space, agent.actions.compiled()
        self._arrays = EnvArrays(
            inner.dynamics,
            inner.state,
            np.zeros(space.shape, space.dtype),
            takes,
            action,
            np.zeros((2, len(self._limiting)), np.int64),
            np.zeros((_ROWS, 3)),
            np.zeros(4, np.int64),
        )
        step, arguments = agent._compiled_step, agent._to_step
        self._to_run = (address(step, *arguments), arguments, self._arrays)
        compiled = compile_for(stretch, agent._spec, inner.dynamics, self._arrays.takes)
        self._held = step, compiled  # as long as their code may run
        self._noise = np.empty((0, agent._noise.size), agent.dtype)
        try:
            with compiling(f"stretches of {type(agent).__name__} in {type(inner).__name__}"):
                self._run = entry(compiled, *self._to_run, self._noise, agent._rng, 1)
        except Exception as error:
            error.add_note(
                f"env is a {type(inner).__name__}, marked with `compiled`: expected `begin` and `advance` that Numba "
                "compiles. Without the mark, `learn` goes step by step"
            )
            raise
        self._most = _FIRST
        self.outcome = DONE

    @property
    def is_stale(self) -> bool:
        """Whether the environment has got other settings, or another array of state, since."""
        inner = self._env.unwrapped
        return inner.dynamics is not self._arrays.dynamics or inner.state is not self._arrays.state

    def is_ready(self) -> bool:
        """Whether the next step would do nothing that is not in the stretch: no check, and no error of order."""
        checked = ("checked_reset", "checked_step", "checked_data_reuse", "_has_reset")
        ready = all(getattr(layer, name, True) for layer in self._layers for name in checked)
        started = all(layer._elapsed_steps is not None for layer in self._limiting)
        return ready and started and self._env.unwrapped.in_episode

    def run(self, n: int) -> int:
        """Make up to n steps; returns the outcome of the last. `made`, `begins` and `take_episodes` say the rest."""
        arrays, inner = self._arrays, self._env.unwrapped
        for k, layer in enumerate(self._limiting):
            arrays.limits[ELAPSED, k], arrays.limits[MOST, k] = layer._elapsed_steps, layer._max_episode_steps
        n, began = min(n, self._most), time.perf_counter()
        policy, rng, used = self._agent._policy, self._agent._rng, arrays.made
        if len(self._noise) <= n:
            self._noise = np.empty((n + 1, self._noise.shape[1]), self._noise.dtype)
        noise, before = self._noise[: n + 1], rng.bit_generator.state  # an episode may begin before the first step
        used[DRAWN] = 0
        try:
            policy.draw_rows(noise, rng)
            self.outcome = self._run(*self._to_run, noise, inner.np_random, n)
        finally:  # also if Ctrl-C is heard between these lines
            rng.bit_generator.state = before
            policy.draw_rows(noise[: used[DRAWN]], rng)
            for k, layer in enumerate(self._limiting):
                layer._elapsed_steps = int(arrays.limits[ELAPSED, k])
            inner.in_episode = self.begins or bool(self._agent._signal[END] == CONTINUES)
        if time.perf_counter() - began >= _BRIEF:
            self._most = -(-n // 2)
        elif self.made == self._most:
            self._most = 2 * n
        return self.outcome

    @property
    def made(self) -> int:
        """Steps of the environment that the last stretch made."""
        return int(self._arrays.made[MADE])

    @property
    def begins(self) -> bool:
        """Whether the last stretch ended at the first observation of an episode."""
        return bool(self._arrays.made[BEGINS])

    def take_episodes(self) -> list[tuple[int, float, int]]:
        """(step, return, length) of the episodes that ended in the last stretch and were followed by another; once."""
        rows = self._arrays.episodes[: self._arrays.made[OVER]].tolist()
        self._arrays.made[OVER] = 0
        return [(int(step), total, int(length)) for step, total, length in rows]


def compiled_loop(agent: Any, env: Any, steps: int) -> CompiledLoop | None:
    """What makes `steps` steps of `agent` in `env` in compiled code; None if they go step by step."""
    if steps < LEAST or agent.steps + steps < ENOUGH or numba_compiler.PLAIN:
        return None
    layers = _layers(env)
    if layers is None or not _takes(agent, layers[-1]):
        return None
    return CompiledLoop(agent, env, layers)


def _layers(env: Any) -> list[Any] | None:
    """The wrappers of `env`, and the environment in them; None if one of them does more than a stretch does."""
    from gymnasium import wrappers

    known = (wrappers.PassiveEnvChecker, wrappers.OrderEnforcing, wrappers.TimeLimit)
    layers = []
    while type(env) in known:
        if replaces_functions(env) or not all(_is_own(type(env), name) for name in ("reset", "step")):
            return None
        layers.append(env)
        env = env.env
    return [*layers, env] if is_compiled(env) else None


def _is_own(kind: type, name: str) -> bool:
    """Whether a function of a class is the one that was written in it."""
    function: Callable[..., Any] = getattr(kind, name)
    return (function.__module__, function.__qualname__) == (kind.__module__, f"{kind.__name__}.{name}")


def _takes(agent: Any, inner: Any) -> bool:
    """Whether a stretch can do what `agent.step` does in this environment."""
    from gymnasium.spaces import Box

    plain = type(inner.observation_space) is Box and len(inner.observation_space.shape) == 1
    acts = agent.actions.compiled() is not None and hasattr(agent._policy, "draw_rows")
    return plain and acts and has_wide_numbers((inner.dynamics, inner.state)) and agent._can_take_stretches()
