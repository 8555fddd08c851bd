"""Check the hand-written gradient of any cell against three methods that share no derivative with it.

The quantity is v = w . y_T + b, a random readout of the last of T steps, from a random non-zero start and random
inputs.

BPTT                  backpropagation through time: the cell's reverse mode, back over the whole sequence
complex step          Im v(p + i h) / h with h = 1e-30, through the plain NumPy step: no cancellation, exact to rounding
central differences   four points, p - 2h to p + 2h with h = 1e-5, through the same step: good for six digits, and
                      simple enough to be trusted without proof

They differentiate the quantity that the gradient method claims to carry; each row of the report names its kind. A
truncated method holds the state before its window fixed. Layer-local real-time recurrent learning (RTRL) of a stack
holds the states fixed that the layers above have from earlier steps. Steps before a reset do not count.

Errors are relative to the largest entry of the expected array. If the activation function has a kink, the inputs are
drawn so that no unit is near it.

A recurrence that is written as a plain function, with a gradient of its own, is checked by `check_recurrence`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol, tables
from rtu_np.cells.layer import Cell, GradientMethod, Layer, check_cell, check_gradient
from rtu_np.cells.states import NoState
from rtu_np.gradients.rtrl import RTRL
from rtu_np.gradients.tbptt import TBPTT
from rtu_np.jit import compile_for
from rtu_np.numerics.buffers import Pair, allocate, clear, leaves, rebuild, size
from rtu_np.validation import brief, check_count, check_seed

EXACT, EXACT_FOR_FIXED, ONE_STEP = "exact", "exact for fixed parameters", "one-step"
TRUNCATED, LAYER_LOCAL = "truncated", "layer-local, approximate"
TOLERANCE = {"float64": 1e-11, "float32": 1e-4}  # against BPTT and complex step
TOLERANCE_DIFFERENCES = {"float64": 1e-6, "float32": 1e-4}
_KINK = 1e-3
_DRAWS = 30
_COMPLEX_STEP = 1e-30
_DIFFERENCE = 1e-5


@dataclass(frozen=True)
class BlockCheck:
    """Errors of the gradient of one parameter block, relative to the largest entry of what was expected."""

    block: str
    size: int
    kind: str
    bptt: float
    complex_step: float
    central_differences: float


@dataclass(frozen=True)
class GradientReport:
    """Result of `check_gradients`; `print` it, or assert `passed`."""

    title: str
    blocks: tuple[BlockCheck, ...]
    tolerance: float
    tolerance_differences: float

    @property
    def max_error(self) -> float:
        """The largest error against BPTT and complex step."""
        return max(max(block.bptt, block.complex_step) for block in self.blocks)

    @property
    def passed(self) -> bool:
        differences = max(block.central_differences for block in self.blocks)
        return self.max_error <= self.tolerance and differences <= self.tolerance_differences

    def _rows(self) -> list[list[str]]:
        rows = [["block", "size", "kind of gradient", "BPTT", "complex step", "differences"]]
        for b in self.blocks:
            errors = [f"{error:.1e}" for error in (b.bptt, b.complex_step, b.central_differences)]
            rows.append([b.block, str(b.size), b.kind, *errors])
        return rows

    def _verdict(self) -> str:
        return (
            f"{'passed' if self.passed else 'FAILED'}: largest error {self.max_error:.1e}, allowed "
            f"{self.tolerance:.0e} (differences {self.tolerance_differences:.0e})"
        )

    def __str__(self) -> str:
        return tables.as_text(self.title, self._rows(), "<><>>>", self._verdict())

    def _repr_html_(self) -> str:
        """The same table, for notebooks."""
        return tables.as_html(self.title, self._rows(), self._verdict())


def check_gradients(
    cell: Cell,
    n_inputs: int = 3,
    steps: int = 60,
    gradient: GradientMethod | None = None,
    seed: int = 0,
    dtype: Any = "float64",
    reset_at: int | None = None,
) -> GradientReport:
    """Compare the gradient that `cell` carries through time with BPTT, complex step and central differences.

    Parameters
    ----------
    cell : any cell, also one of your own
    n_inputs : width of the input
    steps : length of the sequence
    gradient : how the gradient travels through time; RTRL() by default
    seed : of parameters, start, inputs and readout
    dtype : of the gradient under test; the three others are float64
    reset_at : the layer is reset before this step, in [1, steps); by default it is not

    Returns
    -------
    GradientReport : errors by parameter block, input and readout

    Raises
    ------
    ValueError, TypeError : by name, for an argument out of its range or of the wrong type, and if every input brings a
        unit near a kink

    Examples
    --------
    >>> from rtu_np import LinearRTU
    >>> check_gradients(LinearRTU(4), n_inputs=3).passed
    True
    """
    n_inputs = check_count("n_inputs", n_inputs)
    check_count("steps", steps)
    if reset_at is not None and check_count("reset_at", reset_at) >= steps:
        raise ValueError(f"reset_at is {reset_at!r}: expected a number less than steps, {steps}")
    gradient = check_gradient(gradient)
    rng = check_seed("seed", seed)
    layer = check_cell(cell).build(n_inputs, gradient, seed, dtype)
    case = _Case(cell.spec(n_inputs), gradient, layer, steps, reset_at, rng)

    for name, view in layer.state.items():
        view[...] = case.start[name]
    for t, x in enumerate(case.inputs):
        if t == reset_at:
            layer.reset()
        y = layer.advance(x)
    carried = {**layer.gradient(case.w), "x": layer.input_gradient(case.w), "readout.w": y, "readout.b": np.ones(1)}

    blocks = []
    for name, at in case.arguments.items():
        complex_step = _entrywise(
            at, lambda e, n=name, a=at: case.value(n, a + 1j * _COMPLEX_STEP * e).imag / _COMPLEX_STEP
        )

        def difference(e, name=name, at=at):
            h = _DIFFERENCE
            near = case.value(name, at + h * e) - case.value(name, at - h * e)
            far = case.value(name, at + 2 * h * e) - case.value(name, at - 2 * h * e)
            return (8 * near - far) / (12 * h)

        expected = (case.bptt(name), complex_step, _entrywise(at, difference))
        blocks.append(BlockCheck(name, at.size, case.kind(name), *(_error(carried[name], e) for e in expected)))
    reset = "" if reset_at is None else f", reset before step {reset_at}"
    return GradientReport(
        f"Gradient of {brief(cell)}, {n_inputs} inputs, by {brief(gradient)}: {steps} steps{reset}, "
        f"{layer.dtype.name}, seed {seed}",
        tuple(blocks),
        TOLERANCE[layer.dtype.name],
        TOLERANCE_DIFFERENCES[layer.dtype.name],
    )


def gradient_angles(
    cell: Cell, n_inputs: int, one: GradientMethod, other: GradientMethod, steps: int = 60, seed: int = 0
) -> dict[str, float]:
    """The angle in degrees, by parameter block, between the gradients that two methods carry.

    Both see the same random inputs from the initial state, and the same random dy at the last of `steps` steps. For a
    stack, RTRL() against RTRL(dense=True) shows the error of the layer-local approximation.

    Examples
    --------
    >>> from rtu_np import RTRL, TBPTT, LinearRTU
    >>> angles = gradient_angles(LinearRTU(4), 3, RTRL(), TBPTT(60))
    >>> max(angles.values()) < 1e-5
    True
    """
    rng = check_seed("seed", seed)
    inputs = rng.standard_normal((steps, n_inputs))
    dy = rng.standard_normal(cell.spec(n_inputs).n_outputs)
    gradients = []
    for method in (one, other):
        layer = cell.build(n_inputs, method, seed)
        for x in inputs:
            layer.advance(x)
        gradients.append(layer.gradient(dy))
    return {name: _angle(gradients[0][name], gradients[1][name]) for name in gradients[0]}


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return float(np.degrees(2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))))


class _Case:
    """A random sequence, and the value v as the gradient method differentiates it."""

    def __init__(self, spec: Any, gradient: Any, layer: Layer, steps: int, reset_at: int | None, rng: Any) -> None:
        self.spec, self.layer_local = spec, isinstance(gradient, RTRL) and not gradient.dense
        self.flat = allocate(size(protocol.parameters, spec), "float64")
        self.params = protocol.parameters(spec, self.flat)[0]
        for name, view in leaves(self.params).items():
            view[...] = layer.parameters[name]
        # Every random number is representable in the dtype under test, so that both sides see the same.
        zero = protocol.state(spec, np.zeros(size(protocol.state, spec)))[0]
        start = rebuild(zero, [self._draw(view.shape, layer.dtype, rng) for view in leaves(zero).values()])
        self.start = leaves(start)
        self.w = self._draw((layer.n_outputs,), layer.dtype, rng)
        self.inputs = _inputs(spec, self.params, start, steps, layer.dtype, rng)

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

    @staticmethod
    def _draw(shape, dtype, rng) -> np.ndarray:
        return rng.standard_normal(shape).astype(dtype).astype(np.float64)

    def _state_before_last(self, params) -> Any:
        state = self.held
        for x in self.window[:-1]:
            state, _ = protocol.plain_forward(self.spec, params, state, x)
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
        return EXACT_FOR_FIXED

    def value(self, name: str, replaced: np.ndarray) -> Any:
        """v with one block replaced."""
        at = {**self.arguments, name: replaced}
        params = rebuild(self.params, [at[leaf] for leaf in leaves(self.params)])
        state, layer = self._state_before_last(params), self._layer(name)
        if layer is not None:
            state = _mixed(state, self.last, layer)
        y = protocol.plain_forward(self.spec, params, state, at["x"])[1]
        return y @ at["readout.w"] + at["readout.b"][0]

    def bptt(self, name: str) -> np.ndarray:
        """The gradient with respect to one block, by reverse mode over the window."""
        if name.startswith("readout."):
            return self.y if name == "readout.w" else np.ones(1)
        steps, spec = len(self.window), self.spec
        records = np.zeros((steps, size(protocol.record, spec)))
        start, dstate = (allocate(size(protocol.state, spec), "float64") for _ in range(2))
        for view, held in zip(leaves(protocol.state(spec, start)[0]).values(), leaves(self.held).values(), strict=True):
            view[...] = held
        work, out = allocate(size(protocol.work, spec), "float64"), allocate(self.flat.size, "float64")
        dx = np.zeros(spec.n_inputs)
        run_back = compile_for(_forward_and_backward, spec)
        window = _Window(self.flat, work, start, self.window, records)
        run_back(spec, window, steps - 1, steps, self.w.copy(), (dstate, out, dx))
        if name == "x":
            return dx
        layer = self._layer(name)
        if layer is not None:
            for view in leaves(_above(protocol.state(spec, dstate)[0], layer)).values():
                view[...] = 0
        no_dy = np.zeros_like(self.w)
        run_back(spec, window, 0, steps - 1, no_dy, (dstate, out, dx))
        return leaves(protocol.parameters(spec, out)[0])[name]


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


def _inputs(spec, params, state, steps, dtype, rng) -> np.ndarray:
    """(steps, n_inputs): each the best of several random inputs. It keeps all units away from kinks, and silences the
    fewest."""
    inputs = np.zeros((steps, spec.n_inputs))
    for t in range(steps):
        alive = -1
        for _ in range(_DRAWS):
            x = rng.standard_normal(spec.n_inputs).astype(dtype)
            near = np.abs(protocol.preactivations(spec, params, state, x)) < _KINK
            after, y = protocol.plain_forward(spec, params, state, x)
            if not near.any() and np.count_nonzero(y) > alive:
                alive, inputs[t], chosen = int(np.count_nonzero(y)), x, after
            if alive == y.size:
                break
        if alive < 0:
            raise ValueError(
                f"cell has a unit within {_KINK} of the kink of its activation for each of {_DRAWS} random inputs, and "
                "no derivative can be checked there: expected fewer units, or more inputs if the cell is a LayerNorm"
            )
        state = chosen
    return inputs


def _entrywise(at: np.ndarray, derivative) -> np.ndarray:
    """The derivative along each unit array of the shape of `at`."""
    out = np.zeros(at.shape)
    for index in np.ndindex(at.shape):
        unit = np.zeros(at.shape)
        unit[index] = 1.0
        out[index] = derivative(unit)
    return out


def _error(actual: np.ndarray, expected: np.ndarray) -> float:
    scale = np.abs(expected).max()
    if not (np.isfinite(actual).all() and scale > 0):
        return float("inf")  # a zero or non-finite gradient proves nothing
    return float(np.abs(actual - expected).max() / scale)


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
