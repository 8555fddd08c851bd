"""Layer normalisation, without weights of its own (Ba et al. 2016): features get mean 0 and variance 1.

    m = mean of x,   s = 1 / sqrt(mean of (x - m)^2 + 1e-5)                       derivations (36)
    k = s (x - m),   y = f(k)

With dk = f'(k) dy,

    dx = s (dk - mean of dk - k mean of (k dk))                                   derivations (37)

The layer has no state and no parameters, so layer-local RTRL goes through it exactly.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.layer import Cell
from rtu_np.cells.states import NoParameters, NoState, no_parameters, no_state, nothing_to_accumulate, nothing_to_learn
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
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.products import dot, total
from rtu_np.protocol import PerOutput

EPSILON = 1e-5


@dataclass(frozen=True)
class LayerNorm(Cell):
    """Normalise the outputs of the layer below, then apply an activation (Ba et al. 2016; derivations (36), (37)).

    The layer has as many outputs as inputs, and no parameters.

    Parameters
    ----------
    activation : "identity", "relu", "leaky_relu" or "tanh"

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> from rtu_np import Dense, Stack
    >>> layer = Stack([Dense(8), LayerNorm("leaky_relu")]).build(n_inputs=3)
    >>> layer.advance([1.0, 0.0, -1.0]).shape
    (8,)
    """

    activation: str = "identity"

    def __post_init__(self) -> None:
        activation(self.activation)

    def spec(self, n_inputs: int) -> "LayerNormSpec":
        return LayerNormSpec(n_inputs, 0, n_inputs, activation(self.activation))

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        pass


# ----------------------------------------------------------------------------------------------------------- types


class LayerNormSpec(NamedTuple):
    n_inputs: int
    n_hidden: int  # 0: no state
    n_outputs: int
    activation: Activation


class LayerNormMemory(NamedTuple):
    """Both the memory of RTRL and the record of a step."""

    state: Annotated[NoState, no_state]
    y: PerOutput
    k: PerOutput  # normalised, before the activation
    s: Annotated[np.ndarray, 1]
    dk: PerOutput


memory_and_record = layout_of(LayerNormMemory)
protocol.parameters.register(LayerNormSpec)(no_parameters)
protocol.state.register(LayerNormSpec)(no_state)
protocol.memory.register(LayerNormSpec)(memory_and_record)
protocol.record.register(LayerNormSpec)(memory_and_record)
protocol.without_sensitivities(LayerNormSpec)
protocol.feedforward.register(LayerNormSpec)(lambda spec: True)


# ------------------------------------------------------------------------------------------- reference: plain NumPy


@protocol.preactivations.register(LayerNormSpec)
def preactivations(spec, params, state_tm1, x_t):
    return _plain_normalise(x_t)[0]


def _plain_normalise(x):
    centred = x - x.mean()
    s = 1 / np.sqrt((centred**2).mean() + EPSILON)
    return s * centred, s


@protocol.plain_forward.register(LayerNormSpec)
def plain_forward(spec, params, state_tm1, x_t):
    return NoState(), plain_activate(spec.activation, _plain_normalise(x_t)[0])


@protocol.plain_backward.register(LayerNormSpec)
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    k, s = _plain_normalise(x_t)
    return NoState(), NoParameters(), _plain_pull_back(spec, k, s, dy)


def _plain_pull_back(spec, k, s, dy):
    dk = plain_slope(spec.activation, plain_activate(spec.activation, k)) * dy
    return s * (dk - dk.mean() - k * (k * dk).mean())


@protocol.plain_advance.register(LayerNormSpec)
def plain_advance(spec, params, memory, x_t):
    k, s = _plain_normalise(x_t)
    return memory._replace(y=plain_activate(spec.activation, k), k=k, s=np.full(1, s))


@protocol.plain_gradient.register(LayerNormSpec)
def plain_gradient(spec, params, memory, dy):
    return NoParameters(), _plain_pull_back(spec, memory.k, memory.s, dy)


# --------------------------------------------------------------------------------------------------------- kernels


@kernel
@noalias
def _normalise(spec, x_t, memory):
    n, real = spec.n_outputs, x_t.dtype.type
    mean = total(x_t) / real(n)
    for i in range(n):
        memory.k[i] = x_t[i] - mean
    s = real(1) / np.sqrt(dot(memory.k, memory.k) / real(n) + real(EPSILON))
    memory.s[0] = s
    for i in range(n):
        memory.k[i] *= s
        memory.y[i] = activate(spec.activation, memory.k[i])


@kernel
@noalias
def _before_activation(spec, memory, dy):
    for i in range(spec.n_outputs):
        memory.dk[i] = slope(spec.activation, memory.y[i]) * dy[i]


@kernel
@noalias
def _pull_back(spec, memory, dx):
    n, real = spec.n_outputs, memory.k.dtype.type
    mean, along, s = total(memory.dk) / real(n), dot(memory.k, memory.dk) / real(n), memory.s[0]
    for i in range(dx.shape[0]):
        dx[i] = s * (memory.dk[i] - mean - memory.k[i] * along)


@protocol.forward.register(LayerNormSpec)
def forward(spec, params, work, state_tm1, x_t, record):
    _normalise(spec, x_t, record)


@protocol.backward.register(LayerNormSpec)
def backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    _before_activation(spec, record, dy)
    _pull_back(spec, record, adjoint.x)


@protocol.move.register(LayerNormSpec)
def move(spec, params, memory, x_t):
    _normalise(spec, x_t, memory)


@protocol.credit.register(LayerNormSpec)
def credit(spec, params, memory, dy):
    _before_activation(spec, memory, dy)


protocol.accumulate.register(LayerNormSpec)(nothing_to_accumulate)
protocol.learn.register(LayerNormSpec)(nothing_to_learn)


@protocol.input_gradient.register(LayerNormSpec)
def input_gradient(spec, params, memory, dx):
    _pull_back(spec, memory, dx)


# ----------------------------------------------------------------------------------------------------------- costs


@protocol.flops.register(LayerNormSpec)
def flops(spec):
    n, (f, slope) = spec.n_outputs, activation_flops(spec.activation)
    forward, credit, pull_back = n * (5 + f) + 5, n * (slope + 1), 7 * n + 2
    return protocol.Flops(0, forward, credit, pull_back, move=forward, credit=credit, input_gradient=pull_back)
