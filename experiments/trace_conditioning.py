"""Trace conditioning: an RTU learns, online, to predict the unconditioned stimulus from a stream.

A conditioned stimulus (CS) appears for 4 steps; about ISI steps after its onset comes the unconditioned stimulus
(US), with nothing in between. To predict the discounted US, the learner has to remember the CS. Elelimy et al. 2024,
Sec. 4, after Rafiee et al. 2022; the setting is in `envs.conditioning`.

Claim: with RTRL and TD(lambda), an RTU of a few units comes close to what is possible at all. "Possible" is the Bayes
prediction, the expected return given the whole history, which still errs because ISI and ITI are random. The score is
the mean squared return error (MSRE) over the last tenth of the stream, and its ratio to the MSRE of the Bayes
prediction on the same stream.

Not published, and chosen here: 16 units, tanh, Adam, lambda .9, and phases that start in (0, 1] instead of (0, 6.28]
(the preset `paper` has both). Adam's step size 3e-4 and beta2 .9999 were chosen on the seeds 1000 to 1007 among step
sizes from 1e-4 to 1e-3 and beta2 from .999 to .99999; the seeds reported here took no part in it.

Minutes on two cores: smoke 0.5, laptop 1, paper 2.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from envs import TraceConditioning
from envs.conditioning import returns
from experiments.plotting import COLOURS, GREY, band
from experiments.results import interval
from rtu_np import Adam, LinearRTU, NonlinearRTU, TDLambda

CELLS = {"linear": LinearRTU, "nonlinear": NonlinearRTU}
BASE = {"n_hidden": 16, "activation": "tanh", "max_phase": 1.0, "lambda_": 0.9, "step_size": 3e-4, "beta2": 0.9999}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "settings": [{**BASE, "cell": cell, "isi": 10, "steps": 50_000} for cell in CELLS],
        "seeds": range(2),
    },
    "laptop": {
        "settings": [{**BASE, "cell": cell, "isi": 10, "steps": 2_000_000} for cell in CELLS],
        "seeds": range(5),
    },
    "paper": {
        "settings": [
            {**BASE, "cell": "linear", "isi": isi, "steps": 2_000_000, "max_phase": max_phase}
            for isi in (10, 20, 40)
            for max_phase in (1.0, 6.28)
        ],
        "seeds": range(10),
    },
}
BINS = 100  # points of a learning curve
CHUNK = 10_000
CLOSE_UP = 400  # steps shown before and after learning


def run(
    config: dict[str, Any], seed: int, advanced: Callable[[int], Any] = lambda steps: None
) -> dict[str, np.ndarray]:
    """Learn from one stream; `advanced(steps)` is called as it goes."""
    stream_seed, learner_seed = np.random.SeedSequence(seed).generate_state(2).tolist()
    env = TraceConditioning(isi=config["isi"])
    cell = CELLS[config["cell"]](config["n_hidden"], config["activation"], max_phase=config["max_phase"])
    optimizer = Adam(config["step_size"], beta2=config["beta2"])
    learner = TDLambda(cell, env.n_inputs, env.gamma, config["lambda_"], optimizer, seed=learner_seed)

    steps = config["steps"]
    horizon = int(np.ceil(np.log(1e-9) / np.log(env.gamma)))  # the stream goes on, for the returns of the last steps
    stimuli, cumulants, predictions = np.zeros((steps, 2)), np.zeros(steps + horizon), np.zeros(steps)
    microseconds = []
    for start in range(0, steps, CHUNK):
        rows = slice(start, min(start + CHUNK, steps))
        n = rows.stop - rows.start
        observations, cumulants[rows] = env.generate(n, seed=stream_seed if start == 0 else None)
        stimuli[rows] = observations[:, :2]
        began = time.perf_counter()
        predictions[rows] = learner.run(observations, cumulants[rows], progress=False)
        microseconds.append((time.perf_counter() - began) / n * 1e6)
        advanced(n)
    cumulants[steps:] = env.generate(horizon)[1]

    target = returns(cumulants, env.gamma)[:steps]
    bayes = env.bayes_prediction(stimuli, env.gamma)
    last, shown = slice(steps - steps // 10, steps), min(CLOSE_UP, steps)
    view = np.stack([stimuli[:, 1], stimuli[:, 0], target, predictions, bayes])
    return {
        "steps": np.linspace(0, steps, BINS + 1)[1:],
        "curve": _binned((predictions - target) ** 2),
        "floor_curve": _binned((bayes - target) ** 2),
        "msre": np.mean((predictions[last] - target[last]) ** 2),
        "floor": np.mean((bayes[last] - target[last]) ** 2),
        "microseconds": np.array(np.median(microseconds)),
        "before": view[:, :shown],
        "after": view[:, steps - shown :],
    }


def _binned(errors: np.ndarray) -> np.ndarray:
    return np.array([part.mean() for part in np.array_split(errors, BINS)])


def label(config: dict[str, Any]) -> str:
    return f"{config['cell']} RTU, ISI {config['isi']}, phases to {config['max_phase']:g}"


def describe(arrays: dict[str, np.ndarray]) -> str:
    """One finished run in a few words."""
    ratio = arrays["msre"] / arrays["floor"]
    return f"MSRE {arrays['msre']:.4f}, {ratio:.2f} times the Bayes floor, {arrays['microseconds']:.2f} us per step"


def score(results: Iterable[tuple[dict[str, Any], list[dict[str, np.ndarray]]]]) -> dict[str, dict[str, float]]:
    """{setting: numbers}: means over seeds, with a 95 % bootstrap interval of the ratio to the floor."""
    table = {}
    for config, runs in results:
        ratios = np.array([r["msre"] / r["floor"] for r in runs])
        low, high = interval(ratios)
        microseconds = np.median([r["microseconds"] for r in runs])
        table[label(config)] = {
            "seeds": len(runs),
            "MSRE": float(np.mean([r["msre"] for r in runs])),
            "Bayes floor": float(np.mean([r["floor"] for r in runs])),
            "ratio": float(ratios.mean()),
            "low": float(low),
            "high": float(high),
            "smallest": float(ratios.min()),
            "largest": float(ratios.max()),
            "us per step": float(microseconds),
            "steps per s": float(1e6 / microseconds),
        }
    return table


def plot(results: list[tuple[dict[str, Any], list[dict[str, np.ndarray]]]]) -> Any:
    """Learning curves against the Bayes floor, and a close-up of a few trials before and after learning."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplot_mosaic([["curve", "before"], ["curve", "after"]], figsize=(10, 4.6), width_ratios=(2, 3))
    curve = axes["curve"]
    isis = list(dict.fromkeys(config["isi"] for config, _ in results))
    drawn: set[int] = set()
    for k, (config, runs) in enumerate(results):
        # One colour per ISI, its second setting dashed; where there is but one ISI, one colour per setting.
        line = {"color": COLOURS[isis.index(config["isi"]) if len(isis) > 1 else k]}
        line["linestyle"] = "--" if len(isis) > 1 and config["isi"] in drawn else "-"
        drawn.add(config["isi"])
        curves = np.array([r["curve"] for r in runs])
        text = f"{label(config)} ({len(runs)} seeds)"
        band(curve, runs[0]["steps"], curves.mean(0), interval(curves), label=text, **line)
    for isi, floor in {config["isi"]: np.mean([r["floor"] for r in runs]) for config, runs in results}.items():
        curve.axhline(floor, color=GREY, linestyle=":", linewidth=1)
        curve.text(0.02, floor, f"Bayes, ISI {isi}", color=GREY, transform=curve.get_yaxis_transform(), va="bottom")
    curve.set(yscale="log", xlabel="step", ylabel="mean squared return error")
    curve.set_title("Error while learning, with 95 % intervals")
    curve.ticklabel_format(axis="x", style="sci", scilimits=(0, 0))
    curve.set_ylim(top=curve.get_ylim()[1] * 2 ** (0.45 * len(results)))  # room for the legend
    curve.legend(loc="upper right", fontsize=8)

    config, runs = results[0]
    for name, title in (("before", "the first"), ("after", "the last")):
        cs, us, target, prediction, bayes = runs[0][name]
        t = np.arange(cs.size) + (0 if name == "before" else config["steps"] - cs.size)
        ax = axes[name]
        ax.fill_between(t, -0.35 * cs, 0, step="post", color=COLOURS[2], linewidth=0, label="CS")
        ax.fill_between(t, -0.35 * us, 0, step="post", color=COLOURS[1], linewidth=0, label="US")
        ax.plot(t, target, color=GREY, linewidth=1, label="return")
        ax.plot(t, bayes, color="k", linestyle=":", linewidth=1, label="Bayes")
        ax.plot(t, prediction, color=COLOURS[0], label="prediction")
        ax.set(ylabel="discounted US", ylim=(-0.45, 2.3), xlim=(t[0], t[-1]))
        ax.ticklabel_format(axis="x", style="plain", useOffset=False)
        ax.set_title(f"{label(config)}, one seed: {title} {cs.size} steps")
    axes["before"].legend(ncols=5, loc="upper left", fontsize=8)
    axes["after"].set_xlabel("step")
    return figure
