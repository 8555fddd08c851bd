"""Proximal policy optimisation (PPO) on robots without velocities, or without positions; and a streaming agent.

Elelimy et al. 2024, Fig. 4: Ant, HalfCheetah, Hopper and Walker2d. -P hides velocities, -V hides positions and angles.
PPO has nonlinear or linear recurrent trace units (RTUs), a linear recurrent unit (LRU) or a gated recurrent unit (GRU).
Each cell has about 24,000 recurrent parameters, which the table counts. The streaming agent has two networks with about
49,500 each.

Claim: nonlinear and linear RTUs are above the LRU trained online, by real-time recurrent learning (RTRL). They are also
above LRU and GRU with truncated backpropagation through time (T-BPTT). In the released code the online LRU's gradient
of B is wrong (docs/derivations.md, Deviations). Here this gradient is right. The question is whether an RTU is still
above this LRU.

Chosen here: the agents of `experiments.ppo_agents`. `long` has two tasks of each kind, without the streaming agent and
without Ant, whose steps take longest. HalfCheetah-V and Walker2d-V take more memory than a velocity does. In `long`,
Adam's step size is tuned for each task and method, on two other seeds and 300,000 steps. In the other presets nothing
is tuned: `laptop` is a twelfth as long as the paper's runs, with three times the published step size. The streaming
actor-critic has its earlier defaults, and learns from as many steps as PPO.

In `long` both RTUs have larger means than the online LRU on all four tasks, and intervals overlap in 7 of 8 cases. No
cell is above an RTU. Seeds differ by more than cells.

Minutes on two cores: smoke 1, laptop 20, long 255, overnight 250 (estimated), paper 12000 (estimated).
"""

from typing import Any

from experiments import control
from experiments.control import SCORES, curves, describe, label, run
from experiments.engine.curves import Shown
from experiments.engine.results import Config
from experiments.ppo_agents import AS_PUBLISHED, METHODS, PUBLISHED, SHORT, TUNING, ppo, score, smoke
from experiments.streaming_agents import EARLIER
from experiments.tasks import ROBOTS

__all__ = ["PRESETS", "SCORES", "curves", "describe", "draw_curves", "label", "run", "score"]

# Two of each kind: POBAX (Tao et al. 2025) has HalfCheetah-V and Walker2d-V as tasks that take memory.
SELECTED = ["HalfCheetah-P", "HalfCheetah-V", "Hopper-P", "Walker2d-V"]
STREAMED = "streaming linear RTU, RTRL"


def settings(steps: int, tasks: list[str], **parts: Any) -> list[Config]:
    plan: list[Config] = []
    for task in tasks:
        plan += ppo(task, steps, METHODS, **parts)
        plan.append(control.setting(task, STREAMED, steps, "ActorCritic", **EARLIER))
    return plan


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": smoke("Hopper-P"), "seeds": range(1)},
    "laptop": {"settings": settings(400_000, ROBOTS[:2], **SHORT), "seeds": range(3)},
    "long": {
        "settings": [config for task in SELECTED for config in ppo(task, 1_000_000, METHODS, **SHORT)],
        "tuning": TUNING,
        "seeds": range(5),
    },
    "overnight": {"settings": settings(1_000_000, ROBOTS, **AS_PUBLISHED), "seeds": range(3)},
    "paper": {"settings": settings(5_000_000, ROBOTS, **AS_PUBLISHED), "seeds": range(30)},
}


def draw_curves(shown: Shown) -> Any:
    """Learning curves, a panel for each task."""
    return control.draw(shown, "PPO on masked MuJoCo", columns=2, published=PUBLISHED)
