"""The minimal gated recurrent unit, minGRU (Feng et al. 2024). Its gate sees the input alone, so no unit sees another.

    u = sigmoid(x W_z + b_z),   a = x W_h + b_h                                                   derivations (55)
    h_t = (1 - u) h_{t-1} + u g(a),   y_t = h_t           g(a) = a + 1/2 if a >= 0, else sigmoid(a)

The state's Jacobian is diagonal and positive, 1 - u. Nothing turns, so nothing cancels: what an input did to the state
decays with the product of the 1 - u, with its sign. Sensitivities, e = dh/dparameter (derivations (56)):

    e_t = (1 - u) e_{t-1} + q s         q_z = (g - h_{t-1}) u (1 - u) of W_z and b_z,     q_h = u g'(a) of W_h and b_h
                                        s = x_j of a weight, 1 of a bias

Each parameter has one, of its own unit. The gradient of dy . y_t is dy e, and one step of reverse mode, with the total
d = dh + dy, is (derivations (57)):

    dh_{t-1} = (1 - u) d       dW_z = x q_z d       dW_h = x q_h d       dx = W_z q_z d + W_h q_h d

g has the value 1/2 on both sides of 0 and a kink there: the slope is 1 from 0 on, and sigmoid (1 - sigmoid) below.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.diagonal import Padded, PaddedRows
from rtu_np.cells.drive import drive_in_fours
from rtu_np.cells.gated_units import PaddedState, register_gated
from rtu_np.cells.initializers import LecunNormal
from rtu_np.cells.layer import Cell
from rtu_np.cells.states import HiddenState
from rtu_np.jit import kernel, like, noalias
from rtu_np.numerics.buffers import copy
from rtu_np.numerics.elementary import sigmoid
from rtu_np.numerics.layout import layout_of
from rtu_np.validation import check_count, check_real, make_plain


@dataclass(frozen=True)
class MinGRU(Cell):
    """A layer of minimal gated recurrent units (Feng et al. 2024; derivations (55)).

    With d inputs, its parameters are W_z and W_h (d, n), b_z and b_h (n,). W_z and W_h start LeCun normal, b_h at zero.

    Parameters
    ----------
    n_hidden : number of units n, and of outputs
    gate_bias : b_z at the start. Without input, a unit replaces the share sigmoid(gate_bias) of its state at each step:
        half of it by default. Over tens of steps nothing is left of that, and no gradient can find what it was good
        for; with -3 the share is .05, a memory of some twenty steps, and with -4 it is .02

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> MinGRU(n_hidden=8).build(n_inputs=3, seed=0).advance([1.0, 0.0, -1.0]).shape
    (8,)
    >>> MinGRU(n_hidden=2, gate_bias=-3.0).build(n_inputs=3).parameters["b_z"]
    array([-3., -3.])
    """

    n_hidden: int
    gate_bias: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        check_count("n_hidden", self.n_hidden)
        check_real("gate_bias", self.gate_bias)
        make_plain(self)

    def spec(self, n_inputs: int) -> "MinGRUSpec":
        return MinGRUSpec(n_inputs, self.n_hidden, self.n_hidden)

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        for weights in params.weights:
            weights[:] = LecunNormal().weights(weights.shape, rng)
        params.biases.b_z[:] = self.gate_bias


# ----------------------------------------------------------------------------------------------------------- types


class MinGRUSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int


class MinGRUWeights(NamedTuple):
    W_z: PaddedRows  # of the gate
    W_h: PaddedRows  # of the candidate


class MinGRUBiases(NamedTuple):
    b_z: Padded
    b_h: Padded


class MinGRUParameters(NamedTuple):
    weights: Annotated[MinGRUWeights, kernel(layout_of(MinGRUWeights))]
    biases: Annotated[MinGRUBiases, kernel(layout_of(MinGRUBiases))]


class MinGRUWeightSensitivities(NamedTuple):
    dh_dW_z: PaddedRows
    dh_dW_h: PaddedRows


class MinGRUBiasSensitivities(NamedTuple):
    dh_db_z: Padded
    dh_db_h: Padded


class MinGRUSensitivities(NamedTuple):
    """Sensitivities of each unit to its own parameters. Those to parameters of other units are zero."""

    weights: Annotated[MinGRUWeightSensitivities, kernel(layout_of(MinGRUWeightSensitivities))]
    biases: Annotated[MinGRUBiasSensitivities, kernel(layout_of(MinGRUBiasSensitivities))]


register_gated(MinGRUSpec)
protocol.parameters.register(MinGRUSpec)(layout_of(MinGRUParameters))
protocol.stored_sensitivities.register(MinGRUSpec)(layout_of(MinGRUSensitivities))


# ------------------------------------------------------------------------------------------- reference: plain NumPy


@protocol.preactivations.register(MinGRUSpec)
def preactivations(spec, params, state_tm1, x_t):
    return x_t @ params.weights.W_h + params.biases.b_h


def _plain_gate(spec, params, state_tm1, x_t):
    """(u, g, g'): g of the exponential below 0, where it cannot overflow."""
    a = preactivations(spec, params, state_tm1, x_t)
    u = 1 / (1 + np.exp(-(x_t @ params.weights.W_z + params.biases.b_z)))
    power = np.exp(np.where(a.real < 0, a, 0))
    below = power / (1 + power)
    return u, np.where(a.real < 0, below, a + 0.5), np.where(a.real < 0, below * (1 - below), 1)


@protocol.plain_forward.register(MinGRUSpec)
def plain_forward(spec, params, state_tm1, x_t):
    u, g, _ = _plain_gate(spec, params, state_tm1, x_t)
    h = (1 - u) * state_tm1.h + u * g
    return HiddenState(h), h


@protocol.plain_backward.register(MinGRUSpec)
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    (W_z, W_h), (u, g, slope) = params.weights, _plain_gate(spec, params, state_tm1, x_t)
    dh = dstate.h + dy
    dz, da = dh * (g - state_tm1.h) * u * (1 - u), dh * u * slope
    gradient = MinGRUParameters(MinGRUWeights(np.outer(x_t, dz), np.outer(x_t, da)), MinGRUBiases(dz, da))
    return HiddenState((1 - u) * dh), gradient, W_z @ dz + W_h @ da


@protocol.plain_advance.register(MinGRUSpec)
def plain_advance(spec, params, memory, x_t):
    h, (u, g, slope) = memory.state.h, _plain_gate(spec, params, memory.state, x_t)
    by_z, by_h, (weights, biases) = (g - h) * u * (1 - u), u * slope, memory.sensitivities
    h = (1 - u) * h + u * g
    return memory._replace(
        state=PaddedState(h),
        sensitivities=MinGRUSensitivities(
            MinGRUWeightSensitivities(
                (1 - u) * weights.dh_dW_z + np.outer(x_t, by_z),
                (1 - u) * weights.dh_dW_h + np.outer(x_t, by_h),
            ),
            MinGRUBiasSensitivities((1 - u) * biases.dh_db_z + by_z, (1 - u) * biases.dh_db_h + by_h),
        ),
        y=h,
        by1=by_z,
        by2=by_h,
    )


@protocol.plain_gradient.register(MinGRUSpec)
def plain_gradient(spec, params, memory, dy):
    (W_z, W_h), ((to_W_z, to_W_h), (to_b_z, to_b_h)) = params.weights, memory.sensitivities
    weights, biases = MinGRUWeights(dy * to_W_z, dy * to_W_h), MinGRUBiases(dy * to_b_z, dy * to_b_h)
    return MinGRUParameters(weights, biases), W_z @ (memory.by1 * dy) + W_h @ (memory.by2 * dy)


# --------------------------------------------------------------------------------------------------------- kernels


@kernel
def _step(h, z, a):
    """(h_t, dh_t/dh, dh_t/dz, dh_t/da) of one unit. Selections, no branches, so that loops vectorise."""
    one = like(h, 1.0)
    u, low = sigmoid(z), sigmoid(a)
    keep, high, low_slope = one - u, a + like(h, 0.5), low * (one - low)
    g = low if a < 0 else high  # NaN compares false, and so passes
    slope = low_slope if a < 0 else one
    change = u * (g - h)
    return h + change, keep, change * keep, u * slope


@protocol.forward.register(MinGRUSpec)
@noalias
def forward(spec, params, work, state_tm1, x_t, record):
    b_z, b_h = params.biases
    drive_in_fours(x_t, params, record.by1, record.by2)
    for i in range(spec.n_hidden):
        z, a = record.by1[i] + b_z[i], record.by2[i] + b_h[i]
        h, record.keep[i], record.by1[i], record.by2[i] = _step(state_tm1.h[i], z, a)
        record.state.h[i] = h
        record.y[i] = h


@protocol.move.register(MinGRUSpec)
@noalias
def move(spec, params, memory, x_t):
    (b_z, b_h), h, keep, by_z, by_h = params.biases, memory.state.h, memory.keep, memory.by1, memory.by2
    e = memory.sensitivities.biases
    copy(x_t, memory.x)
    drive_in_fours(x_t, params, by_z, by_h)
    for i in range(h.shape[0]):
        h[i], keep[i], by_z[i], by_h[i] = _step(h[i], by_z[i] + b_z[i], by_h[i] + b_h[i])
        e.dh_db_z[i] = keep[i] * e.dh_db_z[i] + by_z[i]
        e.dh_db_h[i] = keep[i] * e.dh_db_h[i] + by_h[i]
    copy(h[: spec.n_hidden], memory.y)


# ----------------------------------------------------------------------------------------------------------- costs


@protocol.flops.register(MinGRUSpec)
def flops(spec):
    n, d = spec.n_hidden, spec.n_inputs
    step, dx = 4 * n * d + 17 * n, d * (4 * n + 1)
    return protocol.Flops(
        prepare=0,
        forward=step,
        backward=4 * n * d + 6 * n,
        dx=dx,
        move=step + 4 * n,
        propagate=6 * n * d,
        accumulate=6 * n * d + 6 * n,
        input_gradient=2 * n + dx,
    )
