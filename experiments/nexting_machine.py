"""Nexting on the machine itself: sixteen predictions about its own counters, live, ten times a second.

Eight counters of Linux (/proc): time of the processors, context switches, interrupts, network, memory. For each, two
predictions: its discounted mean over the next second, and over the next ten (gamma .9 and .99 at ten rows a second).
All are learned by one `TDLambda` with a body of 32 recurrent trace units (RTUs) and real-time recurrent learning, from
rows that no one has seen before. After Modayil, White & Sutton 2014.

Claim: a row costs microseconds, so that a laptop learns about itself in real time, and takes next to nothing of what it
observes.

    python -m experiments.nexting_machine                live, in the terminal, for five minutes
    python -m experiments nexting-machine                the same in silence, with a table and a figure

Expect what this machine does to decide the numbers: no run is like another. `skill` is 1 - MSE / MSE of the last value
in the second half: above 0 is better than the last value.

Minutes on two cores: smoke 0.3, laptop 5.
"""

import shutil
import sys
import time
from typing import Any

import numpy as np

from experiments import machine
from experiments.engine import plotting
from experiments.engine.results import Config, Results
from rtu_np import Adam, LinearRTU, TDLambda
from rtu_np.metrics import returns
from rtu_np.plot import COLOURS

EVERY, FIRST = 0.1, 100  # seconds; rows that come before learning
GAMMAS = {"1 s": 0.9, "10 s": 0.99}
N = len(machine.SIGNALS)
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": [{"steps": 40}], "seeds": range(1)},
    "laptop": {"settings": [{"steps": 3000}], "seeds": range(1)},
}


def learner(seed: int = 0) -> TDLambda:
    """Predictions of all counters over a second, then of all over ten."""
    gammas = np.repeat(list(GAMMAS.values()), N)
    return TDLambda(LinearRTU(32), N, gammas, optimizer=Adam(1e-3), normalize=True, seed=seed, dtype="float32")


class Nexting:
    """Learns from a row, and predicts in the units of the counters.

    Cumulants are in deviations from the mean of the first rows: a prediction has no bias, and normalised inputs have
    mean 0. Nothing is learned while the first rows come, and each is predicted as itself.
    """

    def __init__(self, seed: int, first: int) -> None:
        self.agent, self.first, self.seen = learner(seed), first, list[np.ndarray]()
        self.agent.compile()
        self.mean, self.deviation = np.zeros(N), np.ones(N)

    def step(self, row: np.ndarray) -> np.ndarray:
        """The predictions (2 N,) after the row (N,)."""
        if len(self.seen) < self.first:
            self.seen.append(row)
            self.mean, self.deviation = np.mean(self.seen, axis=0), np.std(self.seen, axis=0) + 1e-3
            return np.tile(row, len(GAMMAS))
        scaled = np.tile((row - self.mean) / self.deviation, len(GAMMAS))
        predictions = self.agent.step(row, (1 - self.agent.gamma) * scaled)
        return np.tile(self.mean, len(GAMMAS)) + np.tile(self.deviation, len(GAMMAS)) * predictions


