"""The body of PPO's network: forward and backward through several sequences of T steps, which are rows of matrices.

Where one step at a time reads all weights and a gradient of their size, several steps read them once. A stack goes
through all rows of its lower layer first. A layer goes from step to step, as its state does, with `protocol.forward`
and `protocol.backward` as they are. If it sees its input through a drive alone (`rtu_np.cells.drive`), the drives of
all rows are computed beforehand, and the gradient by weights and input from those of the drives afterwards: to the bit
what the steps would do one by one. Such a cell calls `register_driven`. All others need nothing.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.drive import GivenDrive, input_gradient_of
from rtu_np.cells.rows import RowsAdjoint
from rtu_np.cells.stack import StackSpec
from rtu_np.jit import generic, kernel
from rtu_np.numerics.buffers import clear, copy
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.tiles import add_product_of


class Sequences(NamedTuple):
    """What the layers of a body share. Row k of T q to T q + T - 1 is a step of sequence q."""

    length: int  # T
    starts: np.ndarray  # (rows,): not 0 if the state is zero before the step
    states: np.ndarray  # (rows, n_state): before the step; of the first step of a sequence, given
    dstates: np.ndarray  # (sequences, n_state): dL/dstate before the sequence, written by `backward_sequences`
    offset: int  # where the layer's numbers begin in a row of states and dstates


@generic(inline=False)
def sequence_rows(spec, rows, flat):
    """Layout of what a layer writes for `rows` steps."""


@generic
def forward_sequences(spec, params, work, rows, sequences, x, y):
    """The layer's steps. x : (rows, n_inputs). y : (rows, n_outputs), written. rows : of `sequence_rows`, written"""


@generic
def backward_sequences(spec, params, work, rows, sequences, x, dy, adjoint):
    """Reverse mode through these steps. dy : (rows, n_outputs)

    adjoint : a `RowsAdjoint` whose x is written, not added to; its rows are empty if no dL/dx is needed
    """


# ---------------------------------------------------------------------------------------------------------- a layer


class NoDrives(NamedTuple):
    pass


class Drives(NamedTuple):
    """W1 x and W2 x of all rows, and then the gradients by these."""

    drive1: Annotated[np.ndarray, "rows", "spec.n_hidden"]
    drive2: Annotated[np.ndarray, "rows", "spec.n_hidden"]


@generic(inline=False)
def drives_of(spec, rows, flat):
    """Layout of the drives, if the layer sees its input through them alone."""


_drives = layout_of(Drives, "spec", "rows")
drives_of.otherwise(layout_of(NoDrives, "spec", "rows"))


class LayerRows(NamedTuple):
    records: Annotated[np.ndarray, "rows", "n_record"]  # each of `protocol.record`
    drives: Annotated[Any, drives_of, "spec", "rows"]


def register_driven(kind: type) -> None:
    """Cells of this type see their input through `drive` and `drive_backward` alone."""
    drives_of.register(kind)(_drives)


_layer_rows = kernel(layout_of(LayerRows, "spec", "rows", "n_record"))


@sequence_rows.otherwise
def _rows_of_layer(spec, rows, flat):
    return _layer_rows(spec, rows, flat.shape[0] - protocol.record(spec, flat)[1].shape[0], flat)


@kernel
def _end_of_state(spec, sequences):
    """Where the numbers of the layers above begin in a row of states."""
    flat = sequences.states[0][sequences.offset :]
    return sequences.states.shape[1] - protocol.state(spec, flat)[1].shape[0]


@forward_sequences.otherwise
def _forward_layer(spec, params, work, rows, sequences, x, y):
    start, stop = sequences.offset, _end_of_state(spec, sequences)
    _project(rows.drives, params, x)
    for row in range(x.shape[0]):
        flat = sequences.states[row][start:stop]
        if row % sequences.length != 0:
            if sequences.starts[row] != 0:
                clear(flat)
            else:
                copy(rows.records[row - 1][: stop - start], flat)
        state_tm1, _ = protocol.state(spec, flat)
        record, _ = protocol.record(spec, rows.records[row])
        protocol.forward(spec, params, work, state_tm1, _input_of(rows.drives, x[row], row), record)
        copy(record.y, y[row])


