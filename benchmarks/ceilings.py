"""What the memory tasks pay at most, without memory and with a perfect one: the table of docs/tasks.md.

    python benchmarks/ceilings.py

The arm's rows are means over random episodes with their standard errors (`envs.reacher_plans`), and two integrals.
Prints Markdown, and writes docs/results/ceilings/ceilings.json, which tests compare with the page. Takes half a minute.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from envs import reacher_plans
from envs.ceilings import ceilings
from experiments.engine import results

OUTPUT = Path(__file__).parent.parent / "docs" / "results" / "ceilings" / "ceilings.json"
TASKS: list[tuple[str, dict[str, Any]]] = [
    ("MemoryChain", {"length": 64}),
    ("MemoryChain", {"length": 1, "timing": "bsuite"}),
    ("KMemoryChain", {"length": 16, "k": 8}),
    ("TMaze", {"length": 10}),
    ("TMaze", {"length": 10, "noise": 0.1, "form": "cue"}),
    ("TMaze", {"length": 20, "noise": 0.1, "form": "cue"}),
    ("ReacherPOMDP", {}),
]
ARM = {
    "at rest at the origin, from the first step on": lambda begin: reacher_plans.resting(),
    "never sees the goal": lambda begin: reacher_plans.uninformed(begin).returns,
    "knows the goal": lambda begin: reacher_plans.informed(begin).returns,
    "knows the goal, at most": reacher_plans.bound,
    "always at the reachable point nearest to the goal": lambda begin: reacher_plans.nearest(),
}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--episodes", type=int, default=1000, help="random starts of the arm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    given = parser.parse_args(arguments)
    begin = reacher_plans.starts(given.episodes, given.seed)
    arm = {name: np.atleast_1d(measure(begin)) for name, measure in ARM.items()}
    page: dict[str, Any] = {
        "command": "python benchmarks/ceilings.py",
        "episodes": given.episodes,
        "seed": given.seed,
        "tasks": [[task, settings, *ceilings(task, **settings)] for task, settings in TASKS],
        "arm": {name: [x.mean(), x.std() / np.sqrt(x.size) if x.size > 1 else 0.0] for name, x in arm.items()},
    }
    print("| task | settings | without memory | with perfect memory |\n|---|---|---|---|")
    for task, settings, *found in page["tasks"]:
        words = ", ".join(f"{name} {value}" for name, value in settings.items())
        print(f"| {task} | {words} | {' | '.join(f'{x:.4g}' for x in found)} |")
    print("\n| an arm that | mean return |\n|---|---|")
    for name, (mean, error) in page["arm"].items():
        print(f"| {name} | {mean:.2f}{f' ± {error:.2f}' if error else ''} |")
    results.write(given.output, page)


if __name__ == "__main__":
    main(sys.argv[1:])
