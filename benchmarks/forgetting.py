"""Which runs of `stream-memory` lost what they had learned, from its committed scores.

    python benchmarks/forgetting.py docs/results/stream-memory/long.scores.jsonl

A return counts as its place between the best one without memory, 0, and that of a perfect memory, 1. A run has learned
its task if one part of its curve is above .9, and has lost it if its last tenth is below .5. A row for each rule and
cell, over all gradients, and a column for each task: "1 of 30" are one that has lost and thirty that had learned.
Prints Markdown.
"""

import argparse
import json
import sys
from pathlib import Path

from experiments.stream_memory import CELLS, PRESETS, TASKS, place

LEARNED, LOST = 0.9, 0.5
STEPS = PRESETS["long"]["steps"]  # of the last stage


def table(lines: list[str]) -> str:
    """The counts as Markdown. Tasks, and rules with cells, that no run has learned are left out."""
    counts: dict[tuple[str, str], list[int]] = {}
    for run in map(json.loads, lines):
        settings, arrays = run["settings"], run["arrays"]
        if settings["steps"] != STEPS or max(_places(settings, arrays["curve"]), default=0.0) <= LEARNED:
            continue
        key = f"{settings['rule']}: {settings['arm'][0]}", settings["task"]
        lost, learned = counts.get(key, [0, 0])
        ends = _places(settings, [arrays["final"]])
        counts[key] = [lost + (not ends or ends[0] < LOST), learned + 1]
    tasks = [task for task in TASKS if any(task == key[1] for key in counts)]
    rules = list(dict.fromkeys(key[0].partition(":")[0] for key in sorted(counts, reverse=True)))
    rows = [f"{rule}: {cell}" for rule in rules for cell in CELLS if any(f"{rule}: {cell}" == key[0] for key in counts)]
    head = [f"| lost, of those that had learned | {' | '.join(tasks)} |", f"|{'---|' * (len(tasks) + 1)}"]
    cells = ((row, " | ".join(_cell(counts.get((row, task))) for task in tasks)) for row in rows)
    return "\n".join([*head, *(f"| {row} | {numbers} |" for row, numbers in cells)])


def _places(settings: dict, returns: list[float | None]) -> list[float]:
    """The places of returns: none of a part in which no episode ended, and none of the end of a run that diverged."""
    return [place(settings, value) for value in returns if value is not None]


def _cell(counts: list[int] | None) -> str:
    return f"{counts[0]} of {counts[1]}" if counts else ""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scores", type=Path)
    print(table(parser.parse_args(arguments).scores.read_text(encoding="utf-8").splitlines()))


if __name__ == "__main__":
    main(sys.argv[1:])
