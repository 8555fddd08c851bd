"""Robots without velocities, or without positions: streaming actor-critic(lambda), with memory and without.

Each step is learned from once, as it comes; no replay, no batches. -P hides velocities, -V hides positions and angles
(Elelimy et al. 2024, Fig. 4; the streaming agent after Elsayed et al. 2024 and Farr et al. 2026).

Claim: with the same agent on the same steps, RTU with RTRL is above the same network with T-BPTT(1), whose gradient
does not reach the past, and above a feedforward network, on most of the eight tasks.

Chosen here: the agents of `experiments.streaming_agents`; nothing is tuned. Gymnasium's MuJoCo v5 tasks; the published
returns are of other physics.

Minutes on two cores: smoke 0.5, laptop 88, overnight 380 (estimated), paper 3100 (estimated).
"""

from typing import Any

from experiments import control
from experiments.control import describe, label, run, score
from experiments.engine.results import Config, Results
from experiments.streaming_agents import FEEDFORWARD, METHODS, RTUS, SMALL, Methods, streaming
from experiments.tasks import ROBOTS

__all__ = ["PRESETS", "describe", "label", "plot", "run", "score"]


def settings(steps: int, tasks: list[str], methods: Methods) -> list[Config]:
    return [config for task in tasks for config in streaming(task, steps, methods)]


# On all four robots what the claim is about; beside it, on two, what no memory comes to.
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
