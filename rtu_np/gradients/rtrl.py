"""Real-time recurrent learning: sensitivities carried forward with the state, exact for fixed parameters.

Cells with a diagonal recurrence have sensitivities of their own; of two layers of them, RTRL(exact=True) also carries
the way from one to the other (`rtu_np.cells.two_layers`). Other cells get *full RTRL* (derivations (28);
Williams & Zipser 1989), and RTRL(dense=True) uses it for any cell. With the state h of n numbers and all m parameters,

    S_t = J_t S_{t-1} + F_t        J = dh_t/dh_{t-1} (n, n),  F = dh_t/dparameters, through this step alone (n, m)
    dL/dparameters = (dL/dh_{t-1}) S_{t-1} + dL/dparameters through this step alone

One step of the cell's reverse mode gives one row of J and one row of F, so a cell needs only `forward` and `backward`.
A step costs n^2 m products, and the memory holds 2 n m numbers for S and F: suitable for small n.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.checkpoint import added, shown
from rtu_np.gradients.stored_gradient import prepare_again, register_stored_gradient
from rtu_np.gradients.taylor import taylor_spec
from rtu_np.jit import generic, kernel, njit, noalias
from rtu_np.numerics.buffers import add_scaled, aligned, assign, clear, copy, count_numbers, overlapping, size
from rtu_np.numerics.layout import layout_of
from rtu_np.protocol import PerInput, PerOutput
from rtu_np.validation import check_fits, check_flag, make_plain

_BLOCK = 256  # columns of S that advance together, so that they stay in the cache


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
        spec = FullRTRLSpec(cell_spec.n_inputs, cell_spec.n_hidden, cell_spec.n_outputs, cell_spec, n_state, n_params)
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


class FullRTRLSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    cell: Any
    n_state: int
    n_params: int


protocol.delegate(FullRTRLSpec)


PerState = Annotated[np.ndarray, "spec.n_state"]
StateByParameter = Annotated[np.ndarray, "spec.n_state", "spec.n_params"]


class FullRTRLMemory(NamedTuple):
    state: Annotated[Any, protocol.state, "spec.cell"]
    flat_state: Annotated[np.ndarray, aligned]
    flat_state_tm1: PerState
    y: PerOutput
    S: StateByParameter  # dh_{t-1}/dparameters
    J: Annotated[np.ndarray, "spec.n_state", "spec.n_state"]  # of the latest step
    F: StateByParameter  # of the latest step
    x: PerInput
    flat_state_t: Annotated[np.ndarray, overlapping, "spec.n_state"]  # the same numbers as `record.state`
    record: Annotated[Any, protocol.record, "spec.cell"]
    work: Annotated[Any, protocol.work, "spec.cell"]
    gradient: Annotated[np.ndarray, "spec.n_params"]  # of the latest `credit`
    dstate: PerState
    dx: PerInput
    no_dy: PerOutput  # zeros


protocol.memory.register(FullRTRLSpec)(layout_of(FullRTRLMemory))


@kernel
def _backward(spec, params, memory, dy, dstate, gradient, dx):
    """The latest step's reverse mode, on flat arrays."""
    cell = spec.cell
    state_tm1, _ = protocol.state(cell, memory.flat_state_tm1)
    adjoint = protocol.Adjoint(protocol.state(cell, dstate)[0], protocol.parameters(cell, gradient)[0], dx)
    protocol.backward(cell, params, memory.work, state_tm1, memory.x, memory.record, dy, adjoint)


@njit
@noalias
def _add_product(J, S, out):
    """out <- out + J S. A row of `out` is read and written once for four rows of S, which adds in the same order."""
    n, m = S.shape
    fours = n - n % 4
    for start in range(0, m, _BLOCK):
        stop = min(start + _BLOCK, m)
        for i in range(n):
            for k in range(0, fours, 4):
                a0, a1, a2, a3 = J[i, k], J[i, k + 1], J[i, k + 2], J[i, k + 3]
                for c in range(start, stop):
                    out[i, c] = out[i, c] + a0 * S[k, c] + a1 * S[k + 1, c] + a2 * S[k + 2, c] + a3 * S[k + 3, c]
            for k in range(fours, n):
                a = J[i, k]
                for c in range(start, stop):
                    out[i, c] += a * S[k, c]


@protocol.move.register(FullRTRLSpec)
def move(spec, params, memory, x_t):
    """The step, with its J and F. S advances to the step *before*; `credit` adds the share of the present step."""
    cell = spec.cell
    _add_product(memory.J, memory.S, memory.F)
    for k in range(spec.n_state):
        copy(memory.F[k], memory.S[k])
    copy(x_t, memory.x)
    copy(memory.flat_state, memory.flat_state_tm1)
    state_tm1, _ = protocol.state(cell, memory.flat_state_tm1)
    protocol.prepare(cell, params, memory.work)
    protocol.forward(cell, params, memory.work, state_tm1, x_t, memory.record)
    copy(memory.flat_state_t, memory.flat_state)
    copy(memory.record.y, memory.y)
    for k in range(spec.n_state):
        clear(memory.J[k])
        clear(memory.F[k])
        memory.J[k, k] = 1
        _backward(spec, params, memory, memory.no_dy, memory.J[k], memory.F[k], memory.dx[:0])


@protocol.credit.register(FullRTRLSpec)
def credit(spec, params, memory, dy):
    clear(memory.dstate)
    clear(memory.gradient)
    _backward(spec, params, memory, dy, memory.dstate, memory.gradient, memory.dx)
    for k in range(spec.n_state):
        a = memory.dstate[k]
        for i in range(spec.n_params):
            memory.gradient[i] += a * memory.S[k, i]


register_stored_gradient(FullRTRLSpec)


class FullRTRLSensitivities(NamedTuple):
    S: StateByParameter  # dh_t/dparameters


protocol.stored_sensitivities.register(FullRTRLSpec)(layout_of(FullRTRLSensitivities))


@protocol.store_sensitivities.register(FullRTRLSpec)
def store_sensitivities(spec, memory, stored):
    for k in range(spec.n_state):
        copy(memory.F[k], stored.S[k])
    _add_product(memory.J, memory.S, stored.S)


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
    count, n = protocol.flops(spec.cell), count_numbers(protocol.state, spec.cell)
    m = count_numbers(protocol.parameters, spec.cell)
    recursion = 2 * n * n * m + 2 * n * m + 2 * m
    without_dy = count.backward - count.output_backward
    return count.prepare + count.forward + n * without_dy + count.backward + count.dx + recursion


@protocol.flops.register(FullRTRLSpec)
def flops(spec):
    """Operations of a layer of a stack that has full RTRL."""
    count, n = protocol.flops(spec.cell), count_numbers(protocol.state, spec.cell)
    m = count_numbers(protocol.parameters, spec.cell)
    move = count.prepare + count.forward + n * (count.backward - count.output_backward) + 2 * n * n * m
    return count._replace(move=move, credit=count.backward + count.dx + 2 * n * m, accumulate=2 * m)
