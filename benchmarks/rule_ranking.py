"""Which step-size rule learns memory tasks best, from the committed scores of `stream-memory`.

    python benchmarks/rule_ranking.py docs/results/stream-memory/long.scores.jsonl

A row for each rule: for each task its place between the best return without memory, 0, and that of a perfect memory, 1,
with the best step size of three (seeds 1000 and 1001, 100,000 steps, RTUs with RTRL); the mean over tasks, by which the
sweep chooses the rules that go on; and how many of its runs diverged. All tasks have one trace parameter, the rule's
best of two. A run that diverged counts as -1. Prints Markdown.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from experiments.engine.results import Results
from experiments.stream_memory import PRESETS, places, ranked
from experiments.tasks import MEMORY

STAGE = PRESETS["long"]["tuning"]


def first_stage(lines: list[str]) -> Results:
    """The runs of the first stage, those of one setting together."""
    found: dict[str, tuple[dict, list]] = {}
    for run in map(json.loads, lines):
        settings, arrays = run["settings"], run["arrays"]
        if settings["arm"] != ["RTU", "RTRL"] or settings["steps"] != STAGE["steps"]:
            continue
        final = np.nan if arrays["final"] is None else arrays["final"]
        _, runs = found.setdefault(json.dumps(settings, sort_keys=True), (settings, []))
        runs.append({"final": np.array(final), "diverged": np.array(arrays["diverged"])})
    return list(found.values())


def table(lines: list[str]) -> str:
    """The ranking as Markdown, the best rule first."""
    tried = first_stage(lines)
    of_tasks = places(tried)
    tasks = [task for task in MEMORY if any(task == config["task"] for config, _ in tried)]
    rows = [f"| rule | {' | '.join(tasks)} | mean | diverged |", f"|{'---|' * (len(tasks) + 3)}"]
    for rule, lambda_, mean in ranked(tried):
        numbers = " | ".join(f"{of_tasks[rule, lambda_][task]:.2f}" for task in tasks)
        diverged = [bool(r["diverged"]) for config, runs in tried if config["rule"] == rule for r in runs]
        rows.append(f"| {rule} | {numbers} | {mean:.2f} | {sum(diverged)} of {len(diverged)} |")
    return "\n".join(rows)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scores", type=Path)
    print(table(parser.parse_args(arguments).scores.read_text(encoding="utf-8").splitlines()))


if __name__ == "__main__":
    main(sys.argv[1:])
