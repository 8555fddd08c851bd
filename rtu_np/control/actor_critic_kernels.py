"""Streaming actor-critic(lambda): the compiled parts of a step (`rtu_np.control.streaming_kernels`).

s_t is the input of the networks at time t, a_t the action at time t, and r_{t+1} the reward that arrives with s_{t+1}
(derivations (42), (43); Elsayed et al. 2024):

    delta = r_{t+1} + gamma (1 - terminated) v(s_{t+1}) - v(s_t)        both with today's parameters
    z_v  <- gamma lambda z_v + grad v(s_t)                              critic <- critic + step(delta) z_v
    z_pi <- gamma lambda z_pi + grad [log pi(a_t|s_t) + tau sign(delta) H(pi)]   actor <- actor + step(delta) z_pi

The critic is TD(lambda) without changes (`rtu_np.prediction.td_kernels`): its trace needs no delta, and includes
grad v(s_t) since time t. The actor's trace needs the sign of delta. So the order of events at s_{t+1} is: the critic
advances and returns delta; the actor, whose memory is still at t, completes its trace and takes its step; then the
actor advances to s_{t+1} and draws a_{t+1}.

If actor and critic share a body, v(s_{t+1}) is computed on scratch first. One trace holds the gradient of the sum of
both objectives, and one step follows this trace.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.control import policies
from rtu_np.control.acting import (
    acting_network,
    acting_weights,
    bootstrap_value,
    policy_activations,
    policy_forward,
    value_forward,
)
from rtu_np.control.inputs import DRAWN, AgentInput, Previous
from rtu_np.control.streaming_kernels import (
    agent_arrays,
    draw_action,
    end_episode,
    examine,
    examine_network,
    learn,
    worse,
)
from rtu_np.gradients.layers import clear_memory
from rtu_np.jit import kernel
from rtu_np.learning import heads, optimizers, readout
from rtu_np.learning.heads import HeadActivations, HeadParameters, HeadSpec
from rtu_np.learning.network import destination, forward_arrays, network_arrays
from rtu_np.learning.outcomes import TERMINATED
from rtu_np.numerics.buffers import clear, finite_vector
from rtu_np.numerics.layout import layout_of
from rtu_np.prediction.td_kernels import TimeStep, learn_step


class TwoNetworksSpec(NamedTuple):
    """Actor and critic have a network each."""

    actor: Any  # NetworkSpec with a HeadSpec
    critic: Any  # NetworkSpec
    policy: Any
    inputs: Any
    entropy_coef: float  # tau
    n_actor: int  # size of the actor's flat array
    n_critic: int  # size of the critic's flat array


class SharedNetworkSpec(NamedTuple):
    """Actor and critic are two heads on one body."""

    actor: Any  # NetworkSpec with a TwoHeadsSpec
    policy: Any
    inputs: Any
    entropy_coef: float
    n_actor: int
    n_scratch: int  # size of the scratch for v(s_{t+1})


class TwoNetworksArrays(NamedTuple):
    actor: Annotated[np.ndarray, "spec.n_actor"]
    critic: Annotated[np.ndarray, "spec.n_critic"]
    x: AgentInput
    previous: Previous


class SharedNetworkArrays(NamedTuple):
    actor: Annotated[np.ndarray, "spec.n_actor"]
    scratch: Annotated[np.ndarray, "spec.n_scratch"]  # for v(s_{t+1})
    x: AgentInput
    previous: Previous


# ------------------------------------------------------------------------------------------- a readout of two heads


class TwoHeadsSpec(NamedTuple):
    n_features: int
    value: Any
    policy: HeadSpec


class TwoHeads(NamedTuple):
    value: Annotated[Any, readout.parameters, "spec.value"]
    policy: Annotated[HeadParameters, readout.parameters, "spec.policy"]


class TwoHeadsActivations(NamedTuple):
    value: Annotated[Any, readout.activations, "spec.value"]
    policy: Annotated[HeadActivations, readout.activations, "spec.policy"]
    dy: Annotated[np.ndarray, "spec.n_features"]  # the value's part of the gradient


readout.parameters.register(TwoHeadsSpec)(layout_of(TwoHeads))
readout.activations.register(TwoHeadsSpec)(layout_of(TwoHeadsActivations))


@policy_activations.register(TwoHeadsSpec)
def _policy_part(spec, activations):
    return activations.policy


@policy_forward.register(TwoHeadsSpec)
def _policy_forward(spec, params, activations, y):
    policy_forward(spec.policy, params.policy, activations.policy, y)


@value_forward.register(TwoHeadsSpec)
def _value_forward(spec, params, activations, y):
    return value_forward(spec.value, params.value, activations.value, y)


# -------------------------------------------------------------------------------------------------------- learning


@learn.register(TwoNetworksSpec)
def _learn_two_networks(spec, arrays, time_step, steps, buffers):
    delta = critic_step(spec.critic, arrays.critic, time_step, spec.inputs.gamma)
    if not time_step.first and np.isfinite(delta):
        actor_step(spec, arrays.actor, buffers.action, delta)
    return delta


@learn.register(SharedNetworkSpec)
def _learn_shared_network(spec, arrays, time_step, steps, buffers):
    real = arrays.x.dtype.type
    if time_step.first:
        return real(0)
    v_t = _next_value(spec.actor, arrays.actor, arrays.scratch, time_step.x)
    if not np.isfinite(v_t):
        return v_t
    if time_step.end == TERMINATED:
        v_t = real(0)
    return shared_step(spec, arrays.actor, buffers.action, time_step.reward + real(spec.inputs.gamma) * v_t)


@kernel(inline=False)
def critic_step(spec, flat, time_step, gamma):
    """The critic's step; returns delta, or NaN if the value is not finite."""
    critic, _ = network_arrays(spec, flat)
    x, first, reward, end = time_step
    v_t, delta = learn_step(spec, critic, TimeStep(x, first, reward, x.dtype.type(gamma), end, True))
    return delta if np.isfinite(v_t) else v_t


