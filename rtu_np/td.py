"""Streaming TD(lambda): a prediction learned on every step of a stream.

With `x_t` the observation and `c_t` the cumulant that came with it, v_t predicts c_{t+1} + gamma_{t+1} c_{t+2} + ...
One step (derivations (18)-(20); Sutton 1988, with accumulating traces):

    v_tm1 = readout(y_tm1)                            with the readout as it stands now
    y_t   = cell(x_t);  v_t = readout(y_t)
    delta = c_t + gamma_t v_t - v_tm1
    params <- params + step(delta) traces             the traces still hold the gradients up to t-1
    traces <- gamma_t lambda traces + grad v_t        with the parameters that made v_t

Termination: the step learns with v_t = 0, then memory and traces are cleared. Truncation: it learns with gamma_t v_t,
then they are cleared. The first step after a clear has no v_tm1: it ignores c_t and learns nothing. A discount of 0
cuts the bootstrap and the traces, and keeps the memory.
"""

import os
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from rtu_np import cells, checkpoint, optimizers, readout
from rtu_np.buffers import allocate, clear, copy, finite, size, vector
from rtu_np.cells.layer import Cell, GradientMethod, check_parameters, initial_parameters
from rtu_np.cells.linear_rtu import LinearRTU
from rtu_np.cells.nonlinear_rtu import NonlinearRTU
from rtu_np.gradients.rtrl import RTRL
from rtu_np.jit import compile_for, kernel
from rtu_np.optimizers import SGD, Adam, ObGD, Optimizer, RMSProp
from rtu_np.validation import check_array, check_count, check_dtype, check_finite, check_real

_KNOWN: dict[str, Any] = {kind.__name__: kind for kind in (LinearRTU, NonlinearRTU, SGD, Adam, RMSProp, ObGD, RTRL)}
_STAGE = 1 << 16  # elements of observations that one compiled call reads

CONTINUES, TERMINATED, TRUNCATED = 0, 1, 2
REFUSED = -1


# --------------------------------------------------------------------------------------------------------- kernels


class TDSpec(NamedTuple):
    cell: Any
    optimizer: Any
    lambda_: float


class Weights(NamedTuple):
    cell: Any
    readout: readout.LinearReadout


class TDBuffers(NamedTuple):
    params: Weights
    traces: Weights
    flat_params: np.ndarray
    flat_traces: np.ndarray
    moments: Any
    memory: Any
    flat_memory: np.ndarray
    dy: np.ndarray  # d v_t / d y_t


@kernel
def _weights(spec, flat):
    params, flat = cells.parameters(spec.cell, flat)
    read, flat = readout.linear_readout(spec.cell.n_outputs, flat)
    return Weights(params, read), flat


@kernel
def buffers(spec, flat):
    """Carve all that a TD(lambda) learner holds off one flat array: (views, rest)."""
    params, rest = _weights(spec, flat)
    flat_params = flat[: flat.shape[0] - rest.shape[0]]
    n_weights = flat_params.shape[0]
    traces, after = _weights(spec, rest)
    flat_traces = rest[:n_weights]
    moments, after = optimizers.moments(spec.optimizer, n_weights, after)
    memory, rest = cells.memory(spec.cell, after)
    flat_memory = after[: after.shape[0] - rest.shape[0]]
    dy, rest = vector(rest, spec.cell.n_outputs)
    return TDBuffers(params, traces, flat_params, flat_traces, moments, memory, flat_memory, dy), rest


