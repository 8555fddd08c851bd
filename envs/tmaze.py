"""A corridor with a signpost at its start and a junction at its end."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from rtu_np.validation import check_count

NORTH, EAST, SOUTH, WEST = range(4)
MOVES = {NORTH: 0, EAST: 1, SOUTH: 0, WEST: -1}  # along the corridor
SIGNS = {NORTH: np.array([0, 1, 1], np.float32), SOUTH: np.array([1, 1, 0], np.float32)}
CORRIDOR, JUNCTION, OVER = (np.array(bits, np.float32) for bits in ([1, 0, 1], [0, 1, 0], [0, 0, 0]))


class TMaze(gymnasium.Env):
    """Read a sign, walk a long way, and turn as the sign says.

    ## Description
    The T-maze of Bakker 2002 (Reinforcement learning with long short-term memory). At the start of a corridor a sign
    says whether to turn north or south at the junction, `length` steps east. On the way all places look alike. An agent
    without memory can walk to the junction, and gets 1.95 on average; with memory it gets 4.

    ## Action Space
    `Discrete(4)`: north, east, south, west.

    ## Observation Space
    | place | index 0 | 1 | 2 |
    |---|---|---|---|
    | start, sign for north | 0 | 1 | 1 |
    | start, sign for south | 1 | 1 | 0 |
    | corridor | 1 | 0 | 1 |
    | junction | 0 | 1 | 0 |
    | after the turn | 0 | 0 | 0 |

    ## Rewards
    4 for the turn that the sign says, -.1 for the other; -.1 for a step against a wall, which moves nothing; else 0.

    ## Starting State
    The start of the corridor, with either sign with probability .5.

    ## Episode End
    Termination with a turn at the junction, north or south; truncation after 10 (`length` + 1) steps, a limit of this
    implementation.

    ## Arguments
    - `length`: steps from the start to the junction.

    ## Version History
    - v0: first version.

    Examples
    --------
    >>> env = TMaze(length=2)
    >>> env.reset(seed=0)[0].tolist(), [env.step(1)[0].tolist() for _ in range(2)], env.step(2)[1:3]
    ([1.0, 1.0, 0.0], [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], (4.0, True))
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, length: int = 10) -> None:
        self.length = check_count("length", length, hint="the sign must be remembered for some steps")
        self.observation_space = Box(0.0, 1.0, (3,), np.float32)
        self.action_space = Discrete(4)
        self._position, self._turn, self._t, self._in_episode = 0, NORTH, 0, False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self._position, self._t, self._in_episode = 0, 0, True
        self._turn = SOUTH if self.np_random.integers(2) else NORTH
        return self._observation(), {}

    def step(self, action: Any):
        if not self._in_episode:
            raise gymnasium.error.ResetNeeded(
                "step() was called outside an episode: expected reset() before the first step and after the last"
            )
        if action not in MOVES:
            raise ValueError(f"action is {action!r}: expected 0, 1, 2 or 3: north, east, south, west")
        self._t += 1
        if self._position == self.length and action in SIGNS:
            self._in_episode = False
            return OVER.copy(), (4.0 if action == self._turn else -0.1), True, False, {}
        previous = self._position
        self._position = min(max(previous + MOVES[action], 0), self.length)
        truncated = self._t == 10 * (self.length + 1)
        self._in_episode = not truncated
        return self._observation(), (-0.1 if self._position == previous else 0.0), False, truncated, {}

    def _observation(self) -> np.ndarray:
        if self._position == 0:
            return SIGNS[self._turn].copy()
        return (JUNCTION if self._position == self.length else CORRIDOR).copy()
