"""Checks at the edge of the API; kernels assume valid input.

Every message names the argument, what was given, what was expected, and the likely cause if there is one.

**Data** (observations, cumulants, rewards, discounts) follow one rule, in `check_number` and `check_array`. Real
numbers are taken, also as bools (0 and 1), Fraction and Decimal, as NumPy's scalars and arrays without dimensions, and
as objects in an array, which pandas makes of columns of unlike types. Refused are missing values (None, pandas.NA, NaT,
masked), NaN, infinity, and numbers that are finite as given but not in the learner's precision. Strings, dates and
complex numbers are refused, too. `check_real` and `check_count` are for settings, and refuse bools.
"""

import functools
import inspect
import math
import numbers
import os
from collections.abc import Mapping
from dataclasses import MISSING, fields
from decimal import Decimal
from functools import partial
from types import FunctionType
from typing import Any, TypeVar

import numpy as np

Choice = TypeVar("Choice")
DTYPES = ("float64", "float32")
# Type characters of arrays that a float64 or float32 array takes without a further check: no longdouble, no complex.
PLAIN = frozenset("?bBhHiIlLqQefd")
_REAL = (float, int, np.floating, np.integer, np.bool_, numbers.Real, Decimal)  # the frequent ones first
_NO_SETTINGS = (bool, np.bool_, np.timedelta64)  # NumPy's durations are among its integers
_MaskedArray = np.ma.MaskedArray  # looked up once: lists that are given to `step` pass here
_FREQUENT = frozenset({float, int, bool, np.bool_, np.float64, np.float32, np.int64, np.int32})
_MISSING = {"NoneType", "NAType", "NaTType"}  # None, pandas.NA, pandas.NaT
_IF_MISSING = "fill in a missing value, leave its step out, or mark it by an input of its own"


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
    if isinstance(value, _NO_SETTINGS) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r} of type {type(value).__name__}: expected a real number")
    number = _as_float(name, value)
    inside = (number > low if low_open else number >= low) and (number < high if high_open else number <= high)
    if not math.isfinite(number) or not inside:
        left = "(" if low_open or low == -math.inf else "["
        right = ")" if high_open or high == math.inf else "]"
        interval = f"{left}{low}, {high}{right}"
        raise ValueError(f"{name} is {_setting(value)}: expected a finite number in {interval}{hint and '; ' + hint}")
    return number


def check_count(name: str, value: Any, *, low: int = 1, high: int | None = None, hint: str = "") -> int:
    """`value` as an int of at least `low`, and at most `high` if that is given. TypeError, ValueError, by name."""
    if isinstance(value, _NO_SETTINGS) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} is {value!r} of type {type(value).__name__}: expected an integer")
    number = int(value)
    if number < low or (high is not None and number > high):
        most = "" if high is None else f" and at most {high}"
        raise ValueError(
            f"{name} is {_setting(value)}: expected an integer of at least {low}{most}{hint and '; ' + hint}"
        )
    return number


def check_seed(name: str, value: Any) -> np.random.Generator:
    """A generator that begins with `value`; None for fresh entropy. TypeError, ValueError, by name."""
    try:
        return np.random.default_rng(value)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{name} is {_setting(value)}: expected an integer of at least 0, or None for fresh entropy"
        ) from error


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
    """`value` as a type in this machine's byte order. ValueError, by name."""
    try:
        dtype = np.dtype(object if value is None else value)  # NumPy reads None as float64
    except (TypeError, ValueError, SyntaxError):  # the last of a string such as "f8,("
        dtype = np.dtype(object)
    if dtype.name not in DTYPES:
        raise ValueError(f"{name} is {value!r}: expected 'float64' or 'float32'")
    return np.dtype(dtype.name)


