"""DataFrames and Series: their columns have names, and their rows an index. pandas itself is not imported.

What has `to_numpy`, `index` and `columns` is a frame; what has `to_numpy` and `index` alone is a series. Other tables,
without an index, are arrays to this package.
"""

from typing import Any

import numpy as np


def has_index(value: Any) -> bool:
    """Whether `value` is a frame or a series."""
    return hasattr(value, "to_numpy") and hasattr(value, "index") and not callable(value.index)


def columns_of(value: Any) -> tuple[str, ...] | None:
    """The names of a frame's columns, or of the numbers of one row; None unless all are different strings."""
    if not has_index(value):
        return None
    names = tuple(getattr(value, "columns", value.index))
    return names if all(isinstance(name, str) for name in names) and len(set(names)) == len(names) else None


def in_order(name: str, value: Any, columns: tuple[str, ...] | None) -> Any:
    """`value` with its columns in the order `columns`, if both have names. ValueError if the names differ."""
    names = columns_of(value)
    if names is None or columns is None or names == columns:
        return value
    if len(names) != len(columns):
        return value  # its shape is refused, with a better message
    if missing := [each for each in columns if each not in names]:
        new = [each for each in names if each not in columns]
        raise ValueError(
            f"{name} has the columns {_listed(new)} and lacks {_listed(missing)}: expected those that the learner has "
            f"learned from, {_listed(columns)}, in any order; is it another table?"
        )
    return value[list(columns)]


def check_same_index(name: str, value: Any, observations: Any) -> None:
    """ValueError if `value` has an index other than that of `observations`: rows that belong together stand apart."""
    if has_index(value) and has_index(observations) and len(value) == len(observations):
        theirs, ours = np.asarray(value.index), np.asarray(observations.index)
        if not np.array_equal(theirs, ours):
            row = int(np.argmax(theirs != ours)) if theirs.shape == ours.shape else 0
            raise ValueError(
                f"{name} has {theirs[row]} in its index at row {row}, and observations {ours[row]}: expected the same "
                f"index, since rows are taken in order; {name}.loc[observations.index] has that order, and to_numpy() "
                "has no index"
            )


def like(given: Any, predictions: np.ndarray, cumulants: Any = None) -> Any:
    """`predictions` (t,) as a series, or (t, m) as a frame, with the index of the first rows of the frame `given`.

    The columns of the latter are those of the frame `cumulants`.
    """
    if not (has_index(given) and hasattr(given, "columns")):
        return predictions
    index = given.index[: len(predictions)]
    if predictions.ndim == 1:
        return type(given)({"prediction": predictions}, index=index)["prediction"]
    return type(given)(predictions, index=index, columns=getattr(cumulants, "columns", None))


def _listed(names: Any) -> str:
    shown = ", ".join(map(repr, list(names)[:5]))
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
