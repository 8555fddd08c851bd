"""Derivatives of a function from a flat array to a flat array, one column a number: the references of the check.

Complex step needs a function that takes complex numbers, and is exact to rounding. Differences need nothing, and come
with an estimate of their own error.
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

    The estimate of the error has three parts: what the last elimination changed, the rounding of the function's values
    over h, and half of the jump in slope, if there is a kink at the point itself. If it is large, smaller h are tried,
    and for each number the derivative with the smallest estimate is taken.

    scale : of each number, the unit of h. dtype : the function's precision
    """
    columns, estimates = [], []
    middle = function(at.astype(dtype)).astype(float)
    for k in range(at.size):
        best, error = _column(function, at, k, (_STEPS[dtype.name][0] * scale[k], dtype, middle))
        for step in _STEPS[dtype.name][1:]:
            if error.max(initial=0.0) <= _TARGET[dtype.name] * np.abs(best).max(initial=0.0):
                break
            other, its_error = _column(function, at, k, (step * scale[k], dtype, middle))
            smaller = (its_error < error) | np.isnan(error)  # a wide step may leave the function's domain
            best, error = np.where(smaller, other, best), np.where(smaller, its_error, error)
        columns.append(best)
        estimates.append(error)
    return np.stack(columns, axis=-1), np.nan_to_num(np.stack(estimates, axis=-1), nan=np.inf)


def _column(
    function: Callable[[np.ndarray], np.ndarray], at: np.ndarray, k: int, width: tuple[float, np.dtype, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The derivative by number k, and the estimate of its error."""
    h, dtype, middle = width
    slopes, bends = [], []
    for multiple in (1, 2, 4):
        above, below = (at.astype(dtype) for _ in range(2))
        above[k] += dtype.type(multiple * h)
        below[k] -= dtype.type(multiple * h)
        with np.errstate(all="ignore"):
            ends = function(above).astype(float), function(below).astype(float)
        half = (float(above[k]) - float(below[k])) / 2
        slopes.append((ends[0] - ends[1]) / (2 * half))
        bends.append((ends[0] - 2 * middle + ends[1]) / half)  # h f'' + ..., or the jump in slope
    fourth = (4 * slopes[0] - slopes[1]) / 3
    best = (16 * fourth - (4 * slopes[1] - slopes[2]) / 3) / 15
    jump = (8 * (2 * bends[0] - bends[1]) - (2 * bends[1] - bends[2])) / 7  # without the terms in h and h³
    rounding = 2 * np.finfo(dtype).eps * np.abs(middle) / h
    return best, np.abs(best - fourth) + np.maximum(np.abs(jump) / 2 - 4 * rounding, 0.0) + rounding


def scales(flat: np.ndarray, parts: list[slice]) -> np.ndarray:
    """For each number, the largest magnitude in its array, or 1 if that is zero."""
    out = np.ones(flat.size)
    for part in parts:
        largest = np.abs(flat[part]).max(initial=0.0)
        if largest > 0:
            out[part] = largest
    return out
