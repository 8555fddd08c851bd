"""Approximate gradients: how far each is from the exact one, and what is learned with each at equal compute.

Four gradients cost less than full real-time recurrent learning (RTRL) of a dense cell. SnAp-1 keeps each unit's own
past, RFLO what a leak keeps, T-BPTT(1) nothing; UORO is random, and right on average. Four questions:

angle       the angle to the exact gradient, before learning and along the way, with the parameters held fixed
bias        UORO's mean gradient after up to 10,000 draws: its distance from the exact one, in standard errors
learning    trace conditioning, each method with the same number of counted floating-point operations in all
stale       the angle of what a learner carries to the gradient that today's parameters would have, for recurrent trace
            units (RTUs) with RTRL() and RTRL(taylor=True)

Claim: UORO has no bias, and one draw of it is far from the exact gradient. At equal compute the cheap gradients learn
more in a dense cell than its full RTRL, SnAp-1 most.

The claim holds: z-scores of UORO's mean over 10,000 draws have an rms near 1, and one draw is 60 to 80 degrees off.
SnAp-1 of the GRU, 15 to 20 degrees off, is the nearest to the Bayes floor of all, also than RTRL of an RTU, which has
four times its steps. Two results were not expected: in a network without gates SnAp-1 is hardly nearer than T-BPTT(1),
and corrected sensitivities are no nearer to the gradient of today's parameters than RTRL's, but for the nonlinear RTU
with the largest step size: states are old as well, and moves of other parameters count as much (derivations (96)).

The angles are medians over `POINTS` steps, `SPACING` apart, behind a stretch of `STRETCH` steps, for the gradient of a
random sum of the outputs, and the table has their mean over moments. Parameters are those of a learner with full RTRL.
Operations are counted, not timed: the table has microseconds as well.

Chosen here: trace conditioning with an inter-stimulus interval (ISI) of 10; 16 units; leak .1; temporal-difference
learning, TD(lambda), with lambda 0, so that only the gradient reaches back; Adam, beta2 .9999, the step size chosen for
each method on seeds that are not reported.

Minutes on two cores: smoke 0.5, laptop 5, overnight 120 (estimated).
"""

from typing import Any

import numpy as np

from envs import TraceConditioning
from experiments import prediction, stale_gradients
from experiments.engine import plotting, selection
from experiments.engine.curves import Shown, band
from experiments.engine.results import Config, Results
from rtu_np import (
    GRU,
    RFLO,
    RTRL,
    TBPTT,
    UORO,
    Adam,
    LinearRTU,
    NonlinearRTU,
    SnAp1,
    TDLambda,
    VanillaRNN,
    checkpoint,
    flops,
    metrics,
)
from rtu_np.gradcheck.unbiased import draw_gradients
from rtu_np.intervals import interval
from rtu_np.plot import GREY, curve_style

ANGLE, BIAS, LEARNING, STALE = "angle", "bias", "learning", "stale"
RTU = "linear RTU"
SHOWN = 25  # points of a learning curve
STRETCH, POINTS, SPACING = 1000, 20, 10
CELLS: dict[str, Any] = {"leaky RNN": VanillaRNN(16, leak=0.1), "RNN": VanillaRNN(16), "GRU": GRU(16)}
METHODS: dict[str, Any] = {
    "RTRL": RTRL(),
    "SnAp-1": SnAp1(),
    "RFLO": RFLO(),
    "UORO": UORO(0),
    "T-BPTT(1)": TBPTT(1),
    "T-BPTT(16)": TBPTT(16),
}
RTUS = {RTU: LinearRTU, "nonlinear RTU": NonlinearRTU}
STEP_SIZES = [3e-4, 1e-3, 3e-3]
LEARNED = [0, 1000, 3000, 10_000]  # steps of learning before an angle is taken


def _applies(cell: str, method: str) -> bool:
    return method != "RFLO" or cell == "leaky RNN"


def _angle(cell: str, methods: list[str], learned: list[int], cells: dict[str, Any]) -> Config:
    gradients = {method: checkpoint.describe(METHODS[method]) for method in methods}
    return {
        "part": ANGLE,
        "panel": cell,
        "cell": checkpoint.describe(cells[cell]),
        "gradients": gradients,
        "learned": learned,
    }


