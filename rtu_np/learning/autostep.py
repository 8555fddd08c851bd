"""Step sizes that are learned, one for each weight: `TIDBD` and `Autostep`, with eligibility traces.

The logarithm of a weight's step size a follows the gradient of the squared TD error (Sutton 1992; with traces, Kearney
et al. 2018). h follows the derivative of the weight by this logarithm. With g the gradient at t, z the traces, delta
the TD error (derivations (62), (63)):

    TIDBD       a <- a exp(theta delta g h), within e^-20 and e^2
                a / max(1, kappa max(|delta|, 1) sum a |z|) is the step size of this step
    Autostep    v <- max(|delta g h|, v + a |g z| / tau (|delta g h| - v))        (Mahmood et al. 2012)
                a <- a exp(mu delta g h / v)
                a <- a / max(1, sum a |g z|)
    both        w <- w + a delta z
                h <- h (1 - a g z, within 0 and 1) + a delta z

Choices of ours, which the papers leave open: Autostep's paper has no traces, so its x^2 becomes g z, as in TIDBD, and
|g z| where a sum of terms of either sign would hide a large one. h keeps at most all of itself: with g z < 0 it would
grow. Autostep's step sizes have TIDBD's range before they are divided by the sum, and never fall below its lower end;
v is at least the smallest normal number as a divisor. Autostep's paper divides by v and has no bounds. The bound of
TIDBD is ObGD's, on the step alone: a itself goes on without it.

Moments start at zero, so a step size of zero stands for the first one.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np.jit import kernel, njit, noalias
from rtu_np.learning import optimizers
from rtu_np.learning.optimizers import PerParameter, check_positive, no_step
from rtu_np.numerics.buffers import smallest_normal
from rtu_np.numerics.elementary import exp_within_80
from rtu_np.numerics.layout import layout_of
from rtu_np.validation import check_real, make_plain

_LEAST, _MOST = float(np.exp(-20.0)), float(np.exp(2.0))  # step sizes
_FARTHEST = 24.0  # an exponent that takes a step size from any to either end


class TIDBDSpec(NamedTuple):
    step_size: float
    meta_step: float
    kappa: float


class TIDBDMoments(NamedTuple):
    by_log: PerParameter  # h
    step_sizes: PerParameter  # a, before the bound of the latest step
    factor: Annotated[np.ndarray, 1]  # of a z in the latest step


class AutostepSpec(NamedTuple):
    step_size: float
    meta_step: float
    tau: float


class AutostepMoments(NamedTuple):
    by_log: PerParameter
    step_sizes: PerParameter
    scale: PerParameter  # v
    factor: Annotated[np.ndarray, 1]


@dataclass(frozen=True)
class TIDBD:
    """A step size for each weight, learned by the delta-bar-delta rule with traces (derivations (62)).

    The network stores its latest gradient beside the traces.

    Parameters
    ----------
    step_size : alpha, the first step size of all weights, in [e^-20, e^2]
    meta_step : theta, positive
    kappa : bounds a step as in ObGD, positive

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> from rtu_np import LinearRTU, TDLambda
    >>> TDLambda(LinearRTU(8), n_inputs=2, optimizer=TIDBD(1e-4)).optimizer.meta_step
    0.01
    """

    cure = "a larger kappa or a smaller meta_step of TIDBD"  # of divergence
    step_size: float = 1e-3
    meta_step: float = 1e-2
    kappa: float = 2.0

    def __post_init__(self) -> None:
        check_real("step_size", self.step_size, low=_LEAST, high=_MOST)
        check_positive(self, "meta_step", "kappa")
        make_plain(self)

    def spec(self) -> TIDBDSpec:
        return TIDBDSpec(self.step_size, self.meta_step, self.kappa)


@dataclass(frozen=True)
class Autostep:
    """A step size for each weight, learned, with steps that do not overshoot (Mahmood et al. 2012; derivations (63)).

    The network stores its latest gradient beside the traces.

    Parameters
    ----------
    step_size : alpha, the first step size of all weights, in [e^-20, e^2]
    meta_step : mu, positive
    tau : the number of steps over which v forgets, positive

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> from rtu_np import LinearRTU, TDLambda
    >>> TDLambda(LinearRTU(8), n_inputs=2, optimizer=Autostep(1e-3)).optimizer.tau
    10000.0
    """

    cure = "a smaller meta_step of Autostep"  # of divergence
    step_size: float = 1e-3
    meta_step: float = 1e-2
    tau: float = 1e4

    def __post_init__(self) -> None:
        check_real("step_size", self.step_size, low=_LEAST, high=_MOST)
        check_positive(self, "meta_step", "tau")
        make_plain(self)

    def spec(self) -> AutostepSpec:
        return AutostepSpec(self.step_size, self.meta_step, self.tau)


optimizers.moments.register(TIDBDSpec)(layout_of(TIDBDMoments, "spec", "n_weights"))
optimizers.moments.register(AutostepSpec)(layout_of(AutostepMoments, "spec", "n_weights"))
for _kind in (TIDBDSpec, AutostepSpec):
    optimizers.step.register(_kind)(no_step)


@optimizers.follow.register(TIDBDSpec)
@kernel
def _tidbd(spec, params, traces, gradient, moments, delta, decay):
    real = params.dtype.type
    one = real(1)
    size = _advance_tidbd(spec, traces, gradient, moments, delta, decay)
    bound = one / max(one, real(spec.kappa) * max(abs(delta), one) * size)
    _add(params, traces, gradient, moments, bound, delta)


@njit(fastmath={"contract", "reassoc"})
@noalias
def _advance_tidbd(spec, traces, gradient, moments, delta, decay):
    """The traces and a; returns sum a |z|, in any order."""
    real = traces.dtype.type
    first, along, zero = real(spec.step_size), real(spec.meta_step) * delta, real(0)
    least, most, farthest, size = real(_LEAST), real(_MOST), real(_FARTHEST), real(0)
    for k in range(traces.shape[0]):
        g, a = gradient[k], moments.step_sizes[k]
        z = decay * traces[k] + g
        traces[k] = z
        exponent = max(min(along * g * moments.by_log[k], farthest), -farthest)
        a = max(min((first if a == zero else a) * exp_within_80(exponent), most), least)
        moments.step_sizes[k] = a
        size += a * abs(z)
    return size


@optimizers.follow.register(AutostepSpec)
@kernel
def _autostep(spec, params, traces, gradient, moments, delta, decay):
    one = params.dtype.type(1)
    overshoot = _advance_autostep(spec, traces, gradient, moments, delta, decay)
    if overshoot > one:
        _divide_step_sizes(moments, overshoot)
    _add(params, traces, gradient, moments, one, delta)


@kernel
@noalias
def _divide_step_sizes(moments, overshoot):
    real = moments.step_sizes.dtype.type
    factor, least = real(1) / overshoot, real(_LEAST)
    for k in range(moments.step_sizes.shape[0]):
        moments.step_sizes[k] = max(moments.step_sizes[k] * factor, least)


@njit(fastmath={"contract", "reassoc"})
@noalias
def _advance_autostep(spec, traces, gradient, moments, delta, decay):
    """The traces, v and a; returns sum a |g z|, in any order."""
    real = traces.dtype.type
    first, mu, per_tau = real(spec.step_size), real(spec.meta_step), real(1 / spec.tau)
    zero, least, most, farthest, overshoot = real(0), real(_LEAST), real(_MOST), real(_FARTHEST), real(0)
    for k in range(traces.shape[0]):
        g, a, scale = gradient[k], moments.step_sizes[k], moments.scale[k]
        z = decay * traces[k] + g
        traces[k] = z
        a = first if a == zero else a
        meta = delta * g * moments.by_log[k]
        reach = abs(g * z)
        scale = max(abs(meta), scale + a * reach * per_tau * (abs(meta) - scale))
        moments.scale[k] = scale
        exponent = max(min(mu * meta / max(scale, smallest_normal(scale)), farthest), -farthest)
        a = max(min(a * exp_within_80(exponent), most), least)
        moments.step_sizes[k] = a
        overshoot += a * reach
    return overshoot


@kernel
@noalias
def _add(params, traces, gradient, moments, bound, delta):
    """w and h, with the step sizes times `bound`."""
    zero, one, factor = params.dtype.type(0), params.dtype.type(1), bound * delta
    moments.factor[0] = factor
    for k in range(params.shape[0]):
        reach = moments.step_sizes[k] * traces[k]
        kept = max(min(one - bound * reach * gradient[k], one), zero)
        params[k] += factor * reach
        moments.by_log[k] = moments.by_log[k] * kept + factor * reach


def _latest(spec: Any, traces: np.ndarray, moments: Any, delta: Any) -> np.ndarray:
    return moments.factor[0] * moments.step_sizes * traces


for _kind in (TIDBDSpec, AutostepSpec):
    optimizers.latest_update.register(_kind)(_latest)


@optimizers.rescale.register(TIDBDSpec)
def _rescale_tidbd(spec: Any, moments: TIDBDMoments, factors: np.ndarray) -> None:
    moments.by_log[:] *= factors  # a sum of a delta z


@optimizers.rescale.register(AutostepSpec)
def _rescale_autostep(spec: Any, moments: AutostepMoments, factors: np.ndarray) -> None:
    moments.by_log[:] *= factors
    moments.scale[:] *= factors**2  # of delta g h
