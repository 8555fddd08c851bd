"""Time one learning step on this machine.

    timing = measure(LinearRTU(192), n_inputs=64, dtype="float32")

times TD(lambda) (temporal differences) with a linear readout. Many steps in compiled code (`TDLambda.run`) give the
cost of a step; single steps called from Python (`TDLambda.step`) give the latencies of the slowest ones. The result
also has the operations and bytes of a step (`rtu_np.costs`), to compare with this machine's peaks
(`rtu_np.timing.machine`).

A step takes as long as its slowest resource: if the working set fits no cache, the step waits for memory, however fast
the arithmetic is. `rtu_np.timing.figure` draws the two limits, the *roofline* (Williams et al. 2009).
"""

import gc
import math
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rtu_np.cells.layer import Cell, GradientMethod, check_gradient
from rtu_np.costs import bytes_per_step, flops
from rtu_np.learning.optimizers import SGD, Optimizer
from rtu_np.prediction.td import TDLambda
from rtu_np.progress import progress_bar
from rtu_np.timing.machine import Machine, bandwidth
from rtu_np.timing.report import Timing
from rtu_np.validation import brief, check_count, check_dtype, check_flag

_REPEAT = 0.02  # seconds that one repeat of a compiled run takes at least
_BINS = np.geomspace(1e2, 1e10, 161)  # ns; of the latency histogram
_EVENTS = 0.05  # how often the cumulant is 1


def measure(
    cell: Cell,
    n_inputs: int,
    gradient: GradientMethod | None = None,
    dtype: Any = "float64",
    optimizer: Optimizer | None = None,
    repeats: int = 30,
    calls: int = 20_000,
    compiling: bool = True,
) -> Timing:
    """Time one learning step of `cell`.

    Parameters
    ----------
    cell, n_inputs, gradient, dtype : as in `TDLambda`
    optimizer : SGD(1e-6) by default: so small a step size never diverges
    repeats : number of runs, of at least 20 ms each, for median and percentiles
    calls : number of single steps from Python
    compiling : whether to time compiling too, in two processes with a cache of their own

    Returns
    -------
    Timing : times in nanoseconds

    Raises
    ------
    ValueError, TypeError : by name, for an argument out of its range or of the wrong type

    Examples
    --------
    >>> from rtu_np import LinearRTU
    >>> timing = measure(LinearRTU(8), n_inputs=3, repeats=3, calls=1000, compiling=False)
    >>> timing.allocations_per_step, timing.latency_p50 <= timing.latency_p99 <= timing.latency_max
    (0.0, True)
    """
    check_count("repeats", repeats)
    check_count("calls", calls)
    check_flag("compiling", compiling)
    n_inputs, dtype, gradient = check_count("n_inputs", n_inputs), check_dtype("dtype", dtype), check_gradient(gradient)
    optimizer = SGD(1e-6) if optimizer is None else optimizer
    settings: dict[str, Any] = {"cell": cell, "n_inputs": n_inputs, "gradient": gradient, "dtype": dtype.name}
    settings["optimizer"] = optimizer
    learner = TDLambda(**settings)

    run_ns = _run_ns(learner, repeats)
    latencies, clock = _latencies(learner, calls)
    cold, warm = _compile_seconds(settings) if compiling else (math.nan, math.nan)
    ns = float(np.median(run_ns))
    operations, moved = flops(cell, n_inputs, gradient), bytes_per_step(cell, n_inputs, gradient, dtype)
    p50, p99, p999 = np.percentile(latencies, (50, 99, 99.9))
    edges = _BINS[max(np.searchsorted(_BINS, latencies.min()) - 1, 0) : np.searchsorted(_BINS, latencies.max()) + 1]
    return Timing(
        cell=brief(cell),
        gradient=brief(gradient),
        optimizer=brief(optimizer),
        n_inputs=n_inputs,
        dtype=dtype.name,
        ns_per_step=ns,
        ns_low=float(np.percentile(run_ns, 10)),
        ns_high=float(np.percentile(run_ns, 90)),
        repeats=repeats,
        latency_p50=float(p50),
        latency_p99=float(p99),
        latency_p999=float(p999),
        latency_max=float(latencies.max()),
        calls=calls,
        clock_ns=clock,
        flops=operations,
        bytes=moved,
        gflops=operations / ns,
        gbytes=moved / ns,
        gbytes_reachable=bandwidth(moved // 2, dtype),
        bytes_held=learner.bytes_held,
        bytes_staged=learner.bytes_staged,
        allocations_per_step=_allocations(learner),
        compile_cold_s=cold,
        compile_warm_s=warm,
        histogram=tuple(np.histogram(latencies, edges)[0].tolist()),
        histogram_edges=tuple(edges.tolist()),
    )


# ------------------------------------------------------------------------------------------------------ measuring


def stream(n_steps: int, n_inputs: int, dtype: Any = "float64") -> tuple[np.ndarray, np.ndarray]:
    """(observations, cumulants) with no structure: noise, and rarely a 1."""
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (n_steps, n_inputs)).astype(dtype), (rng.random(n_steps) < _EVENTS).astype(dtype)


