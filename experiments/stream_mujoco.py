"""Robots without velocities, or without positions: streaming actor-critic(lambda), with memory and without.

Each step is learned from once, as it comes; no replay, no batches. -P hides velocities, -V hides positions and angles
(Elelimy et al. 2024, Fig. 4; the streaming agent after Elsayed et al. 2024 and Farr et al. 2026).

Claim: with the same agent on the same steps, RTU with RTRL is above the same network with T-BPTT(1), whose gradient
does not reach the past, and above a feedforward network, on most of the eight tasks.

Chosen here: encoder 128, 128 (sparse, normalised, leaky), then a linear RTU of 192 units, or GRU of 80, or a layer of
384: all with about 49,400 parameters. gamma .99, lambda .99, entropy .01, ObGD with kappa 3 (actor) and 2 (critic),
float32; nothing is tuned. Gymnasium's MuJoCo v5 tasks; the published returns are of other physics.

Minutes on two cores: smoke 0.5, laptop 88, overnight 380 (estimated), paper 3100 (estimated).
"""

from typing import Any

from experiments import control
from experiments.control import describe, label, run, score
from experiments.engine.results import Config, Results
from rtu_np import GRU, TBPTT, Dense, LinearRTU, streaming_network

__all__ = ["PRESETS", "describe", "label", "plot", "run", "score"]

METHODS: dict[str, dict[str, Any]] = {
    "RTU, RTRL": {"cell": streaming_network(LinearRTU(192))},
    "RTU, T-BPTT(1)": {"cell": streaming_network(LinearRTU(192)), "gradient": TBPTT(1)},
    "GRU, T-BPTT(1)": {"cell": streaming_network(GRU(80)), "gradient": TBPTT(1)},
    "feedforward": {"cell": streaming_network(Dense(384, "tanh"))},
}
SMALL = {"small RTU": {"cell": LinearRTU(8)}}  # compiles in seconds
TASKS = [f"{robot}-{kept}" for kept in "PV" for robot in ("HalfCheetah", "Hopper", "Walker2d", "Ant")]


def settings(steps: int, tasks: list[str], methods: list[str]) -> list[Config]:
    return [
        control.setting(task, method, steps, "ActorCritic", **(METHODS | SMALL)[method])
        for task in tasks
        for method in methods
    ]


# On all four robots what the claim is about; beside it, on two, what no memory comes to.
LAPTOP = settings(1_000_000, TASKS[:4], list(METHODS)[:2]) + settings(1_000_000, TASKS[:2], ["feedforward"])
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": settings(1000, ["Hopper-P"], ["small RTU"]), "seeds": range(1)},
    "laptop": {"settings": LAPTOP, "seeds": range(3)},
    "overnight": {"settings": settings(2_000_000, TASKS, list(METHODS)), "seeds": range(3)},
    "paper": {"settings": settings(5_000_000, TASKS, list(METHODS)), "seeds": range(10)},
}


def plot(results: Results) -> Any:
    """Learning curves, a panel for each task."""
    return control.plot(results, "Streaming actor-critic(lambda) on masked MuJoCo")
