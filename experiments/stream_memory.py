"""Tasks that need memory, learned from single steps: which step-size rule, which cell, and whether reach pays.

A streaming actor-critic whose recurrent layer reads the observation itself. Five tasks: `RepeatPreviousEasy` (name the
suit of four cards ago), `TMaze` of length 10 with noise, `KMemoryChain`, `ReacherPOMDP` (the goal is shown once) and
`MemoryChain`.

Claim: with real-time recurrent learning (RTRL) a recurrent layer learns what to remember, where the same layer and
agent with truncated backpropagation through time over one step, T-BPTT(1), does not; at the cost of a forward pass.

Three stages. The first compares rules and trace parameters on recurrent trace units (RTUs) with RTRL, on seeds 1000 and
1001 and 100,000 steps. A return counts as its place between the best one without memory, 0, and that of a perfect
memory, 1 (docs/tasks.md). Of each rule, its best trace parameter with its best step size for each task counts. The two
rules with the largest mean over tasks go on. The second stage tunes a step size for each of these rules, task, cell and
gradient, on the same seeds and grid. The third reports these on other seeds, with the most steps.

Chosen here: 64 RTUs with phases below 1, 64 minGRUs, or 16 gated recurrent units (GRUs) with dense RTRL; tanh. A
feedforward network has two layers of 64. An actor's step size is a part of the critic's that is its rule's own. gamma
.99, entropy .01; rewards are not scaled.

Minutes on two cores: smoke 1, laptop 60.
"""

from typing import Any, NamedTuple

import numpy as np

from envs import ceilings
from envs.card_ceilings import CEILINGS
from experiments import control
from experiments.control import SCORES, describe, label, run
from experiments.engine.results import Config, Results
from experiments.engine.selection import Preset, Stage, rank
from rtu_np import (
    GRU,
    RTRL,
    TBPTT,
    TIDBD,
    Adam,
    Adaptive,
    AdaptiveObGD,
    Autostep,
    Dense,
    Intentional,
    LayerNorm,
    LinearRTU,
    MinGRU,
    ObGD,
    SparseUniform,
    Stack,
    checkpoint,
)

__all__ = ["PRESETS", "SCORES", "describe", "label", "plot", "run", "score", "stages"]


class Task(NamedTuple):
    settings: dict[str, Any]  # of the environment
    arguments: dict[str, Any]  # of the agent
    ceilings: Any  # the best returns without memory and with a perfect one


_CARDS = CEILINGS["RepeatPreviousEasy"]
TASKS = {
    "RepeatPreviousEasy": Task({}, {"previous_action_reward": True}, (_CARDS.previous, _CARDS.perfect)),
    "TMaze": Task({"length": 10, "noise": 0.1, "form": "cue"}, {}, ceilings.t_maze(10, 0.1, "cue")),
    "KMemoryChain": Task({"length": 16, "k": 4}, {}, ceilings.k_memory_chain(16, 4)),
    "ReacherPOMDP": Task({}, {}, ceilings.reacher_pomdp()),
    "MemoryChain": Task({"length": 32}, {}, ceilings.memory_chain(32)),
}


class Rule(NamedTuple):
    """A rule as a function of a step size, and the part of the critic's step size that an actor gets."""

    make: Any
    step_sizes: tuple[float, ...]
    actor: float


RULES = {
    "ObGD": Rule(lambda kappa: ObGD(kappa=kappa), (0.5, 2.0, 8.0), 1.5),  # its step is bounded by 1 / kappa
    "Adam": Rule(Adam, (1e-4, 3e-4, 1e-3), 0.5),
    "AdaptiveObGD": Rule(lambda kappa: AdaptiveObGD(kappa=kappa), (0.02, 0.1, 0.5), 1.5),
    "Intentional": Rule(Intentional, (0.1, 0.3, 0.5), 0.1),
    "Adaptive": Rule(Adaptive, (1e-3, 4.6e-3, 1e-2), 1.0),
    "TIDBD": Rule(TIDBD, (1e-4, 1e-3, 1e-2), 1.0),
    "Autostep": Rule(Autostep, (1e-4, 1e-3, 1e-2), 1.0),
}
LAMBDAS = (0.8, 0.95)
KEPT = 2  # rules that go on from the first stage

