"""Does a recurrent network need complex eigenvalues? A vanilla network on the three-state task.

Elelimy et al. 2024, Fig. 7 and 8. From s1 and s2 the next state can be any state. From s3 the next state is the one
before s3 (`envs.three_state`). The learner predicts, one step ahead, whether s1 comes next. In s3 the answer is certain
if the learner remembers the state before. Without memory, 50 percent of the answers in s3 are right.

Claim: a vanilla recurrent neural network (RNN) solves the task, and its weight matrix then has more than 1.5 complex
eigenvalues on average (30 runs). The figure also has a recurrent trace unit (RTU), whose eigenvalues are complex by
construction.

Chosen here, since the paper does not give them: 2 and 3 units, tanh, exact real-time recurrent learning (RTRL),
temporal-difference learning, TD(0), with discount 0 on the indicator of s1, a linear readout, Adam with beta2 .999,
float32.

A random orthogonal start already has complex eigenvalues, on average 1 of 2, and 2 of 3. They say nothing about
learning. So there is a second start, which is symmetric and has no complex eigenvalues. An eigenvalue counts as complex
if its imaginary part is not 0. The imaginary part of a real eigenvalue is exactly 0, even with rounding.

Minutes on two cores: smoke 0.3, laptop 0.6, overnight 3 (estimated), paper 5 (estimated).
"""

from typing import Any

import numpy as np

from envs.three_state import MIDDLE, ThreeState
from experiments.engine import plotting
from experiments.engine.curves import Shown, band
from experiments.engine.results import Config, Results
from rtu_np import RTRL, Adam, LinearRTU, TDLambda, VanillaRNN
from rtu_np.intervals import interval
from rtu_np.plot import curve_style, step_axis

CHECKPOINTS = 50
RNN, RTU = "vanilla RNN", "linear RTU"


def settings(sizes: list[int], steps: int) -> list[Config]:
    rnns: list[Config] = [{"cell": RNN, "n": n, "start": start} for n in sizes for start in ("orthogonal", "symmetric")]
    rtus: list[Config] = [{"cell": RTU, "n": n, "start": "ring"} for n in sizes]
    return [{**cell, "step_size": 3e-3, "steps": steps} for cell in (*rnns, *rtus)]


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": settings([2], 5000), "seeds": range(2)},
    "laptop": {"settings": settings([2, 3], 200_000), "seeds": range(30)},
    "overnight": {"settings": settings([2, 3, 4], 500_000), "seeds": range(30)},
    "paper": {"settings": settings([2, 3, 4, 8], 500_000), "seeds": range(30)},
}


def run(config: Config, seed: int) -> dict[str, np.ndarray]:
    """Percentage of right answers in s3 between checkpoints, and number of complex eigenvalues at checkpoints."""
    walk_seed, learner_seed = np.random.SeedSequence(seed).generate_state(2).tolist()
    env, n = ThreeState(), config["n"]
    cell = VanillaRNN(n) if config["cell"] == RNN else LinearRTU(n, "tanh", max_phase=np.pi)
    optimizer = Adam(config["step_size"])
    learner = TDLambda(cell, env.n_inputs, env.gamma, 0.0, optimizer, RTRL(), learner_seed, "float32")
    if config["start"] == "symmetric":
        W = learner.parameters["cell.W_recurrent"]
        eigenvectors, _ = np.linalg.qr(np.random.default_rng(learner_seed).standard_normal(W.shape))
        W[:] = eigenvectors @ np.diag(np.linspace(-1, 1, n) * 0.9) @ eigenvectors.T
        W[:] = (W + W.T) / 2

    def complex_eigenvalues() -> float:
        if config["cell"] != RNN:
            return 2.0 * n  # each unit is a pair, c and its conjugate
        W = learner.parameters["cell.W_recurrent"].astype(float)
        return float(np.sum(np.linalg.eigvals(W).imag != 0))

    correct, eigenvalues = [], [complex_eigenvalues()]
    stretch = config["steps"] // CHECKPOINTS
    for k in range(CHECKPOINTS):
        observations, cumulants = env.generate(stretch, seed=walk_seed if k == 0 else None)
        predicts_s1 = learner.run(observations, cumulants, progress=False)[:-1] > 0.5
        in_s3 = observations[:-1, MIDDLE] == 1
        correct.append(100 * np.mean(predicts_s1[in_s3] == (cumulants[1:][in_s3] == 1)))
        eigenvalues.append(complex_eigenvalues())
    return {
        "steps": stretch * np.arange(1, CHECKPOINTS + 1),
        "correct": np.array(correct),
        "eigenvalues": np.array(eigenvalues),
    }


def label(config: Config) -> str:
    start = "" if config["cell"] == RTU else f", {config['start']} start"
    return f"{config['cell']}, {config['n']} units{start}"


def describe(arrays: dict[str, np.ndarray]) -> str:
    """One finished run in a few words."""
    return f"{arrays['correct'][-1]:.0f} % right in s3, {arrays['eigenvalues'][-1]:.0f} complex eigenvalues"


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: means over seeds at the end, with 95 % bootstrap intervals."""
    table = {}
    for config, runs in results:
        correct = np.array([r["correct"][-CHECKPOINTS // 10 :].mean() for r in runs])
        first, last = (np.array([r["eigenvalues"][k] for r in runs]) for k in (0, -1))
        solved = correct > 99
        table[label(config)] = {
            "seeds": len(runs),
            "percent correct": float(correct.mean()),
            "correct, low": float(interval(correct)[0]),
            "correct, high": float(interval(correct)[1]),
            "runs above 99 %": int(solved.sum()),
            "complex at first": float(first.mean()),
            "complex at last": float(last.mean()),
            "complex, low": float(interval(last)[0]),
            "complex, high": float(interval(last)[1]),
            "complex where solved": float(last[solved].mean()) if solved.any() else float("nan"),
        }
    return table


def curves(results: Results) -> Shown:
    """What the figure shows."""
    return [_shown(config, runs) for config, runs in results]


def _shown(config: Config, runs: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """What the figure shows of a setting."""
    shown: dict[str, Any] = {"label": label(config), "steps": runs[0]["steps"]}
    shown["percent correct"] = band([r["correct"] for r in runs])
    if config["cell"] == RNN:  # those of a recurrent trace unit are complex by construction
        shown["complex eigenvalues"] = band([r["eigenvalues"] for r in runs])
    return shown


def draw_curves(shown: Shown) -> Any:
    """Percentage correct and number of complex eigenvalues against steps."""
    figure, ((left, right),) = plotting.panels(2, 2, 2.8, foot=0.9)
    for k, each in enumerate(shown):
        line = {**curve_style(k), "markevery": 8}
        plotting.curve(left, each["steps"], each["percent correct"], label=each["label"], **line)
        if "complex eigenvalues" in each:
            plotting.curve(right, np.r_[0, each["steps"]], each["complex eigenvalues"], **line)
    for ax in (left, right):
        step_axis(ax)
    left.axhline(50, color="k", linestyle="--", linewidth=1)
    right.axhline(1.5, color="k", linestyle="--", linewidth=1)
    left.set(xlabel="step", ylabel="right answers in s3, percent", ylim=(40, 102))
    left.set_title("What is learned (dashed: without memory)")
    right.set(xlabel="step", ylabel="complex eigenvalues", ylim=(-0.05, None))
    right.set_title("W_recurrent (dashed: claimed, more than 1.5)")
    plotting.legend_below(figure)
    plotting.headline(figure, "Three-state task", shown[0]["seeds"])
    return figure
