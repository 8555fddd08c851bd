"""The command line: python -m experiments [NAME] [--preset smoke|laptop|long|overnight|paper]; rtu-np experiments."""

import argparse
import importlib
import json
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

from tqdm import tqdm

from experiments.engine import committed, plotting, results, selection, sweep
from rtu_np import files
from rtu_np.commands import exit_code, what_hides

EXPERIMENTS = {
    "trace-conditioning": "experiments.trace_conditioning",
    "patterning": "experiments.patterning",
    "fig01-architectures": "experiments.fig01_architectures",
    "fig02-resources": "experiments.fig02_resources",
    "fig03-runtime": "experiments.fig03_runtime",
    "fig08-three-state": "experiments.fig08_three_state",
    "fig09-parameterizations": "experiments.fig09_parameterizations",
    "fig11-block-diagonal": "experiments.fig11_block_diagonal",
    "fig12-rtu-bptt": "experiments.fig12_rtu_bptt",
    "fig16-step-sizes": "experiments.fig16_step_sizes",
    "memory-chain": "experiments.memory_chain",
    "fig04-mujoco": "experiments.fig04_mujoco",
    "fig05-reacher": "experiments.fig05_reacher",
    "fig06-popgym": "experiments.fig06_popgym",
    "fig18-staleness": "experiments.fig18_staleness",
    "defaults": "experiments.defaults",
    "stream-memory": "experiments.stream_memory",
    "stream-pendulum": "experiments.stream_pendulum",
    "stream-mujoco": "experiments.stream_mujoco",
    "stream-reacher": "experiments.stream_reacher",
    "stream-popgym": "experiments.stream_popgym",
    "staleness": "experiments.staleness",
    "credit": "experiments.credit",
    "nexting-glucose": "experiments.nexting_glucose",
    "nexting-machine": "experiments.nexting_machine",
    "reach": "experiments.reach",
}

ANNOUNCED = 50  # a plan of at most so many runs prints a line for each; a longer plan shows the bar alone


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print the message in one line, without the usage."""
        self.exit(2, f"{message}; {self.prog} lists all experiments, --help lists the options\n")


def parser(program: str) -> argparse.ArgumentParser:
    top = Parser(
        prog=program,
        description="Run an experiment: learn, print its table, draw its figure. Without a name, list all experiments.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    top.add_argument("name", nargs="?", choices=EXPERIMENTS, metavar="NAME", help=", ".join(EXPERIMENTS))
    top.add_argument("--preset", default="laptop", help="smoke, laptop, long, overnight or paper; not all have each")
    top.add_argument("--output", type=Path, default=Path("runs"), help="the folder of runs, table and figure")
    top.add_argument("--jobs", type=int, help="runs at a time; if not given, one for each core or the experiment's own")
    top.add_argument(
        "--scheduler", metavar="ADDRESS", help="the scheduler of a Dask cluster that makes the runs: tcp://host:8786"
    )
    top.add_argument("--task-id", type=int, metavar="K", help="make the share of task K, from 0, of a job array")
    top.add_argument("--num-tasks", type=int, metavar="N", help="the number of tasks in the job array")
    top.add_argument(
        "--scores", type=Path, metavar="FOLDER", help="a folder for git: leave the scores of each run, go on from them"
    )
    top.add_argument("--keep-stale", action="store_true", help="use runs that other code made as they are")
    top.add_argument("--plot-only", action="store_true", help="draw the figure from finished runs, and make no run")
    return top


def main(argv: list[str] | None = None, program: str = "python -m experiments") -> int:
    arguments = parser(program).parse_args(argv)
    if said := what_hides("envs"):
        print(said, file=sys.stderr)
        return 2
    if arguments.name is None:
        print("\n\n".join(map(listed, EXPERIMENTS)))
        return 0
    experiment = importlib.import_module(EXPERIMENTS[arguments.name])
    if arguments.preset not in experiment.PRESETS:
        known = ", ".join(experiment.PRESETS)
        print(f"--preset {arguments.preset!r} is not one of {arguments.name}: expected {known}", file=sys.stderr)
        return 2
    if arguments.jobs is not None and arguments.jobs < 1:
        print(f"--jobs is {arguments.jobs}: expected at least 1", file=sys.stderr)
        return 2
    if (arguments.task_id is None) != (arguments.num_tasks is None):
        print("--task-id and --num-tasks: expected both, or neither", file=sys.stderr)
        return 2
    try:
        results.claim(arguments.output / arguments.name)
    except OSError as error:
        print(f"--output {arguments.output}: cannot be written to ({error}); name another folder", file=sys.stderr)
        return 2
    except results.ForeignResultsError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        scores = scores_of(experiment, arguments)
    except OSError as error:
        print(f"--scores {arguments.scores}: cannot be used ({error}); name another folder", file=sys.stderr)
        return 2
    except committed.ScoresError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        run(experiment, arguments, scores)
    except BrokenPipeError:
        raise  # the reader of the output has left
    except (sweep.SweepError, results.ForeignResultsError, committed.ScoresError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error}; finished runs are kept, and the same command continues", file=sys.stderr)
        return 1
    return 0


def listed(name: str) -> str:
    """An experiment's name, and from its docstring the title, the claim and the minutes of its presets."""
    text = importlib.import_module(EXPERIMENTS[name]).__doc__ or ""
    title, *paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    shown = [title, *(p for p in paragraphs if p.startswith(("Claim: ", "Minutes on two cores: ")))]
    return "\n".join([name, *(textwrap.fill(p, 110, initial_indent="    ", subsequent_indent="      ") for p in shown)])


