"""A gate that multiplies the rate and the phase of a trace unit, for `rtu_np.cells.gated_rtu`.

    q = sigmoid(x W_g + b_g),   r = exp(-nu q),   angle = theta q                            derivations (86), (87)

Parameters are those of `GatedRTUParameters`: a recurrence with nu_log and theta_log, and a gate.
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np.cells.diagonal import Padded, PaddedRows, Rotation
from rtu_np.cells.drive import add_input_gradient_of_one
from rtu_np.jit import kernel, like, noalias
from rtu_np.numerics.buffers import add_scaled
from rtu_np.numerics.elementary import exp, expm1, sigmoid, sin_cos
from rtu_np.numerics.layout import layout_of
from rtu_np.protocol import PerUnit

# ----------------------------------------------------------------------------------------------------------- types


class GateParameters(NamedTuple):
    W_g: PaddedRows
    b_g: Padded


class GateSensitivities(NamedTuple):
    """Of each unit to its own gate's parameters; those to the gates of other units are zero."""

    dc1_dW_g: PaddedRows
    dc2_dW_g: PaddedRows
    dc1_db_g: Padded
    dc2_db_g: Padded


class OpenedGate(NamedTuple):
    """The rotation of one step, behind its gate."""

    g: PerUnit
    p: PerUnit
    gamma: PerUnit
    dlog_r: PerUnit
    dtheta: PerUnit
    dgamma: PerUnit
    shut: PerUnit  # 1 - q


class GateScratch(NamedTuple):
    scratch1: PerUnit
    scratch2: PerUnit
    scratch3: PerUnit
    da: PerUnit  # the share of one step in the gradient by nu_log
    db: PerUnit  # and by theta_log


gate_parameters, gate_sensitivities = kernel(layout_of(GateParameters)), kernel(layout_of(GateSensitivities))
opened_gate, gate_scratch = kernel(layout_of(OpenedGate)), kernel(layout_of(GateScratch))


# ------------------------------------------------------------------------------------------- reference: plain NumPy


class PlainGate(NamedTuple):
    """What the gate of one step makes of the eigenvalues. Pairs are (2, n): a row for c1, and one for c2."""

    turn: Any  # a function of (e1, e2): the rotation
    gamma: np.ndarray
    z: np.ndarray  # a pair
    by_a: np.ndarray  # dz/dnu_log within the step, a pair
    by_b: np.ndarray  # dz/dtheta_log
    by_gate: np.ndarray  # dz/d(x W_g + b_g)


def plain_gate(params, state_tm1, x_t) -> PlainGate:
    (nu_log, theta_log), (W1, W2), (W_g, b_g) = params.recurrence.eigenvalue, params.recurrence.weights, params.gate
    q = 1 / (1 + np.exp(-(x_t @ W_g + b_g)))
    rate, angle = np.exp(nu_log) * q, np.exp(theta_log) * q
    rate = np.where(rate.real < 1e-300, 1e-300, rate)
    r, gamma = np.exp(-rate), np.sqrt(-np.expm1(-2 * rate))
    g, p, drive = r * np.cos(angle), r * np.sin(angle), np.stack([x_t @ W1, x_t @ W2])

    def turn(e1, e2):
        return np.stack([g * e1 - p * e2, g * e2 + p * e1])

    turned = turn(*state_tm1)
    by_a = -rate * turned + rate * r**2 / gamma * drive
    by_b = angle * np.stack([-turned[1], turned[0]])
    return PlainGate(turn, gamma, turned + gamma * drive, by_a, by_b, (1 - q) * (by_a + by_b))


# --------------------------------------------------------------------------------------------------------- kernels


@kernel
def _least_rate(rates):
    """At smaller rates, gamma and its derivative would be 0 / 0. A gate may close as far as it likes."""
    return rates.dtype.type(1e-300 if rates.itemsize == 8 else 1e-36)


@kernel
@noalias
def open_gate(params, rotation, shut):
    """rotation <- that of this step, with its derivatives. shut <- 1 - q; on entry, it is W_g x"""
    (nu_log, theta_log), b_g, least = params.recurrence.eigenvalue, params.gate.b_g, _least_rate(shut)
    for i in range(shut.shape[0]):
        q = sigmoid(shut[i] + b_g[i])
        rate, angle = exp(nu_log[i]) * q, exp(theta_log[i]) * q
        rate = least if rate < least else rate  # NaN compares false, and so passes
        r, gamma = exp(-rate), np.sqrt(-expm1(-rate - rate))
        sine, cosine = sin_cos(angle)
        rotation.g[i] = r * cosine
        rotation.p[i] = r * sine
        rotation.gamma[i] = gamma
        rotation.dlog_r[i] = -rate
        rotation.dtheta[i] = angle
        rotation.dgamma[i] = rate * r * r / gamma
        shut[i] = like(q, 1.0) - q


