"""The cell protocol, on one page.

A *cell* is a small frozen dataclass of settings, `LinearRTU(n_hidden=16)` (`rtu_np.cells.layer.Cell`). Given an input
width, a cell makes a *spec*, a NamedTuple of sizes and types. Learners are written once against the functions below.
The type of the spec selects the implementation: in compiled code during compilation, in Python by a table
(`rtu_np.jit.generic`).

Every cell provides
-------------------
layout      `parameters`, `state`: named views into flat arrays (`rtu_np.numerics.layout`).
step        `forward`, the step alone; `backward`, one step of reverse mode.
reference   `plain_forward`, `plain_backward`: the same in plain, allocating NumPy, to be read next to the equations.
            `plain_forward` takes complex numbers, for the complex-step derivative.

These functions are enough for truncated BPTT, and for full RTRL, the recursion S <- J S + F (`rtu_np.gradients`).

A cell with sensitivities of its own adds
-----------------------------------------
Sensitivities are dh/dparameters, also called the influence matrix.

layout      `memory`: state, sensitivities and scratch.
RTRL        `move` and `propagate`, together `advance`: the step, then its sensitivities; `credit`: the part of the
            gradient that needs the parameters; `accumulate`: the gradient into a trace; `learn`: update, sensitivities
            and traces in one pass; `input_gradient`.
stored      `stored_sensitivities`, `store_sensitivities`, `accumulate_stored`: PPO copies the sensitivities of one step
            and uses the copy later.
reference   `plain_advance`, `plain_gradient`.

A cell may add
--------------
`work` and `prepare`, if much of a step depends on the parameters alone; `record`, if reverse mode needs more than state
and output; `replay`, if outputs are computed from the state, and `feedforward`, if there is no state: T-BPTT then skips
outputs at all steps of its window but the last; `degenerate` and `why_degenerate`, if parameters exist without a
derivative; `confine`, if parameters have bounds, and with it `wrap` and `rescale`, if they are periodic;
`preactivations`, if the activation function has a kink; `flops`, if the costs of the cell are to be counted; for PPO,
what `rtu_np.cells.rows` and `rtu_np.cells.sequences` name.

Kernels write in place, allocate nothing and return nothing but a flag. The reference shares no arithmetic with the
kernels, so a mistake in one shows against the other. Gradient checks call `plain_forward`; the other plain functions
serve the tests of this package. docs/own_stream.md builds a cell from scratch.

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
    """One step, as reverse mode needs it. The record of every cell has these two fields."""

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
    """Layout of the results of `prepare`, and of scratch."""


work.otherwise(layout_of(NoWork))


# ------------------------------------------------------------------------------------------------------------ step


@generic
def prepare(spec, params, work):
    """Compute the numbers that depend on the parameters alone, once for all steps with these parameters.

    work : written
    """


@generic
def forward(spec, params, work, state_tm1, x_t, record):
    """The step alone: state_tm1, x_t -> record.state, record.y. The two states are different buffers.

    x_t : (n_inputs,)
    record : written; record.y is (n_outputs,)
    work : its scratch is written
    """


@generic
def replay(spec, params, work, state_tm1, x_t, record, last):
    """`forward` in a window. If it is not the `last` step, record.y may stay as it was: dy is zero there."""


@replay.otherwise
def _whole_step(spec, params, work, state_tm1, x_t, record, last):
    forward(spec, params, work, state_tm1, x_t, record)


@generic
def feedforward(spec):
    """Whether the cell has no state, so that without dy there is no gradient. False if a cell registers nothing."""


class Adjoint(NamedTuple):
    """The arrays that reverse mode writes: dL/dstate, dL/dparameters, dL/dx."""

    state: Any
    params: Any
    x: np.ndarray


@generic
def backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    """One step of reverse mode, for L = sum over steps of dy . y.

    dy : (n_outputs,); if it is zero, record.y may not have been written, unless the cell registers no `replay`
    adjoint.state : modified in place, from dL/dstate_t through the later steps to dL/dstate_tm1
    adjoint.params : modified in place; the gradient of this step is added
    adjoint.x : (n_inputs,) written with dL/dx_t; or (0,) if the caller needs no dL/dx_t
    work : its scratch is written
    """


# ------------------------------------------------------------------------------------------------------------ RTRL


@generic(inline=False)
def memory(spec, flat):
    """Layout of the memory of RTRL. Its views have fields `state` and `y`. A memory of zeros is a fresh start."""


@generic
def move(spec, params, memory, x_t):
    """state_tm1, x_t -> state_t and memory.y.

    x_t : (n_inputs,)
    memory : modified in place; it also stores the numbers that `propagate` reads
    """


@generic
def propagate(spec, memory):
    """Advance the sensitivities of the state over the step that `move` has made. `memory` is modified in place."""


@kernel
def advance(spec, params, memory, x_t):
    """One step of the state and of its sensitivities. `memory` is modified in place."""
    move(spec, params, memory, x_t)
    propagate(spec, memory)


@generic
def credit(spec, params, memory, dy):
    """Take dy = dL/dy_t back to the state.

    params : those of the latest `move`
    memory : modified in place; it stores the result
    dy : (n_outputs,)
    """


@generic
def accumulate(spec, memory, decay, out):
    """out <- decay out + (dy_t/dparams)^T dy, after `credit`. `out` is modified in place."""


@generic
def input_gradient(spec, params, memory, dx):
    """dx <- (dy_t/dx_t)^T dy, through the present step alone, after `credit`. dx (n_inputs,) is written."""


@generic
def learn(spec, params, traces, memory, decay, step):
    """Update, propagate and accumulate in one pass over memory, after `move` and `credit`.

    First params <- params + step traces, with the traces up to t-1; there is no update if step is None. Then the
    sensitivities advance. Then traces <- decay traces + (dy_t/dparams)^T dy. `memory` holds all numbers that were
    computed with the earlier parameters. `params`, `traces` and `memory` are modified in place.

    If a cell registers no `learn`, three passes do the same, one after the other.
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
    """stored <- the sensitivities of the present state, between two steps. `stored` is written, `memory` is not."""


