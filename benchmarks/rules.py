"""The time of a learning step by step-size rule, relative to ObGD.

    python benchmarks/rules.py --rounds 200 --json docs/results/rules/timing.json

`TDLambda(LinearRTU(n), d, dtype="float32")` learns from a stream for about a millisecond; the rules take turns, and
the shortest of the runs counts. Prints Markdown: numbers for each weight beside the parameter and its trace,
microseconds and ratios. Takes about two minutes.
"""

import argparse
import shlex
import sys
import time
from pathlib import Path

import numpy as np

from experiments.engine import results
from experiments.engine.layouts import as_rows
from rtu_np import (
    SGD,
    TIDBD,
    Adam,
    Adaptive,
    AdaptiveObGD,
    Autostep,
    Blocks,
    Intentional,
    LinearRTU,
    ObGD,
    RMSProp,
    SwiftTD,
    TDLambda,
)
from rtu_np.learning.optimizers import Optimizer

MULTIPLY_ADDS = 2e6  # of the inputs' weights in one run: about a millisecond, so that few runs are interrupted
# Steps so small that no phase runs round: a wrap every few steps would be timed, too.
RULES: dict[str, Optimizer] = {
    "ObGD": ObGD(),
    "SGD": SGD(1e-6),
    "Adam": Adam(1e-5),
    "RMSProp": RMSProp(1e-5),
    "AdaptiveObGD": AdaptiveObGD(),
    "Adaptive": Adaptive(1e-5),
    "Intentional": Intentional(0.01),
    "TIDBD": TIDBD(1e-6, meta_step=1e-6),
    "Autostep": Autostep(1e-6, meta_step=1e-6),
    "ObGD and SwiftTD": Blocks(cell=ObGD(), readout=SwiftTD()),
    "ObGD for each block": Blocks.of_shares(ObGD(), cell=0.5, readout=0.5),
}


def times(n: int, d: int, rounds: int) -> dict[str, tuple[float, float]]:
    """{rule: (microseconds per step, numbers for each weight)}"""
    rng = np.random.default_rng(0)
    steps = int(MULTIPLY_ADDS / (n * d))
    x = rng.standard_normal((steps, d), np.float32)
    c = x[:, 0].copy()
    learners = {name: TDLambda(LinearRTU(n), d, optimizer=rule, dtype="float32") for name, rule in RULES.items()}
    shortest = dict.fromkeys(learners, np.inf)
    for _ in range(rounds + 1):  # the first compiles
        for name, learner in learners.items():
            start = time.perf_counter()
            learner.run(x, c, progress=False)
            shortest[name] = min(shortest[name], time.perf_counter() - start)
    return {
        name: (1e6 * shortest[name] / steps, learner._views.moments.size / learner._views.flat_params.size)
        for name, learner in learners.items()
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["64x32", "192x64"], help="units x inputs")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path, help="also write the numbers into this file")
    given = parser.parse_args(arguments)
    scores: dict[str, dict[str, float]] = {name: {} for name in RULES}
    for size in given.sizes:
        found, head = times(*map(int, size.split("x")), given.rounds), size.replace("x", " x ")
        for name, (microseconds, numbers) in found.items():
            scores[name] |= {"numbers": numbers, f"{head}: us": microseconds}
            scores[name][f"{head}: ratio"] = microseconds / found["ObGD"][0]
    columns = {name: name for name in scores["ObGD"]}
    print(as_rows(scores, columns, corner="rule"))
    if given.json:
        command = shlex.join(["python", "benchmarks/rules.py", *arguments])
        results.write(given.json, {"command": command, **results.circumstances(), "scores": scores})


if __name__ == "__main__":
    main(sys.argv[1:])
