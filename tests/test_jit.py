"""Compiling and dispatching. What is stored on disk: test_cache.py and test_cache_files.py."""

from typing import NamedTuple

import numba
import numpy as np
import pytest

from rtu_np import LinearRTU, TDLambda, jit
from rtu_np.numerics.buffers import allocate, matrix, size, vector
from rtu_np.prediction.td_kernels import run

compiled = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="there is nothing compiled")


def test_the_names_of_files_follow_the_flags(monkeypatch):
    before = jit.versions()
    assert before == jit.versions()
    monkeypatch.setattr(jit.config, "BOUNDSCHECK", 7)
    assert jit.versions() != before


def test_the_numba_setting_of_others_is_left_alone():
    before = jit.config.CACHE_DIR
    jit.njit(lambda x: x)
    assert before == jit.config.CACHE_DIR


def test_an_unknown_kind_is_named():
    @jit.generic
    def apply(kind, x):
        """Nothing yet."""

    with pytest.raises(TypeError, match="apply: no implementation for int; registered: none"):
        apply(3, 1.0)


@compiled
@pytest.mark.skipif(jit.numba_compiler.PLAIN, reason="plain Numba has its runtime")
def test_a_kernel_that_allocates_does_not_compile():
    def allocates(n):
        return np.zeros(n).sum()

    with pytest.raises(numba.core.errors.NumbaError):
        jit.njit(allocates)(3)
    assert numba.njit(allocates)(3) == 0.0  # with Numba's runtime there would be no objection


@compiled
def test_one_compilation_per_precision_whatever_the_sizes():
    compiled_run = jit.njit(run)
    for dtype, compilations in (("float64", 1), ("float32", 2)):
        for n, d in ((4, 2), (7, 3)):
            agent = TDLambda(LinearRTU(n), d, dtype=dtype)
            assert compiled_run(*agent._to_run, 3) == 3
            assert len(compiled_run.signatures) == compilations


def _count(x, k):
    x[k] += 1
    return int(x[0])


def _count_often(count, arguments, n):
    total = 0
    for _ in range(n):
        total += jit.call_at(count, arguments)
    return total


@compiled
def test_a_function_is_called_by_its_address():
    """It returns what it returns, and raises what it raises."""
    count, x = jit.njit(_count, boundscheck=True), np.zeros(4)
    at = jit.address(count, x, 0)
    often = jit.entry(jit.njit(_count_often), at, (x, 0), 3)
    assert often(at, (x, 0), 3) == 1 + 2 + 3
    with pytest.raises(IndexError):
        often(at, (x, 4), 3)
    halves = jit.njit(lambda x: x[0] / 2)
    with pytest.raises(TypeError, match="returns float64: expected int64"):
        jit.address(halves, x)


def test_views_cover_the_buffer_without_overlap():
    def layout(flat):
        a, flat = vector(flat, 5)
        b, flat = matrix(flat, 30, 70)
        c, flat = matrix(flat, 30, 70)
        return (a, b, c), flat

    flat = allocate(size(layout), "float64")
    views, rest = layout(flat)
    assert rest.size == 0
    for k, view in enumerate(views):
        view[:] = k + 1
    assert [int((flat == k + 1).sum()) for k in range(3)] == [5, 2100, 2100]
    starts = [view.ctypes.data for view in views]
    assert all(start % 64 == 0 for start in starts)
    assert abs(starts[2] - starts[1]) % 4096 > 256  # apart within a page


@compiled
def test_a_function_is_linked_though_its_first_caller_never_calls_it():
    """LLVM drops the call in `never`, so nothing calls `late` yet when it is linked first."""

    @jit.kernel
    def late(x):
        for k in range(x.shape[0]):
            x[k] += 1

    @jit.kernel
    def never(x):
        none = x.shape[0] - x.shape[0]
        if none > 0:
            late(x)

    @jit.kernel
    def always(x):
        late(x)

    @jit.njit
    def both(x):
        never(x)
        always(x)
        return x[0]

    assert both(np.zeros(2)) == 1


class _Pair(NamedTuple):
    x: np.ndarray
    y: np.ndarray


@compiled
def test_plain_numba_calls_our_kernels():
    """Numba passes a NamedTuple part by part, our kernels pass it whole, also to each other."""

    @jit.kernel
    def add(pair, scale):
        for k in range(pair.x.shape[0]):
            pair.x[k] += scale * pair.y[k]

    @jit.kernel
    def add_twice(pair, scale):
        add(pair, scale)
        add(pair, scale)
        return pair.x[0]

    @numba.njit
    def plain(x, y):
        return add_twice(_Pair(x, y), 2.0) + x[1]

    assert plain(np.ones(2), np.array([1.0, 3.0])) == 5 + 13
