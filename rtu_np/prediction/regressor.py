"""Online regression: targets that are not returns, learned step by step. `regressor_kernels` has the compiled step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from rtu_np.cells.layer import Cell, GradientMethod, check_cell, check_gradient
from rtu_np.jit import compile_for, entry
from rtu_np.learning import network
from rtu_np.learning.diagnostics import Watch
from rtu_np.learning.heads import HeadSpec, ZeroHead
from rtu_np.learning.network import NamedNetwork, network_arrays
from rtu_np.learning.optimizers import Adam, Optimizer, check_optimizer
from rtu_np.learning.outcomes import PAUSED, REFUSED
from rtu_np.numerics.buffers import Copies, allocate, leaves, size
from rtu_np.prediction import regressor_arrays as arrays
from rtu_np.prediction import regressor_kernels as kernels
from rtu_np.prediction.frames import like
from rtu_np.prediction.input_stage import InputStage
from rtu_np.prediction.last_values import LOOKING, NONE, find_columns, forget_origins, last_values
from rtu_np.prediction.learner import Learner
from rtu_np.prediction.rows import Names, RowReader, plain
from rtu_np.prediction.stretches import in_stretches, to_the_end
from rtu_np.prediction.targets import LOSSES, target_scale
from rtu_np.progress import compiling
from rtu_np.validation import brief, check_choice, check_count, check_dtype, check_seed, count_dimensions

_STAGE = 1 << 16  # the most elements of observations that one compiled call reads


class OnlineRegressor(Learner):
    """Predicts the targets y_t of a row, or those of h rows later, from x_t and the past (derivations (78)-(82)).

    A row is an observation x_t and the targets that arrive with it. Each prediction is made before its targets are
    seen, and learned from once they are there. A target that is an input, too, is predicted as its last value and a
    change (`rtu_np.prediction.last_values`). Inputs are normalised, and a readout's outputs are in units of the running
    deviations of their targets, so streams in any unit can be given as they are.

    Parameters
    ----------
    cell : `LinearRTU(32)` or any other cell
    n_inputs : width d of an observation
    n_targets : m; one recurrent body serves all targets, and learns from the sum of their losses
    loss : "squared"; "huber", which limits the pull of a target that is further away than a deviation; or "logistic",
        for targets in [0, 1], whose predictions are probabilities
    horizon : h. Row t predicts the targets of row t + h; 0 is for those of its own row
    predict_changes : which inputs are the last values of targets, whose changes are then predicted: None if the learner
        shall find out; False for no input; True if input j is target j; or the number or the name of the input, for
        several targets a list (None for a target without one)
    normalize, missing : as in `TDLambda`, but observations are normalised unless this is False. If values may be
        missing, a target that is missing teaches nothing
    optimizer : Adam(1e-3) by default, or any other; see derivations (81) for what it gets
    gradient : how the gradient travels through time; RTRL() by default
    delay : what learns from a target that comes h rows later. "behind", a body that learns h rows behind the one that
        predicts: O(h n_inputs) memory, and the gradient is that of today's parameters on the input of then. "stored",
        the gradient of the prediction that was made then: O(h parameters) memory, for one target
    seed : of the starting parameters; the same seed gives the same bits. None for fresh entropy
    dtype : "float64" or "float32"
    names, target_names : of inputs and targets, if rows are dicts; by default, those of the first dict, sorted

    Raises
    ------
    ValueError, TypeError : if an argument is out of its range or of the wrong type; the message names the argument
    MemoryError : if the learner does not fit this machine
    FloatingPointError : in methods that learn, if learning diverges

    Examples
    --------
    >>> from rtu_np import LinearRTU
    >>> learner = OnlineRegressor(LinearRTU(8), n_inputs=1)
    >>> learner.predict_one([0.5])
    0.0
    >>> learner.learn_one([0.5], 2.0)
    >>> wave = np.sin(np.arange(3000) / 5)
    >>> predictions = learner.run(wave[:-1].reshape(-1, 1), wave[1:], progress=False)
    >>> bool(np.abs(predictions - wave[1:])[-100:].max() < 0.03)
    True
    """

    _PARTS = ("cell", "optimizer", "gradient")
    _NUMBERS = (
        *("n_inputs", "n_targets", "loss", "horizon", "predict_changes"),
        *("delay", "dtype", "names", "target_names"),
    )

    def __init__(
        self,
        cell: Cell,
        n_inputs: int,
        n_targets: int = 1,
        loss: str = "squared",
        horizon: int = 0,
        predict_changes: Any = None,
        normalize: Any = True,
        missing: str | None = None,
        optimizer: Optimizer | None = None,
        gradient: GradientMethod | None = None,
        delay: str = "behind",
        seed: int | None = 0,
        dtype: Any = "float64",
        names: Sequence[Any] | None = None,
        target_names: Sequence[Any] | None = None,
    ) -> None:
        self.cell = check_cell(cell)
        self.n_inputs = n_inputs = check_count("n_inputs", n_inputs)
        self.n_targets = n_targets = arrays.count_targets(n_targets, n_inputs)
        loss_spec, way = check_choice("loss", loss, LOSSES), arrays.way_to(horizon, delay, n_targets)
        self.loss, self.delay, self.horizon = loss, delay, way.horizon
        self.optimizer = check_optimizer("optimizer", Adam(1e-3) if optimizer is None else optimizer)
        self.gradient = check_gradient(gradient)
        self.dtype = check_dtype("dtype", dtype)
        self._inputs = InputStage(n_inputs, self.dtype, normalize, missing)
        known_names = Names("x", n_inputs, names), Names("y", n_targets, target_names)
        self._reader = RowReader(self._inputs, *known_names, loss)
        columns = find_columns(predict_changes, known_names[0], n_targets, loss)
        self.predict_changes = plain(predict_changes)

        width = self._inputs.width + (0 if all(k == NONE for k in columns) else n_targets)
        cell_spec = self.gradient.spec(cell.spec(width), self.dtype)
        training = network.Training(self.optimizer, 0.0, 0.0, self.dtype)
        self._spec = network.network_spec(cell_spec, HeadSpec(cell_spec.n_outputs, n_targets, 0), training)
        n_weights = size(network.weights, self._spec)
        self._task = arrays.Task(self._spec, loss_spec, way, n_inputs, n_targets, n_weights, int(missing is not None))
        n_flat = size(network_arrays, self._spec) + size(arrays.delayed_arrays, way, self._task)
        self._flat = allocate(n_flat, self.dtype)
        scale, known = size(target_scale, n_targets), size(last_values, n_targets, n_inputs)
        self._clock = np.array([0, 1, 0, 0])
        self._state = arrays.Arrays(self._flat, allocate(scale, np.float64), allocate(known, np.float64), self._clock)
        self._all = arrays.views_of(self._task, self._state)
        self._all.known.column[:] = columns
        self._prediction = allocate(size(arrays.ahead, self._task), self.dtype)
        self._ahead = arrays.ahead(self._task, self._prediction)[0]
        for origins in (self._all.known.origins, self._ahead.origins):
            forget_origins(origins)
        network.initialise(self._views, self._spec, cell, ZeroHead(), check_seed("seed", seed))

        # Arguments of compiled code: for a stretch of stream, for one step, and without learning.
        most = max(64, _STAGE // (n_inputs + n_targets))
        self._rows, self._one = (arrays.stretch(self._inputs, n, n_targets) for n in (most, 1))
        self._to_step = (self._task, self._state, self._one, 1, 1)
        rows = self._rows._replace(inputs=self._inputs.to_predict(self._rows.inputs))
        self._to_predict = (self._task, self._state, self._prediction, rows)
        self._shape, self._watch = (n_inputs,), Watch()
        self._x = self._inputs.raw(self._one.inputs)[0]
        # What a prediction without learning moves, and what keeps it meanwhile.
        moved = [self._state.known, *self._inputs.arrays().values()]
        moved += [] if isinstance(way, arrays.Behind) else [self._views.flat_memory]
        self._moved = Copies(moved)

    @property
    def _network(self) -> NamedNetwork:
        """With the gradients that wait for their targets."""
        stored = getattr(self._all.delayed, "gradients", None)
        return super()._network._replace(gradients=() if stored is None else (stored,))

    @cached_property
    def _run(self) -> Callable:
        with compiling(f"OnlineRegressor with {type(self.cell).__name__}"):
            return entry(compile_for(kernels.run, self._task), *self._to_step)

    def compile(self) -> None:
        """Compile `step` and `run`, if they have not been compiled."""
        self._run  # noqa: B018

    @cached_property
    def _predict(self) -> Callable:
        with compiling(f"predict of OnlineRegressor with {type(self.cell).__name__}"):
            return entry(compile_for(kernels.predict, self._task), *self._to_predict, 1)

    # ------------------------------------------------------------------------------------------------- one row

    def predict_one(self, x: Any) -> Any:
        """The prediction that `learn_one(x, y)` will learn from. No memory moves, and nothing is learned.

        Parameters
        ----------
        x : (n_inputs,) the observation, or a dict {name: number}

        Returns
        -------
        float; with several targets an array (n_targets,), or a dict if targets have names
        """
        self._x[...] = x if self._is_plain(x) else self._reader.row(x)
        self._moved.take()
        try:
            done = self._run(self._task, self._state, self._one, 1, 0)
            self._moved.put_back()
        except BaseException:  # Ctrl-C may come anywhere, but it comes once
            self._moved.put_back()
            raise
        if done != 1:
            self._explain(done)
        return self._reader.result(self._one.predictions)

    def learn_one(self, x: Any, y: Any, ends: bool = False) -> None:
        """Learn from one row: the observation x and the target y that arrives with it.

        Parameters
        ----------
        x : (n_inputs,) the observation, or a dict {name: number}. The names of the first dict stay; a new name is
            ignored, with one warning, and a name that lacks is a missing value
        y : the target; with several an array (n_targets,) or a dict. With horizon h, it belongs to the x of h rows ago
        ends : whether the stretch ends with this row: the memory is cleared behind it, and inputs whose targets have
            not come are forgotten

        Raises
        ------
        ValueError, TypeError : if an argument or the parameters are not usable; nothing has changed
        FloatingPointError : if learning diverges
        """
        self.step(x, y, ends)

    def step(self, x: Any, y: Any, ends: bool = False) -> Any:
        """`learn_one`, which returns what `predict_one(x)` would have returned."""
        stretch = self._one
        row, target, limit = x, y, self._reader.limit
        if not (isinstance(y, float) and -limit < y < limit and self._is_plain(x)):
            row, target = self._reader.row(x), self._reader.target(y)
            self._find_columns(x)
            self._reader.accept(x, y)
        self._x[...], stretch.targets[0], stretch.ends[0] = row, target, bool(ends)
        done = self._run(*self._to_step)
        if done < 1:
            if done == REFUSED:
                self._inputs.check("x", row, self._shape)
            if done != PAUSED:
                self._explain(done)
            self._between_steps()
        return self._reader.result(stretch.predictions)

    def _is_plain(self, x: Any) -> bool:  # compiled code looks whether its numbers are usable
        return type(x) is np.ndarray and x.shape == self._shape and x.dtype is self._x.dtype

    def _find_columns(self, x: Any) -> None:
        """Which inputs are last values, if these have names, and the first dict or frame is learned from."""
        if self.steps == 0 and (names := self._reader.names_in(x)):
            self._all.known.column[:] = find_columns(self.predict_changes, names, self.n_targets, self.loss)

    # ------------------------------------------------------------------------------------------------ many rows

    def run(
        self, observations: Any, targets: Any, ends: Any = None, progress: bool = True, observed: Any = None
    ) -> Any:
        """Learn from T rows in compiled code: the same as `learn_one` row by row, to the bit.

        Parameters
        ----------
        observations : (T, n_inputs). If it is a DataFrame, so are the predictions, or a Series, with its index
        targets : (T, n_targets), or (T,) of one target
        ends : (T,) whether a stretch ends with a row, as in `learn_one`
        progress : whether a run of more than a second shows a bar, on a terminal
        observed : (T, n_inputs) whether an entry is not missing, for a learner with `missing`; NaN is missing, too

        Returns
        -------
        array (T, n_targets), or (T,) of one target : the prediction of each row, made before its targets were seen.
            With horizon h, row t predicts the targets of row t + h

        Ctrl-C stops between steps, within about a second. The KeyboardInterrupt carries the predictions so far as
        `result` (t,), and `run` with the rows from t on continues, to the bit. FloatingPointError carries them, too.
        """
        stream = self.check_stream(observations, targets, ends, observed)
        self._find_columns(observations)
        self._reader.remember(observations)
        predictions = np.empty((len(stream[0]), self.n_targets), self.dtype)
        made = predictions[:, 0] if self.n_targets == 1 else predictions
        stretches = self.learn_from(stream, predictions)
        return to_the_end(self, stretches, made, lambda part: like(observations, part, targets), progress)

    def partial_fit(self, X: Any, y: Any) -> "OnlineRegressor":
        """As `run`, and returns the learner."""
        self.run(X, y, progress=False)
        return self

    def check_stream(
        self, observations: Any, targets: Any, ends: Any = None, observed: Any = None
    ) -> tuple[np.ndarray, ...]:
        """The arguments of `run` as arrays for `learn_from`. ValueError or TypeError names the argument at fault."""
        stream = self._reader.stream(observations, targets, ends, observed)
        n_steps = len(stream[0])
        if n_steps + self._clock[arrays.FILLED] <= self.horizon:
            raise ValueError(
                f"horizon is {self.horizon}, and the stream has {n_steps} rows: expected more rows than the horizon, "
                "in steps; no target would come while it lasts. Rows that come one at a time go to learn_one"
            )
        self._check_parameters()
        return stream

    def learn_from(self, stream: tuple[np.ndarray, ...], predictions: np.ndarray) -> Iterator[int]:
        """Learn from a checked stream. Yields the number of steps of each stretch, once `predictions` has them."""
        observations, targets, ends = stream
        stretch, raw = self._rows, self._inputs.raw(self._rows.inputs)

        def learn(rows: slice) -> int:
            n = rows.stop - rows.start
            raw[:n], stretch.targets[:n], stretch.ends[:n] = observations[rows], targets[rows], ends[rows]
            done = self._run(self._task, self._state, stretch, n, 1)
            predictions[rows] = stretch.predictions[:n]
            return done

        yield from in_stretches(self, len(observations), len(stretch.targets), learn)
        if not np.isfinite(self._views.flat_params).all():
            self._explain(len(observations))

    def _explain(self, done: int) -> None:
        """Raise the error for a compiled run that stopped early."""
        if done == REFUSED:
            self._check_parameters()
            self._inputs.check("x", self._x, self._shape)
        raise self._diverged()

    def predict(self, x: Any, reset: bool = False) -> Any:
        """Predict without learning. `predict` has a memory of its own that `learn_one` and `run` do not touch.

        Parameters
        ----------
        x : (n_inputs,) one observation, or (T, n_inputs) a stretch of stream
        reset : whether to clear that memory first

        Returns
        -------
        as of `predict_one`; of a stretch an array as of `run`
        """
        one = isinstance(x, Mapping) or count_dimensions("x", x) == 1
        rows = (
            self._reader.row(x) if one else self._inputs.check("x", x, (None, self.n_inputs), hint="or one observation")
        )
        rows = rows.reshape(-1, self.n_inputs)
        self._check_parameters()
        if reset:
            self._prediction[:] = 0
            forget_origins(self._ahead.origins)
            self._inputs.forget_predictions()
        predictions = np.empty((len(rows), self.n_targets), self.dtype)
        stretch, raw = self._rows, self._inputs.raw(self._rows.inputs)
        for start in range(0, len(rows), len(stretch.targets)):
            part = rows[start : start + len(stretch.targets)]
            raw[: len(part)] = part
            self._predict(*self._to_predict, len(part))
            predictions[start : start + len(part)] = stretch.predictions[: len(part)]
        if one:
            return self._reader.result(predictions)
        return like(x, predictions[:, 0] if self.n_targets == 1 else predictions)

    def reset(self) -> None:
        """Forget the stream: memory, inputs whose targets have not come, and the memory of `predict`. Parameters and
        running scales stay."""
        super().reset()
        kernels.clear_stream(self._task, self._all)
        forget_origins(self._ahead.origins)

    @property
    def bytes_held(self) -> int:
        """Bytes of all that learning needs: parameters, gradient, the optimiser's moments, memory, what is delayed."""
        return sum(array.nbytes for array in (self._flat, self._state.scale, self._state.known))

    def __repr__(self) -> str:
        given = {"n_inputs": self.n_inputs, "n_targets": self.n_targets, "loss": self.loss, "horizon": self.horizon}
        parts = ", ".join(f"{name}={value!r}" for name, value in given.items())
        return (
            f"OnlineRegressor({brief(self.cell)}, {parts}, optimizer={brief(self.optimizer)}, "
            f"gradient={brief(self.gradient)}, dtype={self.dtype.name!r}, steps={self.steps})"
        )

    @property
    def last_values(self) -> list[Any]:
        """For each target the number of the input that is its last value; None if no input is; "?" if it looks yet."""
        found = map(int, self._all.known.column)
        return ["?" if k == LOOKING else None if k == NONE else k for k in found]

    def _parts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._PARTS}

    def _numbers(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in self._NUMBERS}
        return {**numbers, "dtype": self.dtype.name, **({} if self._inputs.on else {"normalize": False})}

    @property
    def names(self) -> tuple[Any, ...] | None:
        """The names of the inputs, in the order of `n_inputs`; None before the first dict is learned from."""
        return self._reader.names.fixed

    @property
    def target_names(self) -> tuple[Any, ...] | None:
        """The names of the targets; None before the first target that is a dict."""
        return self._reader.target_names.fixed

    def _arrays(self) -> dict[str, np.ndarray]:
        """{name: view} of all arrays that change while learning."""
        return {
            **super()._arrays(),
            **{f"scale.{name}": view for name, view in self._all.scale._asdict().items()},
            **leaves(self._all.known, "last_values."),
            **arrays.lasting(self._all.delayed),
            **leaves(self._ahead.origins, "prediction."),
        }
