"""Running statistics, in float64 for learners of both precisions: float32 sums drift within a million samples.

    Welford:  n <- n + 1,   mean <- mean + (x - mean) / n,   M <- M + (x - old mean) (x - new mean)     derivations (41)

Observations become (x - mean) / sqrt(M / (n - 1) + 1e-8). The statistics include the present observation; for the first
observation, the variance is 1. Rewards are divided by the running deviation of the discounted return,
G <- gamma (1 - done) G + r. They are not centred: in a task whose episodes end, a shift changes which policy is best.
Elsayed et al. 2024.

An observation can be clipped before it enters the statistics and the network (`clip`). Otherwise one fill value of
-9999 among a million numbers of deviation 1 makes the deviation 10.
"""

from typing import Annotated, NamedTuple

import numpy as np

from rtu_np.jit import kernel, noalias
from rtu_np.numerics.buffers import vector
from rtu_np.numerics.layout import layout_of

EPSILON = 1e-8


class Statistics(NamedTuple):
    """Statistics of vectors of `size` numbers, float64."""

    n: Annotated[np.ndarray, 1]  # samples so far
    mean: Annotated[np.ndarray, "size"]
    M: Annotated[np.ndarray, "size"]  # sum of squared distances from the mean


statistics = kernel(layout_of(Statistics, "size"))


class ReturnStatistics(NamedTuple):
    G: np.ndarray  # (1,)   the discounted return so far
    statistics: Statistics  # of G


@kernel
def return_statistics(flat):
    """Layout of the statistics of a return, float64."""
    G, flat = vector(flat, 1)
    of_G, flat = statistics(1, flat)
    return ReturnStatistics(G, of_G), flat


@kernel
@noalias
def include(stats, x):
    """Add the sample `x` to the statistics."""
    stats.n[0] += 1
    n = stats.n[0]
    for i in range(x.shape[0]):
        deviation = x[i] - stats.mean[i]
        stats.mean[i] += deviation / n
        stats.M[i] += deviation * (x[i] - stats.mean[i])


@kernel
@noalias
def clip(stats, limit, x):
    """x <- x, at most `limit` deviations from the mean. Returns the largest number of deviations before.

    A number that has not varied so far has no deviation, and is not clipped; so nothing depends on its unit. If the
    deviation of n samples is too small, since they were few or the stream has changed, each clipped sample lets the
    variance grow by a factor of about 1 + limit^2 / n. After n of them it is 2^(limit^2 - 1) times as large. But what
    is rarer than one in limit^2 samples counts as an outlier for ever: the variance grows only if p limit^2 > 1.
    """
    n, largest = stats.n[0], 0.0
    for i in range(x.shape[0]):
        if stats.M[i] == 0:
            continue
        deviation = np.sqrt(stats.M[i] / (n - 1) + EPSILON)
        distance = x[i] - stats.mean[i]
        largest = max(largest, abs(distance) / deviation)
        if abs(distance) > limit * deviation:
            x[i] = stats.mean[i] + np.sign(distance) * limit * deviation
    return largest


@kernel
@noalias
def normalize(stats, x, out):
    """out <- (x - mean) / sqrt(variance + EPSILON)"""
    n, real = stats.n[0], out.dtype.type
    for i in range(x.shape[0]):
        variance = stats.M[i] / (n - 1) if n > 1 else 1.0
        out[i] = real((x[i] - stats.mean[i]) / np.sqrt(variance + EPSILON))


@kernel
def include_reward(stats, gamma, reward, done):
    """Add the return that includes `reward` to the statistics. `done` : whether the episode ends with this reward."""
    if done:
        stats.G[0] = 0
    stats.G[0] = gamma * stats.G[0] + reward
    include(stats.statistics, stats.G)


@kernel
def scale_reward(stats, reward):
    """The reward, divided by the deviation of the return."""
    n = stats.statistics.n[0]
    variance = stats.statistics.M[0] / (n - 1) if n > 1 else 1.0
    return reward / np.sqrt(variance + EPSILON)
