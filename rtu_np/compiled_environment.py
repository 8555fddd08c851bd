"""What an environment provides, so that `learn` goes through many steps without returning to Python.

An environment of this kind is described by two things. `dynamics` is a NamedTuple of its settings: sizes, options, and
arrays that no step changes. `state` is an array of all that a step changes. Two functions are registered for the type
of `dynamics`:

    begin       an episode: the state and the first observation
    advance     one step: the state, the next observation, the reward, and whether the episode ends

They are kernels (rtu_np/jit.py). `CompiledEnvironment` has a `reset` and a `step` that call the same two in plain
Python, so the dynamics are written once. `compiled` marks the class:

>>> from typing import NamedTuple
>>> import gymnasium
>>> class Coin(NamedTuple):
...     side: float
>>> @begin.register(Coin)
... def begin_coin(dynamics, state, rng, observation):
...     state[0] = integer(rng, 2)
...     observation[0] = dynamics.side * state[0]
>>> @advance.register(Coin)
... def advance_coin(dynamics, state, action, rng, observation):
...     return (1.0 if action == state[0] else 0.0), True, False
>>> @compiled
... class GuessTheCoin(CompiledEnvironment, gymnasium.Env):
...     observation_space = gymnasium.spaces.Box(0.0, 1.0, (1,))
...     action_space = gymnasium.spaces.Discrete(2)
...     dynamics = Coin(1.0)
...     def __init__(self):
...         self.state = np.zeros(1, np.int64)
>>> env = GuessTheCoin()
>>> observation, _ = env.reset(seed=0)
>>> env.step(int(observation[0]))[1:4]
(1.0, True, False)

`learn` takes such an environment alone, and behind the wrappers of `gymnasium.make`: PassiveEnvChecker, OrderEnforcing
and TimeLimit. Observations are a Box of one dimension. Actions are Discrete, and `advance` gets an integer; or a Box,
MultiDiscrete or MultiBinary of one dimension, and `advance` gets an array, float64 for a Box and int64 for the others,
which it does not write. `state` and the numbers and arrays of `dynamics` are float64 or int64: smaller types are not
the same in NumPy and in compiled code. Anything else goes step by step, and so does a class that derives from a marked
class without being marked: it may have changed `step`. `learn` sees it if `dynamics` or `state` are replaced.

Random numbers come from the environment's own generator: `rng.random()`, `integer`, `normal` and `shuffle`. They
have in compiled code the bits that they have in Python, and so has arithmetic: in `begin`, `advance` and a
`kernel(fused=False)` (rtu_np/jit.py) that they call, each operation is rounded by itself. Take functions from `math`
(`math.cos`), which both ways call the C library: NumPy has its own, which may differ in the last digit. So may powers
(`x * x`, not `x**2`), `math.hypot` and `math.gamma`. A sum of truth values is a number in compiled code, and a truth
value in NumPy. Compiled code does not look whether an index is within its array: try a new environment step by step.
"""

import math
from types import FunctionType
from typing import Any

import numpy as np

from rtu_np import numba_compiler
from rtu_np.jit import generic, kernel, overload


@generic(fused=False)
def begin(dynamics, state, rng, observation):
    """Begin an episode: write `state` and the first observation. `observation` is zeros on entry."""


@generic(fused=False)
def advance(dynamics, state, action, rng, observation):
    """One step: write `state` and the next observation, zeros on entry; returns (reward, terminated, truncated)."""


def integer(rng: Any, n: int) -> int:
    """A uniform integer of 0 ... n - 1, as `rng.integers(n)` draws it; n is at most 2^32 - 1.

    Examples
    --------
    >>> integer(np.random.default_rng(0), 6) == int(np.random.default_rng(0).integers(6))
    True
    """
    return int(rng.integers(n))


@overload(integer, strict=False)
def _compile_integer(rng: Any, n: Any) -> Any:
    def draw(rng, n):  # np.int64, since Numba makes a float64 of an unsigned integer and a signed one
        return np.int64(numba_compiler.bounded_integer(rng.bit_generator, n - 1)) if n > 1 else np.int64(0)

    return draw


