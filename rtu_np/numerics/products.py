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
