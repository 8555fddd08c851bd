"""Check the hand-written gradient of any cell against three methods that share no derivative with it.

The quantity is v = w . y_T + b, a random readout of the last of T steps, from a random non-zero start and random
inputs.

BPTT                  the cell's reverse mode, run back over the whole sequence
complex step          Im v(p + i h) / h with h = 1e-30, through the plain NumPy step: no cancellation, exact to rounding
central differences   four points, p - 2h to p + 2h with h = 1e-5, through the same step: good for six digits, and
                      simple enough to be trusted without proof

Errors are relative to the largest entry of the expected array. Where the activation function has a kink, inputs are
drawn so that no unit comes near it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rtu_np import cells
from rtu_np.buffers import allocate, size
from rtu_np.cells.layer import Cell, GradientMethod
from rtu_np.gradients.rtrl import RTRL
from rtu_np.jit import compile_for
from rtu_np.validation import check_count

EXACT, EXACT_FOR_FIXED, ONE_STEP = "exact", "exact for fixed parameters", "one-step"
TOLERANCE = {"float64": 1e-11, "float32": 1e-4}  # against BPTT and complex step
TOLERANCE_DIFFERENCES = {"float64": 1e-6, "float32": 1e-4}
_KINK = 1e-3
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
    """What `check_gradients` found; `print` it, or assert `passed`."""

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

    def __str__(self) -> str:
        rows = [["block", "size", "kind of gradient", "BPTT", "complex step", "differences"]]
        for b in self.blocks:
            errors = [f"{error:.1e}" for error in (b.bptt, b.complex_step, b.central_differences)]
            rows.append([b.block, str(b.size), b.kind, *errors])
        widths = [max(len(row[k]) for row in rows) for k in range(6)]
        align = (str.ljust, str.rjust, str.ljust, str.rjust, str.rjust, str.rjust)
        text = [self.title]
        for row in rows:
            text.append("  ".join(put(entry, width) for put, entry, width in zip(align, row, widths, strict=True)))
        text.append(
            f"{'passed' if self.passed else 'FAILED'}: largest error {self.max_error:.1e}, allowed "
            f"{self.tolerance:.0e} (differences {self.tolerance_differences:.0e})"
        )
        return "\n".join(text)


def check_gradients(
    cell: Cell,
    n_inputs: int = 3,
    steps: int = 60,
    gradient: GradientMethod | None = None,
    seed: int = 0,
    dtype: Any = "float64",
) -> GradientReport:
    """Compare the gradient that `cell` carries through time with BPTT, complex step and central differences.

    Parameters
    ----------
    cell : any cell, also one of your own
    n_inputs : width of the input
    steps : length of the sequence
    gradient : how the gradient travels through time; RTRL() by default
    seed : of parameters, start, inputs and readout
    dtype : of the gradient under test; what it is compared with is float64

    Returns
    -------
    GradientReport

    Examples
    --------
    >>> from rtu_np import LinearRTU
    >>> check_gradients(LinearRTU(4), n_inputs=3).passed
    True
    """
    check_count("steps", steps)
    gradient = gradient or RTRL()
    rng = np.random.default_rng(seed)
    layer = cell.build(n_inputs, gradient, seed, dtype)
    spec = layer.spec
    flat = allocate(size(cells.parameters, spec), "float64")
    params = cells.parameters(spec, flat)[0]
    for name, values in layer.parameters.items():
        getattr(params, name)[...] = values

    start = allocate(size(cells.state, spec), layer.dtype)
    for view in cells.state(spec, start)[0]:
        view[...] = rng.standard_normal(view.shape)
    start = start.astype(np.float64)
    w = rng.standard_normal(layer.n_outputs).astype(layer.dtype).astype(np.float64)
    b = rng.standard_normal()
    state0 = cells.state(spec, start)[0]
    inputs = _inputs(spec, params, state0, steps, layer.dtype, rng)

    def value(params, w, b, x_last):
        state = state0
        for x in inputs[:-1]:
            state, _ = cells.plain_forward(spec, params, state, x)
        return cells.plain_forward(spec, params, state, x_last)[1] @ w + b

    for name, view in layer.state.items():
        view[...] = getattr(state0, name)
    for x in inputs:
        y = layer.advance(x)
    carried = {**layer.gradient(w), "x": layer.input_gradient(w), "w": y, "b": np.ones(1)}

    bptt, dx, y = _bptt(spec, flat, start, inputs, w)
    by_bptt = {**cells.parameters(spec, bptt)[0]._asdict(), "x": dx, "w": y, "b": np.ones(1)}

    arguments = {**params._asdict(), "w": w, "b": np.array([b]), "x": inputs[-1]}

    def value_with(name, replaced):
        at = {**arguments, name: replaced}
        return value(type(params)(**{k: at[k] for k in params._fields}), at["w"], at["b"][0], at["x"])

    blocks = []
    for name, at in arguments.items():
        complex_step = _entrywise(
            at, lambda e, n=name, a=at: value_with(n, a + 1j * _COMPLEX_STEP * e).imag / _COMPLEX_STEP
        )

        def difference(e, name=name, at=at):
            h = _DIFFERENCE
            near = value_with(name, at + h * e) - value_with(name, at - h * e)
            far = value_with(name, at + 2 * h * e) - value_with(name, at - 2 * h * e)
            return (8 * near - far) / (12 * h)

        differences = _entrywise(at, difference)
        kind = EXACT if name in ("w", "b") else ONE_STEP if name == "x" else EXACT_FOR_FIXED
        errors = (_error(carried[name], expected) for expected in (by_bptt[name], complex_step, differences))
        blocks.append(BlockCheck(name, at.size, kind, *errors))
    return GradientReport(
        f"Gradient of {cell}, {n_inputs} inputs, by {gradient}: {steps} steps, {layer.dtype.name}, seed {seed}",
        tuple(blocks),
        TOLERANCE[layer.dtype.name],
        TOLERANCE_DIFFERENCES[layer.dtype.name],
    )


def _inputs(spec, params, state, steps, dtype, rng) -> np.ndarray:
    """(steps, n_inputs): random inputs, each drawn again while it would bring a unit near a kink."""
    inputs = np.zeros((steps, spec.n_inputs))
    for t in range(steps):
        for _ in range(1000):
            inputs[t] = rng.standard_normal(spec.n_inputs).astype(dtype)
            if not np.any(np.abs(cells.preactivations(spec, params, state, inputs[t])) < _KINK):
                break
        state, _ = cells.plain_forward(spec, params, state, inputs[t])
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
        return float("inf")  # a gradient that is nought, or none, shows nothing
    return float(np.abs(actual - expected).max() / scale)


def _bptt(spec, flat, start, inputs, w):
    """(flat gradient, dx of the last input, y of the last step) by reverse mode over the whole sequence."""
    steps = len(inputs)
    states, ys = np.zeros((steps + 1, start.size)), np.zeros((steps, spec.n_outputs))
    states[0] = start
    dys, dxs = np.zeros_like(ys), np.zeros_like(inputs)
    dys[-1] = w
    dstate, out = np.zeros(start.size), np.zeros(flat.size)
    compile_for(_unroll, spec)(spec, flat, states, inputs, ys)
    compile_for(_roll_back, spec)(spec, flat, states, inputs, dys, dxs, (dstate, out))
    return out, dxs[-1], ys[-1]


def _unroll(spec, flat, states, inputs, ys):
    params, _ = cells.parameters(spec, flat)
    for t in range(inputs.shape[0]):
        state_tm1, _ = cells.state(spec, states[t])
        state_t, _ = cells.state(spec, states[t + 1])
        cells.forward(spec, params, state_tm1, inputs[t], state_t, ys[t])


def _roll_back(spec, flat, states, inputs, dys, dxs, adjoints):
    params, _ = cells.parameters(spec, flat)
    dstate, _ = cells.state(spec, adjoints[0])
    out, _ = cells.parameters(spec, adjoints[1])
    for t in range(inputs.shape[0] - 1, -1, -1):
        state_tm1, _ = cells.state(spec, states[t])
        state_t, _ = cells.state(spec, states[t + 1])
        cells.backward(spec, params, state_tm1, inputs[t], state_t, dys[t], dstate, out, dxs[t])
