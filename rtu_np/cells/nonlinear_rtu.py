"""The nonlinear recurrent trace unit: the activation function is part of the recurrence.

    c_t = f(z_t)       z as in `rtu_np.cells.rotation`                            derivations (3), (4), (8)
    y_t = [c1; c2]                                                                2n features of n units

Sensitivities, e = dc/dparameter (derivations (11); Elelimy et al. 2024, Sec. 3.3). `rtu_np.cells.rotation` defines a,
b, g, p, dlog_r, dtheta and dgamma. With u the turned state of the last step, u1 = g c1 - p c2 and u2 = g c2 + p c1,
and f'_i = f'(z_i),

    a:       e1' = f'_1 (g e1 - p e2 + dlog_r u1 + dgamma W1 x)       e2' = f'_2 (g e2 + p e1 + dlog_r u2 + dgamma W2 x)
    b:       e1' = f'_1 (g e1 - p e2 - dtheta u2)                     e2' = f'_2 (g e2 + p e1 + dtheta u1)
    W1_j:    e1' = f'_1 (g e1 - p e2 + gamma x_j)                     e2' = f'_2 (g e2 + p e1)                  (12)
    W2_j:    e1' = f'_1 (g e1 - p e2)                                 e2' = f'_2 (g e2 + p e1 + gamma x_j)      (13)

f'_1 and f'_2 differ, so e is not a complex derivative. W1 and W2 need a pair of sensitivities each, twice as many as
the linear unit has. The gradient of dy . y_t, derivations (15): dy1 e1 + dy2 e2.
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
from rtu_np.cells.input_scale import Free, Tied
from rtu_np.cells.ring import TraceUnits
from rtu_np.cells.rotation import (
    accumulate_units,
    apply_slopes,
    learn_units,
    move_rotation,
    plain_rotation,
    plain_rotation_backward,
    plain_unit_gradient,
    register_diagonal,
    rotate,
    rotation_backward,
)
from rtu_np.jit import kernel, noalias
from rtu_np.numerics.activations import (
    Activation,
    activate,
    activation,
    activation_flops,
    plain_activate,
    plain_slope,
    slope,
)
from rtu_np.numerics.buffers import assign, rebuild
from rtu_np.numerics.layout import layout_of
from rtu_np.protocol import PerInput, PerOutput


@dataclass(frozen=True)
class NonlinearRTU(TraceUnits):
    """A layer of nonlinear recurrent trace units (Elelimy et al. 2024; derivations (3)-(6), (8)).

    With d inputs, its parameters are by default nu_log and theta_log (n,), W1 and W2 (d, n).

    Parameters
    ----------
    n_hidden : number of units n; the layer has 2n outputs
    activation : in the recurrence: "identity", "relu", "leaky_relu" or "tanh"
    r_min, r_max, max_phase, parameterization : of the eigenvalues, phases in radians; see `rtu_np.cells.ring`

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> NonlinearRTU(n_hidden=8).build(n_inputs=3, seed=0).advance([1.0, 0.0, -1.0]).shape
    (16,)
    """

    def spec(self, n_inputs: int) -> "NonlinearRTUSpec":
        return NonlinearRTUSpec(
            n_inputs, self.n_hidden, 2 * self.n_hidden, self.form, Tied(), activation(self.activation), self.span
        )


# ----------------------------------------------------------------------------------------------------------- types


class NonlinearRTUSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    form: Any
    input_scale: Any
    activation: Activation
    span: Any  # OrdinaryMemory or LongMemory: the bound of r while learning


class NonlinearRTUMemory(NamedTuple):
    state: Annotated[DiagonalState, padded_state]
    units: Annotated[UnitSensitivities, unit_sensitivities]
    dc1_dW1: PaddedRows  # sensitivities of each unit to its own weights; those to the weights of other units are zero
    dc2_dW1: PaddedRows
    dc1_dW2: PaddedRows
    dc2_dW2: PaddedRows
    y: PerOutput  # the latest output
    x: PerInput  # the latest input
    credit1: Padded  # dy1
    credit2: Padded  # dy2
    work: Annotated[Rotation, diagonal_work]
    g1: Padded  # g, p and gamma times the slope f'_1
    p1: Padded
    gamma1: Padded
    g2: Padded  # g, p and gamma times the slope f'_2
    p2: Padded
    gamma2: Padded


class NonlinearRTUSensitivities(NamedTuple):
    units: Annotated[UnitSensitivities, unit_sensitivities]
    dc1_dW1: PaddedRows
    dc2_dW1: PaddedRows
    dc1_dW2: PaddedRows
    dc2_dW2: PaddedRows


register_diagonal(NonlinearRTUSpec, lambda spec, c: slope(spec.activation, c))
protocol.memory.register(NonlinearRTUSpec)(layout_of(NonlinearRTUMemory))
protocol.stored_sensitivities.register(NonlinearRTUSpec)(layout_of(NonlinearRTUSensitivities))


# ------------------------------------------------------------------------------------------- reference: plain NumPy


@protocol.preactivations.register(NonlinearRTUSpec)
def preactivations(spec, params, state_tm1, x_t):
    rotation, (W1, W2), (c1, c2) = plain_rotation(spec, params), params.weights, state_tm1
    z1 = rotation.g * c1 - rotation.p * c2 + rotation.gamma * (x_t @ W1)
    z2 = rotation.g * c2 + rotation.p * c1 + rotation.gamma * (x_t @ W2)
    return np.concatenate([z1, z2])


@protocol.plain_forward.register(NonlinearRTUSpec)
def plain_forward(spec, params, state_tm1, x_t):
    y = plain_activate(spec.activation, preactivations(spec, params, state_tm1, x_t))
    return DiagonalState(*np.split(y, 2)), y


@protocol.plain_backward.register(NonlinearRTUSpec)
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    d1, d2 = np.split(plain_slope(spec.activation, np.concatenate(state_t)) * (dy + np.concatenate(dstate)), 2)
    return plain_rotation_backward(spec, params, state_tm1, x_t, d1, d2)


@protocol.plain_advance.register(NonlinearRTUSpec)
def plain_advance(spec, params, memory, x_t):
    # Every sensitivity is e' = f'(z) (R e + the share of this step), with R the rotation. The first axis is (e1, e2).
    rotation, (W1, W2), units = plain_rotation(spec, params), params.weights, memory.units
    drive = np.stack([x_t @ W1, x_t @ W2])

    def turn(e1, e2):
        return np.stack([rotation.g * e1 - rotation.p * e2, rotation.g * e2 + rotation.p * e1])

    turned = turn(*memory.state)
    c = plain_activate(spec.activation, turned + rotation.gamma * drive)
    slope = plain_slope(spec.activation, c)
    quarter_turned = np.stack([-turned[1], turned[0]])
    da = slope * (turn(units.dc1_da, units.dc2_da) + rotation.dlog_r * turned + rotation.dgamma * drive)
    db = slope * (turn(units.dc1_db, units.dc2_db) + rotation.dtheta * quarter_turned)
    dscale = slope * (turn(*units.input_scale) + rotation.gamma * drive) if units.input_scale else []
    dW1 = turn(memory.dc1_dW1, memory.dc2_dW1)
    dW2 = turn(memory.dc1_dW2, memory.dc2_dW2)
    dW1[0] += np.outer(x_t, rotation.gamma)
    dW2[1] += np.outer(x_t, rotation.gamma)
    return memory._replace(
        state=DiagonalState(*c),
        units=rebuild(units, [*da, *db, *dscale]),
        dc1_dW1=slope[0] * dW1[0],
        dc2_dW1=slope[1] * dW1[1],
        dc1_dW2=slope[0] * dW2[0],
        dc2_dW2=slope[1] * dW2[1],
        y=np.concatenate(c),
    )


@protocol.plain_gradient.register(NonlinearRTUSpec)
def plain_gradient(spec, params, memory, dy):
    (W1, W2), gamma = params.weights, plain_rotation(spec, params).gamma
    dy1, dy2 = np.split(dy, 2)
    weights = type(params.weights)(
        dy1 * memory.dc1_dW1 + dy2 * memory.dc2_dW1,
        dy1 * memory.dc1_dW2 + dy2 * memory.dc2_dW2,
    )
    eigenvalue, input_scale = plain_unit_gradient(params, memory.units, dy1, dy2)
    gradient = DiagonalParameters(eigenvalue, input_scale, weights)
    d1, d2 = np.split(plain_slope(spec.activation, memory.y) * dy, 2)
    return gradient, W1 @ (gamma * d1) + W2 @ (gamma * d2)


# --------------------------------------------------------------------------------------------------------- kernels


@protocol.forward.register(NonlinearRTUSpec)
@noalias
def forward(spec, params, work, state_tm1, x_t, record):
    rotate(params, work, state_tm1, x_t, record)
    activate_record(spec, record)


@kernel
@noalias
def activate_record(spec, record):
    """record.state and record.y <- f(z); on entry, record.state is z"""
    for i in range(spec.n_hidden):
        c1 = activate(spec.activation, record.state.c1[i])
        c2 = activate(spec.activation, record.state.c2[i])
        record.state.c1[i] = c1
        record.state.c2[i] = c2
        record.y[i] = c1
        record.y[spec.n_hidden + i] = c2


@protocol.backward.register(NonlinearRTUSpec)
@noalias
def backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    activation_backward(spec, record.y, dy, adjoint.state)
    rotation_backward(spec, params, work, state_tm1, x_t, record, adjoint)


@kernel
@noalias
def activation_backward(spec, y, dy, dstate):
    """dstate <- dL/dz; on entry, it is dL/dstate through the later steps"""
    n = spec.n_hidden
    for i in range(n):
        dstate.c1[i] = slope(spec.activation, y[i]) * (dstate.c1[i] + dy[i])
        dstate.c2[i] = slope(spec.activation, y[n + i]) * (dstate.c2[i] + dy[n + i])


@protocol.move.register(NonlinearRTUSpec)
@noalias
def move(spec, params, memory, x_t):
    move_rotation(spec, params, memory, x_t)
    activate_units(spec, memory)


@kernel
@noalias
def activate_units(spec, memory):
    """memory.state and memory.y <- f(z); the slopes f' into sensitivities and rotation, and into two scratch vectors"""
    work = memory.work
    slope1, slope2 = work.scratch1, work.scratch2
    for i in range(slope1.shape[0]):
        c1 = activate(spec.activation, memory.state.c1[i])
        c2 = activate(spec.activation, memory.state.c2[i])
        slope1[i] = slope(spec.activation, c1)
        slope2[i] = slope(spec.activation, c2)
        memory.state.c1[i] = c1
        memory.state.c2[i] = c2
    for i in range(spec.n_hidden):
        memory.y[i] = memory.state.c1[i]
        memory.y[spec.n_hidden + i] = memory.state.c2[i]
    apply_slopes(spec, memory.units, slope1, slope2)
    for i in range(slope1.shape[0]):
        memory.g1[i] = slope1[i] * work.g[i]
        memory.p1[i] = slope1[i] * work.p[i]
        memory.gamma1[i] = slope1[i] * work.gamma[i]
        memory.g2[i] = slope2[i] * work.g[i]
        memory.p2[i] = slope2[i] * work.p[i]
        memory.gamma2[i] = slope2[i] * work.gamma[i]


