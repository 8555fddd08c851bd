"""Starting values of weight matrices. Each is a frozen dataclass with `weights(shape, rng)`; shapes are (fan_in, n)."""

from dataclasses import dataclass
from math import ceil
from typing import Protocol

import numpy as np

from rtu_np.validation import check_real, make_plain


class Initializer(Protocol):
    """The starting weights of a layer."""

    def weights(self, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """Draw a float64 matrix of `shape`, (fan_in, n)."""


@dataclass(frozen=True)
class LecunNormal:
    """Normal, of variance 1 / fan_in (LeCun et al. 1998).

    Examples
    --------
    >>> LecunNormal().weights((100, 3), np.random.default_rng(0)).std().round(2).item()
    0.1
    """

    def weights(self, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal(shape) / np.sqrt(shape[0])


@dataclass(frozen=True)
class SparseUniform:
    """Most weights of a unit are zero, the others uniform within 1 / sqrt(fan_in) (Elsayed et al. 2024).

    Of `fan_in` weights, ceil(sparsity fan_in) are zero, and at most fan_in - 1. The published code leaves a unit of
    fewer than ten inputs without weights.

    Parameters
    ----------
    sparsity : fraction of the weights that are zero, in [0, 1)

    Raises
    ------
    ValueError, TypeError : if sparsity is not a number in [0, 1)

    Examples
    --------
    >>> W = SparseUniform(0.9).weights((20, 3), np.random.default_rng(0))
    >>> (W != 0).sum(0)
    array([2, 2, 2])
    """

    sparsity: float = 0.9

    def __post_init__(self) -> None:
        check_real("sparsity", self.sparsity, low=0.0, high=1.0, high_open=True)
        make_plain(self)

    def weights(self, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        fan_in, n = shape
        zeros = min(ceil(self.sparsity * fan_in), fan_in - 1)
        W = rng.uniform(-1, 1, shape) / np.sqrt(fan_in)
        W[np.argsort(rng.random(shape), axis=0)[:zeros], np.arange(n)] = 0
        return W


@dataclass(frozen=True)
class Orthogonal:
    """Orthonormal rows or columns, times `gain` (Saxe et al. 2014).

    Parameters
    ----------
    gain : positive

    Raises
    ------
    ValueError, TypeError : if gain is not a positive number

    Examples
    --------
    >>> W = Orthogonal(gain=2.0).weights((4, 3), np.random.default_rng(0))
    >>> np.allclose(W.T @ W, 4 * np.eye(3))
    True
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        check_real("gain", self.gain, low=0.0, low_open=True)
        make_plain(self)

    def weights(self, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        tall = rng.standard_normal((max(shape), min(shape)))
        Q, R = np.linalg.qr(tall)
        Q *= np.sign(np.diag(R))  # without this, Q is not uniform among orthogonal matrices
        return self.gain * (Q if shape[0] >= shape[1] else Q.T)
