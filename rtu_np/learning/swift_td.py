"""SwiftTD: true online TD(lambda) for a linear readout, with a learned step size for each weight (Javed et al. 2024).

phi are the features at t - 1, which are the gradient g of a linear readout. All vectors have one number for each
weight; a are the step sizes. One step (derivations (64)), with delta' = delta + V, where V is by how much the last
update changed the prediction at t - 1:

    z, p, zbar  <- gamma lambda (z, p, zbar)
    E = max(eta, sum a phi^2);  zd = (eta / E) a phi, or a phi if E = eta;  q = z . phi;  V = dw . phi
    z <- z + zd (1 - q);  p <- p + h_old phi;  zbar <- zbar + zd (1 - q - zbar phi)
    h' = h - h_old phi (z - zd) - h zd phi
    where sum a phi^2 > eta and phi is not 0:  a <- a exp(phi^2 log(decay)), and h', h, zbar <- 0
    dw = delta' z - zd V;  w <- w + dw
    a <- min(a exp(theta / a (delta' - V) p), eta);  h_old <- h;  h <- h' + delta' zbar - zd V

z stands in the learner's traces, and holds the step sizes. Moments start at zero, so a step size of zero stands for the
first one. As in the authors' code for dense features, h', h and zbar become zero after p and h' were computed.

The authors have one endless stream. If traces were cleared, p and zbar are cleared with them; and no update came
between the prediction and the step, so V = 0 and h stands for h_old.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rtu_np.jit import kernel, njit, noalias
from rtu_np.learning import optimizers
from rtu_np.learning.optimizers import PerParameter, check_positive, no_step, norm1
from rtu_np.numerics.buffers import copy
from rtu_np.numerics.elementary import exp
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.products import dot
from rtu_np.validation import check_real, make_plain

_SMALLEST = 1e-12  # step size


class SwiftTDSpec(NamedTuple):
    step_size: float
    meta_step: float
    eta: float
    log_decay: float


class SwiftTDMoments(NamedTuple):
    step_sizes: PerParameter  # a
    p: PerParameter
    zbar: PerParameter
    zd: PerParameter
    h: PerParameter
    h_old: PerParameter
    dw: PerParameter  # the latest update


@dataclass(frozen=True)
class SwiftTD:
    """True online TD(lambda) with learned step sizes, for the block of a linear readout (derivations (64)).

    The traces are its own: they hold the step sizes.

    Parameters
    ----------
    step_size : alpha, the first step size of all weights, positive
    meta_step : theta, positive
    eta : the largest part of an error that a step may take away, positive
    decay : of the step sizes of active features if a step would exceed eta, in (0, 1]

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting
    ValueError : when a learner is made, for any block but a linear readout of values

    Examples
    --------
    >>> from rtu_np import Adam, Blocks, LinearRTU, TDLambda
    >>> learner = TDLambda(LinearRTU(8), n_inputs=2, optimizer=Blocks(cell=Adam(3e-4), readout=SwiftTD()))
    >>> learner.optimizer.readout.eta
    0.1
    """

    cure = "a smaller eta of SwiftTD"  # of divergence
    step_size: float = 1e-2
    meta_step: float = 1e-3
    eta: float = 0.1
    decay: float = 0.999

    def __post_init__(self) -> None:
        check_positive(self, "step_size", "meta_step", "eta")
        check_real("decay", self.decay, low=0.0, high=1.0, low_open=True)
        if self.step_size > self.eta:
            raise ValueError(f"step_size is {self.step_size!r}: expected at most eta, which is {self.eta!r}")
        make_plain(self)

    def spec(self) -> SwiftTDSpec:
        return SwiftTDSpec(self.step_size, self.meta_step, self.eta, float(np.log(self.decay)))


optimizers.moments.register(SwiftTDSpec)(layout_of(SwiftTDMoments, "spec", "n_weights"))
optimizers.step.register(SwiftTDSpec)(no_step)


@optimizers.follow.register(SwiftTDSpec)
@kernel
def _swift_td(spec, params, traces, gradient, moments, delta, decay):
    real, m, zero = params.dtype.type, moments, params.dtype.type(0)
    fresh = norm1(traces) == zero
    change = zero if fresh else dot(m.dw, gradient)
    _decay_all(spec, traces, m, zero if fresh else decay)
    if fresh:
        copy(m.h, m.h_old)
    overlap, rate = dot(traces, gradient), _rate(m.step_sizes, gradient)
    bound = min(real(1), real(spec.eta) / max(rate, real(spec.eta)))
    _add_features(spec, traces, gradient, m, bound, overlap)
    if rate > real(spec.eta):
        _shrink(real(spec.log_decay), gradient, m)
    _update(spec, params, traces, m, delta, change)


@kernel
@noalias
def _decay_all(spec, traces, m, decay):
    first, zero = traces.dtype.type(spec.step_size), traces.dtype.type(0)
    for k in range(traces.shape[0]):
        traces[k] *= decay
        m.p[k] *= decay
        m.zbar[k] *= decay
        m.step_sizes[k] = first if m.step_sizes[k] == zero else m.step_sizes[k]


@njit(fastmath={"contract", "reassoc"})
def _rate(step_sizes, features):
    """sum a phi^2, in any order"""
    total = features.dtype.type(0)
    for k in range(features.shape[0]):
        total += step_sizes[k] * features[k] * features[k]
    return total


@kernel
@noalias
def _add_features(spec, traces, features, m, bound, overlap):
    """z, p, zbar, zd; h' replaces h, and h_old keeps h."""
    one = traces.dtype.type(1)
    for k in range(traces.shape[0]):
        phi, h, h_old, zbar = features[k], m.h[k], m.h_old[k], m.zbar[k]
        zd = bound * m.step_sizes[k] * phi
        z = traces[k] + zd * (one - overlap)
        traces[k] = z
        m.zd[k] = zd
        m.p[k] += h_old * phi
        m.zbar[k] = zbar + zd * (one - overlap - zbar * phi)
        m.h[k] = h - h_old * phi * (z - zd) - h * zd * phi
        m.h_old[k] = h


@kernel
@noalias
def _shrink(log_decay, features, m):
    zero = features.dtype.type(0)
    for k in range(features.shape[0]):
        active = features[k] != zero
        m.step_sizes[k] *= exp(features[k] * features[k] * log_decay)
        m.h[k] = zero if active else m.h[k]
        m.h_old[k] = zero if active else m.h_old[k]
        m.zbar[k] = zero if active else m.zbar[k]


@kernel
@noalias
def _update(spec, params, traces, m, delta, change):
    real = params.dtype.type
    along, increment = real(spec.meta_step) * delta, delta + change
    least, most = real(_SMALLEST), real(spec.eta)
    for k in range(params.shape[0]):
        correction = m.zd[k] * change
        dw = increment * traces[k] - correction
        m.dw[k] = dw
        params[k] += dw
        a = m.step_sizes[k]
        m.step_sizes[k] = max(min(a * exp(along * m.p[k] / a), most), least)
        m.h[k] += increment * m.zbar[k] - correction


@optimizers.latest_update.register(SwiftTDSpec)
def _latest(spec: Any, traces: np.ndarray, moments: SwiftTDMoments, delta: Any) -> np.ndarray:
    return moments.dw.copy()
