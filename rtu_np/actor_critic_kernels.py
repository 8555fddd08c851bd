"""Streaming actor-critic(lambda): the compiled step.

With s_t what the networks are given at time t, a_t the action taken there, and the reward r_{t+1} that came with s_{t+1}
(derivations (42), (43); Elsayed et al. 2024),

    delta = r_{t+1} + gamma (1 - terminated) v(s_{t+1}) - v(s_t)        both with the parameters as they stand
    z_v  <- gamma lambda z_v + grad v(s_t)                              critic <- critic + step(delta) z_v
    z_pi <- gamma lambda z_pi + grad [log pi(a_t|s_t) + tau sign(delta) H(pi)]   actor <- actor + step(delta) z_pi

The critic is TD(lambda) as it is (`rtu_np.td_kernels`): its trace needs no delta, and took grad v(s_t) in at time t. The
actor's needs its sign. So the order of events at s_{t+1} is: the critic advances and says delta; the actor, whose memory
is still at t, completes its trace and takes its step; then it advances to s_{t+1} and draws a_{t+1}.

With a body that actor and critic share, v(s_{t+1}) is read on scratch first; one trace holds the gradient of the sum of
both objectives, and one step is taken along it.
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np import cells, heads, optimizers, policies, readout
from rtu_np.buffers import clear, copy, finite, vector
from rtu_np.heads import HeadKept, HeadParameters, HeadSpec
from rtu_np.inputs import execute, feel, look, note, scaled, see, senses
from rtu_np.jit import generic, kernel
from rtu_np.network import acting_buffers, buffers
from rtu_np.td_kernels import CONTINUES, REFUSED, TERMINATED, learn_step

DIVERGED, DONE = 0, 1


class SeparateSpec(NamedTuple):
    """Two networks."""

    actor: Any  # NetworkSpec with a HeadSpec
    critic: Any  # NetworkSpec
    policy: Any
    inputs: Any
    entropy: float  # tau


class SharedSpec(NamedTuple):
    """One body with two heads."""

    actor: Any  # NetworkSpec with a TwoHeadsSpec
    policy: Any
    inputs: Any
    entropy: float


class Agent(NamedTuple):
    actor: Any
    critic: Any
    x: np.ndarray  # (n_inputs,)
    before: np.ndarray  # (n_before,)
    peek: Any  # a shared body's scratch for v(s_{t+1})


class NoNetwork(NamedTuple):
    pass


# ------------------------------------------------------------------------------------------- a readout of two heads


class TwoHeadsSpec(NamedTuple):
    n_features: int
    value: Any
    policy: HeadSpec


class TwoHeads(NamedTuple):
    value: Any
    policy: HeadParameters


class TwoHeadsKept(NamedTuple):
    value: Any
    policy: HeadKept
    dy: np.ndarray  # (n_features,)   the value's part of the gradient


@readout.parameters.register(TwoHeadsSpec)
def _two_heads(spec, flat):
    value, flat = readout.parameters(spec.value, flat)
    policy, flat = readout.parameters(spec.policy, flat)
    return TwoHeads(value, policy), flat


@readout.scratch.register(TwoHeadsSpec)
def _two_heads_kept(spec, flat):
    value, flat = readout.scratch(spec.value, flat)
    policy, flat = readout.scratch(spec.policy, flat)
    dy, flat = vector(flat, spec.n_features)
    return TwoHeadsKept(value, policy, dy), flat


# ---------------------------------------------------------------------------------------------------------- layout


@generic(apart=True)
def agent(spec, flat):
    """Carve an agent off one flat array: (views, rest)."""


@kernel
def _inputs(spec, flat):
    x, flat = vector(flat, spec.n_observation + spec.n_before)
    before, flat = vector(flat, spec.n_before)
    return x, before, flat


@agent.register(SeparateSpec)
def _separate_agent(spec, flat):
    actor, flat = buffers(spec.actor, flat)
    critic, flat = buffers(spec.critic, flat)
    x, before, flat = _inputs(spec.inputs, flat)
    return Agent(actor, critic, x, before, NoNetwork()), flat


@agent.register(SharedSpec)
def _shared_agent(spec, flat):
    actor, flat = buffers(spec.actor, flat)
    x, before, flat = _inputs(spec.inputs, flat)
    peek, flat = acting_buffers(spec.actor, flat)
    return Agent(actor, NoNetwork(), x, before, peek), flat


@generic
def _policy_head(kind, of):
    """The policy's part of a readout, and of what belongs to it."""


@_policy_head.register(SeparateSpec)
def _whole(kind, of):
    return of


@_policy_head.register(SharedSpec)
def _part(kind, of):
    return of.policy


# -------------------------------------------------------------------------------------------------------- learning


@generic
def learn(spec, b, first, action, reward, end):
    """Everything up to the actor's step; returns delta, or NaN where the value is not finite."""


@learn.register(SeparateSpec)
def _learn_apart(spec, b, first, action, reward, end):
    discount = b.x.dtype.type(spec.inputs.gamma)
    v_t, delta = learn_step(spec.critic, b.critic, first, b.x, reward, discount, end)
    if not np.isfinite(v_t):
        return v_t
    if not first:
        a, kept = b.actor, b.actor.kept
        _toward_action(spec, kept, action, delta)
        heads.feature_gradient(a.params.readout, kept.do, a.dy)
        cells.credit(spec.actor.cell, a.params.cell, a.memory, a.dy)
        decay = _accumulate_body(spec, a)
        heads.accumulate(a.memory.y, kept.do, decay, a.traces.readout)
        optimizers.step(spec.actor.optimizer, a.flat_params, a.flat_traces, a.moments, delta)
    return delta


