"""Sensitivities of each unit to the parameters that act directly on it, through that unit's own past: SnAp-1 and RFLO.

A *unit* of n is one number of the state, or a pair of numbers in cells with complex units. With J_ii = dh_i,t/dh_i,t-1,
a number or a 2 x 2 block, and F = dh_t/dparameters through this step alone, each parameter p of unit i has

    e_t = J_ii e_{t-1} + F_t[i, p]        dL/dp = (dL/dh_i,t) e_t                                    derivations (93)

That is SnAp-1 (Menick et al. 2021). What other units remember of p is left out, so it is exact if no unit sees another,
and an approximation in a dense cell. RFLO (Murray 2019) leaves out more: in place of J_ii it has what a leak keeps,
derivations (94). Memory and time grow with the parameters, as those of the forward pass.

Reverse mode with dL/dh = 1 for all units gives all F at once, since a parameter acts directly on one unit.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.gradients.layers import by_layer, name_of, step_cell
from rtu_np.gradients.own_number import LeakAlone, OwnNumber, own_number_spec
from rtu_np.gradients.recurrent_slopes import advance_directly
from rtu_np.gradients.stored_gradient import prepare_again, register_stored_gradient
from rtu_np.jit import generic, kernel
from rtu_np.numerics.buffers import aligned, assign, clear, copy, count_numbers, overlapping, size
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.units import add_scaled_units
from rtu_np.protocol import PerInput, PerOutput

# ------------------------------------------------------------------------------------------------------ which cells


@generic
def sees_no_other(spec):
    """Registered for cells in which no unit sees another, and each parameter acts directly on one unit alone.

    The state is k arrays (n,), for units of k numbers; the columns of each array of parameters belong to the units.
    """


@dataclass(frozen=True)
class SnAp1:
    """Sensitivities through each unit's own past (SnAp-1, Menick et al. 2021; derivations (93)), approximate.

    For VanillaRNN and GRU it leaves out what other units remember. In cells whose units see no other, RTUs, LRU,
    MinGRU, ELSTM and those of from_step(elementwise=True), a unit of two numbers counts as one, so nothing is left out:
    it equals RTRL(), which is faster.

    Raises
    ------
    TypeError : when a learner or layer is made, if the cell is of another kind

    Examples
    --------
    >>> from rtu_np import GRU, RTRL, TBPTT, flops
    >>> [round(flops(GRU(64), 64, method) / flops(GRU(64), 64, TBPTT(1)), 1) for method in (SnAp1(), RTRL())]
    [1.0, 1041.5]
    """

    def spec(self, cell_spec: Any, dtype: Any) -> Any:
        """The spec whose memory carries this gradient."""
        return by_layer(cell_spec, self._of_layer)

    def _of_layer(self, cell_spec: Any) -> Any:
        if type(cell_spec) in advance_directly.table:
            return own_number_spec(cell_spec, OwnNumber())
        if type(cell_spec) in sees_no_other.table:
            return _spec(cell_spec)
        raise TypeError(
            f"gradient is SnAp1() for {name_of(cell_spec)}: expected VanillaRNN, GRU, or a "
            "cell whose units see no other, as LinearRTU; does its own RTRL() do, or TBPTT(T)?"
        )


@dataclass(frozen=True)
class RFLO:
    """Sensitivities through the leak alone, for `VanillaRNN(leak=a)` (Murray 2019; derivations (94)), approximate.

    Murray's rule has random feedback from the output to the units; here the readout's own weights are the feedback.

    Raises
    ------
    TypeError : when a learner or layer is made, if the cell is another one
    ValueError : likewise, if its leak is 1: no unit then keeps anything, and what remains is TBPTT(1)

    Examples
    --------
    >>> from rtu_np import TBPTT, VanillaRNN, flops
    >>> cell = VanillaRNN(64, leak=0.1)
    >>> round(flops(cell, 64, RFLO()) / flops(cell, 64, TBPTT(1)), 1)
    1.0
    """

    def spec(self, cell_spec: Any, dtype: Any) -> Any:
        """The spec whose memory carries this gradient."""
        return by_layer(cell_spec, self._of_layer)

    def _of_layer(self, cell_spec: Any) -> Any:
        name = name_of(cell_spec)
        if name == "VanillaRNN":
            raise ValueError(
                "gradient is RFLO() for VanillaRNN with leak 1.0: expected a leak below 1, VanillaRNN(16, leak=0.1); "
                "without a leak no unit keeps anything, and RFLO is TBPTT(1)"
            )
        if not (hasattr(cell_spec, "leak") and type(cell_spec) in advance_directly.table):
            raise TypeError(
                f"gradient is RFLO() for {name}: expected VanillaRNN(n, leak=a), for which it is defined; SnAp1() and "
                "UORO() are for other dense cells"
            )
        return own_number_spec(cell_spec, LeakAlone())


# ----------------------------------------------------------------------------------------------------------- types


class OwnPastSpec(NamedTuple):
    """Of a cell in which no unit sees another; `rtu_np.gradients.own_number` has that of a dense cell."""

    n_inputs: int
    n_hidden: int
    n_outputs: int
    cell: Any
    n_numbers: int  # of the state of one unit
    n_params: int


def _spec(cell: Any) -> OwnPastSpec:
    n_params, n_numbers = size(protocol.parameters, cell), size(protocol.state, cell) // cell.n_hidden
    return OwnPastSpec(cell.n_inputs, cell.n_hidden, cell.n_outputs, cell, n_numbers, n_params)


protocol.delegate(OwnPastSpec)
protocol.without_sensitivities(OwnPastSpec)  # PPO, which stores them, refuses these gradients

PerState = Annotated[np.ndarray, "spec.n_numbers * spec.n_hidden"]
PerParameter = Annotated[np.ndarray, "spec.n_numbers", "spec.n_params"]


class OwnPastMemory(NamedTuple):
    state: Annotated[Any, protocol.state, "spec.cell"]
    flat_state: Annotated[np.ndarray, aligned]
    flat_state_tm1: PerState
    y: PerOutput
    S: PerParameter  # e_{t-1}: row a has the sensitivities of the number a of each unit
    F: PerParameter  # of the latest step
    J: Annotated[np.ndarray, "spec.n_numbers ** 2", "spec.n_hidden"]  # of the latest step: row k a + b is dh_a/dh_b
    x: PerInput
    flat_state_t: Annotated[np.ndarray, overlapping, "spec.n_numbers * spec.n_hidden"]  # that of `record.state`
    record: Annotated[Any, protocol.record, "spec.cell"]
    work: Annotated[Any, protocol.work, "spec.cell"]
    gradient: Annotated[np.ndarray, "spec.n_params"]  # of the latest `credit`
    dstate: PerState
    dx: PerInput
    no_dy: PerOutput  # zeros


protocol.memory.register(OwnPastSpec)(layout_of(OwnPastMemory))


# --------------------------------------------------------------------------------------------------------- kernels


@kernel
def _views(spec, flat):
    return protocol.parameters(spec.cell, flat)[0]


@kernel
def _backward(spec, params, memory, dy, gradient, dx):
    """The latest step's reverse mode, from memory.dstate."""
    cell = spec.cell
    state_tm1, _ = protocol.state(cell, memory.flat_state_tm1)
    adjoint = protocol.Adjoint(protocol.state(cell, memory.dstate)[0], _views(spec, gradient), dx)
    protocol.backward(cell, params, memory.work, state_tm1, memory.x, memory.record, dy, adjoint)


