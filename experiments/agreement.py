"""Two streams whose solution is a memory of a nonlinear function of a memory.

A hidden sign s is +1 or -1. Each bit x_t, +1 or -1, agrees with s times the bit `lag` steps before, with probability
`agreeing`; so x_t x_{t - lag} is s, or with noise -s. Bits alone say nothing about s, nor does any sum of bits: it
takes a first memory for x_{t - lag}, a product, and a second memory for the sum of products. A single layer with a
linear recurrence remembers bits, and would have to make all products of two at once, at its output.

running   s changes at each step with probability 1 / `dwell`, and is the target at all steps
held      trials: `bits` bits, then `wait` steps without, then one step at which s is asked for; s is new in each trial

The Bayes prediction is the mean of s given all that was seen.
"""

from typing import NamedTuple

import numpy as np


class Task(NamedTuple):
    observations: np.ndarray  # (steps, d)
    cumulants: np.ndarray  # (steps,)   row t + 1 has the target of row t; NaN without a target
    target: np.ndarray  # (steps,)   NaN in rows that ask for nothing
    bayes: np.ndarray  # (steps,)   NaN if there is no target, or before the last tenth


def last(steps: int) -> int:
    """How many steps count for the final error: the last tenth, or as many as surely have targets."""
    return max(steps // 10, 100)


def _task(observations: np.ndarray, target: np.ndarray, bayes: np.ndarray) -> Task:
    bayes[: -last(bayes.size)] = np.nan
    return Task(observations, np.concatenate([[0.0], target[:-1]]), target, bayes)


def running(steps: int, rng: np.random.Generator, lag: int = 3, dwell: float = 50.0, agreeing: float = 0.85) -> Task:
    """Observations are the bit and 1.

    Examples
    --------
    >>> task = running(1000, np.random.default_rng(0))
    >>> task.observations.shape, set(task.target.tolist()) == {-1.0, 1.0}
    ((1000, 2), True)
    """
    sign = rng.choice([-1.0, 1.0]) * np.where(np.cumsum(rng.random(steps) < 1 / dwell) % 2, 1.0, -1.0)
    factor = sign * np.where(rng.random(steps) < agreeing, 1.0, -1.0)
    factor[:lag] = rng.choice([-1.0, 1.0], min(lag, steps))
    bit = np.empty(steps)
    for first in range(lag):  # a bit is the product of all factors every `lag` steps before
        bit[first::lag] = np.cumprod(factor[first::lag])
    bayes, chance = np.zeros(steps), 0.5
    for t in range(max(lag, steps - last(steps) - 1000), steps):
        chance += (1 - 2 * chance) / dwell
        likely = agreeing if bit[t] == bit[t - lag] else 1 - agreeing
        chance = chance * likely / (chance * likely + (1 - chance) * (1 - likely))
        bayes[t] = 2 * chance - 1
    return _task(np.stack([bit, np.ones(steps)], axis=1), sign, bayes)


def held(
    steps: int, rng: np.random.Generator, lag: int = 2, bits: int = 20, wait: int = 10, agreeing: float = 0.9
) -> Task:
    """Observations are the bit, 1 at the first step of a trial, and 1 at the step at which s is asked for.

    Examples
    --------
    >>> task = held(100, np.random.default_rng(0))
    >>> task.observations.shape, int(np.isfinite(task.target).sum())
    ((100, 3), 3)
    """
    length = bits + wait + 1
    n = -(-steps // length)
    sign, shape = rng.choice([-1.0, 1.0], n), (n, length)
    observations, target, bayes = np.zeros((*shape, 3)), np.full(shape, np.nan), np.full(shape, np.nan)
    bit = observations[:, :bits, 0]
    bit[:, :lag] = rng.choice([-1.0, 1.0], (n, lag))
    noise = np.where(rng.random((n, bits)) < agreeing, 1.0, -1.0)
    for t in range(lag, bits):
        bit[:, t] = sign * noise[:, t] * bit[:, t - lag]
    observations[:, 0, 1] = observations[:, -1, 2] = 1.0
    target[:, -1] = sign
    evidence = (bit[:, lag:] * bit[:, :-lag]).sum(axis=1) * np.log(agreeing / (1 - agreeing))
    bayes[:, -1] = np.tanh(evidence / 2)
    return _task(observations.reshape(-1, 3)[:steps], target.ravel()[:steps], bayes.ravel()[:steps])
