"""Which runs of `stream-memory` lost what they had learned, from its committed scores.

    python benchmarks/forgetting.py docs/results/stream-memory/long.scores.jsonl

A return counts as its place between the best one without memory, 0, and that of a perfect memory, 1. A run has learned
its task if one part of its curve is above .9. It has lost it if its last tenth is below .5, or if it diverged. A row
for each rule and cell, over all gradients, and a column for each task: "1 of 30" are one that has lost and thirty that
had learned. Prints Markdown.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from experiments.stream_memory import CELLS, PRESETS, RULES, place
from experiments.tasks import MEMORY

LEARNED, LOST = 0.9, 0.5
STEPS = PRESETS["long"]["steps"]  # of the last stage


def table(lines: list[str]) -> str:
    """The counts as Markdown. Tasks, and rules with cells, that no run has learned are left out."""
    counts: dict[tuple[str, str, str], list[int]] = {}
    for run in map(json.loads, lines):
        settings, arrays = run["settings"], run["arrays"]
        if settings["steps"] != STEPS or not _has_learned(settings, arrays["curve"]):
            continue
        counted = counts.setdefault((settings["rule"], settings["arm"][0], settings["task"]), [0, 0])
        counted[0] += bool(arrays["diverged"]) or place(settings, arrays["final"]) < LOST
        counted[1] += 1
    tasks = [task for task in MEMORY if any(task == key[2] for key in counts)]
    rows = [(rule, cell) for rule in RULES for cell in CELLS if any((rule, cell) == key[:2] for key in counts)]
    cells = {row: " | ".join(_cell(counts.get((*row, task))) for task in tasks) for row in rows}
    head = [f"| lost, of those that had learned | {' | '.join(tasks)} |", f"|{'---|' * (len(tasks) + 1)}"]
    return "\n".join([*head, *(f"| {rule}: {cell} | {cells[rule, cell]} |" for rule, cell in rows)])


def _has_learned(settings: dict[str, Any], curve: list[float | None]) -> bool:
    """Whether a part of the curve is above LEARNED. Parts before the end of the first episode have no return."""
    return any(value is not None and place(settings, value) > LEARNED for value in curve)


def _cell(counts: list[int] | None) -> str:
    return f"{counts[0]} of {counts[1]}" if counts else ""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scores", type=Path)
    print(table(parser.parse_args(arguments).scores.read_text(encoding="utf-8").splitlines()))


if __name__ == "__main__":
    main(sys.argv[1:])
