"""Streaming TD(lambda): a prediction is learned on every step of a stream. `td_kernels` has the compiled step."""

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import numpy as np

from rtu_np.cells.layer import Cell, GradientMethod, check_cell, check_gradient
from rtu_np.jit import compile_for, entry
from rtu_np.learning import network
from rtu_np.learning.diagnostics import Watch
from rtu_np.learning.network import forward_arrays
from rtu_np.learning.optimizers import Adam, Optimizer, check_optimizer
from rtu_np.learning.outcomes import (
    CONTINUES,
    END,
    PAUSED,
    REFUSED,
    TERMINATED,
    TRUNCATED,
    how_it_ends,
)
from rtu_np.learning.readout import LinearReadout, Readout, check_readout
from rtu_np.numerics.buffers import allocate, size
from rtu_np.prediction.chunks import InChunks
from rtu_np.prediction.frames import check_same_index, like
from rtu_np.prediction.input_stage import InputStage, Normalize
from rtu_np.prediction.learner import Learner
from rtu_np.prediction.scale import ENOUGH, watched
from rtu_np.prediction.stretches import in_stretches, to_the_end
from rtu_np.prediction.td_kernels import CUMULANT, DISCOUNT, predict, run
from rtu_np.progress import compiling
from rtu_np.validation import (
    PLAIN,
    brief,
    check_array,
    check_count,
    check_dtype,
    check_number,
    check_real,
    check_seed,
    count_dimensions,
)

_STAGE = 1 << 16  # the most elements of observations that one compiled call reads


