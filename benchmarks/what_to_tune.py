"""What to tune, in which order: how much each setting moves the error, one at a time, on two streams.

    python -m pip install -e ".[data]"
    python benchmarks/what_to_tune.py --output docs/results/tuning/tuning.json          four minutes

The streams: the cue and the answer of trace conditioning, ten steps apart (`TDLambda`, 300,000 steps; the error is the
mean squared error of the return in the last tenth, over that of the Bayes prediction), and the glucose of one person in
30 minutes (`OnlineRegressor`, 57,770 rows; the mean squared error after the first eight weeks, over that of the last
value). Each row changes one setting, and keeps the others: 32 linear recurrent trace units (RTUs), normalised inputs,
Adam(3e-4), and otherwise defaults. Seeds 0 to 2. `reach` is the largest mean error of a row over its smallest: what one
can lose by that setting.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np

from envs import TraceConditioning
from experiments import glucose
from experiments.engine import results
from rtu_np import Adam, LinearRTU, OnlineRegressor, TDLambda
from rtu_np.metrics import returns

SEEDS, STEPS, HORIZON = range(3), 300_000, 6
UNITS, STEP_SIZE = 32, 3e-4
# {setting: values}. "-" where a stream has no such setting.
TRIED: dict[str, list[Any]] = {
    "normalize": [True, False],
    "step size": [3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2],
    "largest phase": [0.1, 0.3, 1.0, 3.14, 6.28],
    "smallest r": [0.0, 0.5, 0.9, 0.99],
    "lambda": [0.0, 0.5, 0.8, 0.9, 0.95, 1.0],
    "units": [4, 8, 16, 32, 64, 128],
}


def cell(settings: dict[str, Any]) -> LinearRTU:
    more = {"max_phase": settings["largest phase"]} if "largest phase" in settings else {}
    more |= {"r_min": settings["smallest r"]} if "smallest r" in settings else {}
    return LinearRTU(settings.get("units", UNITS), **more)


def cues(settings: dict[str, Any], seed: int) -> float:
    """Trace conditioning: the observations have an offset and a scale, as those of a sensor do."""
    env = TraceConditioning()
    observations, cumulants = env.generate(STEPS, seed=seed)
    learner = TDLambda(
        cell(settings),
        env.n_inputs,
        env.gamma,
        settings.get("lambda", 0.9),
        Adam(settings.get("step size", STEP_SIZE)),
        normalize=settings.get("normalize", True),
        seed=seed,
    )
    predictions = learner.run(20 + 5 * observations, cumulants, progress=False)
    late = slice(int(0.9 * STEPS), STEPS - 1000)
    target = returns(cumulants, env.gamma)
    floor = env.bayes_prediction(observations[:, : env.n_stimuli])
    return float(np.mean((predictions - target)[late] ** 2) / np.mean((floor - target)[late] ** 2))


def sensor(settings: dict[str, Any], seed: int) -> float:
    """Glucose in 30 minutes."""
    stream = glucose.read()
    learner = OnlineRegressor(
        cell(settings),
        glucose.N_INPUTS,
        horizon=HORIZON,
        predict_changes=0,
        missing="hold",
        normalize=settings.get("normalize", True),
        optimizer=Adam(settings.get("step size", STEP_SIZE)),
        seed=seed,
    )
    predictions = learner.run(stream.observations, stream.glucose, progress=False)[:-HORIZON]
    targets, late = stream.glucose[HORIZON:], slice(7 * glucose.WEEKS_OF_TUNING * glucose.ROWS_A_DAY, None)
    errors, before = predictions - targets, stream.last[:-HORIZON] - targets
    return float(np.nanmean(errors[late] ** 2) / np.nanmean(before[late] ** 2))


STREAMS = {"cues": cues, "glucose": sensor}


def measure() -> dict[str, Any]:
    """{stream: {setting: {value: [error of each seed]}}}; NaN where learning diverged."""
    found: dict[str, Any] = {}
    for name, follow in STREAMS.items():
        found[name] = {}
        for setting, values in TRIED.items():
            if name == "glucose" and setting == "lambda":
                continue
            found[name][setting] = {
                str(value): [_error(follow, {setting: value}, seed) for seed in SEEDS] for value in values
            }
            print(name, setting, {k: round(float(np.mean(v)), 3) for k, v in found[name][setting].items()}, flush=True)
    return found


def _error(follow: Any, settings: dict[str, Any], seed: int) -> float:
    try:
        return follow(settings, seed)
    except FloatingPointError:
        return float("nan")


def table(found: dict[str, Any]) -> str:
    """Markdown: a row for each setting and stream, the settings with the largest reach first."""
    rows = []
    for name, settings in found.items():
        for setting, values in settings.items():
            means = {value: float(np.mean(errors)) for value, errors in values.items()}
            good = [mean for mean in means.values() if np.isfinite(mean)]
            cells = ", ".join(
                f"{value}: {mean:.3g}" if np.isfinite(mean) else f"{value}: diverged" for value, mean in means.items()
            )
            rows.append((max(good) / min(good), f"| {setting} | {name} | {cells} | {max(good) / min(good):.3g} |"))
    ordered = [row for _, row in sorted(rows, key=lambda each: -each[0])]
    return "\n".join(["| setting | stream | error by value | reach |", "|---|---|---|---|", *ordered])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", metavar="FILE", type=Path, help="write the numbers to this file")
    arguments = parser.parse_args()
    found = measure()
    print(table(found))
    if arguments.output:
        command = shlex.join(["python", "benchmarks/what_to_tune.py", *sys.argv[1:]])
        page = {"command": command, "seeds": list(SEEDS), "streams": found}
        results.write(arguments.output, page)


if __name__ == "__main__":
    main()
