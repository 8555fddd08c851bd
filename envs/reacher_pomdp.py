"""Reach for a goal that is shown once: an arm of two links, a partially observable Markov decision process (POMDP).

gymnax has this arm (Lange 2022, `Reacher-misc`), and POBAX hides its goal after the first look (Tao et al. 2025).
Link i has length 1 and the angle theta_i, measured from the x-axis; both angles are absolute, so neither link moves the
other. The action is the angular accelerations a_i. There is no friction:

    omega_i <- omega_i + dt a_i            dt = .05, a_i cut to [-1, 1]
    theta_i <- theta_i + dt omega_i        semi-implicit Euler: with the new omega_i
    tip     =  (cos theta_1 + cos theta_2, sin theta_1 + sin theta_2)
    reward  =  exp(-||tip - goal||^2)      after the move
"""

import math
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from envs.sizes import check_length
from rtu_np.compiled_environment import CompiledEnvironment, advance, begin, compiled
from rtu_np.jit import kernel
from rtu_np.validation import check_array

DT = 0.05  # seconds of a step
LINKS = 2
SPEED, GOAL = 1.0, 2.0  # largest angular velocity at the start; largest coordinate of a goal
# Places of the state: the angles, the angular velocities, the goal, the step of the episode.
_THETA, _OMEGA, _GOAL, _T = 0, 2, 4, 6
_COS, _SIN, _VELOCITY, _TARGET = 0, 2, 4, 6  # places of an observation


class Arm(NamedTuple):
    length: int


@begin.register(Arm)
def _begin(dynamics, state, rng, observation):
    for i in range(LINKS):
        state[_THETA + i] = math.pi * (2.0 * rng.random() - 1.0)
    for i in range(LINKS):
        state[_OMEGA + i] = SPEED * (2.0 * rng.random() - 1.0)
    for i in range(LINKS):
        state[_GOAL + i] = GOAL * (2.0 * rng.random() - 1.0)
        observation[_TARGET + i] = state[_GOAL + i]
    state[_T] = 0
    _show_arm(state, observation)


@advance.register(Arm)
def _advance(dynamics, state, action, rng, observation):
    x, y = -state[_GOAL], -state[_GOAL + 1]  # from the goal to the tip
    for i in range(LINKS):
        state[_OMEGA + i] += DT * min(max(float(action[i]), -1.0), 1.0)
        state[_THETA + i] += DT * state[_OMEGA + i]
        x += math.cos(state[_THETA + i])
        y += math.sin(state[_THETA + i])
    state[_T] += 1
    _show_arm(state, observation)
    return math.exp(-(x * x + y * y)), False, bool(state[_T] >= dynamics.length)


@kernel(fused=False)
def _show_arm(state, observation):
    for i in range(LINKS):
        observation[_COS + i] = math.cos(state[_THETA + i])
        observation[_SIN + i] = math.sin(state[_THETA + i])
        observation[_VELOCITY + i] = state[_OMEGA + i]


@compiled
class ReacherPOMDP(CompiledEnvironment, gymnasium.Env):
    """An arm of two links that sees its goal once.

    ## Description
    The arm starts anywhere, in motion. The first observation of an episode shows the goal, the others do not. Each step
    pays more the nearer the tip is to the goal, so the goal has to be remembered through the episode. The links have
    length 1, and accelerations are the actions; the module's docstring has the equations. Elelimy et al. 2024 (Fig. 5)
    have a task of this name; this is the task of POBAX (Tao et al. 2025), on the arm of gymnax, likely the same. The
    file docs/tasks.md has the best returns with and without memory.

    Chosen here, as in gymnax: accelerations are at most 1, both angles are absolute, a step integrates velocities
    first, and the reward is that of the position after the move. Unlike there, larger actions are cut to 1.

    ## Action Space
    `Box(-1, 1, (2,))`: the angular accelerations of both links, in rad/s^2.

    ## Observation Space
    | index | what | first observation | afterwards | unit |
    |---|---|---|---|---|
    | 0, 1 | cosines of the links' angles | shown | shown | |
    | 2, 3 | sines of the links' angles | shown | shown | |
    | 4, 5 | angular velocities of the links | shown | shown | rad/s |
    | 6, 7 | position of the goal | shown | 0 | m |

    ## Rewards
    exp(-d^2), where d is the distance from the tip of the arm to the goal after the move.

    ## Starting State
    Angles are uniform in [-pi, pi), angular velocities in [-1, 1), both coordinates of the goal in [-2, 2). A goal in a
    corner is out of reach.

    ## Episode End
    Truncation after `length` steps.

    ## Arguments
    - `length`: steps of an episode.

    ## Version History
    - v0: first version. The task on MuJoCo's Reacher that had this id is `rtu_np/ReacherPOMDP-MuJoCo-v0`.

    Examples
    --------
    >>> env = ReacherPOMDP()
    >>> first, _ = env.reset(seed=0)
    >>> second, reward, *_ = env.step(np.array([1.0, -1.0], np.float32))
    >>> first[6:].astype(float).round(2).tolist(), second[6:].tolist(), round(reward, 3)
    ([1.25, 1.65], [0.0, 0.0], 0.02)
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, length: int = 100) -> None:
        self.length = check_length(length, "the goal must be remembered for some steps")
        fastest = SPEED + DT * self.length
        high = np.array([1, 1, 1, 1, fastest, fastest, GOAL, GOAL]) * (1 + 1e-6)  # sums are rounded
        high[:_VELOCITY], high[_TARGET:] = 1, GOAL
        self.observation_space = Box(-high.astype(np.float32), high.astype(np.float32))
        self.action_space = Box(-1.0, 1.0, (LINKS,), np.float32)
        self.dynamics, self.state = Arm(self.length), np.zeros(_T + 1)

    def step(self, action: Any):
        if self.in_episode:
            action = check_array("action", action, (LINKS,), hint="the accelerations of both links")
        return super().step(action)
