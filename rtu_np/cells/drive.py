"""The drive of units with two numbers of input each, W1 x and W2 x, and the gradient by weights and input.

`params.weights` are two matrices (d, n), whose rows may be padded. The cells whose recurrence is diagonal share this.
"""

from typing import NamedTuple

import numpy as np

from rtu_np.jit import generic, kernel, noalias
from rtu_np.numerics.buffers import clear, copy
from rtu_np.numerics.products import dot

_NEAR = 16384  # bytes of a matrix, so that two of them and their drives stay in the first cache


class GivenDrive(NamedTuple):
    """W1 x and W2 x, computed beforehand, in place of x. Reverse mode writes the gradients by them here."""

    drive1: np.ndarray
    drive2: np.ndarray


@generic
def drive(x_t, params, drive1, drive2):
    """drive1, drive2 <- W1 x, W2 x, or a `GivenDrive`."""


@drive.register(GivenDrive)
@noalias
def _given_drive(x_t, params, drive1, drive2):
    copy(x_t.drive1, drive1)
    copy(x_t.drive2, drive2)


@drive.otherwise
@noalias
def _drive(x_t, params, drive1, drive2):
    """The unit index is innermost: no reduction, so the loop vectorises."""
    W1, W2 = params.weights
    _drive_rows(W1, W2, x_t, W1.shape[0], drive1, drive2)


@kernel
@noalias
def drive_one(W, x_t, drive):
    """drive <- W x"""
    clear(drive)
    for j in range(W.shape[0]):
        x_j = x_t[j]
        for i in range(drive.shape[0]):
            drive[i] += W[j, i] * x_j


@generic
def drive_in_fours(x_t, params, drive1, drive2):
    """As `drive`, to the bit, but four rows read and write the drive once, if the matrices are in the first cache.

    From farther away, one row after the other comes faster.
    """


drive_in_fours.register(GivenDrive)(_given_drive)


@drive_in_fours.otherwise
@noalias
def _drive_in_fours(x_t, params, drive1, drive2):
    W1, W2 = params.weights
    d = W1.shape[0]
    first = d % 4 if W1.size * W1.itemsize <= _NEAR else d
    _drive_rows(W1, W2, x_t, first, drive1, drive2)
    for j in range(first, d, 4):
        x0, x1, x2, x3 = x_t[j], x_t[j + 1], x_t[j + 2], x_t[j + 3]
        for i in range(drive1.shape[0]):
            drive1[i] = drive1[i] + W1[j, i] * x0 + W1[j + 1, i] * x1 + W1[j + 2, i] * x2 + W1[j + 3, i] * x3
            drive2[i] = drive2[i] + W2[j, i] * x0 + W2[j + 1, i] * x1 + W2[j + 2, i] * x2 + W2[j + 3, i] * x3


@kernel
@noalias
def _drive_rows(W1, W2, x_t, n_rows, drive1, drive2):
    n = drive1.shape[0]
    for i in range(n):
        drive1[i] = 0
        drive2[i] = 0
    for j in range(n_rows):
        x_j = x_t[j]
        for i in range(n):
            drive1[i] += W1[j, i] * x_j
            drive2[i] += W2[j, i] * x_j


@generic
def drive_backward(x_t, spec, params, ddrive1, ddrive2, adjoint):
    """adjoint.params.weights <- theirs + the gradient; adjoint.x <- the gradient; with ddrive the gradient by W x

    Of a `GivenDrive`, x_t <- ddrive: whoever gave it does the rest.
    """


@drive_backward.register(GivenDrive)
@noalias
def _backward_to_given_drive(x_t, spec, params, ddrive1, ddrive2, adjoint):
    copy(ddrive1[: spec.n_hidden], x_t.drive1)
    copy(ddrive2[: spec.n_hidden], x_t.drive2)


@drive_backward.otherwise
@noalias
def _drive_backward(x_t, spec, params, ddrive1, ddrive2, adjoint):
    dW1, dW2 = adjoint.params.weights
    for j in range(spec.n_inputs):
        x_j = x_t[j]
        for i in range(spec.n_hidden):
            dW1[j, i] += ddrive1[i] * x_j
            dW2[j, i] += ddrive2[i] * x_j
    input_gradient_of(spec, params, ddrive1, ddrive2, adjoint.x)


@kernel
@noalias
def input_gradient_of(spec, params, ddrive1, ddrive2, dx):
    """dx <- W1 ddrive1 + W2 ddrive2, with ddrive the gradient by W x"""
    (W1, W2), n = params.weights, spec.n_hidden
    for j in range(dx.shape[0]):
        dx[j] = dot(W1[j][:n], ddrive1) + dot(W2[j][:n], ddrive2)


@kernel
@noalias
def add_input_gradient_of_one(W, ddrive, dx):
    """dx <- dx + W ddrive, with ddrive the gradient by W x"""
    for j in range(dx.shape[0]):
        dx[j] += dot(W[j][: ddrive.shape[0]], ddrive)
