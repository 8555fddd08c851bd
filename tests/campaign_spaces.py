"""Random spaces for the campaign: what agents take and what they do not, elements of them, and what is not in them."""

import math
from typing import Any

import gymnasium
import numpy as np
from campaign_cases import given_as, spoiled
from gymnasium import spaces
from hypothesis import strategies as st

SHAPES = st.sampled_from([(), (1,), (2,), (1, 2), (2, 2), (3,), (0,)])
REAL = ("float64", "float32", "float16", "longdouble")
INTEGERS = ("int8", "uint8", "int16", "int64", "uint64", "bool")
EDGES = st.sampled_from(
    [-math.inf, -1e300, -1e30, -100.0, -1.0, -0.1, -1e-40, 0.0, 0.1, 1.0, 255.0, 1e30, 1e300, math.inf]
)


def whole_edges(dtype: str) -> st.SearchStrategy[int]:
    if dtype == "bool":
        return st.integers(0, 1)
    info = np.iinfo(dtype)
    return st.one_of(st.integers(max(int(info.min), -9), 9), st.sampled_from([int(info.min), int(info.max)]))


@st.composite
def boxes(draw, dtypes=REAL + INTEGERS, shapes=SHAPES) -> Any:
    dtype, shape = draw(st.sampled_from(dtypes)), draw(shapes)
    if dtype in REAL:
        most = float(np.finfo(dtype).max) if dtype != "longdouble" else np.inf
        edges = EDGES.filter(lambda x: math.isinf(x) or abs(x) < most)
    else:
        edges = whole_edges(dtype)
    low, high = sorted([draw(edges), draw(edges)])
    if low == high and math.isinf(low):
        low, high = -1, 1
    with np.errstate(all="ignore"):
        return spaces.Box(np.full(shape, low, dtype), np.full(shape, high, dtype), dtype=np.dtype(dtype).type)


@st.composite
def choices(draw) -> Any:
    """Discrete, MultiDiscrete or MultiBinary, from any start."""
    start = st.sampled_from([0, 0, 1, -5, 2**53 + 1, -(2**62)])
    kind = draw(st.sampled_from(["one", "several", "bits"]))
    if kind == "one":
        return spaces.Discrete(draw(st.integers(1, 5)), start=draw(start))
    if kind == "bits":
        return spaces.MultiBinary(draw(st.sampled_from([1, 3, [2, 2], (1, 1)])))
    shape = draw(st.sampled_from([(1,), (2,), (2, 2)]))
    dtype = draw(st.sampled_from(["int64", "int32", "int8", "uint8"]))
    begin = draw(start) if dtype == "int64" else draw(st.sampled_from([0, 1, 100]))
    counts = np.array([draw(st.integers(1, 4)) for _ in range(math.prod(shape))], dtype).reshape(shape)
    return spaces.MultiDiscrete(counts, dtype=np.dtype(dtype).type, start=np.full(shape, begin, dtype))


VECTORS = boxes().filter(lambda box: not (len(box.shape) == 2 and box.dtype == np.uint8))
SINGLE = st.one_of(VECTORS, choices())
PAIRS = st.lists(SINGLE, min_size=1, max_size=3).map(spaces.Tuple)
OBSERVATIONS = st.one_of(SINGLE, SINGLE, PAIRS, st.lists(PAIRS, min_size=1, max_size=2).map(spaces.Tuple))
ACTIONS = st.one_of(boxes(REAL), choices())
BOX = spaces.Box(-1, 1, (2,))
BAD_SPACES = st.sampled_from(
    [
        *(spaces.Text(3), spaces.Sequence(BOX), spaces.Graph(BOX, None), spaces.Dict(a=BOX, b=spaces.Text(2))),
        *(spaces.Dict(a=BOX), spaces.OneOf([BOX, spaces.Discrete(2)]), spaces.Tuple([BOX, spaces.Text(3)])),
        *(spaces.Box(0, 255, (4, 4, 3), np.uint8), spaces.Tuple([spaces.Box(0, 1, (2, 2, 2))])),
        *(None, "Box", 3, [BOX], object()),
    ]
)