def _bias(cell: str, draws: list[int], cells: dict[str, Any]) -> Config:
    return {"part": BIAS, "panel": cell, "cell": checkpoint.describe(cells[cell]), "draws": draws}


# Operations of a step when the runs were made. These gradients of dense cells have become cheaper since: SnAp-1 and
# RFLO by half, full RTRL by a twelfth.
_THEN = {
    ("leaky RNN", "RTRL"): 281_072,
    ("leaky RNN", "SnAp-1"): 7_344,
    ("leaky RNN", "RFLO"): 7_312,
    ("GRU", "RTRL"): 868_096,
    ("GRU", "SnAp-1"): 22_176,
}


def _learning(panel: str, method: str, cell: Any, operations: float) -> Config:
    gradient = METHODS[method]
    steps = int(operations / (_THEN.get((panel, method)) or flops(cell, TraceConditioning().n_inputs, gradient)))
    place: dict[str, Any] = {"part": LEARNING, "panel": panel, "method": method, "x": None}
    return prediction.setting(cell, gradient, steps=steps, lambda_=0.0, **place)


def _stale(cell: str, taylor: bool, step_size: float, steps: int) -> Config:
    method = "RTRL, corrected" if taylor else "RTRL"
    described = checkpoint.describe(RTUS[cell](16, "tanh", max_phase=1.0))
    place = {"part": STALE, "panel": cell, "method": method, "x": step_size}
    return {**place, "cell": described, "taylor": taylor, "moves": step_size, "steps": steps}


def _all(operations: float) -> dict[str, list[Config]]:
    """The settings of a preset: those that are measured as they are, and those whose step size is chosen."""
    pairs = [(cell, method) for cell in CELLS for method in METHODS if _applies(cell, method)]
    fixed = [_angle(cell, [m for c, m in pairs if c == cell and m != "RTRL"], LEARNED, CELLS) for cell in CELLS]
    fixed += [_bias(cell, [10, 100, 1000, 10_000], CELLS) for cell in CELLS]
    fixed += [_stale(cell, corrected, x, 50_000) for cell in RTUS for corrected in (False, True) for x in STEP_SIZES]
    learning = [_learning(cell, method, CELLS[cell], operations) for cell, method in pairs if cell != "RNN"]
    learning.append(_learning(RTU, "RTRL", RTUS[RTU](16, "tanh", max_phase=1.0), operations))
    return {"fixed": fixed, "learning": learning}


_SMALL: dict[str, Any] = {"leaky RNN": VanillaRNN(4, leak=0.1)}
PRESETS: dict[str, dict[str, Any]] = {  # steps of all learners; 0: each has its own, by its operations
    "smoke": {
        "fixed": [_angle("leaky RNN", ["UORO"], [0], _SMALL), _bias("leaky RNN", [10, 100], _SMALL)],
        "learning": [_learning(RTU, "RTRL", LinearRTU(4), 3e6)],
        "steps": 0,
        "step_tuning": {"step_sizes": [1e-3], "seeds": [1000]},
        "seeds": range(2),
    },
    "laptop": {**_all(3e9), "steps": 0, "step_tuning": {"step_sizes": STEP_SIZES, "seeds": [1000]}, "seeds": range(5)},
    "overnight": {
        **_all(3e10),
        "steps": 0,
        "step_tuning": {"step_sizes": STEP_SIZES, "seeds": [1000, 1001]},
        "seeds": range(10),
    },
}


def stages(preset: dict[str, Any]) -> list[selection.Stage]:
    """Step sizes of the learners on seeds of their own; then everything."""
    tuning, steps = preset["step_tuning"], preset["steps"]
    fixed, learning = (
        [{**config, "steps": steps} if steps and "steps" in config else config for config in preset[part]]
        for part in ("fixed", "learning")
    )
    return [
        (lambda earlier: selection.trials(learning, tuning), list(tuning["seeds"])),
        (lambda earlier: [*fixed, *selection.chosen(learning, earlier[-1])], list(preset["seeds"])),
    ]


