"""Real-time recurrent learning: sensitivities carried forward with the state, exact for fixed parameters.

Cells with a diagonal recurrence have sensitivities of their own; of two layers of them, RTRL(exact=True) also carries
the way from one to the other (`rtu_np.cells.two_layers`). Other cells get *full RTRL* (derivations (28);
Williams & Zipser 1989), and RTRL(dense=True) uses it for any cell. With the state h of n numbers and all m parameters,

    S_t = J_t S_{t-1} + F_t        J = dh_t/dh_{t-1} (n, n),  F = dh_t/dparameters, through this step alone (n, m)
    dL/dparameters = (dL/dh_{t-1}) S_{t-1} + dL/dparameters through this step alone

One step of the cell's reverse mode gives one row of J and one row of F, so a cell needs only `forward` and `backward`.
A step costs n^2 m products, and the memory holds 2 n m numbers for S and F: suitable for small n. A dense cell that
registers `rtu_np.gradients.recurrent_slopes` has J from these, and each of its parameters acts directly on one unit
alone: then F has one number in each column, and one step of reverse mode gives all of them.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.checkpoint import added, shown
from rtu_np.gradients.layers import step_cell
from rtu_np.gradients.recurrent_slopes import recurrent_slopes, slope_flops, transposed_jacobian
from rtu_np.gradients.stored_gradient import prepare_again, register_stored_gradient
from rtu_np.gradients.taylor import taylor_spec
from rtu_np.jit import generic, kernel, like, noalias
from rtu_np.numerics.buffers import add_scaled, aligned, allocate, assign, clear, copy, count_numbers, overlapping, size
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.products import PANEL, add_four_rows, add_product, transpose
from rtu_np.numerics.units import assign_units
from rtu_np.protocol import PerInput, PerOutput
from rtu_np.validation import check_fits, check_flag, make_plain


@dataclass(frozen=True)
class RTRL:
    """Exact RTRL (Williams & Zipser 1989; Elelimy et al. 2024, Sec. 3.3; derivations (11), (28)).

    A cell with sensitivities of its own uses them. Any other cell gets full RTRL, S <- J S + F.

    Parameters
    ----------
    dense : whether to use full RTRL also for a cell with sensitivities of its own. Those of a `Stack` are layer-local,
        and therefore approximate; full RTRL is exact
    exact : whether a `Stack` gets the exact gradient from sensitivities of its own, which then also carry the way
        through the upper layer's memory (derivations (98)-(102)). For two layers of `LinearRTU` or `NonlinearRTU`, with
        any layers without a state above them. The cost grows with (units above) x (parameters below)
    taylor : whether sensitivities are corrected, to first order, for what the parameters have moved since; for
        LinearRTU and NonlinearRTU (`rtu_np.gradients.taylor`; derivations (96))

    Raises
    ------
    TypeError : if one of them is not a bool; when a learner or layer is made, if exact is asked of a `Stack` of other
        layers, or taylor of another cell
    ValueError : if more than one is true
    MemoryError : when a learner or layer is made, if full RTRL does not fit this machine; with the number of bytes

    Examples
    --------
    >>> from rtu_np import LinearRTU
    >>> LinearRTU(4).build(n_inputs=2, gradient=RTRL()).advance([1.0, 0.0]).shape
    (8,)
    """

    dense: bool = False
    exact: bool = added(False)
    taylor: bool = added(False)

    __repr__ = shown

    def __post_init__(self) -> None:
        asked = [name for name in ("dense", "exact", "taylor") if check_flag(name, getattr(self, name))]
        if len(asked) > 1:
            raise ValueError(
                f"{' and '.join(asked)} are {'both' if len(asked) == 2 else 'all'} True: expected one of them; full "
                "RTRL (dense) is exact for any layers, exact=True is the fast form for two layers of RTUs, and "
                "taylor=True corrects the sensitivities of one"
            )
        make_plain(self)

    @property
    def layer_local(self) -> bool:
        """Whether a `Stack` gets the layer-local gradient."""
        return not (self.dense or self.exact)

    def spec(self, cell_spec: Any, dtype: Any) -> Any:
        """The spec whose memory carries this gradient."""
        if self.taylor:
            return taylor_spec(cell_spec)
        if self.exact:
            cell_spec = with_every_path(cell_spec)
        if not self.dense and type(cell_spec) in protocol.memory.table:
            return protocol.map_layers(cell_spec, lambda layer: self.spec(layer, dtype))
        n_state, n_params = size(protocol.state, cell_spec), size(protocol.parameters, cell_spec)
        sizes = (cell_spec.n_inputs, cell_spec.n_hidden, cell_spec.n_outputs)
        if type(cell_spec) in recurrent_slopes.table:
            weights = protocol.parameters(cell_spec, allocate(n_params, np.float32))[0].W_recurrent
            spec = FullRTRLSpec(*sizes, cell_spec, n_state, n_params, OneRow(), 1, weights.shape[1])
        else:
            spec = FullRTRLSpec(*sizes, cell_spec, n_state, n_params, AllRows(), n_state, 0)
        check_fits(
            size(protocol.memory, spec) * np.dtype(dtype).itemsize,
            f"full RTRL of {spec.n_hidden} units with {spec.n_params} parameters",
            "fewer units (the bytes grow with their cube), TBPTT(T), or a diagonal cell such as LinearRTU, whose "
            "sensitivities grow with its parameters alone",
        )
        return spec


@generic
def with_every_path(spec):
    """The spec of a stack whose own sensitivities leave nothing out; TypeError if we have no such form."""


with_every_path.otherwise(lambda spec: spec)


class OneRow(NamedTuple):
    """Each parameter acts directly on one unit alone: F is one row, a number for each parameter."""


class AllRows(NamedTuple):
    """F has a row for each number of the state."""


class FullRTRLSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    cell: Any
    n_state: int
    n_params: int
    F: Any  # OneRow or AllRows
    n_rows: int  # of F
    n_recurrent: int  # columns of W_recurrent, with OneRow


protocol.delegate(FullRTRLSpec)


PerState = Annotated[np.ndarray, "spec.n_state"]
StateByParameter = Annotated[np.ndarray, "spec.n_state", "spec.n_params"]


class FullRTRLMemory(NamedTuple):
    state: Annotated[Any, protocol.state, "spec.cell"]
    flat_state: Annotated[np.ndarray, aligned]
    flat_state_tm1: PerState
    y: PerOutput
    S: StateByParameter  # dh_{t-1}/dparameters
    J: Annotated[np.ndarray, "(spec.n_state + 3) // 4 * 4", "(spec.n_state + 3) // 4 * 4"]  # of the latest step, then 0
    F: Annotated[np.ndarray, "spec.n_rows", "spec.n_params"]  # of the latest step
    x: PerInput
    flat_state_t: Annotated[np.ndarray, overlapping, "spec.n_state"]  # the same numbers as `record.state`
    record: Annotated[Any, protocol.record, "spec.cell"]
    work: Annotated[Any, protocol.work, "spec.cell"]
    gradient: Annotated[np.ndarray, "spec.n_params"]  # of the latest `credit`
    dstate: PerState
    dx: PerInput
    no_dy: PerOutput  # zeros
    panel: Annotated[np.ndarray, "(spec.n_state + 3) // 4 * 4", PANEL]  # columns of S_{t-1}, then rows of zeros
    behind: Annotated[np.ndarray, "3", PANEL]  # scratch, for rows of J behind the n-th
    # With OneRow, what `recurrent_slopes` writes, and the unit of each parameter:
    keep: Annotated[np.ndarray, "spec.n_hidden"]
    by: Annotated[np.ndarray, "spec.n_recurrent"]
    transposed: Annotated[np.ndarray, "min(spec.n_recurrent, spec.n_state)", "spec.n_state"]
    unit: Annotated[np.ndarray, "spec.n_params"]


protocol.memory.register(FullRTRLSpec)(layout_of(FullRTRLMemory))


@kernel
def _backward(spec, params, memory, dy, dstate, gradient, dx):
    """The latest step's reverse mode, on flat arrays."""
    cell = spec.cell
    state_tm1, _ = protocol.state(cell, memory.flat_state_tm1)
    adjoint = protocol.Adjoint(protocol.state(cell, dstate)[0], protocol.parameters(cell, gradient)[0], dx)
    protocol.backward(cell, params, memory.work, state_tm1, memory.x, memory.record, dy, adjoint)


