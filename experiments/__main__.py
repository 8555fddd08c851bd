"""The command line: python -m experiments [NAME] [--preset smoke|laptop|long|overnight|paper]; rtu-np experiments."""

import argparse
import importlib
import sys
import textwrap
from pathlib import Path
from typing import NoReturn

import numpy as np

from experiments.engine import (
    changes,
    committed,
    curves,
    forecast,
    plotting,
    protocol,
    results,
    running,
    selection,
    sweep,
    template,
)
from experiments.engine.protocol import Experiment
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
    "stream-popgym": "experiments.stream_popgym",
    "stream-units": "experiments.stream_units",
    "staleness": "experiments.staleness",
    "credit": "experiments.credit",
    "nexting-glucose": "experiments.nexting_glucose",
    "nexting-machine": "experiments.nexting_machine",
    "reach": "experiments.reach",
    "approximations": "experiments.approximations",
    "two-layers": "experiments.two_layers",
}

DEFAULT, NEW = "laptop", "new"  # a preset, and the word that is no experiment
EXCLUSIVE = (("--dry-run", "--plot-only"), ("--dry-run", "--task-id"), ("--scheduler", "--jobs"))


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print the message in one line, without the usage."""
        self.exit(2, f"{message}; {self.prog} lists all experiments, --help lists the options\n")


class UsageError(Exception):
    """Arguments that do not fit; the message says so in one line."""


def parser(program: str) -> argparse.ArgumentParser:
    top = Parser(
        prog=program,
        description="Run an experiment: learn, print its table, draw its figure. Without a name, list all experiments. "
        f"`{program} new FILE.py` writes an experiment of your own to begin with (docs/own_sweep.md).",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    names = f"{', '.join(EXPERIMENTS)}, a dotted module, or the path of a file of your own"
    top.add_argument("name", nargs="?", metavar="NAME", help=names)
    top.add_argument("file", nargs="?", metavar="FILE", help="the file that `new` writes")
    top.add_argument("--preset", help="smoke, laptop, long, overnight or paper; not all have each (default: laptop)")
    top.add_argument("--seeds", help="how many, as 10; or seeds and ranges, as 0,3,7-9")
    top.add_argument("--steps", help="steps of a run, in place of the preset's")
    top.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE[,VALUE]", help="change settings"
    )
    top.add_argument("--dry-run", action="store_true", help="print the plan and estimated minutes, and make no run")
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
    if arguments.name == NEW:
        return write_new(arguments)
    try:
        experiment = chosen(arguments)
    except protocol.UnknownError as error:
        print(f"{error}; {program} lists all experiments, --help lists the options", file=sys.stderr)
        return 2
    except (UsageError, protocol.ExperimentError, changes.FlagError) as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.dry_run:
        return dry_run(experiment, arguments)
    try:
        results.claim(arguments.output / experiment.name)
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


def write_new(arguments: argparse.Namespace) -> int:
    """Write an experiment to begin with."""
    if arguments.file is None:
        print("new: expected the name of a file, as in `new my_sweep.py`", file=sys.stderr)
        return 2
    try:
        template.write(Path(arguments.file))
    except FileExistsError:
        print(f"new: {arguments.file} exists, and stays as it is; name another file", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"new: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.file}: an experiment to begin with; --preset smoke takes seconds, {protocol.PAGE} explains it")
    return 0


def chosen(arguments: argparse.Namespace) -> Experiment:
    """The experiment; `arguments.preset` becomes its preset as the flags change it. UsageError if one does not fit."""
    if arguments.file is not None:
        raise UsageError(f"unexpected {arguments.file!r} after NAME {arguments.name}: expected options, or `new FILE`")
    if arguments.jobs is not None and arguments.jobs < 1:
        raise UsageError(f"--jobs is {arguments.jobs}: expected at least 1")
    if (arguments.task_id is None) != (arguments.num_tasks is None):
        raise UsageError("--task-id and --num-tasks: expected both, or neither")
    for one, other in EXCLUSIVE:
        given = [getattr(arguments, word.strip("-").replace("-", "_")) for word in (one, other)]
        if all(value is not None and value is not False for value in given):
            raise UsageError(f"{one} and {other}: expected one of them")
    experiment = protocol.find(arguments.name, EXPERIMENTS)
    if arguments.preset is None:
        arguments.preset = DEFAULT if DEFAULT in experiment.PRESETS else next(iter(experiment.PRESETS))
    if arguments.preset not in experiment.PRESETS:
        known = ", ".join(experiment.PRESETS)
        raise UsageError(f"--preset {arguments.preset!r} is not one of {experiment.name}: expected {known}")
    flags = changes.Flags(arguments.seeds, arguments.steps, tuple(arguments.set))
    arguments.preset = changes.changed(experiment, arguments.preset, flags)
    return experiment


def dry_run(experiment: Experiment, arguments: argparse.Namespace) -> int:
    """Print the plan and the minutes."""
    path, output = scores_path(experiment, arguments), arguments.output / experiment.name
    try:
        scores = committed.Scores(path, experiment.SCORES) if path else None
    except OSError as error:
        print(f"--scores {arguments.scores}: cannot be used ({error}); name another folder", file=sys.stderr)
        return 2
    except committed.ScoresError as error:
        print(error, file=sys.stderr)
        return 1

    def is_finished(task: sweep.Task) -> bool:
        return bool(scores and scores.find(task)) or sweep.is_finished(task, arguments.keep_stale)

    def arrays_of(task: sweep.Task) -> dict[str, np.ndarray]:
        return ((scores and scores.find(task)) or results.load_run(task.folder))[0]

    try:
        lines = forecast.plan(experiment, arguments.preset, output, arguments.jobs, is_finished, arrays_of)
    except forecast.CannotRunError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{experiment.name}, {titled(experiment, arguments.preset)}; files {output / arguments.preset}.json and .png")
    print("\n".join(lines))
    return 0


def titled(experiment: Experiment, preset: str) -> str:
    """A preset's name, and how it was changed."""
    how = experiment.changes.get(preset)
    return f"{how['preset']} with {how['flags']}" if how else preset


