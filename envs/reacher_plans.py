"""What `ReacherPOMDP` pays at most: to arms that know the goal, and to arms that never see it (docs/tasks.md).

The links move independently, and a link's angle is linear in its accelerations:

    theta_t = theta_0 + t dt omega_0 + dt^2 sum of (t - s) a_s over s < t

So a plan is the accelerations of an episode, and its return has the gradient

    dJ/da_s = dt^2 sum of (t - s) dr_t/dtheta_t over t > s

A plan starts from a controller that brings both links to rest at the goal nearly as fast as they can, for both poses of
the arm and for all ways round; the best of these is improved by gradient ascent. What it pays is a lower bound of what
can be paid. `bound` is an upper one: at each step the best pose that the links can have reached by then, as if each
step was alone.

This file has the arm's dynamics a second time, in arrays over many episodes. It shares no code with the environment.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

DT, STEPS, REACH = 0.05, 100, 2.0
_ASCENT, _PACE = 300, 0.03  # steps of gradient ascent, and their size


class Starts(NamedTuple):
    theta: np.ndarray  # (n, 2)
    omega: np.ndarray  # (n, 2)
    goal: np.ndarray  # (n, 2)


def starts(n: int, seed: int) -> Starts:
    """n starts of an episode."""
    rng = np.random.default_rng(seed)
    return Starts(*(rng.uniform(-high, high, (n, 2)) for high in (math.pi, 1.0, 2.0)))


# ------------------------------------------------------------------------------------------------------ by quadrature


def resting(point: tuple[float, float] = (0.0, 0.0)) -> float:
    """The mean return of a tip that is always at `point`, over all goals: exact.

    Examples
    --------
    >>> round(resting(), 2), resting((0.5, 0.0)) < resting()
    (19.45, True)
    """
    return STEPS * math.prod(_mean_over_goals(x) for x in point)


def _mean_over_goals(x: float) -> float:
    """The mean of exp(-(x - g)^2) over g uniform in [-2, 2]."""
    return math.sqrt(math.pi) / 8 * (math.erf(2 - x) + math.erf(2 + x))


def nearest() -> float:
    """The mean return of a tip that is always at the reachable point nearest to the goal.

    A part of 1 - pi/4 of the goals is beyond the arm's reach. The quadrature has a million midpoints of a quarter.

    Examples
    --------
    >>> round(nearest(), 2)
    98.1
    """
    x = (np.arange(1000) + 0.5) / 500
    beyond = np.maximum(np.hypot(x[:, None], x) - REACH, 0.0)
    return float(STEPS * np.exp(-(beyond**2)).mean())


# ------------------------------------------------------------------------------------------------------------- plans


class Plans(NamedTuple):
    accelerations: np.ndarray  # (n, STEPS, 2)
    returns: np.ndarray  # (n,)


def informed(begin: Starts) -> Plans:
    """Plans that know the goal."""
    return _best(begin, [_to_pose(begin, pose) for pose in _poses(begin)], _pay_for(begin.goal))


def uninformed(begin: Starts) -> Plans:
    """Plans that never see the goal; their returns are means over all goals."""
    return _best(begin, [_to_origin(begin, way) for way in (-3, -1, 1, 3)], _pay_without_goal)


def _poses(begin: Starts) -> list[np.ndarray]:
    """(n, 2) angles with the tip at the goal, or at the nearest point: both poses, and all ways round."""
    towards = np.arctan2(begin.goal[:, 1], begin.goal[:, 0])
    half = np.arccos(np.minimum(np.hypot(*begin.goal.T) / REACH, 1.0))
    both = [np.stack([towards + sign * half, towards - sign * half], axis=1) for sign in (1, -1)]
    near = [begin.theta + (pose - begin.theta + math.pi) % (2 * math.pi) - math.pi for pose in both]
    rounds = [2 * math.pi * np.array(way) for way in np.ndindex(3, 3)]
    return [pose + way - 2 * math.pi for pose in near for way in rounds]


def _to_pose(begin: Starts, pose: np.ndarray) -> np.ndarray:
    return _controlled(begin, lambda theta, omega: _brake(theta - pose, omega, 1.0))


def _to_origin(begin: Starts, way: int) -> np.ndarray:
    """Fold the arm: the tip is at the origin if the links point in opposite directions."""

    def act(theta: np.ndarray, omega: np.ndarray) -> np.ndarray:
        angle, velocity = theta[:, 1] - theta[:, 0], omega[:, 1] - omega[:, 0]
        half = _brake(angle - way * math.pi, velocity, 2.0) / 2
        return np.stack([-half, half], axis=1)

    return _controlled(begin, act)


def _brake(x: np.ndarray, v: np.ndarray, most: float) -> np.ndarray:
    """The acceleration, at most `most`, that brings x to rest at 0 nearly as fast as it goes."""
    step = DT * most
    fastest = np.minimum(np.sqrt(step**2 / 4 + 2 * most * np.abs(x)) - step / 2, np.abs(x) / DT)
    return np.clip((-np.sign(x) * fastest - v) / DT, -most, most)


def _controlled(begin: Starts, act: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """(n, STEPS, 2) accelerations of a controller."""
    theta, omega = begin.theta.copy(), begin.omega.copy()
    plan = np.empty((len(theta), STEPS, 2))
    for t in range(STEPS):
        plan[:, t] = act(theta, omega)
        omega += DT * plan[:, t]
        theta += DT * omega
    return plan


Pay = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # tips (n, STEPS, 2) -> rewards, and their gradients


def _pay_for(goal: np.ndarray) -> Pay:
    def pay(tip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        away = tip - goal[:, None]
        reward = np.exp(-(away**2).sum(2))
        return reward, -2 * away * reward[..., None]

    return pay


_GRID = np.linspace(-2.0, 2.0, 2001)
_MEANS = np.array([_mean_over_goals(x) for x in _GRID])


def _pay_without_goal(tip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = np.interp(tip, _GRID, _MEANS)
    slope = (np.exp(-((2 + tip) ** 2)) - np.exp(-((2 - tip) ** 2))) / 4
    return mean.prod(2), slope * mean[..., ::-1]


def _returns(begin: Starts, plan: np.ndarray, pay: Pay) -> tuple[np.ndarray, np.ndarray]:
    """Returns (n,) of plans, and their gradients."""
    omega = begin.omega[:, None] + DT * plan.cumsum(1)
    theta = begin.theta[:, None] + DT * omega.cumsum(1)
    cos, sin = np.cos(theta), np.sin(theta)
    reward, slope = pay(np.stack([cos.sum(2), sin.sum(2)], axis=2))
    along = slope[..., :1] * -sin + slope[..., 1:] * cos
    return reward.sum(1), DT**2 * _sum_of_the_rest(_sum_of_the_rest(along))


def _sum_of_the_rest(x: np.ndarray) -> np.ndarray:
    return x[:, ::-1].cumsum(1)[:, ::-1]


def _best(begin: Starts, plans: list[np.ndarray], pay: Pay) -> Plans:
    """The best of several plans, improved: Adam's direction, cut to what the links can do."""
    found = np.stack([_returns(begin, plan, pay)[0] for plan in plans])
    plan = np.stack(plans)[found.argmax(0), np.arange(found.shape[1])]
    best, returns, mean, square = plan.copy(), found.max(0), np.zeros_like(plan), np.zeros_like(plan)
    for k in range(1, _ASCENT + 1):
        total, slope = _returns(begin, plan, pay)
        better = total > returns
        best[better], returns[better] = plan[better], total[better]
        mean, square = 0.9 * mean + 0.1 * slope, 0.99 * square + 0.01 * slope**2
        direction = mean / (1 - 0.9**k) / (np.sqrt(square / (1 - 0.99**k)) + 1e-12)
        plan = np.clip(plan + _PACE * (1 - k / _ASCENT) * direction, -1, 1)
    return Plans(best, returns)


# -------------------------------------------------------------------------------------------------------- upper bound


def bound(begin: Starts, points: int = 201) -> np.ndarray:
    """(n,) what no plan can exceed, but for the grid of `points` angles of the first link."""
    total = np.zeros(len(begin.theta))
    for t in range(1, STEPS + 1):
        centre, width = begin.theta + t * DT * begin.omega, DT**2 * t * (t + 1) / 2
        first = centre[:, :1] + width * np.linspace(-1, 1, points)
        rest = begin.goal[:, None] - np.stack([np.cos(first), np.sin(first)], axis=2)  # for the second link
        towards = np.arctan2(rest[..., 1], rest[..., 0])
        away = np.abs((towards - centre[:, 1:] + math.pi) % (2 * math.pi) - math.pi)  # from the middle of its reach
        left = np.maximum(away - width, 0.0)
        length = np.hypot(rest[..., 0], rest[..., 1])
        total += np.exp(-(length**2 + 1 - 2 * length * np.cos(left))).max(1)
    return total
