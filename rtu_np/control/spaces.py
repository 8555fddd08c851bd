"""Gymnasium's spaces as numbers: an observation as a vector, an action as an array of reals.

Box observations are flattened. Discrete, MultiDiscrete and MultiBinary become ones and zeros, one per value. A Tuple
becomes its parts, one after another. Images and dictionaries are refused. A wrapper should turn them into vectors,
since a wrapper knows which parts matter.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from rtu_np.validation import PLAIN, check_array

Writer = Callable[[Any, np.ndarray], None]


def observation_writer(space: Any) -> tuple[int, Writer]:
    """(n, write): the length of an observation as a vector, and `write(observation, out)`, which writes out (n,)."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        if len(space.shape) > 2 or (len(space.shape) == 2 and space.dtype == np.uint8):
            raise ValueError(
                f"the observation space is a Box of shape {space.shape}, which looks like an image: expected a vector; "
                "first apply a wrapper that turns images into features"
            )
        shape, dtype, flat = space.shape, space.dtype, len(space.shape) == 1

        def write_box(observation: Any, out: np.ndarray) -> None:
            plain = type(observation) is np.ndarray and observation.shape == shape
            if not (plain and (observation.dtype is dtype or observation.dtype.char in PLAIN)):
                observation = check_array("observation", observation, shape)
            target = out if flat else out.reshape(shape)
            target[...] = observation

        return int(np.prod(shape)), write_box
    if isinstance(space, spaces.Discrete):
        return int(space.n), _one_hot(np.array([0]), int(space.start))
    if isinstance(space, spaces.MultiDiscrete):
        counts = space.nvec.ravel()
        offsets = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return int(counts.sum()), _one_hot(offsets, space.start.ravel())
    if isinstance(space, spaces.MultiBinary):

        def write_binary(observation: Any, out: np.ndarray) -> None:
            out[...] = np.ravel(check_array("observation", observation, space.shape))

        return int(np.prod(space.shape)), write_binary
    if isinstance(space, spaces.Tuple):
        parts = [observation_writer(part) for part in space.spaces]
        bounds = np.cumsum([0, *(n for n, _ in parts)])

        def write_parts(observation: Any, out: np.ndarray) -> None:
            for part, (_, write), start, stop in zip(observation, parts, bounds[:-1], bounds[1:], strict=True):
                write(part, out[start:stop])

        return int(bounds[-1]), write_parts
    raise ValueError(
        f"the observation space is {space}: expected Box, Discrete, MultiDiscrete, MultiBinary or a Tuple of these; "
        "gymnasium.wrappers.FlattenObservation makes a vector of a Dict"
    )


def _one_hot(offsets: np.ndarray, start: Any) -> Writer:
    def write(observation: Any, out: np.ndarray) -> None:
        out[...] = 0
        out[offsets + np.ravel(observation) - start] = 1

    return write


class Actions:
    """An action space as agents see it.

    Attributes
    ----------
    discrete : whether an action is one of `n`; otherwise it is continuous, a vector of `n` components
    bounds : (2, n) lowest and highest of each component; infinite if it has no bound
    """

    def __init__(self, space: Any) -> None:
        from gymnasium import spaces

        self.discrete = isinstance(space, spaces.Discrete)
        if isinstance(space, spaces.Discrete):
            self.n, self.start = int(space.n), int(space.start)
            self.bounds = np.array([[-np.inf], [np.inf]]) * np.ones(self.n)
        elif isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
            self.n, self.shape, self.dtype = int(np.prod(space.shape)), space.shape, space.dtype
            self.bounds = np.stack([space.low.ravel(), space.high.ravel()]).astype(np.float64)
        else:
            raise ValueError(f"the action space is {space}: expected Discrete, or a Box of real numbers")

    def to_environment(self, action: np.ndarray) -> Any:
        """The action, an array of reals within the bounds, as `env.step` takes it."""
        if self.discrete:
            return int(action[0]) + self.start
        return action.reshape(self.shape).astype(self.dtype)


def check_environment(env: Any) -> Any:
    """`env`, if it is one environment with spaces. Functions that read the spaces check the spaces."""
    if not (hasattr(env, "observation_space") and hasattr(env, "action_space")):
        raise TypeError(f"env is {env!r}: expected a Gymnasium environment, gymnasium.make('CartPole-v1')")
    if hasattr(env, "num_envs"):
        raise TypeError("env is a vector of environments: expected one; these agents learn from one stream of steps")
    return env


def describe(space: Any) -> dict[str, Any]:
    """A space as plain data, to be stored in a checkpoint and compared."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        bounds = {"low": space.low.ravel().tolist(), "high": space.high.ravel().tolist()}
        return {"kind": "Box", "shape": list(space.shape), "dtype": str(space.dtype), **bounds}
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"kind": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.shape)}
    return {"kind": "Tuple", "spaces": [describe(part) for part in space.spaces]}


def build(description: dict[str, Any]) -> Any:
    """The space that `describe` described."""
    from gymnasium import spaces

    d = dict(description)
    kind = d.pop("kind")
    if kind == "Box":
        low, high = (np.array(d[name]).reshape(d["shape"]).astype(d["dtype"]) for name in ("low", "high"))
        return spaces.Box(low, high, dtype=np.dtype(d["dtype"]).type)
    if kind == "Discrete":
        return spaces.Discrete(d["n"], start=d["start"])
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(np.array(d["nvec"]), start=np.array(d["start"]))
    if kind == "MultiBinary":
        return spaces.MultiBinary(d["n"])
    return spaces.Tuple([build(part) for part in d["spaces"]])
