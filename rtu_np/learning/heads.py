"""Linear heads of several outputs: action values, or the numbers that define a policy's distribution.

    o_k = W_k . y + b_k                                                           derivations (38)

W has one row per output. Outputs are few and features are many, so every loop runs along the features. A distribution
may have numbers that do not depend on the observation (`log_std`). They are parameters of the head, and follow the
linear outputs.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np.cells.initializers import Initializer, SparseUniform
from rtu_np.jit import kernel, noalias
from rtu_np.learning import readout
from rtu_np.numerics.buffers import add_scaled
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.products import dot

_SPARSE = SparseUniform()


@dataclass(frozen=True)
class Head:
    """Starting values of a head: weights by `init`; biases and free parameters are zero."""

    init: Initializer = _SPARSE

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        """Write starting values into the float64 views `params`, which hold zeros."""
        params.W[:] = self.init.weights(params.W.T.shape, rng).T


class ZeroHead:
    """Starting values of a head that begins with an output of zero."""

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        """Leave the views `params` at zero."""


class HeadSpec(NamedTuple):
    n_features: int
    n_linear: int
    n_free: int


PerHeadOutput = Annotated[np.ndarray, "spec.n_linear + spec.n_free"]


class HeadParameters(NamedTuple):
    W: Annotated[np.ndarray, "spec.n_linear", "spec.n_features"]
    b: Annotated[np.ndarray, "spec.n_linear"]
    log_std: Annotated[np.ndarray, "spec.n_free"]


class HeadActivations(NamedTuple):
    o: PerHeadOutput  # outputs
    do: PerHeadOutput  # the gradient with respect to them


parameters = layout_of(HeadParameters)
readout.parameters.register(HeadSpec)(parameters)
readout.activations.register(HeadSpec)(layout_of(HeadActivations))


@kernel
@noalias
def outputs(params, y, o):
    """o (n_linear + n_free,) <- the head's outputs for the features y"""
    n = params.b.shape[0]
    for k in range(n):
        o[k] = output(params, y, k)
    for k in range(params.log_std.shape[0]):
        o[n + k] = params.log_std[k]


@kernel
def output(params, y, k):
    """Linear output k alone."""
    return params.b[k] + dot(params.W[k], y)


@kernel
@noalias
def feature_gradient(params, do, dy):
    """dy <- (do/dy)^T do"""
    for i in range(dy.shape[0]):
        dy[i] = 0
    for k in range(params.b.shape[0]):
        for i in range(dy.shape[0]):
            dy[i] += do[k] * params.W[k, i]


@kernel
@noalias
def accumulate(y, do, decay, out):
    """out <- decay out + (do/dparameters)^T do"""
    n = out.b.shape[0]
    for k in range(n):
        d = do[k]
        for i in range(y.shape[0]):
            out.W[k, i] = decay * out.W[k, i] + d * y[i]
        out.b[k] = decay * out.b[k] + d
    for k in range(out.log_std.shape[0]):
        out.log_std[k] = decay * out.log_std[k] + do[n + k]


@kernel
def learn(params, traces, y, do, decay, step):
    """params <- params + step traces, unless step is None; then `accumulate` into the traces."""
    if step is not None:
        add_scaled(params, traces, step)
    accumulate(y, do, decay, traces)
