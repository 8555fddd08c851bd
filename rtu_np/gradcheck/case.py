"""A random sequence, and the value that is differentiated, with the reference gradients."""

from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.layer import Layer
from rtu_np.cells.states import NoState
from rtu_np.gradients.own_past import RFLO, SnAp1
from rtu_np.gradients.rtrl import RTRL
from rtu_np.gradients.tbptt import TBPTT
from rtu_np.numerics.buffers import Pair, allocate, clear, leaves, rebuild, size

EXACT, EXACT_FOR_FIXED, ONE_STEP = "exact", "exact for fixed parameters", "one-step"
TRUNCATED, LAYER_LOCAL = "truncated", "layer-local, approximate"
CORRECTED = "exact for fixed parameters, corrected for its own moves"
DENSE, SPARSE, ZERO = "dense", "every other input zero", "zero"
_KINK, _ROUNDING = 1e-3, 1e-9
_COMPLEX_STEP, _DIFFERENCE = 1e-30, 1e-5
_BEFORE_ZEROS = 3  # steps with inputs, so that there is something to remember
_DRAWS = 30
BY_LAYER = (RTRL, SnAp1, RFLO)  # methods that a stack has layer by layer
_EIGENVALUE = ("nu_log", "theta_log", "nu", "theta", "r")


class NotApplicableError(ValueError):
    """A cell cannot be checked in these conditions."""


class Sequence(NamedTuple):
    """What a layer goes through: how many steps, which inputs, and when it is reset."""

    steps: int
    reset_at: int | None = None
    inputs: str = DENSE
    scale: float = 1.0
    dtype: Any = "float64"  # in which all numbers are representable, so that both sides see the same
    differences: bool = False  # whether finite differences are taken, for which kinks must be far

    def draw(self, t: int, n_inputs: int, rng: np.random.Generator) -> np.ndarray:
        """A random input (n_inputs,) of step `t`."""
        x = self.scale * rng.standard_normal(n_inputs)
        if self.inputs == SPARSE:
            x[t % 2 :: 2] = 0.0
        if self.inputs == ZERO and t >= _BEFORE_ZEROS:
            x[:] = 0.0
        return x.astype(self.dtype)

    def near_kink(self, preactivations: np.ndarray) -> bool:
        """Whether a derivative cannot be checked there. At 0 itself all exact methods take the same side."""
        distance = np.abs(preactivations)
        if self.differences:
            return bool((distance < _KINK).any())
        return bool(((distance < _ROUNDING) & (distance > 0)).any())


