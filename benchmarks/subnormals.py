"""Subnormal numbers: how many there are, and what they cost, with and without the switch of rtu_np/subnormals.py.

    python benchmarks/subnormals.py

First T-BPTT(T), truncated backpropagation through time, on a random stream, in float32: how many numbers of the way
back through the window are subnormal, in NumPy, and the time per step. Then learners that get zeros: how many of the
numbers that they hold are subnormal after 5,000 steps, and the time per step.

Learners without the switch are compiled here, into a cache folder of their own. Both kinds take turns on one core, and
a ratio is the median of the ratios of runs that followed one another. Times are the best of these runs, in
microseconds. Prints Markdown, and writes JSON. Takes about four minutes.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import speed

from experiments.engine import results
from rtu_np import GRU, LRU, SGD, TBPTT, Adam, LinearRTU, NonlinearRTU, TDLambda, jit, protocol, subnormals
from rtu_np.numerics.buffers import allocate, leaves, rebuild, size
from rtu_np.timing.machine import Machine

N, D, DTYPE = 32, 8, "float32"
WINDOWS = [4, 8, 16, 32, 64, 128, 256]
STRAIGHT = 32  # windows up to here give the straight line
CELLS = [LinearRTU(N), LRU(N), GRU(N)]
FED_ZEROS = {
    "LinearRTU, SGD": (LinearRTU(N), SGD(1e-6)),
    "LinearRTU, Adam": (LinearRTU(N), Adam(1e-6)),
    "NonlinearRTU, SGD": (NonlinearRTU(N), SGD(1e-6)),
    "LRU, SGD": (LRU(N), SGD(1e-6)),
}
ZEROS = 5000


_compiled_without: dict[Any, Any] = {}


@contextmanager
def without_switch() -> Iterator[None]:
    """Learners that are made and first used in this context are compiled without the switch."""
    folder, flush_in, compiled = os.environ.get("NUMBA_CACHE_DIR"), subnormals.flush_in, dict(jit._compiled_for)
    jit._compiled_for.clear()
    jit._compiled_for.update(_compiled_without)
    with tempfile.TemporaryDirectory() as apart:
        os.environ["NUMBA_CACHE_DIR"], subnormals.flush_in = apart, lambda wrapper: None
        try:
            yield
        finally:
            subnormals.flush_in = flush_in
            _compiled_without.update(jit._compiled_for)
            jit._compiled_for.clear()
            jit._compiled_for.update(compiled)
            os.environ.pop("NUMBA_CACHE_DIR")
            if folder is not None:
                os.environ["NUMBA_CACHE_DIR"] = folder


def subnormal(array: np.ndarray) -> int:
    return int(((np.abs(array) < np.finfo(array.dtype).tiny) & (array != 0)).sum())


def share_on_the_way_back(cell: Any, T: int) -> float:
    """Of the numbers that reverse mode makes in a window, dL/dstate and gradients: the share that is subnormal."""
    spec, rng = cell.spec(D), np.random.default_rng(0)
    params, _ = protocol.parameters(spec, allocate(size(protocol.parameters, spec), DTYPE))
    cell.initialise(params, rng)
    state, _ = protocol.state(spec, allocate(size(protocol.state, spec), DTYPE))
    steps = []
    for x in rng.standard_normal((T, D)).astype(DTYPE):
        before, (state, y) = state, protocol.plain_forward(spec, params, state, x)
        steps.append((before, x, state))
    dy, dstate = np.ones_like(y), rebuild(state, map(np.zeros_like, leaves(state).values()))
    found = counted = 0
    for before, x, after in reversed(steps):
        dstate, gradient, _ = protocol.plain_backward(spec, params, before, x, after, dy, dstate)
        dy = np.zeros_like(dy)
        for array in (*leaves(dstate).values(), *leaves(gradient).values()):
            found, counted = found + subnormal(array), counted + array.size
    return found / counted


def both(cell: Any, optimizer: Any, gradient: Any, observations: np.ndarray) -> dict[str, TDLambda]:
    """A learner with the switch and one without, after a stream."""
    made = {}

    def make(name: str) -> None:
        made[name] = TDLambda(cell, D, 0.9, 0.9, optimizer, gradient, seed=0, dtype=DTYPE)
        made[name].run(observations, np.zeros(len(observations)), progress=False)

    make("with")
    with without_switch():
        make("without")
    return made


def race(rounds: int, learners: dict[str, TDLambda], observations: np.ndarray) -> dict[str, np.ndarray]:
    """Runs last about a millisecond, so that the best of them has the core for itself."""
    cumulants = np.zeros(len(observations))

    def contender(learner: TDLambda) -> Any:
        def seconds() -> float:
            began = time.perf_counter()
            learner.run(observations, cumulants, progress=False)
            return (time.perf_counter() - began) / len(observations)

        return lambda: min(seconds() for _ in range(5))

    return speed.race(rounds, {name: contender(learner) for name, learner in learners.items()})


def windows(rounds: int) -> Iterator[dict[str, Any]]:
    """T-BPTT of each cell. `to the line`: the time over that of the straight line through windows up to 32 steps."""
    for cell in CELLS:
        best: dict[str, list[float]] = {"with": [], "without": []}
        rows = []
        for T in WINDOWS:
            stream = np.random.default_rng(0).standard_normal((2 * T + 3200 // T, D)).astype(DTYPE)
            learners = both(cell, SGD(1e-6), TBPTT(T), stream)
            times = race(rounds, learners, stream[2 * T :])
            for name, each in times.items():
                best[name].append(float(each.min()))
            ratio = float(np.median(times["without"] / times["with"]))
            share = 100 * share_on_the_way_back(cell, T)
            rows.append({"cell": type(cell).__name__, "T": T, "subnormal, %": share, "ratio": ratio})
        straight = WINDOWS.index(STRAIGHT) + 1
        for name, each in best.items():
            slope, start = np.polyfit(WINDOWS[:straight], each[:straight], 1)
            for row, T, us in zip(rows, WINDOWS, each, strict=True):
                row |= {f"us {name}": us, f"to the line, {name}": us / (slope * T + start)}
        yield from rows


def fed_zeros(rounds: int) -> Iterator[dict[str, Any]]:
    for name, (cell, optimizer) in FED_ZEROS.items():
        rng = np.random.default_rng(0)
        stream = np.concatenate([rng.standard_normal((100, D)), np.zeros((ZEROS, D))]).astype(DTYPE)
        learners = both(cell, optimizer, None, stream)
        arrays = {
            kind: [a for a in learner._arrays().values() if a.dtype == DTYPE] for kind, learner in learners.items()
        }
        counts = {kind: sum(map(subnormal, held)) for kind, held in arrays.items()}
        times = race(rounds, learners, np.zeros((2000, D), DTYPE))
        row: dict[str, Any] = {"learner": name, "numbers": sum(a.size for a in arrays["with"])}
        row |= {f"subnormal, {kind}": count for kind, count in counts.items()}
        row |= {f"us {kind}": each.min() for kind, each in times.items()}
        yield row | {"ratio": np.median(times["without"] / times["with"])}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="rounds in which both take turns")
    parser.add_argument("--output", type=Path, default=Path("runs/subnormals.json"), help="the JSON file to write")
    arguments = parser.parse_args()
    if not jit.FLUSHES:
        parser.error("there is no switch here: expected an x86-64 processor, compiling, and no RTU_NP_PLAIN_NUMBA")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    machine = Machine.measure()
    print(machine)
    page: dict[str, Any] = {"command": "python benchmarks/subnormals.py", "machine": asdict(machine)}
    page["windows"] = speed.collect(windows(arguments.rounds), "T-BPTT(T), 32 units, 8 inputs, float32")
    page["fed zeros"] = speed.collect(fed_zeros(arguments.rounds), f"After {ZEROS} steps of zeros, float32")
    results.write(arguments.output, page)
    print(f"\n{arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
