"""Arrays and parameters by name; derivatives by the complex step f'(x) = Im f(x + ih) / h."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Parameters = dict[str, Array]
Schedule = Callable[[Parameters, int], Parameters]


def fixed(params: Parameters, t: int) -> Parameters:
    return params


def error(actual: Any, expected: Any) -> float:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    scale = np.abs(expected).max()
    assert 0 < scale < np.inf, "nothing to compare with"
    return float(np.abs(actual - expected).max() / scale)


def by_complex_step(function: Callable[[Parameters], Array], params: Parameters, block: str) -> Array:
    """All derivatives of `function` by one block, each element bumped on its own; the block's axes come last."""
    h, value = 1e-30, params[block]
    bumps = 1j * h * np.eye(value.size).reshape(value.size, *value.shape)
    columns = np.stack([function(params | {block: value + bump}).imag / h for bump in bumps], axis=-1)
    return columns.reshape(*columns.shape[:-1], *value.shape)


def flat(params: Parameters, order: Parameters) -> Array:
    return np.concatenate([params[name].ravel() for name in order])


def whole_jacobian(function: Callable[[Parameters], Array], params: Parameters) -> Array:
    """By complex step, all parameters in one last axis."""
    blocks = [by_complex_step(function, params, name) for name in params]
    return np.concatenate(
        [b.reshape(*b.shape[: b.ndim - params[n].ndim], -1) for b, n in zip(blocks, params, strict=True)], -1
    )