def listed(name: str) -> str:
    """An experiment's name, and from its docstring the title, the claim and the minutes of its presets."""
    text = importlib.import_module(EXPERIMENTS[name]).__doc__ or ""
    title, *paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    shown = [title, *(p for p in paragraphs if p.startswith(("Claim: ", "Minutes on two cores: ")))]
    return "\n".join([name, *(textwrap.fill(p, 110, initial_indent="    ", subsequent_indent="      ") for p in shown)])


def scores_path(experiment: Experiment, arguments: argparse.Namespace) -> Path | None:
    return arguments.scores and arguments.scores / experiment.name / f"{arguments.preset}.scores.jsonl"


def scores_of(experiment: Experiment, arguments: argparse.Namespace) -> committed.Scores | None:
    """The committed scores of the preset, if `--scores` names their folder."""
    path = scores_path(experiment, arguments)
    if path is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    return committed.Scores(path, experiment.SCORES)


def run(experiment: Experiment, arguments: argparse.Namespace, scores: committed.Scores | None) -> None:
    """Run a preset, print its table, and write `PRESET.json` and `PRESET.png` to the output folder."""
    if arguments.preset in experiment.changes:
        print(f"{titled(experiment, arguments.preset)}: {arguments.preset}")
    outcome = running.run_stages(experiment, arguments, scores)
    if outcome is not None:
        report(experiment, arguments, scores, outcome)


def report(
    experiment: Experiment, arguments: argparse.Namespace, scores: committed.Scores | None, outcome: running.Outcome
) -> None:
    """Print the table, and write numbers and figure."""
    preset, output = experiment.PRESETS[arguments.preset], arguments.output / experiment.name
    manifests, stale = outcome.manifests, outcome.stale
    groups = grouped(experiment, arguments.preset, outcome.found)
    numbers_of = {
        ": ".join(filter(None, (title, row))): numbers
        for title, found in groups
        for row, numbers in experiment.score(found).items()
    }
    print("\n" + table(numbers_of))
    for line in selection.at_an_edge(preset, outcome.found):
        print(line)
    for k, stage in enumerate(outcome.stages[:-1], 1):
        which = ", ".join(f"{n} with step size {name}" for name, n in stage["by step size"].items())
        print(f"stage {k}: {stage['diverged']} of {stage['runs']} runs diverged{which and f': {which}'}")
    page = {"experiment": experiment.module.__name__, "preset": arguments.preset, "seeds": outcome.seeds}
    if arguments.preset in experiment.changes:
        page["changed"] = {name: experiment.changes[arguments.preset][name] for name in ("preset", "flags")}
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
    numbers = output / f"{arguments.preset}.json"
    results.write(numbers, page)
    pictures = []
    with plotting.style():
        for k, (_, found) in enumerate(groups, 1):
            picture = output / f"{arguments.preset}{f'-{k}' if len(groups) > 1 else ''}.png"
            plotting.save(experiment.plot(found), picture, "; ".join(filter(None, (outcome.unfinished, said))))
            pictures.append(str(picture))
            if shown := experiment.shown(found):
                head = {name: page[name] for name in ("experiment", "preset", "seeds", "commit")}
                curves.write(picture.with_suffix(".curves.json"), head, experiment.score(found), shown)
    print(f"\nfigure: {', '.join(pictures)}\nnumbers: {numbers}")


def grouped(experiment: Experiment, preset: str, found: results.Results) -> list[tuple[str, results.Results]]:
    """(title, results) of what is scored and drawn together: all, if each setting has a label of its own.

    A label knows nothing of what the flags vary. If labels are equal, each combination of values is a group.
    """
    varied = experiment.changes.get(preset, {}).get("varied", [])
    texts = experiment.labels([config for config, _ in found])
    if len(set(texts)) == len(texts) or not varied:
        return [("", found)]
    groups: dict[str, results.Results] = {}
    for config, runs in found:
        groups.setdefault(changes.values_of(varied, config), []).append((config, runs))
    return list(groups.items())


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
    plotting.without_display()
    sys.exit(exit_code(main))
