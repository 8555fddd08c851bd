"""Ways to store the eigenvalue r exp(i theta) of a unit: two numbers, a for the modulus and b for the phase.

    name                 r                    theta             d log r / da    d theta / db
    nu_log/theta_log     exp(-exp(nu_log))    exp(theta_log)    -exp(nu_log)    theta
    nu_log/theta         exp(-exp(nu_log))    theta             -exp(nu_log)    1
    nu/theta             exp(-nu)             theta             -1              1
    r/theta              r, clipped           theta             1 / r, or 0     1

The table is derivations (26); its first row is also (5), (9) and (10). The first form is the paper's, and Figure 9 of
the paper compares all four. The clip limits r to `R_BOUNDS`; outside, the derivative is zero.

Each form is a type. Two functions, `plain_eigenvalue` and `eigenvalue`, return for it

    r, theta, complement, dlog_r, dtheta        complement = 1 - r^2, without cancellation

`store` is their inverse, for starting values.

**Bounds** (derivations (52)). While a cell learns, `confine_eigenvalues` brings a parameter that a step has carried out
of its bounds back to the bound, where the derivative is exact and not zero. Without bounds an eigenvalue can run away:
once a unit remembers for longer than its parameters stay the same, its state and its sensitivities are old, and the
step that should weaken the unit makes it slower still. Learners call it every 16 steps. In between, a step may carry nu
itself below 0 ("nu/theta"), which has no derivative; then learning stops with an error.

**Phases wrap** (derivations (53)). theta and theta - 2 pi are the same unit. But d theta / d theta_log = theta, so the
trace of theta_log grows with theta and feeds itself. A phase above 4 pi is brought back into (2 pi, 4 pi], and all that
is linear in the derivative by theta_log is multiplied by the ratio of the phases.
"""

from typing import Annotated, NamedTuple

import numpy as np

from rtu_np.jit import generic, like, noalias
from rtu_np.numerics.buffers import padded
from rtu_np.numerics.elementary import exp, expm1
from rtu_np.numerics.layout import layout_of
from rtu_np.validation import check_choice

R_BOUNDS = (1e-6, 1.0 - 1e-6)
# Bounds while a cell learns, of the decay rate nu = -log r in 1/step. The least phase, in radians per step, is the
# least rate: within its memory, a unit cannot tell a smaller phase from zero.
SLOWEST, SLOWEST_OF_LONG, FASTEST = 1e-4, 1e-9, 10.0
_FULL_TURN = 2 * np.pi
_WRAP_ABOVE = float(np.log(2 * _FULL_TURN))  # the largest theta_log


# ----------------------------------------------------------------------------------------------------------- types


class NuLogThetaLog(NamedTuple):
    """r = exp(-exp(nu_log)), theta = exp(theta_log)"""


class NuLogTheta(NamedTuple):
    """r = exp(-exp(nu_log)), theta as it is"""


class NuTheta(NamedTuple):
    """r = exp(-nu), theta as it is"""


class RTheta(NamedTuple):
    """r clipped to R_BOUNDS, theta as it is"""


class GatedNuLogThetaLog(NamedTuple):
    """As NuLogThetaLog, of an eigenvalue whose rate and phase a gate multiplies. So theta and theta - 2 pi are not the
    same unit, and phases do not wrap: they have an upper bound."""


PARAMETERIZATIONS = {
    "nu_log/theta_log": NuLogThetaLog(),
    "nu_log/theta": NuLogTheta(),
    "nu/theta": NuTheta(),
    "r/theta": RTheta(),
}


def parameterization(name: object):
    """The form called `name`; ValueError if no form has this name."""
    return check_choice("parameterization", name, PARAMETERIZATIONS)


class OrdinaryMemory(NamedTuple):
    """A unit remembers for at most some 1 / SLOWEST steps."""


class LongMemory(NamedTuple):
    """A unit remembers for at most some 1 / SLOWEST_OF_LONG steps, since its ring asks for a long memory."""


# Operations that `eigenvalue` takes for one unit.
EIGENVALUE_FLOPS = {NuLogThetaLog: 5, NuLogTheta: 4, NuTheta: 3, RTheta: 4, GatedNuLogThetaLog: 7}


PerEigenvalue = Annotated[np.ndarray, padded, "n"]


class NuLogThetaLogParameters(NamedTuple):
    nu_log: PerEigenvalue  # log of nu, the decay rate in 1/step
    theta_log: PerEigenvalue  # log of theta, the phase in radians per step


class NuLogThetaParameters(NamedTuple):
    nu_log: PerEigenvalue
    theta: PerEigenvalue  # the phase in radians per step


