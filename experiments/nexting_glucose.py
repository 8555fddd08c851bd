"""Nexting on a real stream: eight predictions about a person's glucose, learned on every step for 200 days.

Four predictions are values: glucose in 15, 30, 60 and 120 minutes, by `OnlineRegressor` with four targets on one
recurrent body, as changes since the last value. Four are discounted means of what comes, with the same horizons
(gamma = 1 - 1/3, 1 - 1/6, 1 - 1/12, 1 - 1/24), by `TDLambda` with four predictions on one body, lambda .9. After
Modayil, White & Sutton 2014 ("nexting"). The stream has gaps, which are held and marked (`missing="hold"`).

Claim: on a real stream, learners that take each row once predict better than the last value, from 15 minutes to two
hours, at some microseconds a row.

The methods are recurrent trace units (RTUs) and minGRUs with real-time recurrent learning (RTRL), a gated recurrent
unit (GRU) with truncated backpropagation through time, T-BPTT(24), which reaches two hours, and the same with
T-BPTT(2), which costs about as much as the RTUs. "Linear" reads exponential traces of the observations at six time
scales, up to eight hours: for the means it is linear TD(lambda), a strong baseline. "Last value" learns nothing.

Step sizes are chosen in the first eight weeks, on seeds 1000 and 1001. Errors are those of the other 144 days, on seeds
0 to 4, while learning goes on. Intervals are 95 % bootstrap intervals over days, which are drawn whole, and the same
days for both sides of a ratio. A mean counts where 95 % of its weights fall on rows with a value.

Minutes on two cores: smoke 0.5, laptop 1.
"""

import time
from typing import Any

import numpy as np

from experiments import glucose
from experiments.engine import plotting
from experiments.engine.results import Config, Results
from experiments.glucose import AHEAD, N_INPUTS, ROWS_A_DAY, WEEKS_OF_TUNING
from rtu_np import GRU, RTRL, TBPTT, Adam, LinearRTU, MinGRU, OnlineRegressor, Stack, TDLambda, checkpoint
from rtu_np.cells.dense import Identity
from rtu_np.plot import GREY, curve_style

SCORES = ("squares", "counts", "last", "msre", "microseconds", "diverged", "day", "truth")
GAMMAS = 1 - 1 / np.array(AHEAD)
TRACES = 1 - 1 / np.array([2, 4, 8, 16, 32, 96])  # decays of the linear method's features
CLOSE = 100  # the day of the close-up, from the first
LINEAR = "Linear"
METHODS: dict[str, tuple[Any, Any]] = {
    "RTU, RTRL": (LinearRTU(32), RTRL()),
    "MinGRU, RTRL": (MinGRU(64), RTRL()),
    "RTU and MinGRU, RTRL": (Stack((LinearRTU(32), MinGRU(64))), RTRL()),
    "GRU, T-BPTT(24)": (GRU(8), TBPTT(24)),
    "GRU, T-BPTT(2)": (GRU(8), TBPTT(2)),
    LINEAR: (Identity(), RTRL()),
}
TASKS = ("ahead", "means")
REFERENCE = "GRU, T-BPTT(24)"
DRAWS = 2000  # of the bootstrap


def settings(methods: list[str]) -> list[Config]:
    """Each method on the four values ahead, and on the four means."""
    return [
        {
            "task": task,
            "method": name,
            "cell": checkpoint.describe(METHODS[name][0]),
            "gradient": checkpoint.describe(METHODS[name][1]),
            "steps": 10**9,  # all rows
        }
        for name in methods
        for task in TASKS
    ]


TUNING = {
    "step_sizes": [1e-4, 3e-4, 1e-3],
    "seeds": range(1000, 1002),
    "steps": 7 * WEEKS_OF_TUNING * ROWS_A_DAY,
}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "settings": [{**each, "steps": 2000, "step_size": 3e-4} for each in settings(["MinGRU, RTRL"])],
        "seeds": range(1),
    },
    "laptop": {"settings": settings(list(METHODS)), "tuning": TUNING, "seeds": range(5)},
}


