"""Streaming TD(lambda): a prediction is learned on every step of a stream. `td_kernels` has the compiled step."""

import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import numpy as np

from rtu_np.cells.layer import Cell, GradientMethod, check_cell, check_gradient
from rtu_np.interrupts import HoldCtrlC
from rtu_np.jit import compile_for, entry
from rtu_np.learning import network
from rtu_np.learning.diagnostics import Watch
from rtu_np.learning.network import forward_arrays, network_arrays
from rtu_np.learning.optimizers import Adam, Optimizer, check_optimizer, cure_of_divergence
from rtu_np.learning.outcomes import (
    CONTINUES,
    END,
    LOOK_EVERY,
    PAUSED,
    REFUSED,
    TERMINATED,
    TRUNCATED,
    how_it_ends,
)
from rtu_np.learning.readout import LinearReadout, Readout, check_readout
from rtu_np.numerics.buffers import allocate, size
from rtu_np.prediction.learner import Learner
from rtu_np.prediction.scale import ENOUGH, watched
from rtu_np.prediction.td_kernels import CUMULANT, DISCOUNT, paused, predict, run
from rtu_np.progress import compiling, progress_bar, silent_unless
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
_FIRST, _BRIEF = 16, 0.1  # steps of the first compiled call; seconds of a call, after which the next call is not longer


