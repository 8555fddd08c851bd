"""What complex diagonal cells hold: their parameters, state, sensitivities and scratch, and what their steps cost."""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np.cells.eigenvalues import EIGENVALUE_FLOPS, eigenvalue_parameters
from rtu_np.cells.input_scale import (
    Free,
    input_scale_parameters,
    input_scale_sensitivities,
    input_weights,
)
from rtu_np.jit import kernel
from rtu_np.numerics.buffers import aligned, packed, padded
from rtu_np.numerics.layout import layout_of
from rtu_np.protocol import PerOutput, PerUnit


class DiagonalParameters(NamedTuple):
    """Of `d` inputs and `n` units."""

    eigenvalue: Annotated[Any, eigenvalue_parameters, "spec.form", "spec.n_hidden"]  # two (n,), named by their form
    input_scale: Annotated[Any, input_scale_parameters, "spec.input_scale", "spec.n_hidden"]  # TiedScale or FreeScale
    weights: Annotated[Any, input_weights, "spec.input_scale", "spec.n_inputs", "spec.n_hidden"]  # two (d, n)


class DiagonalState(NamedTuple):
    c1: Annotated[np.ndarray, packed, "spec.n_hidden"]
    c2: Annotated[np.ndarray, packed, "spec.n_hidden"]


diagonal_parameters = kernel(layout_of(DiagonalParameters))
diagonal_state = kernel(layout_of(DiagonalState))


class DiagonalRecord(NamedTuple):
    state: Annotated[DiagonalState, diagonal_state, aligned]
    y: PerOutput
    drive1: PerUnit  # W1 x
    drive2: PerUnit  # W2 x


diagonal_record = kernel(layout_of(DiagonalRecord))
Padded = Annotated[np.ndarray, padded, "spec.n_hidden"]  # (n,), up to a whole vector


class Rotation(NamedTuple):
    """What `prepare_rotation` writes, and scratch, whose numbers mean something within one function alone."""

    g: Padded
    p: Padded
    gamma: Padded
    dlog_r: Padded  # d log r / da
    dtheta: Padded  # d theta / db
    dgamma: Padded  # d gamma / da
    scratch1: Padded
    scratch2: Padded
    scratch3: Padded


class UnitSensitivities(NamedTuple):
    """Of each unit to its own parameters, but for the weights; those to other units' are zero."""

    dc1_da: PerUnit
    dc2_da: PerUnit
    dc1_db: PerUnit
    dc2_db: PerUnit
    input_scale: Annotated[Any, input_scale_sensitivities, "spec.input_scale", "spec.n_hidden"]


diagonal_work = kernel(layout_of(Rotation))
unit_sensitivities = kernel(layout_of(UnitSensitivities))


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
