"""Base of all streams: actions have no effect, and single steps and many at once give the same stream."""

from abc import abstractmethod
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from rtu_np.validation import check_count


class Stream(gymnasium.Env):
    """An environment without decisions, whose cumulant is the first entry of its observation.

    A subclass sets `_state` in `reset`, and computes the observations that follow in `_rows`.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, n_inputs: int) -> None:
        self.n_inputs = n_inputs
        self.observation_space = Box(0.0, 1.0, (n_inputs,), np.float64)
        self.action_space = Discrete(1)
        self._state: np.ndarray | None = None

    @abstractmethod
    def _rows(self, n: int) -> np.ndarray:
        """The next n observations (n, n_inputs)."""

    def step(self, action: Any):
        if self._state is None:
            raise gymnasium.error.ResetNeeded("step() was called before reset(): expected reset() first")
        observation = self._rows(1)[0]
        return observation, float(observation[0]), False, False, {}

    def generate(self, n_steps: int, seed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The next `n_steps` steps at once: observations (n_steps, n_inputs) and cumulants (n_steps,).

        If a `seed` is given, or no stream has begun, the environment is reset first, and its first observation is
        row 0. Otherwise the stream continues after the last `generate` or `step`.
        """
        check_count("n_steps", n_steps)
        if seed is None and self._state is not None:
            observations = self._rows(n_steps)
        else:
            first, _ = self.reset(seed=seed)
            observations = np.concatenate([first[None], self._rows(n_steps - 1)])
        return observations, observations[:, 0].copy()
