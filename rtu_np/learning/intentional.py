"""Intentional steps: a step whose size is what it changes in the prediction (Sharifnassab et al. 2026).

With g the gradient at t, z the traces, delta the TD error (derivations (59)); sums run over the weights:

    v <- beta v + (1 - beta) g^2                 or z^2
    m = sqrt(v / (1 - beta^t)) + 1e-8
    n <- gamma lambda n + 1;  s <- s + (sum g^2 / m - s) / n
    w <- w + eta / max(sqrt(s sum z^2 / m), 1e-8) delta_c z / m

s is the mean of sum g^2 / m over the horizon of the traces, with the weights (gamma lambda)^k, which sum to n. The
released code divides a mean that starts at zero by 1 - (gamma lambda)^t: the same number, or 0 / 0 if that is 1.

delta_c is the TD error within `clip` times its root mean square. The mean of squares starts at 1, and is divided by
1 - beta^t all the same, as in the released code: so hardly any of the first 1 / (1 - beta) TD errors is clipped. If
`normalize` is set, as for an actor, delta_c is divided by the mean of |delta_c|. 1 - beta^t follows a recurrence, as in
Adam. Statistics outlive episodes.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np.jit import kernel, njit, noalias
from rtu_np.learning import optimizers
from rtu_np.learning.optimizers import PerParameter, check_positive, no_step
from rtu_np.numerics.layout import layout_of
from rtu_np.validation import check_choice, check_flag, check_real, make_plain

_TINY = 1e-8  # added to m, and the least value of the root
_SMALLEST_MEAN = 1e-12  # of |delta_c|
_STATISTICS = {"gradient": 0.0, "trace": 1.0}

# Slots of the scalars: 1 - beta^t; s and n; the mean of squares of TD errors and its 1 - beta^t; the mean of |delta_c|
# before its division; the number that multiplies z / m in the latest step.
_CORRECTION, _CHANGE, _COUNT, _ERROR, _ERROR_CORRECTION, _SIZE, _STEP = range(7)


class IntentionalSpec(NamedTuple):
    step_size: float
    beta: float
    of_traces: float  # whether v is the mean of z^2
    clip: float
    clip_beta: float
    normalize: float
    gamma_lambda: float  # of the network, which fills it in


class IntentionalMoments(NamedTuple):
    square: PerParameter  # v
    per_scale: PerParameter  # 1 / m of the latest step
    scalars: Annotated[np.ndarray, 7]


@dataclass(frozen=True)
class Intentional:
    """Intentional steps (Sharifnassab et al. 2026; derivations (59)), scaled by the root mean square of gradients.

    The network stores its latest gradient beside the traces.

    Parameters
    ----------
    step_size : eta, the part of the TD error that a step is to take away, positive. .5 for a critic, .05 or .01 for an
        actor, .25 to .5 for action values
    beta : decay of the mean square, in [0, 1)
    statistics : "gradient" or "trace": whether v is the mean of g^2 or of z^2. The second is the safer one if gradients
        are sparse
    clip : the largest TD error, in root mean squares of TD errors, positive
    clip_beta : decay of the statistics of TD errors, in [0, 1)
    normalize : whether TD errors are divided by their mean magnitude; for an actor

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> from rtu_np import LinearRTU, TDLambda
    >>> TDLambda(LinearRTU(8), n_inputs=2, optimizer=Intentional(0.25)).optimizer.statistics
    'gradient'
    """

    cure = 'statistics="trace" of Intentional'  # of divergence
    step_size: float = 0.5
    beta: float = 0.999
    statistics: str = "gradient"
    clip: float = 20.0
    clip_beta: float = 0.9998
    normalize: bool = False

    def __post_init__(self) -> None:
        check_positive(self, "step_size", "clip")
        for name in ("beta", "clip_beta"):
            check_real(name, getattr(self, name), low=0.0, high=1.0, high_open=True)
        check_choice("statistics", self.statistics, _STATISTICS)
        check_flag("normalize", self.normalize)
        make_plain(self)

    def spec(self) -> IntentionalSpec:
        of_traces, normalize = _STATISTICS[self.statistics], float(self.normalize)
        return IntentionalSpec(self.step_size, self.beta, of_traces, self.clip, self.clip_beta, normalize, 0.0)


optimizers.moments.register(IntentionalSpec)(layout_of(IntentionalMoments, "spec", "n_weights"))
optimizers.step.register(IntentionalSpec)(no_step)


@optimizers.follow.register(IntentionalSpec)
@kernel
def follow(spec, params, traces, gradient, moments, delta, decay):
    real, s = params.dtype.type, moments.scalars
    one, tiny, fade = real(1), real(_TINY), real(spec.gamma_lambda)
    s[_CORRECTION] = real(spec.beta) * s[_CORRECTION] + (one - real(spec.beta))
    change, reach = _advance(spec, traces, gradient, moments, decay, one / s[_CORRECTION])
    s[_COUNT] = fade * s[_COUNT] + one
    s[_CHANGE] += (change - s[_CHANGE]) / s[_COUNT]
    size = max(np.sqrt(s[_CHANGE] * reach), tiny)
    s[_STEP] = real(spec.step_size) / size * _intended(spec, s, delta)
    _add(params, traces, moments.per_scale, s[_STEP])


@kernel
def _intended(spec, s, delta):
    """delta_c"""
    real, beta = s.dtype.type, s.dtype.type(spec.clip_beta)
    one = real(1)
    if s[_ERROR_CORRECTION] == 0:
        s[_ERROR] = one  # the mean of squares starts at one
    s[_ERROR] = beta * s[_ERROR] + (one - beta) * delta * delta
    s[_ERROR_CORRECTION] = beta * s[_ERROR_CORRECTION] + (one - beta)
    largest = real(spec.clip) * np.sqrt(s[_ERROR] / s[_ERROR_CORRECTION])
    clipped = max(min(delta, largest), -largest)
    if spec.normalize != 0:
        s[_SIZE] = beta * s[_SIZE] + (one - beta) * abs(clipped)
        clipped /= max(s[_SIZE] / s[_ERROR_CORRECTION], real(_SMALLEST_MEAN))
    return clipped


@njit(fastmath={"contract", "reassoc"})
@noalias
def _advance(spec, traces, gradient, moments, decay, per_correction):
    """The traces, v and 1 / m; returns (sum g^2 / m, sum z^2 / m), in any order."""
    real, beta = traces.dtype.type, traces.dtype.type(spec.beta)
    one, tiny, of_traces = real(1), real(_TINY), spec.of_traces != 0
    change, reach = real(0), real(0)
    for k in range(traces.shape[0]):
        g = gradient[k]
        z = decay * traces[k] + g
        traces[k] = z
        seen = z if of_traces else g
        square = beta * moments.square[k] + (one - beta) * seen * seen
        moments.square[k] = square
        per_scale = one / (np.sqrt(square * per_correction) + tiny)
        moments.per_scale[k] = per_scale
        change += g * g * per_scale
        reach += z * z * per_scale
    return change, reach


@kernel
@noalias
def _add(params, traces, per_scale, step):
    for k in range(params.shape[0]):
        params[k] += step * traces[k] * per_scale[k]


@optimizers.latest_update.register(IntentionalSpec)
def _latest(spec, traces, moments, delta):
    return moments.scalars[_STEP] * traces * moments.per_scale


@optimizers.rescale.register(IntentionalSpec)
def _rescale(spec: Any, moments: IntentionalMoments, factors: np.ndarray) -> None:
    moments.square[:] *= factors**2
    moments.per_scale[:] /= factors
