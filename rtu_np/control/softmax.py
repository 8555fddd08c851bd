"""Softmax: a policy of one choice, or of several independent choices (`rtu_np.control.policies` has what policies are).

    p_k = exp(o_k) / sum of exp(o_j)                                              derivations (39)
        log p(a) = o_a - log sum exp(o_j)        d/do_k log p(a) = [k = a] - p_k
        H = -sum p_k log p_k                     dH/do_k = -p_k (log p_k + H)

    Several choices a_1, a_2, ...: each is a softmax of outputs of its own        derivations (54)
        log p(a) = sum of log p(a_j)             H = sum of H_j, and their gradients choice by choice

An action is one number for each choice, the index of its value.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rtu_np.control.policies import (
    entropy,
    first_largest,
    gradient,
    log_probability,
    mode,
    plain_entropy,
    plain_log_probability,
    sample,
)
from rtu_np.jit import kernel

# ------------------------------------------------------------------------------------------------------ one choice


@dataclass(frozen=True)
class Softmax:
    """One of n discrete actions, with probabilities in proportion to exp(output) (derivations (39)).

    An action of several choices (MultiDiscrete, MultiBinary) has a softmax for each, and these are independent. A bit
    is a choice between two values, with two outputs.

    Examples
    --------
    >>> o, action = np.log([1.0, 3.0]), np.array([1.0])
    >>> round(float(np.exp(log_probability(Softmax().spec(2), o, action))), 6)
    0.75
    >>> o, action = np.log([1.0, 3.0, 1.0, 1.0, 2.0]), np.array([1.0, 2.0])  # a choice of two, and one of three
    >>> round(float(np.exp(log_probability(Softmax().spec((2, 3)), o, action))), 6)
    0.375
    """

    def spec(self, n_actions: "int | tuple[int, ...]") -> "SoftmaxSpec | SoftmaxesSpec":
        if not isinstance(n_actions, tuple):
            return SoftmaxSpec(n_actions, n_actions, 0, 1, 1)
        n, choices = sum(n_actions), len(n_actions)
        return SoftmaxesSpec(n, n, 0, choices, choices, np.cumsum(n_actions))

    def draw(self, noise: np.ndarray, rng: np.random.Generator) -> None:
        if noise.size == 1:
            noise[0] = rng.random()
        else:
            rng.random(out=noise, dtype=noise.dtype)

    def draw_rows(self, noise: np.ndarray, rng: np.random.Generator) -> None:
        """noise (n, n_noise) <- what n calls of `draw` write into its rows"""
        if noise.shape[1] == 1:
            noise[:, 0] = rng.random(len(noise))
        else:
            rng.random(out=noise, dtype=noise.dtype)


class SoftmaxSpec(NamedTuple):
    n_actions: int
    n_linear: int
    n_free: int
    n_action: int
    n_noise: int


class SoftmaxesSpec(NamedTuple):
    """Several choices. An array has their sizes, so that all such spaces share one compiled function."""

    n_actions: int
    n_linear: int
    n_free: int
    n_action: int
    n_noise: int
    stops: np.ndarray  # (n_action,)   the end of each choice's outputs


@plain_log_probability.register(SoftmaxSpec)
def _plain_softmax_log_probability(spec, o, action):
    o = o - o.real.max()
    return o[int(action[0])] - np.log(np.exp(o).sum())


@plain_entropy.register(SoftmaxSpec)
def _plain_softmax_entropy(spec, o):
    o = o - o.real.max()
    log_p = o - np.log(np.exp(o).sum())
    return -(np.exp(log_p) * log_p).sum()


@kernel
def _log_sum_exp(o):
    largest = o[0]
    for k in range(1, o.shape[0]):
        largest = max(largest, o[k])
    total = o.dtype.type(0)
    for k in range(o.shape[0]):
        total += np.exp(o[k] - largest)
    return largest + np.log(total)


@sample.register(SoftmaxSpec)
def _sample_softmax(spec, o, noise, steps, action):
    """action <- the first whose cumulative probability is above the noise, uniform in [0, 1)"""
    normaliser, left, chosen = _log_sum_exp(o), noise[0], spec.n_actions - 1
    for k in range(spec.n_actions - 1):
        left -= np.exp(o[k] - normaliser)
        if left < 0:
            chosen = k
            break
    action[0] = chosen


@mode.register(SoftmaxSpec)
def _mode_softmax(spec, o, action):
    action[0] = first_largest(o)


@log_probability.register(SoftmaxSpec)
def _softmax_log_probability(spec, o, action):
    return o[int(action[0])] - _log_sum_exp(o)


@entropy.register(SoftmaxSpec)
def _softmax_entropy(spec, o):
    normaliser, total = _log_sum_exp(o), o.dtype.type(0)
    for k in range(spec.n_actions):
        log_p = o[k] - normaliser
        total -= np.exp(log_p) * log_p
    return total


@gradient.register(SoftmaxSpec)
def _softmax_gradient(spec, o, action, along_log_probability, along_entropy, do):
    normaliser, h = _log_sum_exp(o), entropy(spec, o)
    for k in range(spec.n_actions):
        log_p = o[k] - normaliser
        p = np.exp(log_p)
        do[k] = -p * (along_log_probability + along_entropy * (log_p + h))
    do[int(action[0])] += along_log_probability


# -------------------------------------------------------------------------------------------------- several choices


@kernel
def _choice(spec, j):
    """(first output, end of the outputs, spec) of choice j"""
    start = spec.stops[j - 1] if j > 0 else 0
    n = spec.stops[j] - start
    return start, spec.stops[j], SoftmaxSpec(n, n, 0, 1, 1)


@plain_log_probability.register(SoftmaxesSpec)
def _plain_softmaxes_log_probability(spec, o, action):
    parts = zip(np.split(o, spec.stops[:-1]), action, strict=True)
    return sum(part[int(k)] - np.log(np.exp(part).sum()) for part, k in parts)


@plain_entropy.register(SoftmaxesSpec)
def _plain_softmaxes_entropy(spec, o):
    log_p = np.concatenate([part - np.log(np.exp(part).sum()) for part in np.split(o, spec.stops[:-1])])
    return -(np.exp(log_p) * log_p).sum()


@sample.register(SoftmaxesSpec)
def _sample_softmaxes(spec, o, noise, steps, action):
    for j in range(spec.n_action):
        start, stop, one = _choice(spec, j)
        sample(one, o[start:stop], noise[j:], steps, action[j:])


@mode.register(SoftmaxesSpec)
def _mode_softmaxes(spec, o, action):
    for j in range(spec.n_action):
        start, stop, one = _choice(spec, j)
        mode(one, o[start:stop], action[j:])


@log_probability.register(SoftmaxesSpec)
def _softmaxes_log_probability(spec, o, action):
    total = o.dtype.type(0)
    for j in range(spec.n_action):
        start, stop, one = _choice(spec, j)
        total += log_probability(one, o[start:stop], action[j:])
    return total


@entropy.register(SoftmaxesSpec)
def _softmaxes_entropy(spec, o):
    total = o.dtype.type(0)
    for j in range(spec.n_action):
        start, stop, one = _choice(spec, j)
        total += entropy(one, o[start:stop])
    return total


@gradient.register(SoftmaxesSpec)
def _softmaxes_gradient(spec, o, action, along_log_probability, along_entropy, do):
    for j in range(spec.n_action):
        start, stop, one = _choice(spec, j)
        gradient(one, o[start:stop], action[j:], along_log_probability, along_entropy, do[start:stop])
