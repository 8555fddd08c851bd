"""The linear recurrent unit (Orvieto et al. 2023): a complex diagonal recurrence with a scale of its own, and Re(C h).

    h_t = lambda h_{t-1} + gamma (B_re + i B_im) x_t          gamma = exp(gamma_log)              derivations (27)
    y_t = f(Re((C_re + i C_im) h_t) + D x_t)                                                      derivations (32)

The recurrence and its sensitivities are those of `rtu_np.cells.linear_rtu`, with gamma free instead of tied to r. With
`recurrence="tanh"` they are those of `rtu_np.cells.nonlinear_rtu`. The output is a feedforward layer without memory:

    Re(C h) = Re h C_re - Im h C_im         so with k = [Re h; -Im h; x] it is k [C_re; C_im; D]

exp(gamma_log) x drives the derivative by B. The released code of Elelimy et al. 2024 has gamma_log x in its online LRU.
gamma_log starts below zero, so the gradient there has the opposite sign.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.dense import (
    feedforward_credit,
    feedforward_memory,
    feedforward_plain_advance,
    projection_flops,
)
from rtu_np.cells.eigenvalues import plain_eigenvalue
from rtu_np.cells.initializers import LecunNormal
from rtu_np.cells.input_scale import Free
from rtu_np.cells.linear_rtu import LinearRTUSpec
from rtu_np.cells.nonlinear_rtu import NonlinearRTUSpec
from rtu_np.cells.ring import ComplexDiagonal
from rtu_np.cells.stack import register_pair
from rtu_np.cells.states import NoState, no_state
from rtu_np.jit import kernel, noalias
from rtu_np.numerics.activations import Activation, activate, activation, plain_activate, plain_slope, slope
from rtu_np.numerics.buffers import clear, copy
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.products import add_outer, add_product, decay_and_add_outer, pull_back
from rtu_np.protocol import PerInput, PerOutput
from rtu_np.validation import check_count, check_flag


@dataclass(frozen=True)
class LRU(ComplexDiagonal):
    """A layer of linear recurrent units (Orvieto et al. 2023; derivations (27), (32)).

    With d inputs, its parameters are by default nu_log, theta_log and gamma_log (n,), B_re and B_im (d, n), C_re and
    C_im (n, n_outputs). A direct term adds D (d, n_outputs).

    Parameters
    ----------
    n_hidden : number of complex units n
    n_outputs : width of the output; n by default, and 2n without projection
    activation : of the output: "identity", "relu", "leaky_relu" or "tanh"
    recurrence : activation in the recurrence, applied to the real and the imaginary part; the same choices
    projection : whether the output is Re(C h), the default, or [Re h; Im h]
    direct : whether D x is added to Re(C h)
    r_min, r_max, max_phase, parameterization : of the eigenvalues, phases in radians; see `rtu_np.cells.ring`

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> LRU(n_hidden=8, n_outputs=5).build(n_inputs=3, seed=0).advance([1.0, 0.0, -1.0]).shape
    (5,)
    """

    n_outputs: int | None = None
    activation: str = "identity"
    recurrence: str = "identity"
    projection: bool = True
    direct: bool = False

    def __post_init__(self) -> None:
        activation(self.activation)
        activation(self.recurrence, "recurrence")
        check_flag("projection", self.projection)
        check_flag("direct", self.direct)
        super().__post_init__()
        if self.projection:
            if self.n_outputs is not None:
                check_count("n_outputs", self.n_outputs)
            return
        if self.n_outputs not in (None, 2 * self.n_hidden):
            raise ValueError(
                f"n_outputs is {self.n_outputs!r} without a projection: expected {2 * self.n_hidden}, the real and "
                "imaginary parts of n_hidden units; is projection=True meant?"
            )
        if self.direct:
            raise ValueError("direct is True without a projection: expected projection=True, to which D x is added")
        if "identity" not in (self.recurrence, self.activation):
            raise ValueError(
                f"recurrence is {self.recurrence!r} and activation {self.activation!r} without a projection: expected "
                "one of them to be 'identity', as [Re h; Im h] has been activated already"
            )

    def spec(self, n_inputs: int) -> Any:
        n, form = self.n_hidden, self.form
        inner = self.activation if not self.projection else "identity"
        if self.recurrence == "identity":
            core: Any = LinearRTUSpec(n_inputs, n, 2 * n, form, Free(), activation(inner), self.span)
        else:
            core = NonlinearRTUSpec(n_inputs, n, 2 * n, form, Free(), activation(self.recurrence), self.span)
        if not self.projection:
            return core
        width = 2 * n + (n_inputs if self.direct else 0)
        n_outputs = n if self.n_outputs is None else self.n_outputs
        output = ComplexProjectionSpec(width, 0, n_outputs, n, activation(self.activation))
        return LRUSpec(n_inputs, n, n_outputs, core, output)

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        """Ring for lambda; gamma_log = log sqrt(1 - |lambda|^2); B ~ N/sqrt(2 d), C ~ N/sqrt(n), D ~ N/sqrt(d)."""
        core = params.lower if self.projection else params
        super().initialise(core, rng)
        complement = plain_eigenvalue(self.form, *core.eigenvalue)[2]
        core.input_scale.gamma_log[:] = 0.5 * np.log(complement)
        for B in core.weights:
            B /= np.sqrt(2)
        if self.projection:
            for C in (params.upper.C_re, params.upper.C_im):
                C[:] = LecunNormal().weights(C.shape, rng)
            D = params.upper.D
            D[:] = rng.standard_normal(D.shape) / np.sqrt(max(len(D), 1))


# ----------------------------------------------------------------------------------------------------------- types


class LRUSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    lower: Any
    upper: "ComplexProjectionSpec"


class ComplexProjectionSpec(NamedTuple):
    n_inputs: int  # 2n, or 2n + d with a direct term
    n_hidden: int  # 0: no state
    n_outputs: int
    n_units: int
    activation: Activation


class LRUParts(NamedTuple):
    """Recurrence and readout."""

    lower: Any
    upper: Any


class ComplexProjectionParameters(NamedTuple):
    C_re: Annotated[np.ndarray, "spec.n_units", "spec.n_outputs"]
    C_im: Annotated[np.ndarray, "spec.n_units", "spec.n_outputs"]
    D: Annotated[np.ndarray, "spec.n_inputs - 2 * spec.n_units", "spec.n_outputs"]  # no rows without a direct term


class ComplexProjectionWork(NamedTuple):
    k: PerInput  # [Re h; -Im h; x]
    dz: PerOutput


register_pair(LRUSpec)


@protocol.pair_views.register(LRUSpec)
def _recurrence_and_readout(spec, lower, upper):
    return LRUParts(lower, upper)


protocol.parameters.register(ComplexProjectionSpec)(layout_of(ComplexProjectionParameters))
protocol.state.register(ComplexProjectionSpec)(no_state)
protocol.work.register(ComplexProjectionSpec)(layout_of(ComplexProjectionWork))
protocol.without_sensitivities(ComplexProjectionSpec)
protocol.feedforward.register(ComplexProjectionSpec)(lambda spec: True)
protocol.memory.register(ComplexProjectionSpec)(feedforward_memory)
protocol.plain_advance.register(ComplexProjectionSpec)(feedforward_plain_advance)
protocol.credit.register(ComplexProjectionSpec)(feedforward_credit)


# ------------------------------------------------------------------------------------------- reference: plain NumPy


@protocol.preactivations.register(ComplexProjectionSpec)
def preactivations(spec, params, state_tm1, x_t):
    n = spec.n_units
    re, im, direct = x_t[:n], x_t[n : 2 * n], x_t[2 * n :]
    return re @ params.C_re - im @ params.C_im + direct @ params.D


@protocol.plain_forward.register(ComplexProjectionSpec)
def plain_forward(spec, params, state_tm1, x_t):
    return NoState(), plain_activate(spec.activation, preactivations(spec, params, state_tm1, x_t))


@protocol.plain_backward.register(ComplexProjectionSpec)
def plain_backward(spec, params, state_tm1, x_t, state_t, dy, dstate):
    n = spec.n_units
    dz = plain_slope(spec.activation, plain_forward(spec, params, state_tm1, x_t)[1]) * dy
    gradient = ComplexProjectionParameters(
        np.outer(x_t[:n], dz), -np.outer(x_t[n : 2 * n], dz), np.outer(x_t[2 * n :], dz)
    )
    return NoState(), gradient, np.concatenate([params.C_re @ dz, -params.C_im @ dz, params.D @ dz])


@protocol.plain_gradient.register(ComplexProjectionSpec)
def plain_gradient(spec, params, memory, dy):
    return plain_backward(spec, params, memory.state, memory.x, memory.state, dy, memory.state)[1:]


# --------------------------------------------------------------------------------------------------------- kernels


@kernel
@noalias
def _conjugate(spec, x_t, k):
    copy(x_t, k)
    for i in range(spec.n_units, 2 * spec.n_units):
        k[i] = -x_t[i]


@kernel
@noalias
def _project(spec, params, k, y_t):
    n = spec.n_units
    clear(y_t)
    add_product(k[:n], params.C_re, y_t)
    add_product(k[n : 2 * n], params.C_im, y_t)
    add_product(k[2 * n :], params.D, y_t)
    for i in range(spec.n_outputs):
        y_t[i] = activate(spec.activation, y_t[i])


@kernel
@noalias
def _pull_back(spec, params, dz, dx):
    n = spec.n_units
    pull_back(params.C_re, dz, dx[:n])
    pull_back(params.C_im, dz, dx[n : 2 * n])
    pull_back(params.D, dz, dx[2 * n :])
    for i in range(n, 2 * n):
        dx[i] = -dx[i]


@protocol.forward.register(ComplexProjectionSpec)
@noalias
def forward(spec, params, work, state_tm1, x_t, record):
    _conjugate(spec, x_t, work.k)
    _project(spec, params, work.k, record.y)


@protocol.backward.register(ComplexProjectionSpec)
@noalias
def backward(spec, params, work, state_tm1, x_t, record, dy, adjoint):
    n = spec.n_units
    _conjugate(spec, x_t, work.k)
    for i in range(spec.n_outputs):
        work.dz[i] = slope(spec.activation, record.y[i]) * dy[i]
    add_outer(work.k[:n], work.dz, adjoint.params.C_re)
    add_outer(work.k[n : 2 * n], work.dz, adjoint.params.C_im)
    add_outer(work.k[2 * n :], work.dz, adjoint.params.D)
    _pull_back(spec, params, work.dz, adjoint.x)


@protocol.move.register(ComplexProjectionSpec)
@noalias
def move(spec, params, memory, x_t):
    _conjugate(spec, x_t, memory.x)
    _project(spec, params, memory.x, memory.y)


@protocol.accumulate.register(ComplexProjectionSpec)
@noalias
def accumulate(spec, memory, decay, out):
    n = spec.n_units
    decay_and_add_outer(decay, memory.x[:n], memory.dz, out.C_re)
    decay_and_add_outer(decay, memory.x[n : 2 * n], memory.dz, out.C_im)
    decay_and_add_outer(decay, memory.x[2 * n :], memory.dz, out.D)


@protocol.input_gradient.register(ComplexProjectionSpec)
@noalias
def input_gradient(spec, params, memory, dx):
    _pull_back(spec, params, memory.dz, dx)


protocol.flops.register(ComplexProjectionSpec)(lambda spec: projection_flops(spec, n_biases=0))
