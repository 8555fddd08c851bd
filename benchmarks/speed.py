"""Speed of a learning step: compared with C, JAX and PyTorch, for several optimisers and sizes, all in one run.

    python benchmarks/speed.py

TD(lambda) (temporal differences) with a linear recurrent trace unit (RTU), exact real-time recurrent learning (RTRL),
tanh, linear readout and SGD, unless a table has another of these, on one core. Each time is the shortest of several
runs. Each ratio is the median of ratios of successive runs, since machines are noisy. Times of ours and of C are the
processor's, so that what else runs there counts through the caches alone. yardstick.c and its like are compiled if
there is a C compiler; JAX and PyTorch are timed if installed (`pip install jax torch`). Prints Markdown, and writes
JSON. Takes about six minutes; `--tables` measures some of it, for example `--tables MinGRU`.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import peers
from tqdm import tqdm

from experiments.engine import results
from rtu_np import ELSTM, SGD, Adam, GatedRTU, LinearRTU, MinGRU, NonlinearRTU, ObGD, RMSProp, TDLambda, run_many
from rtu_np.timing import enough_steps, measure, seconds_per_step, stream
from rtu_np.timing.machine import Machine
from rtu_np.validation import DTYPES

SIZES = [(10, 2), (32, 8), (64, 32), (192, 64), (512, 128)]
MIDDLE = (192, 64)
SMALL = (10, 2)
OPTIMIZERS = {"SGD": SGD(1e-6), "ObGD": ObGD(), "Adam": Adam(1e-6), "RMSProp": RMSProp(1e-6)}
REMAINDERS = [(8, 16), (10, 16), (15, 16), (17, 32), (31, 32)]  # units, and the next whole number of vectors
WINDOWS = [1, 10]
LEARNERS = 8
YARDSTICKS: dict[type, str] = {
    LinearRTU: "yardstick.c",
    MinGRU: "yardstick_min_gru.c",
    ELSTM: "yardstick_elstm.c",
    GatedRTU: "yardstick_gated_rtu.c",
}
C_FLAGS = ["-O3", "-march=native", "-ffast-math"]


def race(rounds: int, contenders: dict[Any, Any]) -> dict[Any, np.ndarray]:
    """{name: (rounds,) microseconds per step}. Contenders return their seconds per step, and take turns in a round."""
    times = {name: np.empty(rounds) for name in contenders}
    for k in range(rounds):
        for name, contender in contenders.items():
            times[name][k] = contender() * 1e6
    return times


def ours(cell: Any, d: int, **settings: Any) -> Any:
    """A function that returns the seconds per step of `TDLambda.run`: the processor's, as in C."""
    learner = TDLambda(cell, d, **{"optimizer": SGD(1e-6), **settings})
    n_steps = enough_steps(learner, clock=time.process_time)
    return lambda: min(seconds_per_step(learner, n_steps, time.process_time) for _ in range(5))


def yardsticks(folder: Path, cell: type = LinearRTU) -> dict[str, Path]:
    """{dtype: the compiled C program} of a cell's step; empty without a C compiler."""
    return compiled_c(folder, YARDSTICKS[cell])


