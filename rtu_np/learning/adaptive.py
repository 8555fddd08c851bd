"""Steps that are divided by the root mean square of a gradient: `AdaptiveObGD` and `Adaptive`.

With g the gradient at t, z the traces, delta the TD error; each weight has its own v.

Adaptive ObGD (Elsayed et al. 2024; derivations (60)): ObGD along u, with t the number of steps,

    v <- beta v + (1 - beta) (delta z)^2        u = z / sqrt(v / (1 - beta^t) + epsilon)
    w <- w + alpha / max(1, alpha kappa max(|delta|, 1) ||u||_1) delta u

Adaptive (arXiv 2605.06764; derivations (61)): no norm, so no weight limits the step of another,

    v <- gamma lambda v + (1 - gamma lambda) g^2
    w <- w + alpha delta_c z / (sqrt(v) + epsilon)      delta_c within -1 and 1
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np.jit import kernel, njit, noalias
from rtu_np.learning import optimizers
from rtu_np.learning.optimizers import PerParameter, check_positive, no_step
from rtu_np.numerics.buffers import add_scaled
from rtu_np.numerics.layout import layout_of
from rtu_np.validation import check_real, make_plain

# Slots of the scalars of Adaptive ObGD.
_CORRECTION, _STEP = 0, 1


class AdaptiveObGDSpec(NamedTuple):
    step_size: float
    kappa: float
    beta: float
    epsilon: float


class AdaptiveObGDMoments(NamedTuple):
    square: PerParameter  # v
    direction: PerParameter  # u of the latest step
    scalars: Annotated[np.ndarray, 2]


@dataclass(frozen=True)
class AdaptiveObGD:
    """ObGD whose traces are divided by the root mean square of the steps (Elsayed et al. 2024; derivations (60)).

    Parameters
    ----------
    step_size : largest alpha, positive
    kappa : positive; a step's 1-norm is at most 1 / kappa
    beta : decay of the mean square, in [0, 1)
    epsilon : added to the mean square, positive

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> from rtu_np import LinearRTU, TDLambda
    >>> TDLambda(LinearRTU(8), n_inputs=2, optimizer=AdaptiveObGD(kappa=3.0)).optimizer.kappa
    3.0
    """

    cure = "a larger kappa of AdaptiveObGD"  # of divergence
    step_size: float = 1.0
    kappa: float = 2.0
    beta: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check_positive(self, "step_size", "kappa", "epsilon")
        check_real("beta", self.beta, low=0.0, high=1.0, high_open=True)
        make_plain(self)

    def spec(self) -> AdaptiveObGDSpec:
        return AdaptiveObGDSpec(self.step_size, self.kappa, self.beta, self.epsilon)


optimizers.moments.register(AdaptiveObGDSpec)(layout_of(AdaptiveObGDMoments, "spec", "n_weights"))
optimizers.step.register(AdaptiveObGDSpec)(no_step)


@optimizers.update.register(AdaptiveObGDSpec)
@kernel
def _adaptive_obgd(spec, params, traces, moments, delta):
    real, s, u = params.dtype.type, moments.scalars, moments.direction
    alpha, kappa, beta, one = real(spec.step_size), real(spec.kappa), real(spec.beta), real(1)
    s[_CORRECTION] = beta * s[_CORRECTION] + (one - beta)
    length = _divide(spec, traces, moments, delta, one / s[_CORRECTION])
    bound = alpha * kappa * max(abs(delta), one) * length
    s[_STEP] = alpha / max(one, bound) * delta
    add_scaled((params,), (u,), s[_STEP])


@njit(fastmath={"contract", "reassoc"})
@noalias
def _divide(spec, traces, moments, delta, per_correction):
    """v and u; returns ||u||_1, summed in any order."""
    real, beta, epsilon = traces.dtype.type, traces.dtype.type(spec.beta), traces.dtype.type(spec.epsilon)
    one, length = real(1), real(0)
    for k in range(traces.shape[0]):
        step = delta * traces[k]
        square = beta * moments.square[k] + (one - beta) * step * step
        moments.square[k] = square
        direction = traces[k] / np.sqrt(square * per_correction + epsilon)
        moments.direction[k] = direction
        length += abs(direction)
    return length


@optimizers.latest_update.register(AdaptiveObGDSpec)
def _latest_adaptive_obgd(spec, traces, moments, delta):
    return moments.scalars[_STEP] * moments.direction


@optimizers.rescale.register(AdaptiveObGDSpec)
def _rescale_adaptive_obgd(spec: Any, moments: AdaptiveObGDMoments, factors: np.ndarray) -> None:
    moments.square[:] *= factors**2  # the direction does not change with the scale of a weight's derivative


class AdaptiveSpec(NamedTuple):
    step_size: float
    epsilon: float
    gamma_lambda: float  # of the network, which fills it in


class AdaptiveMoments(NamedTuple):
    square: PerParameter  # v
    error: Annotated[np.ndarray, 1]  # delta_c of the latest step


@dataclass(frozen=True)
class Adaptive:
    """Traces divided by the root mean square of gradients, over the horizon of the traces (derivations (61)).

    The network stores its latest gradient beside the traces.

    Parameters
    ----------
    step_size : alpha, positive
    epsilon : added to the root mean square, positive

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> from rtu_np import LinearRTU, TDLambda
    >>> TDLambda(LinearRTU(8), n_inputs=2, optimizer=Adaptive(1e-3)).optimizer.epsilon
    0.1
    """

    cure = "a larger epsilon of Adaptive"  # of divergence
    step_size: float = 4.6e-4
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        check_positive(self, "step_size", "epsilon")
        make_plain(self)

    def spec(self) -> AdaptiveSpec:
        return AdaptiveSpec(self.step_size, self.epsilon, 0.0)


optimizers.moments.register(AdaptiveSpec)(layout_of(AdaptiveMoments, "spec", "n_weights"))
optimizers.step.register(AdaptiveSpec)(no_step)


@optimizers.follow.register(AdaptiveSpec)
@noalias
def _adaptive(spec, params, traces, gradient, moments, delta, decay):
    real, fade = params.dtype.type, params.dtype.type(spec.gamma_lambda)
    one, epsilon = real(1), real(spec.epsilon)
    clipped = max(min(delta, one), -one)
    moments.error[0] = clipped
    step = real(spec.step_size) * clipped
    for k in range(params.shape[0]):
        g = gradient[k]
        z = decay * traces[k] + g
        square = fade * moments.square[k] + (one - fade) * g * g
        traces[k] = z
        moments.square[k] = square
        params[k] += step * z / (np.sqrt(square) + epsilon)


@optimizers.latest_update.register(AdaptiveSpec)
def _latest_adaptive(spec, traces, moments, delta):
    return spec.step_size * moments.error[0] * traces / (np.sqrt(moments.square) + spec.epsilon)


@optimizers.rescale.register(AdaptiveSpec)
def _rescale_adaptive(spec: Any, moments: AdaptiveMoments, factors: np.ndarray) -> None:
    moments.square[:] *= factors**2
