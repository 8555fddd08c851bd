"""A corridor with a signpost at its start and a junction at its end."""

from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from rtu_np.compiled_environment import CompiledEnvironment, advance, begin, compiled, integer
from rtu_np.jit import kernel
from rtu_np.validation import check_count

NORTH, EAST, SOUTH, WEST = range(4)
_POSITION, _TURN, _T = 0, 1, 2  # places of the state: where the agent is, which turn the sign says, the step


class Maze(NamedTuple):
    length: int


@begin.register(Maze)
def _begin(dynamics, state, rng, observation):
    state[_POSITION], state[_T] = 0, 0
    state[_TURN] = SOUTH if integer(rng, 2) == 1 else NORTH
    _show(dynamics, state, observation)


@advance.register(Maze)
def _advance(dynamics, state, action, rng, observation):
    state[_T] += 1
    previous = state[_POSITION]
    if previous == dynamics.length and action in (NORTH, SOUTH):
        return (4.0 if action == state[_TURN] else -0.1), True, False
    along = 1 if action == EAST else -1 if action == WEST else 0
    state[_POSITION] = min(max(previous + along, 0), dynamics.length)
    _show(dynamics, state, observation)
    truncated = bool(state[_T] == 10 * (dynamics.length + 1))
    return (-0.1 if state[_POSITION] == previous else 0.0), False, truncated


@kernel
def _show(dynamics, state, observation):
    if state[_POSITION] == 0:  # the sign: 0 1 1 for north, 1 1 0 for south
        observation[0 if state[_TURN] == SOUTH else 2] = 1
        observation[1] = 1
    elif state[_POSITION] == dynamics.length:
        observation[1] = 1
    else:
        observation[0], observation[2] = 1, 1


@compiled
class TMaze(CompiledEnvironment, gymnasium.Env):
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
        self.dynamics, self.state = Maze(self.length), np.zeros(3, np.int64)

    def step(self, action: Any):
        if self.in_episode and action not in (NORTH, EAST, SOUTH, WEST):
            raise ValueError(f"action is {action!r}: expected 0, 1, 2 or 3: north, east, south, west")
        return super().step(action)