@kernel
@noalias
def move_gate(memory):
    """by1, by2 <- dz/d(what enters the gate); advance the sensitivities of b_g, as if f were the identity.

    The rotation and the drives are in memory.work, and memory.state is that of the last step.
    """
    work, (c1, c2), gate, by1, by2 = memory.work, memory.state, memory.gate, memory.by1, memory.by2
    for i in range(by1.shape[0]):
        g, p, dlog_r, dtheta, dgamma = work.g[i], work.p[i], work.dlog_r[i], work.dtheta[i], work.dgamma[i]
        turned1, turned2 = g * c1[i] - p * c2[i], g * c2[i] + p * c1[i]
        by1[i] = memory.shut[i] * (dlog_r * turned1 - dtheta * turned2 + dgamma * work.scratch1[i])
        by2[i] = memory.shut[i] * (dlog_r * turned2 + dtheta * turned1 + dgamma * work.scratch2[i])
        e1, e2 = gate.dc1_db_g[i], gate.dc2_db_g[i]
        gate.dc1_db_g[i] = g * e1 - p * e2 + by1[i]
        gate.dc2_db_g[i] = g * e2 + p * e1 + by2[i]


@kernel
@noalias
def apply_slopes_to_gate(memory):
    """The slopes f' into what `move_gate` has written."""
    slope1, slope2, gate = memory.work.scratch1, memory.work.scratch2, memory.gate
    for i in range(slope1.shape[0]):
        memory.by1[i] *= slope1[i]
        memory.by2[i] *= slope2[i]
        gate.dc1_db_g[i] *= slope1[i]
        gate.dc2_db_g[i] *= slope2[i]


@kernel
@noalias
def propagate_gate(spec, memory):
    to_W1, to_W2 = memory.gate.dc1_dW_g, memory.gate.dc2_dW_g
    for j in range(spec.n_inputs):
        x_j = memory.x[j]
        for i in range(memory.g1.shape[0]):
            e1, e2 = to_W1[j, i], to_W2[j, i]
            to_W1[j, i] = memory.g1[i] * e1 - memory.p1[i] * e2 + memory.by1[i] * x_j
            to_W2[j, i] = memory.g2[i] * e2 + memory.p2[i] * e1 + memory.by2[i] * x_j


@kernel
@noalias
def _contract_bias(gate, d1, d2, decay, b_g):
    for i in range(d1.shape[0]):
        b_g[i] = decay * b_g[i] + d1[i] * gate.dc1_db_g[i] + d2[i] * gate.dc2_db_g[i]


@kernel
@noalias
def contract_gate(spec, gate, d1, d2, decay, out):
    """out <- decay out + (dc/dparameter)^T d, for the gate's parameters."""
    W_g, to_W1, to_W2 = out.W_g, gate.dc1_dW_g, gate.dc2_dW_g
    _contract_bias(gate, d1, d2, decay, out.b_g)
    for j in range(spec.n_inputs):
        for i in range(d1.shape[0]):
            W_g[j, i] = decay * W_g[j, i] + d1[i] * to_W1[j, i] + d2[i] * to_W2[j, i]


@kernel
@noalias
def learn_gate(spec, params, traces, memory, decay, step):
    W_g, z_g, d1, d2 = params.W_g, traces.W_g, memory.credit1, memory.credit2
    to_W1, to_W2 = memory.gate.dc1_dW_g, memory.gate.dc2_dW_g
    if step is not None:
        add_scaled((params.b_g,), (traces.b_g,), step)
    _contract_bias(memory.gate, d1, d2, decay, traces.b_g)
    for j in range(spec.n_inputs):
        x_j = memory.x[j]
        for i in range(d1.shape[0]):
            e1_tm1, e2_tm1 = to_W1[j, i], to_W2[j, i]
            e1 = memory.g1[i] * e1_tm1 - memory.p1[i] * e2_tm1 + memory.by1[i] * x_j
            e2 = memory.g2[i] * e2_tm1 + memory.p2[i] * e1_tm1 + memory.by2[i] * x_j
            to_W1[j, i] = e1
            to_W2[j, i] = e2
            if step is not None:
                W_g[j, i] += step * z_g[j, i]
            z_g[j, i] = decay * z_g[j, i] + d1[i] * e1 + d2[i] * e2


@kernel
@noalias
def gate_input_gradient(params, memory, dx):
    """dx <- dx + the gradient through the gate"""
    dgate, d1, d2 = memory.work.scratch1, memory.credit1, memory.credit2
    for i in range(dgate.shape[0]):
        dgate[i] = memory.by1[i] * d1[i] + memory.by2[i] * d2[i]
    add_input_gradient_of_one(params.W_g, dgate, dx)


@kernel
def rotation_of(opened, scratch):
    """A `Rotation` for reverse mode, whose scratch may be written."""
    rows = (opened.g, opened.p, opened.gamma, opened.dlog_r, opened.dtheta, opened.dgamma)
    return Rotation(*rows, scratch.scratch1, scratch.scratch2, scratch.scratch3)


@kernel
@noalias
def gate_backward(spec, params, work, x_t, shut, adjoint):
    """From the shares of this step by nu_log and theta_log, in work, to all gradients that these lead to."""
    (da, db), dW_g, db_g = adjoint.params.recurrence.eigenvalue, adjoint.params.gate.W_g, adjoint.params.gate.b_g
    dgate, n = work.scratch1, spec.n_hidden
    for i in range(n):
        da[i] += work.da[i]
        db[i] += work.db[i]
        dgate[i] = shut[i] * (work.da[i] + work.db[i])
        db_g[i] += dgate[i]
    for j in range(spec.n_inputs):
        for i in range(n):
            dW_g[j, i] += dgate[i] * x_t[j]
    add_input_gradient_of_one(params.gate.W_g, dgate, adjoint.x)
