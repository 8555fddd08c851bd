"""PPO's network and the arrays that it learns from: types and layout.

    x -> body -> y -> actor  -> policy head -> o, of which the policy's distribution is made
                   -> critic -> value head  -> v

The body is the encoder and the cell, with the gradient method that it is trained by. Actor and critic are hidden layers
without a state. Together with their heads they are the network's readout, so that `rtu_np.control.acting` serves PPO
as it serves the streaming agents. A *rollout* is N transitions, each with the state before its step and, for RTRL, the
sensitivities of that state. A *chunk* is what one thread needs to compute the gradient of a part of a minibatch.
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.control.acting import acting_network, acting_weights, policy_forward, value_forward
from rtu_np.jit import kernel
from rtu_np.learning import heads, optimizers, readout
from rtu_np.learning.heads import HeadParameters, HeadSpec
from rtu_np.learning.network import Weights, weights
from rtu_np.numerics.buffers import aligned, matrix, vector

# What a chunk sums over its samples: slots, and their names in reports.
STATISTICS = ("policy_loss", "value_loss", "entropy", "approximate_kl", "clip_fraction", "not_finite")
POLICY_LOSS, VALUE_LOSS, ENTROPY, APPROXIMATE_KL, CLIP_FRACTION, NOT_FINITE = range(len(STATISTICS))
# Slots of the moments of a minibatch's advantages.
MEAN, DEVIATION = 0, 1


class Loss(NamedTuple):
    """Settings of the loss; see `rtu_np.control.ppo.loss`."""

    clip: float
    value_clip: float
    value_coef: float
    entropy_coef: float
    max_grad_norm: float
    gae_lambda: float


class PPOSpec(NamedTuple):
    cell: Any  # the body
    readout: "BranchesSpec"
    policy: Any
    optimizer: Any
    inputs: Any
    loss: Loss
    n_steps: int  # N, transitions between updates
    sequence: int  # T, consecutive transitions that a gradient is taken through together
    minibatch: int  # transitions
    n_state: int
    n_record: int
    n_stored: int


# --------------------------------------------------------------------------------- a readout of two heads, each behind
#                                                                                                      hidden layers


class BranchesSpec(NamedTuple):
    n_features: int
    actor: Any
    policy: HeadSpec
    critic: Any
    value: HeadSpec


class Branches(NamedTuple):
    actor: Any
    policy: HeadParameters
    critic: Any
    value: HeadParameters


class BranchActivations(NamedTuple):
    """What one pass through actor and critic leaves, and what reverse mode writes."""

    actor_state: Any  # empty
    actor: Any  # record
    actor_work: Any
    critic_state: Any  # empty
    critic: Any  # record
    critic_work: Any
    o: np.ndarray  # (outputs of the policy head,)
    v: np.ndarray  # (1,)
    do: np.ndarray
    dv: np.ndarray
    dactor: np.ndarray  # dL/d actor.y
    dcritic: np.ndarray
    dy: np.ndarray  # dL/dy, through the actor; then through both
    dy_critic: np.ndarray


@readout.parameters.register(BranchesSpec)
def _branches(spec, flat):
    actor, flat = protocol.parameters(spec.actor, flat)
    policy, flat = readout.parameters(spec.policy, flat)
    critic, flat = protocol.parameters(spec.critic, flat)
    value, flat = readout.parameters(spec.value, flat)
    return Branches(actor, policy, critic, value), flat


@readout.activations.register(BranchesSpec)
def _branch_activations(spec, flat):
    actor_state, flat = protocol.state(spec.actor, flat)
    actor, flat = protocol.record(spec.actor, flat)
    actor_work, flat = protocol.work(spec.actor, flat)
    critic_state, flat = protocol.state(spec.critic, flat)
    critic, flat = protocol.record(spec.critic, flat)
    critic_work, flat = protocol.work(spec.critic, flat)
    n_outputs = spec.policy.n_linear + spec.policy.n_free
    o, flat = vector(flat, n_outputs)
    v, flat = vector(flat, 1)
    do, flat = vector(flat, n_outputs)
    dv, flat = vector(flat, 1)
    dactor, flat = vector(flat, spec.actor.n_outputs)
    dcritic, flat = vector(flat, spec.critic.n_outputs)
    dy, flat = vector(flat, spec.n_features)
    dy_critic, flat = vector(flat, spec.n_features)
    forward = (actor_state, actor, actor_work, critic_state, critic, critic_work, o, v)
    return BranchActivations(*forward, do, dv, dactor, dcritic, dy, dy_critic), flat


@policy_forward.register(BranchesSpec)
def _policy_forward(spec, params, activations, y):
    a = activations
    protocol.prepare(spec.actor, params.actor, a.actor_work)
    protocol.forward(spec.actor, params.actor, a.actor_work, a.actor_state, y, a.actor)
    heads.outputs(params.policy, a.actor.y, a.o)


@value_forward.register(BranchesSpec)
def _value_forward(spec, params, activations, y):
    a = activations
    protocol.prepare(spec.critic, params.critic, a.critic_work)
    protocol.forward(spec.critic, params.critic, a.critic_work, a.critic_state, y, a.critic)
    heads.outputs(params.value, a.critic.y, a.v)
    return a.v[0]


# -------------------------------------------------------------------------------------------------- what an agent holds


class Learned(NamedTuple):
    params: Weights
    flat_params: np.ndarray
    flat_gradient: np.ndarray  # of the latest minibatch
    moments: Any


@kernel(inline=False)
def learned(spec, flat):
    """Layout of parameters, gradient and the optimiser's moments."""
    params, rest = weights(spec, flat)
    flat_params, flat = aligned(flat, rest)
    n = flat_params.shape[0]
    flat_gradient, flat = vector(flat, n)
    moments, flat = optimizers.moments(spec.optimizer, n, flat)
    return Learned(params, flat_params, flat_gradient, moments), flat


