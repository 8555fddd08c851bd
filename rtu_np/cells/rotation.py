"""What complex diagonal cells share: parameters, the rotation by (r, theta), and its sensitivities.

One unit is one complex number c = c1 + i c2, turned by theta and shrunk to r of its length at each step, while the
input enters with weight gamma (derivations (3)-(6); Elelimy et al. 2024, Eq. 4):

    z1 = g c1 - p c2 + gamma W1 x        g = r cos theta
    z2 = g c2 + p c1 + gamma W2 x        p = r sin theta

In a recurrent trace unit gamma = sqrt(1 - r^2) is *tied* to r; in a linear recurrent unit (LRU) it is *free*, exp of a
parameter gamma_log. `rtu_np.cells.eigenvalues` says how r and theta are stored, as two numbers a and b; with respect to
these and to gamma_log, derivations (9), (10), (26) and (27),

    a:           dg = dlog_r g          dp = dlog_r p       dgamma = -dlog_r r^2 / gamma if tied, else 0
    b:           dg = -dtheta p         dp = dtheta g       dgamma = 0
    gamma_log:   dg = 0                 dp = 0              dgamma = gamma
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.eigenvalues import eigenvalue, eigenvalue_parameters, lowest_modulus, plain_eigenvalue
from rtu_np.cells.scales import (
    Tied,
    accumulate_scale,
    copy_scale,
    move_scale,
    scale_and_weights,
    scale_backward,
    scale_of,
    scale_sensitivities,
    slope_scale,
)
from rtu_np.jit import generic, kernel, separate
from rtu_np.numerics.buffers import add_scaled, aligned, copy, packed, padded, rebuild, vector
from rtu_np.numerics.elementary import sin_cos
from rtu_np.numerics.products import dot

# ----------------------------------------------------------------------------------------------------------- types


class DiagonalParameters(NamedTuple):
    """Of `d` inputs and `n` units."""

    eigenvalue: Any  # two (n,), named by their form
    scale: Any  # TiedScale or FreeScale
    weights: Any  # RTUWeights or LRUWeights


@kernel
def diagonal_parameters(spec, flat):
    eigenvalue, flat = eigenvalue_parameters(spec.form, spec.n_hidden, flat)
    scale, weights, flat = scale_and_weights(spec.scale, spec.n_inputs, spec.n_hidden, flat)
    return DiagonalParameters(eigenvalue, scale, weights), flat


class DiagonalState(NamedTuple):
    c1: np.ndarray  # (n,)
    c2: np.ndarray  # (n,)


@kernel
def diagonal_state(spec, flat):
    c1, flat = packed(flat, spec.n_hidden)
    c2, flat = packed(flat, spec.n_hidden)
    return DiagonalState(c1, c2), flat


class DiagonalRecord(NamedTuple):
    state: DiagonalState
    y: np.ndarray  # (2n,)
    drive1: np.ndarray  # (n,)   W1 x
    drive2: np.ndarray  # (n,)   W2 x


@kernel
def diagonal_record(spec, flat):
    state, rest = diagonal_state(spec, flat)
    _, flat = aligned(flat, rest)
    y, flat = vector(flat, spec.n_outputs)
    drive1, flat = vector(flat, spec.n_hidden)
    drive2, flat = vector(flat, spec.n_hidden)
    return DiagonalRecord(state, y, drive1, drive2), flat


class Rotation(NamedTuple):
    """What `prepare_rotation` writes, padded to whole vectors, and scratch."""

    g: np.ndarray  # (n,)
    p: np.ndarray  # (n,)
    gamma: np.ndarray  # (n,)
    dlog_r: np.ndarray  # (n,)   d log r / da
    dtheta: np.ndarray  # (n,)   d theta / db
    dgamma: np.ndarray  # (n,)   d gamma / da
    drive1: np.ndarray  # (n,)   W1 x in `move_rotation`; scratch
    drive2: np.ndarray  # (n,)   W2 x; scratch
    along: np.ndarray  # (n,)   scratch


@kernel
def diagonal_work(spec, flat):
    g, flat = padded(flat, spec.n_hidden)
    p, flat = padded(flat, spec.n_hidden)
    gamma, flat = padded(flat, spec.n_hidden)
    dlog_r, flat = padded(flat, spec.n_hidden)
    dtheta, flat = padded(flat, spec.n_hidden)
    dgamma, flat = padded(flat, spec.n_hidden)
    drive1, flat = padded(flat, spec.n_hidden)
    drive2, flat = padded(flat, spec.n_hidden)
    along, flat = padded(flat, spec.n_hidden)
    return Rotation(g, p, gamma, dlog_r, dtheta, dgamma, drive1, drive2, along), flat


class UnitSensitivities(NamedTuple):
    """Of each unit to its own parameters, but for the weights; those to other units' are zero."""

    dc1_da: np.ndarray  # (n,)
    dc2_da: np.ndarray  # (n,)
    dc1_db: np.ndarray  # (n,)
    dc2_db: np.ndarray  # (n,)
    scale: Any  # TiedScale or FreeScaleSensitivities