class Case:
    """A random sequence, and the value v as the gradient method differentiates it."""

    def __init__(self, layer: Layer, sequence: Sequence, rng: np.random.Generator) -> None:
        gradient: Any = layer.gradient_method
        steps, reset_at = sequence.steps, sequence.reset_at
        self.spec = spec = layer.cell.spec(layer.n_inputs)
        self.layer_local = isinstance(gradient, BY_LAYER) and getattr(gradient, "layer_local", True)
        self.corrected = getattr(gradient, "taylor", False)
        self.compiled = layer.compiled
        self.flat = allocate(size(protocol.parameters, spec), "float64")
        self.params = protocol.parameters(spec, self.flat)[0]
        for name, view in leaves(self.params).items():
            view[...] = layer.parameters[name]
        zero = protocol.state(spec, np.zeros(size(protocol.state, spec)))[0]
        start = rebuild(zero, [self._draw(view.shape, sequence.dtype, rng) for view in leaves(zero).values()])
        self.start = leaves(start)
        self.w = self._draw((layer.n_outputs,), sequence.dtype, rng)
        self.inputs = _inputs(spec, self.params, start, sequence, rng)

        self.begin = reset_at or 0
        if reset_at is not None:
            start = zero
        self.truncated = isinstance(gradient, TBPTT) and gradient.steps < steps - self.begin
        window = gradient.steps if self.truncated else steps - self.begin
        for x in self.inputs[self.begin : steps - window]:
            start, _ = protocol.plain_forward(spec, self.params, start, x)
        self.held, self.window = start, self.inputs[steps - window :]
        self.last = self._state_before_last(self.params)
        self.y = protocol.plain_forward(spec, self.params, self.last, self.inputs[-1])[1]
        readout = {"readout.w": self.w, "readout.b": np.array([rng.standard_normal()])}
        self.arguments = {**leaves(self.params), **readout, "x": self.inputs[-1]}
        self._reversed: dict[int | None, dict[str, np.ndarray]] = {}

    @staticmethod
    def _draw(shape, dtype, rng) -> np.ndarray:
        return rng.standard_normal(shape).astype(dtype).astype(np.float64)

    def _state_before_last(self, params) -> Any:
        # Most of the time of a check is spent here: to look the function up once saves a tenth of it.
        table, spec, state = protocol.plain_forward.table, self.spec, self.held
        forward = table.get(type(spec)) or table[None]
        for x in self.window[:-1]:
            state, _ = forward(spec, params, state, x)
        return state

    def _layer(self, name: str) -> int | None:
        """The layer, counted from below, above which states are held fixed; None if no states are held."""
        if not self.layer_local or not isinstance(self.params, Pair) or name not in leaves(self.params):
            return None
        return int(name.split(".")[0])

    def kind(self, name: str) -> str:
        if name in ("readout.w", "readout.b"):
            return EXACT
        if name == "x":
            return ONE_STEP
        if self.truncated:
            return TRUNCATED if len(self.window) > 1 else ONE_STEP
        layer = self._layer(name)
        if layer is not None and leaves(_above(self.last, layer)):
            return LAYER_LOCAL
        corrected = self.corrected and name.rpartition(".")[2] in _EIGENVALUE
        return CORRECTED if corrected else EXACT_FOR_FIXED

    def value(self, name: str, replaced: np.ndarray) -> Any:
        """v with one block replaced."""
        at = {**self.arguments, name: replaced}
        params, state, layer = self.params, self.last, self._layer(name)
        if name in leaves(self.params):  # the last input and the readout change no state before the last step
            params = rebuild(self.params, [at[leaf] for leaf in leaves(self.params)])
            state = self._state_before_last(params)
        if layer is not None:
            state = _mixed(state, self.last, layer)
        y = protocol.plain_forward(self.spec, params, state, at["x"])[1]
        return y @ at["readout.w"] + at["readout.b"][0]

    def complex_step(self, name: str, direction: np.ndarray) -> float:
        """The derivative of v by one block along `direction`."""
        return self.value(name, self.arguments[name] + 1j * _COMPLEX_STEP * direction).imag / _COMPLEX_STEP

    def difference(self, name: str, direction: np.ndarray) -> float:
        """The same, by a difference of four points."""
        at, h = self.arguments[name], _DIFFERENCE
        near = self.value(name, at + h * direction) - self.value(name, at - h * direction)
        far = self.value(name, at + 2 * h * direction) - self.value(name, at - 2 * h * direction)
        return (8 * near - far) / (12 * h)

    def bptt(self, name: str) -> np.ndarray:
        """The gradient with respect to one block, by reverse mode over the window."""
        if name.startswith("readout."):
            return self.y if name == "readout.w" else np.ones(1)
        layer = self._layer(name)
        if layer not in self._reversed:
            self._reversed[layer] = self._reverse(layer)
        return self._reversed[layer][name]

    def _reverse(self, layer: int | None) -> dict[str, np.ndarray]:
        """The gradient by all parameters and by the last input, with the states above `layer` held fixed."""
        steps, spec = len(self.window), self.spec
        records = np.zeros((steps, size(protocol.record, spec)))
        start, dstate = (allocate(size(protocol.state, spec), "float64") for _ in range(2))
        for view, held in zip(leaves(protocol.state(spec, start)[0]).values(), leaves(self.held).values(), strict=True):
            view[...] = held
        work, out = allocate(size(protocol.work, spec), "float64"), allocate(self.flat.size, "float64")
        dx = np.zeros(spec.n_inputs)
        run_back = self.compiled(_forward_and_backward, spec)
        window = _Window(self.flat, work, start, self.window, records)
        run_back(spec, window, steps - 1, steps, self.w.copy(), (dstate, out, dx))
        dx_last = dx.copy()
        if layer is not None:
            for view in leaves(_above(protocol.state(spec, dstate)[0], layer)).values():
                view[...] = 0
        no_dy = np.zeros_like(self.w)
        run_back(spec, window, 0, steps - 1, no_dy, (dstate, out, dx))
        return {**leaves(protocol.parameters(spec, out)[0]), "x": dx_last}


