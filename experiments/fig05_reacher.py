"""Proximal policy optimisation (PPO) on an arm that sees its goal once, with several recurrent cells.

Elelimy et al. 2024, Fig. 5. The paper does not define the task. `rtu_np/ReacherPOMDP-v0` is that of POBAX, an arm of
two links (`envs.reacher_pomdp`), and likely the paper's. An arm that never sees its goal gets 19 at most, and one that
knows it 75 (docs/tasks.md).

Claim: the nonlinear recurrent trace unit (RTU) is above the linear one. The linear one is level with the gated
recurrent unit (GRU). All three are above the linear recurrent unit (LRU) trained online. It does not hold here: in
`large` the linear RTU is above all others, and the nonlinear one is the last of those with RTRL.

Chosen here: the agents of `experiments.ppo_agents`, with Adam's step size 3e-4 in `laptop`. In `long` the step
size is tuned for each method, on two other seeds and as many steps; a run takes half a minute at most. In `large` it
is, too, on half the steps. In the other presets nothing is tuned.

With the published settings no cell learns the arm (`long`): a rollout of 2,048 steps has 20 goals, and what an update
learns of them does not hold for the next 20. `large` has rollouts of 16,384 steps in 64 minibatches, and gamma .95. Its
recurrent layers see the observation itself, with no encoder before them, and phases are below 1. Each has about 1,200
parameters. All this was chosen on seed 1000.

Minutes on two cores: smoke 1, laptop 7, long 12, large 36, overnight 55 (estimated), paper 500 (estimated).
"""

from typing import Any

from envs import ceilings
from experiments import control
from experiments.control import SCORES, curves, describe, label, run
from experiments.engine.curves import Shown
from experiments.ppo_agents import AS_PUBLISHED, METHODS, SHORT, TUNING, Methods, ppo, score, smoke
from rtu_np import GRU, LRU, RTRL, TBPTT, LinearRTU, MinGRU, NonlinearRTU, recurrent_network
from rtu_np.cells.layer import Cell, GradientMethod

__all__ = ["PRESETS", "SCORES", "curves", "describe", "draw_curves", "label", "run", "score"]

TASK = "ReacherPOMDP"
CELLS: dict[str, tuple[Cell, list[GradientMethod]]] = {
    "nonlinear RTU": (NonlinearRTU(64, max_phase=1.0), [RTRL()]),
    "linear RTU": (LinearRTU(64, max_phase=1.0), [RTRL(), TBPTT(8)]),
    "LRU": (LRU(20, max_phase=1.0), [RTRL(), TBPTT(8)]),
    "GRU": (GRU(16), [TBPTT(8)]),
    "minGRU": (MinGRU(64, gate_bias=-3.0), [RTRL(), TBPTT(8)]),
}
ON_OBSERVATION: Methods = {
    f"{name}, {'RTRL' if gradient == RTRL() else 'T-BPTT(8)'}": {"cell": recurrent_network(cell), "gradient": gradient}
    for name, (cell, gradients) in CELLS.items()
    for gradient in gradients
}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": smoke(TASK), "seeds": range(1)},
    "laptop": {"settings": ppo(TASK, 200_000, METHODS, **SHORT), "seeds": range(5)},
    "long": {"settings": ppo(TASK, 300_000, METHODS, **SHORT), "tuning": TUNING, "seeds": range(10)},
    "large": {
        "settings": ppo(TASK, 3_000_000, ON_OBSERVATION, gamma=0.95, n_steps=16_384, n_minibatches=64, **SHORT),
        "tuning": {"step_sizes": [1e-3, 3e-4], "seeds": range(1000, 1002), "steps": 1_500_000},
        "seeds": range(10),
    },
    "overnight": {"settings": ppo(TASK, 1_000_000, METHODS, **AS_PUBLISHED), "seeds": range(10)},
    "paper": {"settings": ppo(TASK, 3_000_000, METHODS, **AS_PUBLISHED), "seeds": range(30)},
}


def draw_curves(shown: Shown) -> Any:
    """Learning curves. Dashed: the best return without memory, and with a perfect one."""
    title, bounds = "PPO on an arm, its goal shown once", ceilings.reacher_pomdp()
    return control.draw(shown, title, published="30 seeds", ceilings={TASK: bounds._asdict()})