@kernel
def unit_sensitivities(spec, flat):
    dc1_da, flat = vector(flat, spec.n_hidden)
    dc2_da, flat = vector(flat, spec.n_hidden)
    dc1_db, flat = vector(flat, spec.n_hidden)
    dc2_db, flat = vector(flat, spec.n_hidden)
    scale, flat = scale_sensitivities(spec.scale, spec.n_hidden, flat)
    return UnitSensitivities(dc1_da, dc2_da, dc1_db, dc2_db, scale), flat


# ----------------------------------------------------------------------------------------------------- degeneration


@generic
def _no_gamma(scale, form, a):
    """Whether some gamma = sqrt(1 - r^2) is 0 or not a number."""


@_no_gamma.register(Tied)
def _tied_no_gamma(scale, form, a):
    lowest, below = a.dtype.type(lowest_modulus(form, a)), 0
    for i in range(a.shape[0]):
        below += a[i] < lowest
    return below > 0


@_no_gamma.otherwise
def _free_no_gamma(scale, form, a):
    return False


@kernel
def degenerate_rotation(spec, params):
    a, _ = params.eigenvalue
    return _no_gamma(spec.scale, spec.form, a)


def why_degenerate_rotation(spec, params: DiagonalParameters) -> str:
    a, _ = params.eigenvalue
    i, name = int(np.argmin(a)), params.eigenvalue._fields[0]
    fact, question = {
        "nu_log": ("exp(nu_log) underflows", "Was a rate nu written where its logarithm is stored?"),
        "nu": ("exp(-nu) is 1 or more", "Has a step carried nu to or below zero, or was nu_log written in its place?"),
    }[name]
    return (
        f"{name}[{i}] is {a[i]}: {fact}, so that gamma = sqrt(1 - r^2) is 0 or not a number, and has no derivative; "
        f"expected at least {lowest_modulus(spec.form, a)} in {a.dtype}. {question}"
    )


# ------------------------------------------------------------------------------------------- reference: plain NumPy


class PlainRotation(NamedTuple):
    g: np.ndarray
    p: np.ndarray
    gamma: np.ndarray
    dlog_r: np.ndarray
    dtheta: np.ndarray
    dgamma: np.ndarray


def plain_rotation(spec, params: DiagonalParameters) -> PlainRotation:
    r, theta, complement, dlog_r, dtheta = plain_eigenvalue(spec.form, *params.eigenvalue)
    if isinstance(spec.scale, Tied):
        gamma = np.sqrt(complement)
        dgamma = -dlog_r * r**2 / gamma
    else:
        gamma = np.exp(params.scale.gamma_log)
        dgamma = np.zeros(spec.n_hidden)
    return PlainRotation(r * np.cos(theta), r * np.sin(theta), gamma, dlog_r, dtheta, dgamma)


class PlainUnits(NamedTuple):
    """Unit sensitivities in complex numbers."""

    dc_da: np.ndarray
    dc_db: np.ndarray
    dc_dscale: list[np.ndarray]  # none or one

    @classmethod
    def of(cls, units: UnitSensitivities) -> "PlainUnits":
        scale = [units.scale[0] + 1j * units.scale[1]] if units.scale else []
        return cls(units.dc1_da + 1j * units.dc2_da, units.dc1_db + 1j * units.dc2_db, scale)

    def store(self, like: UnitSensitivities) -> UnitSensitivities:
        parts = [part for e in (self.dc_da, self.dc_db, *self.dc_dscale) for part in (e.real, e.imag)]
        return rebuild(like, parts)


def plain_unit_gradient(params: DiagonalParameters, units: UnitSensitivities, d1, d2):
    """The gradient with respect to (eigenvalue, scale) from dL/dc."""
    da = d1 * units.dc1_da + d2 * units.dc2_da
    db = d1 * units.dc1_db + d2 * units.dc2_db
    scale = [d1 * units.scale[0] + d2 * units.scale[1]] if units.scale else []
    return type(params.eigenvalue)(da, db), type(params.scale)(*scale)


