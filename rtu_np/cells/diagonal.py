"""What complex diagonal cells hold: their parameters, state, sensitivities and scratch, and what their steps cost."""

from typing import Any, NamedTuple

import numpy as np

from rtu_np.cells.eigenvalues import EIGENVALUE_FLOPS, eigenvalue_parameters
from rtu_np.cells.input_scale import Free, input_scale_and_weights, input_scale_sensitivities
from rtu_np.jit import kernel
from rtu_np.numerics.buffers import aligned, packed, padded, vector


class DiagonalParameters(NamedTuple):
    """Of `d` inputs and `n` units."""

    eigenvalue: Any  # two (n,), named by their form
    input_scale: Any  # TiedScale or FreeScale
    weights: Any  # RTUWeights or LRUWeights


@kernel
def diagonal_parameters(spec, flat):
    eigenvalue, flat = eigenvalue_parameters(spec.form, spec.n_hidden, flat)
    input_scale, weights, flat = input_scale_and_weights(spec.input_scale, spec.n_inputs, spec.n_hidden, flat)
    return DiagonalParameters(eigenvalue, input_scale, weights), flat


class DiagonalState(NamedTuple):
    c1: np.ndarray  # (n,)
    c2: np.ndarray  # (n,)


@kernel
def diagonal_state(spec, flat):
    c1, flat = packed(flat, spec.n_hidden)
    c2, flat = packed(flat, spec.n_hidden)
    return DiagonalState(c1, c2), flat


class DiagonalRecord(NamedTuple):
    state: DiagonalState
    y: np.ndarray  # (2n,)
    drive1: np.ndarray  # (n,)   W1 x
    drive2: np.ndarray  # (n,)   W2 x


@kernel
def diagonal_record(spec, flat):
    state, rest = diagonal_state(spec, flat)
    _, flat = aligned(flat, rest)
    y, flat = vector(flat, spec.n_outputs)
    drive1, flat = vector(flat, spec.n_hidden)
    drive2, flat = vector(flat, spec.n_hidden)
    return DiagonalRecord(state, y, drive1, drive2), flat


class Rotation(NamedTuple):
    """What `prepare_rotation` writes, and scratch, whose numbers mean something within one function alone.

    All are padded to whole vectors.
    """

    g: np.ndarray  # (n,)
    p: np.ndarray  # (n,)
    gamma: np.ndarray  # (n,)
    dlog_r: np.ndarray  # (n,)   d log r / da
    dtheta: np.ndarray  # (n,)   d theta / db
    dgamma: np.ndarray  # (n,)   d gamma / da
    scratch1: np.ndarray  # (n,)
    scratch2: np.ndarray  # (n,)
    scratch3: np.ndarray  # (n,)


@kernel
def diagonal_work(spec, flat):
    g, flat = padded(flat, spec.n_hidden)
    p, flat = padded(flat, spec.n_hidden)
    gamma, flat = padded(flat, spec.n_hidden)
    dlog_r, flat = padded(flat, spec.n_hidden)
    dtheta, flat = padded(flat, spec.n_hidden)
    dgamma, flat = padded(flat, spec.n_hidden)
    scratch1, flat = padded(flat, spec.n_hidden)
    scratch2, flat = padded(flat, spec.n_hidden)
    scratch3, flat = padded(flat, spec.n_hidden)
    return Rotation(g, p, gamma, dlog_r, dtheta, dgamma, scratch1, scratch2, scratch3), flat


class UnitSensitivities(NamedTuple):
    """Of each unit to its own parameters, but for the weights; those to other units' are zero."""

    dc1_da: np.ndarray  # (n,)
    dc2_da: np.ndarray  # (n,)
    dc1_db: np.ndarray  # (n,)
    dc2_db: np.ndarray  # (n,)
    input_scale: Any  # TiedScale or FreeScaleSensitivities


@kernel
def unit_sensitivities(spec, flat):
    dc1_da, flat = vector(flat, spec.n_hidden)
    dc2_da, flat = vector(flat, spec.n_hidden)
    dc1_db, flat = vector(flat, spec.n_hidden)
    dc2_db, flat = vector(flat, spec.n_hidden)
    input_scale, flat = input_scale_sensitivities(spec.input_scale, spec.n_hidden, flat)
    return UnitSensitivities(dc1_da, dc2_da, dc1_db, dc2_db, input_scale), flat


# ----------------------------------------------------------------------------------------------------------- costs


class DiagonalFlops(NamedTuple):
    """Operations of what the diagonal cells share."""

    prepare: int
    drive: int
    rotate: int
    move: int
    units: int
    backward: int
    dx: int


def diagonal_flops(spec: Any) -> DiagonalFlops:
    n, d, free = spec.n_hidden, spec.n_inputs, isinstance(spec.input_scale, Free)
    return DiagonalFlops(
        prepare=n * (EIGENVALUE_FLOPS[type(spec.form)] + (2 if free else 4) + 4),
        drive=4 * n * d,
        rotate=10 * n,
        move=n * (34 + 10 * free),
        units=n * (10 + 5 * free),
        backward=n * (29 + 2 * free) + 4 * n * d,
        dx=d * (4 * n + 1),
    )
