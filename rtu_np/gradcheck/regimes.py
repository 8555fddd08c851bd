"""Regimes: the conditions in which a mistake may hide, and the checks of a cell in each of them.

A regime is a short sequence of inputs of one kind, for a cell of one size. In each, four comparisons are made:

BPTT, complex step     the gradient carried by the cell, with backpropagation through time entry by entry, and with
                       complex step along a random direction in each block
learn                  one forced step: `learn`, the pass that learners run, from the same parameters, traces and memory as
                       `advance` and `accumulate`. Parameters, traces and the gradient carried to the step behind must be
                       those of params <- params + step traces, traces <- decay traces + gradient. Once with a step, once
                       without, as optimisers do that have a pass of their own
float32                one forced step: in float32, and in float64 from the same float32 parameters and memory

If the inputs are scaled, the weights by which they come in are scaled the other way. So units do not saturate, but
sensitivities have the inputs' scale.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.layer import Cell, GradientMethod
from rtu_np.cells.stack import Stack
from rtu_np.gradcheck.case import DENSE, SPARSE, ZERO, Case, Sequence
from rtu_np.gradcheck.layers import Compiler, LearningLayer, kinds, plain_python
from rtu_np.gradcheck.report import TOLERANCE, TOLERANCE_ONE_STEP, RegimeCheck
from rtu_np.gradients.rtrl import FullRTRLSpec
from rtu_np.gradients.tbptt import TBPTT

SIZES = (1, 7, 8, 9, 16, 17, 33)  # about the lengths of vectors: float64 and float32 have from 2 to 16 in one
_STEPS, _LONG = 8, 2000
_MUCH = 300_000  # products a step, of full RTRL in plain Python
_SLOW = {"r_min": 0.99, "r_max": 1.0}
_PASSES = ((0.7, 0.01), (0.9, None))  # (decay, step)


class Regime(NamedTuple):
    """A kind of sequence, for a cell of which some settings are replaced."""

    name: str
    sequence: Sequence
    settings: dict[str, Any] = {}  # noqa: RUF012   replaced in the cell, or in the layers of a stack that have them


def _sequence(steps: int = _STEPS, **settings: Any) -> Sequence:
    return Sequence(steps, dtype="float32", **settings)


BASIC = (
    Regime("dense", _sequence()),
    Regime("every other input zero", _sequence(inputs=SPARSE)),
    Regime("all inputs zero", _sequence(inputs=ZERO)),
    Regime("inputs x 1e3", _sequence(scale=1e3)),
    Regime("inputs x 1e-3", _sequence(scale=1e-3)),
    Regime("reset in mid-stream", _sequence(reset_at=5)),
    Regime("r in [.99, 1)", _sequence(), _SLOW),
)
LONG = (
    Regime(f"{_LONG} steps", _sequence(_LONG)),
    Regime(f"{_LONG} steps, r in [.99, 1)", _sequence(_LONG), _SLOW),
)


def regimes(thorough: bool) -> list[Regime]:
    """Those that every check goes through, or all."""
    if not thorough:
        return [*BASIC, _sized(BASIC[0], 16)]
    return [*BASIC, *(_sized(regime, n) for n in SIZES for regime in BASIC), *LONG]


def _sized(regime: Regime, n: int) -> Regime:
    return regime._replace(settings={**regime.settings, "n_hidden": n})


def with_settings(cell: Cell, settings: dict[str, Any]) -> Cell:
    """The cell with other settings. A stack's layers take those that they have.

    Raises
    ------
    ValueError, TypeError : if no layer has a setting, or does not take the value
    """
    if not settings:
        return cell
    layers = cell.layers if isinstance(cell, Stack) else (cell,)
    known = [getattr(layer, "__dataclass_fields__", {}).keys() & settings.keys() for layer in layers]
    for name in settings:
        if not any(name in each for each in known):
            raise ValueError(f"a {type(cell).__name__} has no setting {name}")
    changed: list[Any] = [
        replace(layer, **{name: settings[name] for name in names})  # type: ignore[type-var]
        for layer, names in zip(layers, known, strict=True)
    ]
    return Stack(tuple(changed)) if isinstance(cell, Stack) else changed[0]


class Conditions(NamedTuple):
    """What all regimes of a check share."""

    cell: Cell
    n_inputs: int
    gradient: GradientMethod
    seed: int
    main: Any  # the layer whose functions are compiled already; layers of other types stay plain Python
    everything: bool  # whether to compile all
    compiler: Compiler


def check_regime(regime: Regime, on: Conditions) -> RegimeCheck:
    """One row of the report.

    Raises
    ------
    ValueError, TypeError : if the cell has no such settings, or if the inputs cannot be drawn
    """
    cell, rng = with_settings(on.cell, regime.settings), np.random.default_rng(on.seed)
    compiled = on.compiler if on.everything else plain_python
    layer = LearningLayer(cell, on.n_inputs, on.gradient, on.seed, "float64", compiled)
    if on.main.dtype == layer.dtype and kinds(on.main.spec) == kinds(layer.spec):
        layer.compiled = on.compiler
    if isinstance(layer.spec, FullRTRLSpec) and layer.spec.n_state**2 * layer.spec.n_params > _MUCH and not on.everything:
        raise ValueError("full RTRL takes long; thorough=True checks it")
    sequence = regime.sequence
    for values in layer.parameters.values():
        values[...] = values.astype(sequence.dtype)
        if sequence.scale != 1.0 and values.ndim == 2 and len(values) == on.n_inputs:
            values[...] = (values / sequence.scale).astype(sequence.dtype)
    case = Case(layer, sequence, rng)
    for name, view in layer.state.items():
        view[...] = case.start[name]
    # All layers without a `learn` of their own share one of three passes.
    learns = type(layer.spec) in protocol.learn.table or regime == BASIC[0]
    learning, single, usual_y = 0.0 if learns else None, 0.0, 0.0
    # A float32 number each, as all others of the sequence.
    dys = np.concatenate([case.w[None], rng.standard_normal((2, case.w.size)).astype(sequence.dtype)])
    for t, x in enumerate(case.inputs):
        if t == sequence.reset_at:
            layer.reset()
        if t in (sequence.reset_at, sequence.steps - 1):
            if learning is not None:
                learning = max(learning, learning_error(layer, (x, case.inputs[0]), case.w, rng, compiled))
            single = max(single, single_precision_error(layer, x, dys, usual_y, compiled))
        usual_y = max(usual_y, float(np.abs(layer.advance(x)).max()))
    carried = {**layer.gradient(case.w), "x": layer.input_gradient(case.w)}
    bptt, complex_step = _errors(case, carried, rng)
    # A step of T-BPTT goes through all steps of its window, and the rounding of each counts.
    allowed = TOLERANCE["float32"] if isinstance(on.gradient, TBPTT) else TOLERANCE_ONE_STEP
    return RegimeCheck(regime.name, layer.spec.n_hidden, on.n_inputs, bptt, complex_step, learning, single, allowed)


def _errors(case: Case, carried: dict[str, np.ndarray], rng: np.random.Generator) -> tuple[float, float]:
    """Against BPTT and complex step. If a whole block has gradient zero, relative to the largest entry of all blocks."""
    expected = {name: case.bptt(name) for name in carried}
    largest = max(np.abs(values).max() for values in expected.values())
    bptt = complex_step = 0.0
    for name, values in expected.items():
        scale = np.abs(values).max() or largest
        direction = rng.choice([-1.0, 1.0], values.shape)
        along = np.sum(carried[name] * direction) - case.complex_step(name, direction)
        bptt = max(bptt, relative(carried[name] - values, scale))
        complex_step = max(complex_step, relative(along, scale))
    return bptt, complex_step


def relative(difference: Any, scale: float) -> float:
    """The largest entry of `difference`, relative to `scale`; infinite if an entry is not a finite number."""
    error = np.abs(difference).max()
    if not np.isfinite(error) or (error > 0 and not scale > 0):
        return float("inf")
    return float(error / scale) if error > 0 else 0.0


def _apart(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray], at_least: float = 0.0) -> float:
    """The largest error of an array, relative to its largest entry, or to that of all arrays if it is zero."""
    largest = max(np.abs(values).max() for values in expected.values())
    scales = {name: max(np.abs(values).max(), at_least) or largest for name, values in expected.items()}
    return max(relative(actual[name] - values, scales[name]) for name, values in expected.items())


def learning_error(
    layer: LearningLayer, inputs: tuple[np.ndarray, np.ndarray], dy: np.ndarray, rng: Any, compiled: Callable
) -> float:
    """How far `learn` is from `advance` and `accumulate`, at one step and in what is carried to the next."""
    x, x_next = inputs
    error = 0.0
    for decay, step in _PASSES:
        one, other = layer.copy(compiled), layer.copy(compiled)
        for name, trace in one.traces.items():
            trace[...] = rng.standard_normal(trace.shape)
            other.traces[name][...] = trace
        one.learn(x, dy, decay, step)
        other.advance(x)
        gradient = other.gradient(dy)
        for name, trace in other.traces.items():
            if step is not None:
                other.parameters[name][...] += step * trace
            trace[...] = decay * trace + gradient[name]
        error = max(error, _apart(one.parameters, other.parameters), _apart(one.traces, other.traces))
        for each in (one, other):
            each.advance(x_next)
        error = max(error, _apart(one.gradient(dy), other.gradient(dy)))
    return error


def single_precision_error(
    layer: LearningLayer, x: np.ndarray, dys: np.ndarray, usual_y: float, compiled: Callable
) -> float:
    """How far one step in float32 is from the same step in float64, from the same float32 numbers.

    dys : several dy, since the entries of a small block may cancel for one of them
    usual_y : the largest output of steps before; the outputs of one step may be close to zero, by cancellation
    """
    single = layer.copy(compiled, "float32")
    double = single.copy(layer.compiled, "float64")
    y, y_exact = single.advance(x), double.advance(x)
    one, other = (
        {name: np.stack(values) for name, *values in zip(each.parameters, *(each.gradient(dy).values() for dy in dys))}
        for each in (single, double)
    )
    states = _apart(single.state, double.state) if double.state else 0.0
    return max(_apart(one, other), _apart({"y": y}, {"y": y_exact}, usual_y), states)