def compiled_c(folder: Path, name: str) -> dict[str, Path]:
    """{dtype: the compiled C program} of the file `name`; empty without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return {}
    source, programs = Path(__file__).parent / name, {}
    for dtype, real in (("float64", "double"), ("float32", "float")):
        programs[dtype] = folder / real
        command = [compiler, *C_FLAGS, f"-DREAL={real}", str(source), "-o", str(programs[dtype]), "-lm"]
        subprocess.run(command, check=True)
    return programs


def c_program(path: Path, n: int, d: int, n_steps: int) -> Any:
    command = [str(path), str(n), str(d), str(n_steps)]
    return lambda: float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1e6


def grid(
    rounds: int, sizes: list[tuple[int, int]], cell: type = LinearRTU, other: type = NonlinearRTU, names: str = ""
) -> Iterator[dict[str, Any]]:
    """A cell of ours and C, and another cell of ours and this one."""
    with tempfile.TemporaryDirectory() as folder:
        programs = yardsticks(Path(folder), cell)
        for dtype in DTYPES:
            for n, d in sizes:
                contenders = {"ours": ours(cell(n), d, dtype=dtype), "other": ours(other(n), d, dtype=dtype)}
                if dtype in programs:
                    probe = TDLambda(cell(n), d, optimizer=SGD(1e-6), dtype=dtype)
                    n_steps = enough_steps(probe, clock=time.process_time)
                    contenders["C"] = c_program(programs[dtype], n, d, n_steps)
                times = race(rounds, contenders)
                row = {"dtype": dtype, "n": n, "d": d, "us": times["ours"].min()}
                if "C" in times:
                    row |= {"us in C": times["C"].min(), "ours / C": np.median(times["ours"] / times["C"])}
                yield row | {names or "nonlinear / linear": np.median(times["other"] / times["ours"])}


def remainders(rounds: int) -> Iterator[dict[str, Any]]:
    """Numbers of units that are no multiple of 16, against the next that is one."""
    for dtype in DTYPES:
        for n, whole in REMAINDERS:
            for d in (2, 8):
                kinds = (LinearRTU, NonlinearRTU)
                contenders = {(kind, k): ours(kind(k), d, dtype=dtype) for kind in kinds for k in (n, whole)}
                times = race(rounds, contenders)
                row = {"dtype": dtype, "n": n, "d": d, "us": times[LinearRTU, n].min(), "against": whole}
                for kind, name in zip(kinds, ("linear", "nonlinear"), strict=True):
                    row[f"ratio, {name}"] = np.median(times[kind, n] / times[kind, whole])
                yield row


def exponent(rows: list[dict[str, Any]], dtype: str) -> float:
    """The exponent of the time per step as a power of n d, fitted from 64 x 32 on."""
    large = [row for row in rows if row["dtype"] == dtype and row["n"] >= 64]
    return float(np.polyfit(np.log([r["n"] * r["d"] for r in large]), np.log([r["us"] for r in large]), 1)[0])


def optimizers(rounds: int) -> Iterator[dict[str, Any]]:
    n, d = MIDDLE
    for dtype in DTYPES:
        times = race(
            rounds, {name: ours(LinearRTU(n), d, dtype=dtype, optimizer=each) for name, each in OPTIMIZERS.items()}
        )
        for name in OPTIMIZERS:
            ratio = np.median(times[name] / times["SGD"])
            yield {"optimiser": name, "dtype": dtype, "us": times[name].min(), "ratio to SGD": ratio}


def called(cell: Any, d: int, **settings: Any) -> Any:
    """A function that returns the seconds per step of steps called from Python."""
    learner = TDLambda(cell, d, **{"optimizer": SGD(1e-6), **settings})
    observations, cumulants = stream(2000, d, learner.dtype)
    rows, values, step = list(observations), cumulants.tolist(), learner.step

    def calls() -> float:
        began = time.process_time()
        for x, c in zip(rows, values, strict=True):
            step(x, c)
        return (time.process_time() - began) / len(rows)

    return lambda: min(calls() for _ in range(5))


def from_python(rounds: int, sizes: list[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Single steps called from Python, and the same steps in compiled code."""
    for dtype in DTYPES:
        for n, d in sizes:
            cell = LinearRTU(n)
            times = race(rounds, {"run": ours(cell, d, dtype=dtype), "step": called(cell, d, dtype=dtype)})
            best = {name: each.min() for name, each in times.items()}
            row = {"dtype": dtype, "n": n, "d": d, "us of run": best["run"], "us of step": best["step"]}
            late = measure(cell, d, dtype=dtype, compiling=False)
            quantiles = {"p99": late.latency_p99 / 1e3, "p99.9": late.latency_p999 / 1e3}
            yield row | {"added": best["step"] - best["run"], **quantiles}


def against_peers(rounds: int) -> Iterator[dict[str, Any]]:
    """JAX, PyTorch and ours. `ratio` is to `run` for a scan over the stream, and to `step` for calls step by step."""
    run, step = "rtu_np, RTU, RTRL, run", "rtu_np, RTU, RTRL, step from Python"
    for n, d in (SMALL, MIDDLE):
        cell = LinearRTU(n)
        mine = {run: ours(cell, d, dtype="float32"), step: called(cell, d, dtype="float32")}
        times = race(rounds, mine | peers.contenders(n, d, WINDOWS))
        for name, each in times.items():
            ratio = np.median(each / times[run if name == run or "scanned" in name else step])
            yield {"n": n, "d": d, "what": name, "us": each.min(), "ratio": ratio}


