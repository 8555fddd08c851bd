"""How good predictions are: errors against returns and targets, and skill against simple predictions; and how far apart
two gradients point.

Row t of `predictions` predicts row t of `targets`. Both are (T,), or (T, m) of m targets, and a result has a number for
each target. A row without a target (NaN), or without a prediction, does not count. With `running`, a result has a row
for each row of the stream: of all rows so far, or of the last `window` rows.

`OnlineRegressor` with horizon h predicts the targets of h rows later: compare `predictions[:-h]` with `targets[h:]`.
"""

from typing import Any

import numpy as np

from rtu_np.jit import njit
from rtu_np.validation import check_array, check_count, check_flag, check_real, count_dimensions


def returns(cumulants: Any, gamma: float = 1.0, discounts: Any = None, ends: Any = None) -> np.ndarray:
    """The discounted sums that `TDLambda` predicts: G_t = c_{t+1} + gamma_{t+1} G_{t+1}.

    Parameters
    ----------
    cumulants : (T,), or (T, m) of m streams. Those after the end count as zero. The returns that include a missing one
        (NaN) are NaN
    gamma : the discount of each row, in [0, 1]
    discounts : (T,) or as `cumulants`, in place of gamma; as in `TDLambda.run`, that of a row discounts what follows it
    ends : (T,) whether a stretch ends with a row: what follows belongs to another stretch

    Returns
    -------
    array as `cumulants`

    Raises
    ------
    ValueError, TypeError : if an argument is out of its range or of the wrong shape; the message names the argument

    Examples
    --------
    >>> returns([0.0, 0.0, 1.0, 0.0], 0.5)
    array([0.5, 1. , 0. , 0. ])
    """
    c = _rows("cumulants", cumulants).copy()
    shape = np.shape(cumulants)
    if discounts is None:
        d = np.full(c.shape, check_real("gamma", gamma, low=0.0, high=1.0))
    else:
        given = check_array("discounts", discounts, shape[: count_dimensions("discounts", discounts)], interval=(0, 1))
        d = np.broadcast_to(np.asarray(given, np.float64).reshape(len(c), -1), c.shape).copy()
    flags = np.zeros(len(c), np.bool_)
    if ends is not None:
        flags[:] = check_array("ends", ends, (len(c),))
    out = np.empty_like(c)
    for j in range(c.shape[1]):
        _returns(c[:, j], d[:, j], flags, out[:, j])
    return out.reshape(shape)


@njit
def _returns(cumulants, discounts, ends, out):
    total = 0.0
    for t in range(cumulants.shape[0] - 1, -1, -1):
        if ends[t]:
            total = 0.0
        out[t] = total
        total = cumulants[t] + discounts[t] * total


def return_error(
    predictions: Any, cumulants: Any, gamma: float = 1.0, discounts: Any = None, ends: Any = None
) -> np.ndarray:
    """Predictions minus `returns`.

    The last rows lack what comes after the end: leave about 5 / (1 - gamma) of them out.

    predictions : (T,) or (T, m), as `cumulants`; the other arguments and errors are those of `returns`

    Examples
    --------
    >>> return_error([1.0, 1.0, 0.0], [0.0, 0.0, 1.0], 0.5)
    array([0.5, 0. , 0. ])
    """
    target = returns(cumulants, gamma, discounts, ends)
    return _like("predictions", predictions, target.shape) - target


def rmse(predictions: Any, targets: Any = 0.0, running: bool = False, window: int | None = None) -> Any:
    """The root of the mean squared error.

    Parameters
    ----------
    predictions : (T,) or (T, m); or errors, if there are no targets
    targets : as `predictions`
    running : whether to return it of the rows up to each row
    window : how many rows a running error reaches back; None for all

    Returns
    -------
    float, or (m,); running, an array as `predictions`. NaN if no row counts

    Raises
    ------
    ValueError, TypeError : if an argument is of the wrong type or shape; the message names the argument

    Examples
    --------
    >>> rmse([1.0, 2.0, 3.0], [1.0, 2.0, 6.0]) == 3**0.5
    True
    >>> rmse([1.0, 2.0, 3.0], [1.0, float("nan"), 6.0], running=True).round(3)
    array([0.   , 0.   , 2.121])
    """
    error = _errors("predictions", predictions, targets)
    return _result(np.sqrt(_mean(error**2, running, window)), np.shape(predictions))


