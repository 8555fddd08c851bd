"""What the arguments that all agents share mean, written once."""

from typing import TypeVar

SHARED_ARGUMENTS = """gradient : how the gradient travels through time; RTRL() by default
    gamma : discount per step, in [0, 1]
    normalize_observations, scale_rewards : whether to use running statistics for these (`rtu_np.learning.normalizers`)
    previous_action_reward : whether the previous action and reward are part of the input
    clip_observations : if given, an observation is clipped to this many deviations from its mean before it enters the
        statistics and the network; at least 1, and 10 is common. Not for observations that are rarely other than zero
    seed : of the starting parameters, the actions and the environment; the same seed gives the same bits
    dtype : "float32" or "float64"
"""
Kind = TypeVar("Kind", bound=type)


def with_shared_arguments(kind: Kind) -> Kind:
    """Put the description of the arguments that all agents share into the docstring of an agent."""
    line = "others : see `rtu_np.control.shared_arguments`\n"
    if kind.__doc__ is not None:  # python -OO removes docstrings
        assert line in kind.__doc__
        kind.__doc__ = kind.__doc__.replace(line, SHARED_ARGUMENTS)
    return kind
