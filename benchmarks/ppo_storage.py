"""Does PPO learn as well from sensitivities that are stored as bfloat16 as from float32?

    python benchmarks/ppo_storage.py --output docs/results/ppo-storage/cartpole.json

The task is CartPole without velocities, with the network and settings of benchmarks/ppo_solves.py, for five seeds.
Prints the mean return of the episodes that end in each tenth of the steps: with float32 the mean over seeds and its
95 % interval (Student's t), with bfloat16 the mean. Seeds run in parallel, each on one thread. Takes about two minutes
on two cores.
"""

import argparse
import json
import sys
from pathlib import Path

import gymnasium
import numpy as np
from joblib import Parallel, cpu_count, delayed
from ppo_solves import TASKS

from rtu_np import PPO
from rtu_np.files import replacing

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
    float32, bfloat16 = found.reshape(2, settings.seeds, TENTHS)
    half = STUDENT[settings.seeds] * float32.std(0, ddof=1) / np.sqrt(settings.seeds)
    print("| steps | float32 | 95 % interval | bfloat16 |\n|---|---|---|---|")
    for k in range(TENTHS):
        low, middle, high = float32[:, k].mean() + half[k] * np.array([-1, 0, 1])
        end = (k + 1) * settings.steps // TENTHS
        print(f"| {end} | {middle:.0f} | {low:.0f} to {high:.0f} | {bfloat16[:, k].mean():.0f} |")
    if settings.output:
        page = {
            "command": f"python benchmarks/ppo_storage.py --seeds {settings.seeds} --steps {settings.steps}",
            "unit": "mean return of the episodes that end in each tenth of the steps; a row for each seed",
            "float32": float32.round(2).tolist(),
            "bfloat16": bfloat16.round(2).tolist(),
        }
        with replacing(settings.output) as file:
            file.write_text(json.dumps(page, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
