"""Robots without velocities, or without positions: streaming actor-critic(lambda), with memory and without.

The agent learns from each step once, when the step is made, without replay and without batches. -P hides velocities, -V
hides positions and angles (Elelimy et al. 2024, Fig. 4; the streaming agent after Elsayed et al. 2024 and Farr et al.
2026).

Claim: with the same agent on the same steps, a recurrent trace unit (RTU) with real-time recurrent learning (RTRL) is
above the same network with truncated backpropagation through time over one step, T-BPTT(1), and above a feedforward
network, on most of the eight tasks. The gradient of T-BPTT(1) does not reach the past.

Chosen here: the agents of `experiments.streaming_agents`; nothing is tuned. The tasks are Gymnasium's MuJoCo v5. The
published returns are of other physics.

Minutes on two cores: smoke 0.5, laptop 88, overnight 380 (estimated), paper 3100 (estimated).
"""

from typing import Any

from experiments import control
from experiments.control import SCORES, describe, label, run, score
from experiments.engine.results import Config, Results
from experiments.streaming_agents import FEEDFORWARD, METHODS, RTUS, SMALL, Methods, streaming
from experiments.tasks import ROBOTS

__all__ = ["PRESETS", "SCORES", "describe", "label", "plot", "run", "score"]


def settings(steps: int, tasks: list[str], methods: Methods) -> list[Config]:
    return [config for task in tasks for config in streaming(task, steps, methods)]


# The two gradients of the claim on all four robots, and the network without memory on two of them.
LAPTOP = settings(1_000_000, ROBOTS[:4], RTUS) + settings(1_000_000, ROBOTS[:2], FEEDFORWARD)
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": settings(1000, ["Hopper-P"], SMALL), "seeds": range(1)},
    "laptop": {"settings": LAPTOP, "seeds": range(3)},
    "overnight": {"settings": settings(2_000_000, ROBOTS, METHODS), "seeds": range(3)},
    "paper": {"settings": settings(5_000_000, ROBOTS, METHODS), "seeds": range(10)},
}


def plot(results: Results) -> Any:
    """Learning curves, a panel for each task."""
    return control.plot(results, "Streaming actor-critic(lambda) on masked MuJoCo")
