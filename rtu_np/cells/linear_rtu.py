"""The linear recurrent trace unit: a linear recurrence and a nonlinear output.

    c_t = z_t          z as in `rtu_np.cells.rotation`                            derivations (3), (4), (7)
    y_t = [f(c1); f(c2)]                                                          2n features of n units

Sensitivities, e = dc/dparameter (derivations (11); Elelimy et al. 2024, Sec. 3.3). `rtu_np.cells.rotation` defines a,
b, g, p, dlog_r, dtheta and dgamma. With u the turned state of the last step, u1 = g c1 - p c2 and u2 = g c2 + p c1,

    a:       e1' = g e1 - p e2 + dlog_r u1 + dgamma W1 x       e2' = g e2 + p e1 + dlog_r u2 + dgamma W2 x
    b:       e1' = g e1 - p e2 - dtheta u2                     e2' = g e2 + p e1 + dtheta u1
    W1_j:    e1' = g e1 - p e2 + gamma x_j                     e2' = g e2 + p e1                              (12)
    W2_j:    i times that of W1_j: (-e2, e1)                                                             (13), (14)

So one complex sensitivity per weight pair is enough. The gradient of dy . y_t, derivations (15), with d = f'(c) dy:

    d1 e1 + d2 e2      and for W2_j      d2 e1 - d1 e2

The released code of the paper stores all four sensitivities per pair. Its e of theta_log lacks the factor theta.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.diagonal import (
    DiagonalParameters,
    DiagonalState,
    Padded,
    PaddedRows,
    Rotation,
    UnitSensitivities,
    diagonal_flops,
    diagonal_state,
    diagonal_work,
    padded_state,
    unit_sensitivities,
)
from rtu_np.cells.drive import input_gradient_of
from rtu_np.cells.input_scale import Tied
from rtu_np.cells.ring import TraceUnits
from rtu_np.cells.rotation import (
    PlainUnits,
    accumulate_units,
    learn_units,
    move_rotation,
    plain_rotation,
    plain_rotation_backward,
    plain_unit_gradient,
    register_diagonal,
    rotate,
    rotation_backward,
)
from rtu_np.cells.rows import accumulate_four
from rtu_np.jit import kernel, like, noalias
from rtu_np.numerics.activations import (
    Activation,
    activate,
    activation,
    activation_flops,
    plain_activate,
    plain_slope,
    slope,
)
from rtu_np.numerics.buffers import any_nonzero, assign, copy
from rtu_np.numerics.layout import layout_of
from rtu_np.protocol import PerInput, PerOutput


@dataclass(frozen=True)
class LinearRTU(TraceUnits):
    """A layer of linear recurrent trace units (Elelimy et al. 2024; derivations (3)-(7)).

    With d inputs, its parameters are by default nu_log and theta_log (n,), W1 and W2 (d, n).

    Parameters
    ----------
    n_hidden : number of units n; the layer has 2n outputs
    activation : of the output: "identity", "relu", "leaky_relu" or "tanh"
    r_min, r_max, max_phase, parameterization : of the eigenvalues, phases in radians; see `rtu_np.cells.ring`

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> LinearRTU(n_hidden=8).build(n_inputs=3, seed=0).advance([1.0, 0.0, -1.0]).shape
    (16,)
    """

    def spec(self, n_inputs: int) -> "LinearRTUSpec":
        return LinearRTUSpec(
            n_inputs, self.n_hidden, 2 * self.n_hidden, self.form, Tied(), activation(self.activation), self.span
        )


# ----------------------------------------------------------------------------------------------------------- types


class LinearRTUSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    form: Any
    input_scale: Any
    activation: Activation
    span: Any  # OrdinaryMemory or LongMemory: the bound of r while learning


class LinearRTUMemory(NamedTuple):
    state: Annotated[DiagonalState, padded_state]
    units: Annotated[UnitSensitivities, unit_sensitivities]
    dc1_dW1: PaddedRows  # sensitivities of each unit to its own weights; those to the weights of other units are zero
    dc2_dW1: PaddedRows
    y: PerOutput  # the latest output
    x: PerInput  # the latest input
    credit1: Padded  # f'(c1) dy1
    credit2: Padded  # f'(c2) dy2
    work: Annotated[Rotation, diagonal_work]


class LinearRTUSensitivities(NamedTuple):
    units: Annotated[UnitSensitivities, unit_sensitivities]
    dc1_dW1: PaddedRows
    dc2_dW1: PaddedRows


register_diagonal(LinearRTUSpec, lambda spec, c: like(c, 1.0))
protocol.memory.register(LinearRTUSpec)(layout_of(LinearRTUMemory))
protocol.stored_sensitivities.register(LinearRTUSpec)(layout_of(LinearRTUSensitivities))


# ------------------------------------------------------------------------------------------- reference: plain NumPy


@protocol.preactivations.register(LinearRTUSpec)
def preactivations(spec, params, state_tm1, x_t):
    (c1, c2), _ = plain_forward(spec, params, state_tm1, x_t)
    return np.concatenate([c1, c2])


@protocol.plain_forward.register(LinearRTUSpec)
def plain_forward(spec, params, state_tm1, x_t):
    rotation, (W1, W2), (c1, c2) = plain_rotation(spec, params), params.weights, state_tm1
    g, p, gamma = rotation.g, rotation.p, rotation.gamma
    c1, c2 = g * c1 - p * c2 + gamma * (x_t @ W1), g * c2 + p * c1 + gamma * (x_t @ W2)
    return DiagonalState(c1, c2), plain_activate(spec.activation, np.concatenate([c1, c2]))


@protocol.plain_backward.register(LinearRTUSpec)
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    y = plain_activate(spec.activation, np.concatenate(state_t))
    d1, d2 = np.split(np.concatenate(dstate) + plain_slope(spec.activation, y) * dy, 2)
    return plain_rotation_backward(spec, params, state_tm1, x_t, d1, d2)


@protocol.plain_advance.register(LinearRTUSpec)
def plain_advance(spec, params, memory, x_t):
    # In complex numbers: c' = lambda c + gamma w x; for each sensitivity, e' = lambda e + (the share of this step).
    rotation, (W1, W2), units = plain_rotation(spec, params), params.weights, PlainUnits.of(memory.units)
    lam, drive = rotation.g + 1j * rotation.p, x_t @ (W1 + 1j * W2)
    turned = lam * (memory.state.c1 + 1j * memory.state.c2)
    c = turned + rotation.gamma * drive
    dc_dW1 = lam * (memory.dc1_dW1 + 1j * memory.dc2_dW1) + np.outer(x_t, rotation.gamma)
    units = PlainUnits(
        lam * units.dc_da + rotation.dlog_r * turned + rotation.dgamma * drive,
        lam * units.dc_db + 1j * rotation.dtheta * turned,
        [lam * e + rotation.gamma * drive for e in units.dc_dinput_scale],
    )
    return memory._replace(
        state=DiagonalState(c.real, c.imag),
        units=units.store(memory.units),
        dc1_dW1=dc_dW1.real,
        dc2_dW1=dc_dW1.imag,
        y=plain_activate(spec.activation, np.concatenate([c.real, c.imag])),
    )


@protocol.plain_gradient.register(LinearRTUSpec)
def plain_gradient(spec, params, memory, dy):
    (W1, W2), gamma = params.weights, plain_rotation(spec, params).gamma
    d1, d2 = np.split(plain_slope(spec.activation, memory.y) * dy, 2)
    weights = type(params.weights)(
        d1 * memory.dc1_dW1 + d2 * memory.dc2_dW1,
        d2 * memory.dc1_dW1 - d1 * memory.dc2_dW1,
    )
    eigenvalue, input_scale = plain_unit_gradient(params, memory.units, d1, d2)
    gradient = DiagonalParameters(eigenvalue, input_scale, weights)
    return gradient, W1 @ (gamma * d1) + W2 @ (gamma * d2)


# --------------------------------------------------------------------------------------------------------- kernels


@protocol.forward.register(LinearRTUSpec)
@noalias
def forward(spec, params, work, state_tm1, x_t, record):
    protocol.replay(spec, params, work, state_tm1, x_t, record, True)


@protocol.replay.register(LinearRTUSpec)
@noalias
def replay(spec, params, work, state_tm1, x_t, record, last):
    n = spec.n_hidden
    rotate(params, work, state_tm1, x_t, record)
    if last:
        for i in range(n):
            record.y[i] = activate(spec.activation, record.state.c1[i])
            record.y[n + i] = activate(spec.activation, record.state.c2[i])


@protocol.backward.register(LinearRTUSpec)
@noalias
def backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    n = spec.n_hidden
    if any_nonzero(dy):
        for i in range(n):
            adjoint.state.c1[i] += slope(spec.activation, record.y[i]) * dy[i]
            adjoint.state.c2[i] += slope(spec.activation, record.y[n + i]) * dy[n + i]
    rotation_backward(spec, params, work, state_tm1, x_t, record, adjoint)


@protocol.move.register(LinearRTUSpec)
@noalias
def move(spec, params, memory, x_t):
    n, f1, f2 = spec.n_hidden, memory.work.scratch1, memory.work.scratch2
    move_rotation(spec, params, memory, x_t)
    for i in range(f1.shape[0]):
        f1[i] = activate(spec.activation, memory.state.c1[i])
        f2[i] = activate(spec.activation, memory.state.c2[i])
    copy(f1[:n], memory.y[:n])
    copy(f2[:n], memory.y[n:])


@protocol.propagate.register(LinearRTUSpec)
@noalias
def propagate(spec, memory):
    e1, e2, work = memory.dc1_dW1, memory.dc2_dW1, memory.work
    for j in range(spec.n_inputs):
        x_j = memory.x[j]
        for i in range(work.g.shape[0]):
            e1_tm1 = e1[j, i]
            e1[j, i] = work.g[i] * e1_tm1 - work.p[i] * e2[j, i] + work.gamma[i] * x_j
            e2[j, i] = work.g[i] * e2[j, i] + work.p[i] * e1_tm1


@protocol.credit.register(LinearRTUSpec)
@noalias
def credit(spec, params, memory, dy):
    n = spec.n_hidden
    for i in range(n):
        memory.credit1[i] = slope(spec.activation, memory.y[i]) * dy[i]
        memory.credit2[i] = slope(spec.activation, memory.y[n + i]) * dy[n + i]


@kernel
@noalias
def _contract(spec, sensitivities, credit1, credit2, decay, out):
    """out <- decay out + (dc/dparameter)^T credit, with the given sensitivities."""
    dW1, dW2 = out.weights
    accumulate_units(spec, sensitivities.units, credit1, credit2, decay, out)
    for j in range(spec.n_inputs):
        for i in range(credit1.shape[0]):
            d1, d2 = credit1[i], credit2[i]
            e1, e2 = sensitivities.dc1_dW1[j, i], sensitivities.dc2_dW1[j, i]
            dW1[j, i] = decay * dW1[j, i] + d1 * e1 + d2 * e2
            dW2[j, i] = decay * dW2[j, i] + d2 * e1 - d1 * e2


@kernel
def _sensitivities_of(memory):
    return LinearRTUSensitivities(memory.units, memory.dc1_dW1, memory.dc2_dW1)


@protocol.accumulate.register(LinearRTUSpec)
def accumulate(spec, memory, decay, out):
    _contract(spec, _sensitivities_of(memory), memory.credit1, memory.credit2, decay, out)


@protocol.store_sensitivities.register(LinearRTUSpec)
def store_sensitivities(spec, memory, stored):
    assign(stored, _sensitivities_of(memory))


@protocol.accumulate_stored.register(LinearRTUSpec)
def accumulate_stored(spec, stored, dstate, out):
    d, _ = diagonal_state(spec, dstate)
    _contract(spec, stored, d.c1, d.c2, stored.dc1_dW1.dtype.type(1), out)


@accumulate_four.register(LinearRTUSpec)
def _accumulate_four(spec, stored, dstates, out):
    one = stored[0].dc1_dW1.dtype.type(1)
    a, b = diagonal_state(spec, dstates[0])[0], diagonal_state(spec, dstates[1])[0]
    c, d = diagonal_state(spec, dstates[2])[0], diagonal_state(spec, dstates[3])[0]
    accumulate_units(spec, stored[0].units, a.c1, a.c2, one, out)
    accumulate_units(spec, stored[1].units, b.c1, b.c2, one, out)
    accumulate_units(spec, stored[2].units, c.c1, c.c2, one, out)
    accumulate_units(spec, stored[3].units, d.c1, d.c2, one, out)
    _contract_four(spec, stored, (a, b, c, d), out.weights)


@kernel
@noalias
def _contract_four(spec, stored, dstates, out):
    """out <- out + (dc/dweights)^T dstate of four steps, in one pass over `out`"""
    dW1, dW2 = out
    a, b, c, d = stored
    da, db, dc, dd = dstates
    for j in range(spec.n_inputs):
        for i in range(spec.n_hidden):
            a1, a2, b1, b2 = a.dc1_dW1[j, i], a.dc2_dW1[j, i], b.dc1_dW1[j, i], b.dc2_dW1[j, i]
            c1, c2, d1, d2 = c.dc1_dW1[j, i], c.dc2_dW1[j, i], d.dc1_dW1[j, i], d.dc2_dW1[j, i]
            first = da.c1[i] * a1 + da.c2[i] * a2 + db.c1[i] * b1 + db.c2[i] * b2
            dW1[j, i] += first + dc.c1[i] * c1 + dc.c2[i] * c2 + dd.c1[i] * d1 + dd.c2[i] * d2
            second = da.c2[i] * a1 - da.c1[i] * a2 + db.c2[i] * b1 - db.c1[i] * b2
            dW2[j, i] += second + dc.c2[i] * c1 - dc.c1[i] * c2 + dd.c2[i] * d1 - dd.c1[i] * d2


@protocol.learn.register(LinearRTUSpec)
@noalias
def learn(spec, params, traces, memory, decay, step):
    (W1, W2), (z1, z2), work = params.weights, traces.weights, memory.work
    learn_units(spec, params, traces, memory, decay, step)
    for j in range(spec.n_inputs):
        x_j = memory.x[j]
        for i in range(work.g.shape[0]):
            g, p, d1, d2 = work.g[i], work.p[i], memory.credit1[i], memory.credit2[i]
            e1_tm1, e2_tm1 = memory.dc1_dW1[j, i], memory.dc2_dW1[j, i]
            e1 = g * e1_tm1 - p * e2_tm1 + work.gamma[i] * x_j
            e2 = g * e2_tm1 + p * e1_tm1
            memory.dc1_dW1[j, i] = e1
            memory.dc2_dW1[j, i] = e2
            if step is not None:
                W1[j, i] += step * z1[j, i]
                W2[j, i] += step * z2[j, i]
            z1[j, i] = decay * z1[j, i] + d1 * e1 + d2 * e2
            z2[j, i] = decay * z2[j, i] + d2 * e1 - d1 * e2


@protocol.input_gradient.register(LinearRTUSpec)
@noalias
def input_gradient(spec, params, memory, dx):
    gamma, ddrive1, ddrive2 = memory.work.gamma, memory.work.scratch1, memory.work.scratch2
    for i in range(spec.n_hidden):
        ddrive1[i] = gamma[i] * memory.credit1[i]
        ddrive2[i] = gamma[i] * memory.credit2[i]
    input_gradient_of(spec, params, ddrive1, ddrive2, dx)


# ----------------------------------------------------------------------------------------------------------- costs


@protocol.flops.register(LinearRTUSpec)
def flops(spec):
    n, d, (f, slope), shared = spec.n_hidden, spec.n_inputs, activation_flops(spec.activation), diagonal_flops(spec)
    return protocol.Flops(
        prepare=shared.prepare,
        forward=shared.drive + shared.rotate + 2 * n * f,
        backward=2 * n * (slope + 2) + shared.backward,
        dx=shared.dx,
        output_forward=2 * n * f,
        output_backward=2 * n * (slope + 2),
        move=shared.prepare + shared.drive + shared.move + 2 * n * f,
        propagate=8 * n * d,
        credit=2 * n * (slope + 1),
        accumulate=shared.units + 10 * n * d,
        input_gradient=2 * n + shared.dx,
    )
