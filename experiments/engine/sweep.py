"""Run every (settings, seed) of a plan: on this machine's cores, on a Dask cluster, or as the tasks of a job array.

Each run has its own folder, which is written completely or not at all (`experiments.engine.results`). A finished run is
repeated only if the code that made it has changed (`experiments.engine.sources`). A sweep may be killed at any moment,
any number of times: the same command continues it. A longer plan adds only the new runs. A run depends on its code, its
settings and its seed alone. So, on processors of one kind, its bits do not depend on the machine, or on other runs. A
run of an agent takes long, so it can also continue in its middle: if `run` has a parameter `unfinished`, it gets a
folder in which it can save its state.

If a run fails, it is tried once more and then reported; the other runs continue. If the disk has no room for results,
the sweep makes no more runs, since their results would be lost.
"""

import errno
import hashlib
import inspect
import json
import sys
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.engine import modules, plain, protocol, results, sources
from rtu_np import progress
from rtu_np.processes import SchedulerError, in_processes, on_dask

ATTEMPTS = 2
SHOWN = 3  # files that a message names
NO_ROOM = [f"[Errno {number}]" for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]


@dataclass(frozen=True)
class Task:
    """One run: `experiment.run(settings, seed)` returns arrays, which are saved in `folder`."""

    experiment: str  # the module's name, or the path of its file
    settings: dict[str, Any]
    seed: int
    folder: Path
    code: str  # the digest of the code that is to make it
    label: str = ""  # the setting's; the experiment may know it only among the others

    @property
    def setting(self) -> str:
        """The setting in a few words."""
        label = self.label or protocol.experiment_at(self.experiment).label(self.settings)
        step_size = self.settings.get("step_size")  # trials of one setting differ in it
        is_said = step_size is None or "step_size" in label or "step size" in label  # labels name what differs
        return label if is_said else f"{label}, step size {step_size:g}"

    def __str__(self) -> str:
        return f"{self.setting}, seed {self.seed}"


class OtherCodeError(Exception):
    """A process has other code than the command that planned its run."""


class Found(NamedTuple):
    """What is in the folder of a task."""

    run: tuple[dict[str, np.ndarray], dict[str, Any]] | None  # arrays and manifest, if the run is finished
    counts: bool  # whether it is a result of this sweep
    is_stale: bool  # whether other code made it, or an earlier version, which did not say what made it
    changed: list[str]  # the files whose code differs


def look_up(task: Task, keep_stale: bool = False) -> Found:
    """The run of a task, if it is finished. A run that other code made counts only with `keep_stale`."""
    run = results.find(task.folder, task.settings, task.seed)
    if run is None:
        return Found(None, False, False, [])
    code = results.code_of(run[1])
    is_stale = sources.digest(code) != task.code
    return Found(
        run,
        not is_stale or keep_stale,
        is_stale,
        sources.changed(code, sources.fingerprint(task.experiment)) if code and is_stale else [],
    )


def is_finished(task: Task, keep_stale: bool = False) -> bool:
    """Whether a run is finished and counts, from its manifest alone. Nothing is changed, not even what is damaged."""
    try:
        manifest = json.loads((task.folder / "manifest.json").read_text())
        same = (manifest["settings"], manifest["seed"]) == (json.loads(json.dumps(task.settings)), task.seed)
        counts = keep_stale or sources.digest(results.code_of(manifest)) == task.code
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return same and counts and (task.folder / results.DONE).exists()


def of_other_code(stale: list[Found], n_runs: int) -> str:
    """A clause that says how many of `n_runs` other code made, and which files have changed."""
    files = sorted({file for found in stale for file in found.changed})
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    unknown = sum(not found.changed for found in stale)
    known = f"{', '.join(files[:SHOWN])}{more} changed" if files else ""
    silent = f"{unknown} do not say which code made them: an earlier version of this package did" if unknown else ""
    return f"{len(stale)} of {n_runs} runs were made by other code ({'; '.join(filter(None, (known, silent)))})"


class SweepError(Exception):
    """A sweep cannot begin, or has ended with failed runs."""


def plan(experiment: str, configs: list[dict[str, Any]], seeds: list[int], root: Path) -> list[Task]:
    """Every run of a sweep. Seeds are the outer loop, so every setting soon has a run.

    Job arrays rely on this order. Folders are absolute, since a process elsewhere may have another working folder.
    """
    root, code = root.absolute(), sources.digest(sources.fingerprint(experiment))
    labels = plain.told_apart(protocol.experiment_at(experiment).labels(configs), configs)
    named = list(zip(configs, labels, strict=True))
    return [
        Task(experiment, config, seed, folder_of(root, config, seed), code, label)
        for seed in seeds
        for config, label in named
    ]


def folder_of(root: Path, settings: dict[str, Any], seed: int) -> Path:
    """The folder of a run. The same settings in any order have the same folder."""
    page = json.dumps(settings, sort_keys=True)
    return root / hashlib.sha256(page.encode()).hexdigest()[:12] / f"seed-{seed}"