def _run(spec, flat, clock, observations, signals, predictions, n_steps):
    """Learn from `n_steps` steps. Returns how many were made: fewer where a prediction came out non-finite, and
    REFUSED, with nothing changed, where an input is not finite or the parameters are degenerate.

    signals (at least n_steps, 3): cumulant, discount, and how the step ends. predictions: written.
    """
    b, _ = buffers(spec, flat)
    params, traces, memory = b.params, b.traces, b.memory
    if cells.degenerate(spec.cell, params.cell) or not (finite(observations, n_steps) and finite(signals, n_steps)):
        return REFUSED
    lambda_ = flat.dtype.type(spec.lambda_)
    nothing = flat.dtype.type(0)
    for t in range(n_steps):
        cumulant, discount, end = signals[t, 0], signals[t, 1], signals[t, 2]
        v_tm1 = readout.value(params.readout, memory.y)
        cells.move(spec.cell, params.cell, memory, observations[t])
        v_t = readout.value(params.readout, memory.y)
        if not np.isfinite(v_t):
            return t
        if end == TERMINATED:
            v_t = nothing
        delta = cumulant + discount * v_t - v_tm1
        if clock[1]:
            delta = nothing
        copy(params.readout.w, b.dy)
        scale = optimizers.scale(spec.optimizer, b.flat_traces, delta)
        if not clock[1]:
            optimizers.update(spec.optimizer, b.flat_params, b.flat_traces, b.moments, delta)
        decay = discount * lambda_
        cells.learn(spec.cell, params.cell, traces.cell, memory, b.dy, decay, scale)
        readout.learn(params.readout, traces.readout, memory.y, decay, scale)
        clock[0] += 1
        clock[1] = end != CONTINUES
        if end != CONTINUES:
            clear(b.flat_memory)
            clear(b.flat_traces)
        predictions[t] = v_t
    return n_steps


def _predict(spec, flat, states, observations, predictions, n_steps):
    """Predictions for `n_steps` steps from the state in states[0], which is brought along; states[1] is scratch."""
    b, _ = buffers(spec, flat)
    state_tm1, _ = cells.state(spec.cell, states[0])
    state_t, _ = cells.state(spec.cell, states[1])
    y_t = states[2, : spec.cell.n_outputs]
    for t in range(n_steps):
        cells.forward(spec.cell, b.params.cell, state_tm1, observations[t], state_t, y_t)
        predictions[t] = readout.value(b.params.readout, y_t)
        copy(states[1], states[0])


# --------------------------------------------------------------------------------------------------------- learner


