"""What cells share whose units have one real state and two gated drives: minGRU and eLSTM.

Into a unit enter two numbers, the drives x W1 + b1 and x W2 + b2, and its own state, but no other unit's. So its step

    h_t = step(h_{t-1}, drive1, drive2)        keep = dh_t/dh_{t-1}       by1, by2 = dh_t/ddrive1, dh_t/ddrive2

has one Jacobian, a number, and each parameter has one sensitivity, e = dh/dparameter (derivations (56), (84)):

    e_t = keep e_{t-1} + by1 s  of W1 and b1,  keep e_{t-1} + by2 s  of W2 and b2         s = x_j of a weight, else 1

A cell computes keep, by1 and by2 in its `forward` and `move`. The kernels here do the rest, from these three alone.
Parameters and sensitivities have groups `weights` and `biases`, which are pairs; kernels unpack them and use no names.
"""

from typing import Annotated, Any, NamedTuple

from rtu_np import protocol
from rtu_np.cells.diagonal import Padded
from rtu_np.cells.drive import drive_backward, input_gradient_of
from rtu_np.cells.rows import accumulate_four
from rtu_np.cells.sequences import register_driven
from rtu_np.cells.states import HiddenState, hidden_state
from rtu_np.gradients.own_past import sees_no_other
from rtu_np.jit import kernel, noalias
from rtu_np.numerics.buffers import add_scaled, aligned, assign, copy
from rtu_np.numerics.layout import layout_of
from rtu_np.protocol import PerInput, PerOutput, PerUnit

# ----------------------------------------------------------------------------------------------------------- types


class GatedRecord(NamedTuple):
    state: Annotated[HiddenState, hidden_state, aligned]
    y: PerUnit
    keep: PerUnit  # dh_t/dh_tm1
    by1: PerUnit  # dh_t/ddrive1
    by2: PerUnit  # dh_t/ddrive2


class GatedWork(NamedTuple):
    ddrive1: PerUnit  # scratch
    ddrive2: PerUnit


class PaddedState(NamedTuple):
    h: Padded


gated_work = kernel(layout_of(GatedWork))


class GatedMemory(NamedTuple):
    state: Annotated[PaddedState, kernel(layout_of(PaddedState))]
    sensitivities: Annotated[Any, protocol.stored_sensitivities]  # of each unit to its own parameters
    y: PerOutput  # the latest output
    x: PerInput  # the latest input
    keep: Padded
    by1: Padded
    by2: Padded
    credit: Padded  # dy
    work: Annotated[GatedWork, gated_work]


# --------------------------------------------------------------------------------------------------------- kernels


@kernel
@noalias
def backward_units(spec, params, work, x_t, record, dy, adjoint):
    """`protocol.backward` for weights, biases, state and input; leaves dL/ddrive1, dL/ddrive2 in work."""
    (db1, db2), dh, ddrive1, ddrive2 = adjoint.params.biases, adjoint.state.h, work.ddrive1, work.ddrive2
    for i in range(spec.n_hidden):
        total = dh[i] + dy[i]
        ddrive1[i] = record.by1[i] * total
        ddrive2[i] = record.by2[i] * total
        dh[i] = record.keep[i] * total
        db1[i] += ddrive1[i]
        db2[i] += ddrive2[i]
    drive_backward(x_t, spec, params, ddrive1, ddrive2, adjoint)


@kernel
def backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    backward_units(spec, params, work, x_t, record, dy, adjoint)


@kernel
@noalias
def propagate(spec, memory):
    (e1, e2), keep, by1, by2 = memory.sensitivities.weights, memory.keep, memory.by1, memory.by2
    for j in range(spec.n_inputs):
        x_j = memory.x[j]
        for i in range(keep.shape[0]):
            e1[j, i] = keep[i] * e1[j, i] + by1[i] * x_j
            e2[j, i] = keep[i] * e2[j, i] + by2[i] * x_j


@kernel
@noalias
def credit(spec, params, memory, dy):
    copy(dy, memory.credit)


@kernel
@noalias
def contract_pair(pair, credit, decay, out):
    """out <- decay out + (dh/dparameter)^T credit, for two parameters of each unit with sensitivities `pair`."""
    (e1, e2), (out1, out2) = pair, out
    for i in range(credit.shape[0]):
        out1[i] = decay * out1[i] + credit[i] * e1[i]
        out2[i] = decay * out2[i] + credit[i] * e2[i]


@kernel
@noalias
def contract(spec, e, credit, decay, out):
    """out <- decay out + (dh/dparameter)^T credit, for weights and biases, with the sensitivities e."""
    (e1, e2), (out1, out2) = e.weights, out.weights
    contract_pair(e.biases, credit, decay, out.biases)
    for j in range(spec.n_inputs):
        for i in range(credit.shape[0]):
            out1[j, i] = decay * out1[j, i] + credit[i] * e1[j, i]
            out2[j, i] = decay * out2[j, i] + credit[i] * e2[j, i]


@kernel
def accumulate(spec, memory, decay, out):
    contract(spec, memory.sensitivities, memory.credit, decay, out)


