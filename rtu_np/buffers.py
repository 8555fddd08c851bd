"""Flat buffers and the named views into them.

Parameters, traces and memory are each one flat array, so that optimisers, traces and checkpoints are loops over one
array. A *carving* function cuts named views off the front of a buffer and returns what is left:

>>> import numpy as np
>>> buffer = np.arange(40.0)
>>> bias, rest = vector(buffer, 3)
>>> weights, rest = matrix(rest, 2, 4)
>>> bias
array([0., 1., 2.])
>>> weights.shape, bool(np.shares_memory(weights, buffer))
((2, 4), True)

The same functions run in Python and inside kernels, so the layout is written once.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from rtu_np.jit import kernel, njit, overload

_LINE = 16  # elements: 64 bytes in float32, 128 in float64; every view starts on a cache line
_LARGE = 1024
_PAGE = 512  # 4096 bytes in float64
_STAGGER = 80
_ENDLESS = np.broadcast_to(np.int8(0), 2**60)


@kernel
def _room(size):
    """Elements set aside for `size` of them.

    Loops read up to six equally large arrays side by side. Where these start at the same offset of a memory page, their
    loads and stores collide (measured at 512 x 128: 1.6 times slower), so large views are pushed apart.
    """
    if size < _LARGE:
        return -(-size // _LINE) * _LINE
    return size + (_STAGGER - size) % _PAGE


@kernel
def vector(flat, n):
    """View of the first `n` elements, and the rest of the buffer."""
    return flat[:n], flat[_room(n) :]


@kernel
def matrix(flat, rows, columns):
    """View of the first `rows * columns` elements as a C-ordered matrix, and the rest of the buffer."""
    return flat[: rows * columns].reshape(rows, columns), flat[_room(rows * columns) :]


def size(carve: Callable[..., tuple[Any, Any]], *arguments: Any) -> int:
    """How many elements `carve(*arguments, buffer)` takes off a buffer."""
    return _ENDLESS.size - carve(*arguments, _ENDLESS)[1].size


def allocate(n: int, dtype: Any) -> np.ndarray:
    """`n` zeros that start on a cache line, so that speed does not depend on where the allocator put them."""
    dtype = np.dtype(dtype)
    line = 128 // dtype.itemsize
    raw = np.zeros(n + line, dtype)
    start = (-raw.ctypes.data % 128) // dtype.itemsize
    return raw[start : start + n]


@kernel
def copy(source, target):
    """target <- source, two vectors. Numba's own assignment would need its runtime, which kernels do without."""
    for k in range(source.shape[0]):
        target[k] = source[k]


@kernel
def clear(target):
    """target <- 0"""
    for k in range(target.shape[0]):
        target[k] = 0


@njit(fastmath={"contract", "reassoc"})
def finite(rows, n_rows):
    """Whether the first `n_rows` of a matrix hold finite numbers: x - x is 0 for those, and NaN for all others."""
    total = rows.dtype.type(0)
    for i in range(n_rows):
        for j in range(rows.shape[1]):
            total += rows[i, j] - rows[i, j]
    return total == 0


def add_scaled(targets: tuple, sources: tuple, scale: float) -> None:
    """targets <- targets + scale sources, for two NamedTuples of arrays."""
    for target, source in zip(targets, sources, strict=True):
        target += scale * source


@overload(add_scaled)
def _compile_add_scaled(targets, sources, scale):
    # A tuple of arrays of several dimensions cannot be looped over in compiled code: take it apart, type by type.
    if len(targets) == 0:
        return lambda targets, sources, scale: None

    def head_then_tail(targets, sources, scale):
        target, source = targets[0].reshape(targets[0].size), sources[0].reshape(sources[0].size)
        for k in range(target.shape[0]):
            target[k] += scale * source[k]
        add_scaled(targets[1:], sources[1:], scale)

    return head_then_tail
