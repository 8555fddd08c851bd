"""PPO's kernels while it acts: one call per step of the environment, and the rollout run again."""

import numpy as np

from rtu_np import protocol
from rtu_np.control import policies
from rtu_np.control.inputs import execute, perceive, scaled, see, senses
from rtu_np.control.ppo.network import acting, agent
from rtu_np.jit import kernel
from rtu_np.learning import heads
from rtu_np.numerics.buffers import assign, clear, copy, finite
from rtu_np.prediction.td_kernels import CONTINUES, REFUSED, TRUNCATED

DIVERGED, DONE, FULL = 0, 1, 2


@kernel
def intend(spec, params, b, y):
    """b.o <- of the features y, what the policy's distribution is made of"""
    protocol.prepare(spec.actor, params.actor, b.actor_work)
    protocol.forward(spec.actor, params.actor, b.actor_work, b.actor_state, y, b.actor)
    heads.outputs(params.policy, b.actor.y, b.o)


@kernel
def judge(spec, params, b, y):
    """b.v <- the value of the features y"""
    protocol.prepare(spec.critic, params.critic, b.critic_work)
    protocol.forward(spec.critic, params.critic, b.critic_work, b.critic_state, y, b.critic)
    heads.outputs(params.value, b.critic.y, b.v)


@kernel
def _put_aside(spec, memory, r, t):
    """Row t <- the state before the step, and its sensitivities."""
    assign(protocol.state(spec.body, r.states[t])[0], memory.state)
    protocol.keep(spec.body, memory, protocol.sensitivities(spec.body, r.kept[t])[0])


@kernel
def _foresee(spec, params, now, x):
    """The value of an observation that memory has not seen, and does not see here."""
    protocol.prepare(spec.body, params.body, now.work)
    protocol.forward(spec.body, params.body, now.work, now.memory.state, x, now.record)
    judge(spec, params, now.branches, now.record.y)
    return now.branches.v[0]


def step(spec, flat, flat_senses, clock, observation, signal, noise, action, bounds):
    """Complete a transition and begin the next; returns DONE, or FULL with none begun where the rollout is complete.

    REFUSED, with nothing changed, where what came is not finite; DIVERGED where the network's outputs are not.
    clock : (steps, whether the next is the first after a clear). signal : reward, and how the step ends.
    action (2, n) : the action drawn, and as it is executed. At the end of an episode, none is drawn.
    """
    if not (np.isfinite(signal[0]) and finite(observation.reshape(1, observation.size), 1)):
        return REFUSED
    a, _ = agent(spec, flat)
    s, _ = senses(spec.inputs, flat_senses)
    now, r, first, end = a.live, a.rollout, clock[1] != 0, signal[1]
    t = clock[0] % spec.rollout
    reward = perceive(spec.inputs, s, first, observation, signal, now.before, now.x)
    clock[1] = end != CONTINUES
    if not first:
        r.rewards[t], r.ends[t] = reward, end
        clock[0] += 1
        full = t == spec.rollout - 1
        if end == TRUNCATED or (full and end == CONTINUES):
            copy(now.x, r.finals[t])
            r.bootstraps[t] = _foresee(spec, a.learned.params, now, now.x)
        if full:
            return FULL
    if end != CONTINUES:
        return DONE
    return _begin(spec, a, clock[0] % spec.rollout, first, noise, action, bounds)


def begin(spec, flat, flat_senses, clock, observation, signal, noise, action, bounds):
    """Begin the first transition of a rollout, where the last one ended FULL; as `step`."""
    if signal[1] != CONTINUES:
        return DONE
    return _begin(spec, agent(spec, flat)[0], 0, False, noise, action, bounds)


@kernel
def _begin(spec, a, t, first, noise, action, bounds):
    """Row t of the rollout: from its observation to its action."""
    params, now, r, b = a.learned.params, a.live, a.rollout, a.live.branches
    if first:
        clear(now.flat_memory)
    if t == 0:
        copy(now.flat_memory, r.memory)
    r.starts[t] = first
    r.ends[t], r.rewards[t], r.bootstraps[t] = 0, 0, 0  # what the rollout before left, a checkpoint need not know
    clear(r.finals[t])
    copy(now.x, r.x[t])
    _put_aside(spec, now.memory, r, t)
    protocol.advance(spec.body, params.body, now.memory, now.x)
    intend(spec, params, b, now.memory.y)
    judge(spec, params, b, now.memory.y)
    if not (finite(b.o.reshape(1, b.o.size), 1) and np.isfinite(b.v[0])):
        return DIVERGED
    policies.sample(spec.policy, b.o, noise, action[0])
    copy(action[0], r.actions[t])
    r.log_p[t] = policies.log_probability(spec.policy, b.o, action[0])
    r.values[t] = b.v[0]
    execute(spec.policy, bounds, action, now.before[: now.before.shape[0] - 1])
    return DONE


def cut(spec, flat, t):
    """The stream is left after row t, whose action has been drawn: the row before ends there, if it has not ended."""
    r = agent(spec, flat)[0].rollout
    if r.starts[t] != 0:
        return
    r.ends[t - 1] = TRUNCATED
    copy(r.x[t], r.finals[t - 1])
    r.bootstraps[t - 1] = r.values[t]


def run_again(spec, flat, states, values):
    """The rollout once more with present parameters: fresh states and sensitivities, fresh values, or both."""
    a, _ = agent(spec, flat)
    params, now, r = a.learned.params, a.again, a.rollout
    copy(r.memory, now.flat_memory)
    for t in range(spec.rollout):
        if r.starts[t] != 0:
            clear(now.flat_memory)
        if states:
            _put_aside(spec, now.memory, r, t)
        protocol.advance(spec.body, params.body, now.memory, r.x[t])
        if values:
            judge(spec, params, now.branches, now.memory.y)
            r.values[t] = now.branches.v[0]
            if r.ends[t] == TRUNCATED or (t == spec.rollout - 1 and r.ends[t] == CONTINUES):
                r.bootstraps[t] = _foresee(spec, params, now, r.finals[t])


def act(spec, flat, flat_senses, clock, scratch, observation, signal, noise, action, bounds):
    """Draw an action without learning; signal : the reward before, and whether to take the most probable action."""
    params = agent(spec, flat)[0].learned.params
    s, _ = senses(spec.inputs, flat_senses)
    now, _ = acting(spec, scratch)
    if now.before.shape[0] > 0:
        now.before[now.before.shape[0] - 1] = scaled(spec.inputs, s, signal[0])
    see(spec.inputs, s, observation, now.before, now.x)
    protocol.prepare(spec.body, params.body, now.work)
    protocol.forward(spec.body, params.body, now.work, now.state, now.x, now.record)
    copy(now.flat_state_t, now.flat_state)
    intend(spec, params, now.branches, now.record.y)
    if signal[1] != 0:
        policies.mode(spec.policy, now.branches.o, action[0])
    else:
        policies.sample(spec.policy, now.branches.o, noise, action[0])
    execute(spec.policy, bounds, action, now.before[: now.before.shape[0] - 1])
