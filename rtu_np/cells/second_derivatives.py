"""How the sensitivities of a recurrent trace unit to its own eigenvalue change with that eigenvalue (derivations (97)).

In complex numbers, with c the state before the step, u = lambda c, e the sensitivity to a or b before the step, W x the
drive, and L = dlog_r, H = dtheta, `'` for the derivative by the same parameter, along given states:

    a:  e'_t = f' (lambda e' + L lambda e + (L^2 + L') u + gamma'' W x)
        gamma'' = -(r^2 (L' + 2 L^2) + gamma'^2) / gamma
    b:  e'_t = f' (lambda e' + i H lambda e + (-H^2 + i H') u)

f' is that of an activation in the recurrence, 1 without, and multiplies real and imaginary part apart.
"""

import numpy as np

from rtu_np import protocol
from rtu_np.cells.drive import drive
from rtu_np.cells.eigenvalues import NuLogTheta, NuLogThetaLog, NuTheta, RTheta
from rtu_np.cells.input_scale import Tied
from rtu_np.gradients.taylor import advance_derivatives, derivative_flops, has_derivatives, rescale_derivatives
from rtu_np.jit import generic, kernel, like, noalias
from rtu_np.numerics.activations import activation_flops


@generic
def slope_of_log_r(form, dlog_r):
    """d dlog_r / da of one unit"""


@generic
def slope_of_theta(form, dtheta):
    """d dtheta / db of one unit"""


slope_of_log_r.register(NuLogThetaLog)(lambda form, dlog_r: dlog_r)
slope_of_log_r.register(NuLogTheta)(lambda form, dlog_r: dlog_r)
slope_of_log_r.register(NuTheta)(lambda form, dlog_r: like(dlog_r, 0.0))
slope_of_log_r.register(RTheta)(lambda form, dlog_r: -dlog_r * dlog_r)
slope_of_theta.register(NuLogThetaLog)(lambda form, dtheta: dtheta)
for _form in (NuLogTheta, NuTheta, RTheta):
    slope_of_theta.register(_form)(lambda form, dtheta: like(dtheta, 0.0))


@generic
def state_slope(spec, c):
    """f'(z) of a number c = f(z) of the state; 1 if the recurrence has no activation."""


def _advance(spec, params, memory, x_t):
    drive(x_t, params, memory.drive1, memory.drive2)
    _advance_units(
        spec, memory.cell.work, memory.cell.state, memory.last, memory.drive1, memory.drive2, memory.derivatives
    )


@kernel
@noalias
def _advance_units(spec, work, state, last, drive1, drive2, out):
    for i in range(spec.n_hidden):
        g, p, gamma, first = work.g[i], work.p[i], work.gamma[i], work.dgamma[i]
        L, H = work.dlog_r[i], work.dtheta[i]
        slope1, slope2 = state_slope(spec, state.c1[i]), state_slope(spec, state.c2[i])
        u1, u2 = g * last.c1[i] - p * last.c2[i], g * last.c2[i] + p * last.c1[i]
        e1 = out.of_a1[i] + L * last.dc1_da[i]
        e2 = out.of_a2[i] + L * last.dc2_da[i]
        squared = L * L
        along = squared + slope_of_log_r(spec.form, L)
        second = -((g * g + p * p) * (along + squared) + first * first) / gamma
        out.of_a1[i] = slope1 * (g * e1 - p * e2 + along * u1 + second * drive1[i])
        out.of_a2[i] = slope2 * (g * e2 + p * e1 + along * u2 + second * drive2[i])
        e1 = out.of_b1[i] - H * last.dc2_db[i]
        e2 = out.of_b2[i] + H * last.dc1_db[i]
        along, across = H * H, slope_of_theta(spec.form, H)
        out.of_b1[i] = slope1 * (g * e1 - p * e2 - along * u1 - across * u2)
        out.of_b2[i] = slope2 * (g * e2 + p * e1 - along * u2 + across * u1)


def _rescale(spec, params, memory, factors):
    """With e = theta k and e' = e + theta^2 dk/dtheta, a phase that is multiplied by f takes e to f e."""
    f, units, out = factors.eigenvalue[1], memory.cell.units, memory.derivatives
    for derivative, e in ((out.of_b1, units.dc1_db), (out.of_b2, units.dc2_db)):
        derivative[:] = f**2 * (derivative - e) + f * e
    memory.last.b[:] += np.log(f)


def register_second_derivatives(kind: type, slope_of_state) -> None:
    """Register for specs of the type `kind` what RTRL(taylor=True) needs. `slope_of_state` is its `state_slope`."""
    has_derivatives.register(kind)(lambda spec: isinstance(spec.input_scale, Tied))
    advance_derivatives.register(kind)(_advance)
    rescale_derivatives.register(kind)(_rescale)
    state_slope.register(kind)(slope_of_state)
    derivative_flops.register(kind)(_flops)


def _flops(spec):
    n, d, in_recurrence = spec.n_hidden, spec.n_inputs, protocol.flops(spec).output_forward == 0
    slope = activation_flops(spec.activation)[1] if in_recurrence else 0
    return 4 * n * d + n * (57 + isinstance(spec.form, RTheta) + 2 * slope)
