"""Policies: distributions over actions, defined by a head's outputs o. Log-probability, entropy, and their gradients.

`rtu_np.control.softmax` has the policy of choices.

    Gaussian      a_k = o_k + sigma_k e_k,  e_k ~ N(0, 1)                         derivations (40)
        log p(a) = sum of -e_k^2 / 2 - log sigma_k - log(2 pi) / 2,   e_k = (a_k - o_k) / sigma_k
        d/do_k log p(a) = e_k / sigma_k          d/dsigma_k log p(a) = (e_k^2 - 1) / sigma_k
        H = sum of log sigma_k + (1 + log(2 pi)) / 2                dH/dsigma_k = 1 / sigma_k
        sigma_k = log(1 + exp(s_k)), or exp(s_k), with s behind the means in o: from the features, or free parameters

An action is an array of reals. A log-probability is that of the drawn action, before the action is clipped to the
bounds of the environment.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from rtu_np.jit import generic, kernel, like
from rtu_np.validation import check_choice


class Policy(Protocol):
    """Settings of a policy: a frozen dataclass."""

    def spec(self, n_actions: Any) -> Any:
        """The NamedTuple that kernels dispatch on.

        `n_actions` : how many discrete actions there are, or components of a continuous one; for several choices, a
        tuple of how many values each has

        Its fields: `n_actions`, of several choices their sum; `n_linear`
        outputs from the features; `n_free` outputs that are parameters; `n_action` numbers that are an action;
        `n_noise` numbers that draw one.
        """

    def draw(self, noise: np.ndarray, rng: np.random.Generator) -> None:
        """noise (n_noise,) <- the random numbers that `sample` needs for one action"""

    # A policy that also has `draw_rows(noise, rng)` goes through stretches in compiled code (`control.compiled_loop`):
    # noise (n, n_noise) <- what n calls of `draw` write into its rows, to the bit.


@generic
def sample(spec, o, noise, steps, action):
    """action <- a draw from the distribution: a function of `noise`, and of the steps of learning so far"""


@generic
def mode(spec, o, action):
    """action <- the most probable action"""


@generic
def log_probability(spec, o, action):
    """log p(action)"""


@generic
def entropy(spec, o):
    """H"""


@generic
def gradient(spec, o, action, along_log_probability, along_entropy, do):
    """do <- along_log_probability d log p(action)/do + along_entropy dH/do"""


@generic
def plain_log_probability(spec, o, action):
    """log p(action), in plain NumPy, complex outputs allowed."""


@generic
def plain_entropy(spec, o):
    """H, in plain NumPy, complex outputs allowed."""


@kernel
def first_largest(o):
    """Index of the largest entry; of several, the first."""
    best = 0
    for k in range(1, o.shape[0]):
        if o[k] > o[best]:
            best = k
    return best


# -------------------------------------------------------------------------------------------------------- gaussian


class Softplus(NamedTuple):
    """sigma = log(1 + exp(s))"""


class Exp(NamedTuple):
    """sigma = exp(s)"""


@generic
def _sigma(kind, s):
    """sigma(s)"""


@generic
def _slope(kind, s, sigma):
    """dsigma/ds"""


@_sigma.register(Softplus)
def _softplus(kind, s):
    return max(s, like(s, 0.0)) + np.log1p(np.exp(-abs(s)))


@_slope.register(Softplus)
def _softplus_slope(kind, s, sigma):
    return -np.expm1(-sigma)  # the logistic function of s, without cancellation far below 0


@_sigma.register(Exp)
def _exp(kind, s):
    return np.exp(s)


@_slope.register(Exp)
def _exp_slope(kind, s, sigma):
    return sigma


@generic
def _plain_sigma(kind, s):
    """sigma(s) of an array, complex or real."""


_plain_sigma.register(Softplus)(lambda kind, s: np.log1p(np.exp(s)))
_plain_sigma.register(Exp)(lambda kind, s: np.exp(s))
_STD = {"softplus": Softplus(), "free": Exp()}
_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True)
class Gaussian:
    """A continuous action of independent normal components (derivations (40)).

    Parameters
    ----------
    std : "softplus", the softplus of an output for each observation (Elsayed et al. 2024); or "free", the exponential
        of a parameter that is the same for all observations (the PPO of Elelimy et al. 2024)

    Raises
    ------
    ValueError : if std has another name

    Examples
    --------
    >>> action, o = np.zeros(2), np.array([0.5, -0.5, 0.0, 0.0])  # two means, then two numbers s of sigma
    >>> mode(Gaussian().spec(2), o, action)
    >>> action
    array([ 0.5, -0.5])
    """

    std: str = "softplus"

    def __post_init__(self) -> None:
        check_choice("std", self.std, _STD)

    def spec(self, n_actions: int) -> "GaussianSpec":
        free = n_actions if self.std == "free" else 0
        return GaussianSpec(n_actions, 2 * n_actions - free, free, n_actions, n_actions, _STD[self.std])

    def draw(self, noise: np.ndarray, rng: np.random.Generator) -> None:
        rng.standard_normal(out=noise, dtype=noise.dtype)

    draw_rows = draw


class GaussianSpec(NamedTuple):
    n_actions: int
    n_linear: int
    n_free: int
    n_action: int
    n_noise: int
    std: Any


@plain_log_probability.register(GaussianSpec)
def _plain_gaussian_log_probability(spec, o, action):
    mean, s = np.split(o, 2)
    sigma = _plain_sigma(spec.std, s)
    return (-((action - mean) ** 2) / (2 * sigma**2) - np.log(sigma) - _HALF_LOG_2PI).sum()


@plain_entropy.register(GaussianSpec)
def _plain_gaussian_entropy(spec, o):
    sigma = _plain_sigma(spec.std, np.split(o, 2)[1])
    return (np.log(sigma) + 0.5 + _HALF_LOG_2PI).sum()


@sample.register(GaussianSpec)
def _sample_gaussian(spec, o, noise, steps, action):
    for k in range(spec.n_actions):
        action[k] = o[k] + _sigma(spec.std, o[spec.n_actions + k]) * noise[k]


@mode.register(GaussianSpec)
def _mode_gaussian(spec, o, action):
    for k in range(spec.n_actions):
        action[k] = o[k]


@log_probability.register(GaussianSpec)
def _gaussian_log_probability(spec, o, action):
    real = o.dtype.type
    total, half = real(0), real(0.5)
    for k in range(spec.n_actions):
        sigma = _sigma(spec.std, o[spec.n_actions + k])
        e = (action[k] - o[k]) / sigma
        total -= half * e * e + np.log(sigma) + real(_HALF_LOG_2PI)
    return total


@entropy.register(GaussianSpec)
def _gaussian_entropy(spec, o):
    real = o.dtype.type
    total = real(0)
    for k in range(spec.n_actions):
        total += np.log(_sigma(spec.std, o[spec.n_actions + k])) + real(0.5 + _HALF_LOG_2PI)
    return total


@gradient.register(GaussianSpec)
def _gaussian_gradient(spec, o, action, along_log_probability, along_entropy, do):
    one = o.dtype.type(1)
    for k in range(spec.n_actions):
        s = o[spec.n_actions + k]
        sigma = _sigma(spec.std, s)
        e = (action[k] - o[k]) / sigma
        do[k] = along_log_probability * e / sigma
        along_sigma = (along_log_probability * (e * e - one) + along_entropy) / sigma
        do[spec.n_actions + k] = along_sigma * _slope(spec.std, s, sigma)