def check_number(
    name: str,
    value: Any,
    *,
    dtype: Any = np.float64,
    interval: tuple[float, float] | None = None,
    hint: str = "",
    missing: bool = False,
    cure: str = "",
) -> float:
    """`value`, one number of data, as a float that is finite in `dtype`. TypeError, ValueError, by name.

    hint : the cure, if `value` is an array
    missing, cure : as in `check_array`

    Examples
    --------
    >>> check_number("reward", np.array(2))
    2.0
    """
    number = math.nan if missing and _is_missing(value) else _as_float(name, value, hint, cure)
    if missing and math.isnan(number):
        return number
    if interval and not interval[0] <= number <= interval[1]:
        raise ValueError(f"{name} is {_as_given(value)}: expected a finite number in [{interval[0]}, {interval[1]}]")
    if not abs(number) <= largest(dtype):
        raise ValueError(f"{name} is {_as_given(value)}: {_expected('a finite number', value, np.dtype(dtype), cure)}")
    return number


def check_array(
    name: str,
    value: Any,
    shape: tuple[int | None, ...],
    *,
    hint: str = "",
    dtype: Any = None,
    interval: tuple[float, float] | None = None,
    missing: bool = False,
    cure: str = "",
) -> np.ndarray:
    """`value` as a finite real array of `shape` (None: any length). TypeError, ValueError, by name.

    missing : whether values may be missing; they become NaN. cure : an argument that takes what is missing

    Strided, read-only, integer, boolean and float32 arrays pass unchanged; callers copy them if a kernel needs another
    layout or type. Objects that are real numbers become float64. With dtype float32 the array is converted, and with an
    `interval` its numbers must be in that.
    """
    if missing:
        value = _unmasked(value)
    _check_mask(name, value, cure=cure)
    array = _as_array(name, value)
    if array.dtype.kind == "O" and array.ndim == 0:
        _as_float(name, array[()], cure=cure)  # None, or another object that is no array
    if array.shape != shape and (
        array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True))
    ):
        expected = (
            "(" + ", ".join("any" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
        )
        raise ValueError(f"{name} has shape {array.shape}: expected {expected}{hint and '; ' + hint}")
    given = array
    if array.dtype.kind == "O":
        array = _numbers_of(name, array, value, missing, cure)
    exact = array
    if dtype == np.float32 or array.dtype.itemsize > 8:
        # A number beyond the range becomes infinite, and is reported below. A tiny one becomes zero.
        with np.errstate(all="ignore"):
            array = array.astype(dtype or np.float64, copy=False)
    check_finite(name, np.where(np.isnan(array), 0, array) if missing else array, given, value, cure)
    if interval and array.size and not interval[0] <= exact.min() <= exact.max() <= interval[1]:
        first = tuple(int(k) for k in np.argwhere((exact < interval[0]) | (exact > interval[1]))[0])
        raise ValueError(f"{_place(name, first)} is {given[first]}: expected numbers in [{interval[0]}, {interval[1]}]")
    return array


def check_finite(
    name: str, array: np.ndarray, given: np.ndarray | None = None, source: Any = None, cure: str = ""
) -> None:
    """ValueError if a number of `array` is not finite.

    given : the numbers before they were converted. source : the argument, whose column is named if it has names
    """
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
        number = (array if given is None else given)[first]
        expected = _expected("finite numbers", number, array.dtype, cure)
        raise ValueError(f"{_place(name, first, source)} is {_as_given(number)}: {expected}")


def count_dimensions(name: str, value: Any) -> int:
    """How many dimensions `value` has as an array. ValueError, by name, if it is ragged."""
    try:
        return np.ndim(value)
    except ValueError as error:
        raise ValueError(_ragged(name, error)) from error


def _ragged(name: str, error: ValueError) -> str:
    return f"{name} is not an array ({error}): expected rows of equal length"


@functools.cache
def largest(dtype: Any) -> float:
    """The largest finite number of `dtype`."""
    return float(np.finfo(dtype).max)


def _is_missing(value: Any) -> bool:
    """Whether one number is None, pandas.NA, NaT or masked. NaN is missing, too, but it is a float."""
    return value is np.ma.masked or type(value).__name__ in _MISSING


def _unmasked(value: Any) -> Any:
    """`value` with NaN for what is masked, also in lists."""
    if isinstance(value, _MaskedArray):
        return np.ma.filled(value.astype(object if value.dtype.kind == "O" else np.float64), np.nan)
    if type(value) in (list, tuple) and not _FREQUENT.issuperset(map(type, value)):
        return [_unmasked(part) for part in value]
    return value


def _check_mask(name: str, value: Any, at: tuple[int, ...] = (), cure: str = "") -> None:
    """ValueError if `value`, or an array in a list, has masked numbers: NumPy would read what is under the mask."""
    if isinstance(value, _MaskedArray):
        if np.ma.is_masked(value):
            first = tuple(int(k) for k in np.argwhere(np.ma.getmaskarray(value))[0])
            raise ValueError(
                f"{_place(name, at + first)} is masked: expected numbers; {_IF_MISSING}{cure and f', as {cure} does'}"
            )
    elif type(value) in (list, tuple) and not _FREQUENT.issuperset(map(type, value)):
        for k, part in enumerate(value):
            _check_mask(name, part, (*at, k), cure)


def _as_array(name: str, value: Any) -> np.ndarray:
    """`value` as an array of numbers or of objects. TypeError, ValueError, by name."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(_ragged(name, error)) from error
    if array.dtype.kind not in "fiubO":
        kinds = [getattr(kind, "kind", "O") for kind in getattr(value, "dtypes", ())] if array.ndim == 2 else []
        bad = next((k for k, kind in enumerate(kinds) if kind not in "fiub"), None)
        place = name if bad is None else _place(name, (0, bad), value)
        raise TypeError(
            f"{place} has dtype {array.dtype}: expected real numbers"
            + (", not complex ones" if array.dtype.kind == "c" else "")
        )
    return array


def _numbers_of(name: str, objects: np.ndarray, source: Any, missing: bool, cure: str) -> np.ndarray:
    """An array of objects that are real numbers, as float64. TypeError, ValueError, by name."""
    numbers = np.empty(objects.size)
    for k, item in enumerate(objects.ravel()):
        try:
            numbers[k] = math.nan if missing and _is_missing(item) else _as_float(name, item)
        except (TypeError, ValueError):  # raise it again, with the place
            index = tuple(map(int, np.unravel_index(k, objects.shape)))
            _as_float(_place(name, index, source), item, cure=cure)
    return numbers.reshape(objects.shape)


def _as_float(name: str, value: Any, hint: str = "", cure: str = "") -> float:
    """`value`, one real number, as a float; one beyond the range of floats becomes infinity.

    TypeError, ValueError, by name; `hint` is the cure if `value` is an array, `cure` takes it if it is missing.
    """
    if type(value) not in _FREQUENT:
        _check_mask(name, value, cure=cure)
        if isinstance(value, list | tuple) or (hasattr(value, "__array__") and not isinstance(value, np.generic)):
            array = _as_array(name, value)
            if array.ndim:
                raise ValueError(f"{name} has shape {array.shape}: expected one number{hint and '; ' + hint}")
            value = array[()]
        if not isinstance(value, _REAL) or isinstance(value, np.timedelta64):  # a duration is among NumPy's integers
            missing = type(value).__name__ in _MISSING or (isinstance(value, np.datetime64) and np.isnat(value))
            raise TypeError(
                f"{name} is {_as_given(value)} of type {type(value).__name__}: expected a real number"
                + (f"; {_IF_MISSING}{cure and f', as {cure} does'}" if missing else "")
            )
    try:
        return float(value)
    except OverflowError:  # of an int or a Fraction
        return math.inf
    except ValueError:  # of a Decimal that signals
        return math.nan


def _place(name: str, index: tuple[int, ...], source: Any = None) -> str:
    """`name` with an index, and with the name of the column if `source` is a frame."""
    columns = getattr(source, "columns", None)
    column = f" (column {str(columns[index[1]])!r})" if columns is not None and len(index) == 2 else ""
    return (f"{name}[{', '.join(map(str, index))}]" if index else name) + column


def _as_given(value: Any) -> str:
    """`value` for a message, as given; a long one is cut."""
    try:
        text = str(value) if isinstance(value, np.generic) else repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        text = f"an integer of {value.bit_length()} bits" if isinstance(value, int) else "a fraction of long integers"
    return text if len(text) <= 60 else f"{text[:40]}... of {len(text)} characters"


def _setting(value: Any) -> str:
    """A setting for a message, as typed; a long integer is cut."""
    return repr(value) if isinstance(value, np.generic) else _as_given(value)


def _expected(what: str, value: Any, dtype: np.dtype, cure: str = "") -> str:
    """What was expected instead of `value`, which is not finite in `dtype`, and the likely cause."""
    if _beyond_range(value):
        reach = f"in the range of {dtype.name}, up to {largest(dtype):.2g}"
        return f"expected {what} {reach}; is a unit or a fill value wrong?"
    return (
        f"expected {what}; does the source of the data produce NaN or infinity, by a division or for a missing value?"
        + (f" {cure} takes what is missing" if cure and "nan" in str(value).lower() else "")
    )


def _beyond_range(value: Any) -> bool:
    """Whether `value`, which is not finite after conversion, is finite as given."""
    if isinstance(value, np.generic):
        return bool(np.isfinite(value))
    if isinstance(value, Decimal):
        return value.is_finite()
    try:
        return math.isfinite(value)
    except OverflowError:
        return True


def check_fits(needed: int, what: str, cure: str) -> None:
    """MemoryError if `what` needs more bytes than this machine has; to be called before allocation."""
    try:
        available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # the system does not report its memory; allocation itself may fail
        return
    if needed > available:
        raise MemoryError(f"{what} needs {needed} bytes, and this machine has {available}; expected {cure}")


def check_settings(name: str, value: Any, expected: str, n_arguments: int) -> Any:
    """`value`, if it is settings with a `spec` of so many arguments, and not their class.

    An optimiser's takes none, a readout's or policy's one, a gradient method's two. So one that stands in the place of
    another is refused. `expected` names the kind and an example.
    """
    try:
        if isinstance(value, type):
            raise TypeError
        inspect.signature(value.spec).bind(*range(n_arguments))
    except (AttributeError, TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}: expected {expected}") from None
    return value


def plain_number(value: Any) -> Any:
    """A real number as Python's own bool, int or float; anything else as it is."""
    if type(value) in (bool, int, float) or not isinstance(value, numbers.Real | np.bool_):
        return value
    if isinstance(value, np.timedelta64):
        return value
    kind: Any = bool if isinstance(value, np.bool_) else int if isinstance(value, numbers.Integral) else float
    return kind(value)


def make_plain(settings: Any) -> None:
    """Store the numbers of a frozen dataclass, once they are checked, as Python's own.

    An np.int8 would overflow when sizes are computed from it, and a checkpoint cannot hold NumPy's numbers.
    """
    for field in fields(settings):
        object.__setattr__(settings, field.name, plain_number(getattr(settings, field.name)))


def brief(settings: Any) -> str:
    """A dataclass of settings as a user would type it, without its defaults: LinearRTU(192, activation='relu')."""
    if isinstance(settings, tuple):
        return f"[{', '.join(map(brief, settings))}]"
    if not hasattr(settings, "__dataclass_fields__"):
        settings = settings.func if isinstance(settings, partial) else settings
        return settings.__name__ if isinstance(settings, FunctionType) else repr(settings)
    values = {f.name: (f.default, f.kw_only, getattr(settings, f.name)) for f in fields(settings)}
    bare = [brief(value) for default, named, value in values.values() if default is MISSING and not named]
    other = [f"{name}={brief(v)}" for name, (d, named, v) in values.items() if (d is not MISSING or named) and v != d]
    return f"{type(settings).__name__}({', '.join(bare + other)})"