@protocol.propagate.register(NonlinearRTUSpec)
@kernel
@noalias
def propagate_recurrence(spec, memory):
    for j in range(spec.n_inputs):
        x_j = memory.x[j]
        for i in range(memory.g1.shape[0]):
            g1, p1, g2, p2 = memory.g1[i], memory.p1[i], memory.g2[i], memory.p2[i]
            e1, e2 = memory.dc1_dW1[j, i], memory.dc2_dW1[j, i]
            memory.dc1_dW1[j, i] = g1 * e1 - p1 * e2 + memory.gamma1[i] * x_j
            memory.dc2_dW1[j, i] = g2 * e2 + p2 * e1
            e1, e2 = memory.dc1_dW2[j, i], memory.dc2_dW2[j, i]
            memory.dc1_dW2[j, i] = g1 * e1 - p1 * e2
            memory.dc2_dW2[j, i] = g2 * e2 + p2 * e1 + memory.gamma2[i] * x_j


@protocol.credit.register(NonlinearRTUSpec)
@kernel
@noalias
def credit(spec, params, memory, dy):
    n = spec.n_hidden
    for i in range(n):
        memory.credit1[i] = dy[i]
        memory.credit2[i] = dy[n + i]


@kernel
@noalias
def contract(spec, sensitivities, d1, d2, decay, out):
    """out <- decay out + (dc/dparameter)^T d, with the given sensitivities."""
    dW1, dW2 = out.weights
    accumulate_units(spec, sensitivities.units, d1, d2, decay, out)
    for j in range(spec.n_inputs):
        for i in range(d1.shape[0]):
            dW1[j, i] = decay * dW1[j, i] + d1[i] * sensitivities.dc1_dW1[j, i] + d2[i] * sensitivities.dc2_dW1[j, i]
            dW2[j, i] = decay * dW2[j, i] + d1[i] * sensitivities.dc1_dW2[j, i] + d2[i] * sensitivities.dc2_dW2[j, i]


