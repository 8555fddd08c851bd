"""Environments that several figures share, by their ids without "rtu_np/" and version."""

from typing import Any

from envs.card_ceilings import CEILINGS
from envs.ceilings import ceilings

# -P hides velocities, -V hides positions and angles.
ROBOTS = [f"{robot}-{variant}" for variant in "PV" for robot in ("HalfCheetah", "Hopper", "Walker2d", "Ant")]
# Five tasks of Elelimy et al. 2024, and one more.
POPGYM = [f"{name}Easy" for name in ("RepeatFirst", "CountRecall", "Concentration", "Autoencode", "HigherLower")]
REPEAT_PREVIOUS = "RepeatPreviousEasy"

# {task that needs a memory: settings of its environment}
MEMORY: dict[str, dict[str, Any]] = {
    REPEAT_PREVIOUS: {},
    "TMaze": {"length": 10, "noise": 0.1, "form": "cue"},
    "KMemoryChain": {"length": 16, "k": 4},
    "ReacherPOMDP": {},
    "MemoryChain": {"length": 32},
}


def _best(task: str, settings: dict[str, Any]) -> tuple[float, float]:
    """The best mean returns without memory and with a perfect one; of cards, of an agent that sees its last action."""
    return (CEILINGS[task].previous, CEILINGS[task].perfect) if task in CEILINGS else ceilings(task, **settings)


REACHABLE = {
    task: dict(zip(("without memory", "perfect memory"), _best(task, settings), strict=True))
    for task, settings in MEMORY.items()
}
