"""Layers on one another: the output of each is the input of the next.

The gradient method decides which gradient a stack gets (derivations (31)):

RTRL()             *layer-local*. Each layer carries the effect of its parameters on its own state forward, exactly. The
                   present step of the layers above takes this effect to the output. The effect on *their* state at
                   earlier steps is left out. So the gradient is exact for the top recurrent layer, and for each layer
                   that has only feedforward layers (`Dense`) above it. For other layers it is an approximation.
RTRL(exact=True)   exact, for two layers of recurrent trace units: the effect on the upper layer's state is carried, too
                   (`rtu_np.cells.two_layers`).
RTRL(dense=True)   exact, by full RTRL over all layers together: for small sizes, and to measure the angle between the
                   exact and the layer-local gradient.
TBPTT(T)           exact within its window, through all layers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.layer import Cell
from rtu_np.cells.rows import accumulate_four
from rtu_np.gradients.layers import draw_on, drawn
from rtu_np.jit import kernel
from rtu_np.numerics.buffers import Pair, aligned, any_nonzero, assign, clear, copy
from rtu_np.numerics.layout import layout_of
from rtu_np.protocol import PerInput, PerOutput


@dataclass(frozen=True)
class Stack(Cell):
    """Layers on one another (derivations (31)). In `Stack([LinearRTU(32), Dense(3)])`, the first layer is the lowest.

    Parameters
    ----------
    layers : at least two cells; a stack among them counts as its layers. Parameters are named "0.W1", "1.W1" and so on,
        from below

    Raises
    ------
    ValueError : if there are fewer than two layers
    TypeError : if a layer is not a cell

    Examples
    --------
    >>> from rtu_np import Dense, LinearRTU
    >>> Stack([LinearRTU(4), Dense(3)]).build(n_inputs=2).advance([1.0, 0.0]).shape
    (3,)
    """

    layers: tuple[Cell, ...]

    def __post_init__(self) -> None:
        if isinstance(self.layers, Cell) or not isinstance(self.layers, Iterable):
            raise TypeError(f"layers is {self.layers!r}: expected a list of cells, [LinearRTU(16), LinearRTU(16)]")
        flat = [layer.layers if isinstance(layer, Stack) else (layer,) for layer in self.layers]
        object.__setattr__(self, "layers", tuple(chain.from_iterable(flat)))
        if len(self.layers) < 2:
            raise ValueError(f"layers holds {len(self.layers)}: expected at least two; a single cell needs no Stack")
        for k, layer in enumerate(self.layers):
            if not isinstance(layer, Cell):
                raise TypeError(f"layers[{k}] is {layer!r}: expected a cell such as LinearRTU(16)")

    def spec(self, n_inputs: int) -> "StackSpec":
        lower, *above = self.layers
        lower_spec = lower.spec(n_inputs)
        upper = above[0] if len(above) == 1 else Stack(tuple(above))
        upper_spec = upper.spec(lower_spec.n_outputs)
        n_hidden = lower_spec.n_hidden + upper_spec.n_hidden
        return StackSpec(n_inputs, n_hidden, upper_spec.n_outputs, lower_spec, upper_spec)

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        for layer in self.layers[:-1]:
            layer.initialise(params.lower, rng)
            params = params.upper
        self.layers[-1].initialise(params, rng)


# ----------------------------------------------------------------------------------------------------------- types


class StackSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    lower: Any
    upper: Any


Between = Annotated[np.ndarray, "spec.upper.n_inputs"]  # the input of the upper layer, or its gradient


class PairRecord(NamedTuple):
    state: Annotated[Any, protocol.state, aligned]
    y: PerOutput
    lower: Annotated[Any, protocol.record, "spec.lower"]
    upper: Annotated[Any, protocol.record, "spec.upper"]
    between: Between


class PairWork(NamedTuple):
    lower: Annotated[Any, protocol.work, "spec.lower"]
    upper: Annotated[Any, protocol.work, "spec.upper"]
    dbetween: Between


class PairSensitivities(NamedTuple):
    lower: Annotated[Any, protocol.stored_sensitivities, "spec.lower"]
    upper: Annotated[Any, protocol.stored_sensitivities, "spec.upper"]


@kernel
def states_of(spec, lower, upper, flat):
    """The states in the memories of both layers, as one."""
    return protocol.pair_views(spec, lower.state, upper.state), flat


class PairMemory(NamedTuple):
    lower: Annotated[Any, protocol.memory, "spec.lower"]
    upper: Annotated[Any, protocol.memory, "spec.upper"]
    state: Annotated[Any, states_of, "spec", "lower", "upper"]  # takes no numbers
    y: PerOutput
    between: Between
    dbetween: Between
    dx: PerInput  # dL/dx that does not pass through the lower layer


@protocol.pair_views.register(StackSpec)
def _numbered(spec, lower, upper):
    return Pair(lower, upper)


def register_pair(kind: type) -> None:
    """Register for specs of the type `kind` all functions of a pair of layers except `pair_views`.

    The upper layer's input is the lower layer's output. If the upper layer has more inputs, the pair's input follows.
    """
    for function, implementation in _PAIR.items():
        function.register(kind)(implementation)


def _parameters(spec, flat):
    lower, flat = protocol.parameters(spec.lower, flat)
    upper, flat = protocol.parameters(spec.upper, flat)
    return protocol.pair_views(spec, lower, upper), flat


def _state(spec, flat):
    lower, flat = protocol.state(spec.lower, flat)
    upper, flat = protocol.state(spec.upper, flat)
    return protocol.pair_views(spec, lower, upper), flat


def _map_layers(spec, convert):
    return spec._replace(lower=convert(spec.lower), upper=convert(spec.upper))


# ------------------------------------------------------------------------------------------- reference: plain NumPy


def _plain_between(spec, y, x_t):
    return y if spec.upper.n_inputs == spec.lower.n_outputs else np.concatenate([y, x_t])


def _plain_forward(spec, params, state_tm1, x_t):
    lower, y = protocol.plain_forward(spec.lower, params.lower, state_tm1.lower, x_t)
    between = _plain_between(spec, y, x_t)
    upper, y = protocol.plain_forward(spec.upper, params.upper, state_tm1.upper, between)
    return type(state_tm1)(lower, upper), y


def _plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    _, y = protocol.plain_forward(spec.lower, params.lower, state_tm1.lower, x_t)
    between, m = _plain_between(spec, y, x_t), y.size
    upper = protocol.plain_backward(spec.upper, params.upper, state_tm1.upper, between, state_t.upper, dy, dstate.upper)
    lower = protocol.plain_backward(
        spec.lower, params.lower, state_tm1.lower, x_t, state_t.lower, upper[2][:m], dstate.lower
    )
    dx = lower[2] + upper[2][m:] if upper[2].size > m else lower[2]
    return type(dstate)(lower[0], upper[0]), type(params)(lower[1], upper[1]), dx


def _plain_advance(spec, params, memory, x_t):
    lower = protocol.plain_advance(spec.lower, params.lower, memory.lower, x_t)
    between = _plain_between(spec, lower.y, x_t)
    upper = protocol.plain_advance(spec.upper, params.upper, memory.upper, between)
    state = type(memory.state)(lower.state, upper.state)
    return memory._replace(state=state, y=upper.y, lower=lower, upper=upper, between=between)


def _plain_gradient(spec, params, memory, dy):
    above, dbetween = protocol.plain_gradient(spec.upper, params.upper, memory.upper, dy)
    m = spec.lower.n_outputs
    below, dx = protocol.plain_gradient(spec.lower, params.lower, memory.lower, dbetween[:m])
    return type(params)(below, above), dx + dbetween[m:] if dbetween.size > m else dx


def _preactivations(spec, params, state_tm1, x_t):
    _, y = protocol.plain_forward(spec.lower, params.lower, state_tm1.lower, x_t)
    below = protocol.preactivations(spec.lower, params.lower, state_tm1.lower, x_t)
    above = protocol.preactivations(spec.upper, params.upper, state_tm1.upper, _plain_between(spec, y, x_t))
    return np.concatenate([below, above])


def _why_degenerate(spec, params):
    if protocol.degenerate(spec.lower, params.lower):
        return protocol.why_degenerate(spec.lower, params.lower)
    return protocol.why_degenerate(spec.upper, params.upper)


def _wrap(spec, params, factors):
    protocol.wrap(spec.lower, params.lower, factors.lower)
    protocol.wrap(spec.upper, params.upper, factors.upper)


def _rescale(spec, params, sensitivities, factors):
    protocol.rescale(spec.lower, params.lower, sensitivities.lower, factors.lower)
    protocol.rescale(spec.upper, params.upper, sensitivities.upper, factors.upper)


# --------------------------------------------------------------------------------------------------------- kernels


def _degenerate(spec, params):
    return protocol.degenerate(spec.lower, params.lower) or protocol.degenerate(spec.upper, params.upper)


def _confine(spec, params):
    lower, upper = protocol.confine(spec.lower, params.lower), protocol.confine(spec.upper, params.upper)
    return lower or upper


def _prepare(spec, params, work):
    protocol.prepare(spec.lower, params.lower, work.lower)
    protocol.prepare(spec.upper, params.upper, work.upper)


def _feedforward(spec):
    return protocol.feedforward(spec.lower) and protocol.feedforward(spec.upper)


def _forward(spec, params, work, state_tm1, x_t, record):
    protocol.replay(spec, params, work, state_tm1, x_t, record, True)


def _replay(spec, params, work, state_tm1, x_t, record, last):
    m, upper_runs = spec.lower.n_outputs, last or not protocol.feedforward(spec.upper)
    protocol.replay(spec.lower, params.lower, work.lower, state_tm1.lower, x_t, record.lower, upper_runs)
    assign(record.state.lower, record.lower.state)
    if upper_runs:
        copy(record.lower.y, record.between[:m])
        copy(x_t[: spec.upper.n_inputs - m], record.between[m:])
        protocol.replay(spec.upper, params.upper, work.upper, state_tm1.upper, record.between, record.upper, last)
        assign(record.state.upper, record.upper.state)
        copy(record.upper.y, record.y)


def _backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    m = spec.lower.n_outputs
    above = protocol.Adjoint(adjoint.state.upper, adjoint.params.upper, work.dbetween)
    x_above, before = record.between, state_tm1.upper
    if protocol.feedforward(spec.upper) and not any_nonzero(dy):
        clear(work.dbetween)
    else:
        protocol.backward(spec.upper, params.upper, work.upper, before, x_above, record.upper, dy, above)
    below = protocol.Adjoint(adjoint.state.lower, adjoint.params.lower, adjoint.x)
    dy_lower = work.dbetween[:m]
    protocol.backward(spec.lower, params.lower, work.lower, state_tm1.lower, x_t, record.lower, dy_lower, below)
    for j in range(min(adjoint.x.shape[0], spec.upper.n_inputs - m)):
        adjoint.x[j] += work.dbetween[m + j]


def _drawn(spec, memory):
    return drawn(spec.lower, memory.lower), drawn(spec.upper, memory.upper)


def _draw_on(spec, memory, counts):
    draw_on(spec.lower, memory.lower, counts[0])
    draw_on(spec.upper, memory.upper, counts[1])


def _move(spec, params, memory, x_t):
    m = spec.lower.n_outputs
    protocol.move(spec.lower, params.lower, memory.lower, x_t)
    copy(memory.lower.y, memory.between[:m])
    copy(x_t[: spec.upper.n_inputs - m], memory.between[m:])
    protocol.move(spec.upper, params.upper, memory.upper, memory.between)
    copy(memory.upper.y, memory.y)


def _propagate(spec, memory):
    protocol.propagate(spec.lower, memory.lower)
    protocol.propagate(spec.upper, memory.upper)


def _credit(spec, params, memory, dy):
    protocol.credit(spec.upper, params.upper, memory.upper, dy)
    protocol.input_gradient(spec.upper, params.upper, memory.upper, memory.dbetween)
    protocol.credit(spec.lower, params.lower, memory.lower, memory.dbetween[: spec.lower.n_outputs])


def _accumulate(spec, memory, decay, out):
    protocol.accumulate(spec.lower, memory.lower, decay, out.lower)
    protocol.accumulate(spec.upper, memory.upper, decay, out.upper)


def _store_sensitivities(spec, memory, stored):
    protocol.store_sensitivities(spec.lower, memory.lower, stored.lower)
    protocol.store_sensitivities(spec.upper, memory.upper, stored.upper)


def _accumulate_stored(spec, stored, dstate, out):
    _, above = protocol.state(spec.lower, dstate)
    protocol.accumulate_stored(spec.lower, stored.lower, dstate, out.lower)
    protocol.accumulate_stored(spec.upper, stored.upper, above, out.upper)


def _accumulate_four(spec, stored, dstates, out):
    a, b, c, d = stored
    above = (
        protocol.state(spec.lower, dstates[0])[1],
        protocol.state(spec.lower, dstates[1])[1],
        protocol.state(spec.lower, dstates[2])[1],
        protocol.state(spec.lower, dstates[3])[1],
    )
    accumulate_four(spec.lower, (a.lower, b.lower, c.lower, d.lower), dstates, out.lower)
    accumulate_four(spec.upper, (a.upper, b.upper, c.upper, d.upper), above, out.upper)


def _learn(spec, params, traces, memory, decay, step):
    protocol.learn(spec.lower, params.lower, traces.lower, memory.lower, decay, step)
    protocol.learn(spec.upper, params.upper, traces.upper, memory.upper, decay, step)


def _input_gradient(spec, params, memory, dx):
    m = spec.lower.n_outputs
    protocol.input_gradient(spec.lower, params.lower, memory.lower, dx)
    for j in range(spec.upper.n_inputs - m):
        dx[j] += memory.dbetween[m + j]


def _flops(spec):
    lower, upper = protocol.flops(spec.lower), protocol.flops(spec.upper)
    past_the_lower, alone = spec.upper.n_inputs - spec.lower.n_outputs, protocol.feedforward(spec.upper)
    return protocol.Flops(
        prepare=lower.prepare + upper.prepare,
        forward=lower.forward + upper.forward,
        backward=lower.backward + upper.backward + upper.dx,
        dx=lower.dx + past_the_lower,
        output_forward=lower.output_forward + upper.forward if alone else upper.output_forward,
        output_backward=lower.output_backward + upper.backward + upper.dx if alone else upper.output_backward,
        move=lower.move + upper.move,
        propagate=lower.propagate + upper.propagate,
        credit=lower.credit + upper.credit + upper.input_gradient,
        accumulate=lower.accumulate + upper.accumulate,
        input_gradient=lower.input_gradient + past_the_lower,
    )


_PAIR: dict[Any, Any] = {
    protocol.parameters: _parameters,
    protocol.state: _state,
    protocol.record: layout_of(PairRecord),
    protocol.work: layout_of(PairWork),
    protocol.memory: layout_of(PairMemory),
    protocol.stored_sensitivities: layout_of(PairSensitivities),
    protocol.map_layers: _map_layers,
    protocol.plain_forward: _plain_forward,
    protocol.plain_backward: _plain_backward,
    protocol.plain_advance: _plain_advance,
    protocol.plain_gradient: _plain_gradient,
    protocol.preactivations: _preactivations,
    protocol.why_degenerate: _why_degenerate,
    protocol.degenerate: _degenerate,
    protocol.confine: _confine,
    protocol.wrap: _wrap,
    protocol.rescale: _rescale,
    protocol.prepare: _prepare,
    protocol.feedforward: _feedforward,
    protocol.forward: _forward,
    protocol.replay: _replay,
    protocol.backward: _backward,
    drawn: _drawn,
    draw_on: _draw_on,
    protocol.move: _move,
    protocol.propagate: _propagate,
    protocol.credit: _credit,
    protocol.accumulate: _accumulate,
    protocol.store_sensitivities: _store_sensitivities,
    protocol.accumulate_stored: _accumulate_stored,
    accumulate_four: _accumulate_four,
    protocol.learn: _learn,
    protocol.input_gradient: _input_gradient,
    protocol.flops: _flops,
}
register_pair(StackSpec)
