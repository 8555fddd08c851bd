"""Regimes: the conditions in which a mistake may hide, and the checks of a cell in each of them.

A regime is a short sequence of inputs of one kind, for a cell of one size. In each, four comparisons are made:

BPTT, complex step     the gradient carried by the cell, with backpropagation through time entry by entry, and with
                       complex step along a random direction in each block
learn                  one forced step: `learn`, the pass that learners run, from the same parameters, traces and memory
                       as `advance` and `accumulate`. Parameters, traces and the gradient carried to the next step must
                       be those of params <- params + step traces, traces <- decay traces + gradient. Once with a step,
                       once without, for optimisers that have a pass of their own
float32                one forced step: in float32, and in float64 from the same float32 parameters and memory

By default, a regime is checked with the functions that are compiled anyway. What is not, `learn` and float32, runs in
plain Python, since compiling takes seconds. `thorough` compiles all, and goes through all sizes and long runs.

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
from rtu_np.gradcheck.case import SPARSE, ZERO, Case, NotApplicableError, Sequence
from rtu_np.gradcheck.layers import Compiler, LearningLayer, kinds, plain_python
from rtu_np.gradcheck.own_past import case_of
from rtu_np.gradcheck.report import TOLERANCE, TOLERANCE_ONE_STEP, RegimeCheck
from rtu_np.gradients.rtrl import FullRTRLSpec
from rtu_np.gradients.tbptt import TBPTT
from rtu_np.numerics.buffers import leaves, size

SIZES = (1, 7, 8, 9, 16, 17, 33)  # about the lengths of vectors: float64 and float32 have from 2 to 16 in one
_STEPS, _LONG = 8, 2000
_SMALL, _OUTPUT = 0.1, 0.5  # shares of the largest entry, see `_scales`; an output is a sum of states, and may cancel
_MUCH = 100_000  # products a step, of full RTRL in plain Python
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
_FLOAT32 = ("dense", "every other input zero", "r in [.99, 1)")  # where a check that is not thorough looks at float32
LONG = (
    Regime(f"{_LONG} steps", _sequence(_LONG)),
    Regime(f"{_LONG} steps, r in [.99, 1)", _sequence(_LONG), _SLOW),
)


def regimes(on: "Conditions") -> list[Regime]:
    """Those that every check goes through, or all."""
    if not on.everything:
        return [*BASIC, _sized(BASIC[0], 9 if isinstance(on.main.spec, FullRTRLSpec) else 16)]
    sizes = [n for n in SIZES if n != getattr(on.cell, "n_hidden", None)]
    return [*BASIC, *(_sized(regime, n) for n in sizes for regime in BASIC), *LONG]


def _sized(regime: Regime, n: int) -> Regime:
    return regime._replace(settings={**regime.settings, "n_hidden": n})


def with_settings(cell: Cell, settings: dict[str, Any]) -> Cell:
    """The cell with other settings. A stack's layers take those that they have.

    Raises
    ------
    ValueError, TypeError : if no layer has a setting, or if a layer does not take the value
    """
    if not settings:
        return cell
    layers = cell.layers if isinstance(cell, Stack) else (cell,)
    known = [getattr(layer, "__dataclass_fields__", {}).keys() & settings.keys() for layer in layers]
    for name in settings:
        if not any(name in each for each in known):
            raise ValueError(f"{type(cell).__name__} has no setting {name}")
    changed: list[Any] = [
        replace(layer, **{name: settings[name] for name in names}) if names else layer  # type: ignore[type-var]
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


def _layer(regime: Regime, on: Conditions) -> LearningLayer:
    """The layer of a regime; NotApplicableError if the cell has no such layer."""
    compiled = on.compiler if on.everything else plain_python
    try:
        cell = with_settings(on.cell, regime.settings)
        layer = LearningLayer(cell, on.n_inputs, on.gradient, on.seed, "float64", compiled)
    except (ValueError, TypeError) as error:
        raise NotApplicableError(str(error)) from error
    spec = layer.spec
    if not on.everything and isinstance(spec, FullRTRLSpec) and spec.n_state**2 * spec.n_params > _MUCH:
        raise NotApplicableError("full RTRL takes long here; thorough=True checks it")
    if on.main.dtype == layer.dtype and kinds(on.main.spec) == kinds(spec):
        layer.compiled = on.compiler
    return layer


def check_regime(regime: Regime, on: Conditions) -> RegimeCheck:
    """One row of the report.

    Raises
    ------
    NotApplicableError : if the cell does not have the settings, or if all inputs bring a unit near a kink
    """
    layer, rng = _layer(regime, on), np.random.default_rng(on.seed)
    compiled = on.compiler if on.everything else plain_python
    sequence = regime.sequence
    for name, values in layer.parameters.items():
        scale = sequence.scale if name in _input_weights(layer) else 1.0
        values[...] = (values / scale).astype(sequence.dtype)
    case = case_of(layer, sequence, rng)
    for name, view in layer.state.items():
        view[...] = case.start[name]
    # All layers without a `learn` of their own share one of three passes.
    learns = type(layer.spec) in protocol.learn.table or regime == BASIC[0]
    in_float32 = on.everything or regime.name in _FLOAT32
    learning, single = 0.0 if learns else None, 0.0 if in_float32 else None
    dys = np.concatenate([case.w[None], rng.standard_normal((3, case.w.size)).astype(sequence.dtype)])
    for t, x in enumerate(case.inputs):
        if t == sequence.reset_at:
            layer.reset()
        if t in (sequence.reset_at, sequence.steps - 1):
            if learning is not None:
                learning = max(learning, learning_error(layer, (x, case.inputs[0]), case.w, rng, compiled))
            if single is not None:
                inputs = np.stack([x, *case.inputs[:3]])
                single = max(single, single_precision_error(layer, inputs, dys, compiled))
        layer.advance(x)
    carried = {**layer.gradient(case.w), "x": layer.input_gradient(case.w)}
    bptt, complex_step = _errors(case, carried, rng)
    # A step of T-BPTT goes through all steps of its window, and the rounding of each counts.
    allowed = TOLERANCE["float32"] if isinstance(on.gradient, TBPTT) else TOLERANCE_ONE_STEP
    return RegimeCheck(regime.name, layer.spec.n_hidden, on.n_inputs, bptt, complex_step, learning, single, allowed)


def _input_weights(layer: LearningLayer) -> set[str]:
    """The names of the parameters of which another input has another row."""
    shapes = []
    for n_inputs in (layer.n_inputs, layer.n_inputs + 1):
        spec = layer.cell.spec(n_inputs)
        flat = np.zeros(size(protocol.parameters, spec))
        shapes.append({name: view.shape for name, view in leaves(protocol.parameters(spec, flat)[0]).items()})
    return {name for name, shape in shapes[0].items() if shape != shapes[1].get(name)}


def _errors(case: Case, carried: dict[str, np.ndarray], rng: np.random.Generator) -> tuple[float, float]:
    """Against BPTT and complex step.

    NotApplicableError : if every gradient is zero, which proves nothing
    """
    expected = {name: case.bptt(name) for name in carried}
    if not any(values.any() for values in (*expected.values(), *carried.values())):
        raise NotApplicableError("all units are dead, and every gradient is zero")
    scales = _scales(expected, _SMALL)
    bptt = complex_step = 0.0
    for name, values in expected.items():
        direction = rng.choice([-1.0, 1.0], values.shape)
        along = np.sum(carried[name] * direction) - case.complex_step(name, direction)
        bptt = max(bptt, relative(carried[name] - values, scales[name]))
        complex_step = max(complex_step, relative(along, scales[name]))
    return bptt, complex_step


def relative(difference: Any, scale: float) -> float:
    """The largest entry of `difference`, relative to `scale`; infinite if an entry is not a finite number."""
    error = np.abs(difference).max()
    if not np.isfinite(error) or (error > 0 and not scale > 0):
        return float("inf")
    return float(error / scale) if error > 0 else 0.0


def _scales(expected: dict[str, np.ndarray], share: float) -> dict[str, float]:
    """What an error in each array is relative to: its largest entry, or a share of the largest entry of all.

    A block that is smaller holds little but the rounding of larger numbers.
    """
    sizes = {name: float(np.abs(values).max()) for name, values in expected.items()}
    least = share * max(sizes.values(), default=0.0)
    return {name: max(largest, least) for name, largest in sizes.items()}


def _apart(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray], share: float = _SMALL) -> float:
    """The largest error of all arrays."""
    scales = _scales(expected, share)
    return max((relative(actual[name] - values, scales[name]) for name, values in expected.items()), default=0.0)


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


def single_precision_error(layer: LearningLayer, inputs: np.ndarray, dys: np.ndarray, compiled: Callable) -> float:
    """How far one step in float32 is from the same step in float64, from the same float32 numbers.

    inputs, dys : of some steps, each from the same state: units may saturate for one input, and sums may cancel for one
        dy, and then little but rounding is left. Errors are relative to the largest entry of all
    """
    single = layer.copy(compiled, "float32")
    double = single.copy(layer.compiled, "float64")
    start = single.numbers()
    (outputs, gradients), (exact_outputs, exact_gradients) = (
        _steps(each, start, inputs, dys) for each in (single, double)
    )
    return max(_apart(outputs, exact_outputs, _OUTPUT), _apart(gradients, exact_gradients))


def _steps(
    layer: LearningLayer, start: tuple[np.ndarray, ...], inputs: np.ndarray, dys: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Outputs with states, and gradients, of one step from `start` for each input."""
    outputs, gradients = [], []
    for x, dy in zip(inputs, dys, strict=True):
        layer.assign(start)
        y = layer.advance(x)
        outputs.append({"y": y, **{f"state {name}": values.copy() for name, values in layer.state.items()}})
        gradients.append(layer.gradient(dy))
    return _stacked(outputs), _stacked(gradients)


def _stacked(steps: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([step[name] for step in steps]) for name in steps[0]}
