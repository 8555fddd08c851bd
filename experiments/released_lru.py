"""The gradient that the LRU baseline was published with: RTRL with one term wrong.

The released code of Elelimy et al. 2024 drives the online LRU's sensitivities to B with gamma_log, where the step has
exp(gamma_log) (derivations (27)):

    exact       e' = lambda e + exp(gamma_log) x_j
    released    e' = lambda e + gamma_log x_j

With gamma_log = log sqrt(1 - r^2) < 0 this turns the gradient of B around. All other gradients of that code are exact,
and so are they here. It is kept for Figure 1 alone, which shows what it did to the baseline.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from rtu_np import RTRL, protocol
from rtu_np.cells.input_scale import Free
from rtu_np.cells.linear_rtu import LinearRTUSpec
from rtu_np.cells.nonlinear_rtu import NonlinearRTUSpec
from rtu_np.jit import generic, noalias


@dataclass(frozen=True)
class ReleasedRTRL:
    """RTRL of an LRU with that term wrong; exact RTRL of any other cell."""

    def spec(self, cell_spec: Any, dtype: Any) -> Any:
        if isinstance(cell_spec, LinearRTUSpec | NonlinearRTUSpec) and isinstance(cell_spec.input_scale, Free):
            return ReleasedSpec(cell_spec.n_inputs, cell_spec.n_hidden, cell_spec.n_outputs, cell_spec)
        if protocol.map_layers(cell_spec, lambda layer: layer) is not cell_spec:
            return protocol.map_layers(cell_spec, lambda layer: self.spec(layer, dtype))
        return RTRL().spec(cell_spec, dtype)


class ReleasedSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    cell: Any


protocol.delegate(
    ReleasedSpec, protocol.memory, protocol.move, protocol.credit, protocol.accumulate, protocol.input_gradient
)


@generic
def _put_the_term_wrong(spec, params, memory):
    """gamma_log in place of gamma, where `learn` is about to drive the sensitivities to B with it."""


@_put_the_term_wrong.register(LinearRTUSpec)
@noalias
def _linear(spec, params, memory):
    for i in range(spec.n_hidden):
        memory.work.gamma[i] = params.input_scale.gamma_log[i]


@_put_the_term_wrong.register(NonlinearRTUSpec)
@noalias
def _nonlinear(spec, params, memory):
    for i in range(spec.n_hidden):
        wrong = params.input_scale.gamma_log[i] / memory.work.gamma[i]
        memory.gamma1[i] *= wrong
        memory.gamma2[i] *= wrong


@protocol.learn.register(ReleasedSpec)
def _learn(spec, params, traces, memory, decay, step):
    _put_the_term_wrong(spec.cell, params, memory)
    protocol.learn(spec.cell, params, traces, memory, decay, step)