def plain_rotation_backward(spec, params: DiagonalParameters, state_tm1, x_t, d1, d2):
    """(dstate_tm1, gradient, dx) from dL/dz."""
    (W1, W2), (c1, c2) = params.weights, state_tm1
    g, p, gamma, dlog_r, dtheta, dgamma = plain_rotation(spec, params)
    dg, dp = d1 * c1 + d2 * c2, d2 * c1 - d1 * c2
    along = d1 * (x_t @ W1) + d2 * (x_t @ W2)
    gradient = DiagonalParameters(
        type(params.eigenvalue)(dlog_r * (g * dg + p * dp) + dgamma * along, dtheta * (g * dp - p * dg)),
        type(params.scale)(*([] if isinstance(spec.scale, Tied) else [gamma * along])),
        type(params.weights)(np.outer(x_t, gamma * d1), np.outer(x_t, gamma * d2)),
    )
    return DiagonalState(g * d1 + p * d2, g * d2 - p * d1), gradient, W1 @ (gamma * d1) + W2 @ (gamma * d2)


# --------------------------------------------------------------------------------------------------------- kernels


@kernel
@separate
def prepare_rotation(spec, params, work):
    a, b = params.eigenvalue
    for i in range(spec.n_hidden):
        work.drive1[i] = a[i]
        work.drive2[i] = b[i]
    # Any valid numbers will do for the units that are not there. Not by index from n: one that may wrap stays scalar.
    absent1, absent2 = work.drive1[spec.n_hidden :], work.drive2[spec.n_hidden :]
    for i in range(absent1.shape[0]):
        absent1[i], absent2[i] = a[0], b[0]
    copy_scale(spec.scale, params.scale, work.along)
    for i in range(work.g.shape[0]):
        r, theta, complement, dlog_r, dtheta = eigenvalue(spec.form, work.drive1[i], work.drive2[i])
        gamma, dgamma = scale_of(spec.scale, work.along[i], r, complement, dlog_r)
        sine, cosine = sin_cos(theta)
        work.g[i] = r * cosine
        work.p[i] = r * sine
        work.gamma[i] = gamma
        work.dlog_r[i] = dlog_r
        work.dtheta[i] = dtheta
        work.dgamma[i] = dgamma


@kernel
@separate
def rotate(params, work, state_tm1, x_t, record):
    """record.state <- z, the rotated and driven state; record.drive1, record.drive2 <- W1 x, W2 x"""
    drive(params, x_t, record.drive1, record.drive2)
    for i in range(record.state.c1.shape[0]):
        c1, c2 = state_tm1.c1[i], state_tm1.c2[i]
        record.state.c1[i] = work.g[i] * c1 - work.p[i] * c2 + work.gamma[i] * record.drive1[i]
        record.state.c2[i] = work.g[i] * c2 + work.p[i] * c1 + work.gamma[i] * record.drive2[i]


@kernel
@separate
def drive(params, x_t, drive1, drive2):
    """drive1, drive2 <- W1 x, W2 x. The unit index is innermost: no reduction, so the loop vectorises."""
    W1, W2 = params.weights
    d, n = W1.shape
    for i in range(n):
        drive1[i] = 0
        drive2[i] = 0
    for j in range(d):
        x_j = x_t[j]
        for i in range(n):
            drive1[i] += W1[j, i] * x_j
            drive2[i] += W2[j, i] * x_j


@kernel
@separate
def move_rotation(spec, params, memory, x_t):
    """memory.state <- z, and the sensitivities of units with it, as if f were the identity."""
    work, units, c1, c2 = memory.work, memory.units, memory.state.c1, memory.state.c2
    copy(x_t, memory.x)
    prepare_rotation(spec, params, work)
    drive(params, x_t, work.drive1, work.drive2)
    for i in range(spec.n_hidden):
        g, p, gamma, dgamma = work.g[i], work.p[i], work.gamma[i], work.dgamma[i]
        dlog_r, dtheta = work.dlog_r[i], work.dtheta[i]
        drive1, drive2 = work.drive1[i], work.drive2[i]
        turned1 = g * c1[i] - p * c2[i]
        turned2 = g * c2[i] + p * c1[i]
        c1[i] = turned1 + gamma * drive1
        c2[i] = turned2 + gamma * drive2
        e1, e2 = units.dc1_da[i], units.dc2_da[i]
        units.dc1_da[i] = g * e1 - p * e2 + dlog_r * turned1 + dgamma * drive1
        units.dc2_da[i] = g * e2 + p * e1 + dlog_r * turned2 + dgamma * drive2
        e1, e2 = units.dc1_db[i], units.dc2_db[i]
        units.dc1_db[i] = g * e1 - p * e2 - dtheta * turned2
        units.dc2_db[i] = g * e2 + p * e1 + dtheta * turned1
    move_scale(spec.scale, work, units.scale)


