"""Base of all streams: actions have no effect, and single steps and many at once give the same stream."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from rtu_np.compiled_environment import CompiledEnvironment, advance
from rtu_np.jit import njit
from rtu_np.validation import check_count


@njit
def _generate(dynamics, state, rng, observations):
    """Write the next rows of `observations`, zeros on entry, one per step."""
    for t in range(observations.shape[0]):
        advance(dynamics, state, 0, rng, observations[t])


class Stream(CompiledEnvironment, gymnasium.Env):
    """An environment without decisions, whose cumulant is the first entry of its observation.

    A subclass sets `dynamics` and `state`.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, n_inputs: int) -> None:
        self.n_inputs = n_inputs
        self.observation_space = Box(0.0, 1.0, (n_inputs,), np.float64)
        self.action_space = Discrete(1)

    def _rows(self, n: int) -> np.ndarray:
        """The next n observations (n, n_inputs)."""
        observations = np.zeros((n, self.n_inputs))
        _generate(self.dynamics, self.state, self.np_random, observations)
        return observations

    def step(self, action: Any):
        if not self.in_episode:
            self._explain_order()
        observation = self._rows(1)[0]
        return observation, float(observation[0]), False, False, {}

    def generate(self, n_steps: int, seed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The next `n_steps` steps at once: observations (n_steps, n_inputs) and cumulants (n_steps,).

        If a `seed` is given, or no stream has begun, the environment is reset first, and its first observation is
        row 0. Otherwise the stream continues after the last `generate` or `step`.
        """
        check_count("n_steps", n_steps)
        if seed is None and self.in_episode:
            observations = self._rows(n_steps)
        else:
            first, _ = self.reset(seed=seed)
            observations = np.concatenate([first[None], self._rows(n_steps - 1)])
        return observations, observations[:, 0].copy()
