"""The gradient of the published baseline, a linear recurrent unit (LRU): one term is wrong.

The released code of Elelimy et al. 2024 has real-time recurrent learning (RTRL) for the online LRU. In the
sensitivities to B, its input has the factor gamma_log, but the step has exp(gamma_log) (derivations (27)):

    exact       e' = lambda e + exp(gamma_log) x_j
    released    e' = lambda e + gamma_log x_j

Since gamma_log = log sqrt(1 - r^2) < 0, the wrong term reverses the gradient of B. All other gradients of that code are
exact, and they are exact here. Only Figure 1 uses this gradient. That figure shows what the wrong term did to the
baseline.
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
    """RTRL of an LRU with the wrong term; exact RTRL of any other cell."""

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
def _replace_gamma(spec, params, memory):
    """Write gamma_log in place of gamma. `learn` then drives the sensitivities to B with gamma_log."""


@_replace_gamma.register(LinearRTUSpec)
@noalias
def _linear(spec, params, memory):
    for i in range(spec.n_hidden):
        memory.work.gamma[i] = params.input_scale.gamma_log[i]


@_replace_gamma.register(NonlinearRTUSpec)
@noalias
def _nonlinear(spec, params, memory):
    for i in range(spec.n_hidden):
        ratio = params.input_scale.gamma_log[i] / memory.work.gamma[i]
        memory.gamma1[i] *= ratio
        memory.gamma2[i] *= ratio


@protocol.learn.register(ReleasedSpec)
def _learn(spec, params, traces, memory, decay, step):
    _replace_gamma(spec.cell, params, memory)
    protocol.learn(spec.cell, params, traces, memory, decay, step)
