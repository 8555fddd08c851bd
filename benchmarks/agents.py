"""Time of a streaming agent per step of its environment, called from Python.

    python benchmarks/agents.py

The agent is `ActorCritic(env)` with its defaults: two networks, each of 128 linear recurrent trace units (RTUs) with
real-time recurrent learning (RTRL) and a hidden layer of 128 behind them, a rule for each block, float32, observations
normalised and rewards scaled. The rows are: `step` of the agent without an environment, on
observations drawn beforehand; the same with truncated backpropagation through one step, T-BPTT(1); normalising an
observation in compiled code; agent and HalfCheetah-P together; and `QLambda(env, LinearRTU(16))`, without the previous
action and reward, in MemoryChain, in stretches of compiled code, and step by step, as with a callback. All take turns
in each round. Median and fastest are printed, since other work on the machine makes steps slower, never faster.

A second table has the least time that the agent's step can take on this machine: its operations at the measured peak of
a core, and its bytes at the measured speed of reading and writing so many (the roofline). An agent's bytes are all
numbers of its networks, read and written once a step.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

import envs  # noqa: F401   registers the environments
from rtu_np import RTRL, TBPTT, ActorCritic, LinearRTU, QLambda
from rtu_np.cells.layer import GradientMethod
from rtu_np.costs import flops
from rtu_np.jit import njit
from rtu_np.learning import normalizers
from rtu_np.numerics.buffers import size
from rtu_np.timing.machine import Machine, bandwidth

STEPS = 100  # of a round: so short that some rounds fall into quiet moments of the machine
MANY = 50_000  # of a round in compiled code
AGENTS: dict[str, GradientMethod] = {"RTRL": RTRL(), "T-BPTT(1)": TBPTT(1)}
TASK = "rtu_np/HalfCheetah-P-v0"


@njit
def _normalise(flat, rows, out):
    """What an agent does with each observation, for all `rows`."""
    stats, _ = normalizers.statistics(rows.shape[1], flat)
    for t in range(rows.shape[0]):
        normalizers.include(stats, rows[t])
        normalizers.normalize(stats, rows[t], out)


def stepping(agent: ActorCritic, observations: np.ndarray) -> Callable[[], None]:
    """A function that makes one step of `agent` for each of `observations`."""
    agent.step(observations[0])

    def steps() -> None:
        for observation in observations:
            agent.step(observation, 1.0)

    return steps


def roofline(env: gymnasium.Env) -> None:
    """Print the operations and bytes of a step, and the least times that follow from each."""
    peak = Machine.measure().gflops["float32"]
    print("| | operations | us at the peak | bytes moved | GB/s | us at this speed |\n|---|---|---|---|---|---|")
    for name, gradient in AGENTS.items():
        agent = ActorCritic(env, gradient=gradient)
        weights = sum(view.size for view in agent.parameters.values())
        # Two networks; a rule takes at least four operations a weight, as ObGD does: magnitudes summed, a step added.
        operations = 2 * flops(agent.cell, *env.observation_space.shape, gradient) + 4 * weights
        moved = 2 * agent._flat.nbytes
        speed = bandwidth(agent._flat.nbytes, "float32")
        print(
            f"| {name} | {operations:,} | {operations / peak / 1e3:.3g} | {moved:,} | {speed:.0f} "
            f"| {moved / speed / 1e3:.3g} |"
        )


def learning(env: gymnasium.Env, agent: Any, steps: int, callback: Any = None) -> Callable[[], object]:
    """A function that makes `steps` steps of `agent` in `env`."""
    return lambda: agent.learn(env, steps, progress=False, callback=callback, log=None)


def contenders() -> dict[str, tuple[int, Callable[[], object]]]:
    """{name: (how many steps it makes, a function that makes them)}"""
    env = gymnasium.make(TASK, disable_env_checker=True)
    observations = np.random.default_rng(0).standard_normal((STEPS, *env.observation_space.shape))
    stats, out = np.zeros(size(normalizers.statistics, observations.shape[1])), np.zeros(observations.shape[1], "f4")
    truncated = ActorCritic(env, gradient=TBPTT(1))
    chains = [gymnasium.make("rtu_np/MemoryChain-v0") for _ in range(2)]
    one, other = (QLambda(chain, LinearRTU(16), previous_action_reward=False) for chain in chains)
    return {
        "the agent alone, RTRL": (STEPS, stepping(ActorCritic(env), observations)),
        "the agent alone, T-BPTT(1)": (STEPS, stepping(truncated, observations)),
        "normalising an observation": (STEPS, lambda: _normalise(stats, observations, out)),
        "agent and HalfCheetah-P": (STEPS, learning(env, ActorCritic(env), STEPS)),
        "QLambda and MemoryChain, compiled": (MANY, learning(chains[0], one, MANY)),
        "QLambda and MemoryChain, step by step": (STEPS, learning(chains[1], other, STEPS, lambda _: None)),
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=75)
    rounds = parser.parse_args(arguments).rounds
    running = contenders()
    taken: dict[str, list[float]] = {name: [] for name in running}
    for k in range(rounds + 1):
        for name, (steps, run) in running.items():
            began = time.perf_counter()
            run()
            if k:  # the first round compiles
                taken[name].append((time.perf_counter() - began) / steps * 1e6)
    print("| | us per step, median | fastest | per second |\n|---|---|---|---|")
    for name, times in taken.items():
        print(f"| {name} | {np.median(times):.3g} | {min(times):.3g} | {1e6 / np.median(times):.0f} |")
    print()
    roofline(gymnasium.make(TASK, disable_env_checker=True))


if __name__ == "__main__":
    main(sys.argv[1:])
