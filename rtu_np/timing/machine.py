"""This machine, and the measured peaks of one of its cores.

Two peaks bound a step. Operations per second are measured by a loop that only multiplies and adds in registers; bytes
per second by a loop that reads and writes each number of an array once. The second depends on which cache the array
fits, so it is measured for several sizes.
"""

import math
import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from rtu_np.jit import njit
from rtu_np.numerics.buffers import allocate
from rtu_np.validation import DTYPES

SIZES = {"256 kB": 1 << 18, "256 MB": 1 << 28}  # fits a core's cache; far larger than any cache
_CHAIN = 8  # dependent multiply-adds on each number: enough to outweigh its load and store, few enough to overlap
_BEST_OF = 7


@dataclass(frozen=True)
class Machine:
    """One core of this machine: GFLOP/s by precision, GB/s by size of the array; with the processor and versions."""

    gflops: dict[str, float]
    gbytes: dict[str, float]
    processor: str
    cores: int
    versions: dict[str, str]

    @classmethod
    def measure(cls) -> "Machine":
        versions = {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "numba")}}
        return cls(
            gflops={dtype: _peak(dtype) for dtype in DTYPES},
            gbytes={name: bandwidth(size) for name, size in SIZES.items()},
            processor=processor(),
            cores=os.cpu_count() or 1,
            versions=versions,
        )

    def __str__(self) -> str:
        flops = ", ".join(f"{value:.0f} GFLOP/s in {dtype}" for dtype, value in self.gflops.items())
        read = ", ".join(f"{value:.0f} GB/s at {size}" for size, value in self.gbytes.items())
        software = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return f"{self.processor}, {self.cores} cores; one core: {flops}; {read}; {software}"


def processor() -> str:
    """The processor's name, as reported by the system."""
    page = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in page.read_text().splitlines() if line.startswith("model name")]
        if page.exists()
        else []
    )
    return (names or [platform.processor() or platform.machine()])[0]


def bandwidth(n_bytes: int, dtype: Any = "float64") -> float:
    """GB/s of reading and writing an array of `n_bytes`, so twice that many bytes are moved."""
    x = allocate(max(n_bytes // np.dtype(dtype).itemsize, 1), dtype)
    passes = max(1, math.ceil(2e6 / x.nbytes))  # about a tenth of a millisecond or more
    return 2 * x.nbytes * passes / _best(_pass, x, passes) / 1e9


def _peak(dtype: Any) -> float:
    x = allocate(1024, dtype)
    passes = 50
    return 2 * _CHAIN * x.size * passes / _best(_multiply_and_add, x, passes) / 1e9


def _best(function: Any, x: np.ndarray, passes: int) -> float:
    """Seconds of the fastest of several runs."""
    function(x, passes)
    times = []
    for _ in range(_BEST_OF):
        began = time.perf_counter()
        function(x, passes)
        times.append(time.perf_counter() - began)
    return min(times)


@njit
def _pass(x, passes):
    real = x.dtype.type
    a, b = real(0.5), real(0.25)
    for _ in range(passes):
        for k in range(x.shape[0]):
            x[k] = a * x[k] + b


@njit
def _multiply_and_add(x, passes):
    real = x.dtype.type
    a, b = real(0.5), real(0.25)
    for _ in range(passes):
        for k in range(x.shape[0]):
            value = x[k]
            for _ in range(_CHAIN):
                value = a * value + b
            x[k] = value
