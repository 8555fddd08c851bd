"""The stages of a preset, one after the other: make its runs, gather what is finished, go on to the next stage."""

import argparse
from typing import Any, NamedTuple

from experiments.engine import committed, results, selection, sweep
from experiments.engine.protocol import Experiment
from rtu_np import progress

ANNOUNCED = 50  # a plan of at most so many runs prints a line for each; a longer plan has the bar


class Outcome(NamedTuple):
    """What a preset's stages have come to."""

    found: results.Results  # of the last stage
    seeds: list[int]  # of the last stage, those of which every run is finished
    unfinished: str  # says how many runs of the last stage are finished, if not all are
    stages: list[dict[str, Any]]  # of each stage: its runs and divergences
    planned: list[sweep.Task]
    manifests: list[dict[str, Any]]
    stale: list[sweep.Found]


def run_stages(
    experiment: Experiment, arguments: argparse.Namespace, scores: committed.Scores | None
) -> Outcome | None:
    """Make the requested runs of each stage. None if a stage has to wait for other runs.

    With committed scores, seeds of which every run is finished are enough for the last stage.
    """
    output = arguments.output / experiment.name
    stages = experiment.stages(experiment.PRESETS[arguments.preset])
    earlier: list[results.Results] = []
    outcome = Outcome([], [], "", [], [], [], [])
    for settings, seeds in stages:
        configs = settings(earlier)
        tasks = sweep.plan(experiment.place, configs, seeds, output)
        make(experiment, tasks, arguments, scores)
        runs, others = gather(tasks, arguments, scores)
        # In the order of the plan, with seeds as the outer loop. The order in which runs ended does not matter.
        n = len(configs)
        of_seed = {seed: runs[k * n : (k + 1) * n] for k, seed in enumerate(seeds)}
        whole = {seed: [run for run in made if run] for seed, made in of_seed.items() if all(made)}
        unfinished = ""
        if len(whole) < len(seeds):
            if arguments.plot_only and others:
                said = sweep.of_other_code(others, len(tasks))
                print(f"{said}: they do not count; --keep-stale uses them as they are")
            unfinished = f"{len(tasks) - runs.count(None)} of {len(tasks)} runs are finished"
            if not whole or not scores or len(earlier) + 1 < len(stages):
                print(f"{unfinished}: the next stage waits for the others, {output}")
                return None
            unfinished += f": this is of seeds {', '.join(map(str, whole))}, of which every run is"
        earlier.append([(config, [made[k][0] for made in whole.values()]) for k, config in enumerate(configs)])
        outcome = Outcome(
            earlier[-1],
            list(whole),
            unfinished,
            [*outcome.stages, selection.divergences(list(whole), earlier[-1])],
            [*outcome.planned, *tasks],
            [*outcome.manifests, *(manifest for made in whole.values() for _, manifest in made)],
            [*outcome.stale, *(each for each in others if each.counts)],
        )
    return outcome


def make(
    experiment: Experiment, tasks: list[sweep.Task], arguments: argparse.Namespace, scores: committed.Scores | None
) -> None:
    """Make the requested runs: all, a share, or none. A run that has committed scores is finished."""
    if arguments.plot_only:
        return
    if arguments.task_id is not None:
        tasks = sweep.share(tasks, arguments.task_id, arguments.num_tasks)
    if scores:
        tasks = [task for task in tasks if scores.find(task) is None]
    if arguments.scheduler:
        backend = sweep.dask(arguments.scheduler)
    else:
        backend = sweep.processes(arguments.jobs or experiment.JOBS)

    def finished(task: sweep.Task, is_new: bool = True) -> None:
        # A pipe has no bar, so it gets a line for each run that is made.
        is_said = len(tasks) <= ANNOUNCED or (is_new and not progress.is_watched())
        if not scores and not is_said:
            return
        arrays, manifest = results.load_run(task.folder)
        if scores:
            scores.add(task, (arrays, manifest))
        if is_said:
            progress.write_line(f"{task}: {experiment.describe(arrays)}")

    sweep.run_all(tasks, backend, finished, arguments.keep_stale, lambda task: finished(task, is_new=False))


def gather(
    tasks: list[sweep.Task], arguments: argparse.Namespace, scores: committed.Scores | None
) -> tuple[list[committed.Run | None], list[sweep.Found]]:
    """(the run of each task or None, what other code made among the folders that were looked up)."""
    if scores:
        scores.read()  # another process may have added lines
    runs: list[committed.Run | None] = []
    others = []
    for task in tasks:
        run = scores.find(task) if scores else None
        if run is None:
            looked_up = sweep.look_up(task, arguments.keep_stale)
            others += [looked_up] if looked_up.is_stale else []
            run = looked_up.run if looked_up.counts else None
            if scores and run:
                run = scores.add(task, run)  # what the next machine will read
        runs.append(run)
    return runs, others