@protocol.move.register(OwnPastSpec)
def move(spec, params, memory, x_t):
    """The step, with its J_ii and F. S advances to the step *before*; `credit` adds the share of the present step."""
    k, n = spec.n_numbers, spec.n_hidden
    for a in range(k):
        for b in range(k):
            add_scaled_units(_views(spec, memory.F[a]), _views(spec, memory.S[b]), memory.J[k * a + b])
    for a in range(k):
        copy(memory.F[a], memory.S[a])
    step_cell(spec.cell, params, memory, x_t)
    for a in range(k):
        clear(memory.F[a])
        clear(memory.dstate)
        for i in range(a * n, a * n + n):
            memory.dstate[i] = 1
        _backward(spec, params, memory, memory.no_dy, memory.F[a], memory.dx[:0])
        for b in range(k):
            copy(memory.dstate[b * n : b * n + n], memory.J[k * a + b])


@protocol.credit.register(OwnPastSpec)
def credit(spec, params, memory, dy):
    n = spec.n_hidden
    clear(memory.dstate)
    clear(memory.gradient)
    _backward(spec, params, memory, dy, memory.gradient, memory.dx)
    for a in range(spec.n_numbers):
        dstate = memory.dstate[a * n : a * n + n]
        add_scaled_units(_views(spec, memory.gradient), _views(spec, memory.S[a]), dstate)


register_stored_gradient(OwnPastSpec)


@protocol.rescale.register(OwnPastSpec)
def rescale(spec, params, sensitivities, factors):
    flat = np.ones(spec.n_params)
    assign(protocol.parameters(spec.cell, flat)[0], factors)
    sensitivities.S[:] *= flat
    sensitivities.F[:] *= flat  # the share of the latest step, which S does not have yet
    prepare_again(spec, params, sensitivities)


# ----------------------------------------------------------------------------------------------------------- costs


@protocol.flops.register(OwnPastSpec)
def flops(spec):
    """Operations of a layer with this gradient. A parameter of the state takes part in k^2 products at each step."""
    count, m = protocol.flops(spec.cell), count_numbers(protocol.parameters, spec.cell)
    k = spec.n_numbers
    return count._replace(
        move=count.prepare + count.forward + k * (count.backward - count.output_backward) + 2 * k * k * m,
        propagate=0,
        credit=count.backward + count.dx + 2 * k * m,
        accumulate=2 * m,
        input_gradient=0,
    )
