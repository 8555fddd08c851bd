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

The table of blocks is about one sequence. The table of regimes is about conditions in which a mistake may hide
(`rtu_np.gradcheck.regimes`), and about `learn`, the pass that learners run. What a learner does around it, as clearing
its memory at the end of an episode, belongs to no cell, and no check of a cell shows it; `check_learner` does.

A recurrence that is written as a plain function, with a gradient of its own, is checked by `check_recurrence`.
"""

from functools import partial
from typing import Any

import numpy as np

from rtu_np.cells.layer import Cell, GradientMethod, check_cell, check_gradient
from rtu_np.gradcheck.case import NotApplicableError, Sequence
from rtu_np.gradcheck.layers import Compiler
from rtu_np.gradcheck.needed import check_functions
from rtu_np.gradcheck.own_past import case_of
from rtu_np.gradcheck.regimes import Conditions, check_regime, regimes
from rtu_np.gradcheck.report import TOLERANCE, TOLERANCE_DIFFERENCES, BlockCheck, GradientReport, RegimeCheck
from rtu_np.gradcheck.unbiased import UnbiasedReport, check_unbiased, may_be_checked
from rtu_np.gradients.uoro import UORO
from rtu_np.metrics import angle
from rtu_np.validation import brief, check_count, check_flag, check_seed


def check_gradients(
    cell: Cell,
    n_inputs: int = 3,
    steps: int = 60,
    gradient: GradientMethod | None = None,
    seed: int = 0,
    dtype: Any = "float64",
    reset_at: int | None = None,
    thorough: bool = False,
) -> GradientReport | UnbiasedReport:
    """Compare the gradient that `cell` carries through time with BPTT, complex step and central differences.

    Parameters
    ----------
    cell : any cell, also one of your own
    n_inputs : width of the input
    steps : length of the sequence, in steps
    gradient : how the gradient travels through time; RTRL() by default
    seed : of parameters, start, inputs and readout
    dtype : of the gradient in the table of blocks; the three others are float64. Regimes have both precisions
    reset_at : the layer is reset before this step, in [1, steps); by default it is not
    thorough : whether to compile all that learners run, and to go through the regimes at 1, 7, 8, 9, 16, 17 and 33
        units and through 2000 steps, within a minute. By default regimes are of the cell as it is, and one of 16 units;
        `learn` and float32 run in plain Python

    Returns
    -------
    GradientReport : errors by parameter block, input and readout, and by regime. For UORO, whose gradient is random, an
        UnbiasedReport: the mean of many draws, in standard errors from the gradient of RTRL()

    Raises
    ------
    ValueError, TypeError : by name, for an argument out of its range or of the wrong type, for a cell that lacks a
        function, and if every input brings a unit near a kink

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
    thorough = check_flag("thorough", thorough)
    gradient = check_gradient(gradient)
    rng = check_seed("seed", seed)
    check_functions(cell, check_cell(cell).spec(n_inputs), gradient)
    if isinstance(gradient, UORO):
        may_be_checked(dtype, reset_at, thorough)
        inputs, dy = rng.standard_normal((steps, n_inputs)), rng.standard_normal(cell.spec(n_inputs).n_outputs)
        return check_unbiased(cell, gradient, inputs, dy, seed)
    layer, compiler = cell.build(n_inputs, gradient, seed, dtype), Compiler()
    layer.compiled = compiler
    case = case_of(layer, Sequence(steps, reset_at, dtype=layer.dtype, differences=True), rng)

    for name, view in layer.state.items():
        view[...] = case.start[name]
    for t, x in enumerate(case.inputs):
        if t == reset_at:
            layer.reset()
        y = layer.advance(x)
    carried = {**layer.gradient(case.w), "x": layer.input_gradient(case.w), "readout.w": y, "readout.b": np.ones(1)}

    blocks = []
    for name, at in case.arguments.items():
        complex_step = _entrywise(at, partial(case.complex_step, name))
        expected = (case.bptt(name), complex_step, _entrywise(at, partial(case.difference, name)))
        blocks.append(BlockCheck(name, at.size, case.kind(name), *(_error(carried[name], e) for e in expected)))
    reset = "" if reset_at is None else f", reset before step {reset_at}"
    rows, left_out = _regimes(Conditions(cell, n_inputs, gradient, seed, layer, thorough, compiler))
    return GradientReport(
        f"Gradient of {brief(cell)}, {n_inputs} inputs, by {brief(gradient)}: {steps} steps{reset}, "
        f"{layer.dtype.name}, seed {seed}",
        tuple(blocks),
        TOLERANCE[layer.dtype.name],
        TOLERANCE_DIFFERENCES[layer.dtype.name],
        tuple(rows),
        tuple(left_out),
    )


def _regimes(on: Conditions) -> tuple[list[RegimeCheck], list[str]]:
    """The rows, and why others are left out."""
    rows, left_out = [], []
    for regime in regimes(on):
        try:
            # As in compiled code, e^x beyond all numbers is infinity, without a warning.
            with np.errstate(over="ignore", under="ignore"):
                rows.append(check_regime(regime, on))
        except NotApplicableError as error:
            settings = ", ".join(f"{name}={value}" for name, value in regime.settings.items())
            left_out.append(f"{regime.name}{f' ({settings})' if settings else ''}: {error}")
    return rows, left_out


def gradient_angles(
    cell: Cell, n_inputs: int, one: GradientMethod, other: GradientMethod, steps: int = 60, seed: int = 0
) -> dict[str, float]:
    """The angle in degrees, by parameter block, between the gradients that two methods carry.

    It is 90 if one of them is zero, and 0 if both are. Both see the same random inputs from the initial state, and the
    same random dy at the last of `steps` steps. For a stack, RTRL() against RTRL(dense=True) shows the error of the
    layer-local approximation.

    Parameters
    ----------
    cell : any cell
    n_inputs : width of the input
    one, other : the methods, such as RTRL() and TBPTT(10)
    steps : length of the sequence, in steps
    seed : of parameters, inputs and dy

    Raises
    ------
    ValueError, TypeError : by name, for an argument out of its range or of the wrong type

    Examples
    --------
    >>> from rtu_np import RTRL, TBPTT, LinearRTU
    >>> angles = gradient_angles(LinearRTU(4), 3, RTRL(), TBPTT(60))
    >>> max(angles.values()) < 1e-5
    True
    """
    check_cell(cell)
    n_inputs, steps, rng = check_count("n_inputs", n_inputs), check_count("steps", steps), check_seed("seed", seed)
    inputs = rng.standard_normal((steps, n_inputs))
    dy = rng.standard_normal(cell.spec(n_inputs).n_outputs)
    gradients = []
    for method in (one, other):
        layer = cell.build(n_inputs, method, seed)
        for x in inputs:
            layer.advance(x)
        gradients.append(layer.gradient(dy))
    return {name: angle(gradients[0][name], gradients[1][name]) for name in gradients[0]}


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
