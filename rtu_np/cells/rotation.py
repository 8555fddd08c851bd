"""The shared parts of complex diagonal cells: parameters, the rotation by (r, theta), and its sensitivities.

One unit is one complex number c = c1 + i c2. Each step turns c by theta, multiplies its length by r, and adds the input
with weight gamma (derivations (3)-(6); Elelimy et al. 2024, Eq. 4):

    z1 = g c1 - p c2 + gamma W1 x        g = r cos theta
    z2 = g c2 + p c1 + gamma W2 x        p = r sin theta

In a recurrent trace unit, gamma = sqrt(1 - r^2) is *tied* to r. In a linear recurrent unit (LRU), gamma is *free*, exp
of a parameter gamma_log. Two numbers a and b store r and theta (`rtu_np.cells.eigenvalues`). The derivatives by a, b
and gamma_log are, by derivations (9), (10), (26) and (27),

    a:           dg = dlog_r g          dp = dlog_r p       dgamma = -dlog_r r^2 / gamma if tied, else 0
    b:           dg = -dtheta p         dp = dtheta g       dgamma = 0
    gamma_log:   dg = 0                 dp = 0              dgamma = gamma
"""

from typing import NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.diagonal import (
    DiagonalParameters,
    DiagonalState,
    UnitSensitivities,
    diagonal_parameters,
    diagonal_record,
    diagonal_state,
    diagonal_work,
)
from rtu_np.cells.drive import drive, drive_backward, drive_in_fours
from rtu_np.cells.eigenvalues import (
    confine_eigenvalues,
    eigenvalue,
    lowest_modulus,
    plain_eigenvalue,
    wrap_phases,
)
from rtu_np.cells.input_scale import (
    Tied,
    accumulate_input_scale,
    apply_slopes_to_input_scale,
    copy_input_scale,
    input_scale,
    input_scale_backward,
    move_input_scale,
)
from rtu_np.cells.second_derivatives import register_second_derivatives
from rtu_np.cells.sequences import register_driven
from rtu_np.gradients.layers import name_of
from rtu_np.gradients.own_past import sees_no_other
from rtu_np.jit import generic, kernel, noalias
from rtu_np.numerics.buffers import add_scaled, copy, rebuild
from rtu_np.numerics.elementary import sin_cos

# ----------------------------------------------------------------------------------------------------- degeneration


@generic
def _no_gamma(input_scale, form, a):
    """Whether some gamma = sqrt(1 - r^2) is 0 or not a number."""


@_no_gamma.register(Tied)
def _tied_no_gamma(input_scale, form, a):
    lowest, below = a.dtype.type(lowest_modulus(form, a)), 0
    for i in range(a.shape[0]):
        below += a[i] < lowest
    return below > 0


@_no_gamma.otherwise
def _free_no_gamma(input_scale, form, a):
    return False


@kernel
def degenerate_rotation(spec, params):
    a, _ = params.eigenvalue
    return _no_gamma(spec.input_scale, spec.form, a[: spec.n_hidden])


def why_degenerate_rotation(spec, params: DiagonalParameters) -> str:
    a, _ = params.eigenvalue
    i, name = int(np.argmin(a)), params.eigenvalue._fields[0]
    fact, question = {
        "nu_log": ("exp(nu_log) underflows", "Was a rate nu written in place of its logarithm?"),
        "nu": ("exp(-nu) is 1 or more", "Has a step carried nu to or below zero, or was nu_log written in its place?"),
    }[name]
    return (
        f"{name}[{i}] is {a[i]}: {fact}, so that gamma = sqrt(1 - r^2) is 0 or not a number, and has no derivative; "
        f"expected at least {lowest_modulus(spec.form, a)} in {a.dtype}. {question}"
    )


@kernel
def confine_rotation(spec, params):
    (a, b), n = params.eigenvalue, spec.n_hidden
    return confine_eigenvalues(spec.form, spec.span, a[:n], b[:n])


def wrap_rotation(spec, params: DiagonalParameters, factors: DiagonalParameters) -> None:
    wrap_phases(spec.form, params.eigenvalue[1], factors.eigenvalue[1])


def rescale_units(spec, params, sensitivities, factors: DiagonalParameters) -> None:
    """Only phases wrap, so all other factors are 1."""
    sensitivities.units.dc1_db[:] *= factors.eigenvalue[1]
    sensitivities.units.dc2_db[:] *= factors.eigenvalue[1]


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
    if isinstance(spec.input_scale, Tied):
        gamma = np.sqrt(complement)
        dgamma = -dlog_r * r**2 / gamma
    else:
        gamma = np.exp(params.input_scale.gamma_log)
        dgamma = np.zeros(spec.n_hidden)
    return PlainRotation(r * np.cos(theta), r * np.sin(theta), gamma, dlog_r, dtheta, dgamma)


