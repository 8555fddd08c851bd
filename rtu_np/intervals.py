"""Numbers of several seeds: the interval of their mean, and a learning curve from episodes."""

import numpy as np


def interval(samples: np.ndarray, axis: int = 0, draws: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """95 % bootstrap interval (low, high) of the mean along `axis`, resampling seeds.

    Examples
    --------
    >>> low, high = interval(np.array([1.0, 2.0, 3.0, 4.0]))
    >>> bool(1.0 <= low < 2.5 < high <= 4.0)
    True
    """
    samples = np.moveaxis(np.asarray(samples, float), axis, 0)
    picks = np.random.default_rng(seed).integers(len(samples), size=(draws, len(samples)))
    means = np.stack([samples[pick].mean(0) for pick in picks])
    return np.percentile(means, 2.5, axis=0), np.percentile(means, 97.5, axis=0)


def curve(steps: np.ndarray, returns: np.ndarray, total: int, bins: int = 50) -> np.ndarray:
    """Mean return of the episodes that ended in each of `bins` parts of a run of `total` steps.

    A part without the end of an episode has the previous part's mean; NaN before the first end.

    Parameters
    ----------
    steps, returns : (n,) of the episodes: at which step each ended, 1 to `total`, and its return

    Examples
    --------
    >>> curve(np.array([10, 20, 90]), np.array([1.0, 3.0, 5.0]), total=100, bins=4).tolist()
    [2.0, 2.0, 2.0, 5.0]
    """
    parts = np.minimum(steps * bins // total, bins - 1)
    means = np.full(bins, np.nan)
    for k in range(bins):
        inside = returns[parts == k]
        means[k] = inside.mean() if inside.size else means[k - 1] if k else np.nan
    return means


def final(steps: np.ndarray, returns: np.ndarray, total: int) -> float:
    """Mean return of the episodes that ended in the last tenth of the steps. If no episode did, the last return.

    Parameters
    ----------
    steps, returns : (n,) of the episodes: at which step each ended, 1 to `total`, and its return
    total : the number of steps of the run

    Examples
    --------
    >>> final(np.array([10, 20, 95]), np.array([1.0, 3.0, 5.0]), total=100)
    5.0
    """
    late = returns[steps > 0.9 * total]
    return float(late.mean() if late.size else returns[-1] if returns.size else np.nan)
