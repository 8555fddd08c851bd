"""Flat buffers and the named views into them.

Parameters, traces and memory are each one flat array, so that optimisers, traces and checkpoints are loops over one
array. Each of the functions below takes its numbers from the start of a buffer, and returns (view, rest):

>>> import numpy as np
>>> buffer = np.arange(40.0)
>>> bias, rest = vector(buffer, 3)
>>> weights, rest = matrix(rest, 2, 4)
>>> bias
array([0., 1., 2.])
>>> weights.shape, bool(np.shares_memory(weights, buffer))
((2, 4), True)

The same functions run in Python and inside kernels. `rtu_np.numerics.layout` makes layouts of many views from them.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numba import types

from rtu_np.jit import extents, kernel, like, njit, noalias, overload, view
from rtu_np.validation import check_fits

_LINE = 16  # elements: 64 bytes in float32, 128 in float64; every view starts on a cache line
_VECTOR = 64  # bytes, of the longest vectors of a processor
_LARGE = 1024
_PAGE = 512  # 4096 bytes in float64
_STAGGER = 80
_WHOLE = np.broadcast_to(np.int8(0), 2**60)  # longer than any array; it takes no memory


@kernel
def _room(size):
    """How many elements a view of `size` elements takes.

    Loops read up to six equally large arrays side by side. If these start at the same offset of a memory page, their
    loads and stores collide (measured at 512 x 128: 1.6 times slower). So large views are pushed apart.
    """
    if size < _LARGE:
        return -(-size // _LINE) * _LINE
    return size + (_STAGGER - size) % _PAGE


@view(1)
def _vector_at(flat, start, n):
    return flat[start : start + n]


@view(2)
def _matrix_at(flat, start, rows, columns):
    return flat[start : start + rows * columns].reshape(rows, columns)


@view(3)
def _block_at(flat, start, pages, rows, columns):
    return flat[start : start + pages * rows * columns].reshape(pages, rows, columns)


@view(0)
def _all_from(array, start):
    return array.reshape(array.size)[start:]


@kernel
def vector(flat, n):
    """View of the first `n` elements, and the rest of the buffer."""
    return _vector_at(flat, 0, n), _all_from(flat, _room(n))


def padded(flat, n):
    """As `vector`, but in compiled code the view is longer: it ends with a whole vector of the processor.

    A loop over whole vectors has no remainder, which a processor goes through element by element: with 10 units, that
    takes a third of the step. Numbers behind the n-th take part in each loop. Kernels see to it that they stay finite,
    and zero in parameters and traces. Python does not see them.
    """
    return flat[:n], flat[_room(n) :]


@overload(padded)
def _compile_padded(flat, n):
    return lambda flat, n: (_vector_at(flat, 0, _whole_vectors(n, flat.itemsize)), _all_from(flat, _room(n)))


@kernel
def _whole_vectors(n, itemsize):
    per_vector = _VECTOR // itemsize
    return -(-n // per_vector) * per_vector


def padded_rows(flat, rows, columns):
    """As `matrix`, but each row starts on a cache line, with room for a `padded` vector.

    Compiled code sees whole rows, Python sees the columns.
    """
    width = -(-columns // _LINE) * _LINE
    return flat[: rows * width].reshape(rows, width)[:, :columns], flat[_room(rows * width) :]


@overload(padded_rows)
def _compile_padded_rows(flat, rows, columns):
    def whole_rows(flat, rows, columns):
        width = -(-columns // _LINE) * _LINE
        return _matrix_at(flat, 0, rows, width), _all_from(flat, _room(rows * width))

    return whole_rows


@kernel
def matrix(flat, rows, columns):
    """View of the first `rows * columns` elements as a C-ordered matrix, and the rest of the buffer."""
    return _matrix_at(flat, 0, rows, columns), _all_from(flat, _room(rows * columns))


@kernel
def block(flat, pages, rows, columns):
    """As `matrix`, with three dimensions."""
    return _block_at(flat, 0, pages, rows, columns), _all_from(flat, _room(pages * rows * columns))


@kernel
def packed(flat, n):
    """As `vector`, but the rest follows without a gap, since RTRL and T-BPTT use a state as one flat array, too."""
    return _vector_at(flat, 0, n), _all_from(flat, n)


@kernel
def aligned(flat, rest):
    """(all numbers from `flat` to `rest` as one array, the rest from the next cache line on), after packed vectors."""
    n = flat.shape[0] - rest.shape[0]
    return _vector_at(flat, 0, n), _all_from(flat, _room(n))


@kernel
def whole(flat, rest):
    """(all numbers from `flat` to `rest` as one array, `rest`)"""
    return _vector_at(flat, 0, flat.shape[0] - rest.shape[0]), rest


@kernel
def overlapping(flat, n):
    """As `vector`, but the rest is all of `flat`: the next view takes the same numbers again."""
    return _vector_at(flat, 0, n), flat


def size(layout: Callable[..., tuple[Any, Any]], *arguments: Any) -> int:
    """How many elements `layout(*arguments, flat)` takes from the start of `flat`. MemoryError if too many to count."""
    try:
        return _WHOLE.size - layout(*arguments, _WHOLE)[1].size
    except (ValueError, OverflowError) as error:  # a view larger than `_WHOLE`
        raise MemoryError(
            f"an array needs more than {_WHOLE.size} numbers ({error}): expected fewer units or inputs"
        ) from error


def count_numbers(layout: Callable[..., tuple[Any, Any]], spec: Any) -> int:
    """How many numbers the views of a layout hold. A number in several views counts once."""
    flat = np.empty(size(layout, spec), np.int8)  # one byte each, so that addresses are offsets; never written
    counted, end = 0, 0
    for start, stop in sorted(extents(layout(spec, flat)[0])):
        counted += max(stop - max(start, end), 0)
        end = max(end, stop)
    return counted


def allocate(n: int, dtype: Any) -> np.ndarray:
    """`n` zeros that start on a cache line, so that speed does not depend on where the allocator put them."""
    dtype = np.dtype(dtype)
    check_fits((n + 1) * dtype.itemsize, f"an array of {n} numbers", "fewer units or inputs")
    line = 128 // dtype.itemsize
    raw = np.zeros(n + line, dtype)
    start = (-raw.ctypes.data % 128) // dtype.itemsize
    return raw[start : start + n]


@kernel
@noalias
def copy(source, target):
    """target <- source, two vectors (n,). `target` is written.

    Kernels run without Numba's runtime, which Numba's own assignment would need.
    """
    for k in range(source.shape[0]):
        target[k] = source[k]


@kernel
def clear(target):
    """target <- 0"""
    for k in range(target.shape[0]):
        target[k] = 0


def smallest_normal(x):
    """The smallest normal number in the precision of the scalar `x`."""
    return np.finfo(type(x)).tiny


@overload(smallest_normal)
def _compile_smallest_normal(x):
    smallest = np.finfo(np.float32 if x == types.float32 else np.float64).tiny
    return lambda x: smallest


@kernel
def cut(target):
    """The numbers of a vector that are subnormal become zero. `target` is modified in place."""
    for k in range(target.shape[0]):
        x = target[k]
        target[k] = like(x, 0.0) if abs(x) < smallest_normal(x) else x


@kernel
def any_nonzero(x):
    """Whether a number of a vector is not zero."""
    found = False
    for k in range(x.shape[0]):
        found |= x[k] != 0
    return found


@njit(fastmath={"contract", "reassoc"})
def finite(rows, n_rows):
    """Whether the first `n_rows` rows of a matrix are finite: x - x is 0 if x is finite, and NaN otherwise."""
    total = rows.dtype.type(0)
    for i in range(n_rows):
        for j in range(rows.shape[1]):
            total += rows[i, j] - rows[i, j]
    return total == 0


@kernel
def finite_vector(x):
    """Whether all numbers of a vector are finite."""
    return finite(_matrix_at(x, 0, 1, x.shape[0]), 1)


def over_leaves(function: Callable) -> Callable:
    """Make of `function(target, source, ...)` on vectors a function of two nested NamedTuples of arrays.

    Compiled code cannot loop over a tuple of arrays of several dimensions, so it takes the tuple apart, type by type.
    There, an array of several dimensions is one vector, with the dead numbers behind each padded row.
    """
    return _over(function, by_row=False)


def over_rows(function: Callable) -> Callable:
    """As `over_leaves`, if it matters where a row begins: row by row, also in compiled code."""
    return _over(function, by_row=True)


def _over(function: Callable, by_row: bool) -> Callable:
    def apply(targets, sources, *factors):
        for target, source in zip(targets, sources, strict=True):
            if isinstance(target, tuple) or target.ndim > 1:  # row by row: a reshaped part of padded rows is a copy
                apply(target, source, *factors)
            else:
                function(target, source, *factors)

    @overload(apply)
    def _compile(targets, sources, *factors):
        if len(targets) == 0:
            return lambda targets, sources, *factors: None
        if isinstance(targets[0], types.BaseTuple):

            def group_then_rest(targets, sources, *factors):
                apply(targets[0], sources[0], *factors)
                apply(targets[1:], sources[1:], *factors)

            return group_then_rest
        if by_row and targets[0].ndim > 1:

            def rows_then_rest(targets, sources, *factors):
                for j in range(targets[0].shape[0]):
                    apply((targets[0][j],), (sources[0][j],), *factors)
                apply(targets[1:], sources[1:], *factors)

            return rows_then_rest

        def array_then_rest(targets, sources, *factors):
            target, source = targets[0], sources[0]
            function(_all_from(target, 0), _all_from(source, 0), *factors)
            apply(targets[1:], sources[1:], *factors)

        return array_then_rest

    apply.__doc__ = function.__doc__
    return apply


@over_leaves
@kernel
@noalias
def add_scaled(target, source, scale):
    """target <- target + scale source"""
    for k in range(target.shape[0]):
        target[k] += scale * source[k]


@over_leaves
@kernel
@noalias
def decay_and_add(target, source, decay):
    """target <- decay target + source"""
    for k in range(target.shape[0]):
        target[k] = decay * target[k] + source[k]


@over_rows
@kernel
def assign(target, source):
    """target <- source, whose rows may be padded"""
    copy(source[: target.shape[0]], target)


class Pair(NamedTuple):
    """The views of a lower and an upper layer. The upper layer may be a pair again."""

    lower: Any
    upper: Any


def leaves(views: tuple, prefix: str = "") -> dict[str, np.ndarray]:
    """{name: array} of nested NamedTuples of arrays.

    A group within a cell adds nothing to the name. The layers of a stack are numbered from below: "0.W1", "1.W1".
    Arrays without elements are left out. ValueError if two arrays have the same name.
    """
    out: dict[str, np.ndarray] = {}
    if isinstance(views, Pair):
        for k, layer in enumerate(_layers(views)):
            out.update(leaves(layer, f"{prefix}{k}."))
        return out
    for name, value in zip(views._fields, views, strict=True):  # type: ignore[attr-defined]
        found = leaves(value, prefix) if isinstance(value, tuple) else {prefix + name: value} if value.size else {}
        if twice := out.keys() & found.keys():
            raise ValueError(f"two arrays are called {sorted(twice)[0]!r}: a checkpoint would hold only one of them")
        out.update(found)
    return out


def _layers(views: tuple) -> list[tuple]:
    return [views.lower, *_layers(views.upper)] if isinstance(views, Pair) else [views]


def rebuild(views: Any, arrays: Iterable[Any]) -> Any:
    """NamedTuples of the same types as `views`, with other `arrays` in the order of `leaves`."""
    rest = iter(arrays)

    def build(part: Any) -> Any:
        if isinstance(part, tuple):
            return type(part)(*map(build, part))
        return next(rest) if part.size else part

    return build(views)


class Copies:
    """Copies of arrays, for Python: what was taken can be put back."""

    def __init__(self, arrays: Iterable[np.ndarray]) -> None:
        self._pairs = [(array, np.empty_like(array)) for array in arrays]

    def take(self) -> None:
        for array, copied in self._pairs:
            copied[...] = array

    def put_back(self) -> None:
        for array, copied in self._pairs:
            array[...] = copied
