"""The linear recurrent trace unit: a linear recurrence, a nonlinear output.

    c_t = z_t          z as in `rtu_np.cells.rotation`                            derivations (3), (4), (7)
    y_t = [f(c1); f(c2)]                                                          2n features of n units

Sensitivities, e = dc/dparameter (derivations (11); Elelimy et al. 2024, Sec. 3.3). With u the turned state of the step
before, u1 = g c1 - p c2 and u2 = g c2 + p c1,

    nu_log:      e1' = g e1 - p e2 - nu u1 + dgamma W1 x       e2' = g e2 + p e1 - nu u2 + dgamma W2 x
    theta_log:   e1' = g e1 - p e2 - theta u2                  e2' = g e2 + p e1 + theta u1
    W1_j:        e1' = g e1 - p e2 + gamma x_j                 e2' = g e2 + p e1                                (12)
    W2_j:        i times that of W1_j: (-e2, e1)                                                           (13), (14)

so that one complex sensitivity per weight pair is enough. The gradient of dy . y_t, derivations (15), with
d = f'(c) dy:

    d1 e1 + d2 e2      and for W2_j      d2 e1 - d1 e2

The released code of the paper keeps all four sensitivities per pair, and its e of theta_log lacks the factor theta.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rtu_np import cells
from rtu_np.buffers import matrix, vector
from rtu_np.cells.rotation import (
    RTU,
    RTUParameters,
    RTUState,
    degenerate_rotation,
    drive,
    move_rotation,
    plain_rotation,
    rotation,
    rotation_backward,
    rtu_parameters,
    rtu_state,
    why_degenerate_rotation,
)
from rtu_np.jit import kernel
from rtu_np.layers import Activation, activate, activation, dot, plain_activate, plain_slope, slope


@dataclass(frozen=True)
class LinearRTU(RTU):
    """A layer of linear recurrent trace units: settings as of `RTU`, with `activation` at the output.

    Examples
    --------
    >>> LinearRTU(n_hidden=8).build(n_inputs=3, seed=0).advance([1.0, 0.0, -1.0]).shape
    (16,)
    """

    def spec(self, n_inputs: int) -> "LinearRTUSpec":
        return LinearRTUSpec(n_inputs, self.n_hidden, 2 * self.n_hidden, activation(self.activation))


# ----------------------------------------------------------------------------------------------------------- types


class LinearRTUSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    activation: Activation


class LinearRTUMemory(NamedTuple):
    c1: np.ndarray  # (n,)   state
    c2: np.ndarray  # (n,)
    dc1_dnu_log: np.ndarray  # (n,)   sensitivities: of a unit to its own parameters, the others being zero
    dc2_dnu_log: np.ndarray  # (n,)
    dc1_dtheta_log: np.ndarray  # (n,)
    dc2_dtheta_log: np.ndarray  # (n,)
    dc1_dW1: np.ndarray  # (d, n)
    dc2_dW1: np.ndarray  # (d, n)
    y: np.ndarray  # (2n,)   the latest output; what follows is the latest step's, for `propagate`
    x: np.ndarray  # (d,)
    nu: np.ndarray  # (n,)   the rotation
    theta: np.ndarray  # (n,)
    g: np.ndarray  # (n,)
    p: np.ndarray  # (n,)
    gamma: np.ndarray  # (n,)
    dgamma: np.ndarray  # (n,)
    drive1: np.ndarray  # (n,)   W1 x; scratch for f'(c1) dy1 later in the step
    drive2: np.ndarray  # (n,)   W2 x; scratch for f'(c2) dy2


cells.parameters.register(LinearRTUSpec)(rtu_parameters)
cells.state.register(LinearRTUSpec)(rtu_state)
cells.degenerate.register(LinearRTUSpec)(degenerate_rotation)
cells.why_degenerate.register(LinearRTUSpec)(why_degenerate_rotation)


@cells.memory.register(LinearRTUSpec)
def memory(spec, flat):
    d, n = spec.n_inputs, spec.n_hidden
    c1, flat = vector(flat, n)
    c2, flat = vector(flat, n)
    dc1_dnu_log, flat = vector(flat, n)
    dc2_dnu_log, flat = vector(flat, n)
    dc1_dtheta_log, flat = vector(flat, n)
    dc2_dtheta_log, flat = vector(flat, n)
    dc1_dW1, flat = matrix(flat, d, n)
    dc2_dW1, flat = matrix(flat, d, n)
    y, flat = vector(flat, 2 * n)
    x, flat = vector(flat, d)
    nu, flat = vector(flat, n)
    theta, flat = vector(flat, n)
    g, flat = vector(flat, n)
    p, flat = vector(flat, n)
    gamma, flat = vector(flat, n)
    dgamma, flat = vector(flat, n)
    drive1, flat = vector(flat, n)
    drive2, flat = vector(flat, n)
    sensitivities = (dc1_dnu_log, dc2_dnu_log, dc1_dtheta_log, dc2_dtheta_log, dc1_dW1, dc2_dW1)
    latest = (y, x, nu, theta, g, p, gamma, dgamma, drive1, drive2)
    return LinearRTUMemory(c1, c2, *sensitivities, *latest), flat


# ------------------------------------------------------------------------------------------- reference: plain NumPy


@cells.preactivations.register(LinearRTUSpec)
def preactivations(spec, params, state_tm1, x_t):
    (c1, c2), _ = plain_forward(spec, params, state_tm1, x_t)
    return np.concatenate([c1, c2])


@cells.plain_forward.register(LinearRTUSpec)
def plain_forward(spec, params, state_tm1, x_t):
    _, _, g, p, gamma, _ = plain_rotation(params)
    c1, c2 = state_tm1
    c1, c2 = g * c1 - p * c2 + gamma * (x_t @ params.W1), g * c2 + p * c1 + gamma * (x_t @ params.W2)
    return RTUState(c1, c2), plain_activate(spec.activation, np.concatenate([c1, c2]))


@cells.plain_advance.register(LinearRTUSpec)
def plain_advance(spec, params, memory, x_t):
    # In complex numbers: c' = lambda c + gamma w x, and each sensitivity e' = lambda e + (what the parameter adds).
    nu, theta, g, p, gamma, dgamma = plain_rotation(params)
    lam, drive = g + 1j * p, x_t @ (params.W1 + 1j * params.W2)
    turned = lam * (memory.c1 + 1j * memory.c2)
    c = turned + gamma * drive
    dc_dnu_log = lam * (memory.dc1_dnu_log + 1j * memory.dc2_dnu_log) - nu * turned + dgamma * drive
    dc_dtheta_log = lam * (memory.dc1_dtheta_log + 1j * memory.dc2_dtheta_log) + 1j * theta * turned
    dc_dW1 = lam * (memory.dc1_dW1 + 1j * memory.dc2_dW1) + np.outer(x_t, gamma)
    return memory._replace(
        c1=c.real,
        c2=c.imag,
        dc1_dnu_log=dc_dnu_log.real,
        dc2_dnu_log=dc_dnu_log.imag,
        dc1_dtheta_log=dc_dtheta_log.real,
        dc2_dtheta_log=dc_dtheta_log.imag,
        dc1_dW1=dc_dW1.real,
        dc2_dW1=dc_dW1.imag,
        y=plain_activate(spec.activation, np.concatenate([c.real, c.imag])),
    )


@cells.plain_gradient.register(LinearRTUSpec)
def plain_gradient(spec, params, memory, dy):
    d1, d2 = np.split(plain_slope(spec.activation, memory.y) * dy, 2)
    gamma = plain_rotation(params)[4]
    gradient = RTUParameters(
        nu_log=d1 * memory.dc1_dnu_log + d2 * memory.dc2_dnu_log,
        theta_log=d1 * memory.dc1_dtheta_log + d2 * memory.dc2_dtheta_log,
        W1=d1 * memory.dc1_dW1 + d2 * memory.dc2_dW1,
        W2=d2 * memory.dc1_dW1 - d1 * memory.dc2_dW1,
    )
    return gradient, params.W1 @ (gamma * d1) + params.W2 @ (gamma * d2)


@cells.plain_backward.register(LinearRTUSpec)
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    nu, theta, g, p, gamma, dgamma = plain_rotation(params)
    y = plain_activate(spec.activation, np.concatenate(state_t))
    d1, d2 = np.split(np.concatenate(dstate) + plain_slope(spec.activation, y) * dy, 2)
    dg = d1 * state_tm1.c1 + d2 * state_tm1.c2
    dp = d2 * state_tm1.c1 - d1 * state_tm1.c2
    dgamma_total = d1 * (x_t @ params.W1) + d2 * (x_t @ params.W2)
    gradient = RTUParameters(
        nu_log=-nu * (g * dg + p * dp) + dgamma * dgamma_total,
        theta_log=theta * (g * dp - p * dg),
        W1=np.outer(x_t, gamma * d1),
        W2=np.outer(x_t, gamma * d2),
    )
    dx = params.W1 @ (gamma * d1) + params.W2 @ (gamma * d2)
    return RTUState(g * d1 + p * d2, g * d2 - p * d1), gradient, dx


# --------------------------------------------------------------------------------------------------------- kernels


@cells.forward.register(LinearRTUSpec)
def forward(spec, params, state_tm1, x_t, state_t, y_t):
    n = spec.n_hidden
    drive(params, x_t, state_t.c1, state_t.c2)
    for i in range(n):
        _, _, g, p, gamma, _ = rotation(params.nu_log[i], params.theta_log[i])
        c1 = g * state_tm1.c1[i] - p * state_tm1.c2[i] + gamma * state_t.c1[i]
        c2 = g * state_tm1.c2[i] + p * state_tm1.c1[i] + gamma * state_t.c2[i]
        state_t.c1[i] = c1
        state_t.c2[i] = c2
        y_t[i] = activate(spec.activation, c1)
        y_t[n + i] = activate(spec.activation, c2)


@cells.backward.register(LinearRTUSpec)
def backward(spec, params, state_tm1, x_t, state_t, dy, dstate, out, dx):
    for i in range(spec.n_hidden):
        dstate.c1[i] += slope(spec.activation, activate(spec.activation, state_t.c1[i])) * dy[i]
        dstate.c2[i] += slope(spec.activation, activate(spec.activation, state_t.c2[i])) * dy[spec.n_hidden + i]
    rotation_backward(params, state_tm1, x_t, dstate, out, dx)


@cells.move.register(LinearRTUSpec)
def move(spec, params, memory, x_t):
    n = spec.n_hidden
    move_rotation(params, memory, x_t)
    for i in range(n):
        memory.y[i] = activate(spec.activation, memory.c1[i])
        memory.y[n + i] = activate(spec.activation, memory.c2[i])


@cells.propagate.register(LinearRTUSpec)
def propagate(spec, memory):
    e1, e2 = memory.dc1_dW1, memory.dc2_dW1
    for j in range(spec.n_inputs):
        x_j = memory.x[j]
        for i in range(spec.n_hidden):
            e1_tm1 = e1[j, i]
            e1[j, i] = memory.g[i] * e1_tm1 - memory.p[i] * e2[j, i] + memory.gamma[i] * x_j
            e2[j, i] = memory.g[i] * e2[j, i] + memory.p[i] * e1_tm1


@kernel
def _accumulate_units(spec, memory, dy, decay, out):
    """The part of the traces that grows with n alone; leaves f'(c) dy in the scratch of `memory`."""
    n = spec.n_hidden
    for i in range(n):
        d1 = slope(spec.activation, memory.y[i]) * dy[i]
        d2 = slope(spec.activation, memory.y[n + i]) * dy[n + i]
        out.nu_log[i] = decay * out.nu_log[i] + d1 * memory.dc1_dnu_log[i] + d2 * memory.dc2_dnu_log[i]
        out.theta_log[i] = decay * out.theta_log[i] + d1 * memory.dc1_dtheta_log[i] + d2 * memory.dc2_dtheta_log[i]
        memory.drive1[i] = d1
        memory.drive2[i] = d2


