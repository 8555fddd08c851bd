"""Passes over rows (`rtu_np.numerics.rows`) beside NumPy, compiled and in plain Python."""

import numpy as np
import pytest
from tolerances import FLOAT32, PLAIN, assert_close

from rtu_np.jit import njit
from rtu_np.numerics.buffers import allocate, padded, padded_rows
from rtu_np.numerics.rows import add_to_rows, learn_four, read_four

PRECISION = {"float64": PLAIN, "float32": FLOAT32}
ROWS = 9


@njit
def _read(flat, vectors, n, j, sums):
    w, _ = padded_rows(flat, ROWS, n)
    a, rest = padded(vectors, n)
    b, _ = padded(rest, n)
    read_four(w, j, a, b, sums[0], sums[1])


@njit
def _learn(flat, vectors, n, j, sums):
    w, _ = padded_rows(flat, ROWS, n)
    a, rest = padded(vectors, n)
    b, factors = padded(rest, n)
    learn_four(w, j, (factors, (b, a, a, b)), a, b, sums[0], sums[1])


@njit
def _add(flat, vectors, n, start, stop):
    w, _ = padded_rows(flat, ROWS, n)
    z, factors = padded(vectors, n)
    add_to_rows(w, start, stop, factors, z)


def arrays(n, dtype):
    """(flat array of a matrix, the matrix, flat array of two vectors, the vectors): random numbers"""
    flat, vectors, rng = allocate(ROWS * (n + 64), dtype), allocate(2 * n + 128, dtype), np.random.default_rng(n)
    w, _ = padded_rows(flat, ROWS, n)
    a, rest = padded(vectors, n)
    b, _ = padded(rest, n)
    for each in (w, a, b):
        each[:] = rng.standard_normal(each.shape)
    return flat, w, vectors, a, b


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("n", [1, 7, 16, 33, 128, 150, 400])
def test_four_rows_with_two_vectors(n, dtype):
    flat, w, vectors, a, b = arrays(n, dtype)
    for j in (0, 3, 5):
        sums = np.full((2, ROWS), 9.0, dtype)
        _read(flat, vectors, n, j, sums)
        expected = np.full((2, ROWS), 9.0)
        expected[:, j : j + 4] = np.stack([a, b]).astype(float) @ w[j : j + 4].T
        assert_close(sums, expected, PRECISION[dtype], f"rows from {j} on")


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("n", [1, 7, 16, 33, 128, 150, 400])
def test_a_vector_is_added_to_some_rows(n, dtype):
    flat, w, vectors, z, factors = arrays(max(n, ROWS), dtype)
    for start, stop in ((0, ROWS), (2, 3), (4, 8), (5, 5)):
        expected = w.astype(float)
        expected[start:stop] += factors[start:stop, None].astype(float) * z
        _add(flat, vectors, max(n, ROWS), start, stop)
        assert_close(w, expected, PRECISION[dtype], f"rows {start} to {stop}")


@pytest.mark.parametrize("dtype", PRECISION)
def test_four_rows_learn_and_are_read(dtype):
    """The bits of a pass for each."""
    for n in (7, 33, 128):
        flat, w, vectors, a, b = arrays(n, dtype)
        factors = padded(padded(vectors, n)[1], n)[1][:ROWS]
        factors[:] = np.random.default_rng(0).standard_normal(ROWS)
        expected = w.astype(float)
        expected[3:7] += factors[3:7, None].astype(float) * np.stack([b, a, a, b])
        found, again = np.zeros((2, 2, ROWS), dtype)
        _learn(flat, vectors, n, 3, found)
        assert_close(w, expected, PRECISION[dtype])
        _read(flat, vectors, n, 3, again)
        assert np.array_equal(found, again)
