"""Which input is the last value of a target, and what the learner makes of it.

If a target is an input, too, the learner predicts its change and adds its last value. The network gets the latest
change of that input as one input more, in units of its running deviation (derivations (80)): next to a level that
varies much more, it cannot see small changes.

**The input is found** in the stream. With a horizon, target j is input k if they are equal in every row. Without one,
input k of a row is the target of the row before. The learner compares until no input is left, or until the target has
changed `ENOUGH` times while an input followed it. Until then it learns nothing of this target. Two different quantities
differ in the first row or two.
"""

from collections.abc import Hashable
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np.jit import kernel
from rtu_np.numerics.layout import layout_of
from rtu_np.prediction.rows import Names
from rtu_np.prediction.targets import WINDOW
from rtu_np.validation import check_count

ENOUGH = 16  # changes of a target that an input has followed
LOOKING, NONE = -2, -1  # instead of the number of an input

PerTarget = Annotated[np.ndarray, "n_targets"]


class Origins(NamedTuple):
    """Last values of the present row and of the row before, and from which input they are, or NONE."""

    base: PerTarget  # 0 if it is unknown
    source: PerTarget
    base_tm1: PerTarget
    source_tm1: PerTarget


origins = kernel(layout_of(Origins, "n_targets"))


class LastValues(NamedTuple):
    """What is known about last values, float64."""

    origins: Annotated[Origins, origins, "n_targets"]
    column: PerTarget  # the input that is the last value of a target, or LOOKING, or NONE
    n: PerTarget  # changes of this input so far, at most WINDOW
    square: PerTarget  # their running mean square
    compared: PerTarget  # rows so far
    changes: PerTarget  # of a target so far
    latest: PerTarget  # the latest target that was there
    present: PerTarget  # whether it was there in the row before
    differs: Annotated[np.ndarray, "n_targets", "n_inputs"]  # whether an input has differed from a target


last_values = kernel(layout_of(LastValues, "n_targets", "n_inputs"))


@kernel
def write_bases(known, origins, raw):
    """The last values that are added to predictions of a row; 0 for a target without one.

    A last value that is missing stays as it was.
    """
    for j in range(origins.base.shape[0]):
        k = int(known.column[j])
        if k == LOOKING and known.compared[j] > 0:
            k = first_candidate(known, j)
        if k < 0:
            origins.base[j] = 0
            origins.source[j] = NONE
        elif not np.isnan(raw[k]):
            origins.base[j] = raw[k]
            origins.source[j] = k


@kernel
def write_input(known, origins, x_t, out):
    """out <- x_t, then the latest change of each last value in units of its deviation, 0 if it is not known"""
    n = x_t.shape[0]
    for i in range(n):
        out[i] = x_t[i]
    for j in range(out.shape[0] - n):
        change = change_of(origins, j)
        out[n + j] = out.dtype.type(change / np.sqrt(known.square[j])) if change != 0 and known.square[j] > 0 else 0


@kernel
def include_changes(known, origins):
    """Add the changes of a row to their running mean squares."""
    for j in range(origins.base.shape[0]):
        if origins.source[j] != NONE and origins.source[j] == origins.source_tm1[j]:
            known.n[j] = min(known.n[j] + 1.0, WINDOW)
            known.square[j] += (change_of(origins, j) ** 2 - known.square[j]) / known.n[j]


@kernel
def change_of(origins, j):
    known = origins.source[j] != NONE and origins.source[j] == origins.source_tm1[j]
    return origins.base[j] - origins.base_tm1[j] if known else 0.0


@kernel
def advance_origins(origins):
    """This row becomes the row before."""
    for j in range(origins.base.shape[0]):
        origins.base_tm1[j] = origins.base[j]
        origins.source_tm1[j] = origins.source[j]


@kernel
def forget_origins(origins):
    """The next row has no row before."""
    for j in range(origins.base.shape[0]):
        origins.base[j] = 0
        origins.source[j] = NONE
        origins.source_tm1[j] = NONE


@kernel
def first_candidate(known, j):
    """The first input that has not differed from target `j`, or NONE."""
    for k in range(known.differs.shape[1]):
        if known.differs[j, k] == 0:
            return k
    return NONE


@kernel
def compare(known, raw, target, horizon):
    """Compare a row with the targets whose input is still looked for."""
    for j in range(target.shape[0]):
        if known.column[j] == LOOKING:
            _compare_one(known, raw, target, j, horizon)


@kernel
def _compare_one(known, raw, target, j, horizon):
    real, value, earlier = target.dtype.type, target[j], known.latest[j]
    seen, follows = not np.isnan(value), known.present[j] != 0
    if seen if horizon else follows:
        expected = value if horizon else earlier
        known.compared[j] += 1
        for k in range(raw.shape[0]):
            x = real(raw[k])
            if x != expected and not np.isnan(x):
                known.differs[j, k] = 1
    if seen:
        if follows and value != earlier:
            known.changes[j] += 1
        known.latest[j] = value
    known.present[j] = seen
    k = first_candidate(known, j)
    if k == NONE or known.changes[j] > ENOUGH:
        known.column[j] = k


@kernel
def forget_row_before(known):
    """The next row begins a stretch of its own."""
    forget_origins(known.origins)
    for j in range(known.present.shape[0]):
        known.present[j] = 0


def find_columns(changes: Any, names: Names, n_targets: int, loss: str) -> list[int]:
    """The column of each target that `predict_changes` asks for. ValueError, TypeError, by name."""
    if loss == "logistic":
        if changes is not None and changes is not False:
            raise ValueError(f"predict_changes is {changes!r}: expected False, since the loss is 'logistic'")
        return [NONE] * n_targets
    if changes is None or changes is False:
        return [LOOKING if changes is None else NONE] * n_targets
    if changes is True:
        if names.n != n_targets:
            raise ValueError(
                f"predict_changes is True with n_inputs={names.n} and n_targets={n_targets}: expected as many inputs "
                "as targets, or the number or name of the input that is the last value of each target"
            )
        return list(range(n_targets))
    each = list(changes) if isinstance(changes, list | tuple) else [changes]
    if len(each) != n_targets:
        raise ValueError(f"predict_changes is {changes!r}: expected one input for each of {n_targets} targets")
    return [_column(k, names) for k in each]


def _column(k: Any, names: Names) -> int:
    """The number of an input that is given by number or name; LOOKING for a name, while the inputs have none."""
    if k is None:
        return NONE
    known = names.fixed
    if known is not None and isinstance(k, Hashable) and k in known:
        return known.index(k)
    if not isinstance(k, str):
        return check_count("predict_changes", k, low=0, high=names.n - 1, hint="the number of an input, or its name")
    if known is None:
        return LOOKING
    raise ValueError(f"predict_changes is {k!r}: expected a name of x: {', '.join(map(repr, known))}")