@kernel
@noalias
def learn_drives(spec, params, traces, memory, decay, step):
    """`protocol.learn` for weights and biases."""
    (W1, W2), (z1, z2), (to_W1, to_W2) = params.weights, traces.weights, memory.sensitivities.weights
    keep, by1, by2, credit = memory.keep, memory.by1, memory.by2, memory.credit
    learn_pair(params.biases, traces.biases, memory.sensitivities.biases, credit, decay, step)
    for j in range(spec.n_inputs):
        x_j = memory.x[j]
        for i in range(keep.shape[0]):
            e1 = keep[i] * to_W1[j, i] + by1[i] * x_j
            e2 = keep[i] * to_W2[j, i] + by2[i] * x_j
            to_W1[j, i] = e1
            to_W2[j, i] = e2
            if step is not None:
                W1[j, i] += step * z1[j, i]
                W2[j, i] += step * z2[j, i]
            z1[j, i] = decay * z1[j, i] + credit[i] * e1
            z2[j, i] = decay * z2[j, i] + credit[i] * e2


@kernel
def learn_pair(params, traces, e, credit, decay, step):
    """Update and accumulate two parameters of each unit, whose sensitivities `move` has advanced."""
    if step is not None:
        add_scaled(params, traces, step)
    contract_pair(e, credit, decay, traces)


@kernel
@noalias
def input_gradient(spec, params, memory, dx):
    ddrive1, ddrive2 = memory.work.ddrive1, memory.work.ddrive2
    for i in range(spec.n_hidden):
        ddrive1[i] = memory.by1[i] * memory.credit[i]
        ddrive2[i] = memory.by2[i] * memory.credit[i]
    input_gradient_of(spec, params, ddrive1, ddrive2, dx)


# ------------------------------------------------------------------------------------------- stored sensitivities


@kernel
def store_sensitivities(spec, memory, stored):
    assign(stored, memory.sensitivities)


@kernel
def accumulate_stored(spec, stored, dstate, out):
    one = stored.biases[0].dtype.type(1)
    contract(spec, stored, hidden_state(spec, dstate)[0].h, one, out)


@kernel
def four_states(spec, dstates):
    """dL/dh of four steps, each (n,)"""
    a, b = hidden_state(spec, dstates[0])[0], hidden_state(spec, dstates[1])[0]
    c, d = hidden_state(spec, dstates[2])[0], hidden_state(spec, dstates[3])[0]
    return a.h, b.h, c.h, d.h


@kernel
def accumulate_stored_four(spec, stored, dstates, out):
    contract_four(spec, stored, four_states(spec, dstates), out)


@kernel
@noalias
def contract_pair_of_four(spec, pairs, dstates, out):
    """out <- out + (dh/dparameters)^T dstate of four steps, for two parameters of each unit"""
    (a1, a2), (b1, b2), (c1, c2), (d1, d2) = pairs
    (da, db, dc, dd), (out1, out2) = dstates, out
    for i in range(spec.n_hidden):
        out1[i] += da[i] * a1[i] + db[i] * b1[i] + dc[i] * c1[i] + dd[i] * d1[i]
        out2[i] += da[i] * a2[i] + db[i] * b2[i] + dc[i] * c2[i] + dd[i] * d2[i]


@kernel
@noalias
def contract_four(spec, stored, dstates, out):
    """out <- out + (dh/dparameters)^T dstate of four steps, for weights and biases, in one pass over `out`"""
    a, b, c, d = stored
    (da, db, dc, dd), (out1, out2) = dstates, out.weights
    (a1, a2), (b1, b2), (c1, c2), (d1, d2) = a.weights, b.weights, c.weights, d.weights
    contract_pair_of_four(spec, (a.biases, b.biases, c.biases, d.biases), dstates, out.biases)
    for j in range(spec.n_inputs):
        for i in range(spec.n_hidden):
            first = da[i] * a1[j, i] + db[i] * b1[j, i]
            out1[j, i] += first + dc[i] * c1[j, i] + dd[i] * d1[j, i]
            second = da[i] * a2[j, i] + db[i] * b2[j, i]
            out2[j, i] += second + dc[i] * c2[j, i] + dd[i] * d2[j, i]


def register_gated(kind: type) -> None:
    """Register for specs of the type `kind` what these cells share. A cell may then replace some."""
    shared = {
        protocol.state: hidden_state,
        protocol.record: layout_of(GatedRecord),
        protocol.work: gated_work,
        protocol.memory: layout_of(GatedMemory),
        protocol.backward: backward,
        protocol.propagate: propagate,
        protocol.credit: credit,
        protocol.accumulate: accumulate,
        protocol.learn: learn_drives,
        protocol.input_gradient: input_gradient,
        protocol.store_sensitivities: store_sensitivities,
        protocol.accumulate_stored: accumulate_stored,
        accumulate_four: accumulate_stored_four,
        sees_no_other: lambda spec: True,
    }
    for function, implementation in shared.items():
        function.register(kind)(implementation)
    register_driven(kind)
