"""The cell protocol, on one page.

A *cell* is a small frozen dataclass of settings, `LinearRTU(n_hidden=16)` (see `rtu_np.cells.layer.Cell`). Given an
input width it makes a *spec*, a NamedTuple of sizes and types. Learners are written once against the functions below,
all of which are chosen by the type of the spec: in compiled code while it compiles, in Python by a table
(`rtu_np.jit.generic`).

What a cell provides
--------------------
layout      `parameters`, `state`, `memory`: named views into flat buffers (`rtu_np.buffers`). A memory is the state,
            the sensitivities and scratch; it has a field `y`, the output of the latest step.
step        `forward`, the step alone; `backward`, one step of reverse mode.
RTRL        `move` and `propagate`, together `advance`: the step, then its sensitivities; `accumulate`: the gradient
            into a trace; `learn`: update, sensitivities and traces in one pass; `input_gradient`.
reference   `plain_forward`, `plain_advance`, `plain_gradient`, `plain_backward`: the same in plain, allocating NumPy,
            to be read beside the equations. `plain_forward` takes complex numbers, for the complex-step derivative.

Kernels write in place, allocate nothing and return nothing. The reference shares no arithmetic with them, so that a
mistake in one shows against the other. docs/own_stream.md builds a cell from scratch.
"""

import numpy as np

from rtu_np.buffers import add_scaled
from rtu_np.jit import generic, kernel

# ---------------------------------------------------------------------------------------------------------- layout


@generic
def parameters(spec, flat):
    """Carve the parameters off `flat`: (views, rest)."""


@generic
def state(spec, flat):
    """Carve the recurrent state off `flat`: (views, rest)."""


@generic
def memory(spec, flat):
    """Carve the memory of RTRL off `flat`: (views, rest). Its first elements are the state; zeros are a fresh start."""


# ------------------------------------------------------------------------------------------------------------ step


@generic
def forward(spec, params, state_tm1, x_t, state_t, y_t):
    """The step alone: state_tm1, x_t -> state_t, y_t. The two states are different buffers."""


@generic
def backward(spec, params, state_tm1, x_t, state_t, dy, dstate, out, dx):
    """One step of reverse mode, for L = sum over steps of dy . y.

    `dstate` comes in as the later steps' dL/dstate_t and leaves as dL/dstate_tm1; this step's share of the gradient is
    added to `out`; `dx` is overwritten with dL/dx_t.
    """


# ------------------------------------------------------------------------------------------------------------ RTRL


@generic
def move(spec, params, memory, x_t):
    """state_tm1 -> state_t and memory.y, keeping what `propagate` will need."""


@generic
def propagate(spec, memory):
    """Bring the sensitivities of the state to the parameters up to the step that `move` has made."""


@kernel
def advance(spec, params, memory, x_t):
    """One step of the state and of its sensitivities."""
    move(spec, params, memory, x_t)
    propagate(spec, memory)


@generic
def accumulate(spec, memory, dy, decay, out):
    """out <- decay out + (dy_t/dparams)^T dy."""


@generic
def learn(spec, params, traces, memory, dy, decay, scale):
    """Update, propagate and accumulate in one pass over memory, after `move`. By default, three passes.

    params <- params + scale traces (left out where scale is None), with the traces up to t-1; then sensitivities; then
    traces <- decay traces + (dy_t/dparams)^T dy. `memory` holds all that came of the earlier parameters.
    """


@learn.otherwise
def _learn_in_three_passes(spec, params, traces, memory, dy, decay, scale):
    if scale is not None:
        add_scaled(params, traces, scale)
    propagate(spec, memory)
    accumulate(spec, memory, dy, decay, traces)


@generic
def input_gradient(spec, params, memory, dy, dx):
    """dx <- (dy_t/dx_t)^T dy, through the present step alone. `params` are those of the latest `move`."""


@generic
def degenerate(spec, params):
    """Whether there are parameters at which the recurrence has no derivative. Never, where a cell does not say."""


@degenerate.otherwise
def _never(spec, params):
    return False


# ------------------------------------------------------------------------------------------------------- reference


@generic
def why_degenerate(spec, params):
    """The sentence that tells a user which parameters are degenerate, and why."""


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
def plain_advance(spec, params, memory, x_t):
    """The memory after one step, as new arrays."""


@generic
def plain_gradient(spec, params, memory, dy):
    """(gradient as Parameters, dx)"""


@generic
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    """(dstate_tm1, gradient as Parameters, dx)"""
