"""The committed figures, drawn again from what git has: python -m experiments.figures [NAME ...] [--output FOLDER]

No run is made. A figure is drawn from the committed scores of its runs, if they give the committed table, or else from
its committed curves (PRESET.curves.json), if they agree with this table. If git has neither, it is drawn from the
table, by the experiment's `draw`. Other figures stay as they are, and a line says so. Results of an earlier task or
agent say so in red. The figure of timings is drawn from its JSON.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.__main__ import EXPERIMENTS
from experiments.claims import EARLIER
from experiments.engine import committed, curves, plotting, protocol, results, sweep
from rtu_np import files, timing
from rtu_np.commands import exit_code
from rtu_np.timing import figure as timing_figure
from rtu_np.timing.machine import Machine

RESULTS = Path(__file__).parent.parent / "docs" / "results"
TIMING = "timing"


def pages(folder: Path) -> Iterator[Path]:
    """The tables that have a figure next to them."""
    yield from (file for file in sorted(folder.glob("*/*.json")) if file.with_suffix(".png").exists())


def read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text())


def experiment_of(file: Path) -> protocol.Experiment:
    return protocol.find(file.parent.name, EXPERIMENTS)


def from_scores(experiment: protocol.Experiment, preset: str, page: dict[str, Any], folder: Path) -> results.Results:
    """The committed results, if git has the scores of the runs that made the page; empty if it has not."""
    file = folder / experiment.name / f"{preset}.scores.jsonl"
    if preset not in experiment.PRESETS or not file.exists():
        return []
    scores, earlier = committed.Scores(file, experiment.SCORES), list[results.Results]()
    stages = experiment.stages(experiment.PRESETS[preset])
    for k, (settings, seeds) in enumerate(stages, 1):
        stage: results.Results = []
        for config in settings(earlier):
            shown = page["seeds"] if k == len(stages) else seeds
            runs = [scores.find(sweep.Task(experiment.place, config, seed, folder, "")) for seed in shown]
            if None in runs:
                return []
            stage.append((config, [run[0] for run in runs if run]))
        earlier.append(stage)
    return earlier[-1] if _same(experiment.score(earlier[-1]), page["scores"]) else []


def from_curves(experiment: protocol.Experiment, file: Path, page: dict[str, Any]) -> curves.Shown:
    """What the figure shows, if git has its curves, and if they agree with the page's table; empty otherwise."""
    path = file.with_suffix(".curves.json")
    if not path.exists() or not hasattr(experiment.module, "draw_curves"):
        return []
    scores, shown = curves.read(path)
    return shown if curves.agree(page["scores"], scores) else []


def _same(table: dict[str, dict[str, float]], other: dict[str, dict[str, float]]) -> bool:
    """Whether two tables have the same rows, columns and numbers, but for rounding."""
    if {row: list(numbers) for row, numbers in table.items()} != {row: list(each) for row, each in other.items()}:
        return False
    ours, theirs = ([number for row in each.values() for number in row.values()] for each in (table, other))
    return np.allclose(ours, theirs, rtol=1e-9, atol=0, equal_nan=True)


def drawn(file: Path) -> tuple[Any, str]:
    """(figure, what it was drawn from) of a page; (None, why not) if git has too little."""
    page, experiment = read(file), experiment_of(file)
    if found := from_scores(experiment, file.stem, page, file.parent.parent):
        return experiment.plot(found), "the scores of its runs"
    if curve := from_curves(experiment, file, page):
        return experiment.module.draw_curves(curve), "its curves"
    draw, settings = getattr(experiment.module, "draw", None), experiment.PRESETS[file.stem].get("settings")
    if draw and settings:  # a preset with stages has none before its first stage
        return draw(settings, page["scores"]), "its table"
    return None, "as it is, since git has no scores of its runs; the command of its experiment draws it"


def draw_timing(file: Path, path: Path) -> None:
    """The figure of `python -m rtu_np timing`."""
    page = read(file)
    timings = [timing.Timing(**row) for row in page["timings"]]
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as part:
        timing_figure.save(timings, Machine(**page["machine"]), part)


def main(argv: list[str] | None = None) -> int:
    top = argparse.ArgumentParser(prog="python -m experiments.figures", description=__doc__)
    top.add_argument("names", nargs="*", metavar="NAME", help="experiments; all, if none is named")
    top.add_argument("--output", type=Path, default=RESULTS, help="the folder of the figures")
    arguments = top.parse_args(argv)
    known = {file.parent.name for file in pages(RESULTS)}
    if unknown := set(arguments.names) - known:
        top.error(f"{min(unknown)} has no committed results: expected some of {', '.join(sorted(known))}")
    with plotting.style():
        for file in pages(RESULTS):
            if arguments.names and file.parent.name not in arguments.names:
                continue
            path = arguments.output / file.parent.name / f"{file.stem}.png"
            if file.parent.name == TIMING:
                draw_timing(file, path)
                source = "its JSON"
            else:
                figure, source = drawn(file)
                if figure is not None:
                    _, reason = EARLIER.get((file.parent.name, file.stem), ("", ""))
                    plotting.save(figure, path, reason)
            print(f"{file.parent.name}/{file.stem}.png: {source}", flush=True)
    return 0


if __name__ == "__main__":
    plotting.without_display()
    sys.exit(exit_code(main))
