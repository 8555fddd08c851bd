"""A pole on a cart whose velocities are hidden: streaming actor-critic(lambda), a task of minutes.

Gymnasium's InvertedPendulum without its two velocities (`rtu_np/InvertedPendulum-P-v0`): 1 is paid for each step that
the pole is up, 1000 at most.

Claim: a network with memory learns it from single steps, with RTRL and with T-BPTT(1), and a feedforward one does not.
A velocity is the difference of two observations: it takes little memory, and so no long gradient.

Chosen here: the agents of `experiments.streaming_agents`; nothing is tuned.

Minutes on two cores: smoke 0.5, laptop 30 (on a busy machine), overnight 60 (estimated), paper 200 (estimated).
"""

from typing import Any

from experiments import control
from experiments.control import describe, label, run, score
from experiments.engine.results import Results
from experiments.streaming_agents import METHODS, SMALL, streaming

__all__ = ["PRESETS", "describe", "label", "plot", "run", "score"]

TASK = "InvertedPendulum-P"
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": streaming(TASK, 1000, SMALL), "seeds": range(1)},
    "laptop": {"settings": streaming(TASK, 150_000, METHODS), "seeds": range(5)},
    "overnight": {"settings": streaming(TASK, 500_000, METHODS), "seeds": range(10)},
    "paper": {"settings": streaming(TASK, 1_000_000, METHODS), "seeds": range(30)},
}


def plot(results: Results) -> Any:
    """Learning curves."""
    return control.plot(results, "Streaming actor-critic(lambda) on a pendulum without velocities")
