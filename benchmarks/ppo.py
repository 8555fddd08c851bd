"""Costs of proximal policy optimisation (PPO): an update, a step of acting, memory, and steps per second.

    python benchmarks/ppo.py --output docs/results/ppo-costs/costs.json

The network and the settings are the paper's for Ant without velocities: 13 inputs, 8 actions, Dense 64, 192 recurrent
trace units (RTUs), rollouts of 2048, 4 epochs of 32 minibatches, float32. The table's environment takes no time: its
observations are noise. Steps per second are in HalfCheetah-v5, unmasked, with each agent's own defaults; next to ours
are those of RecurrentPPO if sb3-contrib is installed (`pip install sb3-contrib`). Prints Markdown. Takes about three
minutes, most of it compiling.
"""

import argparse
import importlib.util
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from experiments.engine import results
from experiments.tables import TABLES
from rtu_np import GRU, PPO, TBPTT, LinearRTU, NonlinearRTU, ppo_network
from rtu_np.cells.layer import Cell

CASES: dict[str, tuple[Cell, dict[str, Any]]] = {
    "linear RTU 192, RTRL": (LinearRTU(192), {}),
    "the same, refreshed": (LinearRTU(192), {"refresh": "both"}),
    "the same, stored as bfloat16": (LinearRTU(192), {"stored_dtype": "bfloat16"}),
    "nonlinear RTU 192, RTRL": (NonlinearRTU(192), {}),
    "linear RTU 192, T-BPTT(8)": (LinearRTU(192), {"gradient": TBPTT(8)}),
    "GRU 64, T-BPTT(8)": (GRU(64), {"gradient": TBPTT(8)}),
}
UPDATES = 5


class Noise:
    """Observations and rewards drawn beforehand, episodes of 1000 steps."""

    observation_space = spaces.Box(-np.inf, np.inf, (13,))
    action_space = spaces.Box(-1.0, 1.0, (8,), np.float32)

    def __init__(self) -> None:
        self._rows = np.random.default_rng(0).standard_normal((4096, 13))
        self._steps = 0

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, dict]:
        return self._rows[self._steps % 4096], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._steps += 1
        row = self._rows[self._steps % 4096]
        return row, float(row[0]), False, self._steps % 1000 == 0, {}


def seconds(function: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    function()
    return clock() - began


def costs(cell: Cell, settings: dict[str, Any], threads: int, updates: int) -> tuple[list[float], np.ndarray]:
    """(seconds of each update, seconds of each step between them), called from Python.

    With one thread, those of its processor, which other jobs change less.
    """
    env, clock = Noise(), time.thread_time if threads == 1 else time.perf_counter
    agent = PPO(env, ppo_network(cell), threads=threads, **settings)
    of_updates, of_steps = [], []
    observation, _ = env.reset()
    agent.step(observation)
    while len(of_updates) < updates:
        observation, reward, terminated, truncated, _ = env.step(None)
        full = (agent.steps + 1) % agent.n_steps == 0
        taken = seconds(lambda row=(observation, reward, terminated, truncated): agent.step(*row), clock)
        (of_updates if full else of_steps).append(taken)
        if truncated:
            agent.step(observation)
    return of_updates, np.array(of_steps)


def numbers(cell: Cell, settings: dict[str, Any], updates: int) -> dict[str, float]:
    """The numbers of one network, as the table on the page names them."""
    (one, acting), (two, _) = (costs(cell, settings, threads, updates) for threads in (1, 2))
    median, slowest = np.quantile(acting * 1e6, [0.5, 0.99])
    return {
        "update": min(one),
        "two threads": min(two),
        "acting": float(median),
        "slowest 1 %": float(slowest),
        "arrays": PPO(Noise(), ppo_network(cell), **settings).bytes_held / 1e6,
    }


def steps_per_second(make: Callable[[], Callable[[], object]], steps: int) -> float:
    learn = make()
    return steps / seconds(learn)


def ours(steps: int) -> Callable[[], object]:
    env = gymnasium.make("HalfCheetah-v5")
    agent = PPO(env)
    return lambda: agent.learn(env, steps, progress=False, log=None)


def theirs(steps: int) -> Callable[[], object]:
    from sb3_contrib import RecurrentPPO

    agent = RecurrentPPO("MlpLstmPolicy", gymnasium.make("HalfCheetah-v5"), device="cpu")
    return lambda: agent.learn(steps)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--updates", type=int, default=UPDATES)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--steps", type=int, default=8192, help="steps in HalfCheetah-v5; 0 skips it")
    parser.add_argument("--output", type=Path, help="a JSON file with all numbers")
    settings = parser.parse_args(arguments)

    scores: dict[str, dict[str, float]] = {}
    for name in settings.cases:
        scores[name] = numbers(*CASES[name], settings.updates)
        print(f"{name}: {scores[name]['update']:.3f} s for an update", file=sys.stderr, flush=True)
    print(TABLES["ppo-costs/costs"](scores))
    if settings.output:
        page = {"command": f"python benchmarks/ppo.py --updates {settings.updates}", **results.circumstances()}
        results.write(settings.output, page | {"scores": scores})
    print(f"\nPeak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")
    if settings.steps:
        mine = steps_per_second(lambda: ours(settings.steps), settings.steps)
        print(f"\nHalfCheetah-v5: {mine:.0f} steps/s", end="")
        if importlib.util.find_spec("sb3_contrib"):
            other = steps_per_second(lambda: theirs(settings.steps), settings.steps)
            print(f"; RecurrentPPO of sb3-contrib {other:.0f} steps/s: a ratio of {mine / other:.0f}", end="")
        print(".")


if __name__ == "__main__":
    main(sys.argv[1:])
