"""Is an agent stable over millions of steps? Its speed, its memory, and whether every number stays finite.

    python benchmarks/soak.py HalfCheetah-P
    python benchmarks/soak.py HalfCheetah-P --agent PPO --steps 5_000_000 --threads 2

PPO is proximal policy optimisation. The agent learns with its defaults in `rtu_np/TASK-v0`. A row for each of twenty
parts: steps per second, resident memory of the process, mean return of the episodes, greatest parameter. The run stops
if a number is not finite. The drift is the slope of speed and of memory over all parts but the first. `--output` writes
the rows as JSON, with the machine.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import envs  # noqa: F401   registers the environments
import rtu_np
from experiments.engine import results
from rtu_np import files
from rtu_np.control.agent import Agent

PARTS = 20
HEADS = ("steps", "steps/s", "resident, MB", "mean return", "greatest parameter")


def resident() -> float:
    """Resident memory of this process now, in MB; its peak, if the system does not report the present value."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 1e6
    return peak()


def peak() -> float:
    """Peak resident memory of this process, in MB. macOS reports bytes, Linux units of 1024 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def check_finite(agent: Agent) -> None:
    for name, array in agent._arrays().items():
        if not np.isfinite(array).all():
            raise FloatingPointError(f"{name} is not finite after {agent.steps} steps")


def part(agent: Agent, env: gymnasium.Env, steps: int) -> list[float]:
    """The row of one part, in the order of HEADS."""
    began = time.perf_counter()
    episodes = agent.learn(env, steps, progress=False, log=None)
    taken = time.perf_counter() - began
    check_finite(agent)
    greatest = max(np.abs(array).max() for array in agent.parameters.values())
    mean = episodes.returns.mean() if episodes.returns.size else np.nan
    return [agent.steps, steps / taken, resident(), float(mean), float(greatest)]


def drift(rows: np.ndarray, column: int) -> float:
    """Change of a column over the run, in percent of its mean, by a straight line through all parts but the first."""
    steps, values = rows[1:, 0], rows[1:, column]
    slope = np.polyfit(steps, values, 1)[0]
    return float(slope * (steps[-1] - steps[0]) / values.mean() * 100)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", help="HalfCheetah-P, Ant-P or another TASK of rtu_np/TASK-v0")
    parser.add_argument("--agent", default="ActorCritic", choices=("ActorCritic", "PPO"))
    parser.add_argument("--steps", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="of PPO's updates; all cores by default")
    parser.add_argument("--output", type=Path, help="a JSON file to write")
    given = parser.parse_args(arguments)
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)  # an error now costs less than one at the end

    env = gymnasium.make(f"rtu_np/{given.task}-v0", disable_env_checker=True)
    threads: dict[str, Any] = {"threads": given.threads} if given.agent == "PPO" else {}
    agent = getattr(rtu_np, given.agent)(env, seed=given.seed, **threads)
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}", flush=True)
    began, rows = time.perf_counter(), []
    for _ in range(PARTS):
        steps, *measured = part(agent, env, given.steps // PARTS)
        rows.append([steps, *measured])
        print(f"| {steps:,} | {' | '.join(f'{value:,.5g}' for value in measured)} |", flush=True)
    table = np.array(rows)
    summary = {
        "minutes": (time.perf_counter() - began) / 60,
        "peak, MB": peak(),
        "drift of steps/s, %": drift(table, 1),
        "drift of memory, %": drift(table, 2),
    }
    print("\n" + ", ".join(f"{name} {value:.3g}" for name, value in summary.items()))
    if given.output:
        settings = {name: value for name, value in vars(given).items() if name != "output"}
        page: dict[str, Any] = {"benchmark": "soak", **settings, **results.circumstances()}
        page |= {"columns": HEADS, "parts": rows, **summary}
        with files.replacing(given.output) as temporary:
            temporary.write_text(json.dumps(page, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
