"""A pole on a cart whose velocities are hidden: streaming actor-critic(lambda), a task of minutes.

Gymnasium's InvertedPendulum without its two velocities (`rtu_np/InvertedPendulum-P-v0`). The reward is 1 for each step
with the pole up, and an episode has 1000 steps at most.

Claim: a network with memory learns the task from single steps, with real-time recurrent learning (RTRL) and with
truncated backpropagation through time over one step, T-BPTT(1). A feedforward network does not. A velocity is the
difference of two observations. So the task takes little memory, and no long gradient.

Chosen here: the agents of `experiments.streaming_agents`; nothing is tuned.

Minutes on two cores: smoke 0.5, laptop 30 (on a busy machine), overnight 60 (estimated), paper 200 (estimated).
"""

from typing import Any

from experiments import control
from experiments.control import SCORES, curves, describe, label, run, score
from experiments.engine.curves import Shown
from experiments.streaming_agents import METHODS, SMALL, streaming

__all__ = ["PRESETS", "SCORES", "curves", "describe", "draw_curves", "label", "run", "score"]

TASK = "InvertedPendulum-P"
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": streaming(TASK, 1000, SMALL), "seeds": range(1)},
    "laptop": {"settings": streaming(TASK, 150_000, METHODS), "seeds": range(5)},
    "overnight": {"settings": streaming(TASK, 500_000, METHODS), "seeds": range(10)},
    "paper": {"settings": streaming(TASK, 1_000_000, METHODS), "seeds": range(30)},
}


def draw_curves(shown: Shown) -> Any:
    """Learning curves."""
    return control.draw(shown, "Streaming actor-critic(lambda) on a pendulum without velocities")