@kernel
def _sensitivities_of(memory):
    weights = (memory.dc1_dW1, memory.dc2_dW1, memory.dc1_dW2, memory.dc2_dW2)
    return NonlinearRTUSensitivities(memory.units, *weights)


@protocol.accumulate.register(NonlinearRTUSpec)
def accumulate(spec, memory, decay, out):
    contract(spec, _sensitivities_of(memory), memory.credit1, memory.credit2, decay, out)


@protocol.store_sensitivities.register(NonlinearRTUSpec)
def store_sensitivities(spec, memory, stored):
    assign(stored, _sensitivities_of(memory))


@protocol.accumulate_stored.register(NonlinearRTUSpec)
def accumulate_stored(spec, stored, dstate, out):
    d, _ = diagonal_state(spec, dstate)
    contract(spec, stored, d.c1, d.c2, stored.dc1_dW1.dtype.type(1), out)


@protocol.learn.register(NonlinearRTUSpec)
@kernel
@noalias
def learn_recurrence(spec, params, traces, memory, decay, step):
    (W1, W2), (z1, z2), d1, d2 = params.weights, traces.weights, memory.credit1, memory.credit2
    learn_units(spec, params, traces, memory, decay, step)
    for j in range(spec.n_inputs):
        x_j = memory.x[j]
        # One loop per weight: a loop reads half as many arrays, and their numbers fit the registers.
        for i in range(d1.shape[0]):
            e1_tm1, e2_tm1 = memory.dc1_dW1[j, i], memory.dc2_dW1[j, i]
            e1 = memory.g1[i] * e1_tm1 - memory.p1[i] * e2_tm1 + memory.gamma1[i] * x_j
            e2 = memory.g2[i] * e2_tm1 + memory.p2[i] * e1_tm1
            memory.dc1_dW1[j, i] = e1
            memory.dc2_dW1[j, i] = e2
            if step is not None:
                W1[j, i] += step * z1[j, i]
            z1[j, i] = decay * z1[j, i] + d1[i] * e1 + d2[i] * e2
        for i in range(d1.shape[0]):
            e1_tm1, e2_tm1 = memory.dc1_dW2[j, i], memory.dc2_dW2[j, i]
            e1 = memory.g1[i] * e1_tm1 - memory.p1[i] * e2_tm1
            e2 = memory.g2[i] * e2_tm1 + memory.p2[i] * e1_tm1 + memory.gamma2[i] * x_j
            memory.dc1_dW2[j, i] = e1
            memory.dc2_dW2[j, i] = e2
            if step is not None:
                W2[j, i] += step * z2[j, i]
            z2[j, i] = decay * z2[j, i] + d1[i] * e1 + d2[i] * e2