class TDLambda(InChunks, Learner):
    """Streaming TD(lambda) with accumulating traces on a recurrent cell and a readout (derivations (18)-(20)).

    v_t predicts c_{t+1} + gamma c_{t+2} + gamma^2 c_{t+3} + ..., in units of the cumulant c. With an array `gamma`
    there are many predictions on one cell: `rtu_np.prediction.td_many.ManyPredictions` says what then differs.

    Parameters
    ----------
    cell : `LinearRTU(16)` or any other cell
    n_inputs : width d of an observation
    gamma : discount per step, in [0, 1]; `step` and `run` can override it. Or (m,), the discounts of m predictions
    lambda_ : trace parameter, in [0, 1]
    optimizer : any rule of docs/rules.md; Adam(3e-4) by default
    gradient : how the gradient travels through time; RTRL() by default
    readout : LinearReadout() (the default) or HiddenReadout(n)
    seed : of the starting parameters; the same seed gives the same bits. None for fresh entropy
    dtype : "float64" or "float32"
    normalize : True for observations of running mean 0 and deviation 1, or `Normalize(half_life=..., clip=...)`
    missing : "hold" or "zero" if values may be missing (NaN, None, masked): the last value or a zero stands for them,
        and each has an input more, which is 1 if it is missing. From a missing cumulant nothing is learned
    body : how the cell learns from many predictions; "traces" for one

    Raises
    ------
    ValueError, TypeError : if an argument is out of its range or of the wrong type; the message names the argument
    MemoryError : if the learner does not fit this machine
    FloatingPointError : in `step` and `run`, if learning diverges

    Examples
    --------
    >>> from rtu_np import LinearRTU
    >>> learner = TDLambda(LinearRTU(8), n_inputs=2, gamma=0.5)
    >>> learner.step([1.0, 0.0], 0.0)
    0.0
    >>> learner.run(np.ones((100, 2)), np.ones(100), progress=False).shape
    (100,)
    >>> learner.steps
    101
    """

    _kernels: tuple[Callable, Callable] = run, predict
    _slots: tuple[int, ...] = CUMULANT, DISCOUNT, END  # of the signals of a checked stream

    def __new__(cls, cell: Any = None, n_inputs: Any = None, gamma: Any = 0.9, *more: Any, **settings: Any) -> Any:
        """A learner of many predictions, if `gamma` is an array."""
        if cls is TDLambda and count_dimensions("gamma", gamma):
            from rtu_np.prediction.td_many import ManyPredictions  # which is made from this class

            return super().__new__(ManyPredictions)
        return super().__new__(cls)

    def __init__(
        self,
        cell: Cell,
        n_inputs: int,
        gamma: Any = 0.9,
        lambda_: float = 0.9,
        optimizer: Optimizer | None = None,
        gradient: GradientMethod | None = None,
        seed: int | None = 0,
        dtype: Any = "float64",
        readout: Readout | None = None,
        normalize: bool | Normalize = False,
        missing: str | None = None,
        body: str = "traces",
    ) -> None:
        self.cell = check_cell(cell)
        self.optimizer = check_optimizer("optimizer", Adam(3e-4) if optimizer is None else optimizer)
        self.gradient = check_gradient(gradient)
        self.readout = check_readout(LinearReadout() if readout is None else readout)
        self.n_inputs = n_inputs = check_count("n_inputs", n_inputs)
        self.gamma, self.body = self._check_predictions(gamma, body)
        self.lambda_ = check_real("lambda_", lambda_, low=0.0, high=1.0)
        self.dtype = check_dtype("dtype", dtype)
        self._inputs = InputStage(n_inputs, self.dtype, normalize, missing)

        self._spec = self._make_spec()
        self._flat = allocate(size(self._layout, self._spec), self.dtype)
        self._clock = np.array([0, 1])  # steps so far; whether the next is the first after a clear
        self._prediction = allocate(size(forward_arrays, self._spec), self.dtype)
        self._initialise(check_seed("seed", seed))

        # Arguments of compiled code: for a stretch of stream, for one step, and without learning.
        self._observations, self._signals, self._predictions = self._stage(self._rows())
        self._to_run = (self._spec, self._flat, self._clock, self._observations, self._signals, self._predictions)
        observations, signals, prediction = self._stage(1)
        self._to_step = (self._spec, self._flat, self._clock, observations, signals, prediction, 1)
        (self._x,), (self._signal,), self._shape = self._inputs.raw(observations), signals, (n_inputs,)
        self._prediction_made = self._result(prediction)
        self._watch = Watch()
        self._raw, to_predict = self._inputs.raw(self._observations), self._inputs.to_predict(self._observations)
        self._to_predict = (self._spec, self._flat, self._prediction, to_predict, self._predictions)

    def _check_predictions(self, gamma: Any, body: Any) -> tuple[Any, str]:
        """(gamma, body) of the arguments."""
        if body != "traces":
            raise ValueError(f"body is {body!r} for one prediction: expected 'traces'; gamma=[0.9] makes one of many")
        return check_real("gamma", gamma, low=0.0, high=1.0), body

    def _make_spec(self) -> Any:
        cell_spec = self.gradient.spec(self.cell.spec(self._inputs.width), self.dtype)
        readout_spec = self.readout.spec(cell_spec.n_outputs)
        training = network.Training(self.optimizer, self.gamma, self.lambda_, self.dtype)
        return network.network_spec(cell_spec, readout_spec, training, either=True)

    def _initialise(self, rng: np.random.Generator) -> None:
        network.initialise(self._views, self._spec, self.cell, self.readout, rng)

    def _rows(self) -> int:
        """How many rows of a stream one compiled call reads at most."""
        return max(64, _STAGE // self.n_inputs)

    __new__.__wrapped__ = __init__  # type: ignore[attr-defined]  # whose arguments are those of the class

    @cached_property
    def _run(self) -> Callable:
        with compiling(f"{type(self).__name__} with {type(self.cell).__name__}"):
            compiled = entry(compile_for(self._kernels[0], self._spec, self._observations), *self._to_step)
        return compiled if self.steps >= ENOUGH else watched(compiled, partial(setattr, self, "_run"), self._inputs)

    def compile(self) -> None:
        """Compile `step` and `run`, if they have not been compiled."""
        self._run  # noqa: B018

    @cached_property
    def _predict(self) -> Callable:
        with compiling(f"predict of {type(self).__name__} with {type(self.cell).__name__}"):
            return entry(compile_for(self._kernels[1], self._spec, self._observations), *self._to_predict, 1)

    # ------------------------------------------------------------------------------------------------- learning

    def step(
        self, x: Any, c: float, discount: float | None = None, terminated: bool = False, truncated: bool = False
    ) -> float:
        """Learn from one step; returns v_t (0 if terminated).

        Parameters
        ----------
        x : (n_inputs,) the observation
        c : the cumulant that arrives with the observation
        discount : of this step, in place of gamma
        terminated, truncated : whether this observation ends an episode, and how; if both are true, it has terminated

        Raises
        ------
        ValueError, TypeError : if an argument is not usable, or |lambda| of a unit is 1; nothing has changed
        FloatingPointError : if learning diverges, or if a parameter is not a finite number
        """
        # Cheap checks happen here. The compiled step does the others; if it returns REFUSED, we look for the reason.
        x_t, signal = self._x, self._signal
        plain = type(x) is np.ndarray and x.shape == self._shape and (x.dtype is self.dtype or x.dtype.char in PLAIN)
        try:
            x_t[...] = x if plain else check_array("x", x, self._shape) if type(x) is list else self._observation(x)
            signal[CUMULANT] = c if isinstance(c, float) else check_number("c", c, dtype=self.dtype)
            signal[DISCOUNT] = (
                self.gamma if discount is None else check_number("discount", discount, interval=(0.0, 1.0))
            )
        except (FloatingPointError, RuntimeWarning):  # of a conversion to float32, if NumPy's or Python's are errors
            with np.errstate(all="ignore"):  # takes 0.6 us, so it is not in the way of other steps
                return self.step(x, c, discount, terminated, truncated)
        except (TypeError, ValueError):  # a number may be missing, or its message gets a cure
            with np.errstate(all="ignore"):
                x_t[...], signal[CUMULANT] = self._observation(x), self._cumulant(c)
                own = self.gamma if discount is None else check_number("discount", discount, interval=(0.0, 1.0))
                signal[DISCOUNT] = own
        signal[END] = how_it_ends(terminated, truncated) if terminated or truncated else CONTINUES
        done = self._run(*self._to_step)
        if done < 1:
            if done == REFUSED:
                self._observation(x)
                self._cumulant(c)
            if done != PAUSED:
                self._explain(done)
            self._between_steps()
        if not plain:
            self._inputs.remember(x)
        return self._prediction_made()

    def _observation(self, x: Any) -> np.ndarray:
        return self._inputs.check("x", x, self._shape)

    def _cumulant(self, c: Any) -> float:
        return check_number("c", c, dtype=self.dtype, **self._inputs.gaps)

    def run(
        self,
        observations: Any,
        cumulants: Any,
        discounts: Any = None,
        terminated: Any = None,
        truncated: Any = None,
        progress: bool = True,
        observed: Any = None,
        ratios: Any = None,
    ) -> Any:
        """Learn from T steps in compiled code: the same steps as `step`, to the bit. Returns the predictions (T,).

        Ctrl-C stops between steps, within about a second. The KeyboardInterrupt carries the predictions so far as
        `result` (t,), and `run` with the rows from t on continues, to the bit. FloatingPointError carries them, too.

        Parameters
        ----------
        observations : (T, n_inputs). If it is a DataFrame, the predictions are a Series with its index
        cumulants, discounts, terminated, truncated : (T,), as in `step`; the last three are optional
        progress : whether a run of more than a second shows a bar, on a terminal or in a notebook; compiling is said
            there, too
        observed : (T, n_inputs) whether an entry is not missing, for a learner with `missing`; NaN is missing, too
        ratios : (T,) or (T, m) importance ratios, for many predictions alone
            (`rtu_np.prediction.td_many.ManyPredictions`)
        """
        stream = self.check_stream(observations, cumulants, discounts, terminated, truncated, observed, ratios)
        self._inputs.remember(observations)
        predictions = self.empty(len(stream[0]))
        return to_the_end(
            self,
            self.learn_from(stream, predictions),
            predictions,
            lambda made: like(observations, made, cumulants),
            progress,
        )

    def check_stream(
        self,
        observations: Any,
        cumulants: Any,
        discounts: Any = None,
        terminated: Any = None,
        truncated: Any = None,
        observed: Any = None,
        ratios: Any = None,
    ) -> tuple[np.ndarray, ...]:
        """The arguments of `run` as arrays for `learn_from`. ValueError or TypeError names the argument at fault."""
        rows = "one row per step" + (
            "; observations.reshape(-1, 1) makes rows of one number" if self.n_inputs == 1 else ""
        )
        signals = {"cumulants": cumulants, "discounts": discounts, "terminated": terminated, "truncated": truncated}
        for name, signal in {**signals, "observed": observed}.items():
            check_same_index(name, signal, observations)
        observations = self._inputs.check("observations", observations, (None, self.n_inputs), rows, observed)
        n_steps = observations.shape[0]
        if n_steps == 0:
            raise ValueError(f"observations has shape {observations.shape}: expected at least one step")
        hint = f"as many as observations has rows ({n_steps})"
        cumulants, discounts, *more = self._check_signals(cumulants, discounts, ratios, n_steps, hint)
        ends = np.full(n_steps, CONTINUES)
        for name, flags, code in (("truncated", truncated, TRUNCATED), ("terminated", terminated, TERMINATED)):
            if flags is not None:
                ends[check_array(name, flags, (n_steps,), hint=hint).astype(bool)] = code
        self._check_parameters()
        return observations, cumulants, discounts, ends, *more

    def _check_signals(
        self, cumulants: Any, discounts: Any, ratios: Any, n_steps: int, hint: str
    ) -> tuple[np.ndarray, ...]:
        """Cumulants, discounts and further signals, in the order of `_slots` without the ends."""
        if ratios is not None:
            raise ValueError("ratios is given for one prediction: expected None; gamma=[0.9] makes one of many")
        cumulants = check_array("cumulants", cumulants, (n_steps,), hint=hint, dtype=self.dtype, **self._inputs.gaps)
        if discounts is None:
            return cumulants, np.broadcast_to(check_array("gamma", self.gamma, (), dtype=self.dtype), n_steps)
        return cumulants, check_array("discounts", discounts, (n_steps,), hint=hint, dtype=self.dtype, interval=(0, 1))

    def learn_from(self, stream: tuple[np.ndarray, ...], predictions: np.ndarray) -> Iterator[int]:
        """Learn from a checked stream. Yields the number of steps of each stretch, once `predictions` (T,) has them.

        A stretch takes about a tenth of a second, so that Ctrl-C is heard.
        """
        observations, *signals = stream
        if hasattr(self._run, "include"):
            self._run.include(*stream[:2])

        def learn(rows: slice) -> int:
            n = rows.stop - rows.start
            self._raw[:n] = observations[rows]
            for slot, signal in zip(self._slots, signals, strict=True):
                self._write(slot, signal[rows])
            done = self._run(*self._to_run, n)
            predictions[rows] = self._predictions[:n]
            return done

        yield from in_stretches(self, len(observations), len(self._predictions), learn)
        if not np.isfinite(self._views.flat_params).all():
            self._explain(len(observations))

    def _explain(self, done: int) -> None:
        """Raise the error for a compiled run that stopped early."""
        if done == REFUSED:
            self._check_parameters()
        raise self._diverged()

    # ------------------------------------------------------------------------------------------------ prediction

    def predict(self, x: Any, reset: bool = False) -> Any:
        """Predict without learning. `predict` has a memory of its own that `step` and `run` do not touch. It is not for
        another thread while the learner learns: both use arrays of the learner.

        Parameters
        ----------
        x : (n_inputs,) one observation, or (T, n_inputs) a stretch of stream
        reset : whether to clear that memory first

        Returns
        -------
        float, or (T,) array; a Series for a DataFrame
        """
        one = count_dimensions("x", x) == 1
        shape = self._shape if one else (None, self.n_inputs)
        stretch = self._inputs.check("x", x, shape, "or one observation").reshape(-1, self.n_inputs)
        self._check_parameters()
        if reset:
            self._prediction[:] = 0
            self._inputs.forget_predictions()
        predictions = self.empty(len(stretch))
        for start in range(0, len(stretch), len(self._predictions)):
            rows = stretch[start : start + len(self._predictions)]
            self._raw[: len(rows)] = rows
            self._predict(*self._to_predict, len(rows))
            predictions[start : start + len(rows)] = self._predictions[: len(rows)]
        if one:
            return predictions[0].copy() if predictions.ndim > 1 else predictions[0].item()
        return like(x, predictions)

    # ----------------------------------------------------------------------------------------------------- state

    @property
    def bytes_staged(self) -> int:
        """Bytes of the rows that carry a stream into compiled code."""
        return self._raw.nbytes + self._signals.nbytes + self._predictions.nbytes

    def __repr__(self) -> str:
        settings = {**self._parts(), **self._inputs.settings()}
        parts = ", ".join(f"{name}={brief(part)}" for name, part in settings.items() if name != "cell")
        numbers = ", ".join(f"{name}={value!r}" for name, value in self._numbers().items() if name != "dtype")
        return f"TDLambda({brief(self.cell)}, {numbers}, {parts}, dtype={self.dtype.name!r}, steps={self.steps})"

    def _parts(self) -> dict[str, Any]:
        return {"cell": self.cell, "readout": self.readout, "optimizer": self.optimizer, "gradient": self.gradient}

    def _numbers(self) -> dict[str, Any]:
        return {"n_inputs": self.n_inputs, "gamma": self.gamma, "lambda_": self.lambda_, "dtype": self.dtype.name}
