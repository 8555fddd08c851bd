"""PPO's network and the arrays that it learns from: types and layout.

    x -> body -> y -> actor  -> policy head -> o, of which the policy's distribution is made
                   -> critic -> value head  -> v

The body holds all that remembers, with the gradient method it is trained by; actor and critic are feedforward. A
*rollout* is N transitions, each with the state before its step and, for RTRL, the sensitivities of that state. A
*chunk* is what one thread needs to work out the gradient of a part of a minibatch.
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.jit import kernel
from rtu_np.learning import optimizers, readout
from rtu_np.learning.heads import HeadParameters, HeadSpec
from rtu_np.numerics.buffers import aligned, matrix, vector

# What a chunk adds up over its samples.
STATISTICS = ("policy_loss", "value_loss", "entropy", "approximate_kl", "clip_fraction", "not_finite")
N_STATISTICS = len(STATISTICS)


class Loss(NamedTuple):
    """Settings of the loss; see `rtu_np.control.ppo.loss`."""

    clip: float
    value_clip: float
    value_coefficient: float
    entropy_coefficient: float
    max_norm: float
    lambda_: float


class PPOSpec(NamedTuple):
    body: Any
    actor: Any
    policy_head: HeadSpec
    critic: Any
    value_head: HeadSpec
    policy: Any
    optimizer: Any
    inputs: Any
    loss: Loss
    rollout: int  # N, transitions between updates
    sequence: int  # T, consecutive transitions that a gradient is taken through together
    minibatch: int  # transitions
    n_state: int
    n_record: int
    n_kept: int


class Weights(NamedTuple):
    body: Any
    actor: Any
    policy: HeadParameters
    critic: Any
    value: HeadParameters


@kernel
def weights(spec, flat):
    """Carve the parameters off `flat`: (views, rest)."""
    body, flat = protocol.parameters(spec.body, flat)
    actor, flat = protocol.parameters(spec.actor, flat)
    policy, flat = readout.parameters(spec.policy_head, flat)
    critic, flat = protocol.parameters(spec.critic, flat)
    value, flat = readout.parameters(spec.value_head, flat)
    return Weights(body, actor, policy, critic, value), flat


class Learned(NamedTuple):
    params: Weights
    flat_params: np.ndarray
    flat_gradient: np.ndarray  # of the latest minibatch
    moments: Any


@kernel(apart=True)
def learned(spec, flat):
    """Carve parameters, gradient and the optimiser's moments off `flat`: (views, rest)."""
    params, rest = weights(spec, flat)
    flat_params, flat = aligned(flat, rest)
    n = flat_params.shape[0]
    flat_gradient, flat = vector(flat, n)
    moments, flat = optimizers.moments(spec.optimizer, n, flat)
    return Learned(params, flat_params, flat_gradient, moments), flat


class Branches(NamedTuple):
    """What one pass through actor and critic leaves, and what reverse mode writes."""

    actor_state: Any  # nothing
    actor: Any  # record
    actor_work: Any
    critic_state: Any  # nothing
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


@kernel(apart=True)
def branches(spec, flat):
    """Carve the work space of actor and critic off `flat`: (views, rest)."""
    actor_state, flat = protocol.state(spec.actor, flat)
    actor, flat = protocol.record(spec.actor, flat)
    actor_work, flat = protocol.work(spec.actor, flat)
    critic_state, flat = protocol.state(spec.critic, flat)
    critic, flat = protocol.record(spec.critic, flat)
    critic_work, flat = protocol.work(spec.critic, flat)
    n_outputs = spec.policy_head.n_linear + spec.policy_head.n_free
    o, flat = vector(flat, n_outputs)
    v, flat = vector(flat, 1)
    do, flat = vector(flat, n_outputs)
    dv, flat = vector(flat, 1)
    dactor, flat = vector(flat, spec.actor.n_outputs)
    dcritic, flat = vector(flat, spec.critic.n_outputs)
    dy, flat = vector(flat, spec.body.n_outputs)
    dy_critic, flat = vector(flat, spec.body.n_outputs)
    forward = (actor_state, actor, actor_work, critic_state, critic, critic_work, o, v)
    return Branches(*forward, do, dv, dactor, dcritic, dy, dy_critic), flat


class Live(NamedTuple):
    """The network in mid-stream."""

    x: np.ndarray  # (d,)   the latest input
    before: np.ndarray  # (n_before,)   the action and the reward before it
    memory: Any
    flat_memory: np.ndarray
    record: Any  # of a step that memory does not take part in
    work: Any
    branches: Branches


@kernel(apart=True)
def live(spec, flat):
    """Carve the network in mid-stream off `flat`: (views, rest). Zeros are a fresh start."""
    x, flat = vector(flat, spec.body.n_inputs)
    before, flat = vector(flat, spec.inputs.n_before)
    memory, rest = protocol.memory(spec.body, flat)
    flat_memory, flat = aligned(flat, rest)
    record, flat = protocol.record(spec.body, flat)
    work, flat = protocol.work(spec.body, flat)
    passed, flat = branches(spec, flat)
    return Live(x, before, memory, flat_memory, record, work, passed), flat