class Live(NamedTuple):
    """The network in mid-stream."""

    x: np.ndarray  # (d,)   the latest input
    previous: np.ndarray  # (n_previous,)   the previous action and reward
    memory: Any
    flat_memory: np.ndarray
    record: Any  # of a step in which memory takes no part
    work: Any
    activations: BranchActivations


@kernel(inline=False)
def live(spec, flat):
    """Layout of the network in mid-stream. Zeros are a fresh start."""
    x, flat = vector(flat, spec.cell.n_inputs)
    previous, flat = vector(flat, spec.inputs.n_previous)
    memory, rest = protocol.memory(spec.cell, flat)
    flat_memory, flat = aligned(flat, rest)
    record, flat = protocol.record(spec.cell, flat)
    work, flat = protocol.work(spec.cell, flat)
    activations, flat = readout.activations(spec.readout, flat)
    return Live(x, previous, memory, flat_memory, record, work, activations), flat


class Rollout(NamedTuple):
    """N transitions. If an episode is cut off, `finals` has what followed, and `bootstraps` the value of that."""

    x: np.ndarray  # (N, d)   observations as the network gets them
    finals: np.ndarray  # (N, d)
    states: np.ndarray  # (N, n_state)   before the step
    stored: np.ndarray  # (N, n_stored)   sensitivities of these states
    actions: np.ndarray  # (N, n_action)
    starts: np.ndarray  # (N,)   1 if an episode starts
    ends: np.ndarray  # (N,)   how the step ends
    log_p: np.ndarray  # (N,)   of the action, when it was chosen
    values: np.ndarray  # (N,)
    rewards: np.ndarray  # (N,)
    bootstraps: np.ndarray  # (N,)
    advantages: np.ndarray  # (N,)
    returns: np.ndarray  # (N,)
    memory: np.ndarray  # all of the memory, before the first step


@kernel(inline=False)
def rollout(spec, flat):
    """Layout of a rollout."""
    N = spec.n_steps
    x, flat = matrix(flat, N, spec.cell.n_inputs)
    finals, flat = matrix(flat, N, spec.cell.n_inputs)
    states, flat = matrix(flat, N, spec.n_state)
    stored, flat = matrix(flat, N, spec.n_stored)
    actions, flat = matrix(flat, N, spec.policy.n_action)
    starts, flat = vector(flat, N)
    ends, flat = vector(flat, N)
    log_p, flat = vector(flat, N)
    values, flat = vector(flat, N)
    rewards, flat = vector(flat, N)
    bootstraps, flat = vector(flat, N)
    advantages, flat = vector(flat, N)
    returns, flat = vector(flat, N)
    _, rest = protocol.memory(spec.cell, flat)
    memory, flat = aligned(flat, rest)
    steps = (x, finals, states, stored, actions, starts, ends, log_p, values, rewards, bootstraps, advantages, returns)
    return Rollout(*steps, memory), flat


class PPOArrays(NamedTuple):
    learned: Learned
    live: Live
    recomputed: Live  # of a rollout that is run again
    rollout: Rollout


@kernel(inline=False)
def ppo_arrays(spec, flat):
    """Layout of all that a PPO agent holds."""
    known, flat = learned(spec, flat)
    now, flat = live(spec, flat)
    recomputed, flat = live(spec, flat)
    steps, flat = rollout(spec, flat)
    return PPOArrays(known, now, recomputed, steps), flat


@acting_network.register(PPOSpec)
def _acting_network(spec):
    return spec


@acting_weights.register(PPOSpec)
def _acting_weights(spec, flat):
    return ppo_arrays(spec, flat)[0].learned.params


class Chunk(NamedTuple):
    gradient: Weights
    flat_gradient: np.ndarray
    statistics: np.ndarray  # (6,)   STATISTICS
    states: np.ndarray  # (T, n_state)   before each step of a sequence
    records: np.ndarray  # (T, n_record)   of the sequence, recomputed
    activations: BranchActivations
    work: Any
    dstate: Any
    flat_dstate: np.ndarray  # the same numbers


@kernel(inline=False)
def chunk(spec, flat):
    """Layout of what one thread needs."""
    gradient, rest = weights(spec, flat)
    flat_gradient, flat = aligned(flat, rest)
    statistics, flat = vector(flat, len(STATISTICS))
    states, flat = matrix(flat, spec.sequence, spec.n_state)
    records, flat = matrix(flat, spec.sequence, spec.n_record)
    activations, flat = readout.activations(spec.readout, flat)
    work, flat = protocol.work(spec.cell, flat)
    dstate, _ = protocol.state(spec.cell, flat)
    flat_dstate, flat = vector(flat, spec.n_state)
    return Chunk(gradient, flat_gradient, statistics, states, records, activations, work, dstate, flat_dstate), flat
