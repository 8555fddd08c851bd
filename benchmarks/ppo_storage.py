"""Does PPO learn as well from sensitivities that are stored as bfloat16 as from float32?

    python benchmarks/ppo_storage.py --output docs/results/ppo-storage/cartpole.json

The task is CartPole without velocities, with the network and settings of benchmarks/ppo_solves.py, for five seeds.
Prints the mean return of the episodes that end in each tenth of the steps: with float32 the mean over seeds and its
95 % interval (Student's t), with bfloat16 the mean. Seeds run in parallel, each on one thread. `python -m
experiments.pages` puts the table of the JSON on docs/ppo.md. Takes about two minutes on two cores.
"""

import argparse
import sys
from pathlib import Path

import gymnasium
import numpy as np
from joblib import Parallel, cpu_count, delayed
from ppo_solves import TASKS

from experiments.engine import results
from experiments.tables import TABLES
from rtu_np import PPO

TENTHS = 10
STUDENT = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}  # quantile .975, by the number of seeds


def curve(stored_dtype: str | None, seed: int, steps: int) -> list[float]:
    """Mean return of the episodes that end in each tenth of the steps."""
    task = TASKS["cartpole"]
    env = gymnasium.make(task.env)
    agent = PPO(env, task.cell, seed=seed, threads=1, stored_dtype=stored_dtype)
    episodes = agent.learn(env, steps, progress=False, log=None)
    tenth = np.minimum(episodes.steps * TENTHS // steps, TENTHS - 1)
    return [float(episodes.returns[tenth == k].mean()) for k in range(TENTHS)]


def scores(float32: np.ndarray, bfloat16: np.ndarray, steps: int) -> dict[str, dict[str, float]]:
    """{last step of a tenth: means over seeds, with an interval}, from curves (seeds, tenths)."""
    half = STUDENT[len(float32)] * float32.std(0, ddof=1) / np.sqrt(len(float32))
    means = zip(float32.mean(0), half, bfloat16.mean(0), strict=True)
    return {
        f"{(k + 1) * steps // TENTHS:,}": {
            "float32": float(mean),
            "low": float(mean - wide),
            "high": float(mean + wide),
            "bfloat16": float(other),
        }
        for k, (mean, wide, other) in enumerate(means)
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, choices=list(STUDENT))
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--jobs", type=int, default=cpu_count())
    parser.add_argument("--output", type=Path, help="a JSON file with all curves")
    settings = parser.parse_args(arguments)
    kinds = {"float32": None, "bfloat16": "bfloat16"}
    jobs = [(kind, seed, settings.steps) for kind in kinds.values() for seed in range(settings.seeds)]
    found = np.array(Parallel(settings.jobs)(delayed(curve)(*job) for job in jobs))
    rows = scores(*found.reshape(2, settings.seeds, TENTHS), settings.steps)
    print(TABLES["ppo-storage/cartpole"](rows))
    if settings.output:
        float32, bfloat16 = found.reshape(2, settings.seeds, TENTHS).round(2).tolist()
        page = {
            "command": f"python benchmarks/ppo_storage.py --seeds {settings.seeds} --steps {settings.steps}",
            "unit": "mean return of the episodes that end in each tenth of the steps; a row for each seed",
            "float32": float32,
            "bfloat16": bfloat16,
            "scores": rows,
        }
        results.write(settings.output, page)


if __name__ == "__main__":
    main(sys.argv[1:])
