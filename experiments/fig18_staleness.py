"""Stale or fresh: does proximal policy optimisation gain from a rollout that is recomputed between its epochs?

Elelimy et al. 2024, Fig. 18 and Algorithm 1, with proximal policy optimisation (PPO) and real-time recurrent learning
(RTRL) on Ant without velocities. Stale sensitivities and targets are those stored. Fresh ones are recomputed with
present parameters before each epoch but the first. The figure has the return and the approximate Kullback-Leibler (KL)
divergence.

Claim: stale gradients do better.

By our reading, the released code's fresh branch stores the states after each step, although the states before the step
are expected. Here the fresh states are those before the step. Chosen here: linear recurrent trace unit (RTU) of 192
units, with Adam's step size 3e-4 in `laptop`. In `long`, on Ant as in the paper, the step size is tuned for each of the
four, on two other seeds and 300,000 steps; a run of 500,000 takes 2 minutes. In the other presets nothing is tuned.

Minutes on two cores: smoke 1, laptop 6, long 50, overnight 40 (estimated), paper 2000 (estimated).
"""

from functools import partial
from typing import Any

import numpy as np

from experiments import control
from experiments.control import describe, label
from experiments.engine import plotting
from experiments.engine.curves import Shown, band
from experiments.engine.results import Results
from experiments.ppo_agents import AS_PUBLISHED, PUBLISHED, SHORT, SMALL, TUNING, UNITS, ppo
from rtu_np import LinearRTU, ppo_network
from rtu_np.intervals import interval
from rtu_np.plot import curve_style, step_axis

__all__ = ["PRESETS", "SCORES", "curves", "describe", "draw_curves", "label", "run", "score"]

REFRESH = {
    "stale gradients, stale targets": {"refresh": "none"},
    "fresh gradients, stale targets": {"refresh": "gradients"},
    "stale gradients, fresh targets": {"refresh": "targets"},
    "fresh gradients, fresh targets": {"refresh": "both"},
}
LARGE = {"cell": ppo_network(LinearRTU(UNITS["RTU"]))}
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": ppo("Hopper-P", 1000, REFRESH, **SMALL), "seeds": range(1)},
    "laptop": {"settings": ppo("Ant-P", 150_000, REFRESH, **LARGE, **SHORT), "seeds": range(3)},
    "long": {"settings": ppo("Ant-P", 500_000, REFRESH, **LARGE, **SHORT), "tuning": TUNING, "seeds": range(5)},
    "overnight": {"settings": ppo("Ant-P", 1_000_000, REFRESH, **LARGE, **AS_PUBLISHED), "seeds": range(3)},
    "paper": {"settings": ppo("Ant-P", 5_000_000, REFRESH, **LARGE, **AS_PUBLISHED), "seeds": range(30)},
}
run = partial(control.run, watched=("approximate_kl",))
SCORES = (*control.SCORES, "approximate_kl")


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: mean return, and mean approximate KL divergence of an update, in the last tenth."""
    table = control.score(results)
    for config, runs in results:
        late = np.array([r["approximate_kl"][-control.BINS // 10 :].mean() for r in runs])
        low, high = interval(late)
        table[label(config)] |= {"KL": float(late.mean()), "KL, low": float(low), "KL, high": float(high)}
    return table


def curves(results: Results) -> Shown:
    """What the figure shows: returns, and divergences of updates."""
    divergences = [band([r["approximate_kl"] for r in runs]) for _, runs in results]
    return [{**each, "KL": KL} for each, KL in zip(control.curves(results), divergences, strict=True)]


def draw_curves(shown: Shown) -> Any:
    """Return and approximate KL divergence of an update, while learning."""
    figure, (axes,) = plotting.panels(2, 2, 2.6)
    for k, each in enumerate(shown):
        for ax, name in zip(axes, ("return", "KL"), strict=True):
            line = {**curve_style(k), "label": each["method"], "markevery": control.BINS // 8}
            plotting.curve(ax, control.ends(each), each[name], **line)
            step_axis(ax)
    axes[0].set(xlabel="step", ylabel="return of an episode", title=shown[0]["task"])
    axes[1].set(xlabel="step", ylabel="nats", yscale="log", title="approximate KL divergence of an update")
    plotting.legend_below(figure)
    plotting.headline(figure, "PPO, stale or fresh gradients and targets", shown[0]["seeds"], PUBLISHED)
    return figure
