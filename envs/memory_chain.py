"""Remember a cue over many steps, then answer: the memory chains of bsuite, with one bit and with several."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from rtu_np.validation import check_choice, check_count

TIMINGS = {"lag-free": False, "bsuite": True}


class Chain(gymnasium.Env):
    """Base of both chains. A reset writes all observations of the episode, a row for each step."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, length: int, timing: str, low: list[int]) -> None:
        self.length = check_count("length", length, hint="the cue must be remembered for some steps")
        self._lags = check_choice("timing", timing, TIMINGS)
        self.n_inputs = len(low)
        self.observation_space = Box(np.array(low, np.float32), np.ones(len(low), np.float32))
        self.action_space = Discrete(2)
        self._rows: np.ndarray | None = None
        self._t, self._answer = 0, 0

    def _begin(self, cue: dict[int, Any], query: dict[int, Any], answer: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Write the episode's observations; `cue` and `query` are {entry: value} of the rows that show them."""
        rows = np.zeros((self.length + 2, self.n_inputs), np.float32)
        rows[:-1, 0] = 1 - np.arange(self.length + 1) / self.length
        asked = self.length - 1 if self._lags else self.length
        for row, entries in ((0, cue), (asked, query)):
            for entry, value in entries.items():
                rows[row, entry] = value
        if self._lags:  # every observation is shown one step late, and so the first one twice
            rows[1:] = rows[:-1].copy()
        self._rows, self._t, self._answer = rows, 0, answer
        return rows[0], {}

    def step(self, action: Any):
        if self._rows is None:
            raise gymnasium.error.ResetNeeded(
                "step() was called outside an episode: expected reset() before the first step and after the last"
            )
        if action not in (0, 1):
            raise ValueError(f"action is {action!r}: expected 0 or 1")
        rows, t = self._rows, self._t + 1
        self._t = t
        if t <= self.length:
            return rows[t], 0.0, False, False, {}
        self._rows = None
        return rows[t], (1.0 if action == self._answer else -1.0), True, False, {}


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

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        bit = int(self.np_random.integers(2))
        return self._begin({2: 2 * bit - 1}, {}, bit)


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

    The times t are those of `MemoryChain`.

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
        self.k = check_count("k", k)
        super().__init__(length, timing, [0] * (1 + k) + [-1] * k)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        bits, asked = self.np_random.integers(2, size=self.k), int(self.np_random.integers(self.k))
        cue = {1 + self.k + i: 2 * int(bit) - 1 for i, bit in enumerate(bits)}
        return self._begin(cue, {1 + asked: 1}, int(bits[asked]))
