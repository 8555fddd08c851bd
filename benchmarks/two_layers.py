"""Speed of exact real-time recurrent learning (RTRL) of two layers of recurrent trace units (RTUs).

    python benchmarks/two_layers.py

TD(lambda) (temporal differences) with `Stack([LinearRTU(n), LinearRTU(n)])`, tanh, linear readout and SGD: microseconds
per step with RTRL(exact=True), beside yardstick_two_layers.c, which does the same step, beside layer-local RTRL, beside
nonlinear units, and beside RTRL(dense=True), the exact gradient of any layers. All but the last take turns in rounds:
each time is the shortest, and each ratio the median of ratios within rounds. Times are the processor's, so that what
else runs counts through the caches alone. Operations and bytes are those of `flops` and `bytes_per_step`. Prints
Markdown, and writes JSON. Takes about three minutes. `--write` puts the tables of a JSON on the page docs/speed.md.
"""

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from speed import c_program, collect, compiled_c, markdown, ours, race

from experiments.engine import marks, results
from rtu_np import RTRL, SGD, LinearRTU, NonlinearRTU, Stack, TDLambda, bytes_per_step, files, flops
from rtu_np.timing import stream
from rtu_np.timing.machine import Machine
from rtu_np.validation import DTYPES

YARDSTICK = "yardstick_two_layers.c"
SIZES = [(10, 2), (32, 8), (64, 16), (63, 17)]
DENSE_STEPS = {10: 400, 32: 10, 64: 3, 63: 3}
PAGE = Path(__file__).parent.parent / "docs" / "speed.md"
BEGIN, END = "<!-- two layers: by benchmarks/two_layers.py -->", "<!-- end of two layers -->"


def two(kind: type, n: int) -> Stack:
    return Stack((kind(n), kind(n)))


def dense(n: int, d: int, dtype: str) -> float:
    """Microseconds per step of RTRL(dense=True): the best of three short runs."""
    learner = TDLambda(two(LinearRTU, n), d, optimizer=SGD(1e-6), gradient=RTRL(dense=True), dtype=dtype)
    observations, cumulants = stream(DENSE_STEPS[n], d, learner.dtype)
    learner.run(observations[:1], cumulants[:1], progress=False)

    def seconds() -> float:
        began = time.process_time()
        learner.run(observations, cumulants, progress=False)
        return (time.process_time() - began) / len(observations)

    return 1e6 * min(seconds() for _ in range(3))


def grid(rounds: int, sizes: list[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        programs = compiled_c(Path(folder), YARDSTICK)
        for dtype in DTYPES:
            for n, d in sizes:
                cell, exact = two(LinearRTU, n), RTRL(exact=True)
                contenders = {
                    "ours": ours(cell, d, dtype=dtype, gradient=exact),
                    "nonlinear": ours(two(NonlinearRTU, n), d, dtype=dtype, gradient=exact),
                    "layer-local": ours(cell, d, dtype=dtype),
                }
                if dtype in programs:
                    n_steps = max(20, int(2e7 / flops(cell, d, exact)))
                    contenders["C"] = c_program(programs[dtype], n, d, n_steps)
                times = race(rounds, contenders)
                row = {"dtype": dtype, "n": n, "d": d, "us": times["ours"].min()}
                if "C" in times:
                    row |= {"us in C": times["C"].min(), "ours / C": np.median(times["ours"] / times["C"])}
                row["nonlinear / linear"] = np.median(times["nonlinear"] / times["ours"])
                row["exact / layer-local"] = np.median(times["ours"] / times["layer-local"])
                row["ms, dense"] = dense(n, d, dtype) / 1000
                row["dense / exact"] = 1000 * row["ms, dense"] / row["us"]
                row["kflop"] = flops(cell, d, exact) / 1000
                yield row | {"kB": bytes_per_step(cell, d, exact, dtype) / 1000}


def write(page: dict[str, Any]) -> None:
    """Put the table between the two comments of docs/speed.md."""
    table = f"\n```sh\n{page['command']}\n```\n\n{markdown(page['two layers'])}\n"
    with files.replacing(PAGE) as part:
        part.write_text(marks.replaced(PAGE.read_text(), BEGIN, END, table))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="rounds in which all contenders take turns")
    parser.add_argument("--sizes", type=int, default=len(SIZES), help="number of sizes, from the smallest")
    parser.add_argument("--output", type=Path, default=Path("runs/two-layers.json"), help="the JSON file to write")
    parser.add_argument("--write", type=Path, metavar="JSON", help="measure nothing; write docs/speed.md from JSON")
    arguments = parser.parse_args()
    if arguments.write is not None:
        write(json.loads(arguments.write.read_text()))
        return 0
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    if hasattr(os, "sched_getaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    machine = Machine.measure()
    print(machine)
    page: dict[str, Any] = {"command": shlex.join(["python", "benchmarks/two_layers.py", *sys.argv[1:]])}
    page["machine"] = asdict(machine)
    page["two layers"] = collect(grid(arguments.rounds, SIZES[: arguments.sizes]), "Exact RTRL of two layers")
    results.write(arguments.output, page)
    print(f"\n{arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
