"""The one way from features to actions and values, for learning and for acting without learning.

    x -> body -> features y -> policy_forward -> o, which defines the policy's distribution
                            -> value_forward  -> v

    bootstrap_value     v of an observation; the memory stays as it is
    act                 an action without learning, with a state of its own

A network's spec has fields `cell` and `readout`. The type of the readout says which heads it has.
"""

from typing import Annotated, NamedTuple

from rtu_np import protocol
from rtu_np.control import policies
from rtu_np.control.inputs import (
    DETERMINISTIC,
    DRAWN,
    REWARD,
    AgentInput,
    Previous,
    clip,
    execute,
    input_statistics,
    normalize,
    scale_reward,
)
from rtu_np.jit import generic, kernel
from rtu_np.learning import heads, readout
from rtu_np.learning.heads import HeadSpec
from rtu_np.learning.network import ForwardNetwork, forward_arrays
from rtu_np.learning.outcomes import STEPS
from rtu_np.numerics.buffers import copy, finite_vector
from rtu_np.numerics.layout import layout_of


@generic
def policy_activations(spec, activations):
    """The part of a readout's activations that holds the policy's outputs, in its field `o`."""


@policy_activations.otherwise
def _whole(spec, activations):
    return activations


@generic
def policy_forward(spec, params, activations, y):
    """Compute the policy's outputs for the features y. `activations` is written."""


@policy_forward.register(HeadSpec)
def _policy_forward(spec, params, activations, y):
    heads.outputs(params, y, activations.o)


@generic
def value_forward(spec, params, activations, y):
    """v, for the features y."""


@value_forward.otherwise
def _value_forward(spec, params, activations, y):
    return readout.value(spec, params, activations, y)


@kernel
def bootstrap_value(spec, params, state, scratch, x):
    """v(x), from a recurrent state that stays as it is. `scratch.work`, `.record` and `.activations` are written."""
    protocol.prepare(spec.cell, params.cell, scratch.work)
    protocol.forward(spec.cell, params.cell, scratch.work, state, x, scratch.record)
    return value_forward(spec.readout, params.readout, scratch.activations, scratch.record.y)


# ------------------------------------------------------------------------------------------- acting without learning


@generic
def acting_network(spec):
    """The spec of the network that acts, from the spec of its agent."""


@generic(inline=False)
def acting_weights(spec, flat):
    """The parameters of the network that acts."""


@kernel
def _acting_arrays(spec, flat):
    return forward_arrays(acting_network(spec), flat)


class ActingMemory(NamedTuple):
    """The memory of an agent that acts without learning."""

    x: AgentInput
    previous: Previous
    network: Annotated[ForwardNetwork, _acting_arrays]


acting_memory = kernel(inline=False)(layout_of(ActingMemory))


def act(spec, flat, flat_acting, buffers):
    """Write an action into `buffers` without learning; returns whether the network's outputs are finite.

    flat_acting : modified in place: its state advances
    """
    network, params, inputs, signal = acting_network(spec), acting_weights(spec, flat), spec.inputs, buffers.signal
    statistics, _ = input_statistics(inputs, buffers.statistics)
    memory, _ = acting_memory(spec, flat_acting)
    n, previous, action = memory.network, memory.previous, buffers.action
    if previous.shape[0] > 0:
        previous[previous.shape[0] - 1] = scale_reward(inputs, statistics, signal[REWARD])
    clip(inputs, statistics, buffers.observation)
    normalize(inputs, statistics, buffers.observation, previous, memory.x)
    protocol.prepare(network.cell, params.cell, n.work)
    protocol.forward(network.cell, params.cell, n.work, n.state, memory.x, n.record)
    copy(n.flat_state_t, n.flat_state)
    policy_forward(network.readout, params.readout, n.activations, n.record.y)
    o = policy_activations(network.readout, n.activations).o
    if signal[DETERMINISTIC] != 0:
        policies.mode(spec.policy, o, action[DRAWN])
    else:
        policies.sample(spec.policy, o, buffers.noise, buffers.clock[STEPS], action[DRAWN])
    execute(spec.policy, buffers.bounds, action, previous)
    return finite_vector(o)
