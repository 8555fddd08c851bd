"""Does proximal policy optimisation (PPO) solve tasks that need memory?

    python benchmarks/ppo_solves.py --output docs/results/ppo-solves/solves.json

The tasks are CartPole without velocities, and RepeatPreviousEasy: name the suit of three cards ago. Prints for each
seed: the step at which the mean return of the last 100 episodes first reached the level that counts as solved, 0 if it
did not; that mean at the end; and the mean of 100 episodes afterwards, without learning and always with the most
probable action. Seeds run in parallel, each on one thread. `python -m experiments.pages` puts the tables of the JSON on
docs/ppo.md. Takes about five minutes on two cores.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
from joblib import Parallel, cpu_count, delayed

from experiments.engine import results
from experiments.tables import TABLES
from rtu_np import PPO, LinearRTU, ppo_network
from rtu_np.cells.layer import Cell


@dataclass(frozen=True)
class Task:
    env: str
    steps: int
    solved: float  # mean return of 100 episodes
    cell: Cell


SLOW = ppo_network(LinearRTU(32, max_phase=1.0))
TASKS = {
    "cartpole": Task("envs:rtu_np/CartPole-P-v0", 300_000, 475.0, SLOW),
    "repeat-previous": Task("envs:rtu_np/RepeatPreviousEasy-v0", 150_000, 0.8, ppo_network(LinearRTU(192))),
}
EPISODES = 100


def run(task: Task, seed: int) -> dict[str, float]:
    """The numbers of one seed, as the table on the page names them."""
    env = gymnasium.make(task.env)
    agent = PPO(env, task.cell, seed=seed, threads=1)
    episodes = agent.learn(env, task.steps, progress=False, log=None)
    means = np.convolve(episodes.returns, np.ones(EPISODES) / EPISODES, "valid")
    reached = np.flatnonzero(means >= task.solved)
    return {
        "solved at": int(episodes.steps[EPISODES - 1 + reached[0]]) if reached.size else 0,
        "at the end": float(means[-1]),
        "evaluated": float(agent.evaluate(gymnasium.make(task.env), EPISODES).mean()),
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=cpu_count())
    parser.add_argument("--output", type=Path, help="a JSON file with all numbers")
    settings = parser.parse_args(arguments)
    scores: dict[str, dict[str, float]] = {}
    for name in settings.tasks:
        task = TASKS[name]
        print(f"{task.env}, {task.steps} steps, solved from {task.solved}\n")
        runs = Parallel(settings.jobs, return_as="generator")(
            delayed(run)(task, seed) for seed in range(settings.seeds)
        )
        for seed, numbers in enumerate(runs):
            scores[f"{name}: {seed}"] = numbers
            print(f"seed {seed}: {numbers['at the end']:.3g} at the end", file=sys.stderr, flush=True)
        print(TABLES[f"ppo-solves/solves {name}"](scores), flush=True)
        print()
    if settings.output:
        page = {"command": f"python benchmarks/ppo_solves.py --seeds {settings.seeds}", **results.circumstances()}
        results.write(settings.output, page | {"scores": scores})


if __name__ == "__main__":
    main(sys.argv[1:])
