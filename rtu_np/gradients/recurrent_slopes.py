"""How the state of a dense cell depends on its last state: what RTRL and its approximations need beyond reverse mode.

A dense cell with state h (n,), output y = h and recurrent weights W (n, G n), one block of n columns for each of G
gates, has the Jacobian (derivations (91))

    dh_t[i] / dh_{t-1}[k] = (keep[i] if i = k) + sum over g of by[g n + i] W[k, g n + i]

`keep` is what a unit keeps of its own number, by a leak or a gate; `by` is the slope by what enters each gate. A cell
registers `recurrent_slopes`, and these gradients apply to it. Each parameter must act directly on one unit alone, that
of its last axis, which has n numbers or 2n, 3n, ... (`rtu_np.numerics.units`).
"""

from rtu_np.jit import generic, kernel, noalias
from rtu_np.numerics.buffers import copy


@generic
def recurrent_slopes(spec, state_tm1, record, keep, by):
    """keep (n,) and by (G n,) of the step in `record` are written."""


@generic
def slope_flops(spec):
    """Operations of `recurrent_slopes`."""


@generic
def input_slopes(spec, record, by, by_input):
    """by_input (G n,) <- the slope by what enters each gate from the input: `by`, if a cell registers nothing."""


@input_slopes.otherwise
@kernel
def _as_of_the_state(spec, record, by, by_input):
    copy(by, by_input)


@generic
def input_slope_flops(spec):
    """Operations of `input_slopes`."""


input_slope_flops.otherwise(lambda spec: 0)


@generic
def advance_directly(spec, J, by_input, by, x, state_tm1, S):
    """S, in the views of the parameters, <- J S + F, each unit with its J: what a parameter does to its own unit."""


@kernel
def advance_rows(J, by, x, S):
    """S (d, G n) <- J S + x by^T"""
    n = J.shape[0]
    for j in range(x.shape[0]):
        for start in range(0, by.shape[0], n):
            _advance_row(J, by[start : start + n], x[j], S[j, start : start + n])


@kernel
@noalias
def _advance_row(J, by, x, row):
    for i in range(J.shape[0]):
        row[i] = J[i] * row[i] + x * by[i]


@kernel
def advance_biases(J, by, S):
    """S (G n,) <- J S + by"""
    n = J.shape[0]
    for start in range(0, by.shape[0], n):
        _advance_bias(J, by[start : start + n], S[start : start + n])


@kernel
@noalias
def _advance_bias(J, by, row):
    for i in range(J.shape[0]):
        row[i] = J[i] * row[i] + by[i]


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
