"""What `ActorCritic(env)`, `QLambda(env)` and `PPO(env)` do without further arguments.

Two memory tasks, from compiled environments: `TMaze` of length 10 with noise .1, 80,000 steps, and
`RepeatPreviousEasy`, 300,000 steps. And four robots, 500,000 steps, for `ActorCritic` and for its earlier defaults: an
encoder of two layers of 128 below 192 recurrent trace units (RTUs), overshooting-bounded gradient descent (ObGD) with
one bound for the whole network, lambda .99.

Claim: the defaults learn memory tasks, and do not do worse than the earlier defaults on robots. A memory task is
learned if the mean greedy return of 100 episodes after learning is .8 (`TMaze`; .89 is perfect, -.105 the best without
memory) or .9 (`RepeatPreviousEasy`; 1 is perfect, -.49 the best without memory, and -.265 or more with the inputs of
`QLambda`).

All three learn both memory tasks, on 9 or 10 of 10 seeds.

Chosen here: all that is not named above is a default of the agents. Other seeds were used to choose these.

Minutes on two cores: smoke 0.5, memory 21, robots 19.
"""

from typing import Any

import numpy as np

from experiments import control
from experiments.control import curves, describe, label, run
from experiments.engine.curves import Shown
from experiments.engine.results import Config, Results
from experiments.streaming_agents import EARLIER as EARLIER_PARTS
from rtu_np.intervals import interval

__all__ = ["PRESETS", "SCORES", "curves", "describe", "draw_curves", "label", "run", "score"]

SCORES = (*control.SCORES, "greedy")
EPISODES = 100  # of the evaluation of a memory task
MAZE = {"length": 10, "noise": 0.1, "form": "cue"}
ROBOTS = ["HalfCheetah-P", "HalfCheetah-V", "Hopper-P", "Walker2d-P"]
NOW, EARLIER = "defaults", "earlier defaults"


def memory(agents: list[str], maze_steps: int, cards_steps: int) -> list[Config]:
    tasks: list[tuple[str, int, dict[str, Any]]] = [
        ("TMaze", maze_steps, MAZE),
        ("RepeatPreviousEasy", cards_steps, {}),
    ]
    return [
        {**control.setting(task, agent, steps, agent, env=env), "greedy": EPISODES}
        for task, steps, env in tasks
        for agent in agents
    ]


def robots(steps: int, tasks: list[str]) -> list[Config]:
    """On -V robots and -P robots, in pairs of settings."""
    return [
        {**control.setting(task, name, steps, "ActorCritic", **parts), "greedy": 10}
        for task in tasks
        for name, parts in ((NOW, {}), (EARLIER, EARLIER_PARTS))
    ]


AGENTS = ["ActorCritic", "QLambda", "PPO"]
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": memory(AGENTS[:1], 1000, 1000), "seeds": range(1)},
    "memory": {"settings": memory(AGENTS, 80_000, 300_000), "seeds": range(20, 30)},
    "robots": {"settings": robots(500_000, ROBOTS), "seeds": range(5)},
}


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: as `control.score`; greedy returns of memory tasks, paired differences on robots."""
    table = control.score(results)
    earlier = {c["task"]: [r["final"] for r in runs] for c, runs in results if c["method"] == EARLIER}
    for config, runs in results:
        row = table[label(config)]
        if config["method"] in AGENTS:
            greedy = np.array(
                [r["greedy"].mean() if r["greedy"].size else -np.inf for r in runs]
            )  # none if it diverged
            threshold = 0.8 if config["task"] == "TMaze" else 0.9
            row |= {"greedy": float(greedy.mean()), "smallest greedy": float(greedy.min())}
            row["seeds that learn"] = float((greedy >= threshold).sum())
        elif config["method"] == NOW:
            before = np.array(earlier[config["task"]])
            change = (np.array([r["final"] for r in runs]) - before) / np.abs(before.mean())
            low, high = interval(change)
            row |= {"change, %": 100 * float(change.mean()), "change low": 100 * float(low)}
            row["change high"] = 100 * float(high)
    return table


def draw_curves(shown: Shown) -> Any:
    """Learning curves, a panel for each task."""
    return control.draw(shown, "Agents without further arguments", columns=4)
