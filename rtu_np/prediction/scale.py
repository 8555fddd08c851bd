"""Whether a stream has a scale at which a learner with default settings learns, seen once, in its first rows.

Measured with the defaults on 20,000 steps of two autoregressive signals, gamma .9, one of which is the cumulant. The
error in the second half is 4 % of the variance if means are 0 and deviations 1. It is 100 % if an observation has mean
30, 32 % if the deviation of the cumulant is 30, and 99 % if that is 1e-3. One-hot, binary and bias inputs are far from
these limits. A rare event has a small deviation, so smallness is judged by the largest number.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from rtu_np.callers import outside
from rtu_np.prediction.input_stage import InputStage
from rtu_np.prediction.td_kernels import CUMULANT

LARGE, SMALL = 30.0, 1e-3
ENOUGH, _AT_MOST = 100, 10_000  # rows


def watched(compiled: Callable, forget: Callable[[Callable], Any], inputs: InputStage) -> Callable:
    """`compiled`, the compiled `td_kernels.run` of a new learner, for single steps, of which it also sees the rows.

    A longer run first passes its rows to `include(observations, cumulants)` of the function. After enough rows it warns
    if they are out of scale, and calls `forget(compiled)`, which replaces the function. So later steps pay nothing.
    Observations that `inputs` normalises are at scale.
    """
    rows: list[np.ndarray] = []
    n_rows: list[int] = []

    def include(observations: np.ndarray, cumulants: np.ndarray) -> None:
        judged = observations[:_AT_MOST, : 0 if inputs.normalize else None]
        row = np.column_stack([judged, cumulants[:_AT_MOST]]).astype(np.float64)
        if not (np.isinf(row).any() or (inputs.missing is None and np.isnan(row).any())):  # else it is refused
            rows.append(_sums(row))
            n_rows.append(len(row))
        if sum(n_rows) >= ENOUGH:
            forget(compiled)
            _judge(rows, judged.shape[1], sum(n_rows))

    def run(spec: Any, flat: Any, clock: Any, observations: Any, signals: Any, predictions: Any, n_steps: int) -> int:
        if len(signals) == 1:  # a single step
            include(inputs.raw(observations), signals[:, CUMULANT : CUMULANT + predictions.size])
        return compiled(spec, flat, clock, observations, signals, predictions, n_steps)

    run.include = include  # type: ignore[attr-defined]
    return run


def _sums(rows: np.ndarray) -> np.ndarray:
    """(4, columns): how many numbers, their sums, sums of squares, and largest magnitudes."""
    known = ~np.isnan(rows)
    rows = np.where(known, rows, 0)
    with np.errstate(all="ignore"):
        return np.stack([known.sum(0), rows.sum(0), (rows**2).sum(0), np.abs(rows).max(0)])


def _judge(sums: list[np.ndarray], last: int, n_rows: int) -> None:
    """Warn once if observations or cumulants are out of scale. The cumulants begin at the column `last`."""
    with np.errstate(all="ignore"):
        n, total, squares, _ = np.sum(sums, axis=0)
        n = np.maximum(n, 1)
        largest = np.max(sums, axis=0)[3]
        mean = total / n
        deviation = np.sqrt(np.maximum(squares / n - mean**2, 0))
    far = [int(k) for k in np.flatnonzero(~((np.abs(mean) <= LARGE) & (deviation <= LARGE)))]
    for part in (slice(0, last), slice(last, None)):
        if 0 < largest[part].max(initial=0) < SMALL:
            far.append(part.start)
    if far:
        of_cumulant = "cumulants" if last + 1 == len(mean) else "cumulants[:, {}]"
        names = {k: f"observations[:, {k}]" if k < last else of_cumulant.format(k - last) for k in sorted(far)}
        seen = [f"{name} of mean {mean[k]:.2g} and deviation {deviation[k]:.2g}" for k, name in names.items()]
        more = f" and {len(seen) - 3} more columns" if len(seen) > 3 else ""
        cures = ["TDLambda(..., normalize=True) does that to observations"] if min(far) < last else []
        if max(far) >= last:
            cures.append("divide cumulants by their deviation or typical size, and multiply predictions by that")
        warnings.warn(
            f"in its first {n_rows} steps the stream has {', '.join(seen[:3])}{more}: TDLambda learns well if means "
            f"are near 0 and deviations near 1; {'; '.join(cures)} (docs/own_stream.md)",
            stacklevel=outside(),
        )