@cells.accumulate.register(LinearRTUSpec)
def accumulate(spec, memory, dy, decay, out):
    _accumulate_units(spec, memory, dy, decay, out)
    for j in range(spec.n_inputs):
        for i in range(spec.n_hidden):
            d1, d2 = memory.drive1[i], memory.drive2[i]
            e1, e2 = memory.dc1_dW1[j, i], memory.dc2_dW1[j, i]
            out.W1[j, i] = decay * out.W1[j, i] + d1 * e1 + d2 * e2
            out.W2[j, i] = decay * out.W2[j, i] + d2 * e1 - d1 * e2


@cells.learn.register(LinearRTUSpec)
def learn(spec, params, traces, memory, dy, decay, scale):
    if scale is not None:
        for i in range(spec.n_hidden):
            params.nu_log[i] += scale * traces.nu_log[i]
            params.theta_log[i] += scale * traces.theta_log[i]
    _accumulate_units(spec, memory, dy, decay, traces)
    for j in range(spec.n_inputs):
        x_j = memory.x[j]
        for i in range(spec.n_hidden):
            g, p, d1, d2 = memory.g[i], memory.p[i], memory.drive1[i], memory.drive2[i]
            e1_tm1, e2_tm1 = memory.dc1_dW1[j, i], memory.dc2_dW1[j, i]
            e1 = g * e1_tm1 - p * e2_tm1 + memory.gamma[i] * x_j
            e2 = g * e2_tm1 + p * e1_tm1
            memory.dc1_dW1[j, i] = e1
            memory.dc2_dW1[j, i] = e2
            if scale is not None:
                params.W1[j, i] += scale * traces.W1[j, i]
                params.W2[j, i] += scale * traces.W2[j, i]
            traces.W1[j, i] = decay * traces.W1[j, i] + d1 * e1 + d2 * e2
            traces.W2[j, i] = decay * traces.W2[j, i] + d2 * e1 - d1 * e2


@cells.input_gradient.register(LinearRTUSpec)
def input_gradient(spec, params, memory, dy, dx):
    n = spec.n_hidden
    for i in range(n):
        memory.drive1[i] = memory.gamma[i] * slope(spec.activation, memory.y[i]) * dy[i]
        memory.drive2[i] = memory.gamma[i] * slope(spec.activation, memory.y[n + i]) * dy[n + i]
    for j in range(spec.n_inputs):
        dx[j] = dot(params.W1[j], memory.drive1) + dot(params.W2[j], memory.drive2)
