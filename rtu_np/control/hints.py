"""What to do about a space that no agent takes: a wrapper of Gymnasium per kind of space, as one line to copy."""

from math import ceil, prod
from typing import Any

import numpy as np

_WRAPPERS = "gymnasium.wrappers"
_ROWS = 12  # the features of an image, at most, along each side
_MOST_CHOICES = 1000  # outputs of a policy that chooses whole numbers


def observation_hint(space: Any) -> str:
    """A wrapper that makes a vector of observations in `space`."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        return _image_hint(space)
    if isinstance(space, spaces.Dict):
        names = [name for name, part in space.spaces.items() if _is_numeric(part)]
        if len(names) == len(space.spaces):
            return f"{_WRAPPERS}.FlattenObservation(env) makes a vector of it"
        if names:
            left_out = ", ".join(repr(name) for name in space.spaces if name not in names)
            return (
                f"{_WRAPPERS}.FlattenObservation({_WRAPPERS}.FilterObservation(env, {names!r})) makes a vector of the "
                f"parts that are numbers, and leaves {left_out} out"
            )
    elif isinstance(space, spaces.Tuple | spaces.OneOf) and all(map(_is_numeric, space.spaces)):
        return f"{_WRAPPERS}.FlattenObservation(env) makes a vector of it"
    features = {
        "Text": "for example counts of words",
        "Sequence": "for example the mean of its elements",
        "Graph": "for example the mean of its nodes",
    }.get(type(space).__name__, "of your own")
    return (
        f"{_WRAPPERS}.TransformObservation(env, function, gymnasium.spaces.Box(-np.inf, np.inf, (n,))) makes features "
        f"of it, with a function that returns an array of n numbers, {features}"
    )


def _is_numeric(space: Any) -> bool:
    """Whether Gymnasium flattens the space to numbers that mean something; the letters of a text do not."""
    from gymnasium import spaces

    if isinstance(space, spaces.Tuple | spaces.OneOf):
        return all(map(_is_numeric, space.spaces))
    if isinstance(space, spaces.Dict):
        return all(map(_is_numeric, space.spaces.values()))
    return isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)


def _image_hint(space: Any) -> str:
    """Every few pixels of an image, and of these the mean of the colours; Gymnasium's own wrappers keep it an image."""
    shape = space.shape
    coloured = len(shape) == 3 and shape[-1] <= 4  # rows, columns, colours; otherwise rows and columns come last
    step = max(1, ceil(max(shape[:2] if coloured else shape[-2:]) / _ROWS))
    every = (slice(None, None, step), slice(None, None, step))
    chosen = np.broadcast_to(np.int8(0), shape)[(*every, 0) if coloured else (..., *every)]
    pixels = f"image[::{step}, ::{step}].mean(-1)" if coloured else f"image[..., ::{step}, ::{step}]"
    scale, box = (" / 255", "0, 1") if space.dtype == np.uint8 else ("", "-np.inf, np.inf")
    return (
        f"{_WRAPPERS}.TransformObservation(env, lambda image: {pixels}.ravel(){scale}, "
        f"gymnasium.spaces.Box({box}, ({chosen.size},))) makes features of it, and so does a function of your own; "
        "FlattenObservation would keep all pixels"
    )


def action_hint(space: Any) -> str:
    """A wrapper that lets an agent act in `space`."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        low, high = ([int(bound) for bound in bounds.ravel()] for bounds in (space.low, space.high))
        counts = [b - a + 1 for a, b in zip(low, high, strict=True)]
        if sum(counts) <= _MOST_CHOICES:
            function = f"lambda action: action.reshape({space.shape}).astype(np.{space.dtype})"
            return (
                f"{_WRAPPERS}.TransformAction(env, {function}, gymnasium.spaces.MultiDiscrete({counts}, start={low})) "
                "makes choices of whole numbers"
            )
    return (
        f"{_WRAPPERS}.TransformAction(env, function, space) lets the agent act in a space of these kinds, with a "
        "function that turns the agent's action into the environment's"
    )


def one_choice_hint(space: Any) -> str:
    """What to do if an agent takes one choice only, and other agents take the space."""
    from gymnasium import spaces

    others = "ActorCritic and PPO take this space"
    counts = getattr(space, "nvec", np.full(space.shape, 2))
    n = prod(counts.ravel().tolist())
    if isinstance(space, spaces.Box) or n > _MOST_CHOICES:
        return others
    start = f" + {space.start.tolist()}" if np.any(getattr(space, "start", 0)) else ""
    index = f"np.reshape(np.unravel_index(action, {counts.ravel().tolist()}), {space.shape}){start}"
    function = f"lambda action: np.array({index}, np.{space.dtype})"
    choice = f"gymnasium.spaces.Discrete({n})"
    return f"{others}; {_WRAPPERS}.TransformAction(env, {function}, {choice}) numbers all combinations"
