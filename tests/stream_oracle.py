"""What an input stage does to a stream, written from its definition: sums over all samples so far, no recursion."""

import numpy as np


def weighted(samples: list[float], half_life: float | None) -> tuple[float, float]:
    """(mean, deviation) of samples of which the latest counts 1 and each earlier one rho times as much as the next."""
    x = np.array(samples)
    rho = 1.0 if half_life is None else 0.5 ** (1 / half_life)
    w = rho ** np.arange(len(x))[::-1]
    mean = np.sum(w * x) / np.sum(w)
    spread = np.sum(w * (x - mean) ** 2)
    if len(set(samples)) == 1:
        return mean, 1.0
    variance = spread / (np.sum(w) - np.sum(w**2) / np.sum(w))
    return mean, np.sqrt(variance + (1e-8 * mean) ** 2)


def stage(rows, starts, normalize=None, missing=None):
    """(T, width) what the network sees of `rows` (T, d), NaN where missing. `starts` (T,): whether an episode begins.

    normalize : None, or (half_life, clip)
    """
    rows = np.array(rows, dtype=float)
    n_steps, d = rows.shape
    seen = ~np.isnan(rows)
    out = np.zeros((n_steps, d if missing is None else 2 * d))
    for i in range(d):
        samples: list[float] = []
        last = np.nan
        for t in range(n_steps):
            x = rows[t, i]
            last = np.nan if starts[t] else last
            if seen[t, i]:
                if normalize and normalize[1] is not None and len(set(samples)) > 1:
                    mean, deviation = weighted(samples, normalize[0])
                    x = np.clip(x, mean - normalize[1] * deviation, mean + normalize[1] * deviation)
                samples.append(x)
                last = x
            value = x if seen[t, i] else last if missing == "hold" else np.nan
            if not np.isnan(value):
                mean, deviation = weighted(samples, normalize[0]) if normalize else (0.0, 1.0)
                out[t, i] = (value - mean) / deviation
            if missing is not None:
                out[t, d + i] = not seen[t, i]
    return out
