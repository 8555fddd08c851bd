"""Sums over vectors, and products with weight matrices.

Matrices are (d, n) and vectors are rows, so a layer computes x W. The output index is innermost, so only `pull_back`
needs a reduction.
"""

from rtu_np.jit import kernel, njit, noalias


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
# A block of four rows by four inputs is read once for sixteen products, in place of once for each. The rows of X, Y and
# Z are transitions of a minibatch; a row may be longer than the product needs.


@njit
def add_products(X, W, Y):
    """Y (n, m) <- Y + X (n, d) W (d, m)"""
    _add_products(X, W, Y)


@kernel
@noalias
def _add_products(X, W, Y):
    n, (d, m) = X.shape[0], W.shape
    rows, inputs = n - n % 4, d - d % 4
    for k in range(0, rows, 4):
        for j in range(0, inputs, 4):
            a0, a1, a2, a3 = X[k, j], X[k, j + 1], X[k, j + 2], X[k, j + 3]
            b0, b1, b2, b3 = X[k + 1, j], X[k + 1, j + 1], X[k + 1, j + 2], X[k + 1, j + 3]
            c0, c1, c2, c3 = X[k + 2, j], X[k + 2, j + 1], X[k + 2, j + 2], X[k + 2, j + 3]
            d0, d1, d2, d3 = X[k + 3, j], X[k + 3, j + 1], X[k + 3, j + 2], X[k + 3, j + 3]
            for i in range(m):
                w0, w1, w2, w3 = W[j, i], W[j + 1, i], W[j + 2, i], W[j + 3, i]
                Y[k, i] += a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3
                Y[k + 1, i] += b0 * w0 + b1 * w1 + b2 * w2 + b3 * w3
                Y[k + 2, i] += c0 * w0 + c1 * w1 + c2 * w2 + c3 * w3
                Y[k + 3, i] += d0 * w0 + d1 * w1 + d2 * w2 + d3 * w3
        for j in range(inputs, d):
            a0, b0, c0, d0 = X[k, j], X[k + 1, j], X[k + 2, j], X[k + 3, j]
            for i in range(m):
                Y[k, i] += a0 * W[j, i]
                Y[k + 1, i] += b0 * W[j, i]
                Y[k + 2, i] += c0 * W[j, i]
                Y[k + 3, i] += d0 * W[j, i]
    for k in range(rows, n):
        add_product(X[k], W, Y[k])


@njit
def add_outers(X, Z, dW):
    """dW (d, m) <- dW + X^T Z, with X (n, d) and Z (n, m): the gradient of X W with respect to W"""
    _add_outers(X, Z, dW)


@kernel
@noalias
def _add_outers(X, Z, dW):
    n, (d, m) = X.shape[0], dW.shape
    rows, inputs = n - n % 4, d - d % 4
    for j in range(0, inputs, 4):
        for k in range(0, rows, 4):
            a0, a1, a2, a3 = X[k, j], X[k + 1, j], X[k + 2, j], X[k + 3, j]
            b0, b1, b2, b3 = X[k, j + 1], X[k + 1, j + 1], X[k + 2, j + 1], X[k + 3, j + 1]
            c0, c1, c2, c3 = X[k, j + 2], X[k + 1, j + 2], X[k + 2, j + 2], X[k + 3, j + 2]
            d0, d1, d2, d3 = X[k, j + 3], X[k + 1, j + 3], X[k + 2, j + 3], X[k + 3, j + 3]
            for i in range(m):
                z0, z1, z2, z3 = Z[k, i], Z[k + 1, i], Z[k + 2, i], Z[k + 3, i]
                dW[j, i] += a0 * z0 + a1 * z1 + a2 * z2 + a3 * z3
                dW[j + 1, i] += b0 * z0 + b1 * z1 + b2 * z2 + b3 * z3
                dW[j + 2, i] += c0 * z0 + c1 * z1 + c2 * z2 + c3 * z3
                dW[j + 3, i] += d0 * z0 + d1 * z1 + d2 * z2 + d3 * z3
        for k in range(rows, n):
            a0, b0, c0, d0 = X[k, j], X[k, j + 1], X[k, j + 2], X[k, j + 3]
            for i in range(m):
                dW[j, i] += a0 * Z[k, i]
                dW[j + 1, i] += b0 * Z[k, i]
                dW[j + 2, i] += c0 * Z[k, i]
                dW[j + 3, i] += d0 * Z[k, i]
    for j in range(inputs, d):
        for k in range(n):
            a0 = X[k, j]
            for i in range(m):
                dW[j, i] += a0 * Z[k, i]


@njit
def transpose(W, out):
    """out (m, d) <- W^T, in columns of eight: each is read along a line of the cache."""
    _transpose(W, out)


@kernel
@noalias
def _transpose(W, out):
    d, m = W.shape
    whole = d - d % 8
    for j in range(0, whole, 8):
        for i in range(m):
            for k in range(8):
                out[i, j + k] = W[j + k, i]
    for j in range(whole, d):
        for i in range(m):
            out[i, j] = W[j, i]