@backward_sequences.otherwise
def _backward_layer(spec, params, work, rows, sequences, x, dy, adjoint):
    T, start, stop = sequences.length, sequences.offset, _end_of_state(spec, sequences)
    for first in range(0, x.shape[0], T):
        flat = sequences.dstates[first // T][start:stop]
        clear(flat)
        dstate, _ = protocol.state(spec, flat)
        for row in range(first + T - 1, first - 1, -1):
            state_tm1, _ = protocol.state(spec, sequences.states[row][start:stop])
            record, _ = protocol.record(spec, rows.records[row])
            back = protocol.Adjoint(dstate, adjoint.params, adjoint.x[row])
            x_t = _input_of(rows.drives, x[row], row)
            protocol.backward(spec, params, work, state_tm1, x_t, record, dy[row], back)
            if sequences.starts[row] != 0:
                clear(flat)
    _back_through_drives(rows.drives, spec, params, T, x, adjoint)


@generic
def _project(drives, params, x):
    """drives <- W1 x and W2 x of all rows"""


@_project.register(NoDrives)
def _project_nothing(drives, params, x):
    pass


@_project.register(Drives)
def _project_rows(drives, params, x):
    (W1, W2), n = params.weights, x.shape[0]
    for row in range(n):
        clear(drives.drive1[row])
        clear(drives.drive2[row])
    add_product_of(x, W1, drives.drive1[:n], 0)
    add_product_of(x, W2, drives.drive2[:n], 0)


@generic
def _input_of(drives, x_t, row):
    """The input of one step: itself, or its drives."""


@_input_of.register(NoDrives)
def _input_itself(drives, x_t, row):
    return x_t


@_input_of.register(Drives)
def _drives_of_input(drives, x_t, row):
    return GivenDrive(drives.drive1[row], drives.drive2[row])


@generic
def _back_through_drives(drives, spec, params, T, x, adjoint):
    """The gradient by weights is added, that by x is written, from the gradients by the drives."""


@_back_through_drives.register(NoDrives)
def _nothing_left(drives, spec, params, T, x, adjoint):
    pass


@_back_through_drives.register(Drives)
def _drives_backward(drives, spec, params, T, x, adjoint):
    (dW1, dW2), n = adjoint.params.weights, x.shape[0]
    if T == 1:
        add_product_of(x.T, drives.drive1[:n], dW1, 0)
        add_product_of(x.T, drives.drive2[:n], dW2, 0)
    else:  # the last step of each sequence first, as the steps went
        for first in range(0, n, T):
            x_back = x[first : first + T][::-1].T
            add_product_of(x_back, drives.drive1[first : first + T][::-1], dW1, 0)
            add_product_of(x_back, drives.drive2[first : first + T][::-1], dW2, 0)
    for row in range(n):
        input_gradient_of(spec, params, drives.drive1[row], drives.drive2[row], adjoint.x[row])


# ---------------------------------------------------------------------------------------------------------- a stack


class StackRows(NamedTuple):
    lower: Annotated[Any, sequence_rows, "spec.lower", "rows"]
    upper: Annotated[Any, sequence_rows, "spec.upper", "rows"]
    between: Annotated[np.ndarray, "rows", "spec.upper.n_inputs"]
    dbetween: Annotated[np.ndarray, "rows", "spec.upper.n_inputs"]


sequence_rows.register(StackSpec)(layout_of(StackRows, "spec", "rows"))


@kernel
def _above(spec, sequences):
    s = sequences
    return Sequences(s.length, s.starts, s.states, s.dstates, _end_of_state(spec.lower, s))


@forward_sequences.register(StackSpec)
def _forward_stack(spec, params, work, rows, sequences, x, y):
    between = rows.between[: x.shape[0]]
    forward_sequences(spec.lower, params.lower, work.lower, rows.lower, sequences, x, between)
    forward_sequences(spec.upper, params.upper, work.upper, rows.upper, _above(spec, sequences), between, y)


@backward_sequences.register(StackSpec)
def _backward_stack(spec, params, work, rows, sequences, x, dy, adjoint):
    n, above = x.shape[0], _above(spec, sequences)
    between, dbetween = rows.between[:n], rows.dbetween[:n]
    through = RowsAdjoint(adjoint.params.upper, dbetween, adjoint.scratch)
    backward_sequences(spec.upper, params.upper, work.upper, rows.upper, above, between, dy, through)
    below = RowsAdjoint(adjoint.params.lower, adjoint.x, adjoint.scratch)
    backward_sequences(spec.lower, params.lower, work.lower, rows.lower, sequences, x, dbetween, below)
