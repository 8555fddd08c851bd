"""The gated recurrent trace unit (Farr et al. 2026): a nonlinear trace unit whose rate and phase a gate multiplies.

    q = sigmoid(x W_g + b_g),   r = exp(-nu q),   angle = theta q,   gamma = sqrt(1 - r^2)              derivations (86)
    c_t = f(z_t)                z as in `rtu_np.cells.rotation`, with this r and this angle in place of r and theta
    y_t = [c1; c2]                                                                     2n features of n units

with nu = exp(nu_log) and theta = exp(theta_log). An open gate, q = 1, gives the unit of `rtu_np.cells.nonlinear_rtu`. A
closed one, q = 0, neither turns nor shrinks the state nor lets input in, and c_t = f(c_{t-1}).

q multiplies rate and phase, so log q adds to nu_log and to theta_log; and d log q = 1 - q times that of what enters the
gate. So within a step (derivations (87))

    dz/d(x W_g + b_g) = (1 - q) (dz/dnu_log + dz/dtheta_log)

with the derivatives by nu_log and theta_log as in the nonlinear unit, whose other equations stay as they are. Those of
W_g and b_g are pairs, too, e1' = f'_1 (g e1 - p e2 + q_1 s) and e2' = f'_2 (g e2 + p e1 + q_2 s). There s is x_j of a
weight and 1 of a bias, and (q_1, q_2) is the derivative above.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.diagonal import (
    DiagonalParameters,
    DiagonalRecord,
    DiagonalState,
    Padded,
    PaddedRows,
    Rotation,
    UnitSensitivities,
    diagonal_flops,
    diagonal_parameters,
    diagonal_state,
    diagonal_work,
    padded_state,
    unit_sensitivities,
)
from rtu_np.cells.drive import drive, drive_one
from rtu_np.cells.eigenvalues import GatedNuLogThetaLog, NuLogThetaLogParameters, store
from rtu_np.cells.gate import (
    GateParameters,
    GateSensitivities,
    OpenedGate,
    apply_slopes_to_gate,
    contract_gate,
    gate_backward,
    gate_input_gradient,
    gate_parameters,
    gate_scratch,
    gate_sensitivities,
    learn_gate,
    move_gate,
    open_gate,
    opened_gate,
    plain_gate,
    propagate_gate,
    rotation_of,
)
from rtu_np.cells.initializers import LecunNormal
from rtu_np.cells.input_scale import Tied
from rtu_np.cells.nonlinear_rtu import (
    activate_record,
    activate_units,
    activation_backward,
    contract,
    credit,
    learn_recurrence,
    propagate_recurrence,
    recurrence_input_gradient,
)
from rtu_np.cells.ring import Ring
from rtu_np.cells.rotation import confine_rotation, rotate, rotation_backward, turn_units
from rtu_np.gradients.own_past import sees_no_other
from rtu_np.jit import kernel, noalias
from rtu_np.numerics.activations import Activation, activation, activation_flops, plain_activate, plain_slope
from rtu_np.numerics.buffers import aligned, assign, clear, copy, rebuild
from rtu_np.numerics.layout import layout_of
from rtu_np.protocol import PerInput, PerOutput, PerUnit
from rtu_np.validation import check_count, check_real


@dataclass(frozen=True)
class GatedRTU(Ring):
    """A layer of gated recurrent trace units (Farr et al. 2026; derivations (86)).

    With d inputs, its parameters are nu_log and theta_log (n,), W1 and W2 (d, n), W_g (d, n) and b_g (n,).

    While the cell learns, nu and theta have bounds as in other trace units, and theta stays below 4 pi.

    Parameters
    ----------
    n_hidden : number of units n; the layer has 2n outputs
    activation : in the recurrence: "identity", "relu", "leaky_relu" or "tanh"
    gate_bias : b_g at the start. Without input, a unit's rate and phase are sigmoid(gate_bias) times nu and theta
    r_min, r_max, max_phase : of the eigenvalues with an open gate, phases in radians; see `rtu_np.cells.ring`

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> GatedRTU(n_hidden=8).build(n_inputs=3, seed=0).advance([1.0, 0.0, -1.0]).shape
    (16,)
    """

    n_hidden: int
    activation: str = "tanh"
    gate_bias: float = field(default=2.0, kw_only=True)

    def __post_init__(self) -> None:
        activation(self.activation)
        check_count("n_hidden", self.n_hidden)
        check_real("gate_bias", self.gate_bias)
        super().__post_init__()

    def spec(self, n_inputs: int) -> "GatedRTUSpec":
        sizes = (n_inputs, self.n_hidden, 2 * self.n_hidden)
        return GatedRTUSpec(*sizes, GatedNuLogThetaLog(), Tied(), activation(self.activation), self.span)

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        """Eigenvalues on the ring, weights LeCun normal (derivations (24))."""
        start = store(GatedNuLogThetaLog(), *self.draw(self.n_hidden, rng))
        for view, values in zip(params.recurrence.eigenvalue, start, strict=True):
            view[:] = values
        for weights in (*params.recurrence.weights, params.gate.W_g):
            weights[:] = LecunNormal().weights(weights.shape, rng)
        params.gate.b_g[:] = self.gate_bias


# ----------------------------------------------------------------------------------------------------------- types


class GatedRTUSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    form: Any
    input_scale: Any
    activation: Activation
    span: Any  # OrdinaryMemory or LongMemory: the bound of r while learning


class GatedRTUParameters(NamedTuple):
    recurrence: Annotated[DiagonalParameters, diagonal_parameters]
    gate: Annotated[GateParameters, gate_parameters]


class GatedRTURecord(NamedTuple):
    state: Annotated[DiagonalState, diagonal_state, aligned]
    y: PerOutput
    drive1: PerUnit  # W1 x
    drive2: PerUnit  # W2 x
    gate: Annotated[OpenedGate, opened_gate]


class GatedRTUMemory(NamedTuple):
    """As that of a nonlinear unit, with the gate."""

    state: Annotated[DiagonalState, padded_state]
    units: Annotated[UnitSensitivities, unit_sensitivities]
    dc1_dW1: PaddedRows
    dc2_dW1: PaddedRows
    dc1_dW2: PaddedRows
    dc2_dW2: PaddedRows
    gate: Annotated[GateSensitivities, gate_sensitivities]
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
    shut: Padded  # 1 - q
    by1: Padded  # dc_t/d(what enters the gate)
    by2: Padded


class GatedRTUSensitivities(NamedTuple):
    units: Annotated[UnitSensitivities, unit_sensitivities]
    dc1_dW1: PaddedRows
    dc2_dW1: PaddedRows
    dc1_dW2: PaddedRows
    dc2_dW2: PaddedRows
    gate: Annotated[GateSensitivities, gate_sensitivities]


protocol.parameters.register(GatedRTUSpec)(layout_of(GatedRTUParameters))
protocol.state.register(GatedRTUSpec)(diagonal_state)
protocol.record.register(GatedRTUSpec)(layout_of(GatedRTURecord))
protocol.work.register(GatedRTUSpec)(gate_scratch)
protocol.memory.register(GatedRTUSpec)(layout_of(GatedRTUMemory))
protocol.stored_sensitivities.register(GatedRTUSpec)(layout_of(GatedRTUSensitivities))
protocol.credit.register(GatedRTUSpec)(credit)
sees_no_other.register(GatedRTUSpec)(lambda spec: True)


@protocol.confine.register(GatedRTUSpec)
def confine(spec, params):
    return confine_rotation(spec, params.recurrence)


# ------------------------------------------------------------------------------------------- reference: plain NumPy


@protocol.preactivations.register(GatedRTUSpec)
def preactivations(spec, params, state_tm1, x_t):
    return np.concatenate(plain_gate(params, state_tm1, x_t).z)


@protocol.plain_forward.register(GatedRTUSpec)
def plain_forward(spec, params, state_tm1, x_t):
    y = plain_activate(spec.activation, preactivations(spec, params, state_tm1, x_t))
    return DiagonalState(*np.split(y, 2)), y


@protocol.plain_backward.register(GatedRTUSpec)
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    gate, (W1, W2) = plain_gate(params, state_tm1, x_t), params.recurrence.weights
    d = plain_slope(spec.activation, np.stack(state_t)) * (np.stack(np.split(dy, 2)) + np.stack(dstate))
    dgate, (d1, d2) = (d * gate.by_gate).sum(0), gate.gamma * d
    eigenvalue = NuLogThetaLogParameters((d * gate.by_a).sum(0), (d * gate.by_b).sum(0))
    weights = type(params.recurrence.weights)(np.outer(x_t, d1), np.outer(x_t, d2))
    recurrence = DiagonalParameters(eigenvalue, params.recurrence.input_scale, weights)
    turned_back = gate.turn(d[0], -d[1]) * np.array([[1.0], [-1.0]])
    dx = W1 @ d1 + W2 @ d2 + params.gate.W_g @ dgate
    gradient = GatedRTUParameters(recurrence, GateParameters(np.outer(x_t, dgate), dgate))
    return DiagonalState(*turned_back), gradient, dx


@protocol.plain_advance.register(GatedRTUSpec)
def plain_advance(spec, params, memory, x_t):
    # Every sensitivity is e' = f'(z) (R e + the share of this step), with R the rotation. The first axis is (e1, e2).
    gate, units, to_gate = plain_gate(params, memory.state, x_t), memory.units, memory.gate
    c = plain_activate(spec.activation, gate.z)
    slope = plain_slope(spec.activation, c)
    along = slope[:, None]  # for pairs of matrices
    from_x, nothing = np.outer(x_t, gate.gamma), np.zeros_like(memory.dc1_dW1)
    da = slope * (gate.turn(units.dc1_da, units.dc2_da) + gate.by_a)
    db = slope * (gate.turn(units.dc1_db, units.dc2_db) + gate.by_b)
    dW1 = along * (gate.turn(memory.dc1_dW1, memory.dc2_dW1) + np.stack([from_x, nothing]))
    dW2 = along * (gate.turn(memory.dc1_dW2, memory.dc2_dW2) + np.stack([nothing, from_x]))
    dW_g = along * (gate.turn(to_gate.dc1_dW_g, to_gate.dc2_dW_g) + x_t[:, None] * gate.by_gate[:, None])
    db_g = slope * (gate.turn(to_gate.dc1_db_g, to_gate.dc2_db_g) + gate.by_gate)
    gamma, by = slope * gate.gamma, slope * gate.by_gate
    return memory._replace(
        state=DiagonalState(*c),
        units=rebuild(units, [*da, *db]),
        dc1_dW1=dW1[0],
        dc2_dW1=dW1[1],
        dc1_dW2=dW2[0],
        dc2_dW2=dW2[1],
        gate=GateSensitivities(*dW_g, *db_g),
        y=np.concatenate(c),
        gamma1=gamma[0],
        gamma2=gamma[1],
        by1=by[0],
        by2=by[1],
    )


@protocol.plain_gradient.register(GatedRTUSpec)
def plain_gradient(spec, params, memory, dy):
    (W1, W2), units, to_gate, (dy1, dy2) = params.recurrence.weights, memory.units, memory.gate, np.split(dy, 2)
    pairs = {
        "a": (units.dc1_da, units.dc2_da),
        "b": (units.dc1_db, units.dc2_db),
        "W1": (memory.dc1_dW1, memory.dc2_dW1),
        "W2": (memory.dc1_dW2, memory.dc2_dW2),
        "W_g": (to_gate.dc1_dW_g, to_gate.dc2_dW_g),
        "b_g": (to_gate.dc1_db_g, to_gate.dc2_db_g),
    }
    by = {name: dy1 * e1 + dy2 * e2 for name, (e1, e2) in pairs.items()}
    weights = type(params.recurrence.weights)(by["W1"], by["W2"])
    eigenvalue = NuLogThetaLogParameters(by["a"], by["b"])
    recurrence = DiagonalParameters(eigenvalue, params.recurrence.input_scale, weights)
    gradient = GatedRTUParameters(recurrence, GateParameters(by["W_g"], by["b_g"]))
    dx = W1 @ (memory.gamma1 * dy1) + W2 @ (memory.gamma2 * dy2)
    return gradient, dx + params.gate.W_g @ (memory.by1 * dy1 + memory.by2 * dy2)


# --------------------------------------------------------------------------------------------------------- kernels


@kernel
def _ungated(record):
    """The record as that of a unit without a gate."""
    return DiagonalRecord(record.state, record.y, record.drive1, record.drive2)


@protocol.forward.register(GatedRTUSpec)
def forward(spec, params, work, state_tm1, x_t, record):
    rotation = rotation_of(record.gate, work)
    drive_one(params.gate.W_g, x_t, record.gate.shut)
    open_gate(params, rotation, record.gate.shut)
    rotate(params.recurrence, rotation, state_tm1, x_t, _ungated(record))
    activate_record(spec, _ungated(record))


@protocol.backward.register(GatedRTUSpec)
def backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    into, rotation = adjoint.params.recurrence, rotation_of(record.gate, work)
    clear(work.da)
    clear(work.db)
    own = DiagonalParameters(NuLogThetaLogParameters(work.da, work.db), into.input_scale, into.weights)
    through = protocol.Adjoint(adjoint.state, own, adjoint.x)
    activation_backward(spec, record.y, dy, adjoint.state)
    rotation_backward(spec, params.recurrence, rotation, state_tm1, x_t, _ungated(record), through)
    gate_backward(spec, params, work, x_t, record.gate.shut, adjoint)


@protocol.move.register(GatedRTUSpec)
@noalias
def move(spec, params, memory, x_t):
    work = memory.work
    copy(x_t, memory.x)
    drive_one(params.gate.W_g, x_t, memory.shut)
    open_gate(params, work, memory.shut)
    drive(x_t, params.recurrence, work.scratch1, work.scratch2)
    move_gate(memory)
    turn_units(spec, memory)
    activate_units(spec, memory)
    apply_slopes_to_gate(memory)


@protocol.propagate.register(GatedRTUSpec)
@noalias
def propagate(spec, memory):
    propagate_recurrence(spec, memory)
    propagate_gate(spec, memory)


@kernel
@noalias
def _contract(spec, sensitivities, d1, d2, decay, out):
    contract(spec, sensitivities, d1, d2, decay, out.recurrence)
    contract_gate(spec, sensitivities.gate, d1, d2, decay, out.gate)


@kernel
def _sensitivities_of(memory):
    weights = (memory.dc1_dW1, memory.dc2_dW1, memory.dc1_dW2, memory.dc2_dW2)
    return GatedRTUSensitivities(memory.units, *weights, memory.gate)


@protocol.accumulate.register(GatedRTUSpec)
def accumulate(spec, memory, decay, out):
    _contract(spec, _sensitivities_of(memory), memory.credit1, memory.credit2, decay, out)


@protocol.store_sensitivities.register(GatedRTUSpec)
def store_sensitivities(spec, memory, stored):
    assign(stored, _sensitivities_of(memory))


@protocol.accumulate_stored.register(GatedRTUSpec)
def accumulate_stored(spec, stored, dstate, out):
    d, _ = diagonal_state(spec, dstate)
    _contract(spec, stored, d.c1, d.c2, stored.dc1_dW1.dtype.type(1), out)


@protocol.learn.register(GatedRTUSpec)
@noalias
def learn(spec, params, traces, memory, decay, step):
    learn_recurrence(spec, params.recurrence, traces.recurrence, memory, decay, step)
    learn_gate(spec, params.gate, traces.gate, memory, decay, step)


@protocol.input_gradient.register(GatedRTUSpec)
@noalias
def input_gradient(spec, params, memory, dx):
    recurrence_input_gradient(spec, params.recurrence, memory, dx)
    gate_input_gradient(params.gate, memory, dx)


# ----------------------------------------------------------------------------------------------------------- costs


@protocol.flops.register(GatedRTUSpec)
def flops(spec):
    n, d, (f, slope), shared = spec.n_hidden, spec.n_inputs, activation_flops(spec.activation), diagonal_flops(spec)
    opened = shared.prepare + 5 * n + 2 * n * d  # the gate itself
    dx = shared.dx + d * (2 * n + 1)
    return protocol.Flops(
        prepare=0,
        forward=opened + shared.drive + shared.rotate + 2 * n * f,
        backward=2 * n * (slope + 2) + shared.backward + 5 * n + 2 * n * d,
        dx=dx,
        move=opened + shared.drive + shared.move + 2 * n * (f + slope) + 10 * n + 26 * n + 4 * n,
        propagate=26 * n * d,
        accumulate=shared.units + 5 * n + 15 * n * d,
        input_gradient=5 * n + dx,
    )