def seconds_per_step(learner: TDLambda, n_steps: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds per step of one run of `n_steps` steps, by the `clock`."""
    observations, cumulants = stream(n_steps, learner.n_inputs, learner.dtype)
    began = clock()
    learner.run(observations, cumulants, progress=False)
    return (clock() - began) / n_steps


def enough_steps(learner: TDLambda, seconds: float = _REPEAT, clock: Callable[[], float] = time.perf_counter) -> int:
    """The number of steps that take `seconds` by the `clock`. A first run compiles, and is not counted."""
    n_steps = 16
    seconds_per_step(learner, n_steps)
    while (each := seconds_per_step(learner, n_steps, clock)) * n_steps < seconds / 4:
        n_steps *= 4
    return max(math.ceil(seconds / each), 1)


def _run_ns(learner: TDLambda, repeats: int) -> np.ndarray:
    n_steps = enough_steps(learner)
    return np.array([seconds_per_step(learner, n_steps) * 1e9 for _ in range(repeats)])


def _latencies(learner: TDLambda, calls: int) -> tuple[np.ndarray, float]:
    """(nanoseconds of each single step, nanoseconds of reading the clock)"""
    observations, cumulants = stream(calls, learner.n_inputs, learner.dtype)
    rows, values = list(observations), cumulants.tolist()
    clock, step = time.perf_counter_ns, learner.step
    times = np.empty(calls, np.int64)
    for k in range(min(calls, 100)):
        step(rows[k], values[k])
    for k in range(calls):
        began = clock()
        step(rows[k], values[k])
        times[k] = clock() - began
    ticks = [clock() for _ in range(1000)]
    return times, float(np.median(np.diff(ticks)))


def _allocations(learner: TDLambda, n_steps: int = 1000) -> float:
    """Memory blocks of Python that a step leaves allocated. Compiled code cannot allocate: see `rtu_np.jit`."""
    x, step = np.zeros(learner.n_inputs, learner.dtype), learner.step
    left, collecting = [], gc.isenabled()
    for _ in range(5):  # the fewest of several counts, since other threads allocate as well
        gc.collect()
        gc.disable()  # blocks that it frees meanwhile would be subtracted
        at_start = sys.getallocatedblocks()
        for _ in range(n_steps):
            step(x, 0.0)
        left.append(sys.getallocatedblocks() - at_start)
        if collecting:
            gc.enable()
    return max(min(left), 0) // 10 * 10 / n_steps  # the loop itself allocates a few


_FIRST_STEP = (
    "import pickle, sys; from rtu_np.timing import first_step; print(first_step(pickle.load(sys.stdin.buffer)))"
)


def first_step(settings: dict[str, Any]) -> float:
    """Seconds of the first step of the learner TDLambda(**settings)."""
    learner = TDLambda(**settings)
    began = time.perf_counter()
    learner.step(np.zeros(learner.n_inputs), 0.0)
    return time.perf_counter() - began


def _compile_seconds(settings: dict[str, Any]) -> tuple[float, float]:
    """Seconds of the first step with an empty cache and with a full one; NaN if the cell is defined in `__main__`."""
    if type(settings["cell"]).__module__ == "__main__":
        return math.nan, math.nan
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", _FIRST_STEP]
        cold, warm = (
            float(
                subprocess.run(
                    command, input=pickle.dumps(settings), env=environment, capture_output=True, check=True
                ).stdout
            )
            for _ in range(2)
        )
    return cold, warm


def measure_all(settings: Sequence[dict[str, Any]], **options: Any) -> tuple[list[Timing], Machine]:
    """(a `measure` of each of `settings`, the machine's peaks), with a progress bar."""
    with progress_bar(len(settings) + 1, unit="measurement") as bar:
        timings = []
        for each in settings:
            bar.set_postfix_str(f"{type(each['cell']).__name__}, {each.get('dtype', 'float64')}")
            timings.append(measure(**each, **options))
            bar.update()
        bar.set_postfix_str("the machine")
        machine = Machine.measure()
        bar.update()
    return timings, machine