class Acting(NamedTuple):
    """The network on a stream that nothing is learned from."""

    x: np.ndarray
    before: np.ndarray
    state: Any
    flat_state: np.ndarray  # the same numbers
    flat_state_t: np.ndarray  # the same numbers as `record.state`
    record: Any
    work: Any
    branches: Branches


@kernel(apart=True)
def acting(spec, flat):
    """Carve the memory of an agent that acts without learning off `flat`: (views, rest)."""
    x, flat = vector(flat, spec.body.n_inputs)
    before, flat = vector(flat, spec.inputs.n_before)
    state, _ = protocol.state(spec.body, flat)
    flat_state, flat = vector(flat, spec.n_state)
    flat_state_t = flat[: spec.n_state]
    record, flat = protocol.record(spec.body, flat)
    work, flat = protocol.work(spec.body, flat)
    passed, flat = branches(spec, flat)
    return Acting(x, before, state, flat_state, flat_state_t, record, work, passed), flat


class Rollout(NamedTuple):
    """N transitions. Where an episode is cut off, `finals` has what followed, and `bootstraps` its value."""

    x: np.ndarray  # (N, d)   observations as the network sees them
    finals: np.ndarray  # (N, d)
    states: np.ndarray  # (N, n_state)   before the step
    kept: np.ndarray  # (N, n_kept)   sensitivities of these states
    actions: np.ndarray  # (N, n_action)
    starts: np.ndarray  # (N,)   1 where an episode starts
    ends: np.ndarray  # (N,)   how the step ends
    log_p: np.ndarray  # (N,)   of the action, when it was chosen
    values: np.ndarray  # (N,)
    rewards: np.ndarray  # (N,)
    bootstraps: np.ndarray  # (N,)
    advantages: np.ndarray  # (N,)
    returns: np.ndarray  # (N,)
    memory: np.ndarray  # all of the memory, before the first step


@kernel(apart=True)
def rollout(spec, flat):
    """Carve a rollout off `flat`: (views, rest)."""
    N = spec.rollout
    x, flat = matrix(flat, N, spec.body.n_inputs)
    finals, flat = matrix(flat, N, spec.body.n_inputs)
    states, flat = matrix(flat, N, spec.n_state)
    kept, flat = matrix(flat, N, spec.n_kept)
    actions, flat = matrix(flat, N, spec.policy.n_action)
    starts, flat = vector(flat, N)
    ends, flat = vector(flat, N)
    log_p, flat = vector(flat, N)
    values, flat = vector(flat, N)
    rewards, flat = vector(flat, N)
    bootstraps, flat = vector(flat, N)
    advantages, flat = vector(flat, N)
    returns, flat = vector(flat, N)
    _, rest = protocol.memory(spec.body, flat)
    memory, flat = aligned(flat, rest)
    steps = (x, finals, states, kept, actions, starts, ends, log_p, values, rewards, bootstraps, advantages, returns)
    return Rollout(*steps, memory), flat


class Agent(NamedTuple):
    learned: Learned
    live: Live
    again: Live  # of a rollout that is run again
    rollout: Rollout


@kernel(apart=True)
def agent(spec, flat):
    """Carve all that a PPO agent holds off one flat array: (views, rest)."""
    known, flat = learned(spec, flat)
    now, flat = live(spec, flat)
    again, flat = live(spec, flat)
    steps, flat = rollout(spec, flat)
    return Agent(known, now, again, steps), flat


class Chunk(NamedTuple):
    gradient: Weights
    flat_gradient: np.ndarray
    statistics: np.ndarray  # (N_STATISTICS,)
    states: np.ndarray  # (T, n_state)   before each step of a sequence
    records: np.ndarray  # (T, n_record)   of the sequence, replayed
    branches: Branches
    work: Any
    dstate: Any
    flat_dstate: np.ndarray  # the same numbers


@kernel(apart=True)
def chunk(spec, flat):
    """Carve what one thread needs off `flat`: (views, rest)."""
    gradient, rest = weights(spec, flat)
    flat_gradient, flat = aligned(flat, rest)
    statistics, flat = vector(flat, N_STATISTICS)
    states, flat = matrix(flat, spec.sequence, spec.n_state)
    records, flat = matrix(flat, spec.sequence, spec.n_record)
    passed, flat = branches(spec, flat)
    work, flat = protocol.work(spec.body, flat)
    dstate, _ = protocol.state(spec.body, flat)
    flat_dstate, flat = vector(flat, spec.n_state)
    return Chunk(gradient, flat_gradient, statistics, states, records, passed, work, dstate, flat_dstate), flat
