"""The element-wise LSTM, eLSTM (Irie, Gopalakrishnan, Schmidhuber 2023). Its gates see the input and their own unit.

    z = tanh(x W_z + w_z h_{t-1} + b_z),   f = sigmoid(x W_f + w_f h_{t-1} + b_f)                 derivations (83)
    h_t = f h_{t-1} + (1 - f) z,   y_t = h_t                                       w_z and w_f have a number per unit

The state, which the paper calls c, has a diagonal Jacobian,

    keep = f + q_z w_z + q_f w_f        q_z = (1 - f) (1 - z^2),     q_f = (h_{t-1} - z) f (1 - f)

Sensitivities, e = dh/dparameter (derivations (84)):

    e_t = keep e_{t-1} + q_z s  of W_z, w_z, b_z,  keep e_{t-1} + q_f s  of W_f, w_f, b_f

with s = x_j of a weight in W, h_{t-1} of w, and 1 of b. Each parameter has one, of its own unit. The gradient of
dy . y_t is dy e, and one step of reverse mode, with the total d = dh + dy, is (derivations (85)):

    dh_{t-1} = keep d       dW_z = x q_z d       dw_z = h_{t-1} q_z d       db_z = q_z d       and likewise for f
    dx = W_z q_z d + W_f q_f d
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.diagonal import Padded, PaddedRows
from rtu_np.cells.drive import drive_in_fours
from rtu_np.cells.gated_units import (
    PaddedState,
    backward_units,
    contract,
    contract_four,
    contract_pair,
    contract_pair_of_four,
    four_states,
    learn_drives,
    learn_pair,
    register_gated,
)
from rtu_np.cells.layer import Cell
from rtu_np.cells.rows import accumulate_four
from rtu_np.cells.states import HiddenState, hidden_state
from rtu_np.jit import kernel, like, noalias
from rtu_np.numerics.buffers import copy
from rtu_np.numerics.elementary import sigmoid, tanh
from rtu_np.numerics.layout import layout_of
from rtu_np.validation import check_count, check_real, make_plain

_SPREAD = 0.1  # standard deviation of all parameters at the start, as in the released code of the paper


@dataclass(frozen=True)
class ELSTM(Cell):
    """A layer of element-wise LSTM units, eLSTM (Irie, Gopalakrishnan, Schmidhuber 2023; derivations (83)).

    With d inputs, its parameters are W_z and W_f (d, n), w_z and w_f (n,), b_z and b_f (n,). All start normal with
    standard deviation .1, b_f around `forget_bias`. The paper's output gate, which has no memory, is left out.

    Parameters
    ----------
    n_hidden : number of units n, and of outputs
    forget_bias : the middle of b_f at the start. Without input, a unit keeps about the share sigmoid(forget_bias) of
        its state at each step: half of it by default. With 3 the share is .95, a memory of some twenty steps, and with
        4 it is .98

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> ELSTM(n_hidden=8).build(n_inputs=3, seed=0).advance([1.0, 0.0, -1.0]).shape
    (8,)
    >>> ELSTM(n_hidden=2, forget_bias=3.0).build(n_inputs=3).parameters["b_f"].round()
    array([3., 3.])
    """

    n_hidden: int
    forget_bias: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        check_count("n_hidden", self.n_hidden)
        check_real("forget_bias", self.forget_bias)
        make_plain(self)

    def spec(self, n_inputs: int) -> "ELSTMSpec":
        return ELSTMSpec(n_inputs, self.n_hidden, self.n_hidden)

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        for each in (*params.weights, *params.own, *params.biases):
            each[:] = _SPREAD * rng.standard_normal(each.shape)
        params.biases.b_f[:] += self.forget_bias


# ----------------------------------------------------------------------------------------------------------- types


class ELSTMSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int


class ELSTMWeights(NamedTuple):
    W_z: PaddedRows  # of the candidate
    W_f: PaddedRows  # of the forget gate


class ELSTMOwn(NamedTuple):
    w_z: Padded  # from a unit's own state to its candidate
    w_f: Padded  # and to its gate


class ELSTMBiases(NamedTuple):
    b_z: Padded
    b_f: Padded


class ELSTMParameters(NamedTuple):
    weights: Annotated[ELSTMWeights, kernel(layout_of(ELSTMWeights))]
    own: Annotated[ELSTMOwn, kernel(layout_of(ELSTMOwn))]
    biases: Annotated[ELSTMBiases, kernel(layout_of(ELSTMBiases))]


class ELSTMWeightSensitivities(NamedTuple):
    dh_dW_z: PaddedRows
    dh_dW_f: PaddedRows


class ELSTMOwnSensitivities(NamedTuple):
    dh_dw_z: Padded
    dh_dw_f: Padded


class ELSTMBiasSensitivities(NamedTuple):
    dh_db_z: Padded
    dh_db_f: Padded


class ELSTMSensitivities(NamedTuple):
    """Sensitivities of each unit to its own parameters. Those to parameters of other units are zero."""

    weights: Annotated[ELSTMWeightSensitivities, kernel(layout_of(ELSTMWeightSensitivities))]
    own: Annotated[ELSTMOwnSensitivities, kernel(layout_of(ELSTMOwnSensitivities))]
    biases: Annotated[ELSTMBiasSensitivities, kernel(layout_of(ELSTMBiasSensitivities))]


register_gated(ELSTMSpec)
protocol.parameters.register(ELSTMSpec)(layout_of(ELSTMParameters))
protocol.stored_sensitivities.register(ELSTMSpec)(layout_of(ELSTMSensitivities))


# ------------------------------------------------------------------------------------------- reference: plain NumPy


def _plain_step(params, h, x_t):
    """(h_t, keep, q_z, q_f)"""
    (W_z, W_f), (w_z, w_f), (b_z, b_f) = params
    z, f = np.tanh(x_t @ W_z + w_z * h + b_z), 1 / (1 + np.exp(-(x_t @ W_f + w_f * h + b_f)))
    q_z, q_f = (1 - f) * (1 - z**2), (h - z) * f * (1 - f)
    return f * h + (1 - f) * z, f + q_z * w_z + q_f * w_f, q_z, q_f


@protocol.plain_forward.register(ELSTMSpec)
def plain_forward(spec, params, state_tm1, x_t):
    h = _plain_step(params, state_tm1.h, x_t)[0]
    return HiddenState(h), h


@protocol.plain_backward.register(ELSTMSpec)
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    _, keep, q_z, q_f = _plain_step(params, state_tm1.h, x_t)
    dh, (W_z, W_f) = dstate.h + dy, params.weights
    dz, df = q_z * dh, q_f * dh
    weights = ELSTMWeights(np.outer(x_t, dz), np.outer(x_t, df))
    gradient = ELSTMParameters(weights, ELSTMOwn(state_tm1.h * dz, state_tm1.h * df), ELSTMBiases(dz, df))
    return HiddenState(keep * dh), gradient, W_z @ dz + W_f @ df


@protocol.plain_advance.register(ELSTMSpec)
def plain_advance(spec, params, memory, x_t):
    h_tm1, (to_W, to_w, to_b) = memory.state.h, memory.sensitivities
    h, keep, *q = _plain_step(params, h_tm1, x_t)
    weights = (keep * e + np.outer(x_t, by) for e, by in zip(to_W, q, strict=True))
    own = (keep * e + h_tm1 * by for e, by in zip(to_w, q, strict=True))
    biases = (keep * e + by for e, by in zip(to_b, q, strict=True))
    return memory._replace(
        state=PaddedState(h),
        sensitivities=ELSTMSensitivities(
            ELSTMWeightSensitivities(*weights), ELSTMOwnSensitivities(*own), ELSTMBiasSensitivities(*biases)
        ),
        y=h,
        by1=q[0],
        by2=q[1],
    )


@protocol.plain_gradient.register(ELSTMSpec)
def plain_gradient(spec, params, memory, dy):
    (W_z, W_f), (to_W, to_w, to_b) = params.weights, memory.sensitivities
    gradient = ELSTMParameters(
        ELSTMWeights(*(dy * e for e in to_W)), ELSTMOwn(*(dy * e for e in to_w)), ELSTMBiases(*(dy * e for e in to_b))
    )
    return gradient, W_z @ (memory.by1 * dy) + W_f @ (memory.by2 * dy)


# --------------------------------------------------------------------------------------------------------- kernels


@kernel
def _step(h, into_z, into_f, w_z, w_f):
    """(h_t, keep, q_z, q_f) of one unit, from what enters candidate and gate."""
    one, z, f = like(h, 1.0), tanh(into_z), sigmoid(into_f)
    opened = one - f
    change, q_z = opened * (z - h), opened * (one - z * z)
    q_f = -f * change
    return h + change, f + q_z * w_z + q_f * w_f, q_z, q_f


@protocol.forward.register(ELSTMSpec)
@noalias
def forward(spec, params, work, state_tm1, x_t, record):
    (w_z, w_f), (b_z, b_f) = params.own, params.biases
    drive_in_fours(x_t, params, record.by1, record.by2)
    for i in range(spec.n_hidden):
        h = state_tm1.h[i]
        into_z, into_f = record.by1[i] + w_z[i] * h + b_z[i], record.by2[i] + w_f[i] * h + b_f[i]
        h, record.keep[i], record.by1[i], record.by2[i] = _step(h, into_z, into_f, w_z[i], w_f[i])
        record.state.h[i] = h
        record.y[i] = h


@protocol.backward.register(ELSTMSpec)
@noalias
def backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    dw_z, dw_f = adjoint.params.own
    backward_units(spec, params, work, x_t, record, dy, adjoint)
    for i in range(spec.n_hidden):
        dw_z[i] += work.ddrive1[i] * state_tm1.h[i]
        dw_f[i] += work.ddrive2[i] * state_tm1.h[i]


@protocol.move.register(ELSTMSpec)
@noalias
def move(spec, params, memory, x_t):
    (w_z, w_f), (b_z, b_f), h, keep = params.own, params.biases, memory.state.h, memory.keep
    q_z, q_f, (_, own, biases) = memory.by1, memory.by2, memory.sensitivities
    copy(x_t, memory.x)
    drive_in_fours(x_t, params, q_z, q_f)
    for i in range(h.shape[0]):
        h_tm1 = h[i]
        into_z, into_f = q_z[i] + w_z[i] * h_tm1 + b_z[i], q_f[i] + w_f[i] * h_tm1 + b_f[i]
        h[i], keep[i], q_z[i], q_f[i] = _step(h_tm1, into_z, into_f, w_z[i], w_f[i])
        own.dh_dw_z[i] = keep[i] * own.dh_dw_z[i] + q_z[i] * h_tm1
        own.dh_dw_f[i] = keep[i] * own.dh_dw_f[i] + q_f[i] * h_tm1
        biases.dh_db_z[i] = keep[i] * biases.dh_db_z[i] + q_z[i]
        biases.dh_db_f[i] = keep[i] * biases.dh_db_f[i] + q_f[i]
    copy(h[: spec.n_hidden], memory.y)


@protocol.accumulate.register(ELSTMSpec)
def accumulate(spec, memory, decay, out):
    contract(spec, memory.sensitivities, memory.credit, decay, out)
    contract_pair(memory.sensitivities.own, memory.credit, decay, out.own)


@protocol.learn.register(ELSTMSpec)
def learn(spec, params, traces, memory, decay, step):
    learn_drives(spec, params, traces, memory, decay, step)
    learn_pair(params.own, traces.own, memory.sensitivities.own, memory.credit, decay, step)


# ------------------------------------------------------------------------------------------- stored sensitivities


@protocol.accumulate_stored.register(ELSTMSpec)
def accumulate_stored(spec, stored, dstate, out):
    dh, one = hidden_state(spec, dstate)[0].h, stored.own.dh_dw_z.dtype.type(1)
    contract(spec, stored, dh, one, out)
    contract_pair(stored.own, dh, one, out.own)


@accumulate_four.register(ELSTMSpec)
def _accumulate_four(spec, stored, dstates, out):
    (a, b, c, d), states = stored, four_states(spec, dstates)
    contract_four(spec, stored, states, out)
    contract_pair_of_four(spec, (a.own, b.own, c.own, d.own), states, out.own)


# ----------------------------------------------------------------------------------------------------------- costs


@protocol.flops.register(ELSTMSpec)
def flops(spec):
    n, d = spec.n_hidden, spec.n_inputs
    step, dx = 4 * n * d + 22 * n, d * (4 * n + 1)
    return protocol.Flops(
        prepare=0,
        forward=step,
        backward=4 * n * d + 10 * n,
        dx=dx,
        move=step + 10 * n,
        propagate=6 * n * d,
        accumulate=6 * n * d + 12 * n,
        input_gradient=2 * n + dx,
    )
