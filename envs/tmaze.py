"""A corridor with a sign at its start and a junction at its end."""

import math
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from envs.sizes import check_length
from rtu_np.compiled_environment import CompiledEnvironment, advance, begin, compiled, integer, normal
from rtu_np.jit import kernel
from rtu_np.validation import check_choice, check_real

_POSITION, _TURN, _T = 0, 1, 2  # places of the state: where the agent is, which turn the sign says, the step
# Rows of what is seen: at the start, with the sign for either turn; on the way; at the junction.
_SIGN, _CORRIDOR, _JUNCTION = 0, 2, 3
LOUDEST = 100.0


class Form(NamedTuple):
    """What two mazes differ in."""

    forward: int  # actions
    back: int
    turns: tuple[int, int]
    right: float  # rewards: of the turn that the sign says, and of the other
    wrong: float
    move: float  # of a step, and of one against a wall
    bump: float
    seen: np.ndarray  # (4, 3)


_BAKKER = [[0, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 0]]
_CUE = [[1, 0, 1], [-1, 0, 1], [0, 0, 1], [0, 1, 1]]
FORMS = {
    "bakker": Form(1, 3, (0, 2), 4.0, -0.1, 0.0, -0.1, np.array(_BAKKER, np.float64)),
    "cue": Form(0, 3, (1, 2), 0.99, -1.01, -0.01, -0.01, np.array(_CUE, np.float64)),
}
ACTIONS = {"bakker": "north, east, south, west", "cue": "forward, left, right, back"}


class Maze(NamedTuple):
    length: int
    noise: float
    form: Form


@begin.register(Maze)
def _begin(dynamics, state, rng, observation):
    state[_POSITION], state[_T] = 0, 0
    state[_TURN] = integer(rng, 2)
    _show_maze(dynamics, state, rng, observation)


@advance.register(Maze)
def _advance(dynamics, state, action, rng, observation):
    form, previous = dynamics.form, state[_POSITION]
    state[_T] += 1
    if previous == dynamics.length and (action == form.turns[0] or action == form.turns[1]):
        _add_noise(dynamics, rng, observation)
        return (form.right if action == form.turns[state[_TURN]] else form.wrong), True, False
    along = 1 if action == form.forward else -1 if action == form.back else 0
    state[_POSITION] = min(max(previous + along, 0), dynamics.length)
    _show_maze(dynamics, state, rng, observation)
    truncated = bool(state[_T] == 10 * (dynamics.length + 1))
    return (form.bump if state[_POSITION] == previous else form.move), False, truncated


@kernel(fused=False)
def _show_maze(dynamics, state, rng, observation):
    position = state[_POSITION]
    row = _SIGN + state[_TURN] if position == 0 else _JUNCTION if position == dynamics.length else _CORRIDOR
    for i in range(observation.shape[0]):
        observation[i] = dynamics.form.seen[row, i]
    _add_noise(dynamics, rng, observation)


@kernel(fused=False)
def _add_noise(dynamics, rng, observation):
    if dynamics.noise > 0:
        for i in range(observation.shape[0]):
            observation[i] = float(observation[i]) + dynamics.noise * normal(rng)


@compiled
class TMaze(CompiledEnvironment, gymnasium.Env):
    """Read a sign, walk a long way, and turn as the sign says.

    ## Description
    The T-maze of Bakker 2002 (Reinforcement learning with long short-term memory). At the start of a corridor a sign
    says which way to turn at the junction, `length` steps on. On the way all places look alike. An agent without memory
    can walk to the junction, and has to guess there.

    There are two forms. "bakker" is Bakker's, with three bits that are no memory each. In "cue", an observation is the
    cue, whether this is the junction, and 1; every step costs .01. Without memory "bakker" pays 1.95 at most, with
    memory 4. With length 10, "cue" pays -.11 for a guess, and .89 with memory. The file docs/tasks.md says how that is
    computed.

    `noise` adds a normal number to each number of each observation. An agent cannot look at single bits then.

    ## Action Space
    `Discrete(4)`: north, east, south, west in "bakker", and forward, left, right, back in "cue". Turns are north and
    south, or left and right. East is forward, and west is back.

    ## Observation Space
    | place | bakker: index 0 | 1 | 2 | cue: index 0 | 1 | 2 |
    |---|---|---|---|---|---|---|
    | start, sign for north or left | 0 | 1 | 1 | 1 | 0 | 1 |
    | start, sign for south or right | 1 | 1 | 0 | -1 | 0 | 1 |
    | corridor | 1 | 0 | 1 | 0 | 0 | 1 |
    | junction | 0 | 1 | 0 | 0 | 1 | 1 |
    | after the turn | 0 | 0 | 0 | 0 | 0 | 0 |

    With noise, each of these numbers is the mean of what is seen.

    ## Rewards
    | | bakker | cue |
    |---|---|---|
    | the turn that the sign says | 4 | .99 |
    | the other turn | -.1 | -1.01 |
    | a step against a wall, or a turn elsewhere, which move nothing | -.1 | -.01 |
    | any other step | 0 | -.01 |

    ## Starting State
    The start of the corridor, with either sign with probability .5.

    ## Episode End
    Termination with a turn at the junction; truncation after 10 (`length` + 1) steps, a limit of this implementation.

    ## Arguments
    - `length`: steps from the start to the junction, at least 1.
    - `noise`: the standard deviation of the noise.
    - `form`: "bakker", or "cue".

    ## Version History
    - v0: first version. `noise` and `form` are newer, and their defaults are the first version.

    Examples
    --------
    >>> env = TMaze(length=2)
    >>> env.reset(seed=0)[0].tolist(), [env.step(1)[0].tolist() for _ in range(2)], env.step(2)[1:3]
    ([1.0, 1.0, 0.0], [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], (4.0, True))
    >>> env = TMaze(length=1, noise=0.1, form="cue")
    >>> env.reset(seed=0)[0].round(), env.step(0)[0].round(), env.step(2)[1:3]
    (array([-1.,  0.,  1.], dtype=float32), array([0., 1., 1.], dtype=float32), (0.99, True))
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, length: int = 10, noise: float = 0.0, form: str = "bakker") -> None:
        self.length = check_length(length, "the sign must be remembered for some steps")
        self.noise = check_real("noise", noise, low=0.0, high=LOUDEST, hint="the signs differ by 1 or 2")
        self.form, own = form, check_choice("form", form, FORMS)
        low, high = own.seen.min(axis=0).astype(np.float32), own.seen.max(axis=0).astype(np.float32)
        if self.noise > 0:
            low, high = np.full(3, -math.inf, np.float32), np.full(3, math.inf, np.float32)
        self.observation_space = Box(np.minimum(low, 0), high)  # zeros end an episode
        self.action_space = Discrete(4)
        self.dynamics, self.state = Maze(self.length, self.noise, own), np.zeros(3, np.int64)

    def step(self, action: Any):
        if self.in_episode and action not in (0, 1, 2, 3):
            raise ValueError(f"action is {action!r}: expected 0, 1, 2 or 3: {ACTIONS[self.form]}")
        return super().step(action)