def skill(predictions: Any, targets: Any, baseline: Any, running: bool = False, window: int | None = None) -> Any:
    """1 - MSE / MSE of a baseline, over the rows that both predict: 1 is perfect, 0 as good, negative worse.

    Parameters
    ----------
    predictions, targets : (T,) or (T, m)
    baseline : predictions of the same rows: `last_value(targets, horizon)`, `exponential_mean(targets, ...)` or others
    running, window : as in `rmse`

    Returns
    -------
    as of `rmse`; NaN or -inf if the baseline makes no error

    Examples
    --------
    >>> y = np.array([0.0, 1.0, 2.0, 3.0])
    >>> skill([0.0, 0.5, 1.5, 2.5], y, last_value(y))
    0.75
    """
    ours, theirs = _errors("predictions", predictions, targets), _errors("baseline", baseline, targets)
    both = np.isfinite(ours) & np.isfinite(theirs)
    means = [_mean(np.where(both, error**2, np.nan), running, window) for error in (ours, theirs)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return _result(1 - means[0] / means[1], np.shape(predictions))


def last_value(targets: Any, horizon: int = 1) -> np.ndarray:
    """The prediction that a target is what it was `horizon` rows before, or the last one that was there then.

    targets : (T,) or (T, m). Returns an array of this shape, NaN before the first value

    Examples
    --------
    >>> last_value([5.0, 6.0, float("nan"), 7.0])
    array([nan,  5.,  6.,  6.])
    """
    return exponential_mean(targets, 0.0, horizon)


def exponential_mean(targets: Any, decay: float = 0.9, horizon: int = 1) -> np.ndarray:
    """The prediction that a target is the running mean of `horizon` rows before: m_t = decay m_{t-1} + (1 - decay) y_t.

    Parameters
    ----------
    targets : (T,) or (T, m)
    decay : in [0, 1); 0 is the last value
    horizon : in rows, at least 1

    Returns
    -------
    array as `targets`; NaN before the first value

    Examples
    --------
    >>> exponential_mean([4.0, 8.0, 8.0], 0.5)
    array([nan,  4.,  6.])
    """
    y = _rows("targets", targets)
    decay = check_real("decay", decay, low=0.0, high=1.0, high_open=True)
    horizon = check_count("horizon", horizon, hint="in rows")
    out = np.full(y.shape, np.nan)
    for j in range(y.shape[1]):
        _exponential_mean(y[:, j].copy(), decay, horizon, out[:, j])
    return out.reshape(np.shape(targets))


@njit
def _exponential_mean(y, decay, horizon, out):
    mean = np.nan
    for t in range(y.shape[0] - horizon):
        if not np.isnan(y[t]):
            mean = y[t] if np.isnan(mean) else decay * mean + (1.0 - decay) * y[t]
        out[t + horizon] = mean


def angle(gradient: Any, other: Any) -> float:
    """The angle between two gradients in degrees: 0 if they point the same way, 180 if opposite ways.

    Small angles are exact, too: this is 2 atan2(|a - b|, |a + b|) of unit vectors (Kahan). arccos of a cosine has no
    digits below 1e-6 degrees.

    Parameters
    ----------
    gradient, other : arrays of one shape, taken as vectors

    Returns
    -------
    float; 90 if one of them is zero, and 0 if both are

    Raises
    ------
    ValueError, TypeError : if an argument is not numbers, or the shapes differ; the message names the argument

    Examples
    --------
    >>> angle([1.0, 0.0], [1.0, 1.0])
    45.0
    >>> f"{angle([1.0, 0.0], [1.0, 1e-12]):.3g}"
    '5.73e-11'
    """
    first = np.asarray(check_array("gradient", gradient, (None,) * count_dimensions("gradient", gradient)), np.float64)
    second = np.asarray(check_array("other", other, first.shape), np.float64)
    a, b = (each / (np.linalg.norm(each) or 1.0) for each in (first.ravel(), second.ravel()))
    return float(np.degrees(2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))))


# ------------------------------------------------------------------------------------------------------------- helpers


def _rows(name: str, value: Any) -> np.ndarray:
    """`value` (T,) or (T, m) as float64 (T, m)."""
    many = count_dimensions(name, value) == 2
    array = check_array(name, value, (None, None) if many else (None,), missing=True)
    if not array.size:
        raise ValueError(f"{name} has shape {array.shape}: expected one row or more")
    return np.ascontiguousarray(array, np.float64).reshape(len(array), -1)


def _like(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(check_array(name, value, shape, missing=True), np.float64)


def _errors(name: str, predictions: Any, targets: Any) -> np.ndarray:
    """Predictions minus targets (T, m)."""
    if count_dimensions("targets", targets) == 0:
        return _rows(name, predictions) - check_real("targets", targets)
    rows = _rows("targets", targets)
    return _like(name, predictions, np.shape(targets)).reshape(rows.shape) - rows


def _mean(values: np.ndarray, running: bool, window: int | None) -> np.ndarray:
    """(m,) or, running, (T, m): the mean of the numbers that are not NaN."""
    known = ~np.isnan(values)
    values = np.where(known, values, 0.0)
    if not check_flag("running", running):
        if window is not None:
            raise ValueError(f"window is {window!r}: expected None, or running=True with it")
        totals, counts = values.sum(0), known.sum(0)
    else:
        reach = len(values) if window is None else min(check_count("window", window, hint="in rows"), len(values))
        totals, counts = (_moving_sum(each, reach) for each in (values, known.astype(float)))
    with np.errstate(invalid="ignore"):
        return totals / counts


def _moving_sum(values: np.ndarray, reach: int) -> np.ndarray:
    """The sum of the last `reach` rows up to each row."""
    so_far = np.cumsum(values, axis=0)
    if reach < len(values):  # each sum of its own: a difference of two totals would lose digits behind a large error
        so_far[reach:] = np.lib.stride_tricks.sliding_window_view(values[1:], reach, axis=0).sum(-1)
    return so_far


def _result(values: np.ndarray, shape: tuple[int, ...]) -> Any:
    if values.ndim == 2:
        return values.reshape(shape)
    return float(values[0]) if len(shape) == 1 else values