# ------------------------------------------------------------------------------------------------------------- runs


def run(config: Config, seed: int) -> dict[str, np.ndarray]:
    """One run of a setting, by its part."""
    if config["part"] == LEARNING:
        return prediction.run(config, seed)
    if config["part"] == STALE:
        return stale(config, seed)
    return angle(config, seed) if config["part"] == ANGLE else bias(config, seed)


def stale(config: Config, seed: int) -> dict[str, np.ndarray]:
    """(moments,) degrees between what the learner carries and today's gradient, by part and in all."""
    learner = {"cell": config["cell"], "step_size": config["moves"], "steps": config["steps"]}
    blocks = {"nu_log": "nu_log", "theta_log": "theta_log", "all": ""}
    try:
        pairs = stale_gradients.gradients(learner, seed, RTRL(taylor=config["taylor"]))
    except FloatingPointError:
        return {**{name: np.full(stale_gradients.MOMENTS, np.nan) for name in blocks}, "diverged": np.array(True)}
    found = {
        name: np.array([stale_gradients.compare(*pair, only)[0] for pair in pairs]) for name, only in blocks.items()
    }
    return {**found, "diverged": np.array(False)}


def angle(config: Config, seed: int) -> dict[str, np.ndarray]:
    """(methods, moments) degrees to the exact gradient, of all parameters of the cell."""
    stream_seed, learner_seed = np.random.SeedSequence(seed).generate_state(2).tolist()
    env, cell = TraceConditioning(), checkpoint.build("cell", config["cell"])
    methods = [checkpoint.build("gradient", described) for described in config["gradients"].values()]
    methods = [UORO(learner_seed) if isinstance(method, UORO) else method for method in methods]
    learned, behind = config["learned"], STRETCH + POINTS * SPACING
    observations, cumulants = env.generate(max(learned) + behind, seed=stream_seed)
    guide = TDLambda(cell, env.n_inputs, env.gamma, 0.0, Adam(1e-3, beta2=0.9999), RTRL(), learner_seed)
    dy = np.random.default_rng(learner_seed).standard_normal(cell.spec(env.n_inputs).n_outputs)
    degrees = []
    for steps in learned:
        if steps > guide.steps:
            rows = slice(guide.steps, steps)
            guide.run(observations[rows], cumulants[rows], progress=False)
        layers = [cell.build(env.n_inputs, each, learner_seed) for each in (RTRL(), *methods)]
        for layer in layers:
            for name, view in layer.parameters.items():
                view[:] = guide.parameters[f"cell.{name}"]
        degrees.append(_degrees(layers, observations[steps : steps + behind], dy))
    return {"degrees": np.array(degrees).T}


