"""Products in tiles (`rtu_np.numerics.tiles`) beside NumPy, and to the bit beside one row after another."""

import numpy as np
import pytest
from cases import COMPILED
from tolerances import FLOAT32, PLAIN, assert_close

from rtu_np.jit import njit
from rtu_np.numerics.products import add_product, transpose
from rtu_np.numerics.tiles import add_product_of

PRECISION = {"float64": PLAIN, "float32": FLOAT32}
# (n, d, m): rows, terms and columns that are, and are not, multiples of the four rows and of the vectors of a tile
SIZES = [(4, 4, 32), (5, 7, 37), (1, 1, 1), (3, 2, 70), (16, 13, 64), (6, 9, 15), (8, 5, 0), (4, 0, 8), (0, 3, 8)]


@njit
def _plain(A, B, C, n_grouped):
    add_product_of(A, B, C, n_grouped)


@njit
def _transposed(A, B, C, n_grouped):
    add_product_of(A.T, B, C, n_grouped)


@njit
def _back_to_front(A, B, C, n_grouped):
    add_product_of(A[::-1].T, B[::-1], C, n_grouped)


@njit
def _row_by_row(A, B, C):
    for k in range(A.shape[0]):
        add_product(A[k], B, C[k])


def arrays(n, d, m, dtype):
    """A, B and C, whose rows are longer than the product needs"""
    rng = np.random.default_rng(n + 10 * d + 100 * m)
    return [rng.standard_normal(shape).astype(dtype) for shape in ((n, d), (d, m + 3), (n, m))]


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("by_four", [True, False])
def test_a_product_is_that_of_numpy(by_four, size, dtype):
    A, B, C = arrays(*size, dtype)
    n_grouped = 4 * (size[1] // 4) if by_four else 0
    expected = C + A.astype(float) @ B[:, : size[2]]
    for function, factors in (
        (_plain, (A, B)),
        (_transposed, (A.T.copy(), B)),
        (_back_to_front, (A.T[::-1].copy(), B[::-1].copy())),
    ):
        found = C.copy()
        function(*factors, found, n_grouped)
        assert found.size == 0 or assert_close(found, expected, PRECISION[dtype], function.__name__) is None


@pytest.mark.skipif(not COMPILED, reason="plain Python fuses no product with a sum, whichever the loop")
@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("size", SIZES)
def test_terms_are_added_in_their_order(size, dtype):
    A, B, C = arrays(*size, dtype)
    B = B[:, : size[2]].copy()
    found, expected = C.copy(), C.copy()
    _plain(A, B, found, 0)
    _row_by_row(A, B, expected)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("shape", [(8, 8), (3, 5), (17, 26), (16, 9), (0, 8)])
def test_a_matrix_is_transposed(shape, dtype):
    W = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    out = np.full(shape[::-1], 9.0, dtype)
    transpose(W, out)
    assert np.array_equal(out, W.T)
