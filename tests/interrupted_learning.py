"""A process that learns while tests/test_ctrl_c.py sends it SIGINT: python interrupted_learning.py AGENT

It prints "ready", learns, and prints "stopped" each time it was interrupted. At last it prints whether it learned what
it learns in one go.
"""

import os
import signal
import sys

import numpy as np
from agent_cases import World
from loop_cases import AGENTS, QUIET, in_stretches, state

STEPS = 20_000


class Episodic(World):
    """Episodes of 7 steps."""

    def step(self, action):
        x, reward, *_ = super().step(action)
        return x, reward, self.t % 7 == 0, False, {}


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # a handler may interrupt `print`, and may not call it then


def handler(_number, frame) -> None:
    """Raise KeyboardInterrupt if `learn` passes a signal on (without a frame), and not in between two calls of it."""
    if frame is None:
        raise KeyboardInterrupt
    say("missed")


def main(name: str) -> None:
    discrete, make = AGENTS[name]
    agent, other = make(), make()
    expected = np.stack(other.learn(Episodic(discrete), STEPS, **QUIET))
    signal.signal(signal.SIGINT, handler)
    say("ready")
    episodes, _ = in_stretches(agent, Episodic(discrete), STEPS, stopped=lambda: say("stopped"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say(str(np.array_equal(episodes, expected) and state(agent) == state(other)))


if __name__ == "__main__":
    main(sys.argv[1])