def _degrees(layers: list[Any], stream: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """The median angle between the gradient of dy . y_t of each layer and that of the first, behind a stretch."""
    found = []
    for t, x in enumerate(stream):
        for layer in layers:
            layer.advance(x)
        if t >= STRETCH and t % SPACING == 0:
            flat = [np.concatenate([part.ravel() for part in layer.gradient(dy).values()]) for layer in layers]
            found.append([metrics.angle(each, flat[0]) for each in flat[1:]])
    return np.median(found, 0)


def bias(config: Config, seed: int) -> dict[str, np.ndarray]:
    """For each number of draws: the error of the mean relative to the exact gradient's norm, and its z-scores."""
    input_seed, draw_seed = np.random.SeedSequence(seed).generate_state(2).tolist()
    cell, rng = checkpoint.build("cell", config["cell"]), np.random.default_rng(input_seed)
    n_inputs = TraceConditioning().n_inputs
    inputs, dy = rng.standard_normal((20, n_inputs)), rng.standard_normal(cell.spec(n_inputs).n_outputs)
    rows = []
    for n in config["draws"]:
        draws = draw_gradients(cell, UORO((draw_seed + n) % 2**32), inputs, dy, n, draw_seed)
        exact, mean = (np.concatenate([part.ravel() for part in each.values()]) for each in (draws.exact, draws.mean))
        z = np.concatenate([draws.z(name).ravel() for name in draws.exact])
        rows.append((np.linalg.norm(mean - exact) / np.linalg.norm(exact), np.sqrt(np.mean(z**2)), z.max()))
    error, rms, largest = np.array(rows).T
    return {"error": error, "rms z": rms, "largest z": largest}


# ------------------------------------------------------------------------------------------------ tables and figure


def label(config: Config) -> str:
    """A setting in a few words."""
    method = f", {config['method']}" if "method" in config else ""
    moves = f", step size {config['moves']:g}" if config["part"] == STALE else ""
    return f"{config['part']}: {config['panel']}{method}{moves}"


def describe(arrays: dict[str, np.ndarray]) -> str:
    """One finished run in a few words."""
    if "msre" in arrays:
        return prediction.describe(arrays)
    if "degrees" in arrays:
        return f"{', '.join(f'{each:.3g}' for each in arrays['degrees'][:, -1])} degrees"
    return (
        f"largest z {arrays['largest z'][-1]:.2f}" if "error" in arrays else f"{np.median(arrays['all']):.3g} degrees"
    )


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: means over seeds; ratios to the Bayes floor with 95 % intervals."""
    table = {}
    for config, runs in results:
        of_part = {ANGLE: _of_angle, BIAS: _of_bias, LEARNING: _of_learning, STALE: _of_stale}[config["part"]]
        table[label(config)] = {"seeds": len(runs), **of_part(config, runs)}
    return table


def _of_angle(config: Config, runs: list[dict[str, np.ndarray]]) -> dict[str, float]:
    degrees = np.mean([r["degrees"] for r in runs], 0)
    return {f"degrees, {name}": float(d) for name, d in zip(config["gradients"], degrees.mean(1), strict=True)}


def _of_bias(config: Config, runs: list[dict[str, np.ndarray]]) -> dict[str, float]:
    errors = np.mean([r["error"] for r in runs], 0)
    found = {f"error after {n} draws": float(e) for n, e in zip(config["draws"], errors, strict=True)}
    rms = float(np.sqrt(np.mean([r["rms z"][-1] ** 2 for r in runs])))
    return {**found, "rms z": rms, "largest z": float(max(r["largest z"][-1] for r in runs))}


def _of_learning(config: Config, runs: list[dict[str, np.ndarray]]) -> dict[str, float]:
    ratios = np.array([r["msre"] / r["floor"] for r in runs])
    low, high = interval(ratios)
    return {
        "steps": config["steps"],
        "step size": config["step_size"],
        "ratio to floor": float(ratios.mean()),
        "low": float(low),
        "high": float(high),
        "diverged": float(sum(r["diverged"] for r in runs)),
        "us per step": float(np.median([r["microseconds"] for r in runs])),
    }


def _of_stale(config: Config, runs: list[dict[str, np.ndarray]]) -> dict[str, float]:
    names = {"nu_log": "degrees of nu_log", "theta_log": "degrees of theta_log", "all": "degrees of all"}
    found = {text: float(np.mean(_medians(runs, name))) for name, text in names.items()}
    return {**found, "diverged": float(len(runs) - len(_medians(runs, "all")))}


def _medians(runs: list[dict[str, np.ndarray]], name: str) -> np.ndarray:
    """The median over moments of each run that did not diverge."""
    return np.array([np.median(r[name]) for r in runs if np.isfinite(r[name]).all()])


def curves(results: Results) -> Shown:
    """What the figure shows."""
    return [_shown(config, runs) for config, runs in results]


def _shown(config: Config, runs: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """What the figure shows of a setting, by its part."""
    shown: dict[str, Any] = {
        name: config[name] for name in ("part", "panel", "method", "learned", "draws", "steps") if name in config
    }
    if config["part"] == ANGLE:
        degrees = {method: band([r["degrees"][k] for r in runs]) for k, method in enumerate(config["gradients"])}
        return {**shown, "degrees": degrees}
    if config["part"] == BIAS:
        return {**shown, "error": band([r["error"] for r in runs])}
    if config["part"] == LEARNING:
        ratios = [[part.mean() for part in np.array_split(r["curve"] / r["floor"], SHOWN)] for r in runs]
        return {**shown, "ratio": band(ratios)}
    degrees = {name: band(_medians(runs, name)) for name in ("nu_log", "theta_log", "all")}
    return {**shown, "taylor": config["taylor"], "moves": config["moves"], "degrees": degrees}


def draw_curves(shown: Shown) -> Any:
    """Angles, UORO's bias, learning curves against operations, and stale against corrected sensitivities."""
    parts = {part: [each for each in shown if each["part"] == part] for part in (ANGLE, LEARNING, STALE, BIAS)}
    panels = [(part, panel) for part in parts for panel in dict.fromkeys(each["panel"] for each in parts[part])]
    places = [key for key in panels if key[0] != BIAS and key != (LEARNING, RTU)] + [(BIAS, "all")]
    figure, axes = plotting.panels(len(places), 2, 3.3, foot=0.2)
    draw = {ANGLE: _draw_angle, BIAS: _draw_bias, LEARNING: _draw_learning, STALE: _draw_stale}
    for ax, (part, panel) in zip(axes.flat, places, strict=False):
        beside = RTU if part == LEARNING else panel
        draw[part](ax, [each for each in parts[part] if part == BIAS or each["panel"] in (panel, beside)])
        ax.set_title(f"{part}: {panel}")
        columns = 3 if part == ANGLE else 2
        ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=columns, columnspacing=1)
    plotting.headline(figure, "Approximate gradients on trace conditioning, ISI 10", shown[0]["seeds"])
    return figure