@generic
def place(F, memory, out, start, stop):
    """out[:, start:stop] <- F"""


@place.register(AllRows)
def _copy_rows(F, memory, out, start, stop):
    for k in range(out.shape[0]):
        copy(memory.F[k, start:stop], out[k, start:stop])


@place.register(OneRow)
def _place_by_unit(F, memory, out, start, stop):
    for k in range(out.shape[0]):
        _choose(k, memory.unit[start:stop], memory.F[0, start:stop], out[k, start:stop])


@kernel
@noalias
def _choose(k, unit, F, out):
    for c in range(out.shape[0]):
        out[c] = F[c] if unit[c] == k else like(F[c], 0.0)


@kernel
def _row(spec, memory, out, k, start, stop):
    """(a part of row k of `out`,), or scratch of the same length if `out` has no such row"""
    return (out[k, start:stop] if k < spec.n_state else memory.behind[k - spec.n_state, : stop - start],)


@kernel
def _advance(spec, memory, out):
    """out <- J S + F, which may be S itself: a panel of its columns goes through the nearest caches at a time."""
    for start in range(0, spec.n_params, PANEL):
        stop = min(start + PANEL, spec.n_params)
        for k in range(spec.n_state):
            copy(memory.S[k, start:stop], memory.panel[k])
        place(spec.F, memory, out, start, stop)
        for k in range(0, spec.n_state, 4):
            (a,), (b,) = _row(spec, memory, out, k, start, stop), _row(spec, memory, out, k + 1, start, stop)
            (c,), (d,) = _row(spec, memory, out, k + 2, start, stop), _row(spec, memory, out, k + 3, start, stop)
            add_four_rows(memory.J, k, memory.panel, a, b, c, d)


