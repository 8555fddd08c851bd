"""RTRL of a cell whose units do not see one another, from its step and one step of reverse mode alone.

If the state of unit i depends on its own earlier state and its own parameters only, all rows of the sensitivities have
their numbers at different places. So one step of reverse mode with dL/dstate = 1 for all units gives the derivatives of
all of them (derivations (90)):

    keep_i = dh_i/dh_{i, t-1}  in dL/dstate_{t-1},      f = dh_i/dparameter of unit i  in dL/dparameters
    e_t = keep e_{t-1} + f                              each parameter has one sensitivity e, of its own unit

With a arrays in the state of a unit (two of an LSTM), keep is a matrix (a, a) for each unit, and e has a rows.

A parameter belongs to the unit of its last axis, whose length is n, or 2n, ... for two or more parameters of a unit.
As in full RTRL (rtu_np/gradients/rtrl.py), the memory has e of the step before, and `credit` adds the present step's.
If the output is the state, the gradient is dy (keep e_{t-1} + f), and needs no second step of reverse mode.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.gradients.own_past import sees_no_other
from rtu_np.jit import kernel
from rtu_np.numerics.buffers import aligned, clear, copy, decay_and_add, overlapping
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.units import add_scaled_units, decay_and_add_units, scale_units_and_add
from rtu_np.protocol import PerInput, PerOutput

# ----------------------------------------------------------------------------------------------------------- types

PerState = Annotated[np.ndarray, "spec.n_state"]  # n_arrays n
ArrayByParameter = Annotated[np.ndarray, "spec.n_arrays", "spec.n_params"]


class UnitwiseMemory(NamedTuple):
    state: Annotated[Any, protocol.state]
    flat_state: Annotated[np.ndarray, aligned]
    flat_state_tm1: PerState
    y: PerOutput
    e: ArrayByParameter  # dh_{t-1}/dparameter, of its own unit
    keep: Annotated[np.ndarray, "spec.n_arrays", "spec.n_state"]  # dh_t/dh_{t-1} of each unit
    f: ArrayByParameter  # dh_t/dparameter, through the latest step alone
    x: PerInput
    flat_state_t: Annotated[np.ndarray, overlapping, "spec.n_state"]  # the same numbers as `record.state`
    record: Annotated[Any, protocol.record]
    work: Annotated[Any, protocol.work]
    gradient: Annotated[np.ndarray, "spec.n_params"]  # of the latest `credit`
    dstate: PerState
    scratch: PerState
    dx: PerInput
    no_dy: PerOutput  # zeros


class UnitwiseSensitivities(NamedTuple):
    e: ArrayByParameter  # dh_t/dparameter


# --------------------------------------------------------------------------------------------------------- kernels


@kernel
def _backward(spec, params, memory, dy, dstate, gradient, dx):
    """The latest step's reverse mode, on flat arrays."""
    state_tm1, _ = protocol.state(spec, memory.flat_state_tm1)
    adjoint = protocol.Adjoint(protocol.state(spec, dstate)[0], protocol.parameters(spec, gradient)[0], dx)
    protocol.backward(spec, params, memory.work, state_tm1, memory.x, memory.record, dy, adjoint)


@kernel
def _add_kept(spec, memory, out):
    """out <- out + keep e, for each array of the state"""
    n = spec.n_hidden
    for k in range(spec.n_arrays):
        target, _ = protocol.parameters(spec, out[k])
        for j in range(spec.n_arrays):
            source, _ = protocol.parameters(spec, memory.e[j])
            add_scaled_units(target, source, memory.keep[k, j * n : (j + 1) * n])


