"""The PPO agents that the figures on control share: RTUs, LRU and GRU, all with about 24,000 recurrent parameters.

PPO's settings are those of the released code of Elelimy et al. 2024, which are the defaults of `PPO`. T = 8 for T-BPTT,
and tanh, are not published: they were chosen here.
"""

from typing import Any

from experiments import control
from experiments.engine.results import Config, Results
from experiments.prediction import parameters
from rtu_np import GRU, LRU, TBPTT, Adam, LinearRTU, NonlinearRTU, Stack, checkpoint, ppo_network
from rtu_np.cells.layer import Cell

PUBLISHED = "5 million steps"  # the paper's runs
UNITS = {"RTU": 192, "LRU": 82, "GRU": 64}  # that have about 24,000 parameters

Methods = dict[str, dict[str, Any]]  # {name: arguments of the agent}
METHODS: Methods = {
    "nonlinear RTU, RTRL": {"cell": ppo_network(NonlinearRTU(UNITS["RTU"]))},
    "linear RTU, RTRL": {"cell": ppo_network(LinearRTU(UNITS["RTU"]))},
    "LRU, RTRL": {"cell": ppo_network(LRU(UNITS["LRU"]))},
    "LRU, T-BPTT(8)": {"cell": ppo_network(LRU(UNITS["LRU"])), "gradient": TBPTT(8)},
    "GRU, T-BPTT(8)": {"cell": ppo_network(GRU(UNITS["GRU"])), "gradient": TBPTT(8)},
}
SHORT: dict[str, Any] = {"optimizer": Adam(3e-4, epsilon=1e-5)}  # for runs a tenth as long as published, or less
# Of a size that compiles and runs in seconds.
SMALL: dict[str, Any] = {"cell": LinearRTU(8), "n_steps": 256, "n_minibatches": 4, "n_epochs": 2}
OBSERVED = 5  # numbers in Hopper-P's observation, which has no encoder in `smoke`


def ppo(task: str, steps: int, methods: Methods, **parts: Any) -> list[Config]:
    """PPO with each of these methods, on one thread, since runs go side by side; `parts` are arguments of all."""
    return [control.setting(task, name, steps, "PPO", threads=1, **method, **parts) for name, method in methods.items()]


def smoke(task: str, **parts: Any) -> list[Config]:
    """The setting of the preset `smoke`."""
    return ppo(task, 1000, {"small RTU": SMALL}, **parts)


def recurrent_parameters(cell: Cell, n_inputs: int) -> int:
    """How many numbers the recurrent layer of a network learns."""
    *encoder, recurrent = cell.layers if isinstance(cell, Stack) else [cell]
    for layer in encoder:
        n_inputs = layer.spec(n_inputs).n_outputs
    return parameters(recurrent, n_inputs)


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: mean return in the last tenth, and how many numbers the recurrent layer learns."""
    table = control.score(results)
    for config, _ in results:
        cell = checkpoint.build("cell", config["parts"]["cell"])
        table[control.label(config)]["recurrent parameters"] = recurrent_parameters(cell, n_inputs=OBSERVED)
    return table
