"""Optimisers over one flat array of parameters and one of eligibility traces.

They ascend the estimate delta z, the TD error times the traces (derivations (19)). SGD and ObGD multiply the traces by
one number, so their update is part of the pass that advances the sensitivities. Adam and RMSProp transform each element
in a pass of their own. Rules that also need the latest gradient register `follow` (`rtu_np.learning.intentional` and
others).
"""

from dataclasses import astuple, dataclass
from typing import Annotated, Any, NamedTuple, Protocol

import numpy as np

from rtu_np.jit import generic, kernel, njit, noalias
from rtu_np.numerics.buffers import decay_and_add
from rtu_np.numerics.layout import layout_of
from rtu_np.validation import check_real, check_settings, make_plain

# Slots of Adam's bias correction.
_MEAN, _SQUARE = 0, 1


class Optimizer(Protocol):
    """Settings of an optimiser: a frozen dataclass."""

    def spec(self) -> Any:
        """The NamedTuple that kernels dispatch on."""


def check_optimizer(name: str, value: Any) -> Any:
    """`value`, if it is an optimiser; otherwise TypeError, which names the argument."""
    return check_settings(name, value, "an optimiser such as Adam(1e-3)", 0)


@generic(inline=False)
def moments(spec, n_weights, flat):
    """Layout of the optimiser's moments of `n_weights` parameters."""


@generic
def step(spec, traces, delta):
    """The number s of the update params <- params + s traces, for the TD error `delta`. None for any other update."""


@generic
def update(spec, params, traces, moments, delta):
    """Update the parameters with an optimiser whose `step` is None; other optimisers do nothing here.

    params, moments : modified in place
    """


@generic
def rescale(spec, moments, factors):
    """Rescale the moments after gradients have been multiplied by `factors` (n_weights,); in Python."""


@rescale.otherwise
def _nothing_to_rescale(spec, moments, factors):
    pass


@generic
def latest_update(spec, traces, moments, delta):
    """(n_weights,) the latest update of an optimiser with moments, or the update for `delta` and these traces.

    In Python, for diagnostics.
    """


@latest_update.otherwise
def _along_traces(spec, traces, moments, delta):
    along = step(spec, traces, delta)
    return traces * (delta if along is None else along)


@kernel
def take_step(spec, params, traces, moments, delta):
    """Update the parameters with any optimiser, for learners whose update is not part of another pass."""
    _add_traces(params, traces, step(spec, traces, delta))
    update(spec, params, traces, moments, delta)


@kernel
@noalias
def _add_traces(params, traces, step):
    if step is not None:
        for k in range(params.shape[0]):
            params[k] += step * traces[k]


@generic
def follow(spec, params, traces, gradient, moments, delta, decay):
    """traces <- decay traces + gradient, then the update, of one part of a network (`rtu_np.learning.passes`).

    A rule that needs the gradient beside the traces registers its own; it registers `step`, but no `update`.
    params, traces, moments : modified in place
    """


@follow.otherwise
@kernel
def _from_traces(spec, params, traces, gradient, moments, delta, decay):
    decay_and_add((traces,), (gradient,), decay)
    take_step(spec, params, traces, moments, delta)


def needs_gradient(spec: Any) -> bool:
    """Whether a rule needs the latest gradient beside the traces."""
    return type(spec) in follow.table


# ------------------------------------------------------------------------------------------------------ SGD, ObGD


class SGDSpec(NamedTuple):
    step_size: float


class ObGDSpec(NamedTuple):
    step_size: float
    kappa: float