def run(config: Config, seed: int) -> dict[str, np.ndarray]:
    """Learn from the stream once.

    squares, counts : (days, 4) the sum of squared errors of each day, and how many rows it has
    last : as `squares`, of the last value
    msre : mean over the predictions of the mean squared error over that of the last value, from the second day on
    day, truth : predictions of the day of the close-up, and what came
    """
    stream = glucose.read()
    n = min(config["steps"], len(stream.glucose))
    observations, values, last = stream.observations[:n], stream.glucose[:n], stream.last[:n]
    truth = _truth(config["task"], stream.glucose)[:n]
    began = time.perf_counter()
    try:
        predictions, microseconds = predict(config, seed, observations, values)
        diverged = False
    except FloatingPointError:
        predictions, diverged = np.full(truth.shape, np.nan), True
        microseconds = (time.perf_counter() - began) / n * 1e6
    # A method that has diverged predicts the last value, and is counted.
    predictions = np.where(np.isfinite(predictions), predictions, last[:, None])
    days = stream.days[:n]
    counted = np.isfinite(truth)
    squares, before = (
        np.stack(
            [np.bincount(days, np.where(counted[:, j], (p[:, j] - truth[:, j]) ** 2, 0)) for j in range(4)], axis=1
        )
        for p in (predictions, np.repeat(last[:, None], 4, axis=1))
    )
    shown = days == min(CLOSE, days[-1])
    return {
        "squares": squares,
        "last": before,
        "counts": np.stack([np.bincount(days, counted[:, j]) for j in range(4)], axis=1),
        "msre": np.mean(squares[1:].sum(0) / before[1:].sum(0)),
        "microseconds": np.array(microseconds),
        "diverged": np.array(diverged),
        "day": predictions[shown],
        "truth": np.column_stack([values[shown], truth[shown]]),
    }


def _truth(task: str, values: np.ndarray) -> np.ndarray:
    return glucose.ahead(values) if task == "ahead" else glucose.discounted_mean(values, GAMMAS)


def predict(config: Config, seed: int, observations: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, float]:
    """(predictions (T, 4), microseconds per row), each made before what it is about."""
    if config["method"] == LINEAR:
        observations = _with_traces(observations)
    parts: dict[str, Any] = {
        "cell": checkpoint.build("cell", config["cell"]),
        "gradient": checkpoint.build("gradient", config["gradient"]),
        "n_inputs": observations.shape[1],
        "optimizer": Adam(config["step_size"]),
        "missing": "hold",
        "seed": seed,
        "dtype": "float32",
    }
    learner: Any
    if config["task"] == "ahead":
        # The row that completes a set of targets comes two hours after the prediction.
        most, n = AHEAD[-1], len(values)
        targets = np.full((n, 4), np.nan)
        targets[most:] = glucose.ahead(values)[: n - most]
        learner = OnlineRegressor(n_targets=4, horizon=most, predict_changes=[0] * 4, **parts)
        stream, scale, mean = (observations, targets), 1.0, 0.0
    else:
        first = values[:ROWS_A_DAY]
        mean, scale = float(np.nanmean(first)), float(np.nanstd(first))
        cumulants = (1 - GAMMAS) * ((values - mean) / scale)[:, None]
        learner = TDLambda(gamma=GAMMAS, lambda_=0.9, normalize=True, **parts)
        stream = observations, cumulants
    learner.compile()
    began = time.perf_counter()
    predictions = learner.run(*stream, progress=False)
    seconds = time.perf_counter() - began
    return mean + scale * predictions.astype(float), seconds / len(values) * 1e6


def _with_traces(observations: np.ndarray) -> np.ndarray:
    """The observations, and behind them exponential traces of each; a missing value counts as the last one."""
    held = observations.copy()
    for column in held.T:
        rows = np.where(np.isnan(column), 0, np.arange(column.size))
        column[:] = column[np.maximum.accumulate(rows)]
    traces = np.empty((len(held), N_INPUTS, TRACES.size))
    trace = np.repeat(held[0][:, None], TRACES.size, axis=1)
    for t, row in enumerate(held):
        trace += (1 - TRACES) * (row[:, None] - trace)
        traces[t] = trace
    return np.column_stack([observations, traces.reshape(len(held), -1)])


def names(task: str) -> list[str]:
    return [f"{5 * h} min" if task == "ahead" else f"mean, {5 * h} min" for h in AHEAD]


def label(config: Config) -> str:
    return f"{config['method']}: {config['task']}"


def describe(arrays: dict[str, np.ndarray]) -> str:
    """One finished run in a few words."""
    ratio = np.sqrt(arrays["squares"].sum(0) / arrays["last"].sum(0))
    return f"RMSE / last value {', '.join(f'{each:.2f}' for each in ratio)}; {arrays['microseconds']:.1f} us per row"


def _by_day(runs: list[dict[str, np.ndarray]], name: str) -> np.ndarray:
    """(days, 4) of the reported days, the mean over seeds."""
    arrays = np.mean([r[name] for r in runs], axis=0)
    start = 7 * WEEKS_OF_TUNING
    return arrays[start:] if len(arrays) > start else arrays


