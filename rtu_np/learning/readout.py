"""Readouts: from the features y of a cell to the prediction v, linear or with a hidden layer.

    LinearReadout       v = w . y + b                                          derivations (18)
    HiddenReadout       v = w . k + b,   k = f(y W_hidden + b_hidden)          derivations (30)

A learner reads y_t once, to learn (`read`, which stores k). It reads y_tm1 again with today's parameters (`value`).
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, Protocol

import numpy as np

from rtu_np.cells.initializers import LecunNormal
from rtu_np.cells.layer import Cell
from rtu_np.jit import generic, kernel, noalias
from rtu_np.numerics.activations import Activation, activate, activation, slope
from rtu_np.numerics.buffers import add_scaled
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.products import add_product, decay_and_add_outer, dot, pull_back
from rtu_np.validation import check_count, check_settings, make_plain


class Readout(Protocol):
    """Settings of a readout: a frozen dataclass."""

    def spec(self, n_features: int) -> Any:
        """The NamedTuple that kernels dispatch on."""

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        """Write starting values into the float64 views `params`, which hold zeros."""


@generic(inline=False)
def parameters(spec, flat):
    """Layout of the parameters."""


@generic(inline=False)
def activations(spec, flat):
    """Layout of the numbers that `read` stores for `feature_gradient` and `learn`."""


@generic
def read(spec, params, activations, y):
    """Return v. `activations` is written, for `feature_gradient` and `learn`."""


@generic
def value(spec, params, activations, y):
    """Return v alone. `activations` is written, as scratch."""


@generic
def feature_gradient(spec, params, activations, dy):
    """dy <- dv/dy, after `read`"""


@generic
def learn(spec, params, traces, activations, y, decay, step):
    """params <- params + step traces, unless step is None; traces <- decay traces + dv/dparams."""


def check_readout(value: Any) -> Readout:
    """`value`, if it is a readout; otherwise TypeError, which names the argument."""
    expected = "a readout such as LinearReadout()"
    if isinstance(value, Cell):  # whose spec takes one argument, too
        raise TypeError(f"readout is {value!r}: expected {expected}")
    return check_settings("readout", value, expected, 1)


# ---------------------------------------------------------------------------------------------------------- linear


@dataclass(frozen=True)
class LinearReadout:
    """v = w . y + b, starting at zero (derivations (18)). Its parameters are w (n_features,) and b (1,).

    Examples
    --------
    >>> from rtu_np import LinearRTU, TDLambda
    >>> learner = TDLambda(LinearRTU(4), n_inputs=2, readout=LinearReadout())
    >>> learner.parameters["readout.w"].shape
    (8,)
    """

    def spec(self, n_features: int) -> "LinearReadoutSpec":
        return LinearReadoutSpec(n_features)

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        pass


class LinearReadoutSpec(NamedTuple):
    n_features: int


class LinearReadoutParameters(NamedTuple):
    w: Annotated[np.ndarray, "n_features"]
    b: Annotated[np.ndarray, 1]


class NoActivations(NamedTuple):
    pass


_linear_parameters = kernel(layout_of(LinearReadoutParameters, "n_features"))
activations.register(LinearReadoutSpec)(layout_of(NoActivations))


@parameters.register(LinearReadoutSpec)
def _linear_readout_parameters(spec, flat):
    return _linear_parameters(spec.n_features, flat)


@kernel
@noalias
def _learn_linear(params, traces, y, decay, step):
    for k in range(y.shape[0]):
        if step is not None:
            params.w[k] += step * traces.w[k]
        traces.w[k] = decay * traces.w[k] + y[k]
    if step is not None:
        params.b[0] += step * traces.b[0]
    traces.b[0] = decay * traces.b[0] + 1


@read.register(LinearReadoutSpec)
@value.register(LinearReadoutSpec)
def _linear_value(spec, params, activations, y):
    return params.b[0] + dot(params.w, y)


@feature_gradient.register(LinearReadoutSpec)
@noalias
def _linear_feature_gradient(spec, params, activations, dy):
    for k in range(dy.shape[0]):
        dy[k] = params.w[k]


@learn.register(LinearReadoutSpec)
def _linear_learn(spec, params, traces, activations, y, decay, step):
    _learn_linear(params, traces, y, decay, step)


# ---------------------------------------------------------------------------------------------------------- hidden


@dataclass(frozen=True)
class HiddenReadout:
    """A hidden layer of `n_hidden` units, then a linear readout (derivations (30)).

    Its parameters are W_hidden (n_features, n_hidden), b_hidden and w (n_hidden,), b (1,). W_hidden starts LeCun
    normal, the others at zero.

    Parameters
    ----------
    n_hidden : number of hidden units
    activation : of the hidden units: "identity", "relu", "leaky_relu" or "tanh"

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> from rtu_np import LinearRTU, TDLambda
    >>> learner = TDLambda(LinearRTU(4), n_inputs=2, readout=HiddenReadout(5))
    >>> learner.parameters["readout.W_hidden"].shape
    (8, 5)
    """

    n_hidden: int
    activation: str = "tanh"

    def __post_init__(self) -> None:
        check_count("n_hidden", self.n_hidden)
        activation(self.activation)
        make_plain(self)

    def spec(self, n_features: int) -> "HiddenReadoutSpec":
        return HiddenReadoutSpec(n_features, self.n_hidden, activation(self.activation))

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        params.W_hidden[:] = LecunNormal().weights(params.W_hidden.shape, rng)


class HiddenReadoutSpec(NamedTuple):
    n_features: int
    n_hidden: int
    activation: Activation


PerHidden = Annotated[np.ndarray, "spec.n_hidden"]


class HiddenReadoutParameters(NamedTuple):
    W_hidden: Annotated[np.ndarray, "spec.n_features", "spec.n_hidden"]
    b_hidden: PerHidden
    linear: Annotated[LinearReadoutParameters, _linear_parameters, "spec.n_hidden"]


class HiddenActivations(NamedTuple):
    k: PerHidden
    dk: PerHidden  # dv/d(before the activation)


parameters.register(HiddenReadoutSpec)(layout_of(HiddenReadoutParameters))
activations.register(HiddenReadoutSpec)(layout_of(HiddenActivations))


@read.register(HiddenReadoutSpec)
@value.register(HiddenReadoutSpec)
@noalias
def _hidden_value(spec, params, activations, y):
    for i in range(spec.n_hidden):
        activations.k[i] = params.b_hidden[i]
    add_product(y, params.W_hidden, activations.k)
    for i in range(spec.n_hidden):
        activations.k[i] = activate(spec.activation, activations.k[i])
    return params.linear.b[0] + dot(params.linear.w, activations.k)


@feature_gradient.register(HiddenReadoutSpec)
@noalias
def _hidden_feature_gradient(spec, params, activations, dy):
    for i in range(spec.n_hidden):
        activations.dk[i] = slope(spec.activation, activations.k[i]) * params.linear.w[i]
    pull_back(params.W_hidden, activations.dk, dy)


@learn.register(HiddenReadoutSpec)
@noalias
def _hidden_learn(spec, params, traces, activations, y, decay, step):
    if step is not None:
        add_scaled((params.W_hidden, params.b_hidden), (traces.W_hidden, traces.b_hidden), step)
    decay_and_add_outer(decay, y, activations.dk, traces.W_hidden)
    for i in range(spec.n_hidden):
        traces.b_hidden[i] = decay * traces.b_hidden[i] + activations.dk[i]
    _learn_linear(params.linear, traces.linear, activations.k, decay, step)