class PlainUnits(NamedTuple):
    """Unit sensitivities in complex numbers."""

    dc_da: np.ndarray
    dc_db: np.ndarray
    dc_dinput_scale: list[np.ndarray]  # none or one

    @classmethod
    def of(cls, units: UnitSensitivities) -> "PlainUnits":
        input_scale = [units.input_scale[0] + 1j * units.input_scale[1]] if units.input_scale else []
        return cls(units.dc1_da + 1j * units.dc2_da, units.dc1_db + 1j * units.dc2_db, input_scale)

    def store(self, like: UnitSensitivities) -> UnitSensitivities:
        parts = [part for e in (self.dc_da, self.dc_db, *self.dc_dinput_scale) for part in (e.real, e.imag)]
        return rebuild(like, parts)


def plain_unit_gradient(params: DiagonalParameters, units: UnitSensitivities, d1, d2):
    """The gradients by (eigenvalue, input scale), from dL/dc = (d1, d2)."""
    da = d1 * units.dc1_da + d2 * units.dc2_da
    db = d1 * units.dc1_db + d2 * units.dc2_db
    input_scale = [d1 * units.input_scale[0] + d2 * units.input_scale[1]] if units.input_scale else []
    return type(params.eigenvalue)(da, db), type(params.input_scale)(*input_scale)


def plain_rotation_backward(spec, params: DiagonalParameters, state_tm1, x_t, d1, d2):
    """(dstate_tm1, gradient, dx), from dL/dz = (d1, d2)."""
    (W1, W2), (c1, c2) = params.weights, state_tm1
    g, p, gamma, dlog_r, dtheta, dgamma = plain_rotation(spec, params)
    dg, dp = d1 * c1 + d2 * c2, d2 * c1 - d1 * c2
    along = d1 * (x_t @ W1) + d2 * (x_t @ W2)
    gradient = DiagonalParameters(
        type(params.eigenvalue)(dlog_r * (g * dg + p * dp) + dgamma * along, dtheta * (g * dp - p * dg)),
        type(params.input_scale)(*([] if isinstance(spec.input_scale, Tied) else [gamma * along])),
        type(params.weights)(np.outer(x_t, gamma * d1), np.outer(x_t, gamma * d2)),
    )
    return DiagonalState(g * d1 + p * d2, g * d2 - p * d1), gradient, W1 @ (gamma * d1) + W2 @ (gamma * d2)


# --------------------------------------------------------------------------------------------------------- kernels


@kernel
@noalias
def prepare_rotation(spec, params, work):
    a, b = params.eigenvalue
    n, first_a, first_b, gamma_log = spec.n_hidden, a[0], b[0], work.scratch3
    copy_input_scale(spec.input_scale, params.input_scale, gamma_log)
    for i in range(work.g.shape[0]):
        own_a, own_b = a[i], b[i]
        # A dead unit has the eigenvalue of the first unit: any valid numbers do.
        a_i, b_i = (own_a if i < n else first_a), (own_b if i < n else first_b)
        r, theta, complement, dlog_r, dtheta = eigenvalue(spec.form, a_i, b_i)
        gamma, dgamma = input_scale(spec.input_scale, gamma_log[i], r, complement, dlog_r)
        sine, cosine = sin_cos(theta)
        work.g[i] = r * cosine
        work.p[i] = r * sine
        work.gamma[i] = gamma
        work.dlog_r[i] = dlog_r
        work.dtheta[i] = dtheta
        work.dgamma[i] = dgamma


@kernel
@noalias
def rotate(params, work, state_tm1, x_t, record):
    """record.state <- z, the rotated and driven state; record.drive1, record.drive2 <- W1 x, W2 x"""
    drive_in_fours(x_t, params, record.drive1, record.drive2)
    for i in range(record.state.c1.shape[0]):
        c1, c2 = state_tm1.c1[i], state_tm1.c2[i]
        record.state.c1[i] = work.g[i] * c1 - work.p[i] * c2 + work.gamma[i] * record.drive1[i]
        record.state.c2[i] = work.g[i] * c2 + work.p[i] * c1 + work.gamma[i] * record.drive2[i]


@kernel
@noalias
def move_rotation(spec, params, memory, x_t):
    """memory.state <- z; memory.units <- the sensitivities of z, as if f were the identity."""
    work = memory.work
    copy(x_t, memory.x)
    prepare_rotation(spec, params, work)
    drive(x_t, params, work.scratch1, work.scratch2)
    turn_units(spec, memory)


