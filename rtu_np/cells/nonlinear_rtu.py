"""The nonlinear recurrent trace unit: the nonlinearity stands in the recurrence.

    c_t = f(z_t)       z as in `rtu_np.cells.rotation`                            derivations (3), (4), (8)
    y_t = [c1; c2]                                                                2n features of n units

Sensitivities, e = dc/dparameter (derivations (11); Elelimy et al. 2024, Sec. 3.3). With u the turned state of the step
before, u1 = g c1 - p c2 and u2 = g c2 + p c1, and f'_i = f'(z_i),

    nu_log:      e1' = f'_1 (g e1 - p e2 - nu u1 + dgamma W1 x)       e2' = f'_2 (g e2 + p e1 - nu u2 + dgamma W2 x)
    theta_log:   e1' = f'_1 (g e1 - p e2 - theta u2)                  e2' = f'_2 (g e2 + p e1 + theta u1)
    W1_j:        e1' = f'_1 (g e1 - p e2 + gamma x_j)                 e2' = f'_2 (g e2 + p e1)                  (12)
    W2_j:        e1' = f'_1 (g e1 - p e2)                             e2' = f'_2 (g e2 + p e1 + gamma x_j)      (13)

f'_1 and f'_2 differ, so that e is no complex derivative and W1 and W2 need a pair of sensitivities each: twice the
linear unit's. The gradient of dy . y_t, derivations (15): dy1 e1 + dy2 e2.
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
class NonlinearRTU(RTU):
    """A layer of nonlinear recurrent trace units: settings as of `RTU`, with `activation` in the recurrence.

    Examples
    --------
    >>> NonlinearRTU(n_hidden=8, activation="relu").build(n_inputs=3, seed=0).advance([1.0, 0.0, -1.0]).shape
    (16,)
    """

    def spec(self, n_inputs: int) -> "NonlinearRTUSpec":
        return NonlinearRTUSpec(n_inputs, self.n_hidden, 2 * self.n_hidden, activation(self.activation))


# ----------------------------------------------------------------------------------------------------------- types


class NonlinearRTUSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    activation: Activation


class NonlinearRTUMemory(NamedTuple):
    c1: np.ndarray  # (n,)   state
    c2: np.ndarray  # (n,)
    dc1_dnu_log: np.ndarray  # (n,)   sensitivities: of a unit to its own parameters, the others being zero
    dc2_dnu_log: np.ndarray  # (n,)
    dc1_dtheta_log: np.ndarray  # (n,)
    dc2_dtheta_log: np.ndarray  # (n,)
    dc1_dW1: np.ndarray  # (d, n)
    dc2_dW1: np.ndarray  # (d, n)
    dc1_dW2: np.ndarray  # (d, n)
    dc2_dW2: np.ndarray  # (d, n)
    y: np.ndarray  # (2n,)   the latest output; what follows is the latest step's, for `propagate`
    x: np.ndarray  # (d,)
    nu: np.ndarray  # (n,)   the rotation
    theta: np.ndarray  # (n,)
    g: np.ndarray  # (n,)
    p: np.ndarray  # (n,)
    gamma: np.ndarray  # (n,)
    dgamma: np.ndarray  # (n,)
    g1: np.ndarray  # (n,)   g, p and gamma times the slope f'_1
    p1: np.ndarray  # (n,)
    gamma1: np.ndarray  # (n,)
    g2: np.ndarray  # (n,)   g, p and gamma times the slope f'_2
    p2: np.ndarray  # (n,)
    gamma2: np.ndarray  # (n,)
    drive1: np.ndarray  # (n,)   W1 x; scratch later in the step
    drive2: np.ndarray  # (n,)   W2 x; scratch later in the step


cells.parameters.register(NonlinearRTUSpec)(rtu_parameters)
cells.state.register(NonlinearRTUSpec)(rtu_state)
cells.degenerate.register(NonlinearRTUSpec)(degenerate_rotation)
cells.why_degenerate.register(NonlinearRTUSpec)(why_degenerate_rotation)


@cells.memory.register(NonlinearRTUSpec)
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
    dc1_dW2, flat = matrix(flat, d, n)
    dc2_dW2, flat = matrix(flat, d, n)
    y, flat = vector(flat, 2 * n)
    x, flat = vector(flat, d)
    nu, flat = vector(flat, n)
    theta, flat = vector(flat, n)
    g, flat = vector(flat, n)
    p, flat = vector(flat, n)
    gamma, flat = vector(flat, n)
    dgamma, flat = vector(flat, n)
    g1, flat = vector(flat, n)
    p1, flat = vector(flat, n)
    gamma1, flat = vector(flat, n)
    g2, flat = vector(flat, n)
    p2, flat = vector(flat, n)
    gamma2, flat = vector(flat, n)
    drive1, flat = vector(flat, n)
    drive2, flat = vector(flat, n)
    sensitivities = (dc1_dnu_log, dc2_dnu_log, dc1_dtheta_log, dc2_dtheta_log, dc1_dW1, dc2_dW1, dc1_dW2, dc2_dW2)
    latest = (y, x, nu, theta, g, p, gamma, dgamma)
    scaled = (g1, p1, gamma1, g2, p2, gamma2, drive1, drive2)
    return NonlinearRTUMemory(c1, c2, *sensitivities, *latest, *scaled), flat


# ------------------------------------------------------------------------------------------- reference: plain NumPy


@cells.preactivations.register(NonlinearRTUSpec)
def preactivations(spec, params, state_tm1, x_t):
    _, _, g, p, gamma, _ = plain_rotation(params)
    c1, c2 = state_tm1
    z1 = g * c1 - p * c2 + gamma * (x_t @ params.W1)
    z2 = g * c2 + p * c1 + gamma * (x_t @ params.W2)
    return np.concatenate([z1, z2])


@cells.plain_forward.register(NonlinearRTUSpec)
def plain_forward(spec, params, state_tm1, x_t):
    y = plain_activate(spec.activation, preactivations(spec, params, state_tm1, x_t))
    return RTUState(*np.split(y, 2)), y


@cells.plain_advance.register(NonlinearRTUSpec)
def plain_advance(spec, params, memory, x_t):
    # Every sensitivity is e' = f'(z) (R e + what the parameter adds), with R the rotation and all of them (2, n).
    nu, theta, g, p, gamma, dgamma = plain_rotation(params)
    state_tm1 = np.stack([memory.c1, memory.c2])
    drive = np.stack([x_t @ params.W1, x_t @ params.W2])

    def turn(e):
        return np.stack([g * e[0] - p * e[1], g * e[1] + p * e[0]])

    turned = turn(state_tm1)
    c = plain_activate(spec.activation, turned + gamma * drive)
    slope = plain_slope(spec.activation, c)
    quarter_turned = np.stack([-turned[1], turned[0]])
    dnu = slope * (turn([memory.dc1_dnu_log, memory.dc2_dnu_log]) - nu * turned + dgamma * drive)
    dtheta = slope * (turn([memory.dc1_dtheta_log, memory.dc2_dtheta_log]) + theta * quarter_turned)
    dW1 = turn([memory.dc1_dW1, memory.dc2_dW1])
    dW2 = turn([memory.dc1_dW2, memory.dc2_dW2])
    dW1[0] += np.outer(x_t, gamma)
    dW2[1] += np.outer(x_t, gamma)
    return memory._replace(
        c1=c[0],
        c2=c[1],
        dc1_dnu_log=dnu[0],
        dc2_dnu_log=dnu[1],
        dc1_dtheta_log=dtheta[0],
        dc2_dtheta_log=dtheta[1],
        dc1_dW1=slope[0] * dW1[0],
        dc2_dW1=slope[1] * dW1[1],
        dc1_dW2=slope[0] * dW2[0],
        dc2_dW2=slope[1] * dW2[1],
        y=np.concatenate(c),
    )


@cells.plain_gradient.register(NonlinearRTUSpec)
def plain_gradient(spec, params, memory, dy):
    dy1, dy2 = np.split(dy, 2)
    gradient = RTUParameters(
        nu_log=dy1 * memory.dc1_dnu_log + dy2 * memory.dc2_dnu_log,
        theta_log=dy1 * memory.dc1_dtheta_log + dy2 * memory.dc2_dtheta_log,
        W1=dy1 * memory.dc1_dW1 + dy2 * memory.dc2_dW1,
        W2=dy1 * memory.dc1_dW2 + dy2 * memory.dc2_dW2,
    )
    gamma = plain_rotation(params)[4]
    d1, d2 = np.split(plain_slope(spec.activation, memory.y) * dy, 2)
    return gradient, params.W1 @ (gamma * d1) + params.W2 @ (gamma * d2)


@cells.plain_backward.register(NonlinearRTUSpec)
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    nu, theta, g, p, gamma, dgamma = plain_rotation(params)
    d1, d2 = np.split(plain_slope(spec.activation, np.concatenate(state_t)) * (dy + np.concatenate(dstate)), 2)
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


@cells.forward.register(NonlinearRTUSpec)
def forward(spec, params, state_tm1, x_t, state_t, y_t):
    n = spec.n_hidden
    drive(params, x_t, state_t.c1, state_t.c2)
    for i in range(n):
        _, _, g, p, gamma, _ = rotation(params.nu_log[i], params.theta_log[i])
        z1 = g * state_tm1.c1[i] - p * state_tm1.c2[i] + gamma * state_t.c1[i]
        z2 = g * state_tm1.c2[i] + p * state_tm1.c1[i] + gamma * state_t.c2[i]
        c1 = activate(spec.activation, z1)
        c2 = activate(spec.activation, z2)
        state_t.c1[i] = c1
        state_t.c2[i] = c2
        y_t[i] = c1
        y_t[n + i] = c2


@cells.backward.register(NonlinearRTUSpec)
def backward(spec, params, state_tm1, x_t, state_t, dy, dstate, out, dx):
    for i in range(spec.n_hidden):
        dstate.c1[i] = slope(spec.activation, state_t.c1[i]) * (dstate.c1[i] + dy[i])
        dstate.c2[i] = slope(spec.activation, state_t.c2[i]) * (dstate.c2[i] + dy[spec.n_hidden + i])
    rotation_backward(params, state_tm1, x_t, dstate, out, dx)


@cells.move.register(NonlinearRTUSpec)
def move(spec, params, memory, x_t):
    n = spec.n_hidden
    move_rotation(params, memory, x_t)
    slope1, slope2 = memory.drive1, memory.drive2  # W1 x and W2 x have served
    for i in range(n):
        c1 = activate(spec.activation, memory.c1[i])
        c2 = activate(spec.activation, memory.c2[i])
        slope1[i] = slope(spec.activation, c1)
        slope2[i] = slope(spec.activation, c2)
        memory.c1[i] = c1
        memory.c2[i] = c2
        memory.y[i] = c1
        memory.y[n + i] = c2
    for i in range(n):
        memory.dc1_dnu_log[i] *= slope1[i]
        memory.dc2_dnu_log[i] *= slope2[i]
        memory.dc1_dtheta_log[i] *= slope1[i]
        memory.dc2_dtheta_log[i] *= slope2[i]
    for i in range(n):
        memory.g1[i] = slope1[i] * memory.g[i]
        memory.p1[i] = slope1[i] * memory.p[i]
        memory.gamma1[i] = slope1[i] * memory.gamma[i]
        memory.g2[i] = slope2[i] * memory.g[i]
        memory.p2[i] = slope2[i] * memory.p[i]
        memory.gamma2[i] = slope2[i] * memory.gamma[i]


@cells.propagate.register(NonlinearRTUSpec)
def propagate(spec, memory):
    for j in range(spec.n_inputs):
        x_j = memory.x[j]
        for i in range(spec.n_hidden):
            g1, p1, g2, p2 = memory.g1[i], memory.p1[i], memory.g2[i], memory.p2[i]
            e1, e2 = memory.dc1_dW1[j, i], memory.dc2_dW1[j, i]
            memory.dc1_dW1[j, i] = g1 * e1 - p1 * e2 + memory.gamma1[i] * x_j
            memory.dc2_dW1[j, i] = g2 * e2 + p2 * e1
            e1, e2 = memory.dc1_dW2[j, i], memory.dc2_dW2[j, i]
            memory.dc1_dW2[j, i] = g1 * e1 - p1 * e2
            memory.dc2_dW2[j, i] = g2 * e2 + p2 * e1 + memory.gamma2[i] * x_j


@kernel
def _accumulate_units(spec, memory, dy, decay, out):
    """The part of the traces that grows with n alone."""
    n = spec.n_hidden
    for i in range(n):
        dy1, dy2 = dy[i], dy[n + i]
        out.nu_log[i] = decay * out.nu_log[i] + dy1 * memory.dc1_dnu_log[i] + dy2 * memory.dc2_dnu_log[i]
        out.theta_log[i] = decay * out.theta_log[i] + dy1 * memory.dc1_dtheta_log[i] + dy2 * memory.dc2_dtheta_log[i]


@cells.accumulate.register(NonlinearRTUSpec)
def accumulate(spec, memory, dy, decay, out):
    n = spec.n_hidden
    _accumulate_units(spec, memory, dy, decay, out)
    for j in range(spec.n_inputs):
        for i in range(n):
            out.W1[j, i] = decay * out.W1[j, i] + dy[i] * memory.dc1_dW1[j, i] + dy[n + i] * memory.dc2_dW1[j, i]
            out.W2[j, i] = decay * out.W2[j, i] + dy[i] * memory.dc1_dW2[j, i] + dy[n + i] * memory.dc2_dW2[j, i]


@cells.learn.register(NonlinearRTUSpec)
def learn(spec, params, traces, memory, dy, decay, scale):
    n = spec.n_hidden
    if scale is not None:
        for i in range(n):
            params.nu_log[i] += scale * traces.nu_log[i]
            params.theta_log[i] += scale * traces.theta_log[i]
    _accumulate_units(spec, memory, dy, decay, traces)
    for j in range(spec.n_inputs):
        x_j = memory.x[j]
        # One loop per weight: half the arrays in flight, and each fits the registers.
        for i in range(n):
            e1_tm1, e2_tm1 = memory.dc1_dW1[j, i], memory.dc2_dW1[j, i]
            e1 = memory.g1[i] * e1_tm1 - memory.p1[i] * e2_tm1 + memory.gamma1[i] * x_j
            e2 = memory.g2[i] * e2_tm1 + memory.p2[i] * e1_tm1
            memory.dc1_dW1[j, i] = e1
            memory.dc2_dW1[j, i] = e2
            if scale is not None:
                params.W1[j, i] += scale * traces.W1[j, i]
            traces.W1[j, i] = decay * traces.W1[j, i] + dy[i] * e1 + dy[n + i] * e2
        for i in range(n):
            e1_tm1, e2_tm1 = memory.dc1_dW2[j, i], memory.dc2_dW2[j, i]
            e1 = memory.g1[i] * e1_tm1 - memory.p1[i] * e2_tm1
            e2 = memory.g2[i] * e2_tm1 + memory.p2[i] * e1_tm1 + memory.gamma2[i] * x_j
            memory.dc1_dW2[j, i] = e1
            memory.dc2_dW2[j, i] = e2
            if scale is not None:
                params.W2[j, i] += scale * traces.W2[j, i]
            traces.W2[j, i] = decay * traces.W2[j, i] + dy[i] * e1 + dy[n + i] * e2


@cells.input_gradient.register(NonlinearRTUSpec)
def input_gradient(spec, params, memory, dy, dx):
    for i in range(spec.n_hidden):
        memory.drive1[i] = memory.gamma1[i] * dy[i]
        memory.drive2[i] = memory.gamma2[i] * dy[spec.n_hidden + i]
    for j in range(spec.n_inputs):
        dx[j] = dot(params.W1[j], memory.drive1) + dot(params.W2[j], memory.drive2)
