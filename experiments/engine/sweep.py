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

from tqdm import tqdm

from experiments.engine import results
from rtu_np.processes import SchedulerError, in_processes, on_dask

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
    """The folder of a run. The same settings in any order have the same folder."""
    page = json.dumps(settings, sort_keys=True)
    return root / hashlib.sha256(page.encode()).hexdigest()[:12] / f"seed-{seed}"


def execute(task: Task) -> str:
    """Make one run, in whichever process; returns "", or the traceback if it failed."""
    try:
        if results.is_done(task.folder, task.settings, task.seed):
            return ""  # by a process that died before it could say so
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
    SweepError : at the end, naming the runs that failed twice; all others are kept. At once, if the disk has no
        room for results
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
    """On this machine, in so many processes, by default one for each core."""

    def run(tasks: list[Task]) -> Generator[tuple[Task, str]]:
        for task in tasks:
            results.forget_begun(task.folder)  # a mark of an earlier sweep would blame a run of this one
        return _told(in_processes(execute, tasks, jobs, lambda task: results.has_begun(task.folder)))

    return run


def dask(scheduler: str) -> Backend:
    """On a Dask cluster. Its workers see the same folders as this machine, and have this package installed."""

    def run(tasks: list[Task]) -> Generator[tuple[Task, str]]:
        try:
            yield from _told(on_dask(execute, tasks, scheduler))
        except SchedulerError as error:
            raise SweepError(f"--scheduler: {error}") from error

    return run


def _told(answers: Generator[tuple[Task, str | Exception]]) -> Generator[tuple[Task, str]]:
    """What `execute` returned. If its process died, it returned nothing, and the text says that."""
    with closing(answers):
        for task, answer in answers:
            yield task, answer if isinstance(answer, str) else f"{type(answer).__name__}: {answer}"


def share(tasks: list[Task], task_id: int, num_tasks: int) -> list[Task]:
    """The part of a plan that task `task_id` of a job array makes, counted from 0."""
    if not 0 <= task_id < num_tasks:
        raise SweepError(f"--task-id is {task_id} with --num-tasks {num_tasks}: expected 0 to {num_tasks - 1}")
    return tasks[task_id::num_tasks]
