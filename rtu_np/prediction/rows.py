"""Rows of a stream as a user gives them: arrays, or dicts whose names are put into one order, once and for all."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rtu_np.callers import outside
from rtu_np.prediction.frames import check_same_index, columns_of
from rtu_np.prediction.input_stage import InputStage
from rtu_np.prediction.inputs import LARGEST
from rtu_np.prediction.targets import check_targets
from rtu_np.validation import check_array, check_number, count_dimensions


class Names:
    """The names of the numbers of a row, in the order of the array. They are fixed at the first row that is learned.

    Parameters
    ----------
    argument : of the learner's methods, for messages
    n : how many numbers a row has
    names : the names, if they are known beforehand; None to take those of the first dict, sorted

    Examples
    --------
    >>> names = Names("x", 2)
    >>> names.accept({"b": 2.0, "a": 1.0})
    >>> names.row({"a": 3.0})
    [3.0, nan]
    """

    def __init__(self, argument: str, n: int, names: Sequence[Any] | None = None) -> None:
        self.argument, self.n = argument, n
        if names is not None and not isinstance(names, list | tuple):
            raise TypeError(f"{argument} has the names {names!r}: expected a list of {n} names")
        self.fixed = None if names is None else plain(names)
        self._warned = False
        if self.fixed is not None:
            self._check(self.fixed)

    def _check(self, names: tuple[Any, ...]) -> None:
        if len(names) != self.n or len(set(names)) != self.n:
            raise ValueError(
                f"{self.argument} has the names {', '.join(map(repr, names))}: expected {self.n} different names"
            )

    def order(self, x: Mapping[Any, Any]) -> tuple[Any, ...]:
        """The names in the order of the array; those of `x`, sorted, if they are not fixed."""
        if self.fixed is not None:
            return self.fixed
        names = tuple(map(plain, sorted(x, key=str)))
        self._check(names)
        return names

    def row(self, x: Mapping[Any, Any]) -> list[Any]:
        """The numbers of a dict; NaN for a name that it lacks. New names are left out."""
        return [x.get(name, math.nan) for name in self.order(x)]

    def lacks(self, x: Mapping[Any, Any]) -> list[Any]:
        """The names that a dict lacks."""
        return [name for name in self.order(x) if name not in x]

    def accept(self, x: Mapping[Any, Any]) -> None:
        """These are the names from now on. A new name is ignored from then on, and the first one is warned of."""
        self.fixed = self.order(x)
        if not self._warned and (new := [name for name in x if name not in self.fixed]):
            self._warned = True
            warnings.warn(
                f"{self.argument} has {new[0]!r}, which the first row did not have: it is ignored, as other new names "
                f"will be; the names are {', '.join(map(repr, self.fixed))}",
                stacklevel=outside(),
            )


def plain(name: Any) -> Any:
    """A name, or several, as a file gives them back: no scalar of NumPy's, and no list in the place of a tuple."""
    if isinstance(name, list | tuple):
        return tuple(map(plain, name))
    return name.item() if isinstance(name, np.generic) else name