@generic
def accumulate_stored(spec, stored, dstate, out):
    """out <- out + (dstate/dparams)^T dstate, with the stored sensitivities.

    stored : a cell may write scratch in it
    dstate : a flat array that begins with dL/dstate, in the layout of `state`
    out : modified in place
    """


class NoSensitivities(NamedTuple):
    pass


def without_sensitivities(kind: type) -> None:
    """Register that specs of the type `kind` store none: they have no state, or a state that is not differentiated."""
    stored_sensitivities.register(kind)(lambda spec, flat: (NoSensitivities(), flat))
    for function in (store_sensitivities, accumulate_stored):
        function.register(kind)(lambda spec, *arguments: None)


# ---------------------------------------------------------------------------------------------------- degeneration


@generic
def degenerate(spec, params):
    """Whether the recurrence has no derivative at these parameters. False if a cell registers nothing."""


@generic
def why_degenerate(spec, params):
    """The message of the ValueError that names the degenerate parameters and the reason."""


# ------------------------------------------------------------------------------------------------------------ bounds


@generic
def confine(spec, params):
    """params <- params within their bounds, after an update; returns whether `wrap` is necessary."""


@generic
def wrap(spec, params, factors):
    """Replace parameters by equivalent ones, with the same outputs; in Python, between two steps.

    params, factors : modified in place. `factors` holds ones, and gets the change of the derivative by each parameter
    """


@generic
def rescale(spec, params, sensitivities, factors):
    """sensitivities <- sensitivities times factors, in the memory or in stored ones; in Python, after `wrap`."""


for _function in (prepare, propagate, wrap, rescale):
    _function.otherwise(lambda spec, *arguments: None)
for _function in (degenerate, confine, feedforward):
    _function.otherwise(lambda spec, *arguments: False)


# ------------------------------------------------------------------------------------------------------- reference


@generic
def preactivations(spec, params, state_tm1, x_t):
    """The numbers that enter the activation function, as one array. Gradient checks keep them away from the kink at 0.

    A cell without a kink registers nothing.
    """


@preactivations.otherwise
def _no_kink(spec, params, state_tm1, x_t):
    return np.full(1, np.inf)


@generic
def plain_forward(spec, params, state_tm1, x_t):
    """Return (state_t, y_t) as new arrays. Parameters, state and input may be complex."""


@generic
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    """Return (dstate_tm1, gradient in the views of the parameters, dx) as new arrays."""


@generic
def plain_advance(spec, params, memory, x_t):
    """Return the memory after one step, as new arrays."""


@generic
def plain_gradient(spec, params, memory, dy):
    """Return (gradient in the views of the parameters, dx) as new arrays."""


# ----------------------------------------------------------------------------------------------------------- costs


class Flops(NamedTuple):
    """Floating-point operations of the functions above, as `rtu_np.costs` counts them."""

    prepare: int
    forward: int
    backward: int
    dx: int  # added to `backward` if it writes dL/dx
    output_forward: int = 0  # the part of `forward` that `replay` leaves out
    output_backward: int = 0  # the part of `backward` that is left out if dy is zero
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
    """Operations of one learning step, up to adding the gradient to a trace. A gradient method may register its own."""


@learning_flops.otherwise
def _own_sensitivities(spec):
    count = flops(spec)
    return count.move + count.propagate + count.credit + count.accumulate


# ------------------------------------------------------------------------------------------------- specs within specs


@generic
def pair_views(spec, lower, upper):
    """The views of a lower and an upper layer, as one NamedTuple."""


@generic
def map_layers(spec, convert):
    """The spec with `convert` applied to each of its layers. A spec without layers stays as it is."""


map_layers.otherwise(lambda spec, convert: spec)


def delegate(kind: type, *more: Any) -> None:
    """Register for specs of the type `kind` the functions of their field `cell`: all but those of RTRL, and `more`."""

    def pass_on(function):
        function.register(kind)(lambda spec, *arguments: function(spec.cell, *arguments))

    for function in (parameters, state, record, work, prepare, forward, replay, backward, degenerate, confine, wrap):
        pass_on(function)
    for function in (feedforward, why_degenerate, preactivations, plain_forward, plain_backward, *more):
        pass_on(function)
