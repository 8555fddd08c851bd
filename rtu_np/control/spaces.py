"""Gymnasium's spaces as numbers: an observation as a vector, and a space as plain data.

Box observations are flattened. Discrete, MultiDiscrete and MultiBinary become ones and zeros, one per value; an
observation that is not in its space is refused. A Tuple becomes its parts, one after another. Images and dictionaries
are refused with a hint (`rtu_np.control.hints`). A wrapper should turn them into vectors, since a wrapper knows which
parts matter. `rtu_np.control.actions` has the other direction.
"""

from collections.abc import Callable
from operator import index
from typing import Any, NoReturn

import numpy as np

from rtu_np.control.actions import Actions
from rtu_np.control.hints import observation_hint
from rtu_np.validation import PLAIN, check_array, plain_number

Writer = Callable[[Any, np.ndarray], None]
_BITS = frozenset((0, 1))


def observation_writer(space: Any, name: str = "observation") -> tuple[int, Writer]:
    """(n, write): the length of an observation as a vector, and `write(observation, out)`, which writes out (n,).

    `write` raises ValueError, by name, if the observation is not in the space. Of a Box, it checks the shape alone.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        if len(space.shape) > 2 or (len(space.shape) == 2 and space.dtype == np.uint8):
            raise ValueError(
                f"the observation space is a Box of shape {space.shape}, which looks like an image: expected a vector; "
                f"{observation_hint(space)}"
            )
        shape, dtype, flat = space.shape, space.dtype, len(space.shape) == 1

        def write_box(observation: Any, out: np.ndarray) -> None:
            plain = type(observation) is np.ndarray and observation.shape == shape
            if not (plain and (observation.dtype is dtype or observation.dtype.char in PLAIN)):
                observation = check_array(name, observation, shape)
            target = out if flat else out.reshape(shape)
            target[...] = observation

        return int(np.prod(shape)), write_box
    if isinstance(space, spaces.Discrete):
        return int(space.n), _discrete_writer(space, name)
    if isinstance(space, spaces.MultiDiscrete):
        return sum(space.nvec.ravel().tolist()), _multi_discrete_writer(space, name)
    if isinstance(space, spaces.MultiBinary):
        return int(np.prod(space.shape)), _multi_binary_writer(space, name)
    if isinstance(space, spaces.Tuple) and all(map(_is_taken, space.spaces)):
        return _tuple_writer(space, name)
    raise ValueError(
        f"the observation space is {space}: expected Box, Discrete, MultiDiscrete, MultiBinary or a Tuple of these; "
        f"{observation_hint(space)}"
    )


def _is_taken(space: Any) -> bool:
    try:
        observation_writer(space)
    except ValueError:
        return False
    return True


def _refuse(name: str, observation: Any, space: Any) -> NoReturn:
    raise ValueError(
        f"{name} is {observation!r}: expected an element of {space}; does the environment return other observations "
        "than its observation_space says?"
    )


def _array(name: str, observation: Any, space: Any, kinds: str) -> np.ndarray:
    """The observation as an array of the space's shape; `kinds` of its numbers, in NumPy's letters."""
    try:
        values = np.asarray(observation)
    except ValueError:  # nested lists of several lengths
        _refuse(name, observation, space)
    if values.shape != space.shape or values.dtype.kind not in kinds:
        _refuse(name, observation, space)
    if isinstance(observation, np.ma.MaskedArray):
        check_array(name, observation, space.shape)
    return values


def _discrete_writer(space: Any, name: str) -> Writer:
    n, start = int(space.n), int(space.start)

    def write(observation: Any, out: np.ndarray) -> None:
        try:
            k = index(observation) - start
        except TypeError:
            _refuse(name, observation, space)
        if type(observation) is np.ma.MaskedArray:
            check_array(name, observation, ())
        if not 0 <= k < n:
            _refuse(name, observation, space)
        out[...] = 0
        out[k] = 1

    return write


def _multi_discrete_writer(space: Any, name: str) -> Writer:
    start, counts = space.start.astype(np.int64), space.nvec.ravel().astype(np.int64)
    offsets = counts.cumsum() - counts
    limits = counts.view(np.uint64)
    # Buffers, and no array per step. A negative number is a large one without its sign, so one comparison does.
    values, places = np.zeros(space.shape, np.int64), np.zeros_like(counts)
    inside = np.zeros(counts.size, bool)
    flat = values.reshape(-1)
    unsigned = flat.view(np.uint64)

    def write(observation: Any, out: np.ndarray) -> None:
        # As int64 first: of uint64 and int64 NumPy makes float64, which rounds.
        given = _array(name, observation, space, "iub").astype(np.int64, copy=False)
        np.subtract(given, start, values)
        np.less(unsigned, limits, inside)
        if not all(inside.tolist()):
            _refuse(name, observation, space)
        np.add(flat, offsets, places)
        out[...] = 0
        out[places] = 1

    return write


def _multi_binary_writer(space: Any, name: str) -> Writer:
    def write(observation: Any, out: np.ndarray) -> None:
        values = _array(name, observation, space, "iubf").ravel()
        if not _BITS.issuperset(values.tolist()):
            _refuse(name, observation, space)
        out[...] = values

    return write


def _tuple_writer(space: Any, name: str) -> tuple[int, Writer]:
    parts = [observation_writer(part, f"{name}[{k}]") for k, part in enumerate(space.spaces)]
    bounds = np.cumsum([0, *(n for n, _ in parts)])
    pieces = [
        (write, int(start), int(stop)) for (_, write), start, stop in zip(parts, bounds, bounds[1:], strict=False)
    ]

    def write_parts(observation: Any, out: np.ndarray) -> None:
        if not isinstance(observation, tuple | list | np.ndarray) or len(observation) != len(pieces):
            _refuse(name, observation, space)
        for part, (write, start, stop) in zip(observation, pieces, strict=True):
            write(part, out[start:stop])

    return int(bounds[-1]), write_parts


def check_environment(env: Any) -> Any:
    """`env`, if it is one environment with spaces. Functions that read the spaces check the spaces."""
    if not (hasattr(env, "observation_space") and hasattr(env, "action_space")):
        raise TypeError(f"env is {env!r}: expected a Gymnasium environment, gymnasium.make('CartPole-v1')")
    if hasattr(env, "num_envs"):
        raise TypeError("env is a vector of environments: expected one; these agents learn from one stream of steps")
    return env


def check_spaces(env: Any, observation_space: Any, action_space: Any) -> None:
    """TypeError, ValueError if `env` has other spaces than an agent was made for."""
    check_environment(env)
    observation_writer(env.observation_space)  # a space that no agent takes gets the constructor's message
    Actions(env.action_space)
    for name, mine in (("observation_space", observation_space), ("action_space", action_space)):
        given = getattr(env, name)
        if _without_dtypes(describe(mine)) != _without_dtypes(describe(given)):
            raise ValueError(f"env has {name} {given}: expected {mine}; is the agent made for another environment?")


def describe(space: Any) -> dict[str, Any]:
    """A space that agents take as plain data, to be stored in a checkpoint and compared."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        # Items of a longdouble are NumPy's own, which JSON does not know.
        bounds = {name: [plain_number(x) for x in getattr(space, name).ravel().tolist()] for name in ("low", "high")}
        return {"kind": "Box", "shape": list(space.shape), "dtype": str(space.dtype), **bounds}
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        of_values = {"nvec": space.nvec.tolist(), "start": space.start.tolist()}
        return {"kind": "MultiDiscrete", **of_values, "dtype": str(space.dtype)}
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.shape)}
    return {"kind": "Tuple", "spaces": [describe(part) for part in space.spaces]}


