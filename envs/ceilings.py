"""The best mean return of an episode of each memory task, without memory and with a perfect one (docs/tasks.md).

*Without memory* an action depends on the present observation alone. *With perfect memory* it depends on all so far.
The page derives the formulas of chains and mazes. The arm's numbers are measured (`envs.reacher_plans`).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from envs.memory_chain import TIMINGS
from envs.sizes import MOST_BITS, check_length
from envs.tmaze import FORMS, LOUDEST
from rtu_np.validation import check_choice, check_count, check_real


class Ceilings(NamedTuple):
    without: float  # memory
    perfect: float


def memory_chain(length: int = 16, timing: str = "lag-free") -> Ceilings:
    """Of `MemoryChain`. With bsuite's timing and length 1, the cue is still there at the answer.

    Examples
    --------
    >>> memory_chain(64), memory_chain(1, "bsuite")
    (Ceilings(without=0.0, perfect=1.0), Ceilings(without=1.0, perfect=1.0))
    """
    shown = check_length(length, "the cue must be remembered") <= check_choice("timing", timing, TIMINGS)
    return Ceilings(1.0 if shown else 0.0, 1.0)


def k_memory_chain(length: int = 16, k: int = 3, timing: str = "lag-free") -> Ceilings:
    """Of `KMemoryChain`, for any number of bits."""
    check_count("k", k, high=MOST_BITS)
    return memory_chain(length, timing)


def t_maze(length: int = 10, noise: float = 0.0, form: str = "bakker") -> Ceilings:
    """Of `TMaze`. Without memory, an agent guesses at the junction, or it leaves the start for one of the signs only.

    The perfect memory looks at the sign once, and counts its steps. With noise above about .3 an agent may look again
    before it leaves, and earn more. Below, a look is right but for one in 1000. Noise makes the value without memory
    an upper bound.

    Examples
    --------
    >>> [round(x, 6) for x in t_maze(10, 0.1, "cue")], t_maze()
    ([-0.105, 0.89], Ceilings(without=1.95, perfect=4.0))
    """
    maze, length = check_choice("form", form, FORMS), check_length(length, "the sign must be remembered")
    noise = check_real("noise", noise, low=0.0, high=LOUDEST)
    apart = float(np.linalg.norm(maze.seen[0] - maze.seen[1]))
    wrong = math.erfc(apart / (2 * noise) / math.sqrt(2)) / 2 if noise > 0 else 0.0
    right, lost = length * maze.move + maze.right, length * maze.move + maze.wrong
    wait = 10 * (length + 1) * maze.bump
    return Ceilings((right + max(lost, wait)) / 2, (1 - wrong) * right + wrong * lost)


def reacher_pomdp() -> Ceilings:
    """Of `ReacherPOMDP` with 100 steps: measured by `python benchmarks/ceilings.py`, and rounded.

    Examples
    --------
    >>> reacher_pomdp().perfect > 3 * reacher_pomdp().without
    True
    """
    return Ceilings(18.9, 74.5)


TASKS: dict[str, Callable[..., Ceilings]] = {
    "MemoryChain": memory_chain,
    "KMemoryChain": k_memory_chain,
    "TMaze": t_maze,
    "ReacherPOMDP": reacher_pomdp,
}


def ceilings(task: str, **settings: Any) -> Ceilings:
    """Of a task by its name, with the settings of its environment.

    Raises
    ------
    ValueError, TypeError : if `task` is not among TASKS, or a setting is out of its range; the message names it

    Examples
    --------
    >>> ceilings("MemoryChain", length=8)
    Ceilings(without=0.0, perfect=1.0)
    """
    return check_choice("task", task, TASKS)(**settings)
