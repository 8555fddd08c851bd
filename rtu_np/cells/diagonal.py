"""Arrays of complex diagonal cells: parameters, state, sensitivities and scratch. Also the costs of a step."""

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
from rtu_np.numerics.buffers import aligned, packed, padded, padded_rows
from rtu_np.numerics.layout import layout_of
from rtu_np.protocol import PerOutput, PerUnit

# What kernels go through unit by unit is padded, so that loops have no remainder. A unit of the padding is dead: its
# weights, its state and what credits it are zero, so all its gradients are zero.
Padded = Annotated[np.ndarray, padded, "spec.n_hidden"]  # (n,)
PaddedRows = Annotated[np.ndarray, padded_rows, "spec.n_inputs", "spec.n_hidden"]  # (d, n)


class DiagonalParameters(NamedTuple):
    """Parameters of `n` units with `d` inputs."""

    eigenvalue: Annotated[Any, eigenvalue_parameters, "spec.form", "spec.n_hidden"]  # two arrays (n,), named by `form`
    input_scale: Annotated[Any, input_scale_parameters, "spec.input_scale", "spec.n_hidden"]  # TiedScale or FreeScale
    weights: Annotated[Any, input_weights, "spec.input_scale", "spec.n_inputs", "spec.n_hidden"]  # two arrays (d, n)


class DiagonalState(NamedTuple):
    c1: Annotated[np.ndarray, packed, "spec.n_hidden"]
    c2: Annotated[np.ndarray, packed, "spec.n_hidden"]


diagonal_parameters = kernel(layout_of(DiagonalParameters))
diagonal_state = kernel(layout_of(DiagonalState))


@kernel
def padded_state(spec, flat):
    """Layout of the state in the memory of RTRL, whose kernels need no flat state."""
    c1, flat = padded(flat, spec.n_hidden)
    c2, flat = padded(flat, spec.n_hidden)
    return DiagonalState(c1, c2), flat


class DiagonalRecord(NamedTuple):
    state: Annotated[DiagonalState, diagonal_state, aligned]
    y: PerOutput
    drive1: PerUnit  # W1 x
    drive2: PerUnit  # W2 x


diagonal_record = kernel(layout_of(DiagonalRecord))


class Rotation(NamedTuple):
    """Results of `prepare_rotation`, and scratch. Numbers in scratch are valid within one function only."""

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
    """Sensitivities of each unit to its own parameters except weights. Those to parameters of other units are zero."""

    dc1_da: Padded
    dc2_da: Padded
    dc1_db: Padded
    dc2_db: Padded
    input_scale: Annotated[Any, input_scale_sensitivities, "spec.input_scale", "spec.n_hidden"]


diagonal_work = kernel(layout_of(Rotation))
unit_sensitivities = kernel(layout_of(UnitSensitivities))


# ----------------------------------------------------------------------------------------------------------- costs


class DiagonalFlops(NamedTuple):
    """Operations of the functions that diagonal cells share."""

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