def _without_dtypes(description: dict[str, Any]) -> dict[str, Any]:
    """Of integers: whole numbers are the same in all of them, and earlier checkpoints do not hold the type."""
    if description["kind"] == "Tuple":
        return {**description, "spaces": [_without_dtypes(part) for part in description["spaces"]]}
    if description["kind"] == "MultiDiscrete":
        return {name: value for name, value in description.items() if name != "dtype"}
    return description


def build(description: dict[str, Any]) -> Any:
    """The space that `describe` described."""
    from gymnasium import spaces

    d = dict(description)
    kind = d.pop("kind")
    if kind == "Box":
        # In the type of the space: NumPy makes floats of small and of large integers together.
        low, high = (np.array(d[name], d["dtype"]).reshape(d["shape"]) for name in ("low", "high"))
        return spaces.Box(low, high, dtype=np.dtype(d["dtype"]).type)
    if kind == "Discrete":
        return spaces.Discrete(d["n"], start=d["start"])
    if kind == "MultiDiscrete":
        dtype = np.dtype(d.get("dtype", "int64"))
        return spaces.MultiDiscrete(np.array(d["nvec"], dtype), dtype=dtype.type, start=np.array(d["start"], dtype))
    if kind == "MultiBinary":
        return spaces.MultiBinary(d["n"])
    return spaces.Tuple([build(part) for part in d["spaces"]])