class RowReader:
    """Reads observations and targets of an `OnlineRegressor`.

    Parameters
    ----------
    inputs : the learner's stage, which says what may be missing
    names, target_names : of rows that are dicts
    loss : the name of the loss, which may limit targets
    """

    def __init__(self, inputs: InputStage, names: Names, target_names: Names, loss: str) -> None:
        self.names, self.target_names = names, target_names
        self._inputs, self._loss, self._shape = inputs, loss, (names.n,)
        # A target below this limit is taken as it is.
        alone = target_names.n == 1 and loss != "logistic" and inputs.dtype == np.float64
        self.limit = LARGEST if alone else 0.0
        self._name_columns()

    def row(self, x: Any) -> np.ndarray:
        """An observation as an array (n_inputs,); NaN for what is missing."""
        if isinstance(x, Mapping):
            x = self._numbers(self.names, x)
        return self._inputs.check("x", x, self._shape)

    def target(self, y: Any) -> np.ndarray:
        """The targets of one row (n_targets,); NaN for one that is missing."""
        if isinstance(y, Mapping):
            y = self._numbers(self.target_names, y)
        if self.target_names.n == 1 and count_dimensions("y", y) == 0:
            interval = (0.0, 1.0) if self._loss == "logistic" else None
            number = check_number("y", y, dtype=self._inputs.dtype, interval=interval, **self._inputs.gaps)
            return check_targets("y", np.array([number]), self._loss)
        return self.targets("y", y, (self.target_names.n,))

    def targets(self, name: str, value: Any, shape: tuple[int | None, ...], hint: str = "") -> np.ndarray:
        """Targets as an array. TypeError, ValueError, by name."""
        array = check_array(name, value, shape, hint=hint, dtype=self._inputs.dtype, **self._inputs.gaps)
        return check_targets(name, array, self._loss)

    def stream(self, observations: Any, targets: Any, ends: Any = None, observed: Any = None) -> tuple[np.ndarray, ...]:
        """Observations (T, n_inputs), targets (T, n_targets), ends (T,) as arrays. TypeError, ValueError, by name."""
        hint = "one row per step" + ("; x.reshape(-1, 1) makes rows of one number" if self.names.n == 1 else "")
        for name, signal in {"targets": targets, "ends": ends, "observed": observed}.items():
            check_same_index(name, signal, observations)
        observations = self._inputs.check("observations", observations, (None, self.names.n), hint, observed)
        n_steps, n_targets = len(observations), self.target_names.n
        if n_steps == 0:
            raise ValueError(f"observations has shape {observations.shape}: expected at least one step")
        hint = f"as many rows as observations has ({n_steps})"
        one = n_targets == 1 and count_dimensions("targets", targets) == 1
        shape = (n_steps,) if one else (n_steps, n_targets)
        targets = self.targets("targets", targets, shape, hint).reshape(n_steps, n_targets)
        flags = np.zeros(n_steps, np.int8)
        if ends is not None:
            flags[:] = check_array("ends", ends, (n_steps,), hint=hint).astype(bool)
        return observations, targets, flags

    def names_in(self, x: Any) -> Names | None:
        """The names of the inputs, if they are not fixed yet, and `x` is a dict or a frame that fixes them."""
        found = self.names.order(x) if isinstance(x, Mapping) else columns_of(x)
        return Names("x", self.names.n, found) if found and self.names.fixed is None else None

    def remember(self, observations: Any) -> None:
        """The names of the columns of a frame are those of the inputs."""
        self._inputs.remember(observations)
        if self.names.fixed is None:
            self.names.fixed = self._inputs.columns

    def accept(self, x: Any, y: Any) -> None:
        """Take the names of a row that is learned from."""
        for names, row in ((self.names, x), (self.target_names, y)):
            if isinstance(row, Mapping):
                names.accept(row)
        self._name_columns()
        if columns_of(x):  # a row of a frame
            self.remember(x)

    def _name_columns(self) -> None:
        """Frames have the names of dicts, if these are strings."""
        if self.names.fixed and self._inputs.columns is None and all(isinstance(n, str) for n in self.names.fixed):
            self._inputs.name_columns(self.names.fixed)

    def result(self, predictions: np.ndarray) -> Any:
        """Predictions (1, n_targets) as a float, an array, or a dict if targets have names."""
        if names := self.target_names.fixed:
            return dict(zip(names, predictions[0].tolist(), strict=True))
        return predictions.item() if predictions.size == 1 else predictions[0].copy()

    def _numbers(self, names: Names, row: Mapping[Any, Any]) -> np.ndarray:
        """The numbers of a dict as objects; NaN for a name that it lacks."""
        if self._inputs.missing is None and (lacking := names.lacks(row)):
            raise ValueError(
                f"{names.argument} has no {lacking[0]!r}: expected {', '.join(map(repr, names.order(row)))}; "
                'missing="hold" or missing="zero" takes it as missing, with an input that says so'
            )
        return np.array(names.row(row), dtype=object)
