"""Epsilon-greedy exploration, with an epsilon that falls linearly (derivations (44))."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rtu_np.control import policies
from rtu_np.jit import kernel
from rtu_np.validation import check_count, check_real, make_plain

# Slots of the noise: whether to explore, and which action to explore.
_WHETHER, _WHICH = 0, 1


@dataclass(frozen=True)
class Epsilon:
    """The probability of an exploratory action, which is drawn uniformly from all actions (derivations (44)).

    Parameters
    ----------
    start, end : probabilities; epsilon goes linearly from `start` to `end`, then stays at `end`
    steps : steps of learning until `end`

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> epsilon = Epsilon(start=1.0, end=0.1, steps=1000)
    >>> [round(epsilon_at(epsilon.spec(), t), 3) for t in (0, 500, 1000, 10**6)]
    [1.0, 0.55, 0.1, 0.1]
    """

    start: float = 1.0
    end: float = 0.01
    steps: int = 50_000

    def __post_init__(self) -> None:
        check_real("start", self.start, low=0.0, high=1.0)
        check_real("end", self.end, low=0.0, high=1.0)
        check_count("steps", self.steps, hint="1 begins with the end")
        make_plain(self)

    def spec(self) -> "EpsilonSpec":
        return EpsilonSpec(float(self.start), float(self.end), float(self.steps), 1, 2)

    def draw(self, noise: np.ndarray, rng: np.random.Generator) -> None:
        """noise (2,) <- uniform numbers: whether to explore, and which action to take then"""
        rng.random(out=noise, dtype=noise.dtype)

    draw_rows = draw


class EpsilonSpec(NamedTuple):
    start: float
    end: float
    steps: float
    n_action: int
    n_noise: int


@kernel
def epsilon_at(spec, steps):
    """Epsilon after `steps` steps."""
    return spec.start + (spec.end - spec.start) * min(steps / spec.steps, 1.0)


@kernel
def exploratory_action(epsilon, noise, n_actions):
    """With probability epsilon any of the actions; else -1, for the greedy action."""
    if noise[_WHETHER] < epsilon:
        return min(int(noise[_WHICH] * n_actions), n_actions - 1)  # the product may round up to n_actions
    return -1


@policies.sample.register(EpsilonSpec)
def _sample_epsilon_greedy(spec, o, noise, steps, action):
    exploratory = exploratory_action(epsilon_at(spec, steps), noise, o.shape[0])
    action[0] = policies.first_largest(o) if exploratory < 0 else exploratory


@policies.mode.register(EpsilonSpec)
def _greedy(spec, o, action):
    action[0] = policies.first_largest(o)
