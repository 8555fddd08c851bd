"""How a step ends, what a compiled step returns, and the clock of every learner."""

from typing import Any

from rtu_np.validation import check_number

# How a step ends.
CONTINUES, TERMINATED, TRUNCATED = 0, 1, 2

# What a compiled step returns. REFUSED: an input or a parameter is not usable; nothing has changed. DIVERGED: an output
# or a parameter is no longer usable. FULL: the rollout is complete, and no transition has begun. PAUSED: the step is
# done, and Python has work before the next one: a phase to be wrapped, or a look at whether learning goes on.
PAUSED, REFUSED, DIVERGED, DONE, FULL = -2, -1, 0, 1, 2

# After so many steps, a learner brings its parameters back to their bounds; and it looks whether learning goes on. Each
# is a power of 2. At every step, the bounds of 10 units would take 5 % of the time.
EXAMINE_EVERY, LOOK_EVERY = 1 << 4, 1 << 16

# Slots of a clock, two integers: steps so far; whether the next step is the first after a clear.
STEPS, IS_FIRST = 0, 1

# Slot of a signal, in prediction and in control: how the step ends.
END = 1


def how_it_ends(terminated: Any, truncated: Any) -> int:
    """How a step ends whose flags are not both false. ValueError, TypeError, by name, if a flag is not a number."""
    for name, flag in (("terminated", terminated), ("truncated", truncated)):
        if flag:
            check_number(name, flag)
    return TERMINATED if terminated else TRUNCATED