def threads(rounds: int) -> Iterator[dict[str, Any]]:
    """Several seeds with `run_many`, and one after the other. Not bound to one core."""
    for n, d in SIZES[:4]:
        probe = TDLambda(LinearRTU(n), d, optimizer=SGD(1e-6))
        observations, cumulants = stream(enough_steps(probe, 0.3), d)
        ratios = []
        for _ in range(rounds):
            alone, together = ([TDLambda(LinearRTU(n), d, seed=k) for k in range(LEARNERS)] for _ in range(2))
            began = time.perf_counter()
            for learner in alone:
                learner.run(observations, cumulants, progress=False)
            turn = time.perf_counter()
            run_many(together, observations, cumulants, progress=False)
            ratios.append((turn - began) / (time.perf_counter() - turn))
        row = {"n": n, "d": d, "learners": LEARNERS, "threads": os.cpu_count()}
        yield row | {"times as fast": np.median(ratios), "least": min(ratios), "most": max(ratios)}


def markdown(rows: list[dict[str, Any]]) -> str:
    heads = list(dict.fromkeys(name for row in rows for name in row))

    def form(value: Any) -> str:
        return (
            f"{value:.3g}"
            if isinstance(value, float) and value < 100
            else f"{value:.0f}"
            if isinstance(value, float)
            else f"{value}"
        )

    lines = [heads, ["---"] * len(heads), *([form(row.get(head, "")) for head in heads] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def collect(rows: Iterable[dict[str, Any]], title: str) -> list[dict[str, Any]]:
    """The rows as plain numbers; they are also printed, under `title`."""
    bar = tqdm(rows, desc=title, disable=None, leave=False)
    plain = [{k: float(v) if isinstance(v, np.floating) else v for k, v in row.items()} for row in bar]
    print(f"\n## {title}\n\n{markdown(plain)}", flush=True)
    return plain


# {name in the JSON: (title, rows of (rounds, sizes))}. What needs all cores comes last.
TABLES: dict[str, tuple[str, Callable[[int, list[tuple[int, int]]], Iterable[dict[str, Any]]]]] = {
    "grid": ("Beside C", grid),
    "MinGRU": ("MinGRU beside C", lambda n, sizes: grid(n, sizes, MinGRU, LinearRTU, "linear RTU / MinGRU")),
    "ELSTM": ("ELSTM beside C", lambda n, sizes: grid(n, sizes, ELSTM, LinearRTU, "linear RTU / ELSTM")),
    "GatedRTU": (
        "GatedRTU beside C",
        lambda n, sizes: grid(n, sizes, GatedRTU, NonlinearRTU, "nonlinear RTU / GatedRTU"),
    ),
    "remainders": ("Units that fill no whole vector", lambda n, sizes: remainders(n)),
    "optimizers": (f"Optimisers, {MIDDLE[0]} x {MIDDLE[1]}", lambda n, sizes: optimizers(n)),
    "from Python": ("From Python", from_python),
    "peers": ("Beside JAX and PyTorch, float32", lambda n, sizes: against_peers(n)),
    "threads": ("Many seeds at once", lambda n, sizes: threads(min(n, 7))),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="rounds in which all contenders take turns")
    parser.add_argument("--sizes", type=int, default=len(SIZES), help="number of sizes, from the smallest")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES), help="what is measured")
    parser.add_argument("--output", type=Path, default=Path("runs/speed.json"), help="the JSON file to write")
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)  # an error now costs less than one at the end
    sizes, rounds = SIZES[: arguments.sizes], arguments.rounds
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if cores:
        os.sched_setaffinity(0, {max(cores)})

    machine = Machine.measure()
    print(machine)
    page: dict[str, Any] = {"command": shlex.join(["python", "benchmarks/speed.py", *sys.argv[1:]])}
    page["machine"] = asdict(machine)
    for name in arguments.tables:
        title, rows = TABLES[name]
        if cores and name == "threads":
            os.sched_setaffinity(0, cores)
        page[name] = collect(rows(rounds, sizes), title)
        if name == "grid":
            page["exponents"] = {dtype: exponent(page["grid"], dtype) for dtype in DTYPES} if len(sizes) > 3 else {}
            for dtype, value in page["exponents"].items():
                print(f"\nFrom 64 x 32 on, time grows as (n d)^{value:.2f} in {dtype}.")
    results.write(arguments.output, page)
    print(f"\n{arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
