"""Streaming actor-critic(lambda): the compiled step.

With s_t what the networks are given at time t, a_t the action taken there, and r_{t+1} the reward that came with
s_{t+1} (derivations (42), (43); Elsayed et al. 2024),

    delta = r_{t+1} + gamma (1 - terminated) v(s_{t+1}) - v(s_t)        both with the parameters as they stand
    z_v  <- gamma lambda z_v + grad v(s_t)                              critic <- critic + step(delta) z_v
    z_pi <- gamma lambda z_pi + grad [log pi(a_t|s_t) + tau sign(delta) H(pi)]   actor <- actor + step(delta) z_pi

The critic is TD(lambda) as it is (`rtu_np.prediction.td_kernels`): its trace needs no delta, and took grad v(s_t) in at time t.
The actor's needs its sign. So the order of events at s_{t+1} is: the critic advances and says delta; the actor, whose
memory is still at t, completes its trace and takes its step; then it advances to s_{t+1} and draws a_{t+1}.

With a body that actor and critic share, v(s_{t+1}) is read on scratch first; one trace holds the gradient of the sum of
both objectives, and one step is taken along it.
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.control import policies
from rtu_np.control.acting import acting_agent, attend
from rtu_np.control.inputs import execute, note, perceive, senses
from rtu_np.jit import generic, kernel
from rtu_np.learning import heads, optimizers, readout
from rtu_np.learning.heads import HeadKept, HeadParameters, HeadSpec
from rtu_np.learning.network import acting_buffers, buffers
from rtu_np.numerics.buffers import clear, finite, vector
from rtu_np.prediction.td_kernels import CONTINUES, REFUSED, TERMINATED, learn_step

DIVERGED, DONE = 0, 1


class SeparateSpec(NamedTuple):
    """Two networks."""

    actor: Any  # NetworkSpec with a HeadSpec
    critic: Any  # NetworkSpec
    policy: Any
    inputs: Any
    entropy: float  # tau
    n_actor: int  # numbers set aside for each
    n_critic: int


class SharedSpec(NamedTuple):
    """One body with two heads."""

    actor: Any  # NetworkSpec with a TwoHeadsSpec
    policy: Any
    inputs: Any
    entropy: float
    n_actor: int
    n_peek: int


class Agent(NamedTuple):
    """Flat arrays. Each phase of a step cuts its own network out of them, and is compiled by itself: as one function
    with all views of both networks it takes four times as long to compile."""

    actor: np.ndarray
    critic: np.ndarray  # of a shared body: scratch, to read v(s_{t+1}) on
    x: np.ndarray  # (n_inputs,)
    before: np.ndarray  # (n_before,)


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


@generic
def _n_other(spec):
    """Numbers set aside beside the actor."""


_n_other.register(SeparateSpec)(lambda spec: spec.n_critic)
_n_other.register(SharedSpec)(lambda spec: spec.n_peek)


@kernel(apart=True)
def agent(spec, flat):
    """Carve an agent off one flat array: (views, rest)."""
    actor, flat = vector(flat, spec.n_actor)
    critic, flat = vector(flat, _n_other(spec))
    x, flat = vector(flat, spec.inputs.n_observation + spec.inputs.n_before)
    before, flat = vector(flat, spec.inputs.n_before)
    return Agent(actor, critic, x, before), flat


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


@kernel(apart=True)
def _criticise(spec, flat, first, x, reward, discount, end):
    """The critic's step; returns delta, or NaN where the value is not finite."""
    critic, _ = buffers(spec, flat)
    v_t, delta = learn_step(spec, critic, first, x, reward, discount, end)
    return delta if np.isfinite(v_t) else v_t


@kernel(apart=True)
def _improve(spec, flat, action, delta):
    """The actor's step, with its memory at the action."""
    a, _ = buffers(spec.actor, flat)
    _toward_action(spec, a.kept, action, delta)
    heads.feature_gradient(a.params.readout, a.kept.do, a.dy)
    protocol.credit(spec.actor.cell, a.params.cell, a.memory, a.dy)
    decay = _accumulate_body(spec, a)
    heads.accumulate(a.memory.y, a.kept.do, decay, a.traces.readout)
    optimizers.step(spec.actor.optimizer, a.flat_params, a.flat_traces, a.moments, delta)


@kernel(apart=True)
def _peek(spec, flat, scratch, x):
    """v(x) from the state as it is, which stays."""
    a, _ = buffers(spec.actor, flat)
    p, _ = acting_buffers(spec.actor, scratch)
    protocol.prepare(spec.actor.cell, a.params.cell, p.work)
    protocol.forward(spec.actor.cell, a.params.cell, p.work, a.memory.state, x, p.record)
    return readout.value(spec.actor.readout.value, a.params.readout.value, p.kept.value, p.record.y)


