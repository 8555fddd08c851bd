"""The cell protocol, on one page.

A *cell* is a small frozen dataclass of settings, `LinearRTU(n_hidden=16)` (see `rtu_np.cells.layer.Cell`). Given an
input width it makes a *spec*, a NamedTuple of sizes and types. Learners are written once against the functions below.
Which implementation runs is chosen by the type of the spec: in compiled code while it compiles, in Python by a table
(`rtu_np.jit.generic`).

What every cell provides
------------------------
layout      `parameters`, `state`: named views into flat arrays (`rtu_np.numerics.layout`).
step        `forward`, the step alone; `backward`, one step of reverse mode.
reference   `plain_forward`, `plain_backward`: the same in plain, allocating NumPy, to be read beside the equations.
            `plain_forward` takes complex numbers, for the complex-step derivative.

That is enough for truncated BPTT, and for RTRL by the full recursion S <- J S + F (`rtu_np.gradients`).

What a cell with sensitivities of its own adds
----------------------------------------------
Sensitivities are dh/dparameters, also called the influence matrix.

layout      `memory`: state, sensitivities and scratch.
RTRL        `move` and `propagate`, together `advance`: the step, then its sensitivities; `credit`: the part of the
            gradient that needs the parameters; `accumulate`: the gradient into a trace; `learn`: update, sensitivities
            and traces in one pass; `input_gradient`.
stored      `stored_sensitivities`, `store_sensitivities`, `accumulate_stored`: the sensitivities of one step are copied
            and used later (PPO).
reference   `plain_advance`, `plain_gradient`.

What a cell may add
-------------------
`work` and `prepare`, if much of a step depends on the parameters alone; `record`, if reverse mode needs more than state
and output; `degenerate`, if parameters exist without a derivative; `preactivations`, if there is a kink; `flops`, if
its costs are to be counted.

Kernels write in place, allocate nothing and return nothing. The reference shares no arithmetic with them, so that a
mistake in one shows against the other. docs/own_stream.md builds a cell from scratch.

One learning step goes through these functions in this order:

    move        state_{t-1}, x_t -> state_t, y_t
    credit      dy_t -> dL/dstate_t, in memory
    learn       params <- params + step traces;  sensitivities up to t;  traces <- decay traces + gradient
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np.jit import generic, kernel
from rtu_np.numerics.buffers import add_scaled, aligned
from rtu_np.numerics.layout import layout_of

# ---------------------------------------------------------------------------------------------------------- layout
# A layout takes a flat array and returns (views, rest): named views into its first numbers, and the array behind them.

# Arrays that many cells hold, by the sizes that every spec has.
PerInput = Annotated[np.ndarray, "spec.n_inputs"]  # (d,)
PerUnit = Annotated[np.ndarray, "spec.n_hidden"]  # (n,)
PerOutput = Annotated[np.ndarray, "spec.n_outputs"]  # (n_outputs,)
PerWeight = Annotated[np.ndarray, "spec.n_inputs", "spec.n_hidden"]  # (d, n)


@generic(inline=False)
def parameters(spec, flat):
    """Layout of the parameters."""


@generic(inline=False)
def state(spec, flat):
    """Layout of the recurrent state."""


class Record(NamedTuple):
    """One step, as reverse mode needs it: at least these two."""

    state: Annotated[Any, state, aligned]
    y: PerOutput


@generic(inline=False)
def record(spec, flat):
    """Layout of the record of one step. Its first numbers are the state after the step."""


record.otherwise(layout_of(Record))


class NoWork(NamedTuple):
    pass


@generic(inline=False)
def work(spec, flat):
    """Layout of what `prepare` writes, and of scratch."""


work.otherwise(layout_of(NoWork))


# ------------------------------------------------------------------------------------------------------------ step


@generic
def prepare(spec, params, work):
    """Compute what depends on the parameters alone, once for all steps that use them."""


@prepare.otherwise
def _nothing_to_prepare(spec, params, work):
    pass


@generic
def forward(spec, params, work, state_tm1, x_t, record):
    """The step alone: state_tm1, x_t -> record.state, record.y. The two states are different buffers."""


class Adjoint(NamedTuple):
    """What reverse mode writes: dL/dstate, dL/dparameters, dL/dx."""

    state: Any
    params: Any
    x: np.ndarray


@generic
def backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    """One step of reverse mode, for L = sum over steps of dy . y.

    adjoint.state comes in as the later steps' dL/dstate_t and leaves as dL/dstate_tm1. The gradient of this step is
    added to adjoint.params. adjoint.x is overwritten with dL/dx_t, if it has room for it.
    """


# ------------------------------------------------------------------------------------------------------------ RTRL


@generic(inline=False)
def memory(spec, flat):
    """Layout of the memory of RTRL. It has fields `state` and `y`; zeros are a fresh start."""


@generic
def move(spec, params, memory, x_t):
    """state_tm1 -> state_t and memory.y; what `propagate` will need stays in memory."""


@generic
def propagate(spec, memory):
    """Bring the sensitivities of the state up to the step that `move` has made."""


@propagate.otherwise
def _nothing_to_propagate(spec, memory):
    pass


@kernel
def advance(spec, params, memory, x_t):
    """One step of the state and of its sensitivities."""
    move(spec, params, memory, x_t)
    propagate(spec, memory)


@generic
def credit(spec, params, memory, dy):
    """Take dy = dL/dy_t back to the state, into memory. `params` are those of the latest `move`."""


@generic
def accumulate(spec, memory, decay, out):
    """out <- decay out + (dy_t/dparams)^T dy, after `credit`."""


@generic
def input_gradient(spec, params, memory, dx):
    """dx <- (dy_t/dx_t)^T dy, through the present step alone, after `credit`."""


@generic
def learn(spec, params, traces, memory, decay, step):
    """Update, propagate and accumulate in one pass over memory, after `move` and `credit`.

    params <- params + step traces, with the traces up to t-1 (no update if step is None); then the sensitivities; then
    traces <- decay traces + (dy_t/dparams)^T dy. `memory` holds everything that was computed with the earlier
    parameters. A cell that registers nothing here gets three passes, one after the other.
    """


@learn.otherwise
def _learn_in_three_passes(spec, params, traces, memory, decay, step):
    if step is not None:
        add_scaled(params, traces, step)
    propagate(spec, memory)
    accumulate(spec, memory, decay, traces)


# ------------------------------------------------------------------------------------------- stored sensitivities


@generic(inline=False)
def stored_sensitivities(spec, flat):
    """Layout of the sensitivities of the state, as they are stored at one step."""


@generic
def store_sensitivities(spec, memory, stored):
    """stored <- the sensitivities of the present state. Called between two steps; memory does not change."""


@generic
def accumulate_stored(spec, stored, dstate, out):
    """out <- out + (dstate/dparams)^T dstate, with the stored sensitivities; dstate is the start of a flat array."""


class NoSensitivities(NamedTuple):
    pass


def without_sensitivities(kind: type) -> None:
    """Register for the spec `kind` that it stores none: it has no state, or its state is not differentiated."""
    stored_sensitivities.register(kind)(lambda spec, flat: (NoSensitivities(), flat))
    for function in (store_sensitivities, accumulate_stored):
        function.register(kind)(lambda spec, *arguments: None)


# ---------------------------------------------------------------------------------------------------- degeneration


@generic
def degenerate(spec, params):
    """Whether the recurrence has no derivative at these parameters. A cell that registers nothing never is."""


@degenerate.otherwise
def _never(spec, params):
    return False


@generic
def why_degenerate(spec, params):
    """The sentence that tells a user which parameters are degenerate, and why."""


# ------------------------------------------------------------------------------------------------------- reference


@generic
def preactivations(spec, params, state_tm1, x_t):
    """Array of what enters the activation function. Gradient checks keep it away from the kink at 0.

    A cell without a kink registers nothing.
    """


@preactivations.otherwise
def _no_kink(spec, params, state_tm1, x_t):
    return np.full(1, np.inf)


@generic
def plain_forward(spec, params, state_tm1, x_t):
    """(state_t, y_t)"""


@generic
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    """(dstate_tm1, gradient as Parameters, dx)"""


@generic
def plain_advance(spec, params, memory, x_t):
    """The memory after one step, as new arrays."""


@generic
def plain_gradient(spec, params, memory, dy):
    """(gradient as Parameters, dx)"""


# ----------------------------------------------------------------------------------------------------------- costs


class Flops(NamedTuple):
    """Floating-point operations of the functions above, as `rtu_np.costs` counts them."""

    prepare: int
    forward: int
    backward: int
    dx: int  # of `backward`; also of `input_gradient` in a stack, if that costs no more
    move: int = 0  # includes `prepare`
    propagate: int = 0
    credit: int = 0
    accumulate: int = 0
    input_gradient: int = 0


@generic
def flops(spec):
    """`Flops` of a cell with this spec. A cell without its own sensitivities fills the first four fields."""


@generic
def learning_flops(spec):
    """Operations of one learning step as far as the gradient, added into a trace. A gradient method may replace it."""


@learning_flops.otherwise
def _own_sensitivities(spec):
    count = flops(spec)
    return count.move + count.propagate + count.credit + count.accumulate


# ------------------------------------------------------------------------------------------------- specs within specs


@generic
def pair_views(spec, lower, upper):
    """The views of two layers, one on the other, as one NamedTuple."""


@generic
def map_layers(spec, convert):
    """The spec with `convert` applied to each of its layers. A spec without layers stays as it is."""


@map_layers.otherwise
def _no_layers(spec, convert):
    return spec


def delegate(kind: type, *more: Any) -> None:
    """Register for the spec `kind` what the spec in its field `cell` has: all functions but RTRL's, and `more`."""

    def pass_on(function):
        function.register(kind)(lambda spec, *arguments: function(spec.cell, *arguments))

    for function in (parameters, state, record, work, prepare, forward, backward, degenerate):
        pass_on(function)
    for function in (why_degenerate, preactivations, plain_forward, plain_backward, *more):
        pass_on(function)
