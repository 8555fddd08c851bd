"""Proximal policy optimisation (PPO) on POPGym's memory tasks, with several recurrent cells.

Elelimy et al. 2024, Fig. 6: CountRecall, RepeatFirst, Concentration, Autoencode and HigherLower, in their easy versions
(Morad et al. 2023). The input includes the previous action and the previous reward.

Claim: recurrent trace units (RTUs) are above the linear recurrent unit (LRU) and the gated recurrent unit (GRU), or
tied with the best.

Chosen here: the agents of `experiments.ppo_agents`. Rewards are not scaled, since the return of an episode is within -1
and 1. Adam's step size is 3e-4 in `laptop`. In `long` the step size is tuned for each task and method, on two other
seeds and 300,000 steps; a run of 500,000 takes 0.2 to 0.7 minutes, and `long` about 1.6 core hours. In the other
presets nothing is tuned.

Minutes on two cores: smoke 1, laptop 9, long 55, overnight 140 (estimated), paper 4000 (estimated).
"""

from typing import Any

from experiments import control
from experiments.control import SCORES, curves, describe, label, run
from experiments.engine.curves import Shown
from experiments.engine.results import Config
from experiments.ppo_agents import AS_PUBLISHED, METHODS, PUBLISHED, SHORT, TUNING, ppo, score, smoke
from experiments.tasks import POPGYM, REPEAT_PREVIOUS

__all__ = ["PRESETS", "SCORES", "curves", "describe", "draw_curves", "label", "run", "score"]

INPUT: dict[str, Any] = {"previous_action_reward": True, "scale_rewards": False}


def settings(steps: int, **parts: Any) -> list[Config]:
    return [config for task in POPGYM for config in ppo(task, steps, METHODS, **INPUT, **parts)]


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": smoke(REPEAT_PREVIOUS, **INPUT), "seeds": range(1)},
    "laptop": {"settings": settings(100_000, **SHORT), "seeds": range(3)},
    "long": {"settings": settings(500_000, **SHORT), "tuning": TUNING, "seeds": range(5)},
    "overnight": {"settings": settings(1_000_000, **AS_PUBLISHED), "seeds": range(5)},
    "paper": {"settings": settings(5_000_000, **AS_PUBLISHED), "seeds": range(30)},
}


def draw_curves(shown: Shown) -> Any:
    """Learning curves, a panel for each task."""
    return control.draw(shown, "PPO on POPGym", columns=3, published=PUBLISHED)