def _line(method: str) -> dict[str, Any]:
    return curve_style(list(METHODS).index(method))


def _draw_angle(ax: Any, shown: Shown) -> None:
    for each in shown:
        x = np.maximum(each["learned"], 100)  # 0 has no place on a logarithmic axis
        for method, degrees in each["degrees"].items():
            plotting.curve(ax, x, degrees, label=method, **_line(method))
    ax.set(xscale="log", xlabel="steps learned before (100: none)", ylabel="degrees to exact", ylim=(0, None))


def _draw_bias(ax: Any, shown: Shown) -> None:
    for k, each in enumerate(shown):
        plotting.curve(ax, each["draws"], each["error"], label=each["panel"], **curve_style(k))
    x = np.array(shown[0]["draws"], float)
    first = np.mean([each["error"].mean[0] for each in shown])
    ax.plot(x, first * np.sqrt(x[0] / x), "k:", label="1 / sqrt(draws)")
    ax.set(xscale="log", yscale="log", xlabel="draws", ylabel="|mean - exact| / |exact|")


def _draw_learning(ax: Any, shown: Shown) -> None:
    x = np.linspace(0, 1, SHOWN + 1)[1:]
    for each in shown:
        line = {"color": GREY, "linestyle": "-."} if each["panel"] == RTU else _line(each["method"])
        name = RTU if each["panel"] == RTU else each["method"]
        plotting.curve(ax, x, each["ratio"], label=f"{name}, {each['steps']:,} steps", **line)
    ax.axhline(1, color="k", linestyle="--", linewidth=1)
    ax.set(yscale="log", xlabel="share of the operations", ylabel="error / Bayes floor")
    plotting.plain_numbers(ax)


def _draw_stale(ax: Any, shown: Shown) -> None:
    for corrected in (False, True):
        of_method = [each for each in shown if each["taylor"] == corrected]
        for k, name in enumerate(("nu_log", "theta_log", "all")):
            line = {**curve_style(k), "linestyle": "--" if corrected else "-"}
            text = f"{name}{', corrected' if corrected else ''}"
            bands = [each["degrees"][name] for each in of_method]
            plotting.band_points(ax, [each["moves"] for each in of_method], bands, label=text, **line)
    ax.set(xscale="log", yscale="log", xlabel="step size of Adam", ylabel="degrees to today's")
    plotting.plain_numbers(ax)
    ax.set_xticks(STEP_SIZES, [f"{x:g}" for x in STEP_SIZES])
    ax.set_xticks([], minor=True)