class NoMoments(NamedTuple):
    pass


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent: w <- w + step_size delta z (derivations (19)).

    Parameters
    ----------
    step_size : alpha, positive

    Raises
    ------
    ValueError, TypeError : if step_size is not a positive number

    Examples
    --------
    >>> traces, delta = np.array([3.0, -1.0]), 0.5
    >>> float(step(SGD(0.1).spec(), traces, delta))
    0.05
    """

    step_size: float = 1e-3

    def __post_init__(self) -> None:
        check_positive(self, "step_size")
        make_plain(self)

    def spec(self) -> SGDSpec:
        return SGDSpec(*map(float, astuple(self)))


@dataclass(frozen=True)
class ObGD:
    """Overshooting-bounded gradient descent (Elsayed et al. 2024; derivations (21)).

    A step of alpha delta z with alpha = step_size / max(1, step_size kappa max(|delta|, 1) ||z||_1), so that
    ||step||_1 <= |delta| / (kappa max(|delta|, 1)).

    Parameters
    ----------
    step_size : largest alpha, positive
    kappa : positive; a step's 1-norm is at most 1 / kappa

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> traces, delta = np.array([3.0, -1.0]), 0.5
    >>> float(step(ObGD(step_size=1.0, kappa=2.0).spec(), traces, delta))  # alpha = 1/8
    0.0625
    """

    cure = "a larger kappa of ObGD"  # of divergence
    step_size: float = 1.0
    kappa: float = 2.0

    def __post_init__(self) -> None:
        check_positive(self, "step_size", "kappa")
        make_plain(self)

    def spec(self) -> ObGDSpec:
        return ObGDSpec(*map(float, astuple(self)))


moments.register(SGDSpec)(layout_of(NoMoments, "spec", "n_weights"))
moments.register(ObGDSpec)(layout_of(NoMoments, "spec", "n_weights"))


@step.register(SGDSpec)
def _sgd_step(spec, traces, delta):
    return traces.dtype.type(spec.step_size) * delta


@step.register(ObGDSpec)
def _obgd_step(spec, traces, delta):
    real = traces.dtype.type
    alpha, kappa, one = real(spec.step_size), real(spec.kappa), real(1)
    bound = alpha * kappa * max(abs(delta), one) * norm1(traces)
    return alpha / max(one, bound) * delta


@update.register(SGDSpec)
@update.register(ObGDSpec)
def _no_update(spec, params, traces, moments, delta):
    pass


@njit(fastmath={"contract", "reassoc"})
def norm1(a):
    """Sum of absolute values, in any order."""
    total = a.dtype.type(0)
    for k in range(a.shape[0]):
        total += abs(a[k])
    return total


# --------------------------------------------------------------------------------------------------- Adam, RMSProp


PerParameter = Annotated[np.ndarray, "n_weights"]


class AdamSpec(NamedTuple):
    step_size: float
    beta1: float
    beta2: float
    epsilon: float


class AdamMoments(NamedTuple):
    mean: PerParameter
    square: PerParameter
    bias_correction: Annotated[np.ndarray, 2]  # 1 - beta1^t, 1 - beta2^t


class RMSPropSpec(NamedTuple):
    step_size: float
    beta: float
    epsilon: float


class RMSPropMoments(NamedTuple):
    square: PerParameter


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015) on the gradient estimate delta z (derivations (22)).

    Parameters
    ----------
    step_size : alpha, positive
    beta1, beta2 : decay of the mean of gradients and of their squares, in [0, 1)
    epsilon : added to the root of the mean square, positive

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> from rtu_np import LinearRTU, TDLambda
    >>> TDLambda(LinearRTU(8), n_inputs=2, optimizer=Adam(3e-3)).optimizer.step_size
    0.003
    """

    step_size: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check_positive(self, "step_size", "epsilon")
        check_real("beta1", self.beta1, low=0.0, high=1.0, high_open=True)
        check_real("beta2", self.beta2, low=0.0, high=1.0, high_open=True)
        make_plain(self)

    def spec(self) -> AdamSpec:
        return AdamSpec(*map(float, astuple(self)))


