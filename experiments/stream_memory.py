"""Tasks that need memory, learned from single steps: which step-size rule, which cell, and whether reach pays.

A streaming actor-critic whose recurrent layer reads the observation itself (`recurrent_network`). Five tasks:
`RepeatPreviousEasy` (name the suit of three cards ago), `TMaze` of length 10 with noise, `KMemoryChain`, `ReacherPOMDP`
(the goal is shown once) and `MemoryChain`.

Claim: with real-time recurrent learning (RTRL) a recurrent layer learns what to remember, where the same layer and
agent with truncated backpropagation through time over one step, T-BPTT(1), does not; at the cost of a forward pass.

Three stages. The first compares rules and trace parameters on recurrent trace units (RTUs) with RTRL, on seeds 1000 and
1001 and 100,000 steps. A return counts as its place between the best one without memory, 0, and that of a perfect
memory, 1 (docs/tasks.md). Of each rule, its best trace parameter with its best step size for each task counts. The two
rules with the largest mean over tasks go on. The second stage tunes a step size for each of these rules, task, cell and
gradient, on the same seeds and grid. The third reports these on other seeds, with the most steps.

Chosen here: 64 RTUs with phases below 1, 64 minGRUs with gate bias -3, or 16 gated recurrent units (GRUs) with full
RTRL, each with a hidden layer of 128 behind it; or a feedforward network with layers of 64 and 128. "Blocks" is Adam in
the recurrent layer and ObGD in each other block, the default of `ActorCritic`. The network without memory has no such
layer, so its three step sizes are one agent. An actor's step size is a part of the critic's that is its rule's own.
gamma .99, entropy .01, scaled rewards.

`long` is all of this. `laptop` is the question of the claim alone: the rule "Blocks", RTUs with either gradient and a
network without memory, on three tasks. `reacher` is the arm alone, with minGRUs and the rule "Blocks", in two stages:
a step size and lambda for each arm on the seeds 1000 and 1001, then fresh seeds. Its gamma is .95, and lambda .5 or .8.

RTUs with RTRL learn four of the five tasks. The claim holds for RTUs on RepeatPrevious; there RTRL is above T-BPTT(1)
for each cell and either rule, though minGRUs learn the task with neither. On the T-maze and the chains T-BPTT(1)
learns, too, and mostly intervals overlap. Nothing learns the arm in 300,000 steps.

Minutes on two cores: smoke 1, laptop 10, reacher 11, long 115.
"""

from typing import Any, NamedTuple

import numpy as np

from experiments import control, streaming_agents
from experiments.control import SCORES, curves, describe, label, run
from experiments.engine import plotting
from experiments.engine.curves import Shown
from experiments.engine.results import Config, Results
from experiments.engine.selection import Preset, Stage
from experiments.streaming_agents import CELLS, GRADIENTS, KAPPA, Rule
from experiments.tasks import MEMORY, REACHABLE, REPEAT_PREVIOUS
from rtu_np import TIDBD, Adam, Adaptive, AdaptiveObGD, Autostep, Intentional, ObGD
from rtu_np.plot import COLOURS, GREY, step_axis

__all__ = ["PRESETS", "SCORES", "curves", "describe", "draw_curves", "label", "run", "score", "stages"]


class Tried(NamedTuple):
    """A rule and its grid."""

    make: Rule
    step_sizes: tuple[float, ...]


def _intentional(eta: float, role: str) -> Intentional:
    """An actor takes a tenth of the critic's step, along normalised TD errors (Sharifnassab et al. 2026)."""
    return Intentional(eta / 10, normalize=True) if role == "actor" else Intentional(eta)