@learn.register(SharedSpec)
def _learn_together(spec, b, first, action, reward, end):
    real = b.x.dtype.type
    if first:
        return real(0)
    a, kept = b.actor, b.actor.kept
    value, params = spec.actor.readout.value, b.actor.params.readout
    cells.prepare(spec.actor.cell, a.params.cell, b.peek.work)
    cells.forward(spec.actor.cell, a.params.cell, b.peek.work, a.memory.state, b.x, b.peek.record)
    v_t = readout.value(value, params.value, kept.value, b.peek.record.y)
    if not np.isfinite(v_t):
        return v_t
    if end == TERMINATED:
        v_t = real(0)
    delta = reward + real(spec.inputs.gamma) * v_t - readout.read(value, params.value, kept.value, a.memory.y)
    _toward_action(spec, kept.policy, action, delta)
    heads.feature_gradient(params.policy, kept.policy.do, a.dy)
    readout.feature_gradient(value, params.value, kept.value, kept.dy)
    for i in range(a.dy.shape[0]):
        a.dy[i] += kept.dy[i]
    cells.credit(spec.actor.cell, a.params.cell, a.memory, a.dy)
    decay = _accumulate_body(spec, a)
    heads.accumulate(a.memory.y, kept.policy.do, decay, a.traces.readout.policy)
    readout.learn(value, params.value, a.traces.readout.value, kept.value, a.memory.y, decay, None)
    optimizers.step(spec.actor.optimizer, a.flat_params, a.flat_traces, a.moments, delta)
    return delta


@kernel
def _toward_action(spec, kept, action, delta):
    """kept.do <- d/do [log pi(a) + tau sign(delta) H(pi)]"""
    real = kept.o.dtype.type
    along_entropy = real(spec.entropy) * real(np.sign(delta))
    policies.gradient(spec.policy, kept.o, action[0], real(1), along_entropy, kept.do)


@kernel
def _accumulate_body(spec, a):
    real = a.dy.dtype.type
    decay = real(spec.inputs.gamma) * real(spec.actor.lambda_)
    cells.accumulate(spec.actor.cell, a.memory, decay, a.traces.cell)
    return decay


@kernel
def _usable(spec, params):
    return not cells.degenerate(spec.cell, params.cell)


def step(spec, flat, flat_senses, clock, observation, signal, noise, action, bounds):
    """Learn from one step and draw the next action; returns DONE, or REFUSED with nothing changed where what came is
    not finite, or DIVERGED.

    clock : (steps, whether the next is the first after a clear). signal : reward, and how the step ends.
    action (2, n) : the action drawn, and as it is executed. At the end of an episode, none is drawn.
    """
    if not (np.isfinite(signal[0]) and finite(observation.reshape(1, observation.size), 1)):
        return REFUSED
    b, _ = agent(spec, flat)
    s, _ = senses(spec.inputs, flat_senses)
    first, end, real = clock[1] != 0, signal[1], b.x.dtype.type
    if first:
        clear(b.before)
        reward = real(0)
    else:
        reward = real(feel(spec.inputs, s, signal[0], end != CONTINUES))
        if b.before.shape[0] > 0:
            b.before[b.before.shape[0] - 1] = reward
    look(spec.inputs, s, observation, b.before, b.x)
    if not _usable(spec.actor, b.actor.params):
        return DIVERGED
    delta = learn(spec, b, first, action, reward, end)
    if not np.isfinite(delta):
        return DIVERGED
    if not first:
        note(s, delta)
        clock[0] += 1
    clock[1] = end != CONTINUES
    if end != CONTINUES:
        clear(b.actor.flat_memory)
        clear(b.actor.flat_traces)
        return DONE
    a = b.actor
    cells.move(spec.actor.cell, a.params.cell, a.memory, b.x)
    cells.propagate(spec.actor.cell, a.memory)
    o = _policy_head(spec, a.kept).o
    heads.outputs(_policy_head(spec, a.params.readout), a.memory.y, o)
    if not finite(o.reshape(1, o.size), 1):
        return DIVERGED
    policies.sample(spec.policy, o, noise, action[0])
    execute(spec.policy, bounds, action, b.before[: b.before.shape[0] - 1])
    return DONE


# ---------------------------------------------------------------------------------------------------------- acting


class ActingAgent(NamedTuple):
    network: Any
    x: np.ndarray
    before: np.ndarray


@kernel(apart=True)
def acting(spec, flat):
    """Carve the memory of an agent that acts without learning off one flat array: (views, rest)."""
    x, before, flat = _inputs(spec.inputs, flat)
    network, flat = acting_buffers(spec.actor, flat)
    return ActingAgent(network, x, before), flat


def act(spec, flat, flat_senses, scratch, observation, signal, noise, action, bounds):
    """Draw an action without learning; signal : the reward before, and whether to take the most probable action."""
    b, _ = agent(spec, flat)
    s, _ = senses(spec.inputs, flat_senses)
    p, _ = acting(spec, scratch)
    if p.before.shape[0] > 0:
        p.before[p.before.shape[0] - 1] = scaled(spec.inputs, s, signal[0])
    see(spec.inputs, s, observation, p.before, p.x)
    n, cell, params = p.network, spec.actor.cell, b.actor.params
    cells.prepare(cell, params.cell, n.work)
    cells.forward(cell, params.cell, n.work, n.state, p.x, n.record)
    copy(n.flat_state_t, n.flat_state)
    o = _policy_head(spec, n.kept).o
    heads.outputs(_policy_head(spec, params.readout), n.record.y, o)
    if signal[1] != 0:
        policies.mode(spec.policy, o, action[0])
    else:
        policies.sample(spec.policy, o, noise, action[0])
    execute(spec.policy, bounds, action, p.before[: p.before.shape[0] - 1])
