"""The command line: python -m experiments [NAME] [--preset smoke|laptop|paper]."""

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from tqdm import tqdm

from experiments import plotting, results, sweep

EXPERIMENTS = {
    "trace-conditioning": "experiments.trace_conditioning",
    "fig03-runtime": "experiments.fig03_runtime",
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m experiments",
        description="Run an experiment: learn, print its table, draw its figure. Without a name, list them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    top.add_argument("name", nargs="?", choices=EXPERIMENTS, metavar="NAME", help=", ".join(EXPERIMENTS))
    top.add_argument("--preset", default="laptop", help="how much of it to run")
    top.add_argument("--output", type=Path, default=Path("runs"), help="folder for runs, table and figure")
    top.add_argument("--jobs", type=int, help="runs at a time; as the experiment says, or all cores, if not given")
    top.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that makes the runs: tcp://host:8786")
    top.add_argument("--task-id", type=int, metavar="K", help="make the share of task K, from 0, of a job array")
    top.add_argument("--num-tasks", type=int, metavar="N", help="of how many tasks the job array consists")
    top.add_argument("--plot-only", action="store_true", help="draw from the runs that are there, and make none")
    return top


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    if arguments.name is None:
        for name, module in EXPERIMENTS.items():
            experiment = importlib.import_module(module)
            print(f"{name}: {(experiment.__doc__ or '').splitlines()[0]}\n    presets: {', '.join(experiment.PRESETS)}")
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
        run(experiment, arguments)
    except (sweep.SweepError, results.ForeignResultsError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"--output {arguments.output}: cannot be written to ({error}); name another folder", file=sys.stderr)
        return 2
    return 0


def run(experiment: ModuleType, arguments: argparse.Namespace) -> None:
    """Run a preset, print what comes, and leave `PRESET.json` and `PRESET.png` in the output folder."""
    preset, output = arguments.preset, arguments.output / arguments.name
    results.claim(output)
    configs, seeds = experiment.PRESETS[preset]["settings"], list(experiment.PRESETS[preset]["seeds"])
    tasks = sweep.plan(experiment.__name__, configs, seeds, output)
    if arguments.scheduler:
        backend = sweep.dask(arguments.scheduler)
    else:
        backend = sweep.processes(arguments.jobs or getattr(experiment, "JOBS", None))
    if arguments.task_id is not None:
        sweep.run_all(sweep.share(tasks, arguments.task_id, arguments.num_tasks), backend, _tell(experiment))
    elif not arguments.plot_only:
        sweep.run_all(tasks, backend, _tell(experiment))
    missing = [task for task in tasks if not results.is_done(task.folder, task.settings, task.seed)]
    if missing:
        print(f"{len(tasks) - len(missing)} of {len(tasks)} runs are there: the figure waits for the others, {output}")
        return
    # In the order of the plan: what is computed from the runs must not depend on which of them ended first.
    runs = [[results.load_run(sweep.folder_of(output, config, seed))[0] for seed in seeds] for config in configs]
    found = list(zip(configs, runs, strict=True))
    scores = experiment.score(found)
    print("\n" + table(scores))
    page = {"experiment": experiment.__name__, "preset": preset, "seeds": seeds, "scores": scores}
    (output / f"{preset}.json").write_text(json.dumps(page, indent=1) + "\n")
    with plotting.style():
        picture = plotting.save(experiment.plot(found), output / f"{preset}.png")
    print(f"\nfigure: {picture}\nnumbers: {output / f'{preset}.json'}")


def _tell(experiment: ModuleType) -> Callable[[sweep.Task], None]:
    def tell(task: sweep.Task) -> None:
        arrays, _ = results.load_run(task.folder)
        tqdm.write(f"{experiment.label(task.settings)}, seed {task.seed}: {experiment.describe(arrays)}")

    return tell


def table(scores: dict[str, dict[str, float]]) -> str:
    """Scores as aligned text: a row per setting."""
    heads = ["", *next(iter(scores.values()))]
    rows = [heads, *([name, *(f"{value:.4g}" for value in row.values())] for name, row in scores.items())]
    widths = [max(len(row[k]) for row in rows) for k in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
