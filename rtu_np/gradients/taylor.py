"""Sensitivities corrected, to first order, for what parameters have moved since they were formed: RTRL(taylor=True).

RTRL is exact for fixed parameters. While they change, a sensitivity e is a sum of shares that were formed with earlier
parameters. Along the states that the cell has gone through, with e' = de/dp for the unit's own parameter p,

    e_t = J_t (e_{t-1} + e'_{t-1} dp) + F_t         dp = p_t - p_{t-1}                               derivations (96)

and e' has a recursion of its own, (97). It is zero for input weights, as e of a weight does not depend on that weight:
so only the two parameters of an eigenvalue are corrected, each for its own move, and the cost is O(n). What a move of
one parameter changes in the sensitivities to *another* is left out. The error of a corrected entry is of the order of
the square of its parameter's move; through the moves of other parameters, an error of first order remains.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.gradients.layers import by_layer, name_of
from rtu_np.jit import generic, kernel
from rtu_np.numerics.layout import layout_of
from rtu_np.protocol import PerUnit


@generic
def advance_derivatives(spec, params, memory, x_t):
    """`memory.derivatives` from e'_{t-1} to e'_t, after `move` of the cell. Registered by the cells that have them."""


@generic
def rescale_derivatives(spec, params, memory, factors):
    """`memory.derivatives` and `memory.last`, after `wrap` and before the cell's own `rescale`; in Python."""


@generic
def has_derivatives(spec):
    """Whether a cell with this spec has derivatives of its sensitivities. Missing: it has not."""


has_derivatives.otherwise(lambda spec: False)


def taylor_spec(cell_spec: Any) -> Any:
    """The spec of a memory with corrected sensitivities.

    TypeError : if a layer with a state is no RTU
    """
    return by_layer(cell_spec, _of_layer)


def _of_layer(cell: Any) -> "TaylorSpec":
    if not has_derivatives(cell):
        raise TypeError(
            f"gradient is RTRL(taylor=True) for {name_of(cell)}: expected LinearRTU or "
            "NonlinearRTU, whose sensitivities have derivatives here"
        )
    return TaylorSpec(cell.n_inputs, cell.n_hidden, cell.n_outputs, cell)


# ----------------------------------------------------------------------------------------------------------- types


class TaylorSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    cell: Any


class Derivatives(NamedTuple):
    """e' of the real and the imaginary part, for the two parameters a and b of an eigenvalue."""

    of_a1: PerUnit
    of_a2: PerUnit
    of_b1: PerUnit
    of_b2: PerUnit


class Last(NamedTuple):
    """What was there before the latest step."""

    a: PerUnit
    b: PerUnit
    c1: PerUnit
    c2: PerUnit
    dc1_da: PerUnit  # corrected
    dc2_da: PerUnit
    dc1_db: PerUnit
    dc2_db: PerUnit


@kernel
def _state(cell, flat):
    return cell.state, flat


@kernel
def _y(cell, flat):
    return cell.y, flat


class TaylorMemory(NamedTuple):
    cell: Annotated[Any, protocol.memory, "spec.cell"]
    state: Annotated[Any, _state, "cell"]  # takes no numbers
    y: Annotated[np.ndarray, _y, "cell"]  # takes no numbers
    derivatives: Annotated[Derivatives, kernel(layout_of(Derivatives))]
    last: Annotated[Last, kernel(layout_of(Last))]
    drive1: PerUnit  # scratch
    drive2: PerUnit


protocol.delegate(TaylorSpec)
protocol.memory.register(TaylorSpec)(layout_of(TaylorMemory))
protocol.without_sensitivities(TaylorSpec)  # PPO, which stores them, refuses this gradient


# --------------------------------------------------------------------------------------------------------- kernels


@protocol.move.register(TaylorSpec)
def move(spec, params, memory, x_t):
    _correct(spec, params, memory)
    protocol.move(spec.cell, params, memory.cell, x_t)
    advance_derivatives(spec.cell, params, memory, x_t)


@kernel
def _correct(spec, params, memory):
    """e <- e + e' dp; what the cell has now is noted for `advance_derivatives`."""
    (a, b), units, state = params.eigenvalue, memory.cell.units, memory.cell.state
    derivatives, last = memory.derivatives, memory.last
    for i in range(spec.n_hidden):
        # After a fresh start e' is zero, so the difference from `last`, which is zero as well, does not count.
        move_a, move_b = a[i] - last.a[i], b[i] - last.b[i]
        units.dc1_da[i] += derivatives.of_a1[i] * move_a
        units.dc2_da[i] += derivatives.of_a2[i] * move_a
        units.dc1_db[i] += derivatives.of_b1[i] * move_b
        units.dc2_db[i] += derivatives.of_b2[i] * move_b
        last.a[i] = a[i]
        last.b[i] = b[i]
        last.c1[i] = state.c1[i]
        last.c2[i] = state.c2[i]
        last.dc1_da[i] = units.dc1_da[i]
        last.dc2_da[i] = units.dc2_da[i]
        last.dc1_db[i] = units.dc1_db[i]
        last.dc2_db[i] = units.dc2_db[i]


@protocol.propagate.register(TaylorSpec)
def propagate(spec, memory):
    protocol.propagate(spec.cell, memory.cell)


@protocol.credit.register(TaylorSpec)
def credit(spec, params, memory, dy):
    protocol.credit(spec.cell, params, memory.cell, dy)


@protocol.accumulate.register(TaylorSpec)
def accumulate(spec, memory, decay, out):
    protocol.accumulate(spec.cell, memory.cell, decay, out)


@protocol.learn.register(TaylorSpec)
def learn(spec, params, traces, memory, decay, step):
    protocol.learn(spec.cell, params, traces, memory.cell, decay, step)


@protocol.input_gradient.register(TaylorSpec)
def input_gradient(spec, params, memory, dx):
    protocol.input_gradient(spec.cell, params, memory.cell, dx)


@protocol.rescale.register(TaylorSpec)
def rescale(spec, params, sensitivities, factors):
    rescale_derivatives(spec.cell, params, sensitivities, factors)
    protocol.rescale(spec.cell, params, sensitivities.cell, factors)


# ----------------------------------------------------------------------------------------------------------- costs


@generic
def derivative_flops(spec):
    """Operations of `advance_derivatives`."""


@protocol.flops.register(TaylorSpec)
def flops(spec):
    count = protocol.flops(spec.cell)
    return count._replace(move=count.move + 10 * spec.n_hidden + derivative_flops(spec.cell))