@generic
def differentiate(F, spec, params, memory):
    """memory.J, memory.F <- those of the latest step"""


@differentiate.register(AllRows)
def _row_by_row(F, spec, params, memory):
    for k in range(spec.n_state):
        clear(memory.J[k])
        clear(memory.F[k])
        memory.J[k, k] = 1
        _backward(spec, params, memory, memory.no_dy, memory.J[k], memory.F[k], memory.dx[:0])


@differentiate.register(OneRow)
def _all_rows_at_once(F, spec, params, memory):
    clear(memory.F[0])
    for i in range(spec.n_state):
        memory.dstate[i] = 1
    _backward(spec, params, memory, memory.no_dy, memory.dstate, memory.F[0], memory.dx[:0])
    state_tm1, _ = protocol.state(spec.cell, memory.flat_state_tm1)
    recurrent_slopes(spec.cell, state_tm1, memory.record, memory.keep, memory.by)
    transposed_jacobian(params.W_recurrent, memory.keep, memory.by, memory.transposed)
    transpose(memory.transposed, memory.J)
    for i in range(spec.n_state):
        memory.dstate[i] = i
    views = protocol.parameters(spec.cell, memory.unit)[0], protocol.parameters(spec.cell, memory.F[0])[0]
    assign_units(views[0], views[1], memory.dstate)


@protocol.move.register(FullRTRLSpec)
def move(spec, params, memory, x_t):
    """The step, with its J and F. S advances to the step *before*; `credit` adds the share of the present step."""
    _advance(spec, memory, memory.S)
    step_cell(spec.cell, params, memory, x_t)
    differentiate(spec.F, spec, params, memory)


@protocol.credit.register(FullRTRLSpec)
def credit(spec, params, memory, dy):
    clear(memory.dstate)
    clear(memory.gradient)
    _backward(spec, params, memory, dy, memory.dstate, memory.gradient, memory.dx)
    add_product(memory.dstate, memory.S, memory.gradient)


register_stored_gradient(FullRTRLSpec)


class FullRTRLSensitivities(NamedTuple):
    S: StateByParameter  # dh_t/dparameters


protocol.stored_sensitivities.register(FullRTRLSpec)(layout_of(FullRTRLSensitivities))


@protocol.store_sensitivities.register(FullRTRLSpec)
def store_sensitivities(spec, memory, stored):
    _advance(spec, memory, stored.S)


@protocol.accumulate_stored.register(FullRTRLSpec)
def accumulate_stored(spec, stored, dstate, out):
    for k in range(spec.n_state):
        add_scaled(out, protocol.parameters(spec.cell, stored.S[k])[0], dstate[k])


@protocol.rescale.register(FullRTRLSpec)
def rescale(spec, params, sensitivities, factors):
    flat = np.ones(spec.n_params)
    assign(protocol.parameters(spec.cell, flat)[0], factors)
    sensitivities.S[:] *= flat
    if hasattr(sensitivities, "F"):  # the share of the latest step, which S of the memory does not have yet
        sensitivities.F[:] *= flat
    prepare_again(spec, params, sensitivities)


@protocol.learning_flops.register(FullRTRLSpec)
def learning_flops(spec):
    count = flops(spec)
    return count.move + count.credit + count.accumulate


@protocol.flops.register(FullRTRLSpec)
def flops(spec):
    """Operations of a layer of a stack that has full RTRL."""
    count, n = protocol.flops(spec.cell), count_numbers(protocol.state, spec.cell)
    m, backward = count_numbers(protocol.parameters, spec.cell), count.backward - count.output_backward
    if isinstance(spec.F, OneRow):
        differentiate = backward + slope_flops(spec.cell) + 2 * n * spec.n_recurrent
    else:
        differentiate = n * backward
    move = count.prepare + count.forward + differentiate + 2 * n * n * m
    return count._replace(move=move, credit=count.backward + count.dx + 2 * n * m, accumulate=2 * m)
