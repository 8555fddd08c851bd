"""Run every (setting, seed) of a plan, several at a time, each into a folder of its own.

A run that has its DONE mark is not repeated, so that a plan that was killed goes on where it stopped, and a longer plan
adds only what is new. Runs share this process: learners compute in compiled code that lets other threads go on.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from experiments import results


def folder_of(root: Path, config: dict[str, Any], seed: int) -> Path:
    """Where a run belongs: the same settings in any order have the same folder."""
    page = json.dumps(config, sort_keys=True)
    return root / hashlib.sha256(page.encode()).hexdigest()[:12] / f"seed-{seed}"


def run_all(
    experiment: ModuleType, configs: list[dict[str, Any]], seeds: list[int], root: Path, jobs: int | None = None
) -> Iterator[tuple[dict[str, Any], int, dict[str, np.ndarray]]]:
    """(config, seed, arrays) of every run, finished ones first, the others as they end, with a progress bar."""
    plan = [(config, seed) for seed in seeds for config in configs]
    waiting = []
    for config, seed in plan:
        folder = folder_of(root, config, seed)
        if results.is_done(folder, config, seed):
            yield config, seed, results.load_run(folder)[0]
        else:
            waiting.append((config, seed))
    circumstances = results.circumstances()
    total = sum(config["steps"] for config, _ in waiting)
    with tqdm(total=total, unit="step", unit_scale=True, disable=None, smoothing=0.05) as bar:

        def run(config: dict[str, Any], seed: int) -> tuple[dict[str, Any], int, dict[str, np.ndarray]]:
            began = time.perf_counter()
            arrays = experiment.run(config, seed, bar.update)
            manifest = {
                "experiment": experiment.__name__,
                "settings": config,
                "seed": seed,
                "seconds": time.perf_counter() - began,
                **circumstances,
            }
            results.save_run(folder_of(root, config, seed), arrays, manifest)
            return config, seed, arrays

        workers = min(jobs or cpu_count(), max(len(waiting), 1))
        yield from Parallel(n_jobs=workers, prefer="threads", return_as="generator_unordered")(
            delayed(run)(config, seed) for config, seed in waiting
        )