@kernel(inline=False)
def actor_step(spec, flat, action, delta):
    """The actor's step, while its memory is at the time of the action."""
    a, _ = network_arrays(spec.actor, flat)
    _policy_gradient(spec, a.activations, action, delta)
    heads.feature_gradient(a.params.readout, a.activations.do, a.dy)
    protocol.credit(spec.actor.cell, a.params.cell, a.memory, a.dy)
    traces, decay = _accumulate_body(spec, a)
    heads.accumulate(a.memory.y, a.activations.do, decay, traces.readout)
    optimizers.take_step(spec.actor.optimizer, a.flat_params, a.flat_traces, a.moments, delta)


@kernel(inline=False)
def _next_value(spec, flat, scratch, x):
    """v(x). The actor's memory stays at the step before."""
    a, _ = network_arrays(spec, flat)
    return bootstrap_value(spec, a.params, a.memory.state, forward_arrays(spec, scratch)[0], x)


@kernel(inline=False)
def shared_step(spec, flat, action, target):
    """The step of a shared body, for the action and for the value's `target`; returns delta."""
    a, _ = network_arrays(spec.actor, flat)
    value, params, activations = spec.actor.readout.value, a.params.readout, a.activations
    delta = target - readout.read(value, params.value, activations.value, a.memory.y)
    _policy_gradient(spec, activations.policy, action, delta)
    heads.feature_gradient(params.policy, activations.policy.do, a.dy)
    readout.feature_gradient(value, params.value, activations.value, activations.dy)
    for i in range(a.dy.shape[0]):
        a.dy[i] += activations.dy[i]
    protocol.credit(spec.actor.cell, a.params.cell, a.memory, a.dy)
    traces, decay = _accumulate_body(spec, a)
    heads.accumulate(a.memory.y, activations.policy.do, decay, traces.readout.policy)
    readout.learn(value, params.value, traces.readout.value, activations.value, a.memory.y, decay, None)
    optimizers.take_step(spec.actor.optimizer, a.flat_params, a.flat_traces, a.moments, delta)
    return delta


@kernel
def _policy_gradient(spec, activations, action, delta):
    """activations.do <- d/do [log pi(a) + tau sign(delta) H(pi)]"""
    real = activations.o.dtype.type
    along_entropy = real(spec.entropy_coef) * real(np.sign(delta))
    policies.gradient(spec.policy, activations.o, action[DRAWN], real(1), along_entropy, activations.do)


@kernel
def _accumulate_body(spec, a):
    """The gradient by the body's parameters; returns (where the readout's belongs, its decay)."""
    traces, decay = destination(spec.actor.optimizer, spec.actor, a, a.dy.dtype.type(spec.inputs.gamma))
    protocol.accumulate(spec.actor.cell, a.memory, decay, traces.cell)
    return traces, decay


@examine.register(TwoNetworksSpec)
def _examine_two_networks(spec, arrays):
    return worse(examine_network(spec.actor, arrays.actor), examine_network(spec.critic, arrays.critic))


@examine.register(SharedNetworkSpec)
def _examine_shared_network(spec, arrays):
    return examine_network(spec.actor, arrays.actor)


# ---------------------------------------------------------------------------------------------------------- acting


@kernel
def _acting_network(spec):
    return spec.actor


def _acting_weights(spec, flat):
    return network_arrays(spec.actor, agent_arrays(spec, flat)[0].actor)[0].params


@kernel
def _draw_action(spec, arrays, steps, buffers):
    if not _advance(spec.actor, arrays.actor, arrays.x):
        return False
    _sample(spec, arrays.actor, steps, buffers)
    return True


@kernel(inline=False)
def _advance(spec, flat, x):
    """Advance the actor's memory to the next step; returns whether its parameters and outputs are usable."""
    a, _ = network_arrays(spec, flat)
    if protocol.degenerate(spec.cell, a.params.cell):
        return False
    protocol.move(spec.cell, a.params.cell, a.memory, x)
    protocol.propagate(spec.cell, a.memory)
    policy_forward(spec.readout, a.params.readout, a.activations, a.memory.y)
    o = policy_activations(spec.readout, a.activations).o
    return finite_vector(o)


@kernel(inline=False)
def _sample(spec, flat, steps, buffers):
    activations = network_arrays(spec.actor, flat)[0].activations
    o = policy_activations(spec.actor.readout, activations).o
    policies.sample(spec.policy, o, buffers.noise, steps, buffers.action[DRAWN])


@kernel
def _end_episode(spec, arrays):
    _clear(spec.actor, arrays.actor)


@kernel(inline=False)
def _clear(spec, flat):
    a, _ = network_arrays(spec, flat)
    clear_memory(spec.cell, a.memory, a.flat_memory)
    clear(a.flat_traces)


agent_arrays.register(TwoNetworksSpec)(layout_of(TwoNetworksArrays))
agent_arrays.register(SharedNetworkSpec)(layout_of(SharedNetworkArrays))
for _kind in (TwoNetworksSpec, SharedNetworkSpec):
    acting_network.register(_kind)(_acting_network)
    acting_weights.register(_kind)(_acting_weights)
    draw_action.register(_kind)(_draw_action)
    end_episode.register(_kind)(_end_episode)
