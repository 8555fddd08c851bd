"""A cue, a wait, an answer: return against the length of the chain, for streaming Q(lambda) with several memories.

The memory chain of bsuite, lag-free (`envs.memory_chain`). A bit is shown before the first action. The last action
comes `length` steps later, and its reward is 1 if it names the bit, and -1 otherwise. An agent that remembers nothing
gets 0 on average.

Claim: a recurrent trace unit (RTU) with real-time recurrent learning (RTRL) keeps its return up to 64 steps and more.
Truncated backpropagation through time over one step, T-BPTT(1), collapses with every cell (Farr et al. 2026).

At length 64 the claim holds if the memory has to be learned. Whether the memory has to be learned depends on the start
of the units and on their observations. Units that start with r in [.9, .98] lose the cue within some 50 steps. Units
that start slow, with r in [.99, 1), still have the cue when the answer is expected. Then T-BPTT(1) often has only to
read the cue. Normalised observations help T-BPTT(1) further, since they enlarge a cue the more, the rarer the cue is.
The figure has all three cases.

Chosen here, on other seeds: 16 linear RTUs, phases below .1; Q(lambda) with gamma .999, lambda .995 and stochastic
gradient descent (SGD) 1e-3; epsilon from 1 to .01 within a tenth of the steps; float32. The gated recurrent unit (GRU)
has 16 units or 4. The published learner is Q(lambda) with regularised corrections, QRC(lambda). Here QRC(lambda)
equals Q(lambda), since with beta 1 its h stays at zero.

Other settings were tried at the longest chains, also with overshooting-bounded gradient descent (ObGD). Numbers are
mean returns of seeds 1000 to 1002, or of the first two in rows with (2). Rows without other words have RTRL and raw
observations:

    length 128   r from .99, Q(lambda) and SGD, or QRC            .98 to .99
                 the same with ObGD (2)                           .13; on normalised observations .97
                 r from .9 to 1, phases below .3, QRC (2)         -.55: the agent settles on the wrong answer, and knows
                                                                  its value; it tries the right one once in 200
    length 256   r from .99, QRC; with lambda .999                .16; .21
                 r from .997, phases below .03; with lambda 1     .07; -.34
                 the same with SGD 3e-3                           diverges in 2 of 3 runs
                 r from .997, 2 million steps (2)                 .99
                 r from .99, QRC, normalised observations (2)     .99

Minutes on two cores: smoke 0.5, laptop 22, overnight 60 (estimated), paper 240 (estimated).
"""

from typing import Any

import numpy as np

from experiments import control
from experiments.control import SCORES, describe, run
from experiments.engine import plotting
from experiments.engine.results import Config, Results
from rtu_np import GRU, RTRL, SGD, TBPTT, Dense, Epsilon, LinearRTU

__all__ = ["PRESETS", "SCORES", "describe", "label", "plot", "run", "score"]

LENGTHS = [2, 4, 8, 16, 32, 64, 128, 256]
FAST = LinearRTU(16, r_min=0.9, r_max=0.98, max_phase=0.1)
SLOW = LinearRTU(16, r_min=0.99, max_phase=0.1)
OTHERS: dict[str, dict[str, Any]] = {
    "GRU, T-BPTT(1)": {"cell": GRU(16), "gradient": TBPTT(1)},
    "feedforward": {"cell": Dense(32, "tanh")},
    "GRU of 4 units, RTRL": {"cell": GRU(4), "gradient": RTRL()},
}
METHODS = ["RTU, RTRL", "RTU, T-BPTT(1)", *OTHERS]
LEARNER: dict[str, Any] = {
    "gamma": 0.999,
    "lambda_": 0.995,
    "optimizer": SGD(1e-3),
    "scale_rewards": False,
}


