"""A pole on a cart whose velocities are hidden: streaming actor-critic(lambda), a task of minutes.

Gymnasium's InvertedPendulum without its two velocities (`rtu_np/InvertedPendulum-P-v0`). The reward is 1 for each step
with the pole up, and an episode has 1000 steps at most.

Claim: a network with memory learns the task from single steps, with real-time recurrent learning (RTRL) and with
truncated backpropagation through time over one step, T-BPTT(1). A feedforward network does not. A velocity is the
difference of two observations. So the task takes little memory, and no long gradient.

Both hold for recurrent trace units (RTUs). A gated recurrent unit (GRU) is above the feedforward network, and far from
a pole that stays up.

Chosen here: the agents and the tuning of `stream-mujoco`, from 50,000 steps, and 10 for the actor's kappa. With 3, on
the seeds 0 to 9, 27 of 40 runs ended with a policy that pushes one way, and 2 steps to an episode: all of GRU and
feedforward network, and 7 of the 20 of RTUs.

Minutes on two cores: smoke 0.5, laptop 5, overnight 20 (estimated), paper 100 (estimated).
"""

from typing import Any

from experiments import control
from experiments.control import SCORES, curves, describe, label, run
from experiments.engine.curves import Shown
from experiments.streaming_agents import ARMS, GRUS, score, stages, tuned

__all__ = ["PRESETS", "SCORES", "curves", "describe", "draw_curves", "label", "run", "score", "stages"]

TASK = "InvertedPendulum-P"
FOUR = [*ARMS, GRUS[1]]
KAPPA = {"actor_kappa": 10.0}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": tuned([TASK], ARMS[:1], 1000, 500, range(1)) | KAPPA,
    "laptop": tuned([TASK], FOUR, 150_000, 50_000, range(10, 20)) | KAPPA,
    "overnight": tuned([TASK], FOUR, 500_000, 150_000, range(10, 20)) | KAPPA,
    "paper": tuned([TASK], FOUR, 1_000_000, 150_000, range(10, 40)) | KAPPA,
}


def draw_curves(shown: Shown) -> Any:
    """Learning curves."""
    return control.draw(shown, "Streaming actor-critic(lambda) on a pendulum without velocities")