def scores_of(experiment: ModuleType, arguments: argparse.Namespace) -> committed.Scores | None:
    """The committed scores of the preset, if `--scores` names their folder."""
    if arguments.scores is None:
        return None
    path = arguments.scores / arguments.name / f"{arguments.preset}.scores.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    return committed.Scores(path, getattr(experiment, "SCORES", None))


class Outcome(NamedTuple):
    """What a preset's stages have come to."""

    found: results.Results  # of the last stage
    seeds: list[int]  # of the last stage, those of which every run is finished
    unfinished: str  # says how many runs of the last stage are finished, if not all are
    stages: list[dict[str, Any]]  # of each stage: its runs and divergences
    planned: list[sweep.Task]
    manifests: list[dict[str, Any]]
    stale: list[sweep.Found]


def run(experiment: ModuleType, arguments: argparse.Namespace, scores: committed.Scores | None) -> None:
    """Run a preset, print its table, and write `PRESET.json` and `PRESET.png` to the output folder."""
    outcome = run_stages(experiment, arguments, scores)
    if outcome is not None:
        report(experiment, arguments, scores, outcome)


def run_stages(
    experiment: ModuleType, arguments: argparse.Namespace, scores: committed.Scores | None
) -> Outcome | None:
    """Make the requested runs of each stage. None if a stage has to wait for other runs.

    With committed scores, seeds of which every run is finished are enough for the last stage.
    """
    output = arguments.output / arguments.name
    stages = getattr(experiment, "stages", selection.stages)(experiment.PRESETS[arguments.preset])
    earlier: list[results.Results] = []
    outcome = Outcome([], [], "", [], [], [], [])
    for settings, seeds in stages:
        configs = settings(earlier)
        tasks = sweep.plan(experiment.__name__, configs, seeds, output)
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


def report(
    experiment: ModuleType, arguments: argparse.Namespace, scores: committed.Scores | None, outcome: Outcome
) -> None:
    """Print the table, and write numbers and figure."""
    preset, output = experiment.PRESETS[arguments.preset], arguments.output / arguments.name
    manifests, stale = outcome.manifests, outcome.stale
    numbers_of = experiment.score(outcome.found)
    print("\n" + table(numbers_of))
    for line in selection.at_an_edge(preset, outcome.found):
        print(line)
    for k, stage in enumerate(outcome.stages[:-1], 1):
        which = ", ".join(f"{n} with step size {name}" for name, n in stage["by step size"].items())
        print(f"stage {k}: {stage['diverged']} of {stage['runs']} runs diverged{which and f': {which}'}")
    page = {"experiment": experiment.__name__, "preset": arguments.preset, "seeds": outcome.seeds}
    if "tuning" in preset:
        page["tuning"] = {**preset["tuning"], "seeds": list(preset["tuning"]["seeds"])}
    if outcome.stages[:-1]:
        page["earlier stages"] = outcome.stages[:-1]
    said = f"{sweep.of_other_code(stale, len(manifests))}, and used all the same" if stale else ""
    for name, text in (("unfinished", outcome.unfinished), ("stale", said)):
        if text:
            page[name] = text
            print(text)
    if scores:
        page["committed scores"] = origins = committed.origins(manifests, outcome.planned[0].code)
        print("\n".join(filter(None, (*committed.said(origins), scores.without(outcome.planned)))))
    page |= {"runs": len(manifests), **results.merge_manifests(manifests), "scores": numbers_of}
    numbers, picture = output / f"{arguments.preset}.json", output / f"{arguments.preset}.png"
    text = json.dumps(page, indent=1) + "\n"
    with files.replacing(numbers) as part:
        part.write_text(text)
    with plotting.style():
        plotting.save(experiment.plot(outcome.found), picture, "; ".join(filter(None, (outcome.unfinished, said))))
    print(f"\nfigure: {picture}\nnumbers: {numbers}")


def make(
    experiment: ModuleType, tasks: list[sweep.Task], arguments: argparse.Namespace, scores: committed.Scores | None
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
        backend = sweep.processes(arguments.jobs or getattr(experiment, "JOBS", None))

    def finished(task: sweep.Task) -> None:
        if not scores and len(tasks) > ANNOUNCED:
            return
        arrays, manifest = results.load_run(task.folder)
        if scores:
            scores.add(task, (arrays, manifest))
        if len(tasks) <= ANNOUNCED:
            tqdm.write(f"{task}: {experiment.describe(arrays)}")

    sweep.run_all(tasks, backend, finished, arguments.keep_stale)


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


def table(scores: dict[str, dict[str, float]]) -> str:
    """Scores as aligned text, with a row for each setting. A number that a setting does not have stays empty."""
    names = dict.fromkeys(name for row in scores.values() for name in row)
    rows = [["", *names]]
    rows += [[name, *(f"{row[n]:.4g}" if n in row else "" for n in names)] for name, row in scores.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


if __name__ == "__main__":
    sys.exit(exit_code(main))
