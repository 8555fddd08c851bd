"""Cells without state: a feedforward layer, y = f(x W + b), and no layer at all, y = x.

`Stack([LinearRTU(16, "identity"), Dense(16, "tanh")])` is a linear recurrence with a nonlinear projection (Elelimy et
al. 2024, Fig. 1). Below a layer without state, layer-local RTRL is exact, since that layer remembers nothing.
`Identity()` passes ready-made features to the readout. With a linear readout, this is linear TD(lambda).
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.initializers import Initializer, LecunNormal
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
from rtu_np.numerics.buffers import copy
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.products import add_outer, add_product, decay_and_add_outer, pull_back
from rtu_np.protocol import PerInput, PerOutput
from rtu_np.validation import check_count, make_plain

_LECUN_NORMAL = LecunNormal()


@dataclass(frozen=True)
class Dense(Cell):
    """A feedforward layer, y = f(x W + b).

    With d inputs, its parameters are W (d, n_outputs) and b (n_outputs,). b starts at zero.

    Parameters
    ----------
    n_outputs : number of features
    activation : "identity", "relu", "leaky_relu" or "tanh"
    init : starting values of W; LecunNormal() by default

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> Dense(8, "tanh").build(n_inputs=3, seed=0).advance([1.0, 0.0, -1.0]).shape
    (8,)
    """

    n_outputs: int
    activation: str = "identity"
    init: Initializer = _LECUN_NORMAL

    def __post_init__(self) -> None:
        check_count("n_outputs", self.n_outputs)
        activation(self.activation)
        if isinstance(self.init, type) or not hasattr(self.init, "weights"):
            raise TypeError(f"init is {self.init!r}: expected starting values such as LecunNormal()")
        make_plain(self)

    def spec(self, n_inputs: int) -> "DenseSpec":
        return DenseSpec(n_inputs, 0, self.n_outputs, activation(self.activation))

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        params.W[:] = self.init.weights(params.W.shape, rng)


# ----------------------------------------------------------------------------------------------------------- types


class DenseSpec(NamedTuple):
    n_inputs: int
    n_hidden: int  # 0: no state
    n_outputs: int
    activation: Activation


class DenseParameters(NamedTuple):
    W: Annotated[np.ndarray, "spec.n_inputs", "spec.n_outputs"]
    b: PerOutput


class FeedforwardMemory(NamedTuple):
    state: Annotated[NoState, no_state]
    y: PerOutput
    x: PerInput
    dz: PerOutput  # the gradient before the activation


class FeedforwardWork(NamedTuple):
    dz: PerOutput  # scratch


feedforward_memory = layout_of(FeedforwardMemory)
protocol.parameters.register(DenseSpec)(layout_of(DenseParameters))
protocol.state.register(DenseSpec)(no_state)
protocol.memory.register(DenseSpec)(feedforward_memory)
protocol.work.register(DenseSpec)(layout_of(FeedforwardWork))
protocol.without_sensitivities(DenseSpec)
protocol.feedforward.register(DenseSpec)(lambda spec: True)


# ------------------------------------------------------------------------------------------- reference: plain NumPy


@protocol.preactivations.register(DenseSpec)
def preactivations(spec, params, state_tm1, x_t):
    return x_t @ params.W + params.b


@protocol.plain_forward.register(DenseSpec)
def plain_forward(spec, params, state_tm1, x_t):
    return NoState(), plain_activate(spec.activation, x_t @ params.W + params.b)


@protocol.plain_backward.register(DenseSpec)
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    dz = plain_slope(spec.activation, plain_forward(spec, params, state_tm1, x_t)[1]) * dy
    return NoState(), DenseParameters(np.outer(x_t, dz), dz), params.W @ dz


@protocol.plain_advance.register(DenseSpec)
def feedforward_plain_advance(spec, params, memory, x_t):
    return memory._replace(x=x_t, y=protocol.plain_forward(spec, params, memory.state, x_t)[1])


@protocol.plain_gradient.register(DenseSpec)
def plain_gradient(spec, params, memory, dy):
    dz = plain_slope(spec.activation, memory.y) * dy
    return DenseParameters(np.outer(memory.x, dz), dz), params.W @ dz


# --------------------------------------------------------------------------------------------------------- kernels


@kernel
@noalias
def _project(spec, params, x_t, y_t):
    copy(params.b, y_t)
    add_product(x_t, params.W, y_t)
    for i in range(spec.n_outputs):
        y_t[i] = activate(spec.activation, y_t[i])


@protocol.forward.register(DenseSpec)
@noalias
def forward(spec, params, work, state_tm1, x_t, record):
    _project(spec, params, x_t, record.y)


@protocol.backward.register(DenseSpec)
@noalias
def backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    for i in range(spec.n_outputs):
        work.dz[i] = slope(spec.activation, record.y[i]) * dy[i]
        adjoint.params.b[i] += work.dz[i]
    add_outer(x_t, work.dz, adjoint.params.W)
    pull_back(params.W, work.dz, adjoint.x)


@protocol.move.register(DenseSpec)
@noalias
def move(spec, params, memory, x_t):
    copy(x_t, memory.x)
    _project(spec, params, x_t, memory.y)


@protocol.credit.register(DenseSpec)
@noalias
def feedforward_credit(spec, params, memory, dy):
    for i in range(spec.n_outputs):
        memory.dz[i] = slope(spec.activation, memory.y[i]) * dy[i]


@protocol.accumulate.register(DenseSpec)
@noalias
def accumulate(spec, memory, decay, out):
    decay_and_add_outer(decay, memory.x, memory.dz, out.W)
    for i in range(spec.n_outputs):
        out.b[i] = decay * out.b[i] + memory.dz[i]


@protocol.input_gradient.register(DenseSpec)
@noalias
def input_gradient(spec, params, memory, dx):
    pull_back(params.W, memory.dz, dx)


# ----------------------------------------------------------------------------------------------------------- costs


def projection_flops(spec: Any, n_biases: int) -> protocol.Flops:
    """Operations of f(x W + b) and its gradient, with `n_biases` numbers in b."""
    m, k, (f, slope) = spec.n_outputs, spec.n_inputs, activation_flops(spec.activation)
    return protocol.Flops(
        prepare=0,
        forward=2 * k * m + m * f,
        backward=2 * k * m + m * (slope + 1) + n_biases,
        dx=2 * k * m,
        move=2 * k * m + m * f,
        credit=m * (slope + 1),
        accumulate=3 * k * m + 2 * n_biases,
        input_gradient=2 * k * m,
    )


protocol.flops.register(DenseSpec)(lambda spec: projection_flops(spec, n_biases=spec.n_outputs))


# -------------------------------------------------------------------------------------------------------- identity


@dataclass(frozen=True)
class Identity(Cell):
    """No layer: y = x, without parameters. It is for ready-made features.

    Examples
    --------
    >>> from rtu_np import LinearReadout, TDLambda
    >>> linear_td = TDLambda(Identity(), n_inputs=3, readout=LinearReadout())
    >>> sorted(linear_td.parameters)
    ['readout.b', 'readout.w']
    """

    def spec(self, n_inputs: int) -> "IdentitySpec":
        return IdentitySpec(n_inputs, 0, n_inputs)

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        pass


class IdentitySpec(NamedTuple):
    n_inputs: int
    n_hidden: int  # 0: no state
    n_outputs: int


class IdentityMemory(NamedTuple):
    state: Annotated[NoState, no_state]
    y: PerOutput
    dy: PerOutput


protocol.parameters.register(IdentitySpec)(no_parameters)
protocol.state.register(IdentitySpec)(no_state)
protocol.memory.register(IdentitySpec)(layout_of(IdentityMemory))
protocol.without_sensitivities(IdentitySpec)
protocol.feedforward.register(IdentitySpec)(lambda spec: True)


@protocol.plain_forward.register(IdentitySpec)
def _plain_identity(spec, params, state_tm1, x_t):
    return NoState(), x_t


@protocol.plain_backward.register(IdentitySpec)
def _plain_identity_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    return NoState(), NoParameters(), dy


@protocol.plain_advance.register(IdentitySpec)
def _plain_identity_advance(spec, params, memory, x_t):
    return memory._replace(y=x_t)


@protocol.plain_gradient.register(IdentitySpec)
def _plain_identity_gradient(spec, params, memory, dy):
    return NoParameters(), dy


@protocol.forward.register(IdentitySpec)
@noalias
def _identity_forward(spec, params, work, state_tm1, x_t, record):
    copy(x_t, record.y)


@protocol.backward.register(IdentitySpec)
@noalias
def _identity_backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    for j in range(adjoint.x.shape[0]):
        adjoint.x[j] = dy[j]


@protocol.move.register(IdentitySpec)
@noalias
def _identity_move(spec, params, memory, x_t):
    copy(x_t, memory.y)


@protocol.credit.register(IdentitySpec)
@noalias
def _identity_credit(spec, params, memory, dy):
    copy(dy, memory.dy)


protocol.accumulate.register(IdentitySpec)(nothing_to_accumulate)
protocol.learn.register(IdentitySpec)(nothing_to_learn)


@protocol.input_gradient.register(IdentitySpec)
@noalias
def _identity_input_gradient(spec, params, memory, dx):
    copy(memory.dy, dx)


protocol.flops.register(IdentitySpec)(lambda spec: protocol.Flops(0, 0, 0, 0))
