"""An arm that sees its target once: streaming actor-critic(lambda) on Reacher with a memory, and without.

The first observation of an episode shows the target, and the others hide it (`rtu_np/ReacherPOMDP-v0`). So an arm that
reaches the target has remembered it. Elelimy et al. 2024, Fig. 5, has this task for proximal policy optimisation. We
did not find the paper's definition of the task; this one is our own.

Claim: a recurrent trace unit (RTU) with real-time recurrent learning (RTRL) reaches nearer than three others: the same
network with truncated backpropagation through time over one step, T-BPTT(1), a gated recurrent unit (GRU) with
T-BPTT(1), and a feedforward network.

Chosen here: the agents of `experiments.streaming_agents`, with gamma .95 and lambda .9, since an episode has 50 steps.
Nothing is tuned.

Minutes on two cores: smoke 0.5, laptop 5, overnight 120 (estimated), paper 400 (estimated).
"""

from typing import Any

from experiments import control
from experiments.control import SCORES, describe, label, run, score
from experiments.engine.results import Config, Results
from experiments.streaming_agents import METHODS, SMALL, Methods, streaming

__all__ = ["PRESETS", "SCORES", "describe", "label", "plot", "run", "score"]


def settings(steps: int, methods: Methods) -> list[Config]:
    return streaming("ReacherPOMDP", steps, methods, gamma=0.95, lambda_=0.9)


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": settings(1000, SMALL), "seeds": range(1)},
    "laptop": {"settings": settings(200_000, METHODS), "seeds": range(5)},
    "overnight": {"settings": settings(1_000_000, METHODS), "seeds": range(10)},
    "paper": {"settings": settings(2_000_000, METHODS), "seeds": range(30)},
}


def plot(results: Results) -> Any:
    """Learning curves."""
    return control.plot(results, "Reacher, its target shown once")