RULES = {
    "Blocks": Tried(streaming_agents.blocks, (1e-4, 3e-4, 1e-3)),
    "ObGD": Tried(lambda scale, role: ObGD(kappa=KAPPA[role] / scale), (0.5, 1.0, 4.0)),
    "Adam": Tried(lambda step_size, role: Adam(step_size / KAPPA[role]), (2e-4, 6e-4, 2e-3)),
    "AdaptiveObGD": Tried(lambda scale, role: AdaptiveObGD(kappa=KAPPA[role] / scale), (1.0, 10.0, 100.0)),
    "Intentional": Tried(_intentional, (0.1, 0.3, 0.5)),
    "Adaptive": Tried(lambda step_size, role: Adaptive(step_size), (1e-3, 4.6e-3, 1e-2)),
    "TIDBD": Tried(lambda step_size, role: TIDBD(step_size), (1e-4, 1e-3, 1e-2)),
    "Autostep": Tried(lambda step_size, role: Autostep(step_size), (1e-4, 1e-3, 1e-2)),
}
LAMBDAS = (0.8, 0.95)
KEPT = 2  # rules that go on from the first stage

ARMS = [(cell, gradient) for cell in CELLS for gradient in GRADIENTS if cell != "feedforward" or gradient == "RTRL"]


def setting(task: str, arm: tuple[str, str], rule: str, step_size: float, lambda_: float, steps: int) -> Config:
    """One agent on one task; next to the words of `experiments.control` it has the rule and its numbers."""
    parts = streaming_agents.arguments(arm, RULES[rule].make, step_size, lambda_)
    parts |= {"previous_action_reward": True} if task == REPEAT_PREVIOUS else {}
    method = f"{rule}: {streaming_agents.method(arm)}"
    config = control.setting(task, method, steps, "ActorCritic", env=MEMORY[task], **parts)
    return {**config, "rule": rule, "arm": list(arm), "size": step_size}


def candidates(preset: Preset) -> list[Config]:
    """The settings of the first stage."""
    return [
        setting(task, ("RTU", "RTRL"), rule, step_size, lambda_, preset["tuning"]["steps"])
        for task in preset["tasks"]
        for rule in preset["rules"]
        for step_size in RULES[rule].step_sizes
        for lambda_ in LAMBDAS
    ]


def place(config: Config, value: float) -> float:
    """A return between the best one without memory, 0, and that of a perfect memory, 1."""
    without, perfect = REACHABLE[config["task"]].values()
    return (value - without) / (perfect - without)


def places(tried: Results) -> dict[tuple[str, float], dict[str, float]]:
    """{(rule, trace parameter): {task: place}} of the runs of the first stage: the mean place of the best step size.

    A run that diverged counts as -1, and so does one in which no episode ended.
    """
    best: dict[tuple[str, float], dict[str, float]] = {}
    for config, runs in tried:
        of_runs = [place(config, float(r["final"])) if not r["diverged"] else -1.0 for r in runs]
        of_tasks = best.setdefault((config["rule"], config["parts"]["lambda_"]), {})
        mean = float(np.mean(np.nan_to_num(of_runs, nan=-1.0)))
        of_tasks[config["task"]] = max(of_tasks.get(config["task"], -np.inf), mean)
    return best


def ranked(tried: Results) -> list[tuple[str, float, float]]:
    """[(rule, trace parameter, mean place)], the best first, from the runs of the first stage."""
    best: dict[str, tuple[float, float]] = {}
    for (rule, lambda_), of_tasks in places(tried).items():
        best[rule] = max(best.get(rule, (-np.inf, lambda_)), (float(np.mean(list(of_tasks.values()))), lambda_))
    return sorted(((rule, lambda_, mean) for rule, (mean, lambda_) in best.items()), key=lambda each: -each[2])


def trials(preset: Preset, tried: Results) -> list[Config]:
    """The settings of the second stage: each task, arm and rule with each step size."""
    return [
        setting(task, arm, rule, step_size, lambda_, preset["tuning"]["steps"])
        for task in preset["tasks"]
        for rule, lambda_, _ in ranked(tried)[:KEPT]
        for arm in preset["arms"]
        for step_size in RULES[rule].step_sizes
    ]


