"""The block-diagonal recurrent network: a unit sees itself and one partner (Elelimy et al. 2024, Fig. 11).

Units 2k and 2k+1 are a pair. W_recurrent[k, a, b] is the weight from unit 2k+a to unit 2k+b. For b = 0, 1, in row
vectors,

    z_{2k+b} = x W_input + h_{2k} W_recurrent[k, 0, b] + h_{2k+1} W_recurrent[k, 1, b] + b         derivations (35)
    h_t = f(z),     y_t = h_t

A pair's state depends on the pair's parameters alone. So each parameter has two sensitivities, e0 and e1 of the units:

    e0' = f'_0 (W[0,0] e0 + W[1,0] e1 + s_0)       s_b is the signal that a parameter of unit 2k+b is multiplied with:
    e1' = f'_1 (W[0,1] e0 + W[1,1] e1 + s_1)       x_j, h_{2k+a,t-1} or 1; and 0 for the other unit

A parameter array has two arrays of sensitivities of its size, for the even and for the odd unit of the pairs. Numbers
that belong to a pair are stored for both units, so that loops run over units without a gap.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.initializers import LecunNormal
from rtu_np.cells.ring import Ring
from rtu_np.cells.states import HiddenState, hidden_state
from rtu_np.gradients.layers import name_of
from rtu_np.jit import kernel, noalias
from rtu_np.numerics.activations import (
    Activation,
    activate,
    activation,
    activation_flops,
    plain_activate,
    plain_slope,
    slope,
)
from rtu_np.numerics.buffers import aligned, assign, copy
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.products import add_outer, add_product, pull_back
from rtu_np.protocol import PerInput, PerUnit, PerWeight
from rtu_np.validation import check_count


@dataclass(frozen=True)
class BlockDiagonalRNN(Ring):
    """A layer of n units in n / 2 pairs (Elelimy et al. 2024, Fig. 11; derivations (35)).

    With d inputs, its parameters are W_input (d, n), W_recurrent (n/2, 2, 2) and b (n,). W_input starts LeCun normal,
    scaled by sqrt(1 - r^2) as in a linear RTU. b starts at zero.

    Parameters
    ----------
    n_hidden : number of units n, and of outputs; even
    activation : "identity", "relu", "leaky_relu" or "tanh"
    r_min, r_max, max_phase : of the eigenvalues, with phases in radians per step, see `rtu_np.cells.ring`; blocks
        start as scaled rotations

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> BlockDiagonalRNN(n_hidden=8).build(n_inputs=3, seed=0).advance([1.0, 0.0, -1.0]).shape
    (8,)
    """

    n_hidden: int
    activation: str = "tanh"

    def __post_init__(self) -> None:
        check_count("n_hidden", self.n_hidden)
        if self.n_hidden % 2:
            raise ValueError(f"n_hidden is {self.n_hidden}: expected an even number, as units come in blocks of two")
        activation(self.activation)
        super().__post_init__()

    def spec(self, n_inputs: int) -> "BlockDiagonalSpec":
        return BlockDiagonalSpec(n_inputs, self.n_hidden, self.n_hidden, activation(self.activation))

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        nu, theta = self.draw(self.n_hidden // 2, rng)
        r = np.exp(-nu)
        cosine, sine = r * np.cos(theta), r * np.sin(theta)
        params.W_recurrent[:] = np.array([[cosine, sine], [-sine, cosine]]).transpose(2, 0, 1)
        scale = np.repeat(np.sqrt(-np.expm1(-2 * nu)), 2)
        params.W_input[:] = scale * LecunNormal().weights(params.W_input.shape, rng)


# ----------------------------------------------------------------------------------------------------------- types


class BlockDiagonalSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    activation: Activation


PerRecurrent = Annotated[np.ndarray, 2, "spec.n_hidden"]  # row a: to W_recurrent[k, a, b], column 2k+b


class BlockDiagonalParameters(NamedTuple):
    W_input: PerWeight
    W_recurrent: Annotated[np.ndarray, "spec.n_hidden // 2", 2, 2]  # pair, from, to
    b: PerUnit


class BlockDiagonalWork(NamedTuple):
    dz: PerUnit  # scratch


class BlockDiagonalMemory(NamedTuple):
    state: Annotated[HiddenState, hidden_state, aligned]
    dh0_dW_input: PerWeight  # sensitivity of the even unit of the pair
    dh1_dW_input: PerWeight  # and of the odd one
    dh0_dW_recurrent: PerRecurrent
    dh1_dW_recurrent: PerRecurrent
    dh0_db: PerUnit
    dh1_db: PerUnit
    y: PerUnit  # the latest output
    x: PerInput  # the latest input
    dz: PerUnit  # f'(z) dy
    credit0: PerUnit  # dy of the even unit of the pair
    credit1: PerUnit  # and of the odd one
    J00: PerUnit  # dh0/dh0 of the pair, and so on
    J01: PerUnit  # dh0/dh1
    J10: PerUnit
    J11: PerUnit
    slope0: PerUnit  # f'_0 at even units, 0 at odd ones
    slope1: PerUnit  # f'_1 at odd units, 0 at even ones


class BlockDiagonalSensitivities(NamedTuple):
    dh0_dW_input: PerWeight
    dh1_dW_input: PerWeight
    dh0_dW_recurrent: PerRecurrent
    dh1_dW_recurrent: PerRecurrent
    dh0_db: PerUnit
    dh1_db: PerUnit
    credit0: PerUnit  # dL/dh of the even unit of the pair, by which the sensitivities are multiplied
    credit1: PerUnit  # and of the odd one


protocol.parameters.register(BlockDiagonalSpec)(layout_of(BlockDiagonalParameters))
protocol.state.register(BlockDiagonalSpec)(hidden_state)
protocol.work.register(BlockDiagonalSpec)(layout_of(BlockDiagonalWork))
protocol.memory.register(BlockDiagonalSpec)(layout_of(BlockDiagonalMemory))
name_of.register(BlockDiagonalSpec)(lambda spec: "BlockDiagonalRNN")
protocol.stored_sensitivities.register(BlockDiagonalSpec)(layout_of(BlockDiagonalSensitivities))


# ------------------------------------------------------------------------------------------- reference: plain NumPy


@protocol.preactivations.register(BlockDiagonalSpec)
def preactivations(spec, params, state_tm1, x_t):
    pairs = state_tm1.h.reshape(-1, 1, 2)
    return x_t @ params.W_input + (pairs @ params.W_recurrent).ravel() + params.b


@protocol.plain_forward.register(BlockDiagonalSpec)
def plain_forward(spec, params, state_tm1, x_t):
    h = plain_activate(spec.activation, preactivations(spec, params, state_tm1, x_t))
    return HiddenState(h), h


@protocol.plain_backward.register(BlockDiagonalSpec)
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    dz = plain_slope(spec.activation, state_t.h) * (dstate.h + dy)
    h_tm1, dz_pairs = state_tm1.h.reshape(-1, 2, 1), dz.reshape(-1, 1, 2)
    gradient = BlockDiagonalParameters(np.outer(x_t, dz), h_tm1 * dz_pairs, dz)
    dh = (params.W_recurrent @ dz.reshape(-1, 2, 1)).ravel()
    return HiddenState(dh), gradient, params.W_input @ dz


@protocol.plain_advance.register(BlockDiagonalSpec)
def plain_advance(spec, params, memory, x_t):
    # Every array of sensitivities e is (..., n/2, 2: the unit of the parameter, 2: the unit whose sensitivity it is).
    h_tm1 = memory.state.h.reshape(-1, 2)
    state, y = plain_forward(spec, params, memory.state, x_t)
    slope = plain_slope(spec.activation, y).reshape(-1, 1, 2)
    own = np.eye(2)

    def step(e0, e1, signal):
        e = np.stack([e0, e1], axis=-1).reshape(*e0.shape[:-1], -1, 2, 2)
        e = slope * (e @ params.W_recurrent + signal[..., None, None] * own)
        return e[..., 0].reshape(e0.shape), e[..., 1].reshape(e0.shape)

    pairs = spec.n_hidden // 2
    W_input = step(memory.dh0_dW_input, memory.dh1_dW_input, np.repeat(x_t[:, None], pairs, axis=1))
    W_recurrent = step(memory.dh0_dW_recurrent, memory.dh1_dW_recurrent, h_tm1.T)
    b = step(memory.dh0_db, memory.dh1_db, np.ones(pairs))
    fields = ("dh0_dW_input", "dh1_dW_input", "dh0_dW_recurrent", "dh1_dW_recurrent", "dh0_db", "dh1_db")
    return memory._replace(state=state, y=y, x=x_t, **dict(zip(fields, (*W_input, *W_recurrent, *b), strict=True)))


@protocol.plain_gradient.register(BlockDiagonalSpec)
def plain_gradient(spec, params, memory, dy):
    dy0, dy1 = np.repeat(dy[::2], 2), np.repeat(dy[1::2], 2)
    blocks = dy0 * memory.dh0_dW_recurrent + dy1 * memory.dh1_dW_recurrent
    gradient = BlockDiagonalParameters(
        dy0 * memory.dh0_dW_input + dy1 * memory.dh1_dW_input,
        blocks.reshape(2, -1, 2).transpose(1, 0, 2),
        dy0 * memory.dh0_db + dy1 * memory.dh1_db,
    )
    return gradient, params.W_input @ (plain_slope(spec.activation, memory.y) * dy)


# --------------------------------------------------------------------------------------------------------- kernels


@kernel
@noalias
def _preactivate(spec, params, h, x_t, z):
    copy(params.b, z)
    add_product(x_t, params.W_input, z)
    for k in range(spec.n_hidden // 2):
        W, h0, h1 = params.W_recurrent[k], h[2 * k], h[2 * k + 1]
        z[2 * k] += W[0, 0] * h0 + W[1, 0] * h1
        z[2 * k + 1] += W[0, 1] * h0 + W[1, 1] * h1


@protocol.forward.register(BlockDiagonalSpec)
@noalias
def forward(spec, params, work, state_tm1, x_t, record):
    h = record.state.h
    _preactivate(spec, params, state_tm1.h, x_t, h)
    for i in range(spec.n_hidden):
        h[i] = activate(spec.activation, h[i])
        record.y[i] = h[i]


@protocol.backward.register(BlockDiagonalSpec)
@noalias
def backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    dz, dh, h, out = work.dz, adjoint.state.h, state_tm1.h, adjoint.params
    for i in range(spec.n_hidden):
        dz[i] = slope(spec.activation, record.y[i]) * (dh[i] + dy[i])
        out.b[i] += dz[i]
    add_outer(x_t, dz, out.W_input)
    for k in range(spec.n_hidden // 2):
        W, dW, dz0, dz1 = params.W_recurrent[k], out.W_recurrent[k], dz[2 * k], dz[2 * k + 1]
        for a in range(2):
            dW[a, 0] += h[2 * k + a] * dz0
            dW[a, 1] += h[2 * k + a] * dz1
            dh[2 * k + a] = W[a, 0] * dz0 + W[a, 1] * dz1
    pull_back(params.W_input, dz, adjoint.x)


@protocol.move.register(BlockDiagonalSpec)
@noalias
def move(spec, params, memory, x_t):
    n, h, y = spec.n_hidden, memory.state.h, memory.y
    copy(x_t, memory.x)
    _preactivate(spec, params, h, x_t, y)
    for i in range(n):
        y[i] = activate(spec.activation, y[i])
    for k in range(n // 2):
        W, f0, f1 = params.W_recurrent[k], slope(spec.activation, y[2 * k]), slope(spec.activation, y[2 * k + 1])
        memory.slope0[2 * k] = f0
        memory.slope1[2 * k + 1] = f1
        for i in range(2 * k, 2 * k + 2):
            memory.J00[i] = f0 * W[0, 0]
            memory.J01[i] = f0 * W[1, 0]
            memory.J10[i] = f1 * W[0, 1]
            memory.J11[i] = f1 * W[1, 1]
    _propagate_small(spec, memory)
    copy(y, h)


@kernel
@noalias
def _propagate_small(spec, memory):
    """Advance the sensitivities to W_recurrent and b. They need the state before the step."""
    h, J00, J01, J10, J11 = memory.state.h, memory.J00, memory.J01, memory.J10, memory.J11
    for a in range(2):
        e0, e1 = memory.dh0_dW_recurrent[a], memory.dh1_dW_recurrent[a]
        for i in range(spec.n_hidden):
            h_a, e0_tm1 = h[i - i % 2 + a], e0[i]
            e0[i] = J00[i] * e0_tm1 + J01[i] * e1[i] + memory.slope0[i] * h_a
            e1[i] = J10[i] * e0_tm1 + J11[i] * e1[i] + memory.slope1[i] * h_a
    e0, e1 = memory.dh0_db, memory.dh1_db
    for i in range(spec.n_hidden):
        e0_tm1 = e0[i]
        e0[i] = J00[i] * e0_tm1 + J01[i] * e1[i] + memory.slope0[i]
        e1[i] = J10[i] * e0_tm1 + J11[i] * e1[i] + memory.slope1[i]


@protocol.propagate.register(BlockDiagonalSpec)
@noalias
def propagate(spec, memory):
    e0, e1 = memory.dh0_dW_input, memory.dh1_dW_input
    for j in range(spec.n_inputs):
        x_j = memory.x[j]
        for i in range(spec.n_hidden):
            e0_tm1 = e0[j, i]
            e0[j, i] = memory.J00[i] * e0_tm1 + memory.J01[i] * e1[j, i] + memory.slope0[i] * x_j
            e1[j, i] = memory.J10[i] * e0_tm1 + memory.J11[i] * e1[j, i] + memory.slope1[i] * x_j


@protocol.credit.register(BlockDiagonalSpec)
@noalias
def credit(spec, params, memory, dy):
    for i in range(spec.n_hidden):
        memory.dz[i] = slope(spec.activation, memory.y[i]) * dy[i]
        memory.credit0[i] = dy[i - i % 2]
        memory.credit1[i] = dy[i - i % 2 + 1]


@kernel
@noalias
def _contract(spec, sensitivities, decay, out):
    """out <- decay out + (dh/dparameter)^T credit, with the given sensitivities."""
    c0, c1 = sensitivities.credit0, sensitivities.credit1
    for j in range(spec.n_inputs):
        for i in range(spec.n_hidden):
            gradient = c0[i] * sensitivities.dh0_dW_input[j, i] + c1[i] * sensitivities.dh1_dW_input[j, i]
            out.W_input[j, i] = decay * out.W_input[j, i] + gradient
    for i in range(spec.n_hidden):
        out.b[i] = decay * out.b[i] + c0[i] * sensitivities.dh0_db[i] + c1[i] * sensitivities.dh1_db[i]
        for a in range(2):
            gradient = c0[i] * sensitivities.dh0_dW_recurrent[a, i] + c1[i] * sensitivities.dh1_dW_recurrent[a, i]
            out.W_recurrent[i // 2, a, i % 2] = decay * out.W_recurrent[i // 2, a, i % 2] + gradient


@kernel
def _sensitivities_of(memory):
    weights = (memory.dh0_dW_input, memory.dh1_dW_input, memory.dh0_dW_recurrent, memory.dh1_dW_recurrent)
    return BlockDiagonalSensitivities(*weights, memory.dh0_db, memory.dh1_db, memory.credit0, memory.credit1)


@protocol.accumulate.register(BlockDiagonalSpec)
def accumulate(spec, memory, decay, out):
    _contract(spec, _sensitivities_of(memory), decay, out)


@protocol.store_sensitivities.register(BlockDiagonalSpec)
def store_sensitivities(spec, memory, stored):
    assign(stored, _sensitivities_of(memory))


@protocol.accumulate_stored.register(BlockDiagonalSpec)
@noalias
def accumulate_stored(spec, stored, dstate, out):
    for i in range(spec.n_hidden):
        stored.credit0[i] = dstate[i - i % 2]
        stored.credit1[i] = dstate[i - i % 2 + 1]
    _contract(spec, stored, stored.credit0.dtype.type(1), out)


@protocol.input_gradient.register(BlockDiagonalSpec)
@noalias
def input_gradient(spec, params, memory, dx):
    pull_back(params.W_input, memory.dz, dx)


# ----------------------------------------------------------------------------------------------------------- costs


@protocol.flops.register(BlockDiagonalSpec)
def flops(spec):
    n, d, (f, slope) = spec.n_hidden, spec.n_inputs, activation_flops(spec.activation)
    return protocol.Flops(
        prepare=0,
        forward=2 * n * d + n * (4 + f),
        backward=2 * n * d + n * (slope + 3 + 7),
        dx=2 * n * d,
        move=2 * n * d + n * (4 + f + slope + 4 + 28),
        propagate=10 * n * d,
        credit=n * (slope + 1),
        accumulate=5 * n * d + 15 * n,
        input_gradient=2 * n * d,
    )
