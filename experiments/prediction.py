"""One learner on one stream of stimuli: the common part of the experiments on prediction.

A setting is plain data: `setting` writes the parts of a learner down, `run` builds the learner and runs it. The score
is the mean squared return error (MSRE) over the last tenth of the stream, and its ratio to the MSRE of the Bayes
prediction on the same stream. No predictor beats the Bayes prediction (`envs.conditioning`). A learner that diverges
stops, and its predictions are 0 from then on. The table counts the runs that diverged.

A figure has panels, a panel has a curve for each method, and a curve has points. A setting names its `panel`, `method`
and `x`. If `x` is None, the method does not depend on x, and its curve is a line across the panel.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import envs
from experiments import representations
from experiments.engine import plotting
from experiments.engine.results import Config, Results
from rtu_np import TBPTT, Adam, TDLambda, checkpoint
from rtu_np.cells.layer import Cell, GradientMethod
from rtu_np.intervals import interval
from rtu_np.learning.readout import Readout
from rtu_np.metrics import returns
from rtu_np.plot import curve_style
from rtu_np.progress import seconds_compiling

Table = dict[str, dict[str, float]]  # {label of a setting: numbers}

BINS = 100  # points of a learning curve
CHUNK = 10_000


# The defaults of a setting: the task, its stream, and the learner's numbers.
DEFAULTS: Config = {
    "task": "TraceConditioning",
    "isi": 10,  # inter-stimulus interval, in steps
    "representation": "presence",
    "lambda_": 0.9,
    "beta2": 0.9999,
    "dtype": "float32",
}


def setting(
    cell: Cell, gradient: GradientMethod | None = None, *, steps: int, readout: Readout | None = None, **more: Any
) -> Config:
    """A learner with Adam on a task, as plain data.

    `more` replaces `DEFAULTS` (isi=None for a task without an inter-stimulus interval). `more` also adds the place in a
    figure (panel, method, x), and the step size if that is fixed.
    """
    parts = {"cell": cell, "gradient": gradient, "readout": readout}
    described = {role: checkpoint.describe(part) for role, part in parts.items() if part is not None}
    written = {**described, "steps": steps, **DEFAULTS, **more}
    return {name: value for name, value in written.items() if name != "isi" or value is not None}


def parameters(cell: Cell, n_inputs: int) -> int:
    """The number of parameters of a cell."""
    return sum(view.size for view in cell.build(n_inputs, TBPTT(1)).parameters.values())


def largest(make: Callable[[int], Cell], budget: int, cost: Callable[[Cell], int], step: int = 1) -> Cell:
    """The largest cell whose cost is within a budget. Its units are a multiple of `step`, and at least `step`."""
    n = step
    while cost(make(n + step)) <= budget:
        n += step
    return make(n)


class Stream(NamedTuple):
    """The stream that a learner observed, and its predictions."""

    stimuli: np.ndarray  # (steps, 1 + number of CSs)   unconditioned stimulus, conditioned stimuli (CSs)
    target: np.ndarray  # (steps,)   the return G_t
    prediction: np.ndarray  # (steps,)
    bayes: np.ndarray  # (steps,)
    microseconds: float  # per step of learning, median over stretches
    diverged: bool


def follow(
    config: Config,
    seed: int,
    gradient: GradientMethod | None = None,
) -> Stream:
    """Learn from one stream. `gradient` replaces the setting's gradient, for a method that rtu_np does not have."""
    stream_seed, learner_seed = np.random.SeedSequence(seed).generate_state(2).tolist()
    env = getattr(envs, config["task"])(**({"isi": config["isi"]} if "isi" in config else {}))
    represent = representations.REPRESENTATIONS[config["representation"]](env.n_inputs)
    parts: dict[str, Any] = {
        role: checkpoint.build(role, config[role]) for role in ("cell", "gradient", "readout") if role in config
    }
    parts |= {"gradient": gradient} if gradient else {}
    optimizer = Adam(config["step_size"], beta2=config["beta2"])
    learner = TDLambda(
        n_inputs=represent.n_features,
        gamma=env.gamma,
        lambda_=config["lambda_"],
        optimizer=optimizer,
        seed=learner_seed,
        dtype=config["dtype"],
        **parts,
    )

    steps = config["steps"]
    horizon = int(np.ceil(np.log(1e-9) / np.log(env.gamma)))  # the last returns need cumulants after the last step
    stimuli, cumulants = np.zeros((steps, env.n_stimuli)), np.zeros(steps + horizon)
    prediction, diverged = np.zeros(steps), False
    microseconds = []
    for start in range(0, steps, CHUNK):
        rows = slice(start, min(start + CHUNK, steps))
        n = rows.stop - rows.start
        observations, cumulants[rows] = env.generate(n, seed=stream_seed if start == 0 else None)
        stimuli[rows] = observations[:, : env.n_stimuli]
        if not diverged:
            features = represent(observations)
            began = time.perf_counter() - seconds_compiling()
            try:
                prediction[rows] = learner.run(features, cumulants[rows], progress=False)
            except (FloatingPointError, ValueError):
                if learner.steps == 0:
                    raise  # no step was learned, so the learner has not diverged
                diverged = True  # a value is not finite, or r is 1 and a unit has no derivative
            microseconds.append((time.perf_counter() - seconds_compiling() - began) / n * 1e6)
    cumulants[steps:] = env.generate(horizon)[1]
    target, bayes = returns(cumulants, env.gamma)[:steps], env.bayes_prediction(stimuli)
    return Stream(stimuli, target, prediction, bayes, float(np.median(microseconds)), diverged)