@kernel
@separate
def scale_units(spec, units, slope1, slope2):
    """What an activation in the recurrence does to the sensitivities that `move_rotation` left."""
    for i in range(spec.n_hidden):
        units.dc1_da[i] *= slope1[i]
        units.dc2_da[i] *= slope2[i]
        units.dc1_db[i] *= slope1[i]
        units.dc2_db[i] *= slope2[i]
    slope_scale(spec.scale, units.scale, slope1, slope2)


@kernel
@separate
def accumulate_units(spec, units, d1, d2, decay, out):
    """out <- decay out + (dc/dparameter)^T d, for all but the weights."""
    a, b = out.eigenvalue
    for i in range(spec.n_hidden):
        a[i] = decay * a[i] + d1[i] * units.dc1_da[i] + d2[i] * units.dc2_da[i]
        b[i] = decay * b[i] + d1[i] * units.dc1_db[i] + d2[i] * units.dc2_db[i]
    accumulate_scale(spec.scale, units.scale, d1, d2, decay, out.scale)


@kernel
@separate
def learn_units(spec, params, traces, memory, decay, scale):
    """Update and accumulate all but the weights."""
    if scale is not None:
        add_scaled(params.eigenvalue, traces.eigenvalue, scale)
        add_scaled(params.scale, traces.scale, scale)
    accumulate_units(spec, memory.units, memory.credit1, memory.credit2, decay, traces)


@kernel
@separate
def rotation_backward(spec, params, work, state_tm1, x_t, record, adjoint):
    """Reverse mode through z = R c + gamma W x (derivations (17)). adjoint.state comes in as dL/dz."""
    (dW1, dW2), (da, db) = adjoint.params.weights, adjoint.params.eigenvalue
    d1, d2, scaled1, scaled2 = adjoint.state.c1, adjoint.state.c2, work.drive1, work.drive2
    for i in range(spec.n_hidden):
        scaled1[i] = work.gamma[i] * d1[i]
        scaled2[i] = work.gamma[i] * d2[i]
        work.along[i] = d1[i] * record.drive1[i] + d2[i] * record.drive2[i]
    for j in range(spec.n_inputs):
        x_j = x_t[j]
        for i in range(spec.n_hidden):
            dW1[j, i] += scaled1[i] * x_j
            dW2[j, i] += scaled2[i] * x_j
    input_gradient_of(params, scaled1, scaled2, adjoint.x)
    for i in range(spec.n_hidden):
        g, p = work.g[i], work.p[i]
        b1, b2 = d1[i], d2[i]
        turned1 = g * state_tm1.c1[i] - p * state_tm1.c2[i]
        turned2 = g * state_tm1.c2[i] + p * state_tm1.c1[i]
        da[i] += work.dlog_r[i] * (b1 * turned1 + b2 * turned2) + work.dgamma[i] * work.along[i]
        db[i] += work.dtheta[i] * (b2 * turned1 - b1 * turned2)
        d1[i] = g * b1 + p * b2
        d2[i] = g * b2 - p * b1
    scale_backward(spec.scale, work, adjoint.params.scale)


@kernel
@separate
def input_gradient_of(params, scaled1, scaled2, dx):
    """dx <- W1 scaled1 + W2 scaled2"""
    W1, W2 = params.weights
    for j in range(dx.shape[0]):
        dx[j] = dot(W1[j], scaled1) + dot(W2[j], scaled2)


def register_diagonal(kind: type) -> None:
    """Register for the spec `kind` what all complex diagonal cells have in common."""
    shared = {
        protocol.parameters: diagonal_parameters,
        protocol.state: diagonal_state,
        protocol.record: diagonal_record,
        protocol.work: diagonal_work,
        protocol.prepare: prepare_rotation,
        protocol.degenerate: degenerate_rotation,
        protocol.why_degenerate: why_degenerate_rotation,
    }
    for function, implementation in shared.items():
        function.register(kind)(implementation)