class TDLambda:
    """Streaming TD(lambda) with accumulating traces on a recurrent cell and a linear readout.

    Parameters
    ----------
    cell : `LinearRTU(16)` or any other cell
    n_inputs : width d of an observation
    gamma : discount, in [0, 1], of steps that do not bring their own
    lambda_ : trace parameter, in [0, 1]
    optimizer : SGD, Adam (the default), RMSProp or ObGD
    gradient : how the gradient travels through time; RTRL() by default
    seed : of the starting parameters; the same seed gives the same bits
    dtype : "float64" or "float32"

    Raises
    ------
    ValueError, TypeError : by name, for an argument out of its range or of the wrong type
    FloatingPointError : in `step` and `run`, where learning diverges

    Examples
    --------
    >>> learner = TDLambda(LinearRTU(8), n_inputs=2, gamma=0.5)
    >>> learner.step([1.0, 0.0], 0.0)
    0.0
    >>> learner.run(np.ones((100, 2)), np.ones(100), progress=False).shape
    (100,)
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
    ) -> None:
        if not isinstance(cell, Cell):
            raise TypeError(f"cell is {cell!r}: expected a cell such as LinearRTU(16)")
        self.cell = cell
        self.optimizer = optimizer or Adam()
        self.gradient = gradient or RTRL()
        if not hasattr(self.optimizer, "spec"):
            raise TypeError(f"optimizer is {optimizer!r}: expected one such as Adam(1e-3)")
        if not hasattr(self.gradient, "spec"):
            raise TypeError(f"gradient is {gradient!r}: expected one such as RTRL()")
        self.n_inputs = check_count("n_inputs", n_inputs)
        self.gamma = check_real("gamma", gamma, low=0.0, high=1.0)
        self.lambda_ = check_real("lambda_", lambda_, low=0.0, high=1.0)
        self.dtype = check_dtype("dtype", dtype)

        cell_spec = self.gradient.spec(cell.spec(n_inputs))
        self._spec = TDSpec(cell_spec, self.optimizer.spec(), self.lambda_)
        self._flat = allocate(size(buffers, self._spec), self.dtype)
        self._clock = np.array([0, 1])  # steps so far; whether the next is the first after a clear
        self._states = np.zeros((3, max(size(cells.state, cell_spec), cell_spec.n_outputs)), self.dtype)
        initial = initial_parameters(cell, cell_spec, np.random.default_rng(seed), self.dtype)
        self._flat[: initial.size] = initial

        rows = max(64, _STAGE // n_inputs)
        self._observations = np.zeros((rows, n_inputs), self.dtype)
        self._signals = np.zeros((rows, 3), self.dtype)
        self._predictions = np.zeros(rows, self.dtype)
        self._x, self._signal = self._observations[0], self._signals[0]
        staged = (self._observations, self._signals, self._predictions)
        self._arguments = (self._spec, self._flat, self._clock, *staged)
        self._compiled_run = compile_for(_run, cell_spec, self._spec.optimizer)
        self._compiled_predict = compile_for(_predict, cell_spec, self._spec.optimizer)

    # ------------------------------------------------------------------------------------------------- learning

    def step(
        self, x: Any, c: float, discount: float | None = None, terminated: bool = False, truncated: bool = False
    ) -> float:
        """Learn from one step; returns v_t (0 where terminated).

        Parameters
        ----------
        x : (n_inputs,) the observation
        c : the cumulant that came with it
        discount : of this step, in place of gamma
        terminated, truncated : whether this observation ends an episode, and how; where both, it has terminated
        """
        # What costs time to check from Python, the compiled step checks: it refuses, and then the reason is found.
        plain = type(x) is np.ndarray and x.shape == self._x.shape and x.dtype.kind in "fiub"
        self._x[:] = x if plain else check_array("x", x, self._x.shape)
        signal = self._signal
        signal[0] = c if type(c) is float else check_real("c", c)
        signal[1] = self.gamma if discount is None else check_real("discount", discount, low=0.0, high=1.0)
        signal[2] = TERMINATED if terminated else TRUNCATED if truncated else CONTINUES
        done = self._compiled_run(*self._arguments, 1)
        if done < 1:
            if done == REFUSED:
                check_finite("x", self._x)
                check_real("c", float(signal[0]))
            self._explain(done)
        return self._predictions.item(0)

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
        cumulants, discounts, terminated, truncated : (T,) as of `step`; the last three may be left out
        progress : whether a run of more than a second shows a bar on a terminal
        """
        observations = check_array(
            "observations", observations, (None, self.n_inputs), hint="one row per step", dtype=self.dtype
        )
        n_steps = observations.shape[0]
        if n_steps == 0:
            raise ValueError(f"observations has shape {observations.shape}: expected at least one step")
        hint = f"as many as observations has rows ({n_steps})"
        cumulants = check_array("cumulants", cumulants, (n_steps,), hint=hint, dtype=self.dtype)
        if discounts is None:
            discounts = np.broadcast_to(self.gamma, n_steps)
        else:
            discounts = check_array("discounts", discounts, (n_steps,), hint=hint, interval=(0, 1))
        ends = np.full(n_steps, CONTINUES)
        for name, flags, code in (("truncated", truncated, TRUNCATED), ("terminated", terminated, TERMINATED)):
            if flags is not None:
                ends[check_array(name, flags, (n_steps,), hint=hint).astype(bool)] = code
        self._check_parameters()

        predictions = np.empty(n_steps, self.dtype)
        bar = tqdm(total=n_steps, disable=None if progress else True, delay=1, unit="step", unit_scale=True)
        with bar:
            for start in range(0, n_steps, len(self._predictions)):
                rows = slice(start, min(start + len(self._predictions), n_steps))
                n = rows.stop - rows.start
                self._observations[:n] = observations[rows]
                for k, signal in enumerate((cumulants, discounts, ends)):
                    self._signals[:n, k] = signal[rows]
                done = self._compiled_run(*self._arguments, n)
                if done < n:
                    self._explain(done)
                predictions[rows] = self._predictions[:n]
                bar.update(n)
        if not np.isfinite(self._views.flat_params).all():
            self._explain(n_steps)
        return predictions

    def _explain(self, done: int) -> None:
        """Raise the error for a compiled run that stopped short."""
        if done == REFUSED:
            self._check_parameters()
        raise FloatingPointError(
            f"learning diverged by step {self.steps}: predictions or parameters are no longer finite. A smaller step "
            "size, or ObGD, which bounds its steps, is the usual cure. To go on, load a checkpoint saved earlier."
        )

    # ------------------------------------------------------------------------------------------------ prediction

    def predict(self, x: Any, reset: bool = False) -> Any:
        """Predict without learning, with a memory of its own that `step` and `run` do not touch.

        Parameters
        ----------
        x : (n_inputs,) one observation, or (T, n_inputs) a stretch of stream
        reset : whether to forget what earlier calls have seen

        Returns
        -------
        float, or (T,) array
        """
        x = np.asarray(x)
        stretch = check_array("x", x[None] if x.ndim == 1 else x, (None, self.n_inputs), hint="or one observation")
        self._check_parameters()
        if reset:
            self._states[:] = 0
        predictions = np.empty(len(stretch), self.dtype)
        for start in range(0, len(stretch), len(self._predictions)):
            rows = stretch[start : start + len(self._predictions)]
            self._observations[: len(rows)] = rows
            arguments = (self._states, self._observations, self._predictions, len(rows))
            self._compiled_predict(self._spec, self._flat, *arguments)
            predictions[start : start + len(rows)] = self._predictions[: len(rows)]
        return predictions[0].item() if x.ndim == 1 else predictions

    # ----------------------------------------------------------------------------------------------------- state

    @property
    def _views(self) -> TDBuffers:
        return buffers(self._spec, self._flat)[0]

    def _check_parameters(self) -> None:
        check_parameters(self._spec.cell, self._views.params.cell)

    @property
    def steps(self) -> int:
        """Steps learned from so far."""
        return int(self._clock[0])

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """{name: writable view} of the cell's parameters and the readout's w (n_outputs,) and b (1,)."""
        params = self._views.params
        return {**params.cell._asdict(), **params.readout._asdict()}

    @property
    def traces(self) -> dict[str, np.ndarray]:
        """{name: writable view} of the eligibility traces, named as the parameters are."""
        traces = self._views.traces
        return {**traces.cell._asdict(), **traces.readout._asdict()}

    def reset(self) -> None:
        """Forget the stream: memory, traces and the memory of `predict` are cleared; what was learned stays."""
        self._views.flat_memory[:] = 0
        self._views.flat_traces[:] = 0
        self._states[:] = 0
        self._clock[1] = 1

    def save(self, path: str | os.PathLike) -> None:
        """Write everything to `path`, so that `load` continues in mid-stream, bit for bit."""
        parts: dict[str, Any] = {"cell": self.cell, "optimizer": self.optimizer, "gradient": self.gradient}
        settings = {role: checkpoint.describe(part) for role, part in parts.items()}
        numbers = {"n_inputs": self.n_inputs, "gamma": self.gamma, "lambda_": self.lambda_, "dtype": self.dtype.name}
        checkpoint.save(path, {"learner": "TDLambda", **settings, **numbers}, self._arrays())

    @classmethod
    def load(cls, path: str | os.PathLike, cell: Cell | None = None, optimizer: Optimizer | None = None) -> "TDLambda":
        """The learner that was saved at `path`.

        `cell` and `optimizer` are needed only where they are not this package's own: a file cannot bring code along.
        """
        settings, arrays = checkpoint.load(path)
        if settings.pop("learner", None) != "TDLambda":
            raise ValueError(f"path {os.fspath(path)!r} is not a checkpoint of TDLambda: is it another learner's?")
        try:
            parts = {
                "cell": cell or checkpoint.build(_KNOWN, "cell", **settings["cell"]),
                "optimizer": optimizer or checkpoint.build(_KNOWN, "optimizer", **settings["optimizer"]),
                "gradient": checkpoint.build(_KNOWN, "gradient", **settings["gradient"]),
            }
            numbers = {name: settings[name] for name in ("n_inputs", "gamma", "lambda_", "dtype")}
            learner = cls(**parts, **numbers)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"path {os.fspath(path)!r} holds settings that cannot be built: {error}") from error
        checkpoint.restore(path, learner._arrays(), arrays)
        return learner

    def _arrays(self) -> dict[str, np.ndarray]:
        """{dotted name: view} of all that changes while learning."""
        views = self._views
        parts = {"params": views.params, "traces": views.traces, "moments": views.moments, "memory": views.memory}
        named = [checkpoint.named_arrays(part, f"{name}.") for name, part in parts.items()]
        own = {"clock": self._clock, "prediction": self._states}
        return {name: array for group in (*named, own) for name, array in group.items()}
