"""What both recurrent trace units share: their parameters, and the rotation by (r, theta) that is their recurrence.

One unit is one complex number c = c1 + i c2, turned by theta and shrunk to r of its length at each step, while the
input enters with weight gamma (derivations (3)-(6); Elelimy et al. 2024, Eq. 4):

    z1 = g c1 - p c2 + gamma W1 x        g = r cos theta    r = exp(-nu)       nu = exp(nu_log)
    z2 = g c2 + p c1 + gamma W2 x        p = r sin theta    theta = exp(theta_log)
                                         gamma = sqrt(1 - r^2) = sqrt(-expm1(-2 nu))

and with respect to the two parameters of the recurrence, derivations (9) and (10),

    nu_log:      dg = -nu g         dp = -nu p       dgamma = nu r^2 / gamma
    theta_log:   dg = -theta p      dp = theta g     dgamma = 0
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rtu_np.buffers import copy, matrix, vector
from rtu_np.cells.layer import Cell
from rtu_np.elementary import exp, expm1, sin_cos
from rtu_np.jit import kernel
from rtu_np.layers import activation
from rtu_np.validation import check_count, check_real


class RTUParameters(NamedTuple):
    """Of `d` inputs and `n` units."""

    nu_log: np.ndarray  # (n,)   log of nu, the decay rate in 1/step
    theta_log: np.ndarray  # (n,)   log of theta, the phase in radians per step
    W1: np.ndarray  # (d, n)
    W2: np.ndarray  # (d, n)


@kernel
def rtu_parameters(spec, flat):
    nu_log, flat = vector(flat, spec.n_hidden)
    theta_log, flat = vector(flat, spec.n_hidden)
    W1, flat = matrix(flat, spec.n_inputs, spec.n_hidden)
    W2, flat = matrix(flat, spec.n_inputs, spec.n_hidden)
    return RTUParameters(nu_log, theta_log, W1, W2), flat


class RTUState(NamedTuple):
    c1: np.ndarray  # (n,)
    c2: np.ndarray  # (n,)


@kernel
def rtu_state(spec, flat):
    c1, flat = vector(flat, spec.n_hidden)
    c2, flat = vector(flat, spec.n_hidden)
    return RTUState(c1, c2), flat


@dataclass(frozen=True)
class RTU(Cell):
    """Settings common to both recurrent trace units.

    Parameters
    ----------
    n_hidden : number of units n; the layer has 2n outputs
    activation : "identity", "relu" or "tanh"
    r_min, r_max, max_phase : the ring on which the eigenvalues r exp(i theta) start, theta in radians per step. The
        defaults are the paper's. Slow streams are learned better, and with less spread over seeds, from max_phase=1.
    """

    n_hidden: int
    activation: str = "tanh"
    r_min: float = 0.0
    r_max: float = 1.0
    max_phase: float = 6.28

    def __post_init__(self) -> None:
        check_count("n_hidden", self.n_hidden)
        activation(self.activation)
        check_real("r_min", self.r_min, low=0.0, high=1.0)
        check_real("r_max", self.r_max, low=0.0, high=1.0)
        if not self.r_min <= self.r_max:
            raise ValueError(
                f"r_min is {self.r_min!r} and r_max {self.r_max!r}: expected r_min <= r_max; are they swapped?"
            )
        if self.r_min == 1.0:
            raise ValueError(
                "r_min is 1.0: a unit with r = 1 has gamma = sqrt(1 - r^2) = 0 and no derivative; expected r_min < 1 "
                "(.999 remembers for about a thousand steps)"
            )
        check_real("max_phase", self.max_phase, low=0.0, low_open=True)

    def initialise(self, params: RTUParameters, rng: np.random.Generator) -> None:
        """Eigenvalues uniform on the ring, weights LeCun normal (derivations (24)).

        The draws lie in (0, 1], so that no logarithm meets a zero.
        """
        d, n = params.W1.shape
        r_squared = self.r_min**2 + (self.r_max**2 - self.r_min**2) * (1.0 - rng.random(n))
        params.nu_log[:] = np.log(-0.5 * np.log(np.clip(r_squared, 1e-300, 1.0 - 2.0**-53)))
        params.theta_log[:] = np.log(self.max_phase * (1.0 - rng.random(n)))
        params.W1[:] = rng.standard_normal((d, n)) / np.sqrt(d)
        params.W2[:] = rng.standard_normal((d, n)) / np.sqrt(d)


@kernel
def _lowest(nu_log):
    # Below, nu is subnormal or zero, and dgamma = nu r^2 / gamma loses its digits or becomes 0 / 0.
    return -700.0 if nu_log.itemsize == 8 else -85.0


@kernel
def degenerate_rotation(spec, params):
    lowest, below = _lowest(params.nu_log), 0
    for i in range(spec.n_hidden):
        below += params.nu_log[i] < lowest
    return below > 0


def why_degenerate_rotation(spec, params: RTUParameters) -> str:
    i = int(np.argmin(params.nu_log))
    return (
        f"nu_log[{i}] is {params.nu_log[i]}: exp(nu_log) underflows, so that r = 1 and gamma = sqrt(1 - r^2) = 0, "
        f"which has no derivative; expected at least {_lowest(params.nu_log)} in {params.nu_log.dtype}. "
        "Was a rate nu written where its logarithm is stored?"
    )


def plain_rotation(params: RTUParameters):
    """(nu, theta, g, p, gamma, dgamma), each (n,): dgamma with respect to nu_log."""
    nu, theta = np.exp(params.nu_log), np.exp(params.theta_log)
    r = np.exp(-nu)
    gamma = np.sqrt(-np.expm1(-2 * nu))
    return nu, theta, r * np.cos(theta), r * np.sin(theta), gamma, nu * r**2 / gamma


@kernel
def rotation(nu_log, theta_log):
    """(nu, theta, g, p, gamma, dgamma) of one unit."""
    nu = exp(nu_log)
    theta = exp(theta_log)
    r = exp(-nu)
    gamma = np.sqrt(-expm1(-nu - nu))
    sine, cosine = sin_cos(theta)
    return nu, theta, r * cosine, r * sine, gamma, nu * r * r / gamma


@kernel
def move_rotation(params, memory, x_t):
    """Memory's c1, c2 <- z, and the sensitivities to nu_log and theta_log with it, as if f were the identity.

    Two loops rather than one: a loop over more arrays than the second has is not vectorised.
    """
    copy(x_t, memory.x)
    drive(params, x_t, memory.drive1, memory.drive2)
    for i in range(memory.c1.shape[0]):
        nu, theta, g, p, gamma, dgamma = rotation(params.nu_log[i], params.theta_log[i])
        memory.nu[i] = nu
        memory.theta[i] = theta
        memory.g[i] = g
        memory.p[i] = p
        memory.gamma[i] = gamma
        memory.dgamma[i] = dgamma
    for i in range(memory.c1.shape[0]):
        nu, theta, dgamma = memory.nu[i], memory.theta[i], memory.dgamma[i]
        g, p, gamma = memory.g[i], memory.p[i], memory.gamma[i]
        drive1, drive2 = memory.drive1[i], memory.drive2[i]
        turned1 = g * memory.c1[i] - p * memory.c2[i]
        turned2 = g * memory.c2[i] + p * memory.c1[i]
        memory.c1[i] = turned1 + gamma * drive1
        memory.c2[i] = turned2 + gamma * drive2
        e1, e2 = memory.dc1_dnu_log[i], memory.dc2_dnu_log[i]
        memory.dc1_dnu_log[i] = g * e1 - p * e2 - nu * turned1 + dgamma * drive1
        memory.dc2_dnu_log[i] = g * e2 + p * e1 - nu * turned2 + dgamma * drive2
        e1, e2 = memory.dc1_dtheta_log[i], memory.dc2_dtheta_log[i]
        memory.dc1_dtheta_log[i] = g * e1 - p * e2 - theta * turned2
        memory.dc2_dtheta_log[i] = g * e2 + p * e1 + theta * turned1


@kernel
def drive(params, x_t, drive1, drive2):
    """drive1, drive2 <- W1 x, W2 x. The unit index is innermost: no reduction, so the loop vectorises."""
    d, n = params.W1.shape
    for i in range(n):
        drive1[i] = 0
        drive2[i] = 0
    for j in range(d):
        x_j = x_t[j]
        for i in range(n):
            drive1[i] += params.W1[j, i] * x_j
            drive2[i] += params.W2[j, i] * x_j


@kernel
def rotation_backward(params, state_tm1, x_t, dstate, out, dx):
    """Reverse mode through z = R c + gamma W x (derivations (17)).

    `dstate` comes in as dL/dz and leaves as dL/dstate_tm1; the gradient is added to `out`; `dx` is overwritten.
    """
    d, n = params.W1.shape
    for j in range(d):
        dx[j] = 0
    for i in range(n):
        nu, theta, g, p, gamma, dgamma = rotation(params.nu_log[i], params.theta_log[i])
        d1 = dstate.c1[i]
        d2 = dstate.c2[i]
        turned1 = g * state_tm1.c1[i] - p * state_tm1.c2[i]
        turned2 = g * state_tm1.c2[i] + p * state_tm1.c1[i]
        out.nu_log[i] -= nu * (d1 * turned1 + d2 * turned2)
        out.theta_log[i] += theta * (d2 * turned1 - d1 * turned2)
        dstate.c1[i] = g * d1 + p * d2
        dstate.c2[i] = g * d2 - p * d1
        for j in range(d):
            along = params.W1[j, i] * d1 + params.W2[j, i] * d2
            out.nu_log[i] += dgamma * along * x_t[j]
            out.W1[j, i] += gamma * d1 * x_t[j]
            out.W2[j, i] += gamma * d2 * x_t[j]
            dx[j] += gamma * along
