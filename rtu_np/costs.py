"""What a learning step costs: floating-point operations and bytes, counted from the equations.

One operation is an addition, a multiplication, a division, or one evaluation of exp, tanh, sin, cos or sqrt; changes of
sign, comparisons and copies are free. A step is counted as far as the gradient, added into the eligibility trace
(derivations (20)); the update is the same for every cell and method, 2 operations per parameter with SGD.

The counts are those of the equations as the kernels evaluate them, without what pads odd sizes to whole vectors. The
tests count operation by operation, with numbers that know how often they were used.
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.block_diagonal import BlockDiagonalSpec
from rtu_np.cells.dense import DenseLayerSpec, IdentitySpec
from rtu_np.cells.eigenvalues import NuLogTheta, NuLogThetaLog, NuTheta, RTheta
from rtu_np.cells.gru import GRUSpec
from rtu_np.cells.layer import Cell, GradientMethod, check_cell, check_gradient
from rtu_np.cells.layer_norm import LayerNormSpec
from rtu_np.cells.linear_rtu import LinearRTUSpec
from rtu_np.cells.lru import ComplexReadoutSpec, LRUSpec
from rtu_np.cells.nonlinear_rtu import NonlinearRTUSpec
from rtu_np.cells.rnn import VanillaRNNSpec
from rtu_np.cells.scales import Free
from rtu_np.cells.stack import StackSpec
from rtu_np.gradients.rtrl import DenseSpec
from rtu_np.gradients.tbptt import TBPTTSpec
from rtu_np.jit import extents, generic
from rtu_np.numerics.activations import LeakyReLU, Tanh
from rtu_np.numerics.buffers import size
from rtu_np.validation import check_count, check_dtype


def flops(cell: Cell, n_inputs: int, gradient: GradientMethod | None = None) -> int:
    """Operations of one learning step of `cell` with `n_inputs` inputs; RTRL() by default, TBPTT with a full window.

    Examples
    --------
    >>> from rtu_np import GRU, TBPTT, LinearRTU
    >>> flops(LinearRTU(192), 64), flops(GRU(64), 64, TBPTT(10))
    (282816, 1376384)
    """
    check_count("n_inputs", n_inputs)
    return _learning(check_gradient(gradient).spec(check_cell(cell).spec(n_inputs), "float64"))


def bytes_per_step(cell: Cell, n_inputs: int, gradient: GradientMethod | None = None, dtype: Any = "float64") -> int:
    """Bytes that one learning step cannot avoid to move: every number held is read and written once.

    That is parameters, traces, and the memory of the gradient method. Caches decide how much of it reaches the main
    memory.

    Examples
    --------
    >>> from rtu_np import LinearRTU
    >>> bytes_per_step(LinearRTU(192), 64), bytes_per_step(LinearRTU(192), 64, dtype="float32")
    (1251328, 625664)
    """
    check_count("n_inputs", n_inputs)
    check_dtype("dtype", dtype)
    spec = check_gradient(gradient).spec(check_cell(cell).spec(n_inputs), dtype)
    held = 2 * _numbers(protocol.parameters, spec) + _numbers(protocol.memory, spec)
    return 2 * held * np.dtype(dtype).itemsize


def _numbers(carve: Any, spec: Any) -> int:
    """How many numbers a carving names, each counted once however often it is named."""
    flat = np.empty(size(carve, spec), np.int8)  # one byte each, so that addresses are offsets; never written
    counted, end = 0, 0
    for start, stop in sorted(extents(carve(spec, flat)[0])):
        counted += max(stop - max(start, end), 0)
        end = max(end, stop)
    return counted


class Costs(NamedTuple):
    """Operations of the functions of the cell protocol."""

    prepare: int
    forward: int
    backward: int
    dx: int  # of `backward`, and beside it of `input_gradient` where that is no dearer
    move: int = 0  # `prepare` included
    propagate: int = 0
    credit: int = 0
    accumulate: int = 0
    input_gradient: int = 0


@generic
def costs(spec):
    """The costs of a cell."""


@generic
def _learning(spec):
    """Operations of move, credit, propagate and accumulate."""


@_learning.otherwise
def _own_sensitivities(spec):
    c = costs(spec)
    return c.move + c.propagate + c.credit + c.accumulate


@_learning.register(TBPTTSpec)
def _window(spec):
    c, m = costs(spec.cell), _numbers(protocol.parameters, spec.cell)
    return c.prepare + (spec.steps + 1) * c.forward + spec.steps * c.backward + c.dx + 2 * m


@_learning.register(DenseSpec)
def _dense_recursion(spec):
    c, m = costs(spec.cell), _numbers(protocol.parameters, spec.cell)
    n = _numbers(protocol.state, spec.cell)
    return c.prepare + c.forward + (n + 1) * c.backward + c.dx + 2 * n * n * m + 2 * n * m + 2 * m


@costs.register(DenseSpec)
def _dense_layer_of_a_stack(spec):
    c, m = costs(spec.cell), _numbers(protocol.parameters, spec.cell)
    n = _numbers(protocol.state, spec.cell)
    move = c.prepare + c.forward + n * c.backward + 2 * n * n * m
    return c._replace(move=move, credit=c.backward + c.dx + 2 * n * m, accumulate=2 * m)


def _activation(kind: Any) -> tuple[int, int]:
    """(f, f') per number"""
    return (1, 2) if isinstance(kind, Tanh) else (int(isinstance(kind, LeakyReLU)), 0)


_EIGENVALUE = {NuLogThetaLog: 5, NuLogTheta: 4, NuTheta: 3, RTheta: 4}


class _Diagonal(NamedTuple):
    """What the diagonal cells share."""

    prepare: int
    drive: int
    rotate: int
    move: int
    units: int
    backward: int
    dx: int


def _diagonal(spec: Any) -> _Diagonal:
    n, d, free = spec.n_hidden, spec.n_inputs, isinstance(spec.scale, Free)
    return _Diagonal(
        prepare=n * (_EIGENVALUE[type(spec.form)] + (2 if free else 4) + 4),
        drive=4 * n * d,
        rotate=10 * n,
        move=n * (34 + 10 * free),
        units=n * (10 + 5 * free),
        backward=n * (29 + 2 * free) + 4 * n * d,
        dx=d * (4 * n + 1),
    )


@costs.register(LinearRTUSpec)
def _linear_rtu(spec):
    n, d, (f, slope), shared = spec.n_hidden, spec.n_inputs, _activation(spec.activation), _diagonal(spec)
    return Costs(
        prepare=shared.prepare,
        forward=shared.drive + shared.rotate + 2 * n * f,
        backward=2 * n * (slope + 2) + shared.backward,
        dx=shared.dx,
        move=shared.prepare + shared.drive + shared.move + 2 * n * f,
        propagate=8 * n * d,
        credit=2 * n * (slope + 1),
        accumulate=shared.units + 10 * n * d,
        input_gradient=2 * n + shared.dx,
    )


@costs.register(NonlinearRTUSpec)
def _nonlinear_rtu(spec):
    n, d, (f, slope), shared = spec.n_hidden, spec.n_inputs, _activation(spec.activation), _diagonal(spec)
    scaled = 4 + 2 * isinstance(spec.scale, Free) + 6
    return Costs(
        prepare=shared.prepare,
        forward=shared.drive + shared.rotate + 2 * n * f,
        backward=2 * n * (slope + 2) + shared.backward,
        dx=shared.dx,
        move=shared.prepare + shared.drive + shared.move + 2 * n * (f + slope) + n * scaled,
        propagate=16 * n * d,
        accumulate=shared.units + 10 * n * d,
        input_gradient=2 * n + shared.dx,
    )


@costs.register(BlockDiagonalSpec)
def _block_diagonal(spec):
    n, d, (f, slope) = spec.n_hidden, spec.n_inputs, _activation(spec.activation)
    return Costs(
        prepare=0,
        forward=2 * n * d + n * (4 + f),
        backward=2 * n * d + n * (slope + 3 + 7),
        dx=2 * n * d,
        move=2 * n * d + n * (4 + f + slope + 4 + 28),
        propagate=10 * n * d,
        credit=n * (slope + 1),
        accumulate=5 * n * d + 15 * n,
        input_gradient=2 * n * d,
    )


@costs.register(VanillaRNNSpec)
def _vanilla_rnn(spec):
    n, d, (f, slope) = spec.n_hidden, spec.n_inputs, _activation(spec.activation)
    return Costs(
        prepare=0,
        forward=2 * n * (d + n) + n * f,
        backward=2 * n * d + 4 * n * n + n * (slope + 3),
        dx=2 * n * d,
    )


@costs.register(GRUSpec)
def _gru(spec):
    n, d = spec.n_hidden, spec.n_inputs
    return Costs(prepare=0, forward=6 * n * (d + n) + 14 * n, backward=6 * n * d + 12 * n * n + 22 * n, dx=6 * n * d)


@costs.register(DenseLayerSpec)
@costs.register(ComplexReadoutSpec)
def _projection(spec):
    m, k, (f, slope) = spec.n_outputs, spec.n_inputs, _activation(spec.activation)
    bias = isinstance(spec, DenseLayerSpec)
    return Costs(
        prepare=0,
        forward=2 * k * m + m * f,
        backward=2 * k * m + m * (slope + 1 + bias),
        dx=2 * k * m,
        move=2 * k * m + m * f,
        credit=m * (slope + 1),
        accumulate=3 * k * m + 2 * m * bias,
        input_gradient=2 * k * m,
    )


@costs.register(IdentitySpec)
def _identity(spec):
    return Costs(0, 0, 0, 0)


@costs.register(LayerNormSpec)
def _layer_norm(spec):
    n, (f, slope) = spec.n_outputs, _activation(spec.activation)
    forward, credit, pull_back = n * (5 + f) + 5, n * (slope + 1), 7 * n + 2
    return Costs(0, forward, credit, pull_back, move=forward, credit=credit, input_gradient=pull_back)


@costs.register(StackSpec)
@costs.register(LRUSpec)
def _pair(spec):
    lower, upper = costs(spec.lower), costs(spec.upper)
    beside = spec.upper.n_inputs - spec.lower.n_outputs
    return Costs(
        prepare=lower.prepare + upper.prepare,
        forward=lower.forward + upper.forward,
        backward=lower.backward + upper.backward + upper.dx,
        dx=lower.dx + beside,
        move=lower.move + upper.move,
        propagate=lower.propagate + upper.propagate,
        credit=lower.credit + upper.credit + upper.input_gradient,
        accumulate=lower.accumulate + upper.accumulate,
        input_gradient=lower.input_gradient + beside,
    )
