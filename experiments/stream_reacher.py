"""An arm that sees its goal once: streaming actor-critic(lambda) with a memory, and without.

The first observation of an episode shows the goal, and the others hide it (`rtu_np/ReacherPOMDP-v0`,
`envs.reacher_pomdp`). So an arm that reaches the goal has remembered it: an arm that never sees its goal gets 19 at
most, and one that knows it 75 (docs/tasks.md). Elelimy et al. 2024, Fig. 5, have a task of this name for proximal
policy optimisation, and do not define it; this one is that of POBAX, and likely the same.

The results in docs/results/stream-reacher are older. They are of MuJoCo's Reacher, with gamma .95: the task that is
`rtu_np/ReacherPOMDP-MuJoCo-v0` now.

Claim: a recurrent trace unit (RTU) with real-time recurrent learning (RTRL) reaches nearer than three others: the same
network with truncated backpropagation through time over one step, T-BPTT(1), a gated recurrent unit (GRU) with
T-BPTT(1), and a feedforward network.

Chosen here: the agents of `experiments.streaming_agents`, with gamma .99 and lambda .9, since an episode has 100 steps.
Nothing is tuned.

Minutes on two cores: smoke 0.5, laptop 5, overnight 120 (estimated), paper 400 (estimated); on MuJoCo's.
"""

from typing import Any

from experiments import control
from experiments.control import SCORES, curves, describe, label, run, score
from experiments.engine.curves import Shown
from experiments.engine.results import Config
from experiments.streaming_agents import METHODS, SMALL, Methods, streaming

__all__ = ["PRESETS", "SCORES", "curves", "describe", "draw_curves", "label", "run", "score"]


def settings(steps: int, methods: Methods) -> list[Config]:
    return streaming("ReacherPOMDP", steps, methods, gamma=0.99, lambda_=0.9)


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": settings(1000, SMALL), "seeds": range(1)},
    "laptop": {"settings": settings(200_000, METHODS), "seeds": range(5)},
    "overnight": {"settings": settings(1_000_000, METHODS), "seeds": range(10)},
    "paper": {"settings": settings(2_000_000, METHODS), "seeds": range(30)},
}


def draw_curves(shown: Shown) -> Any:
    """Learning curves."""
    return control.draw(shown, "An arm, its goal shown once")
