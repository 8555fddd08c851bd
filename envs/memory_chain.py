"""Remember a cue over many steps, then answer: the memory chains of bsuite, with one bit and with several."""

from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from envs.sizes import MOST_BITS, check_length
from rtu_np.compiled_environment import CompiledEnvironment, advance, begin, compiled, integer
from rtu_np.jit import kernel
from rtu_np.validation import check_choice, check_count

TIMINGS = {"lag-free": 0, "bsuite": 1}  # how many steps late an observation is shown
# Places of the state: the step of the episode, the answer, and with several bits which one is asked for, and the bits.
_T, _ANSWER, _ASKED, _BITS = 0, 1, 2, 3
# Places of an observation; the cue of `MemoryChain`, the queries of `KMemoryChain`.
_REMAINING, _CUE, _QUERIES = 0, 2, 1


class OneBit(NamedTuple):
    length: int
    lag: int


class SeveralBits(NamedTuple):
    length: int
    lag: int
    k: int


@begin.register(OneBit)
def _begin_one(dynamics, state, rng, observation):
    state[_T], state[_ANSWER] = 0, integer(rng, 2)
    _show_one(dynamics, state, observation)


@begin.register(SeveralBits)
def _begin_several(dynamics, state, rng, observation):
    state[_T] = 0
    for i in range(dynamics.k):
        state[_BITS + i] = integer(rng, 2)
    state[_ASKED] = integer(rng, dynamics.k)
    state[_ANSWER] = state[_BITS + state[_ASKED]]
    _show_several(dynamics, state, observation)


@advance.register(OneBit)
def _advance_one(dynamics, state, action, rng, observation):
    reward, over = _answer(dynamics, state, action)
    _show_one(dynamics, state, observation)
    return reward, over, False


@advance.register(SeveralBits)
def _advance_several(dynamics, state, action, rng, observation):
    reward, over = _answer(dynamics, state, action)
    _show_several(dynamics, state, observation)
    return reward, over, False


@kernel(fused=False)
def _answer(dynamics, state, action):
    """Count the step; returns (reward, whether the action was the last)."""
    state[_T] += 1
    over = bool(state[_T] > dynamics.length)
    return (0.0 if not over else 1.0 if action == state[_ANSWER] else -1.0), over


@kernel(fused=False)
def _shown(dynamics, state, observation):
    """Write the time that remains; returns the time of the observation that is shown, which may be late."""
    t = max(state[_T] - dynamics.lag, 0)
    if t <= dynamics.length:
        observation[_REMAINING] = 1 - t / dynamics.length
    return t


@kernel(fused=False)
def _show_one(dynamics, state, observation):
    if _shown(dynamics, state, observation) == 0:
        observation[_CUE] = 2 * state[_ANSWER] - 1


@kernel(fused=False)
def _show_several(dynamics, state, observation):
    t = _shown(dynamics, state, observation)
    if t == 0:
        for i in range(dynamics.k):
            observation[_QUERIES + dynamics.k + i] = 2 * state[_BITS + i] - 1
    if t == dynamics.length - dynamics.lag:
        observation[_QUERIES + state[_ASKED]] = 1


class Chain(CompiledEnvironment, gymnasium.Env):
    """Base of both chains."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, length: int, timing: str, low: list[int]) -> None:
        self.length = check_length(length, "the cue must be remembered for some steps")
        self._lag = check_choice("timing", timing, TIMINGS)
        self.n_inputs = len(low)
        self.observation_space = Box(np.array(low, np.float32), np.ones(len(low), np.float32))
        self.action_space = Discrete(2)

    def step(self, action: Any):
        if self.in_episode and action not in (0, 1):
            raise ValueError(f"action is {action!r}: expected 0 or 1")
        return super().step(action)


@compiled
class MemoryChain(Chain):
    """A cue at the first step, which the agent must give back `length` steps later.

    ## Description
    The memory chain of bsuite (Osband et al. 2020), with one bit. An episode has `length` + 1 actions; only the last
    counts. With lag-free timing the cue is seen before action 0 and must be remembered for `length` steps. bsuite's
    code, and gymnax's after it, shows every observation one step late: the cue is seen before actions 0 and 1, which
    makes the task one step shorter. An agent without memory knows when to answer, but not which answer.

    ## Action Space
    `Discrete(2)`: the cue -1 or 1, as 0 or 1.

    ## Observation Space
    | index | what | value |
    |---|---|---|
    | 0 | time remaining | 1 - t / `length` |
    | 1 | query | 0: bsuite's index of the bit that is asked for, here the only one |
    | 2 | cue | -1 or 1 at t = 0, else 0 |

    Before action k, t is k with lag-free timing, and max(k - 1, 0) with bsuite's. The observation that ends an episode
    is all zeros.

    ## Rewards
    1 if the last action is the cue, -1 if not; 0 before.

    ## Starting State
    Either cue with probability .5.

    ## Episode End
    Termination with the last action, number `length` + 1.

    ## Arguments
    - `length`: steps from the cue to the answer.
    - `timing`: "lag-free", or "bsuite".

    ## Version History
    - v0: first version.

    Examples
    --------
    >>> env = MemoryChain(length=2)
    >>> observation, _ = env.reset(seed=0)
    >>> observation.tolist(), [env.step(1)[0].tolist() for _ in range(2)], env.step(1)[1:3]
    ([1.0, 0.0, 1.0], [[0.5, 0.0, 0.0], [0.0, 0.0, 0.0]], (1.0, True))
    """

    def __init__(self, length: int = 16, timing: str = "lag-free") -> None:
        super().__init__(length, timing, [0, 0, -1])
        self.dynamics, self.state = OneBit(self.length, self._lag), np.zeros(2, np.int64)


@compiled
class KMemoryChain(Chain):
    """Several bits at the first step; the last action must give back one of them.

    ## Description
    As `MemoryChain`, with `k` bits. A query before the last action asks for one of them, so all have to be remembered.
    This is bsuite's chain with several bits, except for the query: a number in bsuite, here one entry for each bit.

    ## Action Space
    `Discrete(2)`: the bit that is asked for, -1 or 1, as 0 or 1.

    ## Observation Space
    | index | what | value |
    |---|---|---|
    | 0 | time remaining | 1 - t / `length` |
    | 1 ... k | query | 1 for the bit that is asked for, before the last action only, else 0 |
    | k + 1 ... 2k | bits | -1 or 1 at t = 0, else 0 |

    The times t are those of `MemoryChain`. With bsuite's timing and length 1, all observations but the last show the
    bits and the query, as bsuite's do: that chain asks for no memory.

    ## Rewards
    1 if the last action is the bit asked for, -1 if not; 0 before.

    ## Starting State
    Bits and query are uniform and independent.

    ## Episode End
    Termination with the last action, number `length` + 1.

    ## Arguments
    - `length`: steps from bits to answer.
    - `k`: number of bits.
    - `timing`: "lag-free", or "bsuite".

    ## Version History
    - v0: first version.

    Examples
    --------
    >>> env = KMemoryChain(length=1, k=3)
    >>> env.reset(seed=0)[0].tolist(), env.step(1)[0].tolist()
    ([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    """

    def __init__(self, length: int = 16, k: int = 3, timing: str = "lag-free") -> None:
        self.k = check_count("k", k, high=MOST_BITS)
        super().__init__(length, timing, [0] * (1 + self.k) + [-1] * self.k)
        self.dynamics, self.state = SeveralBits(self.length, self._lag, self.k), np.zeros(_BITS + self.k, np.int64)
