"""How the state of a dense cell depends on its last state: what RTRL and its approximations need beyond reverse mode.

A dense cell with state h (n,), output y = h and recurrent weights W (n, G n), one block of n columns for each of G
gates, has the Jacobian (derivations (91))

    dh_t[i] / dh_{t-1}[k] = (keep[i] if i = k) + sum over g of by[g n + i] W[k, g n + i]

`keep` is what a unit keeps of its own number, by a leak or a gate; `by` is the slope by what enters each gate. A cell
registers `recurrent_slopes`, and these gradients apply to it. Each parameter must act directly on one unit alone, that
of its last axis, which has n numbers or 2n, 3n, ... (`rtu_np.numerics.units`).
"""

from rtu_np.jit import generic, kernel, noalias


@generic
def recurrent_slopes(spec, state_tm1, record, keep, by):
    """keep (n,) and by (G n,) of the step in `record` are written."""


@generic
def slope_flops(spec):
    """Operations of `recurrent_slopes`."""


@kernel
@noalias
def own_slopes(W, keep, by, out):
    """out (n,) <- the diagonal of the Jacobian: each unit's slope by its own last number"""
    n = keep.shape[0]
    for i in range(n):
        out[i] = keep[i]
    for start in range(0, by.shape[0], n):
        for i in range(n):
            out[i] += by[start + i] * W[i, start + i]


@kernel
@noalias
def transposed_jacobian(W, keep, by, out):
    """out (n, n) <- the Jacobian's transpose: row k has the slopes of all units by the last number of unit k"""
    n = keep.shape[0]
    for k in range(n):
        for i in range(n):
            out[k, i] = 0
        out[k, k] = keep[k]
        for start in range(0, by.shape[0], n):
            for i in range(n):
                out[k, i] += by[start + i] * W[k, start + i]


@kernel
@noalias
def push(W, keep, by, tangent, scratch, out):
    """out (n,) <- J tangent. scratch (G n,) is written."""
    n = keep.shape[0]
    for i in range(by.shape[0]):
        scratch[i] = 0
    for k in range(n):
        for i in range(by.shape[0]):
            scratch[i] += tangent[k] * W[k, i]
    for i in range(n):
        out[i] = keep[i] * tangent[i]
    for start in range(0, by.shape[0], n):
        for i in range(n):
            out[i] += by[start + i] * scratch[start + i]