class NuThetaParameters(NamedTuple):
    nu: PerEigenvalue  # the decay rate in 1/step
    theta: PerEigenvalue


class RThetaParameters(NamedTuple):
    r: PerEigenvalue  # the modulus
    theta: PerEigenvalue


@generic
def eigenvalue_parameters(form, n, flat):
    """Layout of the two parameters of each of `n` eigenvalues."""


eigenvalue_parameters.register(NuLogThetaLog)(layout_of(NuLogThetaLogParameters, "form", "n"))
eigenvalue_parameters.register(GatedNuLogThetaLog)(layout_of(NuLogThetaLogParameters, "form", "n"))
eigenvalue_parameters.register(NuLogTheta)(layout_of(NuLogThetaParameters, "form", "n"))
eigenvalue_parameters.register(NuTheta)(layout_of(NuThetaParameters, "form", "n"))
eigenvalue_parameters.register(RTheta)(layout_of(RThetaParameters, "form", "n"))


# ----------------------------------------------------------------------------------------------- reference and start


@generic
def plain_eigenvalue(form, a, b):
    """(r, theta, 1 - r^2, d log r / da, d theta / db) of arrays, real or complex."""


@generic
def store(form, nu, theta):
    """The two numbers (a, b) that store the decay rate nu = -log r and the phase theta."""


@plain_eigenvalue.register(GatedNuLogThetaLog)
@plain_eigenvalue.register(NuLogThetaLog)
def _plain_nu_log_theta_log(form, nu_log, theta_log):
    nu, theta = np.exp(nu_log), np.exp(theta_log)
    return np.exp(-nu), theta, -np.expm1(-2 * nu), -nu, theta


@plain_eigenvalue.register(NuLogTheta)
def _plain_nu_log_theta(form, nu_log, theta):
    nu = np.exp(nu_log)
    return np.exp(-nu), theta, -np.expm1(-2 * nu), -nu, np.ones_like(theta)


@plain_eigenvalue.register(NuTheta)
def _plain_nu_theta(form, nu, theta):
    return np.exp(-nu), theta, -np.expm1(-2 * nu), -np.ones_like(nu), np.ones_like(theta)


@plain_eigenvalue.register(RTheta)
def _plain_r_theta(form, r, theta):
    low, high = R_BOUNDS
    inside = (np.real(r) > low) & (np.real(r) < high)
    r = np.where(inside, r, np.clip(np.real(r), low, high))
    return r, theta, (1 - r) * (1 + r), np.where(inside, 1 / r, 0.0), np.ones_like(theta)


store.register(NuLogThetaLog)(lambda form, nu, theta: (np.log(nu), np.log(theta)))
store.register(GatedNuLogThetaLog)(store.table[NuLogThetaLog])
store.register(NuLogTheta)(lambda form, nu, theta: (np.log(nu), theta))
store.register(NuTheta)(lambda form, nu, theta: (nu, theta))
store.register(RTheta)(lambda form, nu, theta: (np.exp(-nu), theta))


# --------------------------------------------------------------------------------------------------------- kernels


@generic
def eigenvalue(form, a, b):
    """(r, theta, 1 - r^2, d log r / da, d theta / db) of one unit."""


@eigenvalue.register(NuLogThetaLog)
def _nu_log_theta_log(form, nu_log, theta_log):
    nu = exp(nu_log)
    theta = exp(theta_log)
    return exp(-nu), theta, -expm1(-nu - nu), -nu, theta


@eigenvalue.register(NuLogTheta)
def _nu_log_theta(form, nu_log, theta):
    nu = exp(nu_log)
    return exp(-nu), theta, -expm1(-nu - nu), -nu, like(nu, 1.0)


@eigenvalue.register(NuTheta)
def _nu_theta(form, nu, theta):
    return exp(-nu), theta, -expm1(-nu - nu), like(nu, -1.0), like(nu, 1.0)


@eigenvalue.register(RTheta)
def _r_theta(form, r, theta):
    low, high, one = like(r, R_BOUNDS[0]), like(r, R_BOUNDS[1]), like(r, 1.0)
    inside = low < r < high
    r = min(max(r, low), high)
    return r, theta, (one - r) * (one + r), one / r if inside else like(r, 0.0), one


@generic
def confine_eigenvalues(form, span, a, b):
    """Bring a and b back into their bounds; returns whether a phase is to be wrapped. NaN stays NaN.

    span : OrdinaryMemory or LongMemory
    """


@generic
def slowest_of(span):
    """The least decay rate, and the least phase, while learning. The type says it, since a float in a spec costs 50 ns
    of every call from Python."""


