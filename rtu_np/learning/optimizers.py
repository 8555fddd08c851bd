"""Optimisers over one flat array of parameters and one of eligibility traces.

The estimate that they ascend is delta z, the TD error times the traces (derivations (19)). SGD and ObGD only scale the
traces; their update rides in the pass that advances the sensitivities. Adam and RMSProp transform each element and take
a pass of their own.
"""

from dataclasses import astuple, dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from rtu_np.jit import generic, kernel, njit, separate
from rtu_np.numerics.buffers import vector
from rtu_np.validation import check_real


class Optimizer(Protocol):
    """Settings of an optimiser: a frozen dataclass."""

    def spec(self) -> Any:
        """The NamedTuple that kernels dispatch on."""


@generic(apart=True)
def moments(spec, n_weights, flat):
    """Carve what the optimiser remembers about `n_weights` parameters off `flat`: (views, rest)."""


@generic
def scale(spec, traces, delta):
    """The step along the traces for the TD error `delta`; None where the optimiser is not of that kind."""


@generic
def update(spec, params, traces, moments, delta):
    """params <- params + step: the pass of an optimiser whose `scale` is None; nothing for the others."""


@kernel
def step(spec, params, traces, moments, delta):
    """params <- params + step, whichever the optimiser: for learners that do not let it ride in another pass."""
    _along(params, traces, scale(spec, traces, delta))
    update(spec, params, traces, moments, delta)


@kernel
@separate
def _along(params, traces, scale):
    if scale is not None:
        for k in range(params.shape[0]):
            params[k] += scale * traces[k]


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
    """Stochastic gradient descent: a step of step_size delta z."""

    step_size: float = 1e-3

    def __post_init__(self) -> None:
        _check_positive(self, "step_size")

    def spec(self) -> SGDSpec:
        return SGDSpec(*map(float, astuple(self)))


@dataclass(frozen=True)
class ObGD:
    """Overshooting-bounded gradient descent (Elsayed et al. 2024; derivations (21)).

    A step of alpha delta z with alpha = step_size / max(1, step_size kappa max(|delta|, 1) ||z||_1), so that
    ||step||_1 <= |delta| / (kappa max(|delta|, 1)).
    """

    step_size: float = 1.0
    kappa: float = 2.0

    def __post_init__(self) -> None:
        _check_positive(self, "step_size", "kappa")

    def spec(self) -> ObGDSpec:
        return ObGDSpec(*map(float, astuple(self)))


@moments.register(SGDSpec)
@moments.register(ObGDSpec)
def _no_moments(spec, n_weights, flat):
    return NoMoments(), flat


@scale.register(SGDSpec)
def _sgd_scale(spec, traces, delta):
    return traces.dtype.type(spec.step_size) * delta


@scale.register(ObGDSpec)
def _obgd_scale(spec, traces, delta):
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


class AdamSpec(NamedTuple):
    step_size: float
    beta1: float
    beta2: float
    epsilon: float


class AdamMoments(NamedTuple):
    mean: np.ndarray  # (n_weights,)
    square: np.ndarray  # (n_weights,)
    debt: np.ndarray  # (2,)   1 - beta1^t, 1 - beta2^t


class RMSPropSpec(NamedTuple):
    step_size: float
    beta: float
    epsilon: float


class RMSPropMoments(NamedTuple):
    square: np.ndarray  # (n_weights,)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015) on the gradient estimate delta z (derivations (22))."""

    step_size: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _check_positive(self, "step_size", "epsilon")
        check_real("beta1", self.beta1, low=0.0, high=1.0, high_open=True)
        check_real("beta2", self.beta2, low=0.0, high=1.0, high_open=True)

    def spec(self) -> AdamSpec:
        return AdamSpec(*map(float, astuple(self)))


@dataclass(frozen=True)
class RMSProp:
    """RMSProp (Tieleman & Hinton 2012), without momentum, on the gradient estimate delta z (derivations (23))."""

    step_size: float = 1e-3
    beta: float = 0.99
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _check_positive(self, "step_size", "epsilon")
        check_real("beta", self.beta, low=0.0, high=1.0, high_open=True)

    def spec(self) -> RMSPropSpec:
        return RMSPropSpec(*map(float, astuple(self)))


@moments.register(AdamSpec)
def _adam_moments(spec, n_weights, flat):
    mean, flat = vector(flat, n_weights)
    square, flat = vector(flat, n_weights)
    debt, flat = vector(flat, 2)
    return AdamMoments(mean, square, debt), flat


@moments.register(RMSPropSpec)
def _rmsprop_moments(spec, n_weights, flat):
    square, flat = vector(flat, n_weights)
    return RMSPropMoments(square), flat


@scale.register(AdamSpec)
@scale.register(RMSPropSpec)
def _no_scale(spec, traces, delta):
    return None


@update.register(AdamSpec)
@separate
def _adam_update(spec, params, traces, moments, delta):
    real = params.dtype.type
    beta1, beta2, epsilon, one = real(spec.beta1), real(spec.beta2), real(spec.epsilon), real(1)
    # 1 - beta^t by its own recurrence: it starts at 0, as all memory does, and loses no digits while beta^t is near 1.
    moments.debt[0] = beta1 * moments.debt[0] + (one - beta1)
    moments.debt[1] = beta2 * moments.debt[1] + (one - beta2)
    alpha = real(spec.step_size) / moments.debt[0]
    whitening = one / moments.debt[1]
    for k in range(params.shape[0]):
        step = delta * traces[k]
        mean = beta1 * moments.mean[k] + (one - beta1) * step
        square = beta2 * moments.square[k] + (one - beta2) * step * step
        moments.mean[k] = mean
        moments.square[k] = square
        params[k] += alpha * mean / (np.sqrt(square * whitening) + epsilon)


@update.register(RMSPropSpec)
@separate
def _rmsprop_update(spec, params, traces, moments, delta):
    real = params.dtype.type
    alpha, beta, epsilon, one = real(spec.step_size), real(spec.beta), real(spec.epsilon), real(1)
    for k in range(params.shape[0]):
        step = delta * traces[k]
        square = beta * moments.square[k] + (one - beta) * step * step
        moments.square[k] = square
        params[k] += alpha * step / (np.sqrt(square) + epsilon)


def _check_positive(settings: Any, *names: str) -> None:
    for name in names:
        check_real(name, getattr(settings, name), low=0.0, low_open=True)
