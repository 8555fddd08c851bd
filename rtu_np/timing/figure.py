"""Figures of timings: the roofline, and the latencies of single steps. Imported only when a figure is drawn."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rtu_np.timing.machine import Machine

if TYPE_CHECKING:
    from rtu_np.timing.report import Timing

# Readable in grey, too: timings differ in lightness (after Okabe & Ito 2008), in marker, and in dash.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000")
_MARKERS = ("o", "s", "^", "D", "v")
_DASHES = ("-", "--", "-.", ":")
_GREY = "0.45"


def save(timings: Sequence["Timing"], machine: Machine, path: Path) -> None:
    """Draw both panels side by side into the file `path`."""
    style: Any = {"font.size": 9, "xtick.labelsize": 8, "ytick.labelsize": 8}
    with mpl.rc_context({**style, "axes.spines.top": False, "axes.spines.right": False}):
        # 7.3 inches are 700 pixels of a page, so a point of the text is a point there.
        figure = Figure(figsize=(7.3, 3.4 + 0.15 * len(timings)), dpi=160, layout="constrained")
        left, right = figure.subplots(1, 2)
        roofline(left, timings, machine)
        latency(right, timings)
        handles = [Line2D([], [], label=_sentence(t), **style) for t, style in _styled(timings)]
        figure.legend(handles=handles, loc="outside lower center", frameon=False, fontsize=7, handlelength=3)
        figure.savefig(path)


def _styled(timings: Sequence["Timing"]) -> Iterator[tuple["Timing", dict[str, Any]]]:
    """Each timing with its colour, marker and dash."""
    for t, colour, marker, dash in zip(timings, cycle(_COLOURS), cycle(_MARKERS), cycle(_DASHES), strict=False):
        yield t, {"color": colour, "marker": marker, "linestyle": dash}


def _sentence(t: "Timing") -> str:
    median, p50, p999 = (f"{ns / 1e3:.2f}" for ns in (t.ns_per_step, t.latency_p50, t.latency_p999))
    return f"{t.label}: {median} us per step; from Python {p50} (p50), {p999} (p99.9)"


def roofline(axes: Axes, timings: Sequence["Timing"], machine: Machine) -> None:
    """Speed against operations per byte, below the limits of this machine's memory and arithmetic."""
    intensity = [t.flops / t.bytes for t in timings]
    x = np.geomspace(min(*intensity, 0.1) / 2, max(*intensity, 1) * 8, 200)
    peak = max(machine.gflops.values())
    for (size, gbytes), dash in zip(machine.gbytes.items(), _DASHES, strict=False):
        limit, text = np.minimum(gbytes * x, peak), f"{size}: {gbytes:.0f} GB/s"
        axes.plot(x, limit, color=_GREY, linewidth=0.8, linestyle=dash, label=text)
    for dtype, gflops in machine.gflops.items():
        axes.axhline(gflops, color=_GREY, linestyle=":", linewidth=1)
        axes.text(x[0], gflops, f"{dtype}: {gflops:.0f} GFLOP/s", color=_GREY, fontsize=7.5, va="bottom")
    axes.legend(loc="lower right", frameon=False, fontsize=7.5)
    for (t, style), x_t in zip(_styled(timings), intensity, strict=True):
        axes.plot(x_t, t.gflops, markersize=7, markeredgecolor="white", **style)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="GFLOP/s, one core")
    axes.set_title("Speed, and the limits of this machine", loc="left", fontsize=9)


def latency(axes: Axes, timings: Sequence["Timing"]) -> None:
    """Histogram of the times of single steps from Python, in microseconds."""
    for t, style in _styled(timings):
        edges = np.array(t.histogram_edges) / 1e3
        axes.stairs(
            np.array(t.histogram) / t.calls, edges, color=style["color"], linestyle=style["linestyle"], linewidth=1.2
        )
    axes.set(xscale="log", yscale="log", xlabel="us per call of step()", ylabel="share of calls per bin")
    axes.set_title("Single steps from Python: their latencies", loc="left", fontsize=9)