slowest_of.register(OrdinaryMemory)(lambda span: SLOWEST)
slowest_of.register(LongMemory)(lambda span: SLOWEST_OF_LONG)


@generic
def modulus_bounds(form, slowest):
    """(least a, largest a) while learning, as floats, for the least rate nu."""


@modulus_bounds.register(GatedNuLogThetaLog)
@modulus_bounds.register(NuLogThetaLog)
@modulus_bounds.register(NuLogTheta)
def _nu_log_bounds(form, slowest):
    return np.log(slowest), np.log(FASTEST)


@modulus_bounds.register(NuTheta)
def _nu_bounds(form, slowest):
    return slowest, FASTEST


@modulus_bounds.register(RTheta)
def _r_bounds(form, slowest):
    # At R_BOUNDS itself the derivative is zero; 1e-7 is two steps of float32.
    return np.exp(-FASTEST), min(np.exp(-slowest), R_BOUNDS[1] - 1e-7)


@confine_eigenvalues.otherwise
@noalias
def _confine_modulus(form, span, a, b):
    bounds = modulus_bounds(form, slowest_of(span))
    low, high = a.dtype.type(bounds[0]), a.dtype.type(bounds[1])
    for i in range(a.shape[0]):
        inside = low if a[i] < low else a[i]
        a[i] = high if inside > high else inside
    return False


@confine_eigenvalues.register(NuLogThetaLog)
@noalias
def _confine_modulus_and_phase(form, span, a, b):
    bounds = modulus_bounds(form, slowest_of(span))
    low, high, highest, above = a.dtype.type(bounds[0]), a.dtype.type(bounds[1]), a.dtype.type(_WRAP_ABOVE), 0
    for i in range(a.shape[0]):
        inside = low if a[i] < low else a[i]
        a[i] = high if inside > high else inside
        b[i] = low if b[i] < low else b[i]
        above += b[i] > highest
    return above > 0


@confine_eigenvalues.register(GatedNuLogThetaLog)
@noalias
def _confine_modulus_and_bound_phase(form, span, a, b):
    bounds = modulus_bounds(form, slowest_of(span))
    low, high, highest = a.dtype.type(bounds[0]), a.dtype.type(bounds[1]), a.dtype.type(_WRAP_ABOVE)
    for i in range(a.shape[0]):
        inside = low if a[i] < low else a[i]
        a[i] = high if inside > high else inside
        inside = low if b[i] < low else b[i]
        b[i] = highest if inside > highest else inside
    return False


@generic
def lowest_modulus(form, a):
    """The least a, in the precision of the array `a`, at which 1 - r^2 and its root's derivative keep their digits."""


@lowest_modulus.register(NuLogThetaLog)
@lowest_modulus.register(NuLogTheta)
def _lowest_nu_log(form, a):
    return -700.0 if a.itemsize == 8 else -85.0


@lowest_modulus.register(NuTheta)
def _lowest_nu(form, a):
    return 1e-300 if a.itemsize == 8 else 1e-36


@lowest_modulus.register(RTheta)
def _lowest_r(form, a):
    return -np.inf


# ------------------------------------------------------------------------------------------ wrapping, in Python alone


@generic
def wrap_phases(form, b, factors):
    """Wrap phases above 4 pi in `b`; factors <- by what the derivatives by `b` change. Both arrays are (n,)."""


@wrap_phases.otherwise
def _no_wrapping(form, b, factors):
    pass


@wrap_phases.register(NuLogThetaLog)
def _wrap_theta_log(form, theta_log, factors):
    for i in np.flatnonzero(theta_log > _WRAP_ABOVE):
        with np.errstate(over="ignore", invalid="ignore"):  # an infinite phase becomes NaN, and learning stops
            theta = np.exp(np.float64(theta_log[i]))
            wrapped = np.fmod(theta, _FULL_TURN) + _FULL_TURN
        factors[i] = wrapped / theta
        theta_log[i] = min(np.log(wrapped), _WRAP_ABOVE)


def at_bounds(form, span, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(whether a unit has the longest memory, whether another bound holds it) for each of n units."""
    low, high = (a.dtype.type(bound) for bound in modulus_bounds(form, slowest_of(span)))
    slow, fast = (a >= high, a <= low) if isinstance(form, RTheta) else (a <= low, a >= high)
    if isinstance(form, GatedNuLogThetaLog):
        fast |= b >= b.dtype.type(_WRAP_ABOVE)
    return slow, fast | (b <= low) if isinstance(form, NuLogThetaLog | GatedNuLogThetaLog) else fast
