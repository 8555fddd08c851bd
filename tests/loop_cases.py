"""What the tests of the loop share: agents of every kind in the small world, and how to learn in spite of Ctrl-C."""

import csv
import os
import signal

import numpy as np
from agent_cases import World
from cases import COMPILED

from rtu_np import (
    PPO,
    QRC,
    SGD,
    TIDBD,
    ActorCritic,
    Autostep,
    Blocks,
    Dense,
    Epsilon,
    Intentional,
    LinearRTU,
    QLambda,
    SwiftTD,
    WithLambda,
)

QUIET = {"progress": False, "log": None}
SMALL = {"seed": 3, "dtype": "float64"}


def _ppo(threads: int) -> PPO:
    narrow, rollout = Dense(3, "tanh"), {"n_steps": 8, "n_minibatches": 2, "n_epochs": 2}
    return PPO(World(True), LinearRTU(4), actor=narrow, critic=narrow, threads=threads, **rollout, **SMALL)


# {name: (whether actions are discrete, how to make the agent)}
RULES = {
    "actor_optimizer": Blocks(cell=Autostep(1e-3), policy=WithLambda(Intentional(0.05, normalize=True), 0.5)),
    "critic_optimizer": Blocks(cell=TIDBD(1e-3), value=SwiftTD(1e-3)),
}
AGENTS = {
    "actor-critic": (False, lambda: ActorCritic(World(False), LinearRTU(4), previous_action_reward=True, **SMALL)),
    "PPO": (True, lambda: _ppo(1)),
    "PPO on two threads": (True, lambda: _ppo(2)),
}
if not COMPILED:  # each would take seconds to compile
    AGENTS |= {
        "shared": (True, lambda: ActorCritic(World(True), LinearRTU(4), shared=True, **SMALL)),
        "Q": (True, lambda: QLambda(World(True), LinearRTU(4), epsilon=Epsilon(0.5, 0.1, 30), **SMALL)),
        "QRC": (True, lambda: QRC(World(True), LinearRTU(4), h_optimizer=SGD(1e-3), **SMALL)),
        "rules per block": (True, lambda: ActorCritic(World(True), LinearRTU(4), **RULES, **SMALL)),
    }


def state(agent) -> bytes:
    generators = str([agent._rng.bit_generator.state, agent._acting_rng.bit_generator.state])
    return b"".join(array.tobytes() for array in agent._arrays().values()) + generators.encode()


def ctrl_c(*_) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def in_stretches(agent, env, steps, errors=KeyboardInterrupt, stopped=int, **how) -> tuple[np.ndarray, int]:
    """(episodes, interruptions) of learning that goes on after each interruption, when it has called `stopped`."""
    parts, n = [], 0
    last = agent.steps + steps
    while agent.steps < last:
        try:
            parts.append(agent.learn(env, last - agent.steps, **QUIET, **how))
        except errors as error:
            parts.append(error.result)
            n += 1
            stopped()
    return np.concatenate(parts, axis=1), n


def rows_of(path) -> list[dict[str, str]]:
    """The rows of a table, by the names of its columns."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
