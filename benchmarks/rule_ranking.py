"""Which step-size rule learns memory tasks best, from the committed scores of `stream-memory`.

    python benchmarks/rule_ranking.py docs/results/stream-memory/long.scores.jsonl

A row for each rule: for each task the best mean return over step sizes and trace parameters, as a place between the
best return without memory, 0, and that of a perfect memory, 1 (seeds 1000 and 1001, 100,000 steps, RTUs with RTRL);
the mean over tasks; and how many of its runs diverged. Prints Markdown.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from experiments.stream_memory import PRESETS, RULES, TASKS, place

STAGE = PRESETS["long"]["tuning"]


def places(lines: list[str]) -> tuple[dict[tuple[str, str], float], dict[str, tuple[int, int]]]:
    """({(rule, task): best place}, {rule: (diverged runs, runs)}) of the first stage."""
    finals: dict[tuple, list[float]] = defaultdict(list)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for run in map(json.loads, lines):
        settings, arrays = run["settings"], run["arrays"]
        if settings["arm"] != ["RTU", "RTRL"] or settings["steps"] != STAGE["steps"]:
            continue
        diverged, final = arrays["diverged"], arrays["final"]
        counts[settings["rule"]][0] += bool(diverged)
        counts[settings["rule"]][1] += 1
        value = -1.0 if diverged or final is None else place(settings, final)
        key = settings["rule"], settings["task"], settings["size"], settings["parts"]["lambda_"]
        finals[key].append(value)
    best: dict[tuple[str, str], float] = {}
    for (rule, task, *_), values in finals.items():
        best[rule, task] = max(best.get((rule, task), -np.inf), float(np.mean(values)))
    return best, {rule: (bad, n) for rule, (bad, n) in counts.items()}


def table(lines: list[str]) -> str:
    """The ranking as Markdown, the best rule first."""
    best, counts = places(lines)
    tasks = [task for task in TASKS if any(key[1] == task for key in best)]
    means = {
        rule: float(np.mean([best[rule, task] for task in tasks]))
        for rule in RULES
        if all((rule, task) in best for task in tasks)
    }
    rows = [f"| rule | {' | '.join(tasks)} | mean | diverged |", f"|{'---|' * (len(tasks) + 3)}"]
    for rule in sorted(means, key=lambda rule: -means[rule]):
        numbers = " | ".join(f"{best[rule, task]:.2f}" for task in tasks)
        rows.append(f"| {rule} | {numbers} | {means[rule]:.2f} | {counts[rule][0]} of {counts[rule][1]} |")
    return "\n".join(rows)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scores", type=Path)
    print(table(parser.parse_args(arguments).scores.read_text(encoding="utf-8").splitlines()))


if __name__ == "__main__":
    main(sys.argv[1:])
