"""Credit: the weight of a past input in the update, by its lag, for several gradients and traces.

Three things reach back in time. Real-time recurrent learning (RTRL) has the whole gradient of v_t by the parameters,
which is a sum over the steps that used them. Truncated backpropagation through time, T-BPTT(T), has the last T terms of
this sum. The eligibility trace of temporal-difference learning, TD(lambda), adds the gradients of v_{t-1}, v_{t-2},
..., each shrunk by gamma lambda: z_t = sum_j (gamma lambda)^j grad v_{t-j}. This is beyond the paper.

Claim: T-BPTT gives no weight to an input that is older than its window. A trace gives weight to old inputs, but as
inputs of earlier predictions, not as causes of this one. RTRL's weight falls off as the state forgets, and no sooner.

For fixed parameters the terms are measured as exact differences. The input at lag k adds to the gradient of v_t the
T-BPTT gradient with T = k + 1, less that with T = k. The same input adds to z_t the same sum over j as above, with lag
k - j in grad v_{t-j}. The weight is the norm over all parameters of the cell, relative to that of lag 0 with RTRL. The
weight is measured at the steps from a conditioned stimulus (CS) to its unconditioned stimulus (US).

Chosen here: trace conditioning, inter-stimulus interval (ISI) 10; before training, and after training with RTRL (gated
recurrent unit, GRU: T-BPTT(16)); the other cell is a recurrent trace unit (RTU); tanh, phases from (0, 1], Adam with
beta2 .9999.

Minutes on two cores: smoke 0.5, laptop 2, overnight 10 (estimated), paper 30 (estimated).
"""

from typing import Any

import numpy as np

from envs import TraceConditioning
from experiments import lags as by_lag
from experiments.engine import plotting
from experiments.engine.curves import Shown, band
from experiments.engine.results import Config, Results
from rtu_np import GRU, RTRL, TBPTT, Adam, LinearRTU, TDLambda, checkpoint
from rtu_np.cells.layer import Cell
from rtu_np.plot import curve_style

LAGS, TRIALS, WINDOW, LAMBDA = 40, 3, 4, 0.9
CELLS: dict[str, tuple[Cell, Any]] = {
    "linear RTU": (LinearRTU(16, "tanh", max_phase=1.0), RTRL()),
    "GRU": (GRU(16), TBPTT(16)),
}


def settings(names: list[str], steps: int, lags: int) -> list[Config]:
    return [
        {"name": name, "cell": checkpoint.describe(CELLS[name][0]), "step_size": 1e-3, "steps": learned, "lags": lags}
        for name in names
        for learned in (1, steps)
    ]


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": settings(["linear RTU"], 1000, 6), "seeds": range(2)},
    "laptop": {"settings": settings(list(CELLS), 500_000, LAGS), "seeds": range(8)},
    "overnight": {"settings": settings(list(CELLS), 2_000_000, LAGS), "seeds": range(10)},
    "paper": {"settings": settings(list(CELLS), 2_000_000, LAGS), "seeds": range(30)},
}


