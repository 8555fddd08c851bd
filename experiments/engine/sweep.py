"""Run every (settings, seed) of a plan: on this machine's cores, on a Dask cluster, or as the tasks of a job array.

Each run has a folder of its own, which is written whole or not at all (`experiments.engine.results`). A finished run is
never repeated. A sweep may be killed at any moment, and however often: the same command goes on where it stopped. A
longer plan adds only what is new. A run knows its settings and its seed and nothing else, so its bits do not depend on
where it ran, or beside what. Runs of agents take long, so they can go on in their middle, too: if `run` has a parameter
`unfinished`, it is given a folder in which it can leave its state.

A run that fails is tried once more, and reported; the others go on. If the disk has no room left for results, the sweep
makes no more runs, since they would be lost.
"""

import errno
import hashlib
import importlib
import inspect
import json
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joblib import cpu_count
from tqdm import tqdm

from experiments.engine import results

ATTEMPTS = 2
NO_ROOM = [f"[Errno {number}]" for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]


@dataclass(frozen=True)
class Task:
    """One run: what `experiment.run(settings, seed)` will leave in `folder`."""

    experiment: str  # the module's name
    settings: dict[str, Any]
    seed: int
    folder: Path

    def __str__(self) -> str:
        return f"{importlib.import_module(self.experiment).label(self.settings)}, seed {self.seed}"


class SweepError(Exception):
    """A sweep that cannot begin, or has ended with runs that failed."""


def plan(experiment: str, configs: list[dict[str, Any]], seeds: list[int], root: Path) -> list[Task]:
    """Every run of a sweep, seeds outermost, so that all settings soon have their first. The order is part of the plan:
    job arrays count on it. Folders are absolute: processes elsewhere may work in another folder."""
    root = root.absolute()
    return [Task(experiment, config, seed, folder_of(root, config, seed)) for seed in seeds for config in configs]


def folder_of(root: Path, settings: dict[str, Any], seed: int) -> Path:
    """Where a run belongs: the same settings in any order have the same folder."""
    page = json.dumps(settings, sort_keys=True)
    return root / hashlib.sha256(page.encode()).hexdigest()[:12] / f"seed-{seed}"


def execute(task: Task) -> str:
    """Make one run, in whichever process; returns "" or, where it failed, the traceback."""
    try:
        experiment = importlib.import_module(task.experiment)
        results.began(task.folder)
        start = time.perf_counter()
        resumes = "unfinished" in inspect.signature(experiment.run).parameters
        place = {"unfinished": results.unfinished(task.folder)} if resumes else {}
        arrays = experiment.run(task.settings, task.seed, **place)
        manifest = {"experiment": task.experiment, "settings": task.settings, "seed": task.seed}
        manifest |= {"seconds": time.perf_counter() - start, **results.circumstances()}
        results.save_run(task.folder, arrays, manifest)
    except Exception:  # whatever it was, it must not stop the other runs
        return traceback.format_exc()
    return ""


Backend = Callable[[list[Task]], Generator[tuple[Task, str]]]


def run_all(tasks: list[Task], backend: Backend, finished: Callable[[Task], Any] = lambda task: None) -> None:
    """Make all runs that are not made yet; `finished(task)` is called for each, old ones first.

    Raises
    ------
    SweepError : at the end, naming the runs that failed twice; all others are kept. At once, where results cannot be
        written for want of room
    """
    waiting = []
    for task in tasks:
        if results.is_done(task.folder, task.settings, task.seed):
            finished(task)
        else:
            waiting.append(task)
    failed: list[tuple[Task, str]] = []
    # Seeds are outermost, so that what is left is like what was: runs tell the time that it takes.
    with tqdm(total=len(waiting), unit="run", disable=None, smoothing=0) as bar:
        for attempt in range(1, ATTEMPTS + 1):
            failed = []
            with closing(backend(waiting)) as made:
                for task, error in made:
                    last = error.strip().splitlines()[-1] if error else ""
                    if any(text in last for text in NO_ROOM):
                        raise SweepError(
                            f"{task.folder}: {last}; finished runs are kept: make room, and the same command goes on"
                        )
                    if error:
                        failed.append((task, error))
                        again = "trying again" if attempt < ATTEMPTS else "given up"
                        tqdm.write(f"{task} failed, {again}: {last}")
                    else:
                        bar.update()
                        finished(task)
            waiting = [task for task, _ in failed]
            if not waiting:
                return
    task, error = failed[0]
    raise SweepError(
        f"{len(failed)} of {len(tasks)} runs failed twice, the others are kept; the same command tries again. "
        f"The first, {task}:\n{error}"
    )


# -------------------------------------------------------------------------------------------------------- backends


def processes(jobs: int | None = None) -> Backend:
    """On this machine, in so many processes, all cores by default; in this one where it is one."""

    def run(tasks: list[Task]) -> Generator[tuple[Task, str]]:
        workers = jobs or cpu_count()
        if workers < 2:
            yield from ((task, execute(task)) for task in tasks)
            return
        left = list(tasks)
        while left:
            ended = [task for task in left if results.is_done(task.folder, task.settings, task.seed)]
            yield from ((task, "") for task in ended)  # by a process that died before it could say so
            left = [task for task in left if task not in ended]
            suspects: list[Task] = []
            for task, error in _in_pool(left, workers):
                if error is None:  # a worker died
                    suspects = [task for task in left if results.has_begun(task.folder)]
                    break
                left.remove(task)
                yield task, error
            for task in suspects:  # each alone, so that only the one at fault is blamed
                left.remove(task)
                (answer,) = _in_pool([task], 1)
                yield task, "the process that ran it died" if answer[1] is None else answer[1]

    return run


def _in_pool(tasks: list[Task], workers: int) -> Generator[tuple[Task, str | None]]:
    """(task, error) as they end; ends with an error of None where a worker died, and with it the pool."""
    from concurrent.futures import as_completed
    from concurrent.futures.process import BrokenProcessPool

    from joblib.externals.loky import ProcessPoolExecutor

    if not tasks:
        return
    for task in tasks:
        results.forget_begun(task.folder)
    # Workers that have nothing to do leave after a while, so that none stay behind when this process is killed.
    with ProcessPoolExecutor(min(workers, len(tasks)), timeout=10) as pool:
        futures = {pool.submit(execute, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                try:
                    yield futures[future], future.result()
                except BrokenProcessPool:
                    yield futures[future], None
                    return
        finally:
            for future in futures:  # those that have not begun, where nobody asks for them any more
                future.cancel()


def dask(scheduler: str) -> Backend:
    """On a Dask cluster. Its workers see the same folders as this machine, and have this package installed."""

    def run(tasks: list[Task]) -> Generator[tuple[Task, str]]:
        try:
            from distributed import Client, as_completed
        except ImportError as error:
            raise SweepError("--scheduler needs Dask: pip install -e '.[cluster]'") from error
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, TimeoutError, ValueError) as error:
            raise SweepError(f"--scheduler {scheduler}: cannot be reached ({error}); is it running?") from error
        with client:
            futures = dict(zip(client.map(execute, tasks, pure=False), tasks, strict=True))
            for future in as_completed(futures):
                task = futures[future]
                yield task, future.result() if future.status == "finished" else str(future.exception())

    return run


def share(tasks: list[Task], task_id: int, num_tasks: int) -> list[Task]:
    """The part of a plan that task `task_id` of a job array makes, counted from 0."""
    if not 0 <= task_id < num_tasks:
        raise SweepError(f"--task-id is {task_id} with --num-tasks {num_tasks}: expected 0 to {num_tasks - 1}")
    return tasks[task_id::num_tasks]