def stages(preset: Preset) -> list[Stage]:
    if "rules" not in preset:  # the rule is chosen: step sizes and trace parameters are left
        return streaming_agents.stages(preset, **preset["arguments"])
    tuning = list(preset["tuning"]["seeds"])
    return [
        (lambda _: candidates(preset), tuning),
        (lambda earlier: trials(preset, earlier[0]), tuning),
        (lambda earlier: streaming_agents.reported(preset, earlier[1]), list(preset["seeds"])),
    ]


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "tasks": ["TMaze"],
        "rules": ["Blocks", "Intentional"],  # which share their compiled networks
        "arms": ARMS[:2],
        "steps": 2000,
        "tuning": {"seeds": range(1000, 1001), "steps": 1000},
        "seeds": range(1),
    },
    "laptop": {
        "tasks": ["RepeatPreviousEasy", "TMaze", "KMemoryChain"],
        "rules": ["Blocks"],
        "arms": [("RTU", "RTRL"), ("RTU", "T-BPTT(1)"), ("feedforward", "RTRL")],
        "steps": 300_000,
        "tuning": {"seeds": range(1000, 1002), "steps": 100_000},
        "seeds": range(10),
    },
    "long": {
        "tasks": list(MEMORY),
        "rules": list(RULES),
        "arms": ARMS,
        "steps": 300_000,
        "tuning": {"seeds": range(1000, 1002), "steps": 100_000},
        "seeds": range(10),
    },
    "reacher": {
        "tasks": ["ReacherPOMDP"],
        "arms": [("MinGRU", "RTRL"), ("MinGRU", "T-BPTT(1)"), streaming_agents.FEEDFORWARD],
        "arguments": {"gamma": 0.95},
        "steps": 1_000_000,
        "tuning": {
            "step_sizes": [3e-4, 1e-3, 3e-3],
            "lambdas": [0.5, 0.8],
            "seeds": range(1000, 1002),
            "steps": 500_000,
        },
        "seeds": range(10),
    },
}


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: as `control.score`, with the step size, trace parameter, and the returns that bound it."""
    return streaming_agents.score(results, REACHABLE)


def draw_curves(shown: Shown) -> Any:
    """Learning curves, a panel for each task; of several rules, a panel for each task and cell.

    Two lines in grey: the best return without memory, and with a perfect one.
    """
    title = "Streaming actor-critic(lambda) on tasks that need memory"
    rules = {each["method"].rpartition(": ")[0] for each in shown}
    if len(rules) > 1:
        return _by_cell(shown, title)
    return control.draw(shown, title, columns=3, ceilings=REACHABLE)


def _by_cell(shown: Shown, title: str) -> Any:
    """Colours tell gradients, lines tell rules. The network without memory is in each panel of its task."""
    tasks = list(dict.fromkeys(each["task"] for each in shown))
    rules = list(dict.fromkeys(each["method"].partition(": ")[0] for each in shown))
    cells = [cell for cell in CELLS if any(f": {cell}, " in each["method"] for each in shown)]
    colours = dict(zip(GRADIENTS, COLOURS, strict=False))
    figure, axes = plotting.panels(len(tasks) * len(cells), len(cells), 1.45, sharey="row")
    panel_of = {(task, cell): axes[i, k] for i, task in enumerate(tasks) for k, cell in enumerate(cells)}
    for each in shown:
        rule, _, arm = each["method"].partition(": ")
        cell, _, gradient = arm.partition(", ")
        line = {"color": colours.get(gradient, GREY), "linestyle": ("-", "--", "-.")[rules.index(rule)]}
        for panel in [cell] if gradient else cells:
            label = f"{rule}: {gradient or cell}"
            plotting.curve(panel_of[each["task"], panel], control.ends(each), each["return"], label=label, **line)
    for (task, cell), ax in panel_of.items():
        step_axis(ax)
        for ceiling in REACHABLE[task].values():
            ax.axhline(ceiling, color="0.6", linestyle=":", linewidth=0.8, zorder=0, label="best possible returns")
        ax.set(title=f"{task}: {cell}")
    for ax in axes[:, 0]:
        ax.set_ylabel("return")
    for ax in axes[-1]:
        ax.set_xlabel("step")
    plotting.legend_below(figure)
    plotting.headline(figure, title, shown[0]["seeds"])
    return figure
