"""A cue, a wait, an answer: return against the length of the chain, for streaming Q(lambda) with several memories.

The memory chain of bsuite, lag-free (`envs.memory_chain`): a bit is shown before the first action, and the last one,
`length` steps later, is paid 1 for naming it and -1 for the other. Who remembers nothing gets 0 on average.

Claim: an RTU with RTRL holds up to 64 steps and more, and T-BPTT(1), whatever the cell, collapses (Farr et al. 2026).

What decides beside the gradient is where the units start and what they are shown. Chosen here, on other seeds: 16
linear RTUs that start slow, r in [.99, 1) and phases below .1; Q(lambda) with gamma .999, lambda .995 and SGD 1e-3;
epsilon from 1 to .01 within a tenth of the steps; float32; raw observations. Normalised ones show the cue as many times
larger as it is rare, and a slow start then remembers without having learned to: T-BPTT(1) has but to read it (right
panel). QRC(lambda), the published learner, is Q(lambda) here: with beta 1 its h stays at nothing.

Minutes on two cores: smoke 0.5, laptop 30 (estimated), overnight 60 (estimated), paper 200 (estimated).
"""

from typing import Any

import numpy as np

from experiments import control, plotting
from experiments.control import describe, run
from experiments.prediction import Config, Results
from rtu_np import GRU, RTRL, SGD, TBPTT, Dense, Epsilon, LinearRTU

__all__ = ["PRESETS", "describe", "label", "plot", "run", "score"]

LENGTHS = [2, 4, 8, 16, 32, 64, 128, 256]
SOME = [2, 16, 128]
SLOW = LinearRTU(16, r_min=0.99, max_phase=0.1)
METHODS: dict[str, dict[str, Any]] = {
    "RTU, RTRL": {"cell": SLOW},
    "RTU, T-BPTT(1)": {"cell": SLOW, "gradient": TBPTT(1)},
    "GRU, T-BPTT(1)": {"cell": GRU(16), "gradient": TBPTT(1)},
    "GRU of 4 units, RTRL": {"cell": GRU(4), "gradient": RTRL()},
    "feedforward": {"cell": Dense(32, "tanh")},
}
LEARNER: dict[str, Any] = {
    "gamma": 0.999,
    "lambda_": 0.995,
    "optimizer": SGD(1e-3),
    "scale_rewards": False,
}


def settings(steps: int, normalized: bool, lengths: list[int], methods: list[str]) -> list[Config]:
    more = {**LEARNER, "epsilon": Epsilon(1.0, 0.01, steps // 10), "normalize_observations": normalized}
    return [
        control.setting("MemoryChain", method, steps, "QLambda", {"length": length}, **METHODS[method], **more)
        for method in methods
        for length in lengths
    ]


def both(steps: int, lengths: list[int], others: list[int], methods: list[str]) -> list[Config]:
    """The RTUs at all `lengths`, the others at some; and the RTUs on normalised observations at two long ones."""
    raw = settings(steps, False, lengths, methods[:2]) + settings(steps, False, others, methods[2:])
    return raw + settings(steps, True, [64, 256], methods[:2])


ALL = list(METHODS)
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": settings(2000, False, [2, 4], ALL[:1]), "seeds": range(1)},
    "laptop": {"settings": both(500_000, LENGTHS, SOME, [*ALL[:3], ALL[4]]), "seeds": range(10)},
    "overnight": {"settings": both(500_000, LENGTHS, LENGTHS, ALL), "seeds": range(16)},
    "paper": {"settings": both(2_000_000, LENGTHS, LENGTHS, ALL), "seeds": range(16)},
}


def label(config: Config) -> str:
    seen = "normalised" if config["parts"]["normalize_observations"] else "raw"
    return f"{config['method']}, {seen}, length {config['env']['length']}"


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: mean return in the last tenth, with a 95 % bootstrap interval, and how many runs hold."""
    table = control.score(results, label)
    for config, runs in results:
        table[label(config)]["runs above .9"] = int(sum(r["final"] > 0.9 for r in runs))
    return table


def plot(results: Results) -> Any:
    """Return in the last tenth against length: raw observations, and normalised ones."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    for normalized, ax in enumerate(axes):
        for k, method in enumerate(METHODS):
            found = [
                (config["env"]["length"], np.array([r["final"] for r in runs]))
                for config, runs in results
                if config["method"] == method and config["parts"]["normalize_observations"] == bool(normalized)
            ]
            if found:
                lengths, finals = zip(*found, strict=True)
                plotting.points(ax, list(lengths), list(finals), label=method, **plotting.look(k))
        ax.axhline(0, color=plotting.GREY, linewidth=0.8, zorder=0)
        ax.set_xscale("log", base=2)
        ax.set(xlabel="length of the chain", title=("raw observations", "normalised observations")[normalized])
    axes[0].set_ylabel("return, last tenth of the steps")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    plotting.headline(figure, "Memory chain, Q(lambda)", len(results[0][1]))
    return figure
