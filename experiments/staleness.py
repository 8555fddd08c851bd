"""Stale sensitivities: the distance between the gradient that a learner carries and today's gradient.

Real-time recurrent learning (RTRL) is exact for fixed parameters. While parameters change, the sensitivities still have
the contributions of earlier parameters. This experiment compares the learner's gradient of v_t with a recomputed one.
To recompute the gradient, today's parameters replay the whole recent stream. This is beyond the paper: Fig. 18
measures what stale gradients do to proximal policy optimisation, and not how stale they are.

Claim: the two gradients agree closely at the step sizes that learn well. Their angle and their ratio of norms grow with
the step size, and they grow more with a longer memory.

After training, at moments 200 steps apart, the carried gradient of the cell's parameters is taken from the
eligibility traces, as z_t - gamma lambda z_{t-1}, in float64. The replay starts 20,000 steps earlier from zero, with
a learner whose parameters do not move. An input further back has the weight r^20,000. Angle and ratio of norms are
over all parameters of the cell. The table has medians over moments, and means of them over seeds.

Chosen here: trace conditioning; 16 recurrent trace units (RTUs), or a gated recurrent unit (GRU) layer of 4 with dense
RTRL; tanh; phases from (0, 1]; temporal-difference learning, TD(.9); Adam with beta2 .9999.

Minutes on two cores: smoke 0.5, laptop 1, overnight 8 (estimated), paper 24 (estimated).
"""

from typing import Any

import numpy as np

from experiments.engine import plotting
from experiments.engine.curves import Shown, band
from experiments.engine.results import Config, Results
from experiments.stale_gradients import compare, gradients
from rtu_np import GRU, RTRL, LinearRTU, NonlinearRTU, checkpoint
from rtu_np.cells.layer import Cell
from rtu_np.intervals import interval
from rtu_np.plot import curve_style

CELLS: dict[str, Cell] = {
    "linear RTU": LinearRTU(16, "tanh", max_phase=1.0),
    "nonlinear RTU": NonlinearRTU(16, "tanh", max_phase=1.0),
    "linear RTU, r from .9": LinearRTU(16, "tanh", max_phase=1.0, r_min=0.9, r_max=0.999),
    "GRU": GRU(4),
}


def settings(names: list[str], step_sizes: list[float], steps: int) -> list[Config]:
    return [
        {"name": name, "cell": checkpoint.describe(CELLS[name]), "step_size": step_size, "steps": steps}
        for name in names
        for step_size in step_sizes
    ]


STEP_SIZES = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3]
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": settings(["linear RTU"], [1e-4, 1e-3], 2000), "seeds": range(2)},
    "laptop": {"settings": settings(list(CELLS), STEP_SIZES, 200_000), "seeds": range(6)},
    "overnight": {"settings": settings(list(CELLS), STEP_SIZES, 1_000_000), "seeds": range(10)},
    "paper": {"settings": settings(list(CELLS), STEP_SIZES, 1_000_000), "seeds": range(30)},
}


def run(config: Config, seed: int) -> dict[str, np.ndarray]:
    """Angle in degrees, and norm of the carried gradient divided by that of the recomputed one, at each moment."""
    pairs = gradients(config, seed, RTRL())
    compared = [compare(*pair) for pair in pairs]
    return {"angle": np.array([angle for angle, _ in compared]), "ratio": np.array([ratio for _, ratio in compared])}


def label(config: Config) -> str:
    return f"{config['name']}, step size {config['step_size']:g}"


def describe(arrays: dict[str, np.ndarray]) -> str:
    """One finished run in a few words."""
    return f"{np.median(arrays['angle']):.3g} degrees, norm ratio {np.median(arrays['ratio']):.3g}"


def _medians(runs: list[dict[str, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """For each seed: the angle, and the distance of the norm ratio from 1."""
    return (
        np.array([np.median(r["angle"]) for r in runs]),
        np.array([np.median(np.abs(r["ratio"] - 1)) for r in runs]),
    )


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: angle in degrees with a 95 % bootstrap interval, and |norm ratio - 1|."""
    table = {}
    for config, runs in results:
        angle, off = _medians(runs)
        low, high = interval(angle)
        table[label(config)] = {
            "seeds": len(runs),
            "degrees": float(angle.mean()),
            "low": float(low),
            "high": float(high),
            "|norm ratio - 1|": float(off.mean()),
        }
    return table


def curves(results: Results) -> Shown:
    """What the figure shows."""
    return [_shown(config, runs) for config, runs in results]


def _shown(config: Config, runs: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """What the figure shows of a setting: a point of each curve."""
    angle, off = map(band, _medians(runs))
    return {name: config[name] for name in ("name", "step_size", "steps")} | {"angle": angle, "off": off}


def draw_curves(shown: Shown) -> Any:
    """Angle and norm ratio against the step size."""
    figure, (axes,) = plotting.panels(2, 2, 3.0)
    for k, name in enumerate(dict.fromkeys(each["name"] for each in shown)):
        points = [each for each in shown if each["name"] == name]
        for ax, what in zip(axes, ("angle", "off"), strict=True):
            bands = [each[what] for each in points]
            plotting.band_points(ax, [each["step_size"] for each in points], bands, label=name, **curve_style(k))
    for ax, y_label in zip(axes, ("angle, degrees", "|ratio of norms - 1|"), strict=True):
        ax.set(xscale="log", yscale="log", xlabel="step size of Adam", ylabel=y_label)
    axes[0].set_title("from RTRL's gradient while learning to today's")
    axes[1].set_title("how far the ratio of their norms is from 1")
    plotting.legend_below(figure)
    plotting.headline(figure, f"Trace conditioning, ISI 10, {shown[0]['steps']:,} steps", shown[0]["seeds"])
    return figure