def setting(method: str, length: int, steps: int, cell: Any = FAST, normalized: bool = False) -> Config:
    """One method on one chain. `cell` is the cell of the two methods with RTUs."""
    rtu = {"cell": cell} if method == "RTU, RTRL" else {"cell": cell, "gradient": TBPTT(1)}
    more = {**LEARNER, "epsilon": Epsilon(1.0, 0.01, steps // 10), "normalize_observations": normalized}
    parts = {**OTHERS.get(method, rtu), **more}
    return control.setting("MemoryChain", method, steps, "QLambda", {"length": length}, **parts)


def all_starts(steps: int, lengths: list[int], methods: list[str]) -> list[Config]:
    return [
        *(setting(method, length, steps) for method in methods for length in lengths),
        *(setting(method, length, steps, SLOW) for method in METHODS[:2] for length in lengths),
        *(setting(method, length, steps, SLOW, True) for method in METHODS[:2] for length in lengths),
    ]


def selected_lengths(steps: int) -> list[Config]:
    """All lengths for RTRL; for other methods the lengths around which the return changes."""
    rtrl, window = METHODS[:2]
    return [
        *(setting(rtrl, length, steps) for length in LENGTHS),
        *(setting(window, length, steps) for length in (16, 32, 64, 128)),
        *(setting(method, length, steps, SLOW) for method in (rtrl, window) for length in (64, 128, 256)),
        *(setting(method, 256, steps, SLOW, True) for method in (rtrl, window)),
        *(setting("GRU, T-BPTT(1)", length, steps) for length in (2, 16, 128)),
        *(setting("feedforward", length, steps) for length in (16, 128)),
    ]


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": [setting(METHODS[0], length, 2000) for length in (2, 4)], "seeds": range(1)},
    "laptop": {"settings": selected_lengths(500_000), "seeds": range(10)},
    "overnight": {"settings": all_starts(500_000, LENGTHS, METHODS), "seeds": range(16)},
    "paper": {"settings": all_starts(2_000_000, LENGTHS, METHODS), "seeds": range(16)},
}


def panel_of(config: Config) -> str:
    """The start of RTUs and their observations, which name the setting's panel in the figure."""
    start = "from .99" if config["parts"]["cell"].get("r_min") == SLOW.r_min else "from .9 to .98"
    return f"r {start}, {'normalised' if config['parts']['normalize_observations'] else 'raw'}"


def label(config: Config) -> str:
    start = f", {panel_of(config)}" if config["parts"]["cell"]["name"] == "LinearRTU" else ""
    return f"{config['method']}{start}, length {config['env']['length']}"


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: mean return in the last tenth, with a 95 % bootstrap interval, and the runs above .9."""
    table = control.score(results, label)
    for config, runs in results:
        table[label(config)]["runs above .9"] = int(sum(r["final"] > 0.9 for r in runs))
    return table


def plot(results: Results) -> Any:
    """Return in the last tenth against length, with a panel for each start and observation of the RTUs."""
    import matplotlib.pyplot as plt

    panels = list(dict.fromkeys(panel_of(config) for config, _ in results))
    figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels) + 0.6, 4.0), sharey=True, squeeze=False)
    for ax, panel in zip(axes.flat, panels, strict=True):
        for k, method in enumerate(METHODS):
            found = [
                (config["env"]["length"], np.array([r["final"] for r in runs]))
                for config, runs in results
                if config["method"] == method and panel_of(config) == panel
            ]
            if found:
                lengths, finals = zip(*found, strict=True)
                plotting.points(ax, list(lengths), list(finals), label=method, **plotting.curve_style(k))
        ax.axhline(0, color=plotting.GREY, linewidth=0.8, zorder=0)
        ax.set_xscale("log", base=2)
        ax.set_xticks(LENGTHS, map(str, LENGTHS))
        ax.set(
            xlim=(LENGTHS[0] / 1.2, LENGTHS[-1] * 1.2),
            xlabel="length of the chain",
            title=f"RTUs start with {panel} observations",
        )
    axes[0, 0].set_ylabel("return, last tenth of the steps")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    plotting.headline(figure, "Memory chain, Q(lambda)", len(results[0][1]))
    return figure