@kernel(fused=False)
def normal(rng: Any) -> float:
    """A standard normal number, by the polar method of Marsaglia and Bray 1964.

    `rng.standard_normal()` would do in Python. Numba's version of it is not NumPy's to the bit on each processor.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> round(float(np.std([normal(rng) for _ in range(10_000)])), 1)
    1.0
    """
    while True:
        u, v = 2.0 * rng.random() - 1.0, 2.0 * rng.random() - 1.0  # a point of the square
        s = u * u + v * v
        if 0.0 < s < 1.0:  # of the disc
            return u * math.sqrt(-2.0 * math.log(s) / s)


def shuffle(rng: Any, items: np.ndarray) -> None:
    """Put `items`, a vector, into a random order, as `rng.shuffle(items)` does: every order is as likely as any other.

    Examples
    --------
    >>> items, others = np.arange(52), np.arange(52)
    >>> shuffle(np.random.default_rng(0), items)
    >>> np.random.default_rng(0).shuffle(others)
    >>> bool((items == others).all())
    True
    """
    rng.shuffle(items)


@overload(shuffle, strict=False)
def _compile_shuffle(rng: Any, items: Any) -> Any:
    def exchange(rng, items):  # Numba's own shuffle allocates an array
        for i in range(items.shape[0] - 1, 0, -1):
            j = np.int64(numba_compiler.random_interval(rng.bit_generator, i))
            items[i], items[j] = items[j], items[i]

    return exchange


class CompiledEnvironment:
    """`reset` and `step` of an environment whose dynamics are compiled; put it before gymnasium.Env among the bases.

    Attributes
    ----------
    dynamics : NamedTuple of settings, for whose type `begin` and `advance` are registered
    state : array of what a step changes
    in_episode : whether `step` may be called
    """

    dynamics: Any
    state: np.ndarray
    in_episode = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)  # type: ignore[misc]
        space = self.observation_space  # type: ignore[attr-defined]
        observation = np.zeros(space.shape, space.dtype)
        begin(self.dynamics, self.state, self.np_random, observation)  # type: ignore[attr-defined]
        self.in_episode = True
        return observation, {}

    def step(self, action: Any) -> Any:
        if not self.in_episode:
            self._explain_order()
        space = self.observation_space  # type: ignore[attr-defined]
        observation = np.zeros(space.shape, space.dtype)
        rng = self.np_random  # type: ignore[attr-defined]
        if np.ndim(action):  # NumPy computes with small types as such, where Numba widens them
            kind = self.action_space.dtype.kind  # type: ignore[attr-defined]
            action = np.asarray(action, np.float64 if kind == "f" else np.int64)
        reward, terminated, truncated = advance(self.dynamics, self.state, action, rng, observation)
        if terminated or truncated:
            self.in_episode = False
        return observation, reward, terminated, truncated, {}

    def _explain_order(self) -> None:
        from gymnasium.error import ResetNeeded

        raise ResetNeeded(
            "step() was called outside an episode: expected reset() before the first step and after the last"
        )


_MARKED: dict[type, list[tuple[str, Any]]] = {}  # {class: its functions when it was marked}


def compiled(kind: type) -> type:
    """Mark a class: its `reset` and `step` do what `begin` and `advance` do for its dynamics, and check no more.

    A step that was replaced later, in the class or in an instance, is seen, and the environment goes step by step.
    """
    _MARKED[kind] = _functions(kind)
    return kind


def has_wide_numbers(part: Any) -> bool:
    """Whether all numbers and arrays in `part`, of tuples of any depth, are float64, int64, or of Python itself."""
    if isinstance(part, tuple):
        return all(map(has_wide_numbers, part))
    if isinstance(part, np.ndarray | np.generic):
        return part.dtype in (np.float64, np.int64)
    return True


def is_compiled(env: Any) -> bool:
    """Whether `env` is of a class that is marked, and nothing of it was replaced since."""
    kind = type(env)
    return kind in _MARKED and not replaces_functions(env) and _functions(kind) == _MARKED[kind]


def replaces_functions(env: Any) -> bool:
    """Whether an instance has attributes of its own in place of functions of its class."""
    return any(isinstance(getattr(type(env), name, None), FunctionType) for name in vars(env))


def _functions(kind: type) -> list[tuple[str, Any]]:
    return [
        (name, value)
        for each in kind.__mro__[:-1]
        for name, value in vars(each).items()
        if isinstance(value, FunctionType | property)
    ]