def execute(task: Task) -> str:
    """Make one run in the present process. Return "", or the traceback if the run failed."""
    try:
        code = sources.fingerprint(task.experiment)
        if sources.digest(code) != task.code and modules.renewed(task.experiment):
            code = sources.fingerprint(task.experiment)  # a worker of a cluster outlives an edit of a user's file
        if sources.digest(code) != task.code:
            raise OtherCodeError(
                f"this process has other code ({sources.digest(code)}) than the command that planned the run "
                f"({task.code}): was a file edited meanwhile, or has the worker another version? Start both again"
            )
        if look_up(task).counts:
            return ""  # finished by a process that died before it returned
        experiment = modules.module_of(task.experiment)
        results.began(task.folder)
        start, compiled = time.perf_counter(), progress.seconds_compiling()
        resumes = "unfinished" in inspect.signature(experiment.run).parameters
        # A state that other code saved is not continued: the run would be half of one code and half of the other.
        place = {"unfinished": results.unfinished(task.folder) / task.code} if resumes else {}
        arrays = results.as_arrays(experiment.run(task.settings, task.seed, **place))
        manifest = {"experiment": experiment.__name__, "settings": task.settings, "seed": task.seed, "code": code}
        manifest |= {"seconds": time.perf_counter() - start, "compiling": progress.seconds_compiling() - compiled}
        manifest |= results.circumstances()
        results.save_run(task.folder, arrays, manifest)
    except Exception:  # no error of a run may stop the other runs
        return traceback.format_exc()
    return ""


def _execute_silently(task: Task) -> str:
    """`execute` in a process of its own: lines of many processes would tear the bar."""
    with progress.silent_unless(False):
        return execute(task)


Backend = Callable[[list[Task]], Generator[tuple[Task, str]]]


def run_all(
    tasks: list[Task],
    backend: Backend,
    finished: Callable[[Task], Any] = lambda task: None,
    keep_stale: bool = False,
    earlier: Callable[[Task], Any] | None = None,
) -> None:
    """Make all runs that are not finished yet. `finished(task)` is called for each run, earlier ones first.

    `earlier(task)` is called in its place for the runs that are finished already.

    Runs that other code made are made again, and a line on standard error says so. With `keep_stale` they count.

    Raises
    ------
    SweepError : at the end, if runs failed twice; all other runs are kept. At once, if the disk has no room for
        results, or if a process has other code than this one
    """
    waiting, stale = [], []
    for task in tasks:
        found = look_up(task, keep_stale)
        stale += [found] if found.is_stale else []
        if found.counts:
            (earlier or finished)(task)
        else:
            waiting.append(task)
    if stale:
        again = "they are made again, and stay as seed-*.stale-*; --keep-stale uses them as they are"
        print(f"{of_other_code(stale, len(tasks))}: {'used as they are' if keep_stale else again}", file=sys.stderr)
    failed: list[tuple[Task, str]] = []
    # Seeds are the outer loop, so the remaining runs are like the finished ones, and the bar estimates their time.
    with progress.progress_bar(len(waiting), unit="run", smoothing=0) as bar:
        for attempt in range(1, ATTEMPTS + 1):
            failed = []
            with closing(backend(waiting)) as made:
                for task, error in made:
                    last = error.strip().splitlines()[-1] if error else ""
                    if any(text in last for text in NO_ROOM):
                        raise SweepError(f"{last}; finished runs are kept: make room, and the same command continues")
                    if OtherCodeError.__name__ in last:
                        raise SweepError(f"{task}: {last.partition(': ')[2]}; finished runs are kept")
                    if error:
                        failed.append((task, error))
                        again = "trying again" if attempt < ATTEMPTS else "given up"
                        progress.write_line(f"{task} failed, {again}: {last}")
                    else:
                        bar.update()
                        finished(task)
            waiting = [task for task, _ in failed]
            if not waiting:
                return
    task, error = failed[0]
    raise SweepError(
        f"{len(failed)} of {len(tasks)} runs failed twice, the others are kept; the same command tries again. "
        f"The first failed run is {task}:\n{error}"
    )


# -------------------------------------------------------------------------------------------------------- backends


def processes(jobs: int | None = None) -> Backend:
    """On this machine, in `jobs` processes. The default is one process for each core."""

    def run(tasks: list[Task]) -> Generator[tuple[Task, str]]:
        for task in tasks:
            results.forget_begun(task.folder)  # a mark of an earlier sweep would blame this run
        work = execute if jobs == 1 else _execute_silently
        return _tracebacks(in_processes(work, tasks, jobs, lambda task: results.has_begun(task.folder)))

    return run


def dask(scheduler: str) -> Backend:
    """On a Dask cluster. Its workers must see the same folders as this machine, and have this package installed."""

    def run(tasks: list[Task]) -> Generator[tuple[Task, str]]:
        try:
            yield from _tracebacks(on_dask(_execute_silently, tasks, scheduler))
        except SchedulerError as error:
            raise SweepError(f"--scheduler: {error}") from error

    return run


def _tracebacks(answers: Generator[tuple[Task, str | Exception]]) -> Generator[tuple[Task, str]]:
    """The text that `execute` returned for each task. If a process died, the text says so."""
    with closing(answers):
        for task, answer in answers:
            yield task, answer if isinstance(answer, str) else f"{type(answer).__name__}: {answer}"


def share(tasks: list[Task], task_id: int, num_tasks: int) -> list[Task]:
    """The part of a plan that task `task_id` of a job array makes. Tasks count from 0."""
    if not 0 <= task_id < num_tasks:
        raise SweepError(f"--task-id is {task_id} with --num-tasks {num_tasks}: expected 0 to {num_tasks - 1}")
    return tasks[task_id::num_tasks]
