"""Passes over arrays whose last axis is that of the units, with a factor for each unit.

The last axis has n numbers for n units, or 2n, 3n, ...: the first number of each unit, then the second, and so on. What
is left at the end of a row is its padding (`rtu_np.numerics.buffers.padded_rows`), and stays as it was.
"""

from collections.abc import Callable

from rtu_np.jit import kernel, noalias
from rtu_np.numerics.buffers import over_rows, packed


def _over_units(function: Callable) -> Callable:
    """Make of `function(target, source, scale, ...)` on a number of each unit a function of two nested NamedTuples.

    scale : (n,), without padding
    """

    @kernel
    def blocks(target, source, scale, *factors):
        n = scale.shape[0]
        while target.shape[0] >= n:
            row, target = packed(target, n)
            other, source = packed(source, n)
            function(row, other, scale, *factors)

    blocks.__doc__ = function.__doc__
    return over_rows(blocks)


@_over_units
@kernel
@noalias
def add_scaled_units(target, source, scale):
    """target <- target + scale source"""
    for i in range(target.shape[0]):
        target[i] += scale[i] * source[i]


@_over_units
@kernel
@noalias
def decay_and_add_units(target, source, scale, decay):
    """target <- decay target + scale source"""
    for i in range(target.shape[0]):
        target[i] = decay * target[i] + scale[i] * source[i]


@_over_units
@kernel
@noalias
def scale_units_and_add(target, source, scale):
    """target <- scale target + source"""
    for i in range(target.shape[0]):
        target[i] = scale[i] * target[i] + source[i]


@_over_units
@kernel
@noalias
def assign_units(target, source, numbers):
    """target <- numbers; the source is not read"""
    for i in range(target.shape[0]):
        target[i] = numbers[i]
