"""Two layers of recurrent trace units: does the part of the gradient matter that layer-local RTRL leaves out?

Real-time recurrent learning (RTRL) of a stack is layer-local, as a rule: how the lower layer's parameters act on the
upper layer's memory is left out. `RTRL(exact=True)` has it (derivations (98)-(102)). Here two layers of 8 linear units
learn with the exact gradient, with the layer-local one, and with truncated backpropagation through time over one step,
T-BPTT(1); and single layers of as many parameters, and of as many operations per step as the exact gradient takes.

Three tasks: trace patterning (`experiments.patterning`), which one layer solves, too; and two streams of bits whose
solution needs a memory of a nonlinear function of a memory (`experiments.agreement`): with the answer asked for at
every step ("running"), and some steps after the evidence has ended ("held").

Claim: what layer-local RTRL leaves out matters. None is published: reviewers ask for this comparison.

Expect: with the exact gradient the error is smaller on all three tasks, seed by seed on the same streams: by a quarter
in trace patterning, by a fifth in "held", and by little in "running". T-BPTT(1) is far behind both. The angle between
the layer-local and the exact gradient is 36 to 54 degrees at the start, and hardly shrinks while the layers learn.
Single layers are worse in trace patterning and in "running", at either size. In "held" the wide one is the best of all:
it can remember 20 bits and has 216 features to make products of them, so this task did not need a second layer.

The score is the mean squared error over the last tenth of the stream, of the rows that have a target, next to that of
the Bayes prediction. "Above exact" is the difference, seed by seed. The angle is the one between the layer-local and
the exact gradient, or T-BPTT(1) and the exact one, of a prediction by the lower layer's parameters, with the parameters
that a learner has at a time: 0 if what is left out changes the length alone.

Chosen here: sizes; phases from (0, pi] below and in single layers, and from (0, 1] above, as bits may alternate, and in
trace patterning (0, 1] everywhere; r from .5 above and in single layers, where evidence is kept; TD(.9) in trace
patterning, and discount and lambda 0 on bits; Adam with beta2 .9999, one step size in the whole network, chosen for
each arm on seeds that are not reported; float32.

Minutes on two cores: smoke 0.5, laptop 12 (estimated).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

import envs
from experiments import agreement, prediction
from experiments.engine import plotting
from experiments.engine.results import Config, Results
from rtu_np import RTRL, TBPTT, Adam, LinearRTU, Stack, TDLambda, checkpoint, flops, metrics
from rtu_np.cells.layer import Cell
from rtu_np.intervals import interval
from rtu_np.plot import band, curve_style, step_axis

__all__ = ["PRESETS", "SCORES", "describe", "label", "plot", "run", "score"]

SCORES = ("steps", "curve", "msre", "floor", "diverged", "angle", "angle_of_one_step")
UNITS = 8
EXACT = "exact RTRL"
GRADIENTS = {EXACT: RTRL(exact=True), "layer-local RTRL": RTRL(), "T-BPTT(1)": TBPTT(1)}
SINGLE = "one layer, as many parameters", "one layer, as many operations"
METHODS = (*GRADIENTS, *SINGLE)
TASKS = {"patterning": 17, "running": 2, "held": 6}  # inputs of the network; "held" has marks of gaps, which are zero
BINS = 40  # points of a learning curve
LOOKS = 0.0, 0.01, 0.1, 0.3, 1.0  # parts of the stream after which angles are measured
FIRST, LOOKED_AT = 100, 500  # steps before angles count, and with which they are measured


def cell(task: str, method: str) -> Cell:
    """Two layers, or a single one of a size that the method names."""
    below: dict[str, Any] = {"max_phase": 1.0 if task == "patterning" else 3.14}
    two = Stack((LinearRTU(UNITS, **below), LinearRTU(UNITS, max_phase=1.0, r_min=0.5)))
    if method in GRADIENTS:
        return two

    def cost(each: Cell) -> int:
        if method == SINGLE[0]:
            return prediction.parameters(each, TASKS[task]) + each.spec(TASKS[task]).n_outputs  # with the readout
        return flops(each, TASKS[task], RTRL(exact=True))

    return prediction.largest(lambda n: LinearRTU(n, r_min=0.5, **below), cost(two), cost)


def settings(steps: dict[str, int], methods: tuple[str, ...] = METHODS) -> list[Config]:
    return [
        {
            "task": task,
            "method": method,
            "cell": checkpoint.describe(cell(task, method)),
            "gradient": checkpoint.describe(GRADIENTS.get(method, RTRL())),
            "steps": n,
        }
        for task, n in steps.items()
        for method in methods
    ]


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "settings": settings({"running": 4000}, METHODS[:1] + SINGLE[:1]),
        "tuning": {"step_sizes": [1e-3], "seeds": range(1000, 1001)},
        "seeds": range(2),
    },
    "laptop": {
        "settings": settings({"patterning": 500_000, "running": 500_000, "held": 2_000_000}),
        "tuning": {"step_sizes": [1e-4, 3e-4, 1e-3, 3e-3], "seeds": range(1000, 1002)},
        "seeds": range(10),
    },
}


def stream(name: str, steps: int, seed: int) -> tuple[agreement.Task, float, float]:
    """(the task's stream, discount, lambda)."""
    if name != "patterning":
        return getattr(agreement, name)(steps, np.random.default_rng(seed)), 0.0, 0.0
    env = envs.TracePatterning()
    horizon = int(np.ceil(np.log(1e-9) / np.log(env.gamma)))  # the last returns need cumulants after the last step
    observations, cumulants = env.generate(steps + horizon, seed=seed)
    bayes = env.bayes_prediction(observations[:steps, : env.n_stimuli])
    target = metrics.returns(cumulants, env.gamma)[:steps]
    return agreement.Task(observations[:steps], cumulants[:steps], target, bayes), env.gamma, 0.9


def run(config: Config, seed: int) -> dict[str, np.ndarray]:
    """Learn from one stream, with the angles at some times of it."""
    stream_seed, learner_seed = np.random.SeedSequence(seed).generate_state(2).tolist()
    steps = config["steps"]
    task, gamma, lambda_ = stream(config["task"], steps, stream_seed)
    learner = TDLambda(
        checkpoint.build("cell", config["cell"]),
        task.observations.shape[1],
        gamma,
        lambda_,
        Adam(config["step_size"], beta2=0.9999),
        checkpoint.build("gradient", config["gradient"]),
        learner_seed,
        "float32",
        missing="zero" if config["task"] == "held" else None,
    )
    looks = [int(part * steps) for part in LOOKS]
    found, angles, diverged = np.zeros(steps), [], False
    for begin, end in zip([0, *looks[:-1]], looks, strict=True):
        try:
            if end > begin and not diverged:
                rows = slice(begin, end)
                found[rows] = learner.run(task.observations[rows], task.cumulants[rows], progress=False)
        except (FloatingPointError, ValueError):
            if learner.steps == 0:
                raise  # no step was learned, so the learner has not diverged
            diverged = True
        if isinstance(learner.cell, Stack) and not diverged:
            angles.append(_angles(learner, task))
    error, floor = (found - task.target) ** 2, (task.bayes - task.target) ** 2
    last = slice(steps - agreement.last(steps), steps)
    bins = min(BINS, -(-steps // 100))  # of which each has rows with a target
    measured = np.full((len(LOOKS), 2), np.nan)
    measured[: len(angles)] = np.reshape(angles, (-1, 2))
    return {
        "steps": np.linspace(0, steps, bins + 1)[1:],
        "curve": np.array([np.nanmean(part) for part in np.array_split(error, bins)]),
        "msre": np.nanmean(error[last]),
        "floor": np.nanmean(floor[last]),
        "diverged": np.array(diverged),
        "angle": measured[:, 0],
        "angle_of_one_step": measured[:, 1],
    }


def _angles(learner: TDLambda, task: agreement.Task) -> np.ndarray:
    """The mean angles in degrees of the layer-local and of the one-step gradient to the exact one.

    They are those of the prediction by the parameters of the lower layer, at the last rows of the stream with a target.
    """
    last = task.observations[-LOOKED_AT:]
    rows = np.zeros((len(last), TASKS["held"] if last.shape[1] == 3 else last.shape[1]))
    rows[:, : last.shape[1]] = last
    asked, w = np.isfinite(task.target[-LOOKED_AT:]), learner.parameters["readout.w"]
    w = w if w.any() else np.random.default_rng(0).standard_normal(w.size)  # a readout starts at zero
    exact, *others = (
        list(_gradients(learner, method, rows, asked, w)) for method in (RTRL(exact=True), RTRL(), TBPTT(1))
    )
    return np.array([np.mean([metrics.angle(a, b) for a, b in zip(each, exact, strict=True)]) for each in others])


def _gradients(
    learner: TDLambda, method: Any, rows: np.ndarray, asked: np.ndarray, w: np.ndarray
) -> Iterator[np.ndarray]:
    layer = learner.cell.build(rows.shape[1], method)
    values = [view for name, view in learner.parameters.items() if name.startswith("cell.")]
    for view, each in zip(layer.parameters.values(), values, strict=True):
        view[:] = each
    for t, x in enumerate(rows):
        layer.advance(x)
        if asked[t] and t >= FIRST:
            gradient = layer.gradient(w).items()
            yield np.concatenate([part.ravel() for name, part in gradient if name.startswith("0.")])


def label(config: Config) -> str:
    units = f", {config['cell']['n_hidden']} units" if "n_hidden" in config["cell"] else ""
    return f"{config['task']}: {config['method']}{units}"


def describe(arrays: dict[str, np.ndarray]) -> str:
    return f"error {arrays['msre']:.4f}, that of the Bayes prediction {arrays['floor']:.4f}"


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: means over seeds, with a 95 % bootstrap interval of the error."""
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
            "Bayes floor": float(floor.mean()),
            "diverged": float(sum(bool(r["diverged"]) for r in runs)),
        }
        if config["method"] in GRADIENTS:
            for name, words in (("angle", "layer-local"), ("angle_of_one_step", "one-step")):
                angles = np.mean([r[name] for r in runs], axis=0)
                table[label(config)] |= {f"{words} angle, start": angles[0], f"{words} angle, end": angles[-1]}
    by_method = {(config["task"], config["method"]): (label(config), runs) for config, runs in results}
    for (task, method), (name, runs) in by_method.items():
        if (task, EXACT) in by_method and method != EXACT:  # all methods see the same streams
            exact = by_method[task, EXACT][1]
            more = np.array([r["msre"] - e["msre"] for r, e in zip(runs, exact, strict=True)])
            low, high = interval(more)
            table[name] |= {
                "above exact": float(more.mean()),
                "above exact, low": float(low),
                "above exact, high": float(high),
                "seeds above exact": int((more > 0).sum()),
            }
    return table


def plot(results: Results) -> Any:
    """Learning curves above, angles along learning below, with a column for each task."""
    tasks = list(dict.fromkeys(config["task"] for config, _ in results))
    figure, axes = plotting.panels(2 * len(tasks), len(tasks), 2.5, height_ratios=(3, 2))
    for (curve, angle), task in zip(axes.T, tasks, strict=True):
        of_task = [(config, runs) for config, runs in results if config["task"] == task]
        for config, runs in of_task:
            line = curve_style(METHODS.index(config["method"]))
            line.pop("marker", None)
            band(curve, runs[0]["steps"], np.array([r["curve"] for r in runs]), label=config["method"], **line)
            if config["method"] in (EXACT, "layer-local RTRL"):
                at = np.maximum(np.array(LOOKS) * config["steps"], 1e-3 * config["steps"])
                band(angle, at, np.array([r["angle"] for r in runs]), **line)
        floor = np.mean([r["floor"] for _, runs in of_task for r in runs])
        curve.axhline(floor, color="k", linestyle="--", linewidth=1, label="Bayes prediction")
        curve.set(yscale="log", title=task, xlabel="step")
        plotting.plain_numbers(curve)
        step_axis(curve)
        angle.set(xscale="log", xlabel="step (the first is the start)", ylim=(0, 180), yticks=(0, 45, 90, 135, 180))
    axes[0, 0].set_ylabel("mean squared error")
    axes[1, 0].set_ylabel("degrees from the layer-\nlocal to the exact gradient")
    plotting.legend_below(figure, [axes[0, 0]])
    plotting.headline(figure, "Two layers of RTUs", len(results[0][1]))
    return figure
