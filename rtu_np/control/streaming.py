"""The base of agents that learn on every step: networks with eligibility traces."""

from abc import abstractmethod
from typing import Any

import numpy as np

from rtu_np import protocol
from rtu_np.cells.dense import Dense
from rtu_np.cells.initializers import SparseUniform
from rtu_np.cells.layer import Cell
from rtu_np.cells.layer_norm import LayerNorm
from rtu_np.cells.linear_rtu import LinearRTU
from rtu_np.cells.stack import Stack
from rtu_np.control import streaming_kernels
from rtu_np.control.agent import Agent
from rtu_np.control.inputs import COUNT, LATEST, SUM_ABS, SUM_SQUARES, input_statistics, of_inputs
from rtu_np.gradients.layers import reset_memory
from rtu_np.interrupts import HoldCtrlC
from rtu_np.learning import network
from rtu_np.learning.diagnostics import of_network
from rtu_np.learning.network import NamedNetwork
from rtu_np.learning.optimizers import Adam, ObGD, check_optimizer
from rtu_np.learning.outcomes import LOOK_EVERY
from rtu_np.learning.per_block import Blocks
from rtu_np.numerics.buffers import size


def streaming_network(cell: Cell, *widths: int) -> Stack:
    """`cell` behind an encoder of the given widths; 128, 128 by default (Elsayed et al. 2024).

    Each layer of the encoder starts with sparse weights, and has layer normalisation and leaky ReLU.

    Parameters
    ----------
    cell : the recurrent layer
    widths : features of the layers of the encoder, from below

    Raises
    ------
    ValueError, TypeError : by name, for an argument out of its range or of the wrong type

    Examples
    --------
    >>> from rtu_np import LinearRTU
    >>> streaming_network(LinearRTU(192)).build(n_inputs=17).advance(np.ones(17)).shape
    (384,)
    """
    layers: list[Cell] = []
    for width in widths or (128, 128):
        layers += [Dense(width, init=SparseUniform()), LayerNorm("leaky_relu")]
    return Stack((*layers, cell))


def recurrent_network(cell: Cell, *widths: int) -> Stack:
    """`cell` on the observation itself, layer normalisation, and hidden layers of the given widths; 128 by default.

    Nothing learns below the cell, so real-time recurrent learning is exact for all of its parameters. The cell sees the
    world, and the hidden layers see what it remembers. They start with sparse weights, and have layer normalisation and
    leaky ReLU, as the encoder of Elsayed et al. 2024 (`streaming_network`).

    Parameters
    ----------
    cell : the recurrent layer
    widths : features of the hidden layers, from below

    Raises
    ------
    ValueError, TypeError : by name, for an argument out of its range or of the wrong type

    Examples
    --------
    >>> from rtu_np import LinearRTU
    >>> recurrent_network(LinearRTU(64)).build(n_inputs=17).advance(np.ones(17)).shape
    (128,)
    """
    layers: list[Cell] = [cell, LayerNorm()]
    for width in widths or (128,):
        layers += [Dense(width, init=SparseUniform()), LayerNorm("leaky_relu")]
    return Stack(tuple(layers))


def default_cell() -> Stack:
    """The network of an agent whose `cell` is not given."""
    # Phases below 2: fast enough to recall three steps ago, and slow enough for ten.
    return recurrent_network(LinearRTU(128, max_phase=2.0))


class StreamingAgent(Agent):
    """Base of `ActorCritic`, `QLambda` and `QRC`. A subclass lists its `_networks`."""

    _step_kernel, _layout = streaming_kernels.step, streaming_kernels.agent_arrays

    def _rule(self, argument: str, given: Any, cell: Cell, kappa: float, step_size: float = 3e-4) -> Any:
        """The optimiser `given`, checked; if it is None, the default for a network with this body."""
        if given is not None:
            return check_optimizer(argument, given)
        bound = ObGD(kappa=kappa)
        recurrent = size(protocol.state, cell.spec(self._inputs.n_inputs)) > 0
        return Blocks(cell=Adam(step_size), others=bound) if recurrent else Blocks(others=bound)

    @abstractmethod
    def _networks(self) -> list[NamedNetwork]:
        """The networks that learn."""

    @property
    def _views(self) -> Any:
        return streaming_kernels.agent_arrays(self._spec, self._flat)[0]

    def _named(self, part: str) -> dict[str, np.ndarray]:
        """{name: view} of the field `part` of each network, which has the layout of the weights."""
        return network.Views(
            (name, view)
            for each in self._networks()
            for name, view in network.named(each.spec, getattr(each.network, part), each.prefix, each.readout).items()
        )

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """{name: writable view} by network and block: "actor.cell.nu_log", "actor.policy.W", "critic.value.w"."""
        return self._named("params")

    @property
    def traces(self) -> dict[str, np.ndarray]:
        """{name: writable view} of the eligibility traces, named as the parameters are."""
        return self._named("traces")

    def diagnostics(self) -> dict[str, float]:
        """{name: number} about learning since the last call.

        mean_abs_delta, rms_delta : of the TD errors
        largest_observation : the largest magnitude of a number of an observation, in deviations from its mean if
            observations are normalised, and before it is clipped
        reward_scale : what rewards are divided by
        others : of each network, for the latest TD error (`rtu_np.learning.diagnostics.of_network`)
        """
        errors = input_statistics(self._inputs, self._buffers.statistics)[0].td_errors
        n, latest = max(errors[COUNT], 1), self.dtype.type(errors[LATEST])
        found = {"mean_abs_delta": errors[SUM_ABS] / n, "rms_delta": np.sqrt(errors[SUM_SQUARES] / n)}
        found |= of_inputs(self._inputs, self._buffers)
        errors[[SUM_ABS, SUM_SQUARES, COUNT]] = 0
        for each in self._networks():
            found |= of_network(each, latest)
        return found

    def _between_steps(self) -> None:
        with HoldCtrlC():
            for each in self._networks():
                network.wrap(each)
        if self.steps % LOOK_EVERY == 0:
            self._watch.check(self._networks(), self.steps)

    def _forget(self) -> None:
        """Clear memory and traces."""
        for each in self._networks():
            reset_memory(each.spec.cell, each.network.memory, each.network.flat_memory)
            each.network.flat_traces[:] = 0

    def _learned(self) -> dict[str, np.ndarray]:
        """{name: view} of all arrays that change in the networks, and of their latest input."""
        arrays = {
            name: view
            for prefix, spec, net, readout, *_ in self._networks()
            for name, view in network.checkpoint_arrays(spec, net, prefix, readout).items()
        }
        return arrays | {"previous": self._views.previous}
