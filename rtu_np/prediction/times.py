"""Streams whose rows come at irregular times: a discount for each row."""

import datetime
from typing import Any

import numpy as np

from rtu_np.prediction.frames import has_index
from rtu_np.validation import check_array, check_real


def discounts_of(times: Any, gamma: Any, unit: Any = 1.0, previous: Any = None) -> np.ndarray:
    """The discount of each row of a stream: gamma ** (time since the row before, in units); derivations (77).

    gamma is then a discount per unit of time: a prediction looks as far ahead in a dense part of the stream as in a
    sparse one. Give the result to `run` as `discounts`.

    Parameters
    ----------
    times : (T,) numbers, or dates: an array, a list, a DatetimeIndex, or a DataFrame or Series that has one
    gamma : discount per unit of time, in [0, 1]; (m,) for m predictions
    unit : of time: a number for numbers; for dates a duration, as `np.timedelta64(5, "m")` or `datetime.timedelta`
    previous : the time of the row before the first, if there is one; otherwise the first row is one unit after it

    Returns
    -------
    (T,) array, or (T, m)

    Raises
    ------
    ValueError, TypeError : if time goes backwards, is missing, or has no unit; the message names the row

    Examples
    --------
    >>> print(discounts_of([0, 5, 10, 40], gamma=0.5, unit=5))
    [0.5      0.5      0.5      0.015625]
    """
    gammas = check_array("gamma", gamma, (None,) * np.ndim(gamma), interval=(0, 1))
    array = _as_times("times", times)
    dates = array.dtype.kind == "M"
    unit = _as_unit(unit, dates)
    start = array[:1] - unit if previous is None else _as_times("previous", [previous])
    if start.dtype.kind != array.dtype.kind:
        raise TypeError(f"previous is {previous!r}, and times have dtype {array.dtype}: expected a time of this kind")
    elapsed = np.diff(array, prepend=start[:1]) / unit
    if np.any(elapsed < 0):
        k = int(np.argmax(elapsed < 0))
        earlier = f"times[{k - 1}], {_shown(array[k - 1])}" if k else f"the row before, at {_shown(start[0])}"
        raise ValueError(
            f"times[{k}] is {_shown(array[k])}, before {earlier}: expected times that do not go backwards. Sort the "
            "rows by time; or is it the end of daylight saving time, which UTC does not have?"
        )
    return gammas ** (elapsed[:, np.newaxis] if gammas.ndim else elapsed)


def _shown(time: Any) -> str:
    return np.datetime_as_string(time, unit="auto") if isinstance(time, np.datetime64) else str(time)


def _as_times(name: str, value: Any) -> np.ndarray:
    """(T,) datetime64 or float64. TypeError, ValueError, by name."""
    value = value.index if has_index(value) and hasattr(value, "columns") else value
    kind = getattr(getattr(value, "dtype", None), "kind", "O")
    first = value[0] if kind == "O" and isinstance(value, list | tuple | np.ndarray) and len(value) else None
    if kind == "M" or isinstance(first, datetime.date | np.datetime64):
        array = np.asarray(value, dtype="datetime64[ns]")  # of a time zone: in UTC
        if np.isnat(array).any():
            raise ValueError(f"{name}[{int(np.argmax(np.isnat(array)))}] is NaT: expected a time for each row")
        return array
    return check_array(name, value, (None,), hint="one time for each row").astype(np.float64)


def _as_unit(unit: Any, dates: bool) -> Any:
    """The unit of time as what a difference of two times is divided by. TypeError, ValueError, by name."""
    if not dates:
        if isinstance(unit, np.timedelta64 | datetime.timedelta):
            raise TypeError(f"unit is {unit!r}, and times are numbers: expected a number")
        return check_real("unit", unit, low=0.0, low_open=True)
    duration = np.timedelta64(unit) if isinstance(unit, datetime.timedelta) else unit
    if not isinstance(duration, np.timedelta64) or np.datetime_data(duration)[0] in ("generic", "Y", "M"):
        raise TypeError(f'unit is {unit!r}, and times are dates: expected a duration, as np.timedelta64(5, "m")')
    if not duration > np.timedelta64(0):
        raise ValueError(f"unit is {unit!r}: expected a positive duration")
    return duration