def run(config: Config, seed: int) -> dict[str, np.ndarray]:
    """Weight by lag, for each gradient, without traces and with traces."""
    stream_seed, learner_seed = np.random.SeedSequence(seed).generate_state(2).tolist()
    env, lags = TraceConditioning(), config["lags"]
    cell, gradient = checkpoint.build("cell", config["cell"]), CELLS[config["name"]][1]
    optimizer = Adam(config["step_size"], beta2=0.9999)
    learner = TDLambda(cell, env.n_inputs, env.gamma, LAMBDA, optimizer, gradient, seed=learner_seed)
    observations, cumulants = env.generate(config["steps"], seed=stream_seed)
    learner.run(observations, cumulants, progress=False)

    parameters = learner.parameters
    # Before learning the readout is zero, and so is every gradient. Any other readout then serves.
    readout = parameters["readout.w"]
    if not readout.any():
        readout = np.random.default_rng(seed).standard_normal(readout.shape)
    stream, _ = env.generate(TRIALS * 140)
    chosen = _waiting(stream, lags)
    body = [parameters[f"cell.{name}"] for name in cell.build(env.n_inputs, TBPTT(1)).parameters]
    found = by_lag.terms(cell, body, readout, stream, lags)
    decay = env.gamma * LAMBDA
    out = {}
    for name, window in (("RTRL", lags), (f"T-BPTT({WINDOW})", WINDOW), ("T-BPTT(1)", 1)):
        direct, traced = np.zeros((2, chosen.size, lags, found.shape[2]))
        direct[:, :window] = found[chosen, :window]
        for j in range(lags):
            reach = min(window, lags - j)
            traced[:, j : j + reach] += decay**j * found[chosen - j, :reach]
        out[name] = np.linalg.norm(direct, axis=2).mean(0)
        out[f"{name}, traces"] = np.linalg.norm(traced, axis=2).mean(0)
    scale = out["RTRL"][0]
    return {name: weight / scale for name, weight in out.items()}


def _waiting(stream: np.ndarray, lags: int) -> np.ndarray:
    """The steps from a CS to its US that have 2 `lags` steps or more before them."""
    us, cs = stream[:, 0] > 0, stream[:, 1] > 0
    waiting, out = False, np.zeros(len(stream), bool)
    for t in range(len(stream)):
        waiting = (waiting or cs[t]) and not us[t]
        out[t] = waiting and t >= 2 * lags
    return np.flatnonzero(out)


def label(config: Config) -> str:
    return f"{config['name']}, {'before' if config['steps'] == 1 else 'after'} learning"


def describe(arrays: dict[str, np.ndarray]) -> str:
    """One finished run in a few words."""
    return f"at the last lag: {', '.join(f'{name} {weight[-1]:.2g}' for name, weight in arrays.items())}"


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting and gradient: numbers}: weight at some lags, means over seeds."""
    table = {}
    for config, runs in results:
        for name in runs[0]:
            weight = np.array([r[name] for r in runs])
            at = {f"lag {k}": float(weight[:, k].mean()) for k in (0, 3, 4, 10, 20, 39) if k < weight.shape[1]}
            table[f"{label(config)}: {name}"] = {"seeds": len(runs), **at}
    return table


def curves(results: Results) -> Shown:
    """What the figure shows."""
    return [_shown(config, runs) for config, runs in results]


def _shown(config: Config, runs: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """What the figure shows of a setting: for each gradient, the weight by lag."""
    weights = {name: band([r[name] for r in runs]) for name in runs[0]}
    return {"label": label(config), "steps": config["steps"], "weight by lag": weights}


def draw_curves(shown: Shown) -> Any:
    """Weight against lag, with a panel for each cell before learning and after."""
    figure, axes = plotting.panels(len(shown), 2, 2.5, sharex=True, sharey=True)
    for ax, each in zip(axes.flat, shown, strict=True):
        for k, (name, weight) in enumerate(each["weight by lag"].items()):
            line = {**curve_style(k), "label": name, "markevery": max(1, weight.mean.size // 8)}
            if np.sum(weight.mean > 0) <= 4:  # few points, on top of other curves
                line |= {"markevery": 1, "markersize": 9, "markerfacecolor": "none", "zorder": 3}
            lags = np.where(weight.mean > 0, np.arange(weight.mean.size), np.nan)
            plotting.curve(ax, lags, weight, **line)
        ax.set(yscale="log", title=each["label"], ylim=(1e-4, 20))
    for ax in axes[-1]:
        ax.set_xlabel("lag of the input, steps")
    for ax in axes[:, 0]:
        ax.set_ylabel("weight, relative to lag 0")
    plotting.legend_below(figure)
    plotting.headline(figure, f"Trace conditioning, ISI 10, {shown[1]['steps']:,} steps", shown[0]["seeds"])
    return figure