@protocol.input_gradient.register(NonlinearRTUSpec)
@kernel
@noalias
def recurrence_input_gradient(spec, params, memory, dx):
    ddrive1, ddrive2 = memory.work.scratch1, memory.work.scratch2
    for i in range(spec.n_hidden):
        ddrive1[i] = memory.gamma1[i] * memory.credit1[i]
    for i in range(spec.n_hidden):
        ddrive2[i] = memory.gamma2[i] * memory.credit2[i]
    input_gradient_of(spec, params, ddrive1, ddrive2, dx)


# ----------------------------------------------------------------------------------------------------------- costs


@protocol.flops.register(NonlinearRTUSpec)
def flops(spec):
    n, d, (f, slope), shared = spec.n_hidden, spec.n_inputs, activation_flops(spec.activation), diagonal_flops(spec)
    with_slopes = 4 + 2 * isinstance(spec.input_scale, Free) + 6
    return protocol.Flops(
        prepare=shared.prepare,
        forward=shared.drive + shared.rotate + 2 * n * f,
        backward=2 * n * (slope + 2) + shared.backward,
        dx=shared.dx,
        move=shared.prepare + shared.drive + shared.move + 2 * n * (f + slope) + n * with_slopes,
        propagate=16 * n * d,
        accumulate=shared.units + 10 * n * d,
        input_gradient=2 * n + shared.dx,
    )
