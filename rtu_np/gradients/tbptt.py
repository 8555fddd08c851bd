"""Truncated backpropagation through time, once per step, with a window of the last T steps (derivations (29)).

At each step the cell continues from its present state, and a ring buffer stores this state and the input. For the
gradient, the cell runs over the window again with today's parameters, from the state that was stored T steps back. That
state is held fixed. Then reverse mode runs back over the window. So the gradient is exact for a function of the last T
inputs, and T = 1 is the one-step gradient. Only time and memory grow with T.

The outputs matter at the last step alone, so a cell may leave them out of the others (`protocol.replay`). On its way
back the gradient shrinks, and some processors are slow with subnormal numbers. So these become zero: in all compiled
code if we know the processor's switch for it (rtu_np/subnormals.py), otherwise here, in dL/dstate.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.gradients.stored_gradient import prepare_again, register_stored_gradient
from rtu_np.jit import FLUSHES
from rtu_np.numerics.buffers import aligned, clear, copy, count_numbers, cut, size
from rtu_np.numerics.layout import layout_of
from rtu_np.protocol import PerInput, PerOutput
from rtu_np.validation import check_count, make_plain

# Slots of the ring: the row of the latest step, and how many rows are filled.
ROW, FILLED = 0, 1


@dataclass(frozen=True)
class TBPTT:
    """Truncated BPTT through the last `steps` steps, the present step included (derivations (29)).

    Parameters
    ----------
    steps : length T of the window, in steps

    Raises
    ------
    ValueError, TypeError : if steps is not an integer of at least 1

    Examples
    --------
    >>> from rtu_np import LinearRTU
    >>> LinearRTU(4).build(n_inputs=2, gradient=TBPTT(10)).advance([1.0, 0.0]).shape
    (8,)
    """

    steps: int

    def __post_init__(self) -> None:
        check_count("steps", self.steps, hint="1 is the one-step gradient")
        make_plain(self)

    def spec(self, cell_spec: Any, dtype: Any) -> Any:
        """The spec whose memory carries this gradient."""
        sizes = (size(layout, cell_spec) for layout in (protocol.state, protocol.record, protocol.parameters))
        shape = (cell_spec.n_inputs, cell_spec.n_hidden, cell_spec.n_outputs)
        return TBPTTSpec(*shape, cell_spec, self.steps, *sizes)


class TBPTTSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    cell: Any
    steps: int
    n_state: int
    n_record: int
    n_params: int


protocol.delegate(TBPTTSpec)
protocol.without_sensitivities(TBPTTSpec)


class TBPTTMemory(NamedTuple):
    state: Annotated[Any, protocol.state, "spec.cell"]
    flat_state: Annotated[np.ndarray, aligned]
    y: PerOutput
    ring: Annotated[np.ndarray, 2]  # ROW, FILLED
    states: Annotated[np.ndarray, "spec.steps", "spec.n_state"]  # ring: the state before each step
    inputs: Annotated[np.ndarray, "spec.steps", "spec.n_inputs"]  # ring
    records: Annotated[np.ndarray, "spec.steps", "spec.n_record"]  # the window replayed, oldest step first
    work: Annotated[Any, protocol.work, "spec.cell"]
    gradient: Annotated[np.ndarray, "spec.n_params"]  # of the latest `credit`
    dstate: Annotated[np.ndarray, "spec.n_state"]
    dx: PerInput
    no_dy: PerOutput  # zeros


protocol.memory.register(TBPTTSpec)(layout_of(TBPTTMemory))


@protocol.move.register(TBPTTSpec)
def move(spec, params, memory, x_t):
    cell = spec.cell
    row = (int(memory.ring[ROW]) + 1) % spec.steps
    memory.ring[ROW] = row
    memory.ring[FILLED] = min(int(memory.ring[FILLED]) + 1, spec.steps)
    copy(memory.flat_state, memory.states[row])
    copy(x_t, memory.inputs[row])
    protocol.prepare(cell, params, memory.work)
    record, _ = protocol.record(cell, memory.records[0])
    protocol.replay(cell, params, memory.work, memory.state, x_t, record, True)
    copy(memory.records[0, : spec.n_state], memory.flat_state)
    copy(record.y, memory.y)


@protocol.credit.register(TBPTTSpec)
def credit(spec, params, memory, dy):
    cell, filled = spec.cell, int(memory.ring[FILLED])
    oldest = int(memory.ring[ROW]) + 1 - filled + spec.steps
    for k in range(filled if filled > 1 else 0):  # of a window of one step, `move` has made the record
        row = (oldest + k) % spec.steps
        flat_tm1 = memory.states[row] if k == 0 else memory.records[k - 1]
        state_tm1, _ = protocol.state(cell, flat_tm1)
        record, _ = protocol.record(cell, memory.records[k])
        protocol.replay(cell, params, memory.work, state_tm1, memory.inputs[row], record, k == filled - 1)
    clear(memory.dstate)
    clear(memory.gradient)
    for k in range(filled - 1, -1, -1):
        last = k == filled - 1
        row = (oldest + k) % spec.steps
        flat_tm1 = memory.states[row] if k == 0 else memory.records[k - 1]
        state_tm1, _ = protocol.state(cell, flat_tm1)
        record, _ = protocol.record(cell, memory.records[k])
        dstate, _ = protocol.state(cell, memory.dstate)
        out, _ = protocol.parameters(cell, memory.gradient)
        adjoint = protocol.Adjoint(dstate, out, memory.dx if last else memory.dx[:0])
        dy_k = dy if last else memory.no_dy
        protocol.backward(cell, params, memory.work, state_tm1, memory.inputs[row], record, dy_k, adjoint)
        if not FLUSHES:
            cut(memory.dstate)


register_stored_gradient(TBPTTSpec)


@protocol.rescale.register(TBPTTSpec)
def rescale(spec, params, sensitivities, factors):
    prepare_again(spec, params, sensitivities)


@protocol.learning_flops.register(TBPTTSpec)
def learning_flops(spec):
    """Operations with a full window."""
    count, m = protocol.flops(spec.cell), count_numbers(protocol.parameters, spec.cell)
    replayed = spec.steps if spec.steps > 1 else 0  # a window of one step is not replayed
    without_outputs = (spec.steps - 1) * (count.output_forward + count.output_backward)
    window = replayed * count.forward + spec.steps * count.backward - without_outputs
    return count.prepare + count.forward + window + count.dx + 2 * m
