"""Timings as text and as files."""

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rtu_np import files
from rtu_np.timing.machine import Machine


@dataclass(frozen=True)
class Timing:
    """Result of `measure`. Times are in nanoseconds, unless their names say seconds (`_s`)."""

    cell: str
    gradient: str
    optimizer: str
    n_inputs: int
    dtype: str
    ns_per_step: float  # of `run`: the median over `repeats` runs
    ns_low: float  # tenth percentile
    ns_high: float  # ninetieth percentile
    repeats: int
    latency_p50: float  # of `step`, called from Python
    latency_p99: float
    latency_p999: float
    latency_max: float
    calls: int
    clock_ns: float  # of reading the clock; each latency contains it
    flops: int
    bytes: int
    gflops: float  # per second
    gbytes: float  # per second
    gbytes_reachable: float  # per second, of a plain loop over as many bytes
    bytes_held: int  # parameters, traces, moments, memory
    bytes_staged: int  # rows of the stream that compiled code reads
    allocations_per_step: float
    compile_cold_s: float  # of the first step, with an empty cache
    compile_warm_s: float  # of the first step in a new process, with a full cache
    histogram: tuple[int, ...]  # calls by latency
    histogram_edges: tuple[float, ...]

    @property
    def label(self) -> str:
        return f"{self.cell}, n_inputs={self.n_inputs}, {self.gradient}, {self.dtype}"

    def __str__(self) -> str:
        return table([self])


def table(timings: Sequence[Timing], machine: Machine | None = None) -> str:
    """Timings as text, one column each; GFLOP/s also in percent of the peak of `machine`."""

    def us(*ns: float) -> str:
        return " - ".join(f"{value / 1e3:.2f}" for value in ns)

    def part(value: float, whole: float) -> str:
        return f"{value:.1f}" if math.isnan(whole) else f"{value:.1f} ({100 * value / whole:.0f} % of {whole:.0f})"

    def size(n: int) -> str:
        return f"{n / 1e6:.1f} MB" if n >= 1e6 else f"{n / 1e3:.1f} kB"

    def peak(t: Timing) -> float:
        return machine.gflops[t.dtype] if machine else math.nan

    rows: dict[str, Callable[[Timing], str]] = {
        "cell": lambda t: t.cell,
        "inputs": lambda t: str(t.n_inputs),
        "gradient": lambda t: t.gradient,
        "optimiser": lambda t: t.optimizer,
        "precision": lambda t: t.dtype,
        "us per step, median": lambda t: us(t.ns_per_step),
        "  10 - 90 % of runs": lambda t: us(t.ns_low, t.ns_high),
        "us from Python, p50": lambda t: us(t.latency_p50),
        "  p99": lambda t: us(t.latency_p99),
        "  p99.9": lambda t: us(t.latency_p999),
        "  max": lambda t: us(t.latency_max),
        "operations per step": lambda t: f"{t.flops:,}",
        "bytes per step": lambda t: f"{t.bytes:,}",
        "GFLOP/s": lambda t: part(t.gflops, peak(t)),
        "GB/s": lambda t: part(t.gbytes, t.gbytes_reachable),
        "arrays of the learner": lambda t: size(t.bytes_held),
        "  rows of stream": lambda t: size(t.bytes_staged),
        "allocations per step": lambda t: f"{t.allocations_per_step:g}",
    }
    if not any(math.isnan(t.compile_cold_s) for t in timings):
        rows["first step, s, cold"] = lambda t: f"{t.compile_cold_s:.2f}"
        rows["  from the cache"] = lambda t: f"{t.compile_warm_s:.2f}"
    cells = [[name, *(form(t) for t in timings)] for name, form in rows.items()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def save(timings: Sequence[Timing], machine: Machine, folder: Path, command: str) -> list[Path]:
    """Write timing.json (all), timing.csv (a row each, without histograms) and timing.png; returns their paths."""
    from rtu_np.timing import figure

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"timing.{kind}" for kind in ("json", "csv", "png")]
    page = {"command": command, "machine": asdict(machine), "timings": [asdict(t) for t in timings]}
    with files.replacing(paths[0]) as part:
        part.write_text(json.dumps(page, indent=1) + "\n")
    columns = [f.name for f in fields(Timing) if not f.name.startswith("histogram")]
    with files.replacing(paths[1]) as part, part.open("w", newline="") as file:
        rows = csv.DictWriter(file, columns, extrasaction="ignore")
        rows.writeheader()
        rows.writerows(asdict(t) for t in timings)
    with files.replacing(paths[2]) as part:
        figure.save(timings, machine, part)
    return paths
