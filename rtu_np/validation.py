"""Checks at the edge of the API; kernels assume valid input.

Every message names the argument, what was given, what was expected, and the likely cause if there is one.
"""

import math
import numbers
import os
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

import numpy as np

Choice = TypeVar("Choice")
DTYPES = ("float64", "float32")


def check_real(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
    hint: str = "",
) -> float:
    """`value` as a float within [low, high]; an open end is outside. TypeError, ValueError, by name."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r} of type {type(value).__name__}: expected a real number")
    number = float(value)
    inside = (number > low if low_open else number >= low) and (number < high if high_open else number <= high)
    if not math.isfinite(number) or not inside:
        left = "(" if low_open or low == -math.inf else "["
        right = ")" if high_open or high == math.inf else "]"
        interval = f"{left}{low}, {high}{right}"
        raise ValueError(f"{name} is {value!r}: expected a finite number in {interval}{hint and '; ' + hint}")
    return number


def check_count(name: str, value: Any, *, low: int = 1, hint: str = "") -> int:
    """`value` as an int of at least `low`. TypeError, ValueError, by name."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} is {value!r} of type {type(value).__name__}: expected an integer")
    if value < low:
        raise ValueError(f"{name} is {value!r}: expected an integer of at least {low}{hint and '; ' + hint}")
    return int(value)


def check_choice(name: str, value: Any, choices: Mapping[str, Choice]) -> Choice:
    """The entry of `choices` with the name `value`. ValueError, by name."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is {value!r}: expected one of {', '.join(map(repr, choices))}")
    return choices[value]


def check_flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r} of type {type(value).__name__}: expected True or False")
    return bool(value)


def check_dtype(name: str, value: Any) -> np.dtype:
    try:
        dtype = np.dtype(value)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.name not in DTYPES:
        raise ValueError(f"{name} is {value!r}: expected 'float64' or 'float32'")
    return dtype


def check_array(
    name: str,
    value: Any,
    shape: tuple[int | None, ...],
    *,
    hint: str = "",
    dtype: Any = None,
    interval: tuple[float, float] | None = None,
) -> np.ndarray:
    """`value` as a finite real array of `shape` (None: any length). TypeError, ValueError, by name.

    Strided, read-only, integer, boolean and float32 arrays pass unchanged; callers copy them if a kernel needs another
    layout or type. With dtype float32 the array is converted, and with an `interval` its numbers must be in that.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{name} has dtype {array.dtype}: expected real numbers"
            + (", not complex ones" if array.dtype.kind == "c" else "")
        )
    if array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True)):
        expected = (
            "(" + ", ".join("any" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
        )
        raise ValueError(f"{name} has shape {array.shape}: expected {expected}{hint and '; ' + hint}")
    if dtype == np.float32:
        with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite, and is reported below
            array = array.astype(np.float32, copy=False)
    check_finite(name, array)
    if interval and array.size and not interval[0] <= array.min() <= array.max() <= interval[1]:
        first = int(np.argmax((array < interval[0]) | (array > interval[1])))
        raise ValueError(f"{name}[{first}] is {array[first]}: expected numbers in [{interval[0]}, {interval[1]}]")
    return array


def check_finite(name: str, array: np.ndarray) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
        where = "" if not first else f"[{', '.join(map(str, first))}]"
        raise ValueError(
            f"{name}{where} is {array[first]}: expected finite numbers; does the source of the data produce "
            "NaN or infinity, for example by a division?"
        )


def check_fits(needed: int, what: str, cure: str) -> None:
    """MemoryError if `what` needs more bytes than this machine has; to be called before allocation."""
    try:
        available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # the system does not report its memory; allocation itself may fail
        return
    if needed > available:
        raise MemoryError(f"{what} needs {needed} bytes, and this machine has {available}; expected {cure}")


def check_settings(name: str, value: Any, expected: str) -> Any:
    """`value`, if it is settings with a `spec` and not their class; `expected` names the kind and an example."""
    if isinstance(value, type) or not hasattr(value, "spec"):
        raise TypeError(f"{name} is {value!r}: expected {expected}")
    return value


def brief(settings: Any) -> str:
    """A dataclass of settings as a user would type it, without its defaults: LinearRTU(192, activation='relu')."""
    if isinstance(settings, tuple):
        return f"[{', '.join(map(brief, settings))}]"
    if not hasattr(settings, "__dataclass_fields__"):
        return repr(settings)
    values = {f.name: (f.default, f.kw_only, getattr(settings, f.name)) for f in fields(settings)}
    bare = [brief(value) for default, named, value in values.values() if default is MISSING and not named]
    other = [f"{name}={brief(v)}" for name, (d, named, v) in values.items() if (d is not MISSING or named) and v != d]
    return f"{type(settings).__name__}({', '.join(bare + other)})"
