"""The input stage of a learner: its settings, its statistics and what it holds. `inputs` has the kernels.

A learner owns one `InputStage`, which does nothing unless it is asked to:

- its network is `width` inputs wide;
- `rows(n)` is what its kernels read, by `inputs.take` and `inputs.read`; a stream is copied into `raw` of it;
- `check` makes an argument an array for `raw`, with columns in the order that `remember` has seen; `gaps` are what
  `check_array` and `check_number` need for the other arguments;
- `saved`, `built`, `name_columns` and `arrays` are for checkpoints, `settings` for copies; `forget` is for `reset`;
- `warn_if_silent` is work for Python when a kernel has paused, since it found `inputs.silent`.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtu_np import checkpoint
from rtu_np.callers import outside
from rtu_np.numerics.buffers import allocate, size
from rtu_np.prediction.frames import columns_of, in_order
from rtu_np.prediction.inputs import (
    LARGEST,
    LONG,
    Rows,
    StageSpec,
    check_magnitude,
    input_memory,
    input_statistics,
)
from rtu_np.validation import brief, check_array, check_choice, check_real, largest, make_plain

_CURE = 'missing="hold" or missing="zero"'


@dataclass(frozen=True)
class Normalize:
    """Settings of `normalize`: observations minus their running mean, divided by their running deviation.

    Parameters
    ----------
    half_life : after how many observed samples one counts half as much; None if all count alike. For a stream whose
        level or scale drifts
    clip : if given, an observation is clipped to this many deviations from its mean before it enters the statistics and
        the network. For a stream with spikes and fill values

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> from rtu_np import LinearRTU, TDLambda
    >>> learner = TDLambda(LinearRTU(8), n_inputs=1, normalize=Normalize(half_life=10_000, clip=10))
    >>> learner.run(np.full((50, 1), 1e6), np.ones(50), progress=False).shape
    (50,)
    """

    half_life: float | None = None
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.half_life is not None:
            check_real("half_life", self.half_life, low=1.0, hint="in observed samples")
        if self.clip is not None:
            check_real("clip", self.clip, low=1.0, hint="in deviations; 10 is common")
        make_plain(self)


class InputStage:
    """The stage of one learner.

    width : of the network's input
    normalize, missing : the settings, checked; None if not asked for

    Examples
    --------
    >>> from rtu_np.prediction.inputs import take
    >>> stage = InputStage(1, np.dtype("float64"), normalize=False, missing="hold")
    >>> rows = stage.rows(2)
    >>> stage.raw(rows)[:] = [[3.0], [np.nan]]
    >>> for t in range(2):
    ...     print(*take(rows, t, t == 0))
    [3. 0.]
    [3. 1.]
    """

    def __init__(self, n_inputs: int, dtype: np.dtype, normalize: Any = False, missing: str | None = None) -> None:
        self.n_inputs, self.dtype = n_inputs, dtype
        self.normalize, self.missing = _check_normalize(normalize), _check_missing(missing)
        self.on = self.normalize is not None or self.missing is not None
        self.width = n_inputs * (1 if self.missing is None else 2)
        self.columns: tuple[str, ...] | None = None  # the names of the entries of an observation
        # How `check_array` and `check_number` treat what is missing.
        self.gaps: dict[str, Any] = {"missing": self.missing is not None, "cure": _CURE}
        if self.on:
            self._statistics = allocate(size(input_statistics, n_inputs), np.float64)
            self._memory, self._of_predict = (allocate(size(input_memory, n_inputs), np.float64) for _ in range(2))
            self._x = allocate(self.width, dtype)
            for memory in (self._memory, self._of_predict):
                _forget(n_inputs, memory)

    @property
    def _spec(self) -> StageSpec:
        chosen = self.normalize or Normalize()
        return StageSpec(
            normalize=self.normalize is not None,
            holds=self.missing == "hold",
            marks=self.missing is not None,
            keep=1.0 if chosen.half_life is None else 0.5 ** (1 / chosen.half_life),
            clip=math.inf if chosen.clip is None else chosen.clip,
        )

    def rows(self, n: int) -> Any:
        """What kernels read: an array (n, n_inputs), or `Rows`."""
        if not self.on:
            return np.zeros((n, self.n_inputs), self.dtype)
        return Rows(np.zeros((n, self.n_inputs)), self._spec, self._statistics, self._memory, self._x)

    def raw(self, rows: Any) -> np.ndarray:
        """The array of `rows` that a stream is copied into."""
        return rows.raw if self.on else rows

    def to_predict(self, rows: Any) -> Any:
        """The same rows, with the memory of `predict`."""
        return rows._replace(memory=self._of_predict) if self.on else rows

    def check(
        self, name: str, value: Any, shape: tuple[int | None, ...], hint: str = "", observed: Any = None
    ) -> np.ndarray:
        """`value` as an array for `raw`, NaN for what is missing. TypeError, ValueError, by name.

        observed : None, or which numbers are not missing, in the shape of `value`
        """
        value = in_order(name, value, self.columns)
        if observed is not None:
            value = self._masked(name, value, in_order("observed", observed, columns_of(value) or self.columns))
        if not self.on:
            return check_array(name, value, shape, hint=hint, dtype=self.dtype, **self.gaps)
        array = check_array(name, value, shape, hint=hint, dtype=np.float64, **self.gaps)
        bound = LARGEST if self.normalize else largest(self.dtype)
        return check_magnitude(name, array, bound)

    def _masked(self, name: str, value: Any, observed: Any) -> np.ndarray:
        if self.missing is None:
            raise ValueError(f"observed is given, but the learner was made with missing=None: expected {_CURE} there")
        numbers = np.asarray(value)
        observed = check_array("observed", observed, numbers.shape, hint=f"as {name}")
        return np.ma.masked_array(numbers, mask=observed == 0)

    def remember(self, value: Any) -> None:
        """The names of the columns of `value`, if it has names, are those of the stream from now on."""
        self.columns = self.columns or columns_of(value)

    def settings(self) -> dict[str, Any]:
        """{argument: setting} of the learner, if it has a stage."""
        return {"normalize": self.normalize or False, "missing": self.missing} if self.on else {}

    def saved(self) -> dict[str, Any]:
        """What a file holds of the settings and of the names of columns. Nothing, if there are no such things."""
        described = {name: checkpoint.describe(setting) for name, setting in self.settings().items()}
        return described | ({} if self.columns is None else {"columns": list(self.columns)})

    def name_columns(self, names: Any) -> None:
        """The names of columns from a file or a copy; None if it has no names."""
        if names is not None and not (
            isinstance(names, list | tuple)
            and len(names) == self.n_inputs
            and all(isinstance(name, str) for name in names)
        ):
            raise ValueError(f"columns is {names!r}: expected {self.n_inputs} names")
        self.columns = None if names is None else tuple(names)

    @staticmethod
    def built(settings: dict[str, Any]) -> dict[str, Any]:
        """The arguments in `settings()`, from what a file holds; an older file has no such settings."""
        found: dict[str, Any] = {name: settings[name] for name in ("normalize", "missing") if name in settings}
        if isinstance(found.get("normalize"), dict):
            found["normalize"] = checkpoint.build("normalize", found["normalize"])
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """{name: view} of all arrays that change."""
        if not self.on:
            return {}
        stats, _ = input_statistics(self.n_inputs, self._statistics)
        views = {f"inputs.{name}": view for name, view in stats._asdict().items()}
        for prefix, flat in (("inputs", self._memory), ("inputs.predict", self._of_predict)):
            memory, _ = input_memory(self.n_inputs, flat)
            views |= {f"{prefix}.{name}": view for name, view in memory._asdict().items()}
        return views

    def forget(self) -> None:
        """What is held, by learning and by `predict`. Statistics stay."""
        if self.on:
            _forget(self.n_inputs, self._memory)
        self.forget_predictions()

    def forget_predictions(self) -> None:
        """What `predict` holds."""
        if self.on:
            _forget(self.n_inputs, self._of_predict)

    def warn_if_silent(self, steps: int) -> None:
        """Warn if no input at all has arrived for long. It is a warning, since an outage of a sensor ends, too."""
        if self.on and input_memory(self.n_inputs, self._memory)[0].silent[0] == LONG:
            stand_ins = "their last values" if self.missing == "hold" else "zeros"
            warnings.warn(
                f"all inputs have been missing for {LONG} steps, up to step {steps}: the learner goes on with "
                f"{stand_ins}; is a sensor off, or a table joined at wrong times?",
                stacklevel=outside(),
            )


def _forget(n_inputs: int, flat: np.ndarray) -> None:
    memory, _ = input_memory(n_inputs, flat)
    memory.held[:], memory.silent[:] = np.nan, 0


def _check_normalize(value: Any) -> Normalize | None:
    if isinstance(value, bool | np.bool_) or value is None:
        return Normalize() if value else None
    if not isinstance(value, Normalize):
        raise TypeError(f"normalize is {brief(value)}: expected True, False or settings, as in Normalize(clip=10)")
    return value


def _check_missing(value: Any) -> str | None:
    return None if value is None else check_choice("missing", value, {"hold": "hold", "zero": "zero"})
