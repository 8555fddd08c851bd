"""Three states; the third leads back to the state before, so predicting it takes one step of memory."""

from typing import NamedTuple

import numpy as np

from envs.stream import Stream
from rtu_np.compiled_environment import advance, begin, compiled, integer

MIDDLE = 2  # s3, which leads back to the state before it
_NOW, _BEFORE = 0, 1  # places of the state


class Walk(NamedTuple):
    n: int


@begin.register(Walk)
def _begin(dynamics, state, rng, observation):
    state[_NOW] = state[_BEFORE] = integer(rng, MIDDLE)
    observation[state[_NOW]] = 1


@advance.register(Walk)
def _advance(dynamics, state, action, rng, observation):
    now = state[_NOW]
    state[_NOW] = state[_BEFORE] if now == MIDDLE else int(rng.random() * dynamics.n)
    state[_BEFORE] = now
    observation[state[_NOW]] = 1
    return observation[0], False, False


@compiled
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
        self.dynamics, self.state = Walk(self.n_inputs), np.zeros(2, np.int64)