def drawn_from(space: Any, rng: np.random.Generator) -> Any:
    """An element of moderate size. `space.sample` takes no longdouble, and few bounds near the ends of a type."""
    if isinstance(space, spaces.Tuple):
        return tuple(drawn_from(part, rng) for part in space.spaces)
    if isinstance(space, spaces.Discrete):
        return space.start + space.dtype.type(rng.integers(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return (rng.integers(space.nvec) + space.start.astype(np.int64)).astype(space.dtype)
    if isinstance(space, spaces.MultiBinary):
        return rng.integers(0, 2, space.shape, np.int8)
    if space.dtype.kind == "f":
        with np.errstate(all="ignore"):
            return np.clip(rng.standard_normal(space.shape), -3, 3).astype(space.dtype)
    if space.dtype.kind == "b":
        return rng.integers(0, 2, space.shape).astype(bool)
    return np.clip(rng.integers(0, 4, space.shape), space.low, space.high).astype(space.dtype)


def not_in(draw: Any, space: Any, dtype: str) -> Any:
    """What is no observation in `space`: of a Box, another shape or a number that is not finite."""
    if isinstance(space, spaces.Tuple):
        parts = [drawn_from(part, np.random.default_rng(0)) for part in space.spaces]
        k = draw(st.integers(0, len(parts) - 1))
        fault = draw(st.sampled_from(["part", "long", "short", "other"]))
        if fault == "part":
            parts[k] = not_in(draw, space.spaces[k], dtype)
        changed = {"part": parts, "long": [*parts, 0.0], "short": parts[:-1]}.get(
            fault, draw(st.sampled_from([None, 1, {}]))
        )
        return tuple(changed) if isinstance(changed, list) else changed
    if isinstance(space, spaces.Box):
        if 0 in space.shape or not space.shape:
            return draw(st.sampled_from([np.zeros((7, 7)), "x", None, [1, 2, 3], math.nan, {}]))
        return spoiled(draw, np.zeros(space.shape), dtype)
    if isinstance(space, spaces.Discrete):
        first, last = int(space.start), int(space.start + space.n - 1)
        return draw(
            st.sampled_from([first - 1, last + 1, 0.5, "x", None, math.nan, [first], np.array([first]), 10**30, 1j])
        )
    array = drawn_from(space, np.random.default_rng(0)).astype(object)
    fault = draw(st.sampled_from(["element", "shape", "other"]))
    if fault == "other":
        return draw(st.sampled_from([None, "x", {}, 1j, math.nan, 10**30, [[1], [2, 3]]]))
    if fault == "shape":
        return np.append(array.ravel(), array.ravel()[:1]).astype(np.int64)
    least = space.start.ravel()[0] if isinstance(space, spaces.MultiDiscrete) else 0
    array[(0,) * array.ndim] = draw(
        st.sampled_from([int(least) - 1, int(least) + 99, 0.5, math.nan, None, 10**30, "x"])
    )
    return draw(st.sampled_from([array, array.tolist()]))


class World(gymnasium.Env):
    """Random observations of any space, rewards, and ends of episodes; for one seed always the same."""

    def __init__(self, observation_space: Any, action_space: Any, seed: int) -> None:
        self.observation_space, self.action_space, self.seed = observation_space, action_space, seed
        self.rng, self.actions = np.random.default_rng(seed), []

    def again(self) -> "World":
        return World(self.observation_space, self.action_space, self.seed)

    def draw(self) -> Any:
        return drawn_from(self.observation_space, self.rng)

    def in_another_form(self, draw: Any, observation: Any) -> Any:
        """The same observation in another type."""
        space = self.observation_space
        if isinstance(space, spaces.Box) and space.dtype.kind == "f" and observation.size and observation.ndim:
            return given_as(draw, observation.astype(np.float64))
        if isinstance(space, spaces.Discrete):
            return draw(st.sampled_from([int, np.int64, np.array]))(observation)
        if isinstance(space, spaces.Tuple):
            return draw(st.sampled_from([tuple, list]))(observation)
        return (
            observation if not observation.ndim else draw(st.sampled_from([np.asarray, np.ndarray.tolist]))(observation)
        )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        return self.draw(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.actions.append(action)
        return self.draw(), float(self.rng.normal()), self.rng.random() < 0.15, self.rng.random() < 0.1, {}
