"""The gated recurrent unit (Cho et al. 2014), with PyTorch's equations and gate order r, z, n.

    r = sigmoid(x W_ir + b_ir + h W_hr + b_hr)                   W_input = [W_ir, W_iz, W_in]         derivations (34)
    z = sigmoid(x W_iz + b_iz + h W_hz + b_hz)                   W_recurrent = [W_hr, W_hz, W_hn]
    n = tanh(x W_in + b_in + r * (h W_hn + b_hn))
    h' = (1 - z) * n + z * h,     y = h'

One step of reverse mode, with D = dh' + dy and m = h W_hn + b_hn:

    dn = D (1 - z) (1 - n^2)     dr = dn m r (1 - r)     dz = D (h - n) z (1 - z)          before the activations
    gates on the input's side [dr, dz, dn], on the state's side [dr, dz, r dn]
    dh = z D + W_recurrent [dr, dz, r dn]                        dx = W_input [dr, dz, dn]

The cell has no sensitivities of its own, so its RTRL is full RTRL (`rtu_np.gradients.rtrl`).
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.layer import Cell
from rtu_np.cells.states import HiddenState, hidden_state
from rtu_np.gradients.recurrent_slopes import (
    advance_biases,
    advance_directly,
    advance_rows,
    input_slope_flops,
    input_slopes,
    recurrent_slopes,
    slope_flops,
)
from rtu_np.jit import like, noalias
from rtu_np.numerics.buffers import aligned, copy
from rtu_np.numerics.elementary import sigmoid, tanh
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.products import add_outer, add_product, pull_back
from rtu_np.protocol import PerUnit
from rtu_np.validation import check_count, make_plain


@dataclass(frozen=True)
class GRU(Cell):
    """A layer of gated recurrent units (Cho et al. 2014; derivations (34)).

    With d inputs, its parameters are W_input (d, 3n), W_recurrent (n, 3n), b_input and b_recurrent (3n,). The gates are
    in PyTorch's order r, z, n. All parameters start uniform in +-1/sqrt(n), as in PyTorch.

    Parameters
    ----------
    n_hidden : number of units n, and of outputs

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> GRU(n_hidden=8).build(n_inputs=3, seed=0).advance([1.0, 0.0, -1.0]).shape
    (8,)
    """

    n_hidden: int

    def __post_init__(self) -> None:
        check_count("n_hidden", self.n_hidden)
        make_plain(self)

    def spec(self, n_inputs: int) -> "GRUSpec":
        return GRUSpec(n_inputs, self.n_hidden, self.n_hidden)

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        bound = 1 / np.sqrt(self.n_hidden)
        for view in params:
            view[:] = rng.uniform(-bound, bound, view.shape)


# ----------------------------------------------------------------------------------------------------------- types


class GRUSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int


PerGate = Annotated[np.ndarray, "3 * spec.n_hidden"]  # r, z, n


class GRUParameters(NamedTuple):
    W_input: Annotated[np.ndarray, "spec.n_inputs", "3 * spec.n_hidden"]  # columns: r, z, n
    W_recurrent: Annotated[np.ndarray, "spec.n_hidden", "3 * spec.n_hidden"]
    b_input: PerGate
    b_recurrent: PerGate


class GRURecord(NamedTuple):
    state: Annotated[HiddenState, hidden_state, aligned]
    y: PerUnit
    r: PerUnit
    z: PerUnit
    n: PerUnit
    m: PerUnit  # h W_hn + b_hn


class GRUWork(NamedTuple):
    on_input: PerGate  # x W_input + b_input; the gates' gradient in reverse mode
    on_state: PerGate  # h W_recurrent + b_recurrent; likewise
    dh: PerUnit  # scratch


protocol.parameters.register(GRUSpec)(layout_of(GRUParameters))
protocol.state.register(GRUSpec)(hidden_state)
protocol.record.register(GRUSpec)(layout_of(GRURecord))
protocol.work.register(GRUSpec)(layout_of(GRUWork))


# ------------------------------------------------------------------------------------------- reference: plain NumPy


def _plain_gates(params, state_tm1, x_t):
    """(r, z, n, m)"""
    input_r, input_z, input_n = np.split(x_t @ params.W_input + params.b_input, 3)
    state_r, state_z, m = np.split(state_tm1.h @ params.W_recurrent + params.b_recurrent, 3)
    r, z = 1 / (1 + np.exp(-(input_r + state_r))), 1 / (1 + np.exp(-(input_z + state_z)))
    return r, z, np.tanh(input_n + r * m), m


@protocol.plain_forward.register(GRUSpec)
def plain_forward(spec, params, state_tm1, x_t):
    _, z, n, _ = _plain_gates(params, state_tm1, x_t)
    h = (1 - z) * n + z * state_tm1.h
    return HiddenState(h), h


@protocol.plain_backward.register(GRUSpec)
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    r, z, n, m = _plain_gates(params, state_tm1, x_t)
    dh = dstate.h + dy
    dn = dh * (1 - z) * (1 - n**2)
    dr = dn * m * r * (1 - r)
    dz = dh * (state_tm1.h - n) * z * (1 - z)
    on_input, on_state = np.concatenate([dr, dz, dn]), np.concatenate([dr, dz, r * dn])
    gradient = GRUParameters(np.outer(x_t, on_input), np.outer(state_tm1.h, on_state), on_input, on_state)
    return HiddenState(z * dh + params.W_recurrent @ on_state), gradient, params.W_input @ on_input


# --------------------------------------------------------------------------------------------------------- kernels


@protocol.forward.register(GRUSpec)
@noalias
def forward(spec, params, work, state_tm1, x_t, record):
    k, on_input, on_state = spec.n_hidden, work.on_input, work.on_state
    copy(params.b_input, on_input)
    copy(params.b_recurrent, on_state)
    add_product(x_t, params.W_input, on_input)
    add_product(state_tm1.h, params.W_recurrent, on_state)
    for i in range(k):
        r = sigmoid(on_input[i] + on_state[i])
        record.r[i] = r
        record.n[i] = tanh(on_input[2 * k + i] + r * on_state[2 * k + i])
        record.m[i] = on_state[2 * k + i]
    for i in range(k):
        z = sigmoid(on_input[k + i] + on_state[k + i])
        h = record.n[i] + z * (state_tm1.h[i] - record.n[i])
        record.z[i] = z
        record.state.h[i] = h
        record.y[i] = h


@protocol.backward.register(GRUSpec)
@noalias
def backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    k, on_input, on_state, dh, out = spec.n_hidden, work.on_input, work.on_state, work.dh, adjoint.params
    one = dh.dtype.type(1)  # a bare 1 would lift float32 arithmetic to float64
    for i in range(k):
        r, z, n = record.r[i], record.z[i], record.n[i]
        total = adjoint.state.h[i] + dy[i]
        carried = z * total
        dn = (total - carried) * (one - n * n)
        dr = dn * record.m[i] * r * (one - r)
        dz = carried * (one - z) * (state_tm1.h[i] - n)
        dh[i] = carried
        on_input[i] = dr
        on_input[k + i] = dz
        on_input[2 * k + i] = dn
        on_state[i] = dr
        on_state[k + i] = dz
        on_state[2 * k + i] = r * dn
    for i in range(3 * k):
        out.b_input[i] += on_input[i]
        out.b_recurrent[i] += on_state[i]
    add_outer(x_t, on_input, out.W_input)
    add_outer(state_tm1.h, on_state, out.W_recurrent)
    pull_back(params.W_recurrent, on_state, adjoint.state.h)
    for i in range(k):
        adjoint.state.h[i] += dh[i]
    pull_back(params.W_input, on_input, adjoint.x)


@recurrent_slopes.register(GRUSpec)
@noalias
def slopes(spec, state_tm1, record, keep, by):
    k = spec.n_hidden
    for i in range(k):
        r, z, n = record.r[i], record.z[i], record.n[i]
        one = like(r, 1.0)
        dn = (one - z) * (one - n * n)
        keep[i] = z
        by[i] = dn * record.m[i] * r * (one - r)
        by[k + i] = (state_tm1.h[i] - n) * z * (one - z)
        by[2 * k + i] = dn * r


@input_slopes.register(GRUSpec)
@noalias
def slopes_of_input(spec, record, by, by_input):
    k = spec.n_hidden
    copy(by[: 2 * k], by_input[: 2 * k])
    for i in range(k):
        one = like(record.z[i], 1.0)
        by_input[2 * k + i] = (one - record.z[i]) * (one - record.n[i] * record.n[i])


@advance_directly.register(GRUSpec)
def advance_own(spec, J, by_input, by, x, state_tm1, S):
    advance_rows(J, by_input, x, S.W_input)
    advance_rows(J, by, state_tm1.h, S.W_recurrent)
    advance_biases(J, by_input, S.b_input)
    advance_biases(J, by, S.b_recurrent)


# ----------------------------------------------------------------------------------------------------------- costs


@protocol.flops.register(GRUSpec)
def flops(spec):
    n, d = spec.n_hidden, spec.n_inputs
    forward, backward = 6 * n * (d + n) + 14 * n, 6 * n * d + 12 * n * n + 22 * n
    return protocol.Flops(prepare=0, forward=forward, backward=backward, dx=6 * n * d)


slope_flops.register(GRUSpec)(lambda spec: 13 * spec.n_hidden)
input_slope_flops.register(GRUSpec)(lambda spec: 4 * spec.n_hidden)
