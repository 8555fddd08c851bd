"""Passes over arrays whose last axis is that of the units, with a factor for each unit.

The last axis has n numbers for n units, or 2n, 3n, ...: the first number of each unit, then the second, and so on. What
is left at the end of an array is a part of such a row.
"""

from rtu_np.jit import kernel, noalias
from rtu_np.numerics.buffers import over_leaves, packed


@over_leaves
@kernel
def add_scaled_units(target, source, scale):
    """target <- target + scale source"""
    while target.shape[0] > 0:
        n = min(scale.shape[0], target.shape[0])
        row, target = packed(target, n)
        other, source = packed(source, n)
        _add_scaled(row, other, scale)


@kernel
@noalias
def _add_scaled(row, other, scale):
    for i in range(row.shape[0]):
        row[i] += scale[i] * other[i]


@over_leaves
@kernel
def decay_and_add_units(target, source, scale, decay):
    """target <- decay target + scale source"""
    while target.shape[0] > 0:
        n = min(scale.shape[0], target.shape[0])
        row, target = packed(target, n)
        other, source = packed(source, n)
        _decay_and_add(row, other, scale, decay)


@kernel
@noalias
def _decay_and_add(row, other, scale, decay):
    for i in range(row.shape[0]):
        row[i] = decay * row[i] + scale[i] * other[i]


@over_leaves
@kernel
def scale_units_and_add(target, source, scale):
    """target <- scale target + source"""
    while target.shape[0] > 0:
        n = min(scale.shape[0], target.shape[0])
        row, target = packed(target, n)
        other, source = packed(source, n)
        _scale_and_add(row, other, scale)


@kernel
@noalias
def _scale_and_add(row, other, scale):
    for i in range(row.shape[0]):
        row[i] = scale[i] * row[i] + other[i]
