"""Proximal policy optimisation (PPO) on an arm that sees its goal once, with several recurrent cells.

Elelimy et al. 2024, Fig. 5. The paper does not define the task. `rtu_np/ReacherPOMDP-v0` is that of POBAX, an arm of
two links (`envs.reacher_pomdp`), and likely the paper's. An arm that never sees its goal gets 19 at most, and one that
knows it 75 (docs/tasks.md).

The results in docs/results/fig05-reacher are older. They are of MuJoCo's Reacher, `rtu_np/ReacherPOMDP-MuJoCo-v0`.

Claim: the nonlinear recurrent trace unit (RTU) is above the linear one. The linear one is level with the gated
recurrent unit (GRU). All three are above the linear recurrent unit (LRU) trained online.

Chosen here: the agents of `experiments.ppo_agents`, with Adam's step size 3e-4 in `laptop`. In `long` the step
size is tuned for each method, on two other seeds and as many steps; a run takes half a minute at most. In the other
presets nothing is tuned.

Minutes on two cores: smoke 1, laptop 7, long 15 (estimated), overnight 55 (estimated), paper 500 (estimated).
"""

from typing import Any

from experiments import control
from experiments.control import SCORES, curves, describe, label, run
from experiments.engine.curves import Shown
from experiments.ppo_agents import METHODS, SHORT, TUNING, ppo, score, smoke

__all__ = ["PRESETS", "SCORES", "curves", "describe", "draw_curves", "label", "run", "score"]

TASK = "ReacherPOMDP"
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": smoke(TASK), "seeds": range(1)},
    "laptop": {"settings": ppo(TASK, 200_000, METHODS, **SHORT), "seeds": range(5)},
    "long": {"settings": ppo(TASK, 300_000, METHODS, **SHORT), "tuning": TUNING, "seeds": range(10)},
    "overnight": {"settings": ppo(TASK, 1_000_000, METHODS), "seeds": range(10)},
    "paper": {"settings": ppo(TASK, 3_000_000, METHODS), "seeds": range(30)},
}


def draw_curves(shown: Shown) -> Any:
    """Learning curves."""
    return control.draw(shown, "PPO on an arm, its goal shown once", published="30 seeds")
