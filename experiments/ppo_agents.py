"""The agents of proximal policy optimisation (PPO) that the figures on control share.

They have linear or nonlinear recurrent trace units (RTUs), a linear recurrent unit (LRU) or a gated recurrent unit
(GRU), each with about 24,000 recurrent parameters. They learn by real-time recurrent learning (RTRL) or by truncated
backpropagation through time (T-BPTT).

PPO's settings are those of the released code of Elelimy et al. 2024. They are the defaults of `PPO` but for Adam's step
size, 1e-4 there and 3e-4 here. T = 8 for T-BPTT, and tanh, are not published: they were chosen here.

Behind its recurrent layer each network has the same layers of 64. An RTU has two outputs, so with as many recurrent
parameters it has more outputs than the others, 384 against 82 and 64, and more parameters behind them: on HalfCheetah-P
the networks have 75,277 (RTU), 35,851 (LRU) and 34,317 (GRU) in all.
"""

from typing import Any

from gymnasium.spaces import flatdim

from experiments import control
from experiments.engine.results import Config, Results
from experiments.prediction import parameters
from rtu_np import GRU, LRU, TBPTT, Adam, LinearRTU, NonlinearRTU, Stack, checkpoint, ppo_network, protocol

PUBLISHED = "5 million steps"  # the paper's runs
UNITS = {"RTU": 192, "LRU": 82, "GRU": 64}  # with about 24,000 parameters each

Methods = dict[str, dict[str, Any]]  # {name: arguments of the agent}
METHODS: Methods = {
    "nonlinear RTU, RTRL": {"cell": ppo_network(NonlinearRTU(UNITS["RTU"]))},
    "linear RTU, RTRL": {"cell": ppo_network(LinearRTU(UNITS["RTU"]))},
    "LRU, RTRL": {"cell": ppo_network(LRU(UNITS["LRU"]))},
    "LRU, T-BPTT(8)": {"cell": ppo_network(LRU(UNITS["LRU"])), "gradient": TBPTT(8)},
    "GRU, T-BPTT(8)": {"cell": ppo_network(GRU(UNITS["GRU"])), "gradient": TBPTT(8)},
}
AS_PUBLISHED: dict[str, Any] = {"optimizer": Adam(1e-4, epsilon=1e-5)}
SHORT: dict[str, Any] = {"optimizer": Adam(3e-4, epsilon=1e-5)}  # for runs a fifth as long as published, or less
# For `long`: the step size of each task and method is the best of three on two seeds that are not reported.
TUNING: dict[str, Any] = {"step_sizes": [1e-3, 3e-4, 1e-4], "seeds": range(1000, 1002), "steps": 300_000}
# Compiles and runs in seconds.
SMALL: dict[str, Any] = {"cell": LinearRTU(8), "n_steps": 256, "n_minibatches": 4, "n_epochs": 2}


def ppo(task: str, steps: int, methods: Methods, **parts: Any) -> list[Config]:
    """PPO with each of these methods. `parts` are arguments of all agents.

    Each agent has one thread, since several runs go at once.
    """
    return [control.setting(task, name, steps, "PPO", threads=1, **method, **parts) for name, method in methods.items()]


def smoke(task: str, **parts: Any) -> list[Config]:
    """The setting of the preset `smoke`."""
    return ppo(task, 1000, {"small RTU": SMALL}, **parts)


def recurrent_parameters(config: Config) -> int:
    """The number of parameters of the recurrent layer of a setting's network, wherever it stands."""
    cell = checkpoint.build("cell", config["parts"]["cell"])
    env = control.make_env(config)
    n_inputs, total = flatdim(env.observation_space), 0
    env.close()
    for layer in cell.layers if isinstance(cell, Stack) else [cell]:
        spec = layer.spec(n_inputs)
        total += 0 if protocol.feedforward(spec) else parameters(layer, n_inputs)
        n_inputs = spec.n_outputs
    return total


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: mean return in the last tenth, and the number of recurrent parameters."""
    table = control.score(results)
    for config, _ in results:
        table[control.label(config)]["recurrent parameters"] = recurrent_parameters(config)
    return table