def _ratio(squares: np.ndarray, others: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RMSE over another RMSE on the same days: (ratios, low, high)."""
    drawn = np.random.default_rng(0).integers(len(counts), size=(DRAWS, len(counts)))
    times = np.stack([np.bincount(days, minlength=len(counts)) for days in drawn])
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = np.sqrt((times @ squares) / (times @ others))
        found = np.sqrt(squares.sum(0) / others.sum(0))
    low, high = np.nanpercentile(draws, [2.5, 97.5], axis=0)
    return found, low, high


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: RMSE in mg/dl, its ratio to that of the last value and to that of the GRU, with intervals."""
    table: dict[str, dict[str, float]] = {}
    reference = {c["task"]: _by_day(runs, "squares") for c, runs in results if c["method"] == REFERENCE}
    for config, runs in results:
        squares, last, counts = (_by_day(runs, name) for name in ("squares", "last", "counts"))
        row = table[label(config)] = {
            "seeds": len(runs),
            "step size": config["step_size"],
            "diverged": float(sum(r["diverged"] for r in runs)),
            "us per row": float(np.median([r["microseconds"] for r in runs])),
        }
        others = {"last": last}
        if config["task"] in reference and config["method"] != REFERENCE:
            others["GRU"] = reference[config["task"]]
        rmse, of_last = np.sqrt(squares.sum(0) / counts.sum(0)), np.sqrt(last.sum(0) / counts.sum(0))
        for j, name in enumerate(f"{5 * h} min" for h in AHEAD):
            row |= {name: float(rmse[j]), f"{name}, last value": float(of_last[j])}
        for other, theirs in others.items():
            for j, values in enumerate(zip(*_ratio(squares, theirs, counts), strict=True)):
                name = f"{5 * AHEAD[j]} min / {other}"
                row |= dict(zip((name, f"{name}, low", f"{name}, high"), map(float, values), strict=True))
    return table


def by_horizon(scores: dict[str, dict[str, float]]) -> str:
    """The table of docs/nexting.md: a row for each method and target, a column for each horizon."""
    horizons = [f"{5 * h} min" for h in AHEAD]
    lines = [
        f"| RMSE, mg/dl (over that of the GRU) | us per row | {' | '.join(horizons)} |",
        "|---|---|---|---|---|---|",
    ]
    for task, title in zip(TASKS, ("value ahead", "mean of what comes"), strict=True):
        rows = {name.partition(":")[0]: row for name, row in scores.items() if name.endswith(f": {task}")}
        last = " | ".join(f"{next(iter(rows.values()))[f'{h}, last value']:.2f}" for h in horizons)
        lines.append(f"| *{title}*: last value | | {last} |")
        for method, row in rows.items():
            cells = [f"{row[h]:.2f}" + (f" ({row[f'{h} / GRU']:.3f})" if f"{h} / GRU" in row else "") for h in horizons]
            lines.append(f"| {method} | {row['us per row']:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(results: Results) -> Any:
    """Above: RMSE over that of the last value, by horizon, of values and means. Below: a day, and its predictions."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplot_mosaic([["ahead", "means"], ["day", "day"]], figsize=(plotting.WIDTH, 6.6))
    methods = list(dict.fromkeys(config["method"] for config, _ in results))
    minutes = 5 * np.array(AHEAD)
    for config, runs in results:
        k = methods.index(config["method"])
        squares, last, counts = (_by_day(runs, name) for name in ("squares", "last", "counts"))
        found, low, high = _ratio(squares, last, counts)
        ax, x = axes[config["task"]], minutes * 1.03 ** (k - 2.5)
        plotting.points(ax, list(x), found, np.column_stack([low, high]), capsize=2, **curve_style(k))
    for task, title in (("ahead", "glucose at a time"), ("means", "discounted mean of what comes")):
        axes[task].axhline(1, color=GREY, linewidth=0.8)
        axes[task].set(title=title, xlabel="horizon, minutes", xscale="log", ylabel="RMSE / that of the last value")
        axes[task].set_xticks(minutes, map(str, minutes))
        axes[task].minorticks_off()
    _close_up(axes["day"], results, methods)
    days = _by_day(results[0][1], "counts").shape[0]
    text = f"Glucose of one person, {days} days; {len(results[0][1])} seeds, 95 % intervals over days"
    plotting.legend_below(figure)
    plotting.title(figure, text)
    return figure


def _close_up(ax: Any, results: Results, methods: list[str]) -> None:
    """One day: what the sensor saw, and what was predicted an hour before."""
    for config, runs in results:
        if config["task"] == "ahead":
            k, h = methods.index(config["method"]), AHEAD[2]
            day = runs[0]["day"]
            hours = (np.arange(len(day)) + h) * 5 / 60
            line = {**curve_style(k), "marker": None}
            costs = [np.median([r["microseconds"] for r in of]) for c, of in results if c["method"] == config["method"]]
            text = f"{config['method']} ({' and '.join(f'{cost:.1f}' for cost in costs)} us per row)"
            ax.plot(hours, day[:, 2], label=text, alpha=0.8, **line)
    truth = next(runs[0]["truth"] for config, runs in results if config["task"] == "ahead")
    ax.plot(np.arange(len(truth)) * 5 / 60, truth[:, 0], color="black", linewidth=2.2, label="sensor")
    ax.set(xlabel="hour of the recorded day", ylabel="glucose, mg/dl")
    ax.set_title("a day, with gaps of the sensor, and what was predicted an hour before")
