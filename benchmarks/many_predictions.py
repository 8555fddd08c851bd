"""Speed of a step of many predictions on one body, beside C and beside a step of one prediction.

    python benchmarks/many_predictions.py

100 predictions on 64 linear recurrent trace units (RTUs) with 16 inputs, exact real-time recurrent learning (RTRL):
microseconds per step of each choice of `body`, and its ratio to `TDLambda` with one prediction. Predictions have four
discounts, 25 each. "traces" is also compared with yardstick_many.c, if there is a C compiler. Each time is the shortest
of several runs, and of the processor alone; each ratio is the median of ratios of successive runs. Takes about two
minutes. Prints Markdown, and writes JSON.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from speed import collect, compiled_c, race

from experiments.engine import results
from rtu_np import SGD, Adam, LinearRTU, TDLambda
from rtu_np.timing import stream
from rtu_np.timing.machine import Machine

N, D, M, STEPS = 64, 16, 100, 2000
YARDSTICK = "yardstick_many.c"
DISCOUNTS = np.repeat([0.5, 0.8, 0.95, 0.99], M // 4)
OPTIMIZERS = {"SGD": SGD(1e-6), "Adam": Adam(1e-6)}


def ours(dtype: str, optimizer: str, **settings: Any) -> Any:
    """A function that returns the seconds per step of `TDLambda.run`."""
    learner = TDLambda(LinearRTU(N), D, optimizer=OPTIMIZERS[optimizer], dtype=dtype, **settings)
    observations, one = stream(STEPS, D, learner.dtype)
    many = np.ndim(settings.get("gamma", 0.9)) > 0
    draws = np.random.default_rng(0).random((STEPS, M)) < 0.05
    cumulants = draws.astype(learner.dtype) if many else one
    learner.run(observations, cumulants, progress=False)

    def seconds() -> float:
        began = time.process_time()
        learner.run(observations, cumulants, progress=False)
        return (time.process_time() - began) / STEPS

    return lambda: min(seconds() for _ in range(5))


def in_c(program: Path) -> Callable[[], float]:
    """A function that returns the seconds per step of a C program."""
    command = [str(program), *map(str, (N, D, STEPS, M))]
    return lambda: float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1e6


def choices(rounds: int, dtype: str, optimizer: str, programs: dict[str, Path]) -> Iterator[dict[str, Any]]:
    """One prediction, and many with each choice of the body."""
    settings: dict[str, Any] = {"one prediction": {"gamma": 0.9}}
    for body in ("traces", "lambda0", "frozen"):
        settings[body] = {"gamma": DISCOUNTS, "body": body}
    settings["shared"] = {"gamma": np.full(M, 0.9), "body": "shared"}
    contenders = {name: ours(dtype, optimizer, **each) for name, each in settings.items()}
    if optimizer == "SGD" and dtype in programs:
        contenders["C, traces"] = in_c(programs[dtype])
    times = race(rounds, contenders)
    for name, each in times.items():
        row = {"optimiser": optimizer, "dtype": dtype, "what": name, "us": each.min()}
        row["ratio to one"] = np.median(each / times["one prediction"])
        if name == "traces" and "C, traces" in times:
            row["ratio to C"] = np.median(each / times["C, traces"])
        yield row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="rounds in which all contenders take turns")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/many-predictions.json"), help="the JSON file to write"
    )
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    if hasattr(os, "sched_getaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    machine = Machine.measure()
    print(machine)
    page: dict[str, Any] = {"command": shlex.join(["python", "benchmarks/many_predictions.py", *sys.argv[1:]])}
    page["machine"] = asdict(machine)
    with tempfile.TemporaryDirectory() as folder:
        programs = compiled_c(Path(folder), YARDSTICK)
        for optimizer, dtype in (("SGD", "float32"), ("SGD", "float64"), ("Adam", "float32")):
            title = f"{M} predictions on {N} units, {D} inputs: {optimizer}, {dtype}"
            page[f"{optimizer}, {dtype}"] = collect(choices(arguments.rounds, dtype, optimizer, programs), title)
    results.write(arguments.output, page)
    print(f"\n{arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
