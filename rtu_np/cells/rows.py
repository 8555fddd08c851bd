"""What a cell may add to the protocol for learning from several transitions at once, as PPO does.

Where one transition at a time reads all weights for each of its products, several transitions read them once
(`rtu_np.numerics.products`). A cell that adds nothing here goes from one transition to the next.

forward_rows, backward_rows   a layer without a state, for transitions in rows. Records are those of `protocol.record`
accumulate_four               the gradient through the stored sensitivities of four transitions
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.dense import DenseSpec
from rtu_np.jit import generic, noalias
from rtu_np.numerics.activations import activate, slope
from rtu_np.numerics.buffers import copy
from rtu_np.numerics.products import add_outers, add_products, transpose


@generic
def forward_rows(spec, params, work, x, records):
    """The layer's step for each row of x (n, n_inputs). `records` (n, ...) and `work` are written."""


@forward_rows.otherwise
def _forward_row_by_row(spec, params, work, x, records):
    for k in range(x.shape[0]):
        record, _ = protocol.record(spec, records[k])
        protocol.forward(spec, params, work, protocol.state(spec, records[k])[0], x[k], record)


@forward_rows.register(DenseSpec)
@noalias
def _dense_forward_rows(spec, params, work, x, records):
    for k in range(x.shape[0]):
        copy(params.b, records[k])  # the record begins with y
    add_products(x, params.W, records)
    for k in range(x.shape[0]):
        for i in range(spec.n_outputs):
            records[k, i] = activate(spec.activation, records[k, i])


class RowsAdjoint(NamedTuple):
    """The arrays that reverse mode writes."""

    params: Any  # the gradient of all rows is added
    x: np.ndarray  # (n, n_inputs): dL/dx is added
    scratch: np.ndarray  # at least n_inputs n_outputs numbers


@generic
def backward_rows(spec, params, work, x, records, dy, adjoint):
    """One step of reverse mode for each row of x (n, n_inputs).

    dy : (n, n_outputs), scratch afterwards
    adjoint : a `RowsAdjoint`
    work : its scratch is written
    """


@backward_rows.otherwise
def _backward_row_by_row(spec, params, work, x, records, dy, adjoint):
    dx = adjoint.scratch[: spec.n_inputs]
    for k in range(x.shape[0]):
        record, _ = protocol.record(spec, records[k])
        state, _ = protocol.state(spec, records[k])
        back = protocol.Adjoint(state, adjoint.params, dx)
        protocol.backward(spec, params, work, state, x[k], record, dy[k], back)
        for j in range(spec.n_inputs):
            adjoint.x[k, j] += dx[j]


@backward_rows.register(DenseSpec)
@noalias
def _dense_backward_rows(spec, params, work, x, records, dy, adjoint):
    for k in range(x.shape[0]):
        for i in range(spec.n_outputs):
            dy[k, i] *= slope(spec.activation, records[k, i])
            adjoint.params.b[i] += dy[k, i]
    add_outers(x, dy, adjoint.params.W)
    transposed = adjoint.scratch[: params.W.size].reshape(spec.n_outputs, spec.n_inputs)
    transpose(params.W, transposed)
    add_products(dy, transposed, adjoint.x)


@generic
def accumulate_four(spec, stored, dstates, out):
    """`protocol.accumulate_stored` for four transitions, in one pass over `out`. `stored`, `dstates` : four of each"""


@accumulate_four.otherwise
def _one_by_one(spec, stored, dstates, out):
    protocol.accumulate_stored(spec, stored[0], dstates[0], out)
    protocol.accumulate_stored(spec, stored[1], dstates[1], out)
    protocol.accumulate_stored(spec, stored[2], dstates[2], out)
    protocol.accumulate_stored(spec, stored[3], dstates[3], out)