@kernel(apart=True)
def _improve_both(spec, flat, action, target):
    """The step of a shared body toward the action and the value's `target`; returns delta."""
    a, _ = buffers(spec.actor, flat)
    value, params, traces, kept = spec.actor.readout.value, a.params.readout, a.traces.readout, a.kept
    delta = target - readout.read(value, params.value, kept.value, a.memory.y)
    _toward_action(spec, kept.policy, action, delta)
    heads.feature_gradient(params.policy, kept.policy.do, a.dy)
    readout.feature_gradient(value, params.value, kept.value, kept.dy)
    for i in range(a.dy.shape[0]):
        a.dy[i] += kept.dy[i]
    protocol.credit(spec.actor.cell, a.params.cell, a.memory, a.dy)
    decay = _accumulate_body(spec, a)
    heads.accumulate(a.memory.y, kept.policy.do, decay, traces.policy)
    readout.learn(value, params.value, traces.value, kept.value, a.memory.y, decay, None)
    optimizers.step(spec.actor.optimizer, a.flat_params, a.flat_traces, a.moments, delta)
    return delta


@generic
def _learn(spec, b, first, action, reward, end):
    """Everything up to the actor's step; returns delta, or NaN where the value is not finite."""


@_learn.register(SeparateSpec)
def _learn_apart(spec, b, first, action, reward, end):
    discount = b.x.dtype.type(spec.inputs.gamma)
    delta = _criticise(spec.critic, b.critic, first, b.x, reward, discount, end)
    if not first and np.isfinite(delta):
        _improve(spec, b.actor, action, delta)
    return delta


@_learn.register(SharedSpec)
def _learn_together(spec, b, first, action, reward, end):
    real = b.x.dtype.type
    if first:
        return real(0)
    v_t = _peek(spec, b.actor, b.critic, b.x)
    if not np.isfinite(v_t):
        return v_t
    if end == TERMINATED:
        v_t = real(0)
    return _improve_both(spec, b.actor, action, reward + real(spec.inputs.gamma) * v_t)


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
    protocol.accumulate(spec.actor.cell, a.memory, decay, a.traces.cell)
    return decay


@kernel(apart=True)
def _advance(spec, flat, x):
    """The actor's memory to the next step; returns whether its parameters and outputs are usable."""
    a, _ = buffers(spec.actor, flat)
    if protocol.degenerate(spec.actor.cell, a.params.cell):
        return False
    protocol.move(spec.actor.cell, a.params.cell, a.memory, x)
    protocol.propagate(spec.actor.cell, a.memory)
    o = _policy_head(spec, a.kept).o
    heads.outputs(_policy_head(spec, a.params.readout), a.memory.y, o)
    return finite(o.reshape(1, o.size), 1)


@kernel(apart=True)
def _draw(spec, flat, noise, action, bounds, before):
    a, _ = buffers(spec.actor, flat)
    policies.sample(spec.policy, _policy_head(spec, a.kept).o, noise, action[0])
    execute(spec.policy, bounds, action, before)


@kernel(apart=True)
def _forget(spec, flat):
    a, _ = buffers(spec.actor, flat)
    clear(a.flat_memory)
    clear(a.flat_traces)


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
    first, end = clock[1] != 0, signal[1]
    reward = perceive(spec.inputs, s, first, observation, signal, b.before, b.x)
    delta = _learn(spec, b, first, action, reward, end)
    if not np.isfinite(delta):
        return DIVERGED
    if not first:
        note(s, delta)
        clock[0] += 1
    clock[1] = end != CONTINUES
    if end != CONTINUES:
        _forget(spec, b.actor)
        return DONE
    if not _advance(spec, b.actor, b.x):
        return DIVERGED
    _draw(spec, b.actor, noise, action, bounds, b.before[: b.before.shape[0] - 1])
    return DONE


# ---------------------------------------------------------------------------------------------------------- acting


@kernel(apart=True)
def acting(spec, flat):
    """Carve the memory of an agent that acts without learning off one flat array: (views, rest)."""
    return acting_agent(spec.actor, spec.inputs, flat)


def act(spec, flat, flat_senses, clock, scratch, observation, signal, noise, action, bounds):
    """Draw an action without learning; signal : the reward before, and whether to take the most probable action."""
    b, _ = agent(spec, flat)
    params = buffers(spec.actor, b.actor)[0].params
    s, _ = senses(spec.inputs, flat_senses)
    p, _ = acting(spec, scratch)
    attend(spec.actor, spec.inputs, params, s, p, observation, signal[0])
    o = _policy_head(spec, p.network.kept).o
    heads.outputs(_policy_head(spec, params.readout), p.network.record.y, o)
    if signal[1] != 0:
        policies.mode(spec.policy, o, action[0])
    else:
        policies.sample(spec.policy, o, noise, action[0])
    execute(spec.policy, bounds, action, p.before[: p.before.shape[0] - 1])
