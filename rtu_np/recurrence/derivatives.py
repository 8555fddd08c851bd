"""Derivatives of a function from a flat array to a flat array, one column a number: the references of the check.

Complex step needs a function that takes complex numbers, and is exact to rounding. Differences need nothing, and come with
an estimate of their own error.
"""

from collections.abc import Callable

import numpy as np

_COMPLEX_STEP = 1e-30
_TARGET = {"float64": 1e-10, "float32": 1e-6}  # of the estimated error; a smaller step is tried if it is not reached
# Powers of two, in units of the largest entry of the array; each is used with its double and its fourfold. The first is
# best for a smooth function. The others are for one with a kink near by, or that varies fast.
_STEPS = {"float64": (2.0**-11, 2.0**-17, 2.0**-22), "float32": (2.0**-4, 2.0**-7)}


def complex_step(function: Callable[[np.ndarray], np.ndarray], at: np.ndarray) -> np.ndarray:
    """Im f(a + i h e_k) / h with h = 1e-30, as column k of an array (outputs, inputs)."""
    columns = []
    for k in range(at.size):
        moved = at.astype(complex)
        moved[k] += 1j * _COMPLEX_STEP
        columns.append(np.imag(function(moved)) / _COMPLEX_STEP)
    return np.stack(columns, axis=-1)


def differences(
    function: Callable[[np.ndarray], np.ndarray], at: np.ndarray, scale: np.ndarray, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Central differences of three widths h, 2h, 4h, from which two leading terms of the error are eliminated.

    The estimate of the error is the part that the last elimination changed, and the rounding of the function's values
    over h. It is large if the function has a kink between the points. Then smaller h are tried, and for each number the
    derivative with the smallest estimate is taken.

    scale : of each number, the unit of h. dtype : the function's precision
    """
    columns, estimates = [], []
    for k in range(at.size):
        best, error = _column(function, at, k, (_STEPS[dtype.name][0] * scale[k], dtype))
        for step in _STEPS[dtype.name][1:]:
            if error.max(initial=0.0) <= _TARGET[dtype.name] * np.abs(best).max(initial=0.0):
                break
            other, its_error = _column(function, at, k, (step * scale[k], dtype))
            smaller = its_error < error
            best, error = np.where(smaller, other, best), np.where(smaller, its_error, error)
        columns.append(best)
        estimates.append(error)
    return np.stack(columns, axis=-1), np.stack(estimates, axis=-1)


def _column(function, at: np.ndarray, k: int, width: tuple[float, np.dtype]) -> tuple[np.ndarray, np.ndarray]:
    """The derivative by number k, and the estimate of its error."""
    h, dtype = width
    slopes, largest = [], 0.0
    for multiple in (1, 2, 4):
        above, below = (at.astype(dtype) for _ in range(2))
        above[k] += dtype.type(multiple * h)
        below[k] -= dtype.type(multiple * h)
        ends = function(above).astype(float), function(below).astype(float)
        slopes.append((ends[0] - ends[1]) / (float(above[k]) - float(below[k])))
        largest = np.maximum(largest, np.abs(ends[0]))
    fourth = (4 * slopes[0] - slopes[1]) / 3
    best = (16 * fourth - (4 * slopes[1] - slopes[2]) / 3) / 15
    return best, np.abs(best - fourth) + 2 * np.finfo(dtype).eps * largest / h


def scales(flat: np.ndarray, parts: list[slice]) -> np.ndarray:
    """For each number, the largest magnitude in its array, or 1 if that is zero."""
    out = np.ones(flat.size)
    for part in parts:
        largest = np.abs(flat[part]).max(initial=0.0)
        if largest > 0:
            out[part] = largest
    return out
