"""PPO on robots without velocities, or without positions: RTUs beside LRU and GRU, and a streaming agent.

Elelimy et al. 2024, Fig. 4: Ant, HalfCheetah, Hopper and Walker2d, -P without velocities, -V without positions and
angles; about 24,000 recurrent parameters each, which the table counts. The streaming agent has two networks with about
49,500 each.

Claim: nonlinear and linear RTUs are above the LRU trained online and above LRU and GRU with T-BPTT. In the released
code the online LRU's gradient of B is wrong (docs/derivations.md, Deviations); here it is right, and whether an RTU is
still above it is the question.

Not published, and chosen here: T = 8 for T-BPTT; tanh. PPO's settings are those of the released code, the defaults of
`PPO`; nothing is tuned. Runs of `laptop` are a tenth as long, and take Adam's steps three times as large, 3e-4, in all
methods. The streaming actor-critic of `stream-mujoco` learns from as many steps.

Minutes on two cores: smoke 1, laptop 20, overnight 250 (estimated), paper 12000 (estimated).
"""

from typing import Any

from experiments import control
from experiments.control import describe, label, run
from experiments.engine.results import Config, Results
from experiments.prediction import parameters
from experiments.stream_mujoco import METHODS as STREAMING
from experiments.stream_mujoco import TASKS
from rtu_np import GRU, LRU, TBPTT, Adam, LinearRTU, NonlinearRTU, Stack, checkpoint, encoded
from rtu_np.cells.layer import Cell

__all__ = ["PRESETS", "describe", "label", "plot", "run", "score"]

METHODS: dict[str, dict[str, Any]] = {
    "nonlinear RTU, RTRL": {"cell": encoded(NonlinearRTU(192))},
    "linear RTU, RTRL": {"cell": encoded(LinearRTU(192))},
    "LRU, RTRL": {"cell": encoded(LRU(82))},
    "LRU, T-BPTT(8)": {"cell": encoded(LRU(82)), "gradient": TBPTT(8)},
    "GRU, T-BPTT(8)": {"cell": encoded(GRU(64)), "gradient": TBPTT(8)},
}
ALONE: dict[str, Any] = {"threads": 1}  # runs go side by side
SHORT: dict[str, Any] = {"optimizer": Adam(3e-4, epsilon=1e-5)}  # in runs a tenth as long as published, or less
# Of a size that compiles and runs in seconds.
SMALL: dict[str, Any] = {"cell": LinearRTU(8), "rollout": 256, "minibatches": 4, "epochs": 2, **ALONE}
STREAMED = "streaming linear RTU, RTRL"
PUBLISHED = "5 million steps"
OBSERVED = 5  # numbers in Hopper-P's observation, which has no encoder in `smoke`


def ppo(task: str, steps: int, methods: list[str], **parts: Any) -> list[Config]:
    """PPO with each of these methods."""
    return [control.setting(task, name, steps, "PPO", **METHODS[name], **ALONE, **parts) for name in methods]


def settings(steps: int, tasks: list[str], methods: list[str], **parts: Any) -> list[Config]:
    plan: list[Config] = []
    for task in tasks:
        plan += ppo(task, steps, methods, **parts)
        plan.append(control.setting(task, STREAMED, steps, "ActorCritic", **STREAMING["RTU, RTRL"]))
    return plan


ALL = list(METHODS)
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": [control.setting("Hopper-P", "small RTU", 1000, "PPO", **SMALL)], "seeds": range(1)},
    "laptop": {"settings": settings(400_000, TASKS[:2], ALL, **SHORT), "seeds": range(3)},
    "overnight": {"settings": settings(1_000_000, TASKS, ALL), "seeds": range(3)},
    "paper": {"settings": settings(5_000_000, TASKS, ALL), "seeds": range(30)},
}


def recurrent_parameters(cell: Cell, n_inputs: int) -> int:
    """How many numbers the recurrent layer of a network learns."""
    *encoder, recurrent = cell.layers if isinstance(cell, Stack) else [cell]
    for layer in encoder:
        n_inputs = layer.spec(n_inputs).n_outputs
    return parameters(recurrent, n_inputs)


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: mean return in the last tenth, and how many numbers the recurrent layer learns."""
    table = control.score(results, label)
    for config, _ in results:
        cell = checkpoint.build("cell", config["parts"]["cell"])
        table[label(config)]["recurrent parameters"] = recurrent_parameters(cell, n_inputs=OBSERVED)
    return table


def plot(results: Results) -> Any:
    """Learning curves, a panel for each task."""
    return control.plot(results, "PPO on masked MuJoCo", published=PUBLISHED)
