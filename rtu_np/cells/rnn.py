"""The vanilla recurrent network (Elman 1990): every unit sees every other. With a leak, it is a leaky network.

    f_t = f(x_t W_input + h_{t-1} W_recurrent + b)        h_t = f_t        y_t = h_t                   derivations (33)
    with a leak a:                                        h_t = (1 - a) h_{t-1} + a f_t                derivations (92)

One step of reverse mode, with D = dh + dy, and dz = f'(z) D, or a f'(z) D with a leak:

    dh_{t-1} = W_recurrent dz [+ (1 - a) D]     dW_recurrent = h_{t-1}^T dz     dW_input = x^T dz     db = dz
    dx = W_input dz

The cell has no sensitivities of its own, so its RTRL is full RTRL (`rtu_np.gradients.rtrl`).
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.initializers import LecunNormal
from rtu_np.cells.layer import Cell
from rtu_np.cells.states import HiddenState, hidden_state
from rtu_np.checkpoint import added, shown
from rtu_np.gradients.layers import name_of
from rtu_np.gradients.recurrent_slopes import (
    advance_biases,
    advance_directly,
    advance_rows,
    recurrent_slopes,
    slope_flops,
)
from rtu_np.jit import like, noalias
from rtu_np.numerics.activations import (
    Activation,
    activate,
    activation,
    activation_flops,
    plain_activate,
    plain_slope,
    slope,
)
from rtu_np.numerics.buffers import aligned, copy
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.products import add_outer, add_product, dot, pull_back
from rtu_np.protocol import PerUnit, PerWeight
from rtu_np.validation import check_count, check_real, make_plain


@dataclass(frozen=True)
class VanillaRNN(Cell):
    """A layer of fully connected units with bias (Elman 1990; derivations (33), (92)).

    With d inputs, its parameters are W_input (d, n), W_recurrent (n, n) and b (n,). W_input starts LeCun normal,
    W_recurrent as a random orthogonal matrix, b at zero.

    Parameters
    ----------
    n_hidden : number of units n, and of outputs
    activation : "identity", "relu", "leaky_relu" or "tanh"
    leak : share a of its new value that a unit takes at each step, in (0, 1]; it keeps 1 - a of the last one

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> VanillaRNN(n_hidden=8).build(n_inputs=3, seed=0).advance([1.0, 0.0, -1.0]).shape
    (8,)
    """

    n_hidden: int
    activation: str = "tanh"
    leak: float = added(1.0)

    __repr__ = shown

    def __post_init__(self) -> None:
        check_count("n_hidden", self.n_hidden)
        activation(self.activation)
        check_real("leak", self.leak, low=0.0, high=1.0, low_open=True)
        make_plain(self)

    def spec(self, n_inputs: int) -> Any:
        sizes = (n_inputs, self.n_hidden, self.n_hidden, activation(self.activation))
        return VanillaRNNSpec(*sizes) if self.leak == 1 else LeakyRNNSpec(*sizes, float(self.leak))

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        params.W_input[:] = LecunNormal().weights(params.W_input.shape, rng)
        q, r = np.linalg.qr(rng.standard_normal(params.W_recurrent.shape))
        params.W_recurrent[:] = q * np.sign(np.diag(r))  # uniform over orthogonal matrices


# ----------------------------------------------------------------------------------------------------------- types


class VanillaRNNSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    activation: Activation


class LeakyRNNSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    activation: Activation
    leak: float  # below 1


class VanillaRNNParameters(NamedTuple):
    W_input: PerWeight
    W_recurrent: Annotated[np.ndarray, "spec.n_hidden", "spec.n_hidden"]  # from row to column
    b: PerUnit


class VanillaRNNWork(NamedTuple):
    dz: PerUnit  # scratch


class LeakyRNNRecord(NamedTuple):
    state: Annotated[HiddenState, hidden_state, aligned]
    y: PerUnit
    f: PerUnit  # f_t


for _kind in (VanillaRNNSpec, LeakyRNNSpec):
    protocol.parameters.register(_kind)(layout_of(VanillaRNNParameters))
    protocol.state.register(_kind)(hidden_state)
    protocol.work.register(_kind)(layout_of(VanillaRNNWork))
protocol.record.register(LeakyRNNSpec)(layout_of(LeakyRNNRecord))
name_of.register(LeakyRNNSpec)(lambda spec: f"VanillaRNN with leak {spec.leak}")


# ------------------------------------------------------------------------------------------- reference: plain NumPy


@protocol.preactivations.register(LeakyRNNSpec)
@protocol.preactivations.register(VanillaRNNSpec)
def preactivations(spec, params, state_tm1, x_t):
    return x_t @ params.W_input + state_tm1.h @ params.W_recurrent + params.b


@protocol.plain_forward.register(VanillaRNNSpec)
def plain_forward(spec, params, state_tm1, x_t):
    h = plain_activate(spec.activation, preactivations(spec, params, state_tm1, x_t))
    return HiddenState(h), h


@protocol.plain_forward.register(LeakyRNNSpec)
def leaky_plain_forward(spec, params, state_tm1, x_t):
    _, f = plain_forward(spec, params, state_tm1, x_t)
    h = (1 - spec.leak) * state_tm1.h + spec.leak * f
    return HiddenState(h), h


def _plain_backward(params, state_tm1, x_t, dz):
    """(W_recurrent dz, gradient, dx)"""
    gradient = VanillaRNNParameters(np.outer(x_t, dz), np.outer(state_tm1.h, dz), dz)
    return params.W_recurrent @ dz, gradient, params.W_input @ dz


@protocol.plain_backward.register(VanillaRNNSpec)
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    dz = plain_slope(spec.activation, state_t.h) * (dstate.h + dy)
    dh, gradient, dx = _plain_backward(params, state_tm1, x_t, dz)
    return HiddenState(dh), gradient, dx


@protocol.plain_backward.register(LeakyRNNSpec)
def leaky_plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    _, f = plain_forward(spec, params, state_tm1, x_t)
    dz = spec.leak * plain_slope(spec.activation, f) * (dstate.h + dy)
    dh, gradient, dx = _plain_backward(params, state_tm1, x_t, dz)
    return HiddenState(dh + (1 - spec.leak) * (dstate.h + dy)), gradient, dx


# --------------------------------------------------------------------------------------------------------- kernels


@protocol.forward.register(VanillaRNNSpec)
@noalias
def forward(spec, params, work, state_tm1, x_t, record):
    h = record.state.h
    copy(params.b, h)
    add_product(x_t, params.W_input, h)
    add_product(state_tm1.h, params.W_recurrent, h)
    for i in range(spec.n_hidden):
        h[i] = activate(spec.activation, h[i])
        record.y[i] = h[i]


@protocol.forward.register(LeakyRNNSpec)
@noalias
def leaky_forward(spec, params, work, state_tm1, x_t, record):
    f = record.f
    copy(params.b, f)
    add_product(x_t, params.W_input, f)
    add_product(state_tm1.h, params.W_recurrent, f)
    for i in range(spec.n_hidden):
        f[i] = activate(spec.activation, f[i])
        h = state_tm1.h[i] + like(f[i], spec.leak) * (f[i] - state_tm1.h[i])
        record.state.h[i] = h
        record.y[i] = h


@protocol.backward.register(VanillaRNNSpec)
@noalias
def backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    dz, out = work.dz, adjoint.params
    for i in range(spec.n_hidden):
        dz[i] = slope(spec.activation, record.y[i]) * (adjoint.state.h[i] + dy[i])
        out.b[i] += dz[i]
    add_outer(x_t, dz, out.W_input)
    add_outer(state_tm1.h, dz, out.W_recurrent)
    pull_back(params.W_recurrent, dz, adjoint.state.h)
    pull_back(params.W_input, dz, adjoint.x)


@protocol.backward.register(LeakyRNNSpec)
@noalias
def leaky_backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    dz, dh, out = work.dz, adjoint.state.h, adjoint.params
    for i in range(spec.n_hidden):
        leak = like(dz[i], spec.leak)
        total = dh[i] + dy[i]
        dz[i] = leak * slope(spec.activation, record.f[i]) * total
        dh[i] = total - leak * total
        out.b[i] += dz[i]
    add_outer(x_t, dz, out.W_input)
    add_outer(state_tm1.h, dz, out.W_recurrent)
    for i in range(spec.n_hidden):
        dh[i] += dot(params.W_recurrent[i], dz)
    pull_back(params.W_input, dz, adjoint.x)


@recurrent_slopes.register(VanillaRNNSpec)
@noalias
def slopes(spec, state_tm1, record, keep, by):
    for i in range(spec.n_hidden):
        keep[i] = 0
        by[i] = slope(spec.activation, record.y[i])


@recurrent_slopes.register(LeakyRNNSpec)
@noalias
def leaky_slopes(spec, state_tm1, record, keep, by):
    for i in range(spec.n_hidden):
        leak = like(by[i], spec.leak)
        keep[i] = like(by[i], 1.0) - leak
        by[i] = leak * slope(spec.activation, record.f[i])


@advance_directly.register(VanillaRNNSpec)
@advance_directly.register(LeakyRNNSpec)
def advance_own(spec, J, by_input, by, x, state_tm1, S):
    advance_rows(J, by_input, x, S.W_input)
    advance_rows(J, by, state_tm1.h, S.W_recurrent)
    advance_biases(J, by, S.b)


# ----------------------------------------------------------------------------------------------------------- costs


@protocol.flops.register(VanillaRNNSpec)
def flops(spec):
    n, d, (f, slope) = spec.n_hidden, spec.n_inputs, activation_flops(spec.activation)
    return protocol.Flops(
        prepare=0,
        forward=2 * n * (d + n) + n * f,
        backward=2 * n * d + 4 * n * n + n * (slope + 3),
        dx=2 * n * d,
    )


@protocol.flops.register(LeakyRNNSpec)
def leaky_flops(spec):
    count, n = flops(spec), spec.n_hidden
    return count._replace(forward=count.forward + 3 * n, backward=count.backward + 4 * n)


slope_flops.register(VanillaRNNSpec)(lambda spec: spec.n_hidden * activation_flops(spec.activation)[1])
slope_flops.register(LeakyRNNSpec)(lambda spec: spec.n_hidden * (activation_flops(spec.activation)[1] + 2))
