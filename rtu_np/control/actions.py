"""Gymnasium's action spaces as agents see them: several choices, or a vector of real numbers.

Discrete is one choice among n actions. MultiDiscrete and MultiBinary are several choices, one per component, which a
policy makes independently; a bit of MultiBinary is a choice between 0 and 1. A Box of real numbers is continuous. Every
action that an environment gets lies in its space, in the precision of that space.
"""

import warnings
from math import erf, sqrt
from typing import Any, NamedTuple

import numpy as np

from rtu_np.control.hints import action_hint
from rtu_np.jit import generic

# A Gaussian policy starts near a mean of 0, with a deviation of about 1.
_REACH = 3.0  # nearly all of its actions are at most this large
_LEAST_INSIDE = 0.1  # probability that such an action is not clipped, below which a warning says so
_COMPILED_TYPES = frozenset("bBhHiIlLqQfd")  # of actions that compiled code makes
_LEAST_USED = 0.1  # part of the range that the reach covers, below which a warning says so


class OneChoice(NamedTuple):
    start: int


class SeveralChoices(NamedTuple):
    start: np.ndarray  # (n,)


class Continuous(NamedTuple):
    rounded: np.ndarray  # (1,) of the space's type


@generic
def environment_action(kind, executed, action):
    """The numbers of what `Actions.to_environment` returns, in compiled code. `action` (n,) may be written."""


@environment_action.register(OneChoice)
def _one_choice(kind, executed, action):
    return int(executed[0]) + kind.start


@environment_action.register(SeveralChoices)
def _several_choices(kind, executed, action):
    for j in range(executed.shape[0]):
        action[j] = int(executed[j]) + kind.start[j]
    return action


@environment_action.register(Continuous)
def _continuous(kind, executed, action):
    for j in range(executed.shape[0]):
        kind.rounded[0] = executed[j]
        action[j] = kind.rounded[0]
    return action


class Actions:
    """An action space as agents see it.

    Attributes
    ----------
    discrete : whether an action is made of choices; otherwise it is continuous
    n : for one choice, how many actions there are; for several, a tuple of how many values each has; for a continuous
        action, how many components it has
    width : how many numbers stand for an action in the input of a network: one per value of each choice, or one per
        component
    """

    def __init__(self, space: Any) -> None:
        from gymnasium import spaces

        self._space = space
        self.n: int | tuple[int, ...]
        self._start: Any = 0
        self.discrete = True
        if isinstance(space, spaces.Discrete):
            self.n, self._start = int(space.n), int(space.start)
        elif isinstance(space, spaces.MultiDiscrete):
            self.n, self._start = tuple(space.nvec.ravel().tolist()), space.start.ravel().astype(np.int64)
        elif isinstance(space, spaces.MultiBinary):
            self.n = (2,) * int(np.prod(space.shape))
        elif isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
            self.n, self.discrete = int(np.prod(space.shape)), False
        else:
            raise ValueError(
                f"the action space is {space}: expected Discrete, MultiDiscrete, MultiBinary, or a Box of real "
                f"numbers; {action_hint(space)}"
            )
        self.width = self.n if isinstance(self.n, int) else sum(self.n)
        self._between = not self.discrete and self._has_none_within(np.float32)

    def _has_none_within(self, dtype: Any) -> bool:
        """Whether the bounds of a component are too close, or too large, for a number of `dtype` within them."""
        low, high = (bound.ravel().astype(np.float64) for bound in (self._space.low, self._space.high))
        least, most = self.bounds(dtype).astype(np.float64)
        return bool(((least > most) | (least > high) | (most < low)).any())

    def bounds(self, dtype: Any) -> np.ndarray:
        """(2, width): the least and the largest number of `dtype` within the bounds of each component, all finite.

        They are also finite in the space's own type. Choices have no bounds: theirs are infinite.
        """
        if self.discrete:
            return np.array([[-np.inf], [np.inf]], dtype) * np.ones(self.width, dtype)
        space = self._space
        largest = min(float(np.finfo(kind).max) for kind in (dtype, space.dtype))
        exact = np.clip(np.stack([space.low.ravel(), space.high.ravel()]).astype(np.float64), -largest, largest)
        low, high = exact.astype(dtype)
        # Rounded to `dtype`, a bound may lie outside: float32(.1) is above .1.
        lower, higher = low < exact[0], high > exact[1]
        low[lower] = np.nextafter(low[lower], low.dtype.type(np.inf))
        high[higher] = np.nextafter(high[higher], high.dtype.type(-np.inf))
        return np.stack([low, high])

    def to_environment(self, action: np.ndarray) -> Any:
        """The action, an array of reals within the bounds, as `env.step` takes it."""
        if not self.discrete:
            action = action.reshape(self._space.shape).astype(self._space.dtype)
            return np.clip(action, self._space.low, self._space.high, out=action) if self._between else action
        if isinstance(self.n, int):
            return int(action[0]) + self._start
        # In integers: a float would round a start of more than 2^53.
        return (action.astype(np.int64) + self._start).astype(self._space.dtype).reshape(self._space.shape)

    def compiled(self) -> tuple[OneChoice | SeveralChoices | Continuous, np.ndarray] | None:
        """The first and the last argument of `environment_action`; None if compiled code cannot make the action."""
        from gymnasium import spaces

        space = self._space
        if type(space) is spaces.Discrete:
            return OneChoice(self._start), np.zeros(1, np.int64)
        if len(space.shape) != 1 or self._between or space.dtype.char not in _COMPILED_TYPES:
            return None
        if self.discrete:
            return SeveralChoices(self._start + np.zeros(space.shape, np.int64)), np.zeros(space.shape, np.int64)
        return Continuous(np.zeros(1, space.dtype)), np.zeros(space.shape)

    def warn_of_scale(self, stacklevel: int) -> None:
        """Warn if a Gaussian policy starts far from the scale of a continuous action."""
        low, high = (bound.ravel().astype(np.float64) for bound in (self._space.low, self._space.high))
        finite = np.isfinite(high - low)
        inside = np.array([_below(b) - _below(a) for a, b in zip(low, high, strict=True)])
        covered = np.minimum(high, _REACH) - np.maximum(low, -_REACH)
        if (inside < _LEAST_INSIDE).any():
            fault = "nearly every action would be clipped to a bound"
        elif (covered[finite] < _LEAST_USED * (high - low)[finite]).any():
            fault = "its actions would hardly use the range"
        else:
            return
        cure = "TransformAction, with a function of your own,"
        if (finite & (high > low)).all():  # RescaleAction divides by high - low
            one = f"np.{self._space.dtype}"
            cure = f"RescaleAction(env, {one}(-1), {one}(1))"
        warnings.warn(
            f"the action space is {self._space}, and a Gaussian policy starts with a mean near 0 and a deviation of "
            f"about 1: {fault}. gymnasium.wrappers.{cure} gives the agent a range that suits it",
            stacklevel=stacklevel,
        )


def _below(x: float) -> float:
    """The probability that a standard normal number lies below x."""
    return 0.5 * (1 + erf(x / sqrt(2)))
