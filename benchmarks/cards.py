"""Time of POPGym's card games per step, compiled and as the package popgym has them.

    python benchmarks/cards.py

For each game and level: a step of the environment alone, in compiled code, with actions drawn at random; the same of
the package, from Python; a step of a streaming agent and the environment together in `learn`; and that with the
package's environment, which goes step by step. Microseconds, the fastest of some rounds in which all take turns, since
other work on the machine makes steps slower, never faster. Shuffling at the start of an episode is included. The agent
is `ActorCritic` with 64 linear recurrent trace units (RTUs) in actor and critic, which read the observation, previous
action and previous reward, and Adam (3e-4). The package is needed: `pip install -e ".[popgym]"`.

With `--learn` it prints what the agent has learned instead: the mean return of the last tenth of a million steps, and
the seconds that they took, with what can be reached (envs/card_ceilings.py).
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

import envs  # noqa: F401   registers the environments
from envs import popgym
from envs.card_ceilings import CEILINGS
from rtu_np import ActorCritic, Adam, LinearRTU
from rtu_np.compiled_environment import advance, begin, integer
from rtu_np.jit import njit
from rtu_np.numerics.buffers import clear

ROUNDS, STEPS, FEW = 5, 200_000, 4_000  # steps of a round in compiled code, and of one from Python
HEADS = ("game", "environment", "popgym", "learn", "learn, popgym")


@njit
def _play(dynamics, state, rng, observation, n_actions, steps):
    over = True
    for _ in range(steps):
        clear(observation)
        if over:
            begin(dynamics, state, rng, observation)
            clear(observation)
        _, terminated, truncated = advance(dynamics, state, integer(rng, n_actions), rng, observation)
        over = terminated or truncated


def compiled(env: Any) -> Callable[[], int]:
    """A function that plays in compiled code, and returns how many steps it made."""
    inner, rng = env.unwrapped, np.random.default_rng(0)
    observation = np.zeros(inner.observation_space.shape, inner.observation_space.dtype)

    def play() -> int:
        _play(inner.dynamics, inner.state, rng, observation, int(inner.action_space.n), STEPS)
        return STEPS

    return play


def from_python(env: Any) -> Callable[[], int]:
    actions = np.random.default_rng(0).integers(env.action_space.n, size=FEW).tolist()

    def play() -> int:
        over = True
        for action in actions:
            if over:
                env.reset()
            _, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
        return FEW

    return play


def agent(env: Any, seed: int = 0) -> ActorCritic:
    adam, more = Adam(3e-4), {"scale_rewards": False, "previous_action_reward": True}
    cell = LinearRTU(64, max_phase=1.0)
    return ActorCritic(env, cell, lambda_=0.9, actor_optimizer=adam, critic_optimizer=adam, seed=seed, **more)


def learning(env: Any, steps: int) -> Callable[[], int]:
    learner = agent(env)

    def learn() -> int:
        learner.learn(env, steps, progress=False, log=None)
        return steps

    return learn


def row(task: str) -> list[float]:
    """Microseconds per step, in the order of HEADS."""
    ours, theirs = gymnasium.make(f"rtu_np/{task}-v0"), popgym.make(task)
    theirs.reset(seed=0)
    kinds = [compiled(ours), from_python(theirs), learning(ours, STEPS), learning(theirs, FEW)]
    times = np.full((ROUNDS, len(kinds)), np.inf)
    for each in kinds:
        each()  # compiles
    for k in range(ROUNDS):
        for j, each in enumerate(kinds):
            began = time.perf_counter()
            steps = each()
            times[k, j] = (time.perf_counter() - began) / steps * 1e6
    return times.min(axis=0).tolist()


def learned(task: str, steps: int, seed: int) -> tuple[float, float]:
    """(mean return of the last tenth, seconds with compiling)"""
    env = gymnasium.make(f"rtu_np/{task}-v0")
    began = time.perf_counter()
    episodes = agent(env, seed).learn(env, steps, progress=False, log=None)
    return float(episodes.returns[episodes.steps > 0.9 * steps].mean()), time.perf_counter() - began


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", nargs="*", default=list(CEILINGS), choices=list(CEILINGS))
    parser.add_argument("--learn", action="store_true")
    parser.add_argument("--steps", type=int, default=1_000_000, help="with --learn")
    parser.add_argument("--seeds", type=int, default=1, help="with --learn")
    settings = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # popgym's, about gymnasium's spaces
    if settings.learn:
        heads = ("game", "seed", "return, last tenth", "seconds", "reactive", "previous", "perfect")
        print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
        for task in settings.tasks:
            each = CEILINGS[task]
            for seed in range(settings.seeds):
                mean, seconds = learned(task, settings.steps, seed)
                ceilings = f"{each.reactive:.2f} | {each.previous:.2f} | {each.perfect:.2f}"
                print(f"| {task} | {seed} | {mean:.2f} | {seconds:.0f} | {ceilings} |", flush=True)
        return
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}")
    for task in settings.tasks:
        print(f"| {task} | {' | '.join(f'{us:.3g}' for us in row(task))} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
