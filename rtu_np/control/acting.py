"""To act without learning: a network on a memory of its own, with the statistics of its inputs as they are."""

from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.control.inputs import scaled, see
from rtu_np.jit import kernel
from rtu_np.learning.network import acting_buffers
from rtu_np.numerics.buffers import copy, vector


class ActingAgent(NamedTuple):
    network: Any
    x: np.ndarray  # (n_inputs,)
    before: np.ndarray  # (n_before,)


@kernel(apart=True)
def acting_agent(network, inputs, flat):
    """Carve the memory of an agent that acts with `network` off one flat array: (views, rest)."""
    x, flat = vector(flat, inputs.n_observation + inputs.n_before)
    before, flat = vector(flat, inputs.n_before)
    views, flat = acting_buffers(network, flat)
    return ActingAgent(views, x, before), flat


@kernel
def attend(network, inputs, params, senses, acting, observation, reward):
    """acting.network.record.y <- the features of an observation that came with `reward`; its state is brought along."""
    n, before = acting.network, acting.before
    if before.shape[0] > 0:
        before[before.shape[0] - 1] = scaled(inputs, senses, reward)
    see(inputs, senses, observation, before, acting.x)
    protocol.prepare(network.cell, params.cell, n.work)
    protocol.forward(network.cell, params.cell, n.work, n.state, acting.x, n.record)
    copy(n.flat_state_t, n.flat_state)
