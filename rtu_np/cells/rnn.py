"""The vanilla recurrent network (Elman 1990): every unit sees every other.

    h_t = f(x_t W_input + h_{t-1} W_recurrent + b)        y_t = h_t                                    derivations (33)

One step of reverse mode, with dz = f'(z) (dh + dy):

    dh_{t-1} = W_recurrent dz      dW_recurrent = h_{t-1}^T dz      dW_input = x^T dz      db = dz      dx = W_input dz

The cell has no sensitivities of its own, so its RTRL is full RTRL (`rtu_np.gradients.rtrl`).
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.initializers import LecunNormal
from rtu_np.cells.layer import Cell
from rtu_np.cells.states import HiddenState, hidden_state
from rtu_np.jit import noalias
from rtu_np.numerics.activations import (
    Activation,
    activate,
    activation,
    activation_flops,
    plain_activate,
    plain_slope,
    slope,
)
from rtu_np.numerics.buffers import copy
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.products import add_outer, add_product, pull_back
from rtu_np.protocol import PerUnit, PerWeight
from rtu_np.validation import check_count, make_plain


@dataclass(frozen=True)
class VanillaRNN(Cell):
    """A layer of fully connected units with bias (Elman 1990; derivations (33)).

    With d inputs, its parameters are W_input (d, n), W_recurrent (n, n) and b (n,). W_input starts LeCun normal,
    W_recurrent as a random orthogonal matrix, b at zero.

    Parameters
    ----------
    n_hidden : number of units n, and of outputs
    activation : "identity", "relu", "leaky_relu" or "tanh"

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

    def __post_init__(self) -> None:
        check_count("n_hidden", self.n_hidden)
        activation(self.activation)
        make_plain(self)

    def spec(self, n_inputs: int) -> "VanillaRNNSpec":
        return VanillaRNNSpec(n_inputs, self.n_hidden, self.n_hidden, activation(self.activation))

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


class VanillaRNNParameters(NamedTuple):
    W_input: PerWeight
    W_recurrent: Annotated[np.ndarray, "spec.n_hidden", "spec.n_hidden"]  # from row to column
    b: PerUnit


class VanillaRNNWork(NamedTuple):
    dz: PerUnit  # scratch


protocol.parameters.register(VanillaRNNSpec)(layout_of(VanillaRNNParameters))
protocol.state.register(VanillaRNNSpec)(hidden_state)
protocol.work.register(VanillaRNNSpec)(layout_of(VanillaRNNWork))


# ------------------------------------------------------------------------------------------- reference: plain NumPy


@protocol.preactivations.register(VanillaRNNSpec)
def preactivations(spec, params, state_tm1, x_t):
    return x_t @ params.W_input + state_tm1.h @ params.W_recurrent + params.b


@protocol.plain_forward.register(VanillaRNNSpec)
def plain_forward(spec, params, state_tm1, x_t):
    h = plain_activate(spec.activation, preactivations(spec, params, state_tm1, x_t))
    return HiddenState(h), h


@protocol.plain_backward.register(VanillaRNNSpec)
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    dz = plain_slope(spec.activation, state_t.h) * (dstate.h + dy)
    gradient = VanillaRNNParameters(np.outer(x_t, dz), np.outer(state_tm1.h, dz), dz)
    return HiddenState(params.W_recurrent @ dz), gradient, params.W_input @ dz


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
