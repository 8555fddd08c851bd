"""One step ahead on ten real series: `OnlineRegressor` with its defaults against the last value and a running mean.

    python -m pip install -e ".[data]"
    python benchmarks/ten_series.py --output docs/results/ten-series/ten-series.json          a minute
    python benchmarks/ten_series.py --delays 6              glucose 6 rows ahead, by both ways of learning from it

Each series comes with a package. A learner gets one number of the series at a time, as it is, predicts the next, and
learns from it. The table has the root of the mean squared error over the second half, in the unit of the series: of the
last value, of the exponential mean whose decay is the best in hindsight, and of learners with five seeds. `skill` is
1 - MSE / MSE of the last value.
"""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.engine import results
from rtu_np import LinearRTU, OnlineRegressor
from rtu_np.metrics import exponential_mean, last_value, rmse, skill

UNITS, SEEDS = 32, range(5)
DECAYS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def _bokeh(file: str, column: str) -> np.ndarray:
    import bokeh_sampledata
    import pandas

    table = pandas.read_csv(Path(bokeh_sampledata.__file__).parent / "_data" / file)
    return table[column].to_numpy(float)


def _apple() -> np.ndarray:
    from bokeh_sampledata import stocks

    return np.array(stocks.AAPL["close"], float)


def _statsmodels(name: str, column: str) -> np.ndarray:
    import statsmodels.api

    table = getattr(statsmodels.api.datasets, name).load_pandas().data
    return table[column].interpolate().to_numpy(float)


def _pulse() -> np.ndarray:
    import heartpy

    return np.loadtxt(Path(heartpy.__file__).parent / "data" / "data.csv", skiprows=1)


def _vega(name: str, column: str) -> np.ndarray:
    import vega_datasets

    return vega_datasets.local_data(name)[column].to_numpy(float)


# {name: (unit, what reads it)}
SERIES: dict[str, tuple[str, Callable[[], np.ndarray]]] = {
    "glucose, every 5 minutes (bokeh-sampledata)": ("mg/dl", lambda: _bokeh("CGM.csv.gz", "glucose")),
    "sea temperature, half-hourly (same)": (
        "deg C",
        lambda: _bokeh("sea_surface_temperature.csv.gz", "temperature (celsius)"),
    ),
    "power of a ride, every second (same)": ("W", lambda: _bokeh("cycling.csv.gz", "power")),
    "speed of a ride, every second (same)": ("m/s", lambda: _bokeh("cycling.csv.gz", "speed")),
    "AAPL, close of each day (same)": ("USD", _apple),
    "CO2, weekly (statsmodels)": ("ppm", lambda: _statsmodels("co2", "co2")),
    "sunspots, yearly (same)": ("spots", lambda: _statsmodels("sunspots", "SUNACTIVITY")),
    "pulse, 100 Hz (heartpy)": ("digits", _pulse),
    "San Francisco, hourly (vega-datasets)": ("deg F", lambda: _vega("sf_temps", "temp")),
    "Seattle, maximum of each day (same)": ("deg C", lambda: _vega("seattle_weather", "temp_max")),
}


def measure(series: np.ndarray) -> dict[str, Any]:
    """Errors on one series."""
    targets = series[1:]
    half = slice(len(targets) // 2, None)
    baseline = last_value(series)[1:]
    means = {decay: rmse(exponential_mean(series, decay)[1:][half], targets[half]) for decay in DECAYS}
    best = min(means, key=lambda decay: means[decay])
    errors, skills = [], []
    for seed in SEEDS:
        learner = OnlineRegressor(LinearRTU(UNITS), n_inputs=1, seed=seed)
        predictions = learner.run(series[:-1].reshape(-1, 1), targets, progress=False)
        errors.append(rmse(predictions[half], targets[half]))
        skills.append(skill(predictions[half], targets[half], baseline[half]))
    return {
        "rows": len(series),
        "last value": rmse(baseline[half], targets[half]),
        "exponential mean": means[best],
        "decay": best,
        "learner": errors,
        "skill": skills,
    }


def table(found: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "| series | rows | unit | last value | exponential mean | `OnlineRegressor` | of five seeds | skill |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        mean, low, high = np.mean(one["learner"]), min(one["learner"]), max(one["learner"])
        own = f"{mean:.3g}" if mean >= one["last value"] else f"**{mean:.3g}**"
        row = (
            *(name, f"{one['rows']:,}", one["unit"], f"{one['last value']:.3g}", f"{one['exponential mean']:.3g}"),
            *(own, f"{low:.3g} to {high:.3g}", f"{np.mean(one['skill']):.2f}"),
        )
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def won(found: dict[str, Any]) -> int:
    """On how many series the learner's mean error is below that of the last value."""
    return sum(np.mean(one["learner"]) < one["last value"] for one in found.values())


def delays(horizon: int) -> str:
    """Markdown: errors on glucose `horizon` rows ahead, of both values of `delay` and of the last value."""
    series = next(iter(SERIES.values()))[1]()
    targets = series[horizon:]
    half = slice(len(targets) // 2, None)
    lines = ["| glucose | RMSE, mg/dl | of five seeds |", "|---|---|---|"]
    lines.append(f"| last value | {rmse(last_value(series, horizon)[horizon:][half], targets[half]):.2f} | |")
    for delay in ("behind", "stored"):
        errors = []
        for seed in SEEDS:
            learner = OnlineRegressor(LinearRTU(UNITS), n_inputs=1, horizon=horizon, delay=delay, seed=seed)
            made = learner.run(series.reshape(-1, 1), series, progress=False)[:-horizon]
            errors.append(rmse(made[half], targets[half]))
        lines.append(f"| {delay} | {np.mean(errors):.2f} | {min(errors):.2f} to {max(errors):.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", metavar="FILE", type=Path, help="write the numbers to this file")
    parser.add_argument("--delays", metavar="ROWS", type=int, help="glucose so many rows ahead, in place of the table")
    arguments = parser.parse_args()
    if arguments.delays:
        print(delays(arguments.delays))
        return
    found = {name: {"unit": unit, **measure(read())} for name, (unit, read) in SERIES.items()}
    print(table(found))
    print(f"\nbelow the last value on {won(found)} of {len(found)} series")
    if arguments.output:
        page = {
            "command": shlex.join(["python", "benchmarks/ten_series.py", *sys.argv[1:]]),
            "learner": repr(OnlineRegressor(LinearRTU(UNITS), n_inputs=1)),
            "seeds": list(SEEDS),
            "series": found,
        }
        results.write(arguments.output, page)


if __name__ == "__main__":
    main()