def _mixed(state: Any, held: Any, layer: int) -> Any:
    """The states of the layers up to `layer`, with those above taken from `held`."""
    if not isinstance(state, Pair):
        return state
    if layer == 0:
        return Pair(state.lower, held.upper)
    return Pair(state.lower, _mixed(state.upper, held.upper, layer - 1))


def _above(state: Any, layer: int) -> Any:
    """The states of the layers above `layer`."""
    if not isinstance(state, Pair):
        return NoState()
    return state.upper if layer == 0 else _above(state.upper, layer - 1)


def _inputs(spec: Any, params: Any, state: Any, sequence: Sequence, rng: np.random.Generator) -> np.ndarray:
    """(steps, n_inputs): each the best of several random inputs. It keeps all units away from kinks, and silences the
    fewest."""
    inputs = np.zeros((sequence.steps, spec.n_inputs))
    for t in range(sequence.steps):
        alive = -1
        for _ in range(_DRAWS):
            x = sequence.draw(t, spec.n_inputs, rng)
            near = sequence.near_kink(protocol.preactivations(spec, params, state, x))
            after, y = protocol.plain_forward(spec, params, state, x)
            if not near and np.count_nonzero(y) > alive:
                alive, inputs[t], chosen = int(np.count_nonzero(y)), x, after
            if alive == y.size or (alive >= 0 and not x.any()):
                break
        if alive < 0:
            raise NotApplicableError(
                f"cell has a unit within {_KINK} of the kink of its activation for each of {_DRAWS} random inputs, and "
                "no derivative can be checked there: expected fewer units, or more inputs if the cell is a LayerNorm"
            )
        state = chosen
    return inputs


class _Window(NamedTuple):
    """The steps that reverse mode goes through, as flat arrays."""

    params: np.ndarray
    work: np.ndarray
    start: np.ndarray  # the state before the first step
    inputs: np.ndarray  # (steps, n_inputs)
    records: np.ndarray  # (steps, ...)   written


def _forward_and_backward(spec, window, first, stop, dy, adjoints):
    """The whole window forward, then reverse mode from step stop - 1, with `dy`, back to `first`.

    adjoints : flat arrays of dL/dstate and dL/dparameters, and dx.
    """
    inputs, start, records = window.inputs, window.start, window.records
    params, _ = protocol.parameters(spec, window.params)
    work, _ = protocol.work(spec, window.work)
    protocol.prepare(spec, params, work)
    for t in range(inputs.shape[0]):
        state_tm1, _ = protocol.state(spec, start if t == 0 else records[t - 1])
        record, _ = protocol.record(spec, records[t])
        protocol.forward(spec, params, work, state_tm1, inputs[t], record)
    flat_dstate, flat_out, dx = adjoints
    adjoint = protocol.Adjoint(protocol.state(spec, flat_dstate)[0], protocol.parameters(spec, flat_out)[0], dx)
    for t in range(stop - 1, first - 1, -1):
        state_tm1, _ = protocol.state(spec, start if t == 0 else records[t - 1])
        record, _ = protocol.record(spec, records[t])
        protocol.backward(spec, params, work, state_tm1, inputs[t], record, dy, adjoint)
        clear(dy)
