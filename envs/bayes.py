"""The Bayes prediction of a conditioning stream: the expected return given all that has been seen.

A clock sums up all that has been seen. After the onset of a conditioned stimulus (CS), whose pattern announces an
unconditioned stimulus (US) with probability q, it counts k steps; after the onset of a US, m steps. Let I and J be the
intervals from CS to US and from US to the next CS. If the US does not come, the next CS is I + J steps after the last.
If neither has been seen by step k, the US begins at step k + 1 with probability p_k, the next CS with probability o_k.
If no CS has followed a US by step m, one follows at step m + 1 with probability h_m. With L the length of the US and
A_0 the mean of A^q_0 over the patterns, derivations (25),

    A^q_k = p_k (1 + gamma B_0) + gamma (o_k A_0 + (1 - p_k - o_k) A^q_{k+1})
    B_m   = [m + 1 < L] + gamma (h_m A_0 + (1 - h_m) B_{m+1})

Every value is linear in A_0 and B_0. Backward recursion gives the coefficients, and two linear equations give A_0 and
B_0. In trace conditioning q = 1 and o = 0.
"""

import numpy as np

from rtu_np.jit import njit

AFTER_RESET, AFTER_US, AFTER_CS = 0, 1, 2  # rows of a table of values; AFTER_CS is the first of one per kind of pattern


def table(
    isi: tuple[int, int], iti: tuple[int, int], us_length: int, kinds: list[tuple[float, float]], gamma: float
) -> np.ndarray:
    """(rows, clocks) expected returns; NaN if the clock never gets there.

    isi, iti : (shortest, longest) steps from CS to US and from US to CS, uniform
    us_length : steps
    kinds : (probability, q) of each kind of pattern
    """
    us_at, next_at = _uniform(*isi), _uniform(*iti)
    cs_at = np.convolve(us_at, next_at)  # [s]: the next CS is s steps after one whose US did not come
    clocks = len(cs_at) - 1

    def padded(chances: np.ndarray) -> np.ndarray:
        return np.pad(chances, (0, clocks + 1 - len(chances)))

    # Each value is three coefficients: of 1, of A_0 and of B_0.
    one, A_0, B_0 = np.eye(3)
    us_stays = (np.arange(1, clocks + 1) < us_length)[:, None] * one
    after_us = _backward(padded(next_at), gamma * A_0, padded(np.zeros(1)), 0 * one, us_stays, gamma)
    first = _backward(padded(next_at), gamma * A_0, padded(np.zeros(1)), 0 * one, 0 * us_stays, gamma)
    after_cs = [
        _backward(q * padded(us_at), one + gamma * B_0, (1 - q) * padded(cs_at), gamma * A_0, 0 * us_stays, gamma)
        for _, q in kinds
    ]
    mean = sum(probability * values[0] for (probability, _), values in zip(kinds, after_cs, strict=True))
    equations = np.array([A_0 - mean, B_0 - after_us[0]])
    if abs(np.linalg.det(equations[:, 1:])) < 1e-12:
        raise ValueError(f"gamma is {gamma!r}: expected less than 1, or the return of an endless stream is infinite")
    solved = np.array([1.0, *np.linalg.solve(equations[:, 1:], -equations[:, 0])])
    return np.array([first, after_us, *after_cs]) @ solved


def _uniform(low: int, high: int) -> np.ndarray:
    """[k]: the probability of k, uniform on low ... high."""
    return (np.arange(high + 1) >= low) / (high - low + 1.0)


def _backward(event, gain, other, other_gain, always, gamma):
    """(clocks, 3) values, by backward recursion.

    event, other : (clocks + 1,) probability that the one or the other ends the wait at this step
    gain, other_gain : (3,) value of that end
    always : (clocks, 3) value of every step
    """
    clocks = len(event) - 1
    open_ = 1 - np.cumsum(event + other)  # [k]: the wait is not over by step k
    values, next_value = np.full((clocks, 3), np.nan), np.zeros(3)
    for k in reversed(range(clocks)):
        if open_[k] < 1e-12:
            continue
        p, o = event[k + 1] / open_[k], other[k + 1] / open_[k]
        values[k] = next_value = always[k] + p * gain + o * other_gain + max(1 - p - o, 0.0) * gamma * next_value
    return values


@njit
def follow(us, rows, table, out):
    """Look up the values along a stream. False if a stimulus is later than it can be.

    us : (T,) whether the US is on
    rows : (T,) the row that begins with a CS onset at this step; -1 without an onset
    out : (T,) the values
    """
    clock, row = 0, AFTER_RESET
    for t in range(us.shape[0]):
        clock += t > 0
        if us[t] and (t == 0 or not us[t - 1]):
            clock, row = 0, AFTER_US
        elif rows[t] >= 0:
            clock, row = 0, rows[t]
        if clock >= table.shape[1] or np.isnan(table[row, clock]):
            return False
        out[t] = table[row, clock]
    return True