def run(config: Config, seed: int) -> dict[str, np.ndarray]:
    """Learn live. rows (T, N) and predictions (T, 2 N); microseconds that learning takes of a row, the median."""
    nexting = Nexting(seed, min(FIRST, config["steps"] // 4))
    rows, predictions, spent = [], [], []
    for row in machine.rows(config["steps"] * EVERY, EVERY):
        began = time.perf_counter()
        predictions.append(nexting.step(row))
        spent.append(time.perf_counter() - began)
        rows.append(row)
    return {
        "rows": np.array(rows),
        "predictions": np.array(predictions),
        "microseconds": np.array(np.median(spent) * 1e6),
        "diverged": np.array(False),
    }


def label(config: Config) -> str:
    return f"{config['steps'] * EVERY:g} seconds"


def describe(arrays: dict[str, np.ndarray]) -> str:
    """One finished run in a few words."""
    return f"{len(arrays['rows'])} rows, {arrays['microseconds']:.0f} us of learning per row"


def _errors(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean squared errors (2 N,), those of the last value, which counters varied) in the second half.

    The last ten seconds, of a short run its last quarter, are left out, since what follows them is not known.
    """
    rows, gammas = arrays["rows"], np.repeat(list(GAMMAS.values()), N)
    targets = np.column_stack([returns((1 - g) * rows[:, j % N], g) for j, g in enumerate(gammas)])
    half = slice(len(rows) // 2, len(rows) - min(round(10 / EVERY), len(rows) // 4))
    ours = np.mean((arrays["predictions"][half] - targets[half]) ** 2, axis=0)
    last = np.mean((np.tile(rows, len(GAMMAS))[half] - targets[half]) ** 2, axis=0)
    return ours, last, np.tile(rows[half].std(0) > 0, len(GAMMAS))


def score(results: Results) -> dict[str, dict[str, float]]:
    """{counter: numbers}: the root of the mean squared error at each horizon, and the skill against the last value."""
    table: dict[str, dict[str, float]] = {}
    for _, runs in results:
        ours, last, varied = (np.mean([_errors(r)[k] for r in runs], axis=0) for k in range(3))
        for j, name in enumerate(machine.SIGNALS):
            if varied[j]:
                table[name] = {}
                for k, horizon in enumerate(GAMMAS):
                    error, theirs = ours[k * N + j], last[k * N + j]
                    table[name] |= {
                        f"RMSE, {horizon}": float(error**0.5),
                        f"skill, {horizon}": float(1 - error / theirs),
                    }
                table[name]["us per row"] = float(np.median([r["microseconds"] for r in runs]))
    return table


def plot(results: Results) -> Any:
    """The last minute of each counter, with what was predicted for the next second and the next ten."""
    arrays = results[0][1][0]
    figure, axes = plotting.panels(N, 2, 1.5, sharex=True)
    shown = slice(-min(len(arrays["rows"]), round(60 / EVERY)), None)
    seconds = EVERY * np.arange(len(arrays["rows"]))[shown]
    units = ["cores"] * 3 + ["log(1 + rate)"] * 4 + ["GiB"]
    for j, (ax, name) in enumerate(zip(axes.flat, machine.SIGNALS, strict=True)):
        ax.plot(seconds, arrays["rows"][shown, j], color="0.7", linewidth=0.8, label="counter")
        for k, horizon in enumerate(GAMMAS):
            line = COLOURS[k]
            ax.plot(seconds, arrays["predictions"][shown, k * N + j], color=line, label=f"mean of the next {horizon}")
        ax.set(title=name, ylabel=units[j])
    for ax in axes[-1]:
        ax.set_xlabel("seconds")
    plotting.legend_below(figure)
    took = f"{len(arrays['rows'])} rows, {arrays['microseconds']:.0f} us of learning per row"
    plotting.title(figure, f"A machine learns about itself, live, one seed: {took}")
    return figure


def live(seconds: float = 300.0) -> None:
    """Learn in the terminal: a line for each counter, its value, and what is predicted. Ctrl-C ends it."""
    nexting = Nexting(0, FIRST)
    errors, before, n = np.zeros(N), np.zeros(N), 0
    print(f"{'counter':30}{'now':>12}{'next second':>14}{'next 10 s':>12}{'error so far':>15}")
    try:
        for row in machine.rows(seconds, EVERY):
            predictions = nexting.step(row)
            errors += np.abs(before - row) if n else 0.0
            before, n = predictions[:N], n + 1
            for j, name in enumerate(machine.SIGNALS):
                late, mean = predictions[N + j], errors[j] / max(n - 1, 1)
                print(f"\x1b[K{name:30}{row[j]:12.3f}{predictions[j]:14.3f}{late:12.3f}{mean:15.3f}")
            print(f"\x1b[K{n} rows learned, {shutil.get_terminal_size().columns * '-'}"[:60])
            if n * EVERY < seconds - EVERY / 2:
                print(f"\x1b[{N + 1}A", end="")
    except KeyboardInterrupt:
        print("\n" * (N + 1))


if __name__ == "__main__":
    live(float(sys.argv[1]) if len(sys.argv) > 1 else 300.0)
