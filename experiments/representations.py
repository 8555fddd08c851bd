"""Fixed representations of a stream of stimuli, for learners without memory of their own.

presence            the observation itself
tile-coded traces   each stimulus leaves a trace, which is 1 at the onset and shrinks by `DECAY` a step. `TILINGS`
                    tilings of `TILES` tiles each, shifted against one another, code the height of the trace
microstimuli        the height h of the same trace through m = `MICRO` Gaussians: h exp(-(h - i/m)^2 / 2 sigma^2),
                    i = 1 ... m (Ludvig, Sutton & Kehoe 2008)

The benchmark of Rafiee et al. 2022 compares these. We did not have its constants. With the constants here, the trace
falls to a quarter within the longest inter-stimulus interval, 13 steps. So the representation differs from step to
step.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from rtu_np.jit import njit

DECAY = 0.9
TILINGS, TILES = 4, 10
MICRO, SIGMA = 10, 0.08


@njit
def _traces(observations, decay, heights, was_on, out):
    """Write the heights of the traces after each step to `out`, and update `heights` and `was_on` (n_inputs,)."""
    for t in range(observations.shape[0]):
        for j in range(heights.shape[0]):
            on = observations[t, j] > 0
            heights[j] = 1.0 if on and not was_on[j] else decay * heights[j]
            was_on[j] = on
            out[t, j] = heights[j]


class Representation(ABC):
    """From observations to features, in the order of the stream."""

    n_features: int

    @abstractmethod
    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Features (T, n_features) of the next T observations (T, n_inputs)."""


class Presence(Representation):
    def __init__(self, n_inputs: int) -> None:
        self.n_features = n_inputs

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        return observations


class _Traces(Representation):
    def __init__(self, n_inputs: int, n_each: int) -> None:
        self.n_features = n_inputs * n_each
        self._heights, self._was_on = np.zeros(n_inputs), np.zeros(n_inputs, bool)

    def heights(self, observations: np.ndarray) -> np.ndarray:
        """(T, n_inputs, 1): the traces after each of the next T observations."""
        out = np.empty_like(observations)
        _traces(observations, DECAY, self._heights, self._was_on, out)
        return out[:, :, None]


class TileCodedTraces(_Traces):
    def __init__(self, n_inputs: int) -> None:
        super().__init__(n_inputs, TILINGS * TILES)

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        # A trace below a hundredth of a tile has ended: no tile is on.
        h = self.heights(observations)
        tile = np.floor(h * (TILES - 1) + np.arange(TILINGS) / TILINGS)
        on = (tile[..., None] == np.arange(TILES)) & (h > 0.01 / TILES)[..., None]
        return on.reshape(len(observations), -1).astype(float)


class Microstimuli(_Traces):
    def __init__(self, n_inputs: int) -> None:
        super().__init__(n_inputs, MICRO)

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        h = self.heights(observations)
        return (h * np.exp(-((h - np.arange(1, MICRO + 1) / MICRO) ** 2) / (2 * SIGMA**2))).reshape(len(h), -1)


REPRESENTATIONS: dict[str, Callable[[int], Representation]] = {
    "presence": Presence,
    "tile-coded traces": TileCodedTraces,
    "microstimuli": Microstimuli,
}
