"""A process that learns while tests/test_ctrl_c.py sends it SIGINT: python interrupted_learning.py AGENT

It prints "ready", learns, and prints a line for each signal: "stopped" if it was interrupted, "between" if no call of
`learn` was running. At last it waits for one more signal, and prints "same" if it learned what it learns in one go.
"""

import os
import signal
import sys
import time

import numpy as np
from agent_cases import World
from loop_cases import AGENTS, QUIET, in_stretches, state

STEPS = 10_000


class Episodic(World):
    """Episodes of 7 steps."""

    def step(self, action):
        x, reward, *_ = super().step(action)
        return x, reward, self.t % 7 == 0, False, {}


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # a handler may interrupt `print`, and may not call it then


def main(name: str) -> None:
    between: list[int] = []

    def handler(number, frame):
        """Raise KeyboardInterrupt if `learn` passes a signal on (without a frame), and not between two calls."""
        if frame is None:
            raise KeyboardInterrupt
        between.append(number)
        say("between")

    discrete, make = AGENTS[name]
    agent, other = make(), make()
    expected = np.stack(other.learn(Episodic(discrete), STEPS, **QUIET))
    signal.signal(signal.SIGINT, handler)
    say("ready")
    episodes, _ = in_stretches(agent, Episodic(discrete), STEPS, stopped=lambda: say("stopped"))
    between.clear()
    began = time.monotonic()
    while not between:
        time.sleep(0.001)
        if time.monotonic() - began > 10:
            say("a signal was lost")
            return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say("same" if np.array_equal(episodes, expected) and state(agent) == state(other) else "other bits")


if __name__ == "__main__":
    main(sys.argv[1])