@kernel
def move(spec, params, memory, x_t):
    """The step, with its keep and f. e advances to the step before."""
    n = spec.n_hidden
    if spec.n_arrays == 1:
        e, f = protocol.parameters(spec, memory.e[0])[0], protocol.parameters(spec, memory.f[0])[0]
        scale_units_and_add(e, f, memory.keep[0])
    else:
        _add_kept(spec, memory, memory.f)
        for k in range(spec.n_arrays):
            copy(memory.f[k], memory.e[k])
    copy(x_t, memory.x)
    copy(memory.flat_state, memory.flat_state_tm1)
    state_tm1, _ = protocol.state(spec, memory.flat_state_tm1)
    protocol.forward(spec, params, memory.work, state_tm1, x_t, memory.record)
    copy(memory.flat_state_t, memory.flat_state)
    copy(memory.record.y, memory.y)
    for k in range(spec.n_arrays):
        clear(memory.keep[k])
        clear(memory.f[k])
        for i in range(n):
            memory.keep[k, k * n + i] = 1
        _backward(spec, params, memory, memory.no_dy, memory.keep[k], memory.f[k], memory.dx[:0])


@kernel
def credit(spec, params, memory, dy):
    clear(memory.dstate)
    clear(memory.gradient)
    _backward(spec, params, memory, dy, memory.dstate, memory.gradient, memory.dx)
    _add_through_state(spec, memory.e, memory.dstate, protocol.parameters(spec, memory.gradient)[0])


@kernel
def _add_through_state(spec, e, dstate, out):
    """out <- out + (dh/dparameters)^T dstate"""
    n = spec.n_hidden
    for k in range(spec.n_arrays):
        add_scaled_units(out, protocol.parameters(spec, e[k])[0], dstate[k * n : (k + 1) * n])


@kernel
def accumulate(spec, memory, decay, out):
    decay_and_add(out, protocol.parameters(spec, memory.gradient)[0], decay)


@kernel
def input_gradient(spec, params, memory, dx):
    copy(memory.dx, dx)


# ----------------------------------------------------------------------------------------- if the output is the state


@kernel
def credit_state(spec, params, memory, dy):
    copy(dy, memory.dstate)


@kernel
def accumulate_state(spec, memory, decay, out):
    dy, kept = memory.dstate, memory.scratch
    for i in range(spec.n_hidden):
        kept[i] = dy[i] * memory.keep[0, i]
    decay_and_add_units(out, protocol.parameters(spec, memory.e[0])[0], kept, decay)
    add_scaled_units(out, protocol.parameters(spec, memory.f[0])[0], dy)


@kernel
def input_gradient_of_state(spec, params, memory, dx):
    clear(memory.scratch)
    clear(memory.gradient)
    _backward(spec, params, memory, memory.dstate, memory.scratch, memory.gradient, dx)


# ------------------------------------------------------------------------------------------- stored sensitivities


@kernel
def store_sensitivities(spec, memory, stored):
    for k in range(spec.n_arrays):
        copy(memory.f[k], stored.e[k])
    _add_kept(spec, memory, stored.e)


@kernel
def accumulate_stored(spec, stored, dstate, out):
    _add_through_state(spec, stored.e, dstate, out)


def register_unitwise(kind: type, output_is_state: bool) -> None:
    """Register RTRL for specs of the type `kind`, which have n_arrays, n_state and n_params. No parameter is padded.

    output_is_state : whether y is the state, which is one array
    """
    shared = {
        protocol.memory: layout_of(UnitwiseMemory),
        protocol.move: move,
        protocol.credit: credit,
        protocol.accumulate: accumulate,
        protocol.input_gradient: input_gradient,
        protocol.stored_sensitivities: layout_of(UnitwiseSensitivities),
        protocol.store_sensitivities: store_sensitivities,
        protocol.accumulate_stored: accumulate_stored,
        sees_no_other: lambda spec: True,
    }
    if output_is_state:
        shared |= {
            protocol.credit: credit_state,
            protocol.accumulate: accumulate_state,
            protocol.input_gradient: input_gradient_of_state,
        }
    for function, implementation in shared.items():
        function.register(kind)(implementation)
