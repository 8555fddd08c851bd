"""A cue, a wait, an answer: greedy return against the length of the chain, for streaming Q(lambda) with two memories.

The memory chain of bsuite, lag-free (`envs.memory_chain`). Step sizes of Adam are chosen on seeds 1000 and 1001.
"""

from typing import Any

import numpy as np

from experiments import control
from experiments.control import describe, run
from experiments.engine import plotting
from experiments.engine.results import Config, Results, interval
from rtu_np import RTRL, TBPTT, Adam, Epsilon, LinearRTU, MinGRU

__all__ = ["PRESETS", "SCORES", "describe", "label", "plot", "run", "score"]

SCORES = (*control.SCORES, "greedy")
EPISODES = 100  # played without exploring, after learning
LEARNED = 0.9  # the mean greedy return from which on a seed has learned the task
LENGTHS, LAMBDAS = [32, 64, 128, 256], [0.8, 0.95]
CELLS = {"RTU": LinearRTU(64, "identity", r_min=0.9, r_max=0.982, max_phase=0.3), "MinGRU": MinGRU(64, gate_bias=-3.0)}
GRADIENTS = {"RTRL": RTRL(), "T-BPTT(1)": TBPTT(1)}
METHODS = [f"{cell}, {gradient}" for cell in CELLS for gradient in GRADIENTS]


def setting(method: str, length: int, lambda_: float, steps: int) -> Config:
    """One method on one chain."""
    cell, gradient = method.split(", ")
    parts = {
        "cell": CELLS[cell],
        "gradient": GRADIENTS[gradient],
        "gamma": 0.999,
        "lambda_": lambda_,
        "optimizer": Adam(3e-4),
        "epsilon": Epsilon(1.0, 0.05, steps // 5),
        "normalize_observations": False,
        "scale_rewards": False,
    }
    config = control.setting("MemoryChain", method, steps, "QLambda", {"length": length}, **parts)
    return {**config, "greedy": EPISODES}


def settings(steps: int, lengths: list[int]) -> list[Config]:
    return [setting(method, length, lambda_, steps) for method in METHODS for lambda_ in LAMBDAS for length in lengths]


TUNING = {"step_sizes": [1e-4, 3e-4, 1e-3, 3e-3], "seeds": range(1000, 1002)}
LONGER = [setting(method, 256, lambda_, 2_000_000) for method in METHODS[:2] for lambda_ in LAMBDAS]  # Adam(3e-4)
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": [setting(METHODS[0], length, 0.8, 2000) for length in (2, 4)], "seeds": range(1)},
    "laptop": {"settings": settings(500_000, LENGTHS), "tuning": TUNING, "seeds": range(10)},
    "longer": {"settings": LONGER, "seeds": range(10)},
    "overnight": {"settings": settings(2_000_000, [*LENGTHS, 512]), "tuning": TUNING, "seeds": range(16)},
}


def label(config: Config) -> str:
    return f"{config['method']}, lambda {config['parts']['lambda_']:g}, length {config['env']['length']}"


def greedy_returns(runs: list[dict[str, np.ndarray]]) -> np.ndarray:
    """The mean greedy return of each run. That of a run that diverged is 0, as of an agent without memory."""
    return np.array([r["greedy"].mean() if r["greedy"].size else 0.0 for r in runs])


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: as `control.score`, and the greedy return after learning, also as a count of seeds."""
    table = control.score(results, label)
    for config, runs in results:
        greedy = greedy_returns(runs)
        low, high = interval(greedy)
        table[label(config)] |= {
            "greedy": float(greedy.mean()),
            "greedy low": float(low),
            "greedy high": float(high),
            "smallest greedy": float(greedy.min()),
            "seeds that learn": int((greedy >= LEARNED).sum()),
        }
    return table


def plot(results: Results) -> Any:
    """Greedy return against length, with a panel for each lambda."""
    import matplotlib.pyplot as plt

    lambdas = list(dict.fromkeys(config["parts"]["lambda_"] for config, _ in results))
    lengths = list(dict.fromkeys(config["env"]["length"] for config, _ in results))
    figure, axes = plt.subplots(1, len(lambdas), figsize=(4.2 * len(lambdas) + 0.4, 3.8), sharey=True, squeeze=False)
    for ax, lambda_ in zip(axes.flat, lambdas, strict=True):
        for k, method in enumerate(METHODS):
            found = [
                (config["env"]["length"], greedy_returns(runs))
                for config, runs in results
                if config["method"] == method and config["parts"]["lambda_"] == lambda_
            ]
            if found:
                x, greedy = zip(*found, strict=True)
                spread = 2 ** (0.06 * (k - 1.5))  # so that no marker hides another
                plotting.points(ax, [n * spread for n in x], list(greedy), label=method, **plotting.curve_style(k))
        for y in (0, 1):
            ax.axhline(y, color=plotting.GREY, linewidth=0.8, zorder=0)
        ax.set_xscale("log", base=2)
        ax.set_xticks(lengths, map(str, lengths))
        ax.minorticks_off()
        ax.set(xlabel="length of the chain", title=f"lambda {lambda_:g}", ylim=(-0.6, 1.1))
    axes[0, 0].set_ylabel(f"greedy return after {results[0][0]['steps']:,} steps")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    plotting.headline(figure, "Memory chain, Q(lambda)", len(results[0][1]))
    return figure