CELLS = {
    "RTU": LinearRTU(64, max_phase=1.0),
    "MinGRU": MinGRU(64),
    "GRU": GRU(16),
    "feedforward": Stack(
        [layer for _ in range(2) for layer in (Dense(64, init=SparseUniform()), LayerNorm("leaky_relu"))]
    ),
}
GRADIENTS = {"RTRL": RTRL(), "T-BPTT(1)": TBPTT(1), "T-BPTT(8)": TBPTT(8)}
ARMS = [(cell, gradient) for cell in CELLS for gradient in GRADIENTS if cell != "feedforward" or gradient == "RTRL"]


def setting(task: str, arm: tuple[str, str], rule: str, step_size: float, lambda_: float, steps: int) -> Config:
    """One agent on one task; next to the words of `experiments.control` it has the rule and its numbers."""
    (cell, gradient), made = arm, RULES[rule]
    name = cell if cell == "feedforward" else f"{cell}, {gradient}"
    parts = {
        "cell": CELLS[cell],
        "gradient": GRADIENTS[gradient],
        "lambda_": lambda_,
        "scale_rewards": False,
        "actor_optimizer": made.make(made.actor * step_size),
        "critic_optimizer": made.make(step_size),
        **TASKS[task].arguments,
    }
    method = f"{rule}: {name}"
    config = control.setting(task, method, steps, "ActorCritic", env=TASKS[task].settings, **parts)
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
    without, perfect = TASKS[config["task"]].ceilings
    return (value - without) / (perfect - without)


def ranked(tried: Results) -> list[tuple[str, float, float]]:
    """[(rule, trace parameter, mean place)], the best first, from the runs of the first stage."""
    places: dict[tuple[str, float], dict[str, list[float]]] = {}
    for config, runs in tried:
        mean = float(np.mean([place(config, float(r["final"])) if not r["diverged"] else -1.0 for r in runs]))
        of_rule = places.setdefault((config["rule"], config["parts"]["lambda_"]), {})
        of_rule.setdefault(config["task"], []).append(-1.0 if np.isnan(mean) else mean)
    means = {key: float(np.mean([max(each) for each in tasks.values()])) for key, tasks in places.items()}
    best: dict[str, tuple[float, float]] = {}
    for (rule, lambda_), mean in means.items():
        best[rule] = max(best.get(rule, (-np.inf, lambda_)), (mean, lambda_))
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


def chosen(preset: Preset, tried: Results) -> list[Config]:
    """The settings of the third stage: the best trial of each task, arm and rule."""
    groups: dict[tuple, list] = {}
    for config, runs in tried:
        groups.setdefault((config["task"], config["rule"], *config["arm"]), []).append((config, runs))
    best = [min(group, key=lambda trial: rank(trial[1]))[0] for group in groups.values()]
    return [{**config, "steps": preset["steps"]} for config in best]


def stages(preset: Preset) -> list[Stage]:
    tuning = list(preset["tuning"]["seeds"])
    return [
        (lambda _: candidates(preset), tuning),
        (lambda earlier: trials(preset, earlier[0]), tuning),
        (lambda earlier: chosen(preset, earlier[1]), list(preset["seeds"])),
    ]


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "tasks": ["TMaze"],
        "rules": ["ObGD", "Adam"],
        "arms": ARMS[:2],
        "steps": 2000,
        "tuning": {"seeds": range(1000, 1001), "steps": 1000},
        "seeds": range(1),
    },
    "laptop": {
        "tasks": list(TASKS),
        "rules": list(RULES),
        "arms": ARMS,
        "steps": 300_000,
        "tuning": {"seeds": range(1000, 1002), "steps": 100_000},
        "seeds": range(10),
    },
}


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: as `control.score`, with the step size, the trace parameter, and the returns that bound it."""
    table = control.score(results)
    for config, _ in results:
        without, perfect = TASKS[config["task"]].ceilings
        table[control.label(config)] |= {
            "step size": config["size"],
            "lambda": config["parts"]["lambda_"],
            "without memory": float(without),
            "perfect memory": float(perfect),
        }
    return table


def plot(results: Results) -> Any:
    """Learning curves, a panel for each task; dashed lines are the best return without memory and with a perfect one."""
    figure = control.plot(results, "Streaming actor-critic(lambda) on tasks that need memory", columns=3)
    for ax in figure.axes:
        if ax.get_title() in TASKS:
            for bound in TASKS[ax.get_title()].ceilings:
                ax.axhline(bound, color="0.6", linestyle="--", linewidth=0.8, zorder=0)
    return figure
