"""Three states; the third leads back to the state before, so predicting it takes one step of memory."""

from typing import Any

import numpy as np

from envs.stream import Stream
from rtu_np.jit import njit

MIDDLE = 2  # s3, which leads back to the state before it


@njit
def _walk(rng, position, observations):
    """Write the next rows of `observations`, and update `position`: the state and the one before it."""
    state, previous = position
    for t in range(observations.shape[0]):
        next_state = previous if state == MIDDLE else int(rng.random() * 3)
        state, previous = next_state, state
        observations[t, :] = 0.0
        observations[t, state] = 1.0
    position[0], position[1] = state, previous


class ThreeState(Stream):
    """From s1 and s2 to any state with equal chances; from s3 back to the state before.

    ## Description
    The three-state task of Elelimy et al. 2024 (Fig. 7). In s3 the next state is certain with a memory of the state
    before, and a toss-up without. In s1 and s2 the next state cannot be predicted.

    ## Action Space
    `Discrete(1)`: the action has no effect.

    ## Observation Space
    | index | what | value |
    |---|---|---|
    | 0, 1, 2 | s1, s2, s3 | 1 for the present state, else 0 |

    ## Rewards
    The cumulant that arrives with the observation: 1 in s1, else 0. With discount 0, its prediction is the probability
    that the next state is s1.

    ## Starting State
    s1 or s2, with equal chances.

    ## Episode End
    Never.

    ## Version History
    - v0: first version.

    Examples
    --------
    >>> observations, cumulants = ThreeState().generate(1000, seed=0)
    >>> observations.shape, observations.sum(0).astype(int).tolist()
    ((1000, 3), [367, 367, 266])
    """

    gamma = 0.0
    observation_names = ("s1", "s2", "s3")

    def __init__(self) -> None:
        super().__init__(len(self.observation_names))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        first = int(self.np_random.integers(MIDDLE))
        self._state = np.array([first, first])
        return np.eye(3)[first], {}

    def _rows(self, n: int) -> np.ndarray:
        observations = np.empty((n, self.n_inputs))
        _walk(self.np_random, self._state, observations)
        return observations