@kernel
@noalias
def turn_units(spec, memory):
    """As `move_rotation`, with the rotation in memory.work, and W1 x and W2 x in its first two scratch vectors."""
    work, units, c1, c2 = memory.work, memory.units, memory.state.c1, memory.state.c2
    drive1, drive2 = work.scratch1, work.scratch2
    for i in range(c1.shape[0]):
        g, p, gamma, dgamma = work.g[i], work.p[i], work.gamma[i], work.dgamma[i]
        dlog_r, dtheta = work.dlog_r[i], work.dtheta[i]
        b1, b2 = drive1[i], drive2[i]
        turned1 = g * c1[i] - p * c2[i]
        turned2 = g * c2[i] + p * c1[i]
        c1[i] = turned1 + gamma * b1
        c2[i] = turned2 + gamma * b2
        e1, e2 = units.dc1_da[i], units.dc2_da[i]
        units.dc1_da[i] = g * e1 - p * e2 + dlog_r * turned1 + dgamma * b1
        units.dc2_da[i] = g * e2 + p * e1 + dlog_r * turned2 + dgamma * b2
        e1, e2 = units.dc1_db[i], units.dc2_db[i]
        units.dc1_db[i] = g * e1 - p * e2 - dtheta * turned2
        units.dc2_db[i] = g * e2 + p * e1 + dtheta * turned1
    move_input_scale(spec.input_scale, work.g, work.p, work.gamma, drive1, drive2, units.input_scale)


@kernel
@noalias
def apply_slopes(spec, units, slope1, slope2):
    """units <- f'(z) units: multiply the sensitivities of `move_rotation` by the slopes of an activation."""
    for i in range(slope1.shape[0]):
        units.dc1_da[i] *= slope1[i]
        units.dc2_da[i] *= slope2[i]
        units.dc1_db[i] *= slope1[i]
        units.dc2_db[i] *= slope2[i]
    apply_slopes_to_input_scale(spec.input_scale, units.input_scale, slope1, slope2)


@kernel
@noalias
def accumulate_units(spec, units, d1, d2, decay, out):
    """out <- decay out + (dc/dparameter)^T d, for all but the weights."""
    a, b = out.eigenvalue
    for i in range(d1.shape[0]):
        a[i] = decay * a[i] + d1[i] * units.dc1_da[i] + d2[i] * units.dc2_da[i]
        b[i] = decay * b[i] + d1[i] * units.dc1_db[i] + d2[i] * units.dc2_db[i]
    accumulate_input_scale(spec.input_scale, units.input_scale, d1, d2, decay, out.input_scale)


@kernel
@noalias
def learn_units(spec, params, traces, memory, decay, step):
    """Update and accumulate all but the weights."""
    if step is not None:
        add_scaled(params.eigenvalue, traces.eigenvalue, step)
        add_scaled(params.input_scale, traces.input_scale, step)
    accumulate_units(spec, memory.units, memory.credit1, memory.credit2, decay, traces)


@kernel
@noalias
def rotation_backward(spec, params, work, state_tm1, x_t, record, adjoint):
    """Reverse mode through z = R c + gamma W x (derivations (17)). On entry, adjoint.state is dL/dz."""
    da, db = adjoint.params.eigenvalue
    d1, d2, dL_dgamma = adjoint.state.c1, adjoint.state.c2, work.scratch3
    ddrive1, ddrive2 = work.scratch1, work.scratch2
    for i in range(spec.n_hidden):
        ddrive1[i] = work.gamma[i] * d1[i]
        ddrive2[i] = work.gamma[i] * d2[i]
        dL_dgamma[i] = d1[i] * record.drive1[i] + d2[i] * record.drive2[i]
    drive_backward(x_t, spec, params, ddrive1, ddrive2, adjoint)
    for i in range(spec.n_hidden):
        g, p = work.g[i], work.p[i]
        b1, b2 = d1[i], d2[i]
        turned1 = g * state_tm1.c1[i] - p * state_tm1.c2[i]
        turned2 = g * state_tm1.c2[i] + p * state_tm1.c1[i]
        da[i] += work.dlog_r[i] * (b1 * turned1 + b2 * turned2) + work.dgamma[i] * dL_dgamma[i]
        db[i] += work.dtheta[i] * (b2 * turned1 - b1 * turned2)
        d1[i] = g * b1 + p * b2
        d2[i] = g * b2 - p * b1
    input_scale_backward(spec.input_scale, work.gamma, dL_dgamma[: spec.n_hidden], adjoint.params.input_scale)


def register_diagonal(kind: type, slope_of_state) -> None:
    """Register for specs of the type `kind` the functions that all complex diagonal cells share.

    slope_of_state : (spec, c) -> f'(z) of a number c = f(z) of the state, in the recurrence
    """
    register_second_derivatives(kind, slope_of_state)
    register_driven(kind)
    shared = {
        protocol.parameters: diagonal_parameters,
        protocol.state: diagonal_state,
        protocol.record: diagonal_record,
        protocol.work: diagonal_work,
        protocol.prepare: prepare_rotation,
        protocol.degenerate: degenerate_rotation,
        protocol.why_degenerate: why_degenerate_rotation,
        protocol.confine: confine_rotation,
        protocol.wrap: wrap_rotation,
        protocol.rescale: rescale_units,
        sees_no_other: lambda spec: True,
        name_of: lambda spec: kind.__name__.removesuffix("Spec") if isinstance(spec.input_scale, Tied) else "LRU",
    }
    for function, implementation in shared.items():
        function.register(kind)(implementation)
