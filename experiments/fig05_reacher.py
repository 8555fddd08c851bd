"""Proximal policy optimisation (PPO) on an arm that sees its goal once, with several recurrent cells.

Elelimy et al. 2024, Fig. 5. The paper does not define the task. `rtu_np/ReacherPOMDP-v0` is that of POBAX, an arm of
two links (`envs.reacher_pomdp`), and likely the paper's. An arm that never sees its goal gets 19 at most, and one that
knows it 75 (docs/tasks.md).

The results in docs/results/fig05-reacher are older. They are of MuJoCo's Reacher, `rtu_np/ReacherPOMDP-MuJoCo-v0`.

Claim: the nonlinear recurrent trace unit (RTU) is above the linear one. The linear one is level with the gated
recurrent unit (GRU). All three are above the linear recurrent unit (LRU) trained online.

Chosen here: the agents of `experiments.ppo_agents`, with Adam's step size 3e-4 in `laptop`; nothing is tuned.

Minutes on two cores: smoke 1, laptop 7, overnight 55 (estimated), paper 500 (estimated); on MuJoCo's.
"""

from typing import Any

from experiments import control
from experiments.control import describe, label, run
from experiments.engine.results import Results
from experiments.ppo_agents import METHODS, SHORT, ppo, score, smoke

__all__ = ["PRESETS", "describe", "label", "plot", "run", "score"]

TASK = "ReacherPOMDP"
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": smoke(TASK), "seeds": range(1)},
    "laptop": {"settings": ppo(TASK, 200_000, METHODS, **SHORT), "seeds": range(5)},
    "overnight": {"settings": ppo(TASK, 1_000_000, METHODS), "seeds": range(10)},
    "paper": {"settings": ppo(TASK, 3_000_000, METHODS), "seeds": range(30)},
}


def plot(results: Results) -> Any:
    """Learning curves."""
    return control.plot(results, "PPO on an arm, its goal shown once", published="30 seeds")
