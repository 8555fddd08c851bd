"""How an agent's learning is spread over the blocks of its networks, by step-size rule.

    python benchmarks/blocks.py HalfCheetah-P --json docs/results/blocks/HalfCheetah-P.json

`ActorCritic` with its earlier default network, `streaming_network(LinearRTU(192))`, learns in `rtu_np/TASK-v0` with
real-time recurrent learning (RTRL), once with each rule as actor's and critic's optimiser, on the same seed. A row for
each rule. For each block of the actor (`rtu_np.learning.blocks`): its part of the latest update's 1-norm in percent
(mean over every 997th step), and the length of its change in percent of its length at the start (- if that is zero).
If a rule diverged, its row says by which step, and not how far it moved. Prints Markdown; `--json` also writes the
numbers of actor and critic, with settings and command. Takes about five minutes.

    python benchmarks/blocks.py HalfCheetah-P --arrays

compares RTRL with truncated backpropagation through one step, T-BPTT(1), for ObGD, with a row for
each array of parameters: its part of the ||z||_1 of the network's traces, and the length of its change.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import envs  # noqa: F401   registers the environments
from experiments.engine import results
from experiments.tables import TABLES
from rtu_np import (
    RTRL,
    SGD,
    TBPTT,
    TIDBD,
    ActorCritic,
    Adam,
    Adaptive,
    AdaptiveObGD,
    Autostep,
    Blocks,
    Intentional,
    LinearRTU,
    ObGD,
    RMSProp,
    SwiftTD,
    streaming_network,
)
from rtu_np.cells.layer import GradientMethod
from rtu_np.control.agent import Agent
from rtu_np.learning.optimizers import Optimizer

METHODS: dict[str, GradientMethod] = {"RTRL": RTRL(), "T-BPTT(1)": TBPTT(1)}
EVERY = 997  # steps between two readings: a prime, since episodes end at round numbers
_THIRDS = {"encoder": 1 / 3, "cell": 1 / 3}
# {name: (of the actor, of the critic)}, with each rule's published settings, or those of docs/rules.md
RULES: dict[str, tuple[Optimizer, Optimizer]] = {
    "SGD": (SGD(1e-4), SGD(1e-4)),
    "ObGD": (ObGD(kappa=3.0), ObGD(kappa=2.0)),
    "ObGD, a third for each block": (
        Blocks.of_shares(ObGD(kappa=3.0), **_THIRDS, policy=1 / 3),
        Blocks.of_shares(ObGD(kappa=2.0), **_THIRDS, value=1 / 3),
    ),
    "Adam in the cell, ObGD elsewhere": (
        Blocks(cell=Adam(3e-4), others=ObGD(kappa=3.0)),
        Blocks(cell=Adam(3e-4), others=ObGD(kappa=2.0)),
    ),
    "Adam": (Adam(3e-5), Adam(3e-5)),
    "RMSProp": (RMSProp(3e-5), RMSProp(3e-5)),
    "AdaptiveObGD": (AdaptiveObGD(kappa=3.0), AdaptiveObGD(kappa=2.0)),
    "Adaptive": (Adaptive(), Adaptive()),
    "Intentional": (Intentional(0.01, normalize=True), Intentional(0.5)),
    "Intentional, z^2": (
        Intentional(0.01, statistics="trace", normalize=True),
        Intentional(0.5, statistics="trace"),
    ),
    "TIDBD": (TIDBD(1e-4, kappa=3.0), TIDBD(1e-4, kappa=2.0)),
    "Autostep": (Autostep(1e-4), Autostep(1e-4)),
    "Adam, SwiftTD for the value": (
        Adam(3e-5),
        Blocks(encoder=Adam(3e-5), cell=Adam(3e-5), value=SwiftTD(1e-3)),
    ),
}


def learned(task: str, steps: int, seed: int, read: Any, **settings: Any) -> tuple[ActorCritic, dict[str, Any], int]:
    """(the agent, its parameters at the start, 0 or the step by which it had diverged); `read(agent)` as a callback."""
    env = gymnasium.make(f"rtu_np/{task}-v0", disable_env_checker=True)
    agent = ActorCritic(env, streaming_network(LinearRTU(192)), seed=seed, **settings)
    start = {name: view.copy() for name, view in agent.parameters.items()}

    def callback(_: Agent) -> None:
        if agent.steps % EVERY == 0:
            read(agent)

    diverged = 0
    try:
        agent.learn(env, steps, progress=False, log=None, callback=callback)
    except FloatingPointError:
        diverged = agent.steps
    env.close()
    return agent, start, diverged


def by_block(task: str, rule: tuple[Optimizer, Optimizer], steps: int, seed: int) -> dict[str, float]:
    """{number of a block: percent}, and 0 or the step by which the agent had diverged."""
    shares: dict[str, list[float]] = {}

    def read(agent: ActorCritic) -> None:
        for name, value in agent.diagnostics().items():
            if name.startswith("share."):
                shares.setdefault(name.removeprefix("share."), []).append(value)

    both = {"actor_optimizer": rule[0], "critic_optimizer": rule[1]}
    agent, start, diverged = learned(task, steps, seed, read, **both)
    found = {"diverged by step": float(diverged)}
    for block in dict.fromkeys(".".join(name.split(".")[:2]) for name in start):
        own = [name for name in start if name.startswith(f"{block}.")]
        length, change = (
            float(np.sqrt(sum(np.square(part[name], dtype=np.float64).sum() for name in own)))
            for part in (start, {name: agent.parameters[name] - start[name] for name in own})
        )
        if block in shares:
            found[f"{block}: share, %"] = 100 * float(np.mean(shares[block]))
        if length and not diverged:
            found[f"{block}: moved, %"] = 100 * change / length
    return found


def by_array(task: str, gradient: GradientMethod, steps: int, seed: int) -> dict[str, tuple[float, float]]:
    """{array: (part of the ||z||_1 of its network in percent, change in percent)}"""
    sizes: dict[str, float] = {}

    def read(agent: ActorCritic) -> None:
        for name, view in agent.traces.items():
            sizes[name] = sizes.get(name, 0.0) + float(np.abs(view).sum())

    agent, start, _ = learned(task, steps, seed, read, gradient=gradient)
    found = {}
    for name, view in agent.parameters.items():
        network = name.split(".")[0]
        of_network = sum(size for other, size in sizes.items() if other.split(".")[0] == network)
        length = np.linalg.norm(start[name])
        change = np.linalg.norm(view - start[name]) / length if length else np.nan
        found[name] = 100 * sizes[name] / of_network, 100 * float(change)
    return found


def _written(value: float | None) -> str:
    if value is None or np.isnan(value):
        return "-"
    return f"{value:.0f}" if value >= 99.5 else f"{value:.2g}"


def table_of_arrays(found: dict[str, dict[str, tuple[float, float]]]) -> str:
    heads = [f"{name}: {what}" for name in found for what in ("part of the traces, %", "moved, %")]
    lines = [f"| parameters | {' | '.join(heads)} |", f"|{'---|' * (1 + len(heads))}"]
    for array in next(iter(found.values())):
        numbers = [_written(value) for of_method in found.values() for value in of_method[array]]
        lines.append(f"| {array} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", help="HalfCheetah-P, Ant-P or another TASK of rtu_np/TASK-v0")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES), metavar="RULE")
    parser.add_argument("--arrays", action="store_true", help="a row for each array, with ObGD, by gradient method")
    parser.add_argument("--json", type=Path, help="also write the numbers of the rules into this file")
    given = parser.parse_args(arguments)
    run = given.task, given.steps, given.seed
    if given.arrays:
        task, steps, seed = run
        print(table_of_arrays({name: by_array(task, gradient, steps, seed) for name, gradient in METHODS.items()}))
        return
    found = {}
    for name in given.rules:
        found[name] = by_block(given.task, RULES[name], given.steps, given.seed)
        print(f"{name}: done", file=sys.stderr, flush=True)
    named = {
        f"{name} (diverged by step {row['diverged by step']:,.0f})" if row["diverged by step"] else name: row
        for name, row in found.items()
    }
    print(TABLES["blocks/HalfCheetah-P"](named))
    if given.json:
        settings = {name: [repr(each) for each in RULES[name]] for name in found}
        page: dict[str, Any] = {"command": shlex.join(["python", "benchmarks/blocks.py", *arguments])}
        page["steps"] = given.steps
        page |= {"seed": given.seed, "settings": settings, "scores": found}
        results.write(given.json, page)


if __name__ == "__main__":
    main(sys.argv[1:])
