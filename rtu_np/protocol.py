"""The cell protocol, on one page.

A *cell* is a small frozen dataclass of settings, `LinearRTU(n_hidden=16)` (see `rtu_np.cells.layer.Cell`). Given an
input width it makes a *spec*, a NamedTuple of sizes and types. Learners are written once against the functions below,
all of which are chosen by the type of the spec: in compiled code while it compiles, in Python by a table
(`rtu_np.jit.generic`).

What every cell provides
------------------------
layout      `parameters`, `state`: named views into flat buffers (`rtu_np.numerics.buffers`).
step        `forward`, the step alone; `backward`, one step of reverse mode.
reference   `plain_forward`, `plain_backward`: the same in plain, allocating NumPy, to be read beside the equations.
            `plain_forward` takes complex numbers, for the complex-step derivative.

That is enough for truncated BPTT, and for RTRL by the dense recursion S <- J S + F (`rtu_np.gradients`).

What a cell with sensitivities of its own adds
----------------------------------------------
layout      `memory`: state, sensitivities and scratch.
RTRL        `move` and `propagate`, together `advance`: the step, then its sensitivities; `credit`: the part of the
            gradient that needs the parameters; `accumulate`: the gradient into a trace; `learn`: update, sensitivities
            and traces in one pass; `input_gradient`.
stored      `sensitivities`, `keep` and `recall`: the sensitivities of one step put aside, and used later (PPO).
reference   `plain_advance`, `plain_gradient`.

What a cell may add
-------------------
`work` and `prepare`, where much of a step depends on the parameters alone; `record`, where reverse mode needs more than
state and output; `degenerate`, where parameters exist without a derivative; `preactivations`, where there is a kink.

Kernels write in place, allocate nothing and return nothing. The reference shares no arithmetic with them, so that a
mistake in one shows against the other. docs/own_stream.md builds a cell from scratch.
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np.jit import generic, kernel
from rtu_np.numerics.buffers import add_scaled, aligned, vector

# ---------------------------------------------------------------------------------------------------------- layout


@generic(apart=True)
def parameters(spec, flat):
    """Carve the parameters off `flat`: (views, rest)."""


@generic(apart=True)
def state(spec, flat):
    """Carve the recurrent state off `flat`: (views, rest)."""


class Record(NamedTuple):
    """One step, as reverse mode needs it: at least these two."""

    state: Any
    y: np.ndarray


@generic(apart=True)
def record(spec, flat):
    """Carve a record of one step off `flat`: (views, rest). Its first elements are the state after the step."""


@record.otherwise
def _state_and_output(spec, flat):
    views, rest = state(spec, flat)
    _, flat = aligned(flat, rest)
    y, flat = vector(flat, spec.n_outputs)
    return Record(views, y), flat


class NoWork(NamedTuple):
    pass


@generic(apart=True)
def work(spec, flat):
    """Carve off `flat` what `prepare` writes, and room for scratch: (views, rest)."""


@work.otherwise
def _no_work(spec, flat):
    return NoWork(), flat


# ------------------------------------------------------------------------------------------------------------ step


@generic
def prepare(spec, params, work):
    """What depends on the parameters alone, once for all steps that are made with them."""


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

    adjoint.state comes in as the later steps' dL/dstate_t and leaves as dL/dstate_tm1; this step's share of the
    gradient is added to adjoint.params; adjoint.x is overwritten with dL/dx_t, where it has room for it.
    """


# ------------------------------------------------------------------------------------------------------------ RTRL


@generic(apart=True)
def memory(spec, flat):
    """Carve the memory of RTRL off `flat`: (views, rest). It has fields `state` and `y`; zeros are a fresh start."""


@generic
def move(spec, params, memory, x_t):
    """state_tm1 -> state_t and memory.y, keeping what `propagate` will need."""


@generic
def propagate(spec, memory):
    """Bring the sensitivities of the state to the parameters up to the step that `move` has made."""


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
def learn(spec, params, traces, memory, decay, scale):
    """Update, propagate and accumulate in one pass over memory, after `move` and `credit`. By default, three passes.

    params <- params + scale traces (left out where scale is None), with the traces up to t-1; then sensitivities; then
    traces <- decay traces + (dy_t/dparams)^T dy. `memory` holds all that came of the earlier parameters.
    """


@learn.otherwise
def _learn_in_three_passes(spec, params, traces, memory, decay, scale):
    if scale is not None:
        add_scaled(params, traces, scale)
    propagate(spec, memory)
    accumulate(spec, memory, decay, traces)


# ------------------------------------------------------------------------------------------- stored sensitivities


@generic(apart=True)
def sensitivities(spec, flat):
    """Carve room for the sensitivities of the state, put aside at one step, off `flat`: (views, rest)."""


@generic
def keep(spec, memory, kept):
    """kept <- the sensitivities of the present state. Between two steps; memory stays as it is."""


@generic
def recall(spec, kept, dstate, out):
    """out <- out + (dstate/dparams)^T dstate, with the sensitivities as they were kept; dstate begins a flat array."""


class NoSensitivities(NamedTuple):
    pass


def without_sensitivities(kind: type) -> None:
    """Register for the spec `kind` that there is nothing to put aside: no state, or none that is differentiated."""
    sensitivities.register(kind)(lambda spec, flat: (NoSensitivities(), flat))
    for function in (keep, recall):
        function.register(kind)(lambda spec, *arguments: None)


# ---------------------------------------------------------------------------------------------------- degeneration


@generic
def degenerate(spec, params):
    """Whether there are parameters at which the recurrence has no derivative. Never, where a cell does not say."""


@degenerate.otherwise
def _never(spec, params):
    return False


@generic
def why_degenerate(spec, params):
    """The sentence that tells a user which parameters are degenerate, and why."""


# ------------------------------------------------------------------------------------------------------- reference


@generic
def preactivations(spec, params, state_tm1, x_t):
    """Array of what enters the activation function, which gradient checks keep away from its kink at 0.

    A cell without a kink need not say.
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


# ------------------------------------------------------------------------------------------------- specs within specs


@generic
def together(spec, lower, upper):
    """What belongs to the two layers of a pair, as one NamedTuple."""


@generic
def layerwise(spec, convert):
    """The spec with `convert` applied to each of its layers; itself, where it has none."""


@layerwise.otherwise
def _no_layers(spec, convert):
    return spec


def delegate(kind: type, *more: Any) -> None:
    """Register for the spec `kind`, which holds another in its field `cell`, all of that one's but RTRL, and `more`."""

    def pass_on(function):
        function.register(kind)(lambda spec, *arguments: function(spec.cell, *arguments))

    for function in (parameters, state, record, work, prepare, forward, backward, degenerate):
        pass_on(function)
    for function in (why_degenerate, preactivations, plain_forward, plain_backward, *more):
        pass_on(function)
