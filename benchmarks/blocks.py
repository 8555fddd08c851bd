"""What an agent's steps go into, block by block: their part of ||z||_1, which ObGD bounds, and how far they have moved.

    python benchmarks/blocks.py HalfCheetah-P

`ActorCritic` as it comes, in `rtu_np/TASK-v0`, with RTRL and with T-BPTT(1), on the same seed. A row for each block of
the actor and of the critic: its part of the traces' ||z||_1 (mean over every 997th step), and the change of its
parameters, as a vector, in percent of what they were at the start (- where they were zero). Prints Markdown. Takes
about half a minute.
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
EVERY = 997  # steps between two looks at the traces: a prime, as episodes end at round numbers


def blocks(task: str, gradient: GradientMethod, steps: int, seed: int) -> dict[str, tuple[float, float]]:
    """{block: (part of ||z||_1 of its network in percent, movement in percent)}"""
    env = gymnasium.make(f"rtu_np/{task}-v0", disable_env_checker=True)
    agent = ActorCritic(env, streaming_network(LinearRTU(192)), gradient=gradient, seed=seed)
    start = {name: view.copy() for name, view in agent.parameters.items()}
    sizes = dict.fromkeys(start, 0.0)

    def look(_: Agent) -> None:
        if agent.steps % EVERY == 0:
            for name, view in agent.traces.items():
                sizes[name] += float(np.abs(view).sum())

    agent.learn(env, steps, progress=False, log=None, callback=look)
    env.close()
    out = {}
    for name, view in agent.parameters.items():
        network = sum(size for other, size in sizes.items() if other.split(".")[0] == name.split(".")[0])
        length = np.linalg.norm(start[name])
        moved = np.linalg.norm(view - start[name]) / length if length else np.nan
        out[name] = 100 * sizes[name] / network, 100 * float(moved)
    return out


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", help="of rtu_np/TASK-v0: HalfCheetah-P, Ant-P, ...")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    found = {name: blocks(given.task, gradient, given.steps, given.seed) for name, gradient in METHODS.items()}
    heads = [f"{name}: {what}" for name in METHODS for what in ("part of the traces, %", "moved, %")]
    print(f"| block | {' | '.join(heads)} |\n|{'---|' * (1 + len(heads))}")
    for block in next(iter(found.values())):
        numbers = [value for of_method in found.values() for value in of_method[block]]
        print(f"| {block} | {' | '.join('-' if np.isnan(n) else f'{n:.2g}' for n in numbers)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
