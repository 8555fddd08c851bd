"""A pole on a cart whose velocities are hidden: streaming actor-critic(lambda), a task of minutes.

Gymnasium's InvertedPendulum without its two velocities (`rtu_np/InvertedPendulum-P-v0`): 1 is paid for each step that
the pole is up, 1000 at most.

Claim: a network with memory learns it from single steps, with RTRL and with T-BPTT(1), and a feedforward one does not.
A velocity is the difference of two observations: it takes little memory, and so no long gradient.

Chosen here: the agents of `stream-mujoco`; nothing is tuned.

Minutes on two cores: smoke 0.5, laptop 30 (on a busy machine), overnight 60 (estimated), paper 200 (estimated).
"""

from typing import Any

from experiments import control
from experiments.control import describe, label, run, score
from experiments.engine.results import Config, Results
from experiments.stream_mujoco import METHODS, SMALL

__all__ = ["PRESETS", "describe", "label", "plot", "run", "score"]

TASK = "InvertedPendulum-P"


def settings(steps: int, methods: list[str]) -> list[Config]:
    return [control.setting(TASK, method, steps, "ActorCritic", **(METHODS | SMALL)[method]) for method in methods]


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": settings(1000, ["small RTU"]), "seeds": range(1)},
    "laptop": {"settings": settings(150_000, list(METHODS)), "seeds": range(5)},
    "overnight": {"settings": settings(500_000, list(METHODS)), "seeds": range(10)},
    "paper": {"settings": settings(1_000_000, list(METHODS)), "seeds": range(30)},
}


def plot(results: Results) -> Any:
    """Learning curves."""
    return control.plot(results, "Streaming actor-critic(lambda) on a pendulum without velocities")