def summary(stream: Stream) -> dict[str, np.ndarray]:
    """Learning curve and score of one run."""
    steps = stream.target.size
    error, floor = (stream.prediction - stream.target) ** 2, (stream.bayes - stream.target) ** 2
    last = slice(steps - steps // 10, steps)
    return {
        "steps": np.linspace(0, steps, BINS + 1)[1:],
        "curve": np.array([part.mean() for part in np.array_split(error, BINS)]),
        "msre": error[last].mean(),
        "floor": floor[last].mean(),
        "microseconds": np.array(stream.microseconds),
        "diverged": np.array(stream.diverged),
    }


def run(config: Config, seed: int) -> dict[str, np.ndarray]:
    """One run of a setting. Most experiments on prediction use it as their `run`."""
    return summary(follow(config, seed))


def label(config: Config) -> str:
    """A setting in a few words: its panel, its method and its x."""
    x = "" if config["x"] is None else f", {config['x']:g}"
    return f"{config['panel']}: {config['method']}{x}"


def describe(arrays: dict[str, np.ndarray]) -> str:
    """One finished run in a few words."""
    ratio = arrays["msre"] / arrays["floor"]
    return f"MSRE {arrays['msre']:.4f}, {ratio:.2f} times the Bayes floor, {arrays['microseconds']:.2f} us per step"


def score(results: Results) -> Table:
    """{setting: numbers}: means over seeds, with a 95 % bootstrap interval of the MSRE."""
    table = {}
    for config, runs in results:
        msre, floor = np.array([r["msre"] for r in runs]), np.array([r["floor"] for r in runs])
        low, high = interval(msre)
        table[label(config)] = {
            "seeds": len(runs),
            "step size": config["step_size"],
            "MSRE": float(msre.mean()),
            "low": float(low),
            "high": float(high),
            "ratio to floor": float((msre / floor).mean()),
            "diverged": float(sum(r["diverged"] for r in runs)),
            "us per step": float(np.median([r["microseconds"] for r in runs])),
        }
    return table


# --------------------------------------------------------------------------------------------------------- figures


def panels(settings: list[Config], table: Table) -> dict[str, dict[str, dict[Any, dict[str, float]]]]:
    """{panel: {method: {x: row of the table}}}, in the order of the plan."""
    out: dict[str, dict[str, dict[Any, Any]]] = {}
    for config in settings:
        out.setdefault(config["panel"], {}).setdefault(config["method"], {})[config["x"]] = table[label(config)]
    return out


def draw(settings: list[Config], table: Table, x_label: str | dict[str, str], title: str) -> Any:
    """MSRE against x, with a panel for each panel of the settings. A dashed line is the Bayes floor.

    table : of `score`, {label: numbers}
    x_label : the label of all panels, or {panel: label}
    """
    found = panels(settings, table)
    figure, axes = plotting.panels(len(found), 2 if len(found) in (2, 4) else 3, 2.5, sharey=True)
    methods = list(dict.fromkeys(method for panel in found.values() for method in panel))
    floors = []
    for ax, (panel, drawn) in zip(axes.flat, found.items(), strict=False):
        for method, rows in drawn.items():
            line, each = curve_style(methods.index(method)), list(rows.values())
            intervals = [(row["low"], row["high"]) for row in each]
            plotting.points(ax, list(rows), [row["MSRE"] for row in each], intervals, label=method, **line)
        # The mean of ratios is the MSRE over the floor, if the floor of each seed has the weight of its ratio.
        floor = np.mean([row["MSRE"] / row["ratio to floor"] for rows in drawn.values() for row in rows.values()])
        floors.append(floor)
        ax.axhline(floor, color="k", linestyle="--", linewidth=1, zorder=0)
        place = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "ha": "right", "va": "top"}
        ax.annotate("Bayes", (0.99, floor), (0, -2), fontsize=8, **place)
        ax.set(xscale="log", yscale="log", title=panel)
        ax.set_xlabel(x_label if isinstance(x_label, str) else x_label[panel])
        xs = sorted({x for rows in drawn.values() for x in rows if x is not None})
        if len(xs) == 1:
            ax.set_xlim(xs[0] / 2, xs[0] * 2)
        if xs and xs[0] >= 1:  # x counts units, steps, ...: its ticks are the measured numbers
            ax.set_xticks(xs, [f"{x:g}" for x in xs])
            ax.set_xticks([], minor=True)
    top = axes[0, 0].get_ylim()[1]
    axes[0, 0].set_ylim(bottom=min(floors) * (min(floors) / top) ** 0.16)  # room for the word below the line
    for ax in axes.flat[: len(found)]:
        plotting.plain_numbers(ax)
        ax.yaxis.set_tick_params(labelleft=True)
    for ax in axes[:, 0]:
        ax.set_ylabel("mean squared return error")
    plotting.legend_below(figure)
    plotting.headline(figure, f"{title}, {settings[0]['steps']:,} steps", int(next(iter(table.values()))["seeds"]))
    return figure
