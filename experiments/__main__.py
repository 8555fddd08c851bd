"""The command line: python -m experiments [NAME] [--preset smoke|laptop|paper]."""

import argparse
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from experiments import plotting, sweep

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
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"--output {arguments.output}: cannot be written to ({error}); name another folder", file=sys.stderr)
        return 2
    run(experiment, arguments.preset, arguments.output / arguments.name, arguments.jobs)
    return 0


def run(experiment: ModuleType, preset: str, output: Path, jobs: int | None) -> dict[str, Any]:
    """Run a preset, print what comes, and leave `PRESET.json` and `PRESET.png` in `output`."""
    configs = experiment.PRESETS[preset]["settings"]
    seeds = list(experiment.PRESETS[preset]["seeds"])
    runs: dict[str, dict[int, Any]] = {experiment.label(config): {} for config in configs}
    for config, seed, arrays in sweep.run_all(
        experiment, configs, seeds, output, jobs or getattr(experiment, "JOBS", None)
    ):
        name = experiment.label(config)
        runs[name][seed] = arrays
        tqdm.write(f"{name}, seed {seed}: {experiment.describe(arrays)}")
    # In the order of the plan: what is computed from the runs must not depend on which of them ended first.
    results = [(config, [runs[experiment.label(config)][seed] for seed in seeds]) for config in configs]
    scores = experiment.score(results)
    print("\n" + table(scores))
    page = {"experiment": experiment.__name__, "preset": preset, "seeds": seeds, "scores": scores}
    (output / f"{preset}.json").write_text(json.dumps(page, indent=1) + "\n")
    with plotting.style():
        picture = plotting.save(experiment.plot(results), output / f"{preset}.png")
    print(f"\nfigure: {picture}\nnumbers: {output / f'{preset}.json'}")
    return scores


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
