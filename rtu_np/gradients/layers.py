"""What gradient methods share: layers that get the method one by one, their names, and a fresh start of the memory."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rtu_np import protocol
from rtu_np.jit import generic, kernel
from rtu_np.numerics.buffers import clear, copy, size


def by_layer(spec: Any, convert: Callable[[Any], Any]) -> Any:
    """The spec with `convert` applied to each layer that has a state. Others have a memory of their own."""
    if type(spec) in protocol.map_layers.table:
        return protocol.map_layers(spec, lambda layer: by_layer(layer, convert))
    return convert(spec) if size(protocol.state, spec) else spec


@generic
def name_of(spec):
    """The name of a layer as its user has written it, for messages; in Python."""


name_of.otherwise(lambda spec: type(spec).__name__.removesuffix("Spec"))


@generic
def drawn(spec, memory):
    """How many random numbers the memory has drawn, as nested tuples of numbers; () if it needs no random numbers."""


@generic
def draw_on(spec, memory, counts):
    """Go on behind the random numbers that `drawn` has counted. `memory` is modified in place."""


drawn.otherwise(lambda spec, memory: ())
draw_on.otherwise(lambda spec, memory, counts: None)


@kernel
def clear_memory(spec, memory, flat):
    """A fresh start: `flat`, the numbers of `memory`, become zero. Random numbers are not drawn a second time."""
    counts = drawn(spec, memory)
    clear(flat)
    draw_on(spec, memory, counts)


def reset_memory(spec: Any, memory: Any, flat: np.ndarray) -> None:
    """The same from Python, where a loop over numbers would take long."""
    counts = drawn(spec, memory)
    flat[:] = 0
    draw_on(spec, memory, counts)


@kernel
def step_cell(cell, params, memory, x_t):
    """The cell's own step; the memory keeps the input and the state before it. Returns a view of that state."""
    copy(x_t, memory.x)
    copy(memory.flat_state, memory.flat_state_tm1)
    state_tm1, _ = protocol.state(cell, memory.flat_state_tm1)
    protocol.prepare(cell, params, memory.work)
    protocol.forward(cell, params, memory.work, state_tm1, x_t, memory.record)
    copy(memory.flat_state_t, memory.flat_state)
    copy(memory.record.y, memory.y)
    return state_tm1
