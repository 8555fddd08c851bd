"""Sums over vectors, and products with weight matrices.

Matrices are (d, n) and vectors are rows, so a layer computes x W. The output index is innermost, so only `pull_back`
needs a reduction.
"""

from rtu_np.jit import kernel, njit, noalias
from rtu_np.numerics.tiles import SIDE, add_product_of, turn_square


@njit(fastmath={"contract", "reassoc"})
def dot(a, b):
    """Inner product of two vectors. Sums in any order (`reassoc`), as a reduction else does not vectorise."""
    total = a.dtype.type(0)
    for k in range(a.shape[0]):
        total += a[k] * b[k]
    return total


@njit(fastmath={"contract", "reassoc"})
def total(a):
    """Sum of a vector, in any order."""
    total = a.dtype.type(0)
    for k in range(a.shape[0]):
        total += a[k]
    return total


@kernel
@noalias
def add_product(x, W, out):
    """out (n,) <- out + x W"""
    for j in range(W.shape[0]):
        x_j = x[j]
        for i in range(W.shape[1]):
            out[i] += x_j * W[j, i]


@kernel
@noalias
def add_outer(x, dz, dW):
    """dW (d, n) <- dW + x dz^T, the gradient of x W with respect to W"""
    for j in range(dW.shape[0]):
        x_j = x[j]
        for i in range(dW.shape[1]):
            dW[j, i] += x_j * dz[i]


@kernel
@noalias
def decay_and_add_outer(decay, x, dz, dW):
    """dW (d, n) <- decay dW + x dz^T"""
    for j in range(dW.shape[0]):
        x_j = x[j]
        for i in range(dW.shape[1]):
            dW[j, i] = decay * dW[j, i] + x_j * dz[i]


@kernel
@noalias
def pull_back(W, dz, dx):
    """dx (d,) <- W dz, the gradient of x W with respect to x; no effect if dx is empty"""
    for j in range(dx.shape[0]):
        dx[j] = dot(W[j], dz)


# -------------------------------------------------------------------------------------------- a matrix and a few rows
PANEL = 128  # columns that go through a product together: eight rows of them are in the nearest cache


@kernel
@noalias
def add_four_rows(A, i, panel, out0, out1, out2, out3):
    """Four rows out <- out + A[i : i + 4] panel; each sum is in the order of its terms.

    A : (n, n), with n a multiple of four
    panel : (n, at least as many columns as a row of out)

    A vector of each of four rows of the panel is read once for sixteen products. The loop over columns begins at 0: in
    one that begins elsewhere, an index might be negative for all that LLVM knows, and it would stay scalar.
    """
    for k in range(0, A.shape[1], 4):
        a0, a1, a2, a3 = A[i, k], A[i, k + 1], A[i, k + 2], A[i, k + 3]
        b0, b1, b2, b3 = A[i + 1, k], A[i + 1, k + 1], A[i + 1, k + 2], A[i + 1, k + 3]
        c0, c1, c2, c3 = A[i + 2, k], A[i + 2, k + 1], A[i + 2, k + 2], A[i + 2, k + 3]
        d0, d1, d2, d3 = A[i + 3, k], A[i + 3, k + 1], A[i + 3, k + 2], A[i + 3, k + 3]
        for c in range(out0.shape[0]):
            s0, s1, s2, s3 = panel[k, c], panel[k + 1, c], panel[k + 2, c], panel[k + 3, c]
            out0[c] = out0[c] + a0 * s0 + a1 * s1 + a2 * s2 + a3 * s3
            out1[c] = out1[c] + b0 * s0 + b1 * s1 + b2 * s2 + b3 * s3
            out2[c] = out2[c] + c0 * s0 + c1 * s1 + c2 * s2 + c3 * s3
            out3[c] = out3[c] + d0 * s0 + d1 * s1 + d2 * s2 + d3 * s3


# ------------------------------------------------------------------------------------------------ many rows at a time
# The rows of X, Y and Z are transitions of a minibatch; a row may be longer than the product needs. Terms of four
# inputs or of four transitions are added up before they are added to the result.


@kernel
def add_products(X, W, Y):
    """Y (n, m) <- Y + X (n, d) W (d, m)"""
    add_product_of(X, W, Y, W.shape[0] - W.shape[0] % 4)


@kernel
def add_outers(X, Z, dW):
    """dW (d, m) <- dW + X^T Z, with X (n, d) and Z (n, m): the gradient of X W with respect to W"""
    add_product_of(X.T, Z, dW, X.shape[0] - X.shape[0] % 4)


@njit
def transpose(W, out):
    """out (m, d) <- W^T, in squares that registers hold"""
    _transpose(W, out)


@kernel
@noalias
def _transpose(W, out):
    d, m = W.shape
    rows, columns = d - d % SIDE, m - m % SIDE
    for j in range(0, rows, SIDE):
        for i in range(0, columns, SIDE):
            turn_square(W, j, i, out)
        for k in range(j, j + SIDE):
            for i in range(columns, m):
                out[i, k] = W[k, i]
    for j in range(rows, d):
        for i in range(m):
            out[i, j] = W[j, i]
