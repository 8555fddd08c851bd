"""Is a learner stable over millions of steps? Its speed, its memory, and whether every number stays finite.

    python benchmarks/soak.py HalfCheetah-P
    python benchmarks/soak.py HalfCheetah-P --agent PPO --steps 5_000_000 --threads 2
    python benchmarks/soak.py TDLambda --output docs/results/soak/TDLambda.json

PPO is proximal policy optimisation. The agent learns with its defaults in `rtu_np/TASK-v0`, 10,000,000 steps. TDLambda
predicts the US of trace conditioning, with ten linear RTUs and its defaults, 100,000,000 steps. A row for each of
twenty parts: speed, resident memory of the process, how well it does, greatest parameter; for TDLambda also the
half-lives of units, in steps, and how many units are at a bound. The run stops if a number is not finite. The
drift is the slope of speed and of memory over all parts but the first. `--output` writes the rows as JSON, with the
machine.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import envs
import rtu_np
from experiments.engine import results
from rtu_np import metrics
from rtu_np.control.agent import Agent

PARTS = 20
HEADS = ("steps", "steps/s", "resident, MB", "mean return", "greatest parameter")
UNITS = ("half_life.shortest", "half_life.median", "half_life.longest", "at_bound")  # of a learner's diagnostics
PREDICTION_HEADS = ("steps", "us/step", "resident, MB", "RMSE of the return", "greatest parameter", *UNITS)
CHUNK = 100_000  # steps of a stream that are in memory at once


def resident() -> float:
    """Resident memory of this process now, in MB; its peak, if the system does not report the present value."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 1e6
    return peak()


def peak() -> float:
    """Peak resident memory of this process, in MB. macOS reports bytes, Linux units of 1024 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def check_finite(agent: Agent | rtu_np.TDLambda) -> None:
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


def prediction_part(learner: rtu_np.TDLambda, stream: envs.TraceConditioning, steps: int) -> list[float]:
    """The row of one part, in the order of PREDICTION_HEADS. The time is that of learning, without the stream."""
    taken, squares, counted = 0.0, 0.0, 0
    for start in range(0, steps, CHUNK):
        observations, cumulants = stream.generate(min(CHUNK, steps - start))
        began = time.perf_counter()
        predictions = learner.run(observations, cumulants, progress=False)
        taken += time.perf_counter() - began
        errors = (predictions - metrics.returns(cumulants, learner.gamma))[
            : -(len(cumulants) // 10)
        ]  # the end is not known
        squares, counted = squares + float(errors @ errors), counted + errors.size
    check_finite(learner)
    greatest = max(np.abs(array).max() for array in learner.parameters.values())
    rmse, numbers = np.sqrt(squares / counted), learner.diagnostics()
    units = [numbers[f"cell.{name}"] for name in UNITS]
    return [learner.steps, taken / steps * 1e6, resident(), float(rmse), float(greatest), *units]


def subject(given: argparse.Namespace) -> tuple[tuple[str, ...], Callable[[int], list[float]]]:
    """(heads of the columns, what learns for so many steps and returns a row)."""
    if given.task == "TDLambda":
        stream = envs.TraceConditioning()
        stream.generate(1, seed=given.seed)
        learner = rtu_np.TDLambda(rtu_np.LinearRTU(10), stream.observation_space.shape[0], seed=given.seed)
        return PREDICTION_HEADS, lambda steps: prediction_part(learner, stream, steps)
    env = gymnasium.make(f"rtu_np/{given.task}-v0", disable_env_checker=True)
    threads: dict[str, Any] = {"threads": given.threads} if given.agent == "PPO" else {}
    agent = getattr(rtu_np, given.agent)(env, seed=given.seed, **threads)
    return HEADS, lambda steps: part(agent, env, steps)


def drift(rows: np.ndarray, column: int) -> float:
    """Change of a column over the run, in percent of its mean, by a straight line through all parts but the first."""
    steps, values = rows[1:, 0], rows[1:, column]
    slope = np.polyfit(steps, values, 1)[0]
    return float(slope * (steps[-1] - steps[0]) / values.mean() * 100)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", help="HalfCheetah-P, Ant-P or another TASK of rtu_np/TASK-v0; or TDLambda")
    parser.add_argument("--agent", default="ActorCritic", choices=("ActorCritic", "PPO"))
    parser.add_argument("--steps", type=int, help="10,000,000 by default, of TDLambda 100,000,000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="of PPO's updates; all cores by default")
    parser.add_argument("--output", type=Path, help="a JSON file to write")
    given = parser.parse_args(arguments)
    if given.task == "TDLambda":
        given.agent = given.task
    given.steps = given.steps or (100_000_000 if given.agent == "TDLambda" else 10_000_000)
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)  # an error now costs less than one at the end

    heads, learn = subject(given)
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    began, rows = time.perf_counter(), []
    for _ in range(PARTS):
        steps, *measured = learn(given.steps // PARTS)
        rows.append([steps, *measured])
        print(f"| {steps:,} | {' | '.join(f'{value:,.5g}' for value in measured)} |", flush=True)
    table = np.array(rows)
    summary = {
        "minutes": (time.perf_counter() - began) / 60,
        "peak, MB": peak(),
        f"drift of {heads[1]}, %": drift(table, 1),
        "drift of memory, %": drift(table, 2),
    }
    print("\n" + ", ".join(f"{name} {value:.3g}" for name, value in summary.items()))
    if given.output:
        settings = {name: value for name, value in vars(given).items() if name != "output"}
        page: dict[str, Any] = {"benchmark": "soak", **settings, **results.circumstances()}
        page |= {"columns": heads, "parts": rows, **summary}
        results.write(given.output, page)


if __name__ == "__main__":
    main(sys.argv[1:])
