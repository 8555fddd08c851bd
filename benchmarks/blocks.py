"""How an agent's learning is spread over the parameters of its networks.

    python benchmarks/blocks.py HalfCheetah-P

`ActorCritic` with its defaults learns in `rtu_np/TASK-v0`, with real-time recurrent learning (RTRL) and with truncated
backpropagation through one step, T-BPTT(1), on the same seed. A row for each array of parameters, named by network and
block (`rtu_np.learning.blocks`): its part of the ||z||_1 of the network's traces, which overshooting-bounded gradient
descent (ObGD) bounds (mean over every 997th step), and the length of its change in percent of its length at the start
(- if that is zero). Prints Markdown. Takes about half a minute.
"""

import argparse
import sys

import gymnasium
import numpy as np

import envs  # noqa: F401   registers the environments
from rtu_np import RTRL, TBPTT, ActorCritic, LinearRTU, streaming_network
from rtu_np.cells.layer import GradientMethod
from rtu_np.control.agent import Agent

METHODS: dict[str, GradientMethod] = {"RTRL": RTRL(), "T-BPTT(1)": TBPTT(1)}
EVERY = 997  # steps between two readings of the traces: a prime, since episodes end at round numbers


def blocks(task: str, gradient: GradientMethod, steps: int, seed: int) -> dict[str, tuple[float, float]]:
    """{array: (part of the ||z||_1 of its network in percent, change in percent)}"""
    env = gymnasium.make(f"rtu_np/{task}-v0", disable_env_checker=True)
    agent = ActorCritic(env, streaming_network(LinearRTU(192)), gradient=gradient, seed=seed)
    start = {name: view.copy() for name, view in agent.parameters.items()}
    sizes = dict.fromkeys(start, 0.0)

    def read_traces(_: Agent) -> None:
        if agent.steps % EVERY == 0:
            for name, view in agent.traces.items():
                sizes[name] += float(np.abs(view).sum())

    agent.learn(env, steps, progress=False, log=None, callback=read_traces)
    env.close()
    found = {}
    for name, view in agent.parameters.items():
        network = name.split(".")[0]
        of_network = sum(size for other, size in sizes.items() if other.split(".")[0] == network)
        length = np.linalg.norm(start[name])
        change = np.linalg.norm(view - start[name]) / length if length else np.nan
        found[name] = 100 * sizes[name] / of_network, 100 * float(change)
    return found


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", help="HalfCheetah-P, Ant-P or another TASK of rtu_np/TASK-v0")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    found = {name: blocks(given.task, gradient, given.steps, given.seed) for name, gradient in METHODS.items()}
    heads = [f"{name}: {what}" for name in METHODS for what in ("part of the traces, %", "moved, %")]
    print(f"| parameters | {' | '.join(heads)} |\n|{'---|' * (1 + len(heads))}")
    for block in next(iter(found.values())):
        numbers = [value for of_method in found.values() for value in of_method[block]]
        print(f"| {block} | {' | '.join('-' if np.isnan(n) else f'{n:.2g}' for n in numbers)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