class TDLambda(Learner):
    """Streaming TD(lambda) with accumulating traces on a recurrent cell and a readout (derivations (18)-(20)).

    v_t predicts c_{t+1} + gamma c_{t+2} + gamma^2 c_{t+3} + ..., in units of the cumulant c.

    Parameters
    ----------
    cell : `LinearRTU(16)` or any other cell
    n_inputs : width d of an observation
    gamma : discount per step, in [0, 1]; `step` and `run` can override it
    lambda_ : trace parameter, in [0, 1]
    optimizer : SGD, Adam, RMSProp or ObGD; Adam(3e-4) by default
    gradient : how the gradient travels through time; RTRL() by default
    readout : LinearReadout() (the default) or HiddenReadout(n)
    seed : of the starting parameters; the same seed gives the same bits. None for fresh entropy
    dtype : "float64" or "float32"

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

    def __init__(
        self,
        cell: Cell,
        n_inputs: int,
        gamma: float = 0.9,
        lambda_: float = 0.9,
        optimizer: Optimizer | None = None,
        gradient: GradientMethod | None = None,
        seed: int | None = 0,
        dtype: Any = "float64",
        readout: Readout | None = None,
    ) -> None:
        self.cell = check_cell(cell)
        self.optimizer = check_optimizer("optimizer", Adam(3e-4) if optimizer is None else optimizer)
        self.gradient = check_gradient(gradient)
        self.readout = check_readout(LinearReadout() if readout is None else readout)
        self.n_inputs = n_inputs = check_count("n_inputs", n_inputs)
        self.gamma = check_real("gamma", gamma, low=0.0, high=1.0)
        self.lambda_ = check_real("lambda_", lambda_, low=0.0, high=1.0)
        self.dtype = check_dtype("dtype", dtype)

        cell_spec = self.gradient.spec(cell.spec(n_inputs), self.dtype)
        readout_spec = self.readout.spec(cell_spec.n_outputs)
        training = network.Training(self.optimizer, self.gamma, self.lambda_, self.dtype)
        self._spec = network.network_spec(cell_spec, readout_spec, training, either=True)
        self._flat = allocate(size(network_arrays, self._spec), self.dtype)
        self._clock = np.array([0, 1])  # steps so far; whether the next is the first after a clear
        self._prediction = allocate(size(forward_arrays, self._spec), self.dtype)
        network.initialise(self._views, self._spec, cell, self.readout, check_seed("seed", seed))

        # Arguments of compiled code: for a stretch of stream, for one step, and without learning.
        rows = max(64, _STAGE // n_inputs)
        self._observations, self._signals, self._predictions = self._stage(rows)
        self._to_run = (self._spec, self._flat, self._clock, self._observations, self._signals, self._predictions)
        observations, signals, prediction = self._stage(1)
        self._to_step = (self._spec, self._flat, self._clock, observations, signals, prediction, 1)
        (self._x,), (self._signal,), self._shape = observations, signals, (n_inputs,)
        self._prediction_made = prediction.item
        self._watch = Watch()
        self._to_predict = (self._spec, self._flat, self._prediction, self._observations, self._predictions)

    def _stage(self, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Arrays for the observations, signals and predictions of `rows` steps."""
        return tuple(np.zeros(shape, self.dtype) for shape in ((rows, self.n_inputs), (rows, 3), rows))  # type: ignore

    @cached_property
    def _run(self) -> Callable:
        with compiling(f"{type(self).__name__} with {type(self.cell).__name__}"):
            compiled = entry(compile_for(run, self._spec), *self._to_step)
        return compiled if self.steps >= ENOUGH else watched(compiled, partial(setattr, self, "_run"))

    def compile(self) -> None:
        """Compile `step` and `run`, if they have not been compiled."""
        self._run  # noqa: B018

    @cached_property
    def _predict(self) -> Callable:
        with compiling(f"predict of {type(self).__name__} with {type(self.cell).__name__}"):
            return entry(compile_for(predict, self._spec), *self._to_predict, 1)

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
        ValueError, TypeError : if an argument or the parameters are not usable; nothing has changed
        FloatingPointError : if learning diverges
        """
        # Cheap checks happen here. The compiled step does the others; if it returns REFUSED, we look for the reason.
        x_t, signal = self._x, self._signal
        plain = type(x) is np.ndarray and x.shape == self._shape and (x.dtype is self.dtype or x.dtype.char in PLAIN)
        try:
            x_t[...] = x if plain else check_array("x", x, self._shape)
            signal[CUMULANT] = c if isinstance(c, float) else check_number("c", c, dtype=self.dtype)
            signal[DISCOUNT] = (
                self.gamma if discount is None else check_number("discount", discount, interval=(0.0, 1.0))
            )
        except (FloatingPointError, RuntimeWarning):  # of a conversion to float32, if NumPy's or Python's are errors
            with np.errstate(all="ignore"):  # takes 0.6 us, so it is not in the way of other steps
                return self.step(x, c, discount, terminated, truncated)
        signal[END] = how_it_ends(terminated, truncated) if terminated or truncated else CONTINUES
        done = self._run(*self._to_step)
        if done < 1:
            if done == REFUSED:
                check_array("x", x, self._shape, dtype=self.dtype)
                check_number("c", c, dtype=self.dtype)
            if done != PAUSED:
                self._explain(done)
            self._between_steps()
        return self._prediction_made()

    def run(
        self,
        observations: Any,
        cumulants: Any,
        discounts: Any = None,
        terminated: Any = None,
        truncated: Any = None,
        progress: bool = True,
    ) -> np.ndarray:
        """Learn from T steps in compiled code: the same steps as `step`, to the bit. Returns the predictions (T,).

        Parameters
        ----------
        observations : (T, n_inputs)
        cumulants, discounts, terminated, truncated : (T,), as in `step`; the last three are optional
        progress : whether a run of more than a second shows a bar, on a terminal or in a notebook; compiling is said
            there, too

        Ctrl-C stops between steps, within about a second. The KeyboardInterrupt carries the predictions so far as
        `result` (t,), and `run` with the rows from t on continues, to the bit. FloatingPointError carries them, too.
        """
        stream = self.check_stream(observations, cumulants, discounts, terminated, truncated)
        with silent_unless(progress):
            self.compile()
        predictions, began = np.empty(len(stream[0]), self.dtype), self.steps
        with (
            HoldCtrlC(lambda: predictions[: self.steps - began]) as ctrl_c,
            progress_bar(len(predictions), progress, delay=1, unit="step", unit_scale=True) as bar,
        ):
            for n in self.learn_from(stream, predictions):
                bar.update(n)
                if ctrl_c.asked:
                    ctrl_c.stop()
        return predictions

    def check_stream(
        self, observations: Any, cumulants: Any, discounts: Any = None, terminated: Any = None, truncated: Any = None
    ) -> tuple[np.ndarray, ...]:
        """The arguments of `run` as arrays for `learn_from`. ValueError or TypeError names the argument at fault."""
        rows = "one row per step" + (
            "; observations.reshape(-1, 1) makes rows of one number" if self.n_inputs == 1 else ""
        )
        observations = check_array("observations", observations, (None, self.n_inputs), hint=rows, dtype=self.dtype)
        n_steps = observations.shape[0]
        if n_steps == 0:
            raise ValueError(f"observations has shape {observations.shape}: expected at least one step")
        hint = f"as many as observations has rows ({n_steps})"
        cumulants = check_array("cumulants", cumulants, (n_steps,), hint=hint, dtype=self.dtype)
        if discounts is None:
            discounts = np.broadcast_to(check_array("gamma", self.gamma, (), dtype=self.dtype), n_steps)
        else:
            discounts = check_array("discounts", discounts, (n_steps,), hint=hint, dtype=self.dtype, interval=(0, 1))
        ends = np.full(n_steps, CONTINUES)
        for name, flags, code in (("truncated", truncated, TRUNCATED), ("terminated", terminated, TERMINATED)):
            if flags is not None:
                ends[check_array(name, flags, (n_steps,), hint=hint).astype(bool)] = code
        self._check_parameters()
        return observations, cumulants, discounts, ends

    def learn_from(self, stream: tuple[np.ndarray, ...], predictions: np.ndarray) -> Iterator[int]:
        """Learn from a checked stream. Yields the number of steps of each stretch, once `predictions` (T,) has them.

        A stretch takes about a tenth of a second, so that Ctrl-C is heard.
        """
        observations, *signals = stream
        n_steps, start, most = len(observations), 0, _FIRST
        if hasattr(self._run, "include"):
            self._run.include(*stream[:2])
        while start < n_steps:
            n = min(most, n_steps - start, LOOK_EVERY - self.steps % LOOK_EVERY)
            rows = slice(start, start + n)
            self._observations[:n] = observations[rows]
            for slot, signal in zip((CUMULANT, DISCOUNT, END), signals, strict=True):
                self._signals[:n, slot] = signal[rows]
            began = time.perf_counter()
            done = self._run(*self._to_run, n)
            most = min(2 * most, len(self._predictions)) if time.perf_counter() - began < _BRIEF else -(-most // 2)
            made = paused(done) if done <= PAUSED else done
            if made > 0:
                predictions[start : start + made] = self._predictions[:made]
            if done <= PAUSED:
                self._between_steps()
            elif done < n:
                self._explain(done)
            start += made
            yield made
        if not np.isfinite(self._views.flat_params).all():
            self._explain(n_steps)

    def _explain(self, done: int) -> None:
        """Raise the error for a compiled run that stopped early."""
        if done == REFUSED:
            self._check_parameters()
        raise FloatingPointError(
            f"learning diverged by step {self.steps}: predictions or parameters are no longer finite. The usual cure "
            f"is {cure_of_divergence(self.optimizer)}. To go on, load a checkpoint saved earlier."
        )

    # ------------------------------------------------------------------------------------------------ prediction

    def predict(self, x: Any, reset: bool = False) -> Any:
        """Predict without learning. `predict` has a memory of its own that `step` and `run` do not touch.

        Parameters
        ----------
        x : (n_inputs,) one observation, or (T, n_inputs) a stretch of stream
        reset : whether to clear that memory first

        Returns
        -------
        float, or (T,) array
        """
        one = count_dimensions("x", x) == 1
        shape = self._shape if one else (None, self.n_inputs)
        stretch = check_array("x", x, shape, hint="or one observation", dtype=self.dtype).reshape(-1, self.n_inputs)
        self._check_parameters()
        if reset:
            self._prediction[:] = 0
        predictions = np.empty(len(stretch), self.dtype)
        for start in range(0, len(stretch), len(self._predictions)):
            rows = stretch[start : start + len(self._predictions)]
            self._observations[: len(rows)] = rows
            self._predict(*self._to_predict, len(rows))
            predictions[start : start + len(rows)] = self._predictions[: len(rows)]
        return predictions[0].item() if one else predictions

    # ----------------------------------------------------------------------------------------------------- state

    @property
    def bytes_staged(self) -> int:
        """Bytes of the rows that carry a stream into compiled code."""
        return self._observations.nbytes + self._signals.nbytes + self._predictions.nbytes

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={brief(part)}" for name, part in self._parts().items() if name != "cell")
        numbers = f"n_inputs={self.n_inputs}, gamma={self.gamma}, lambda_={self.lambda_}"
        return f"TDLambda({brief(self.cell)}, {numbers}, {parts}, dtype={self.dtype.name!r}, steps={self.steps})"

    def _parts(self) -> dict[str, Any]:
        return {"cell": self.cell, "readout": self.readout, "optimizer": self.optimizer, "gradient": self.gradient}

    def _numbers(self) -> dict[str, Any]:
        return {"n_inputs": self.n_inputs, "gamma": self.gamma, "lambda_": self.lambda_, "dtype": self.dtype.name}
