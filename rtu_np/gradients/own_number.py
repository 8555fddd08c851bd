"""SnAp-1 and RFLO of a dense cell: one number J_ii and one sensitivity for each parameter (derivations (93), (94)).

A parameter acts directly on one unit alone, through a product with x_j, with h_{t-1, j}, or with 1, and the output is
the state. So no step of reverse mode is needed:

    e_t = J_ii e_{t-1} + (dh_i/dgate) x_j        dL/dp = dy_i e_t
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.gradients.layers import step_cell
from rtu_np.gradients.recurrent_slopes import (
    advance_directly,
    input_slope_flops,
    input_slopes,
    own_slopes,
    recurrent_slopes,
    slope_flops,
)
from rtu_np.gradients.stored_gradient import prepare_again
from rtu_np.jit import generic, kernel
from rtu_np.numerics.buffers import aligned, allocate, assign, clear, copy, count_numbers, overlapping, size
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.units import decay_and_add_units
from rtu_np.protocol import PerInput, PerOutput, PerUnit


class OwnNumber(NamedTuple):
    """SnAp-1: J_ii is the diagonal of the Jacobian."""


class LeakAlone(NamedTuple):
    """A leaky cell, RFLO: in place of J_ii, what the leak keeps."""


class OwnNumberSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    cell: Any
    kind: Any  # OwnNumber or LeakAlone
    n_params: int
    n_recurrent: int  # columns of W_recurrent


def own_number_spec(cell: Any, kind: Any) -> OwnNumberSpec:
    n_params = size(protocol.parameters, cell)
    views, _ = protocol.parameters(cell, allocate(n_params, np.float32))
    return OwnNumberSpec(cell.n_inputs, cell.n_hidden, cell.n_outputs, cell, kind, n_params, views.W_recurrent.shape[1])


protocol.delegate(OwnNumberSpec)
protocol.without_sensitivities(OwnNumberSpec)  # PPO, which stores them, refuses these gradients

PerGate = Annotated[np.ndarray, "spec.n_recurrent"]


class OwnNumberMemory(NamedTuple):
    state: Annotated[Any, protocol.state, "spec.cell"]
    flat_state: Annotated[np.ndarray, aligned]
    flat_state_tm1: PerUnit
    y: PerOutput
    S: Annotated[np.ndarray, "spec.n_params"]  # e_t
    J: PerUnit  # of the latest step
    keep: PerUnit
    by: PerGate
    by_input: PerGate
    x: PerInput
    flat_state_t: Annotated[np.ndarray, overlapping, "spec.n_hidden"]  # that of `record.state`
    record: Annotated[Any, protocol.record, "spec.cell"]
    work: Annotated[Any, protocol.work, "spec.cell"]
    gradient: Annotated[np.ndarray, "spec.n_params"]  # scratch of `input_gradient`
    dstate: PerUnit  # scratch
    dy: PerOutput  # of the latest `credit`


protocol.memory.register(OwnNumberSpec)(layout_of(OwnNumberMemory))


@generic
def own_jacobian(kind, params, memory):
    """memory.J <- J_ii"""


@own_jacobian.register(OwnNumber)
def _diagonal(kind, params, memory):
    own_slopes(params.W_recurrent, memory.keep, memory.by, memory.J)


@own_jacobian.register(LeakAlone)
def _leak_alone(kind, params, memory):
    copy(memory.keep, memory.J)


@kernel
def _sensitivities(spec, memory):
    return protocol.parameters(spec.cell, memory.S)[0]


@protocol.move.register(OwnNumberSpec)
def move(spec, params, memory, x_t):
    """The step, and the sensitivities up to it."""
    cell = spec.cell
    state_tm1 = step_cell(spec.cell, params, memory, x_t)
    recurrent_slopes(cell, state_tm1, memory.record, memory.keep, memory.by)
    input_slopes(cell, memory.record, memory.by, memory.by_input)
    own_jacobian(spec.kind, params, memory)
    advance_directly(cell, memory.J, memory.by_input, memory.by, memory.x, state_tm1, _sensitivities(spec, memory))


@protocol.credit.register(OwnNumberSpec)
def credit(spec, params, memory, dy):
    copy(dy, memory.dy)


@protocol.accumulate.register(OwnNumberSpec)
def accumulate(spec, memory, decay, out):
    decay_and_add_units(out, _sensitivities(spec, memory), memory.dy, decay)


@protocol.input_gradient.register(OwnNumberSpec)
def input_gradient(spec, params, memory, dx):
    cell = spec.cell
    clear(memory.dstate)
    clear(memory.gradient)
    state_tm1, _ = protocol.state(cell, memory.flat_state_tm1)
    out = protocol.parameters(cell, memory.gradient)[0]
    adjoint = protocol.Adjoint(protocol.state(cell, memory.dstate)[0], out, dx)
    protocol.backward(cell, params, memory.work, state_tm1, memory.x, memory.record, memory.dy, adjoint)


@protocol.rescale.register(OwnNumberSpec)
def rescale(spec, params, sensitivities, factors):
    flat = np.ones(spec.n_params)
    assign(protocol.parameters(spec.cell, flat)[0], factors)
    sensitivities.S[:] *= flat
    prepare_again(spec, params, sensitivities)


# ----------------------------------------------------------------------------------------------------------- costs


@protocol.flops.register(OwnNumberSpec)
def flops(spec):
    """Operations of a layer with this gradient."""
    count, m, columns = protocol.flops(spec.cell), count_numbers(protocol.parameters, spec.cell), spec.n_recurrent
    weights = columns * (spec.n_inputs + spec.n_hidden)
    slopes = slope_flops(spec.cell) + input_slope_flops(spec.cell)
    slopes += 2 * columns if isinstance(spec.kind, OwnNumber) else 0
    return count._replace(
        move=count.prepare + count.forward + slopes + 2 * m + weights,
        propagate=0,
        credit=0,
        accumulate=3 * m,
        input_gradient=count.backward + count.dx,
    )