@dataclass(frozen=True)
class RMSProp:
    """RMSProp (Tieleman & Hinton 2012), without momentum, on the gradient estimate delta z (derivations (23)).

    Parameters
    ----------
    step_size : alpha, positive
    beta : decay of the mean of squared gradients, in [0, 1)
    epsilon : added to the root of the mean square, positive

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> from rtu_np import LinearRTU, TDLambda
    >>> TDLambda(LinearRTU(8), n_inputs=2, optimizer=RMSProp(1e-3)).optimizer
    RMSProp(step_size=0.001, beta=0.99, epsilon=1e-08)
    """

    step_size: float = 1e-3
    beta: float = 0.99
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check_positive(self, "step_size", "epsilon")
        check_real("beta", self.beta, low=0.0, high=1.0, high_open=True)
        make_plain(self)

    def spec(self) -> RMSPropSpec:
        return RMSPropSpec(*map(float, astuple(self)))


moments.register(AdamSpec)(layout_of(AdamMoments, "spec", "n_weights"))
moments.register(RMSPropSpec)(layout_of(RMSPropMoments, "spec", "n_weights"))


@step.register(AdamSpec)
@step.register(RMSPropSpec)
def no_step(spec, traces, delta):
    return None


@update.register(AdamSpec)
@noalias
def _adam_update(spec, params, traces, moments, delta):
    real = params.dtype.type
    beta1, beta2, epsilon, one = real(spec.beta1), real(spec.beta2), real(spec.epsilon), real(1)
    # 1 - beta^t follows a recurrence: it starts at 0, as all memory does, and keeps its digits while beta^t is near 1.
    correction1 = beta1 * moments.bias_correction[_MEAN] + (one - beta1)
    correction2 = beta2 * moments.bias_correction[_SQUARE] + (one - beta2)
    moments.bias_correction[_MEAN], moments.bias_correction[_SQUARE] = correction1, correction2
    alpha, per_correction2 = real(spec.step_size) / correction1, one / correction2
    for k in range(params.shape[0]):
        gradient = delta * traces[k]
        mean = beta1 * moments.mean[k] + (one - beta1) * gradient
        square = beta2 * moments.square[k] + (one - beta2) * gradient * gradient
        moments.mean[k] = mean
        moments.square[k] = square
        params[k] += alpha * mean / (np.sqrt(square * per_correction2) + epsilon)


@latest_update.register(AdamSpec)
def _latest_adam(spec, traces, moments, delta):
    correction1, correction2 = np.maximum(moments.bias_correction, np.finfo(traces.dtype).tiny)
    return spec.step_size * (moments.mean / correction1) / (np.sqrt(moments.square / correction2) + spec.epsilon)


@rescale.register(AdamSpec)
def _rescale_adam(spec, moments, factors):
    moments.mean[:] *= factors
    moments.square[:] *= factors**2


@update.register(RMSPropSpec)
@noalias
def _rmsprop_update(spec, params, traces, moments, delta):
    real = params.dtype.type
    alpha, beta, epsilon, one = real(spec.step_size), real(spec.beta), real(spec.epsilon), real(1)
    for k in range(params.shape[0]):
        gradient = delta * traces[k]
        square = beta * moments.square[k] + (one - beta) * gradient * gradient
        moments.square[k] = square
        params[k] += alpha * gradient / (np.sqrt(square) + epsilon)


@latest_update.register(RMSPropSpec)
def _latest_rmsprop(spec, traces, moments, delta):
    return spec.step_size * delta * traces / (np.sqrt(moments.square) + spec.epsilon)


@rescale.register(RMSPropSpec)
def _rescale_rmsprop(spec, moments, factors):
    moments.square[:] *= factors**2


def check_positive(settings: Any, *names: str) -> None:
    """ValueError or TypeError, which names the setting, unless these settings are positive numbers."""
    for name in names:
        check_real(name, getattr(settings, name), low=0.0, low_open=True)


def cure_of_divergence(*settings: Any) -> str:
    """The usual cure for a learner with these settings, some of which are optimisers."""
    if cures := dict.fromkeys(part.cure for part in settings if getattr(part, "cure", "")):
        return f"a smaller step size, {', '.join(cures)}, or numbers of a smaller scale"
    return "a smaller step size, or ObGD, which bounds its steps"
