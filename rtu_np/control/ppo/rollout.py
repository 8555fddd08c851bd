"""PPO's kernels of acting: one call per step of the environment, and another run through a rollout."""

import numpy as np

from rtu_np import protocol
from rtu_np.control import policies
from rtu_np.control.acting import bootstrap_value, policy_forward, value_forward
from rtu_np.control.inputs import DRAWN, execute, input_statistics, preprocess, usable
from rtu_np.control.ppo.network import live, ppo_arrays
from rtu_np.control.ppo.storage import store
from rtu_np.jit import kernel
from rtu_np.learning.outcomes import CONTINUES, DIVERGED, DONE, END, FULL, IS_FIRST, REFUSED, STEPS, TRUNCATED
from rtu_np.numerics.buffers import assign, clear, copy, finite_vector


@kernel
def _store(spec, memory, r, rounded, scratch, t):
    """r.states[t] <- the state before the step; its sensitivities are stored, too"""
    assign(protocol.state(spec.cell, r.states[t])[0], memory.state)
    store(spec.storage, spec.cell, memory, r, rounded, scratch, t)


def step(spec, flat, buffers, rounded, begins):
    """Complete a transition and begin the next; returns an outcome (`rtu_np.learning.outcomes`).

    At the end of an episode no action is drawn. After an outcome of FULL, the next call has `begins`: its transition
    begins a rollout, from the observation of the call before. (One function: each would compile for as long as both.)

    rounded : written; the sensitivities of all transitions, if they are rounded (`rtu_np.control.ppo.storage`), or None
    """
    a, _ = ppo_arrays(spec, flat)
    first = False
    if not begins:
        first = buffers.clock[IS_FIRST] != 0
        outcome = _complete_transition(spec, a, buffers)
        if outcome != DONE:
            return outcome
    if buffers.signal[END] != CONTINUES:
        return DONE
    return _begin_transition(spec, a, first, buffers, rounded)


@kernel
def _complete_transition(spec, a, buffers):
    """The present row of the rollout, if there is one: its reward, and how it ends."""
    if not usable(spec.inputs, buffers):
        return REFUSED
    statistics, _ = input_statistics(spec.inputs, buffers.statistics)
    now, r, clock = a.live, a.rollout, buffers.clock
    t = clock[STEPS] % spec.n_steps
    time_step = preprocess(spec.inputs, statistics, buffers, now.previous, now.x)
    first, end = time_step.first, time_step.end
    clock[IS_FIRST] = end != CONTINUES
    if not first:
        r.rewards[t], r.ends[t] = time_step.reward, end
        clock[STEPS] += 1
        full = t == spec.n_steps - 1
        if end == TRUNCATED or (full and end == CONTINUES):
            copy(now.x, r.finals[t])
            r.bootstraps[t] = bootstrap_value(spec, a.learned.params, now.memory.state, now, now.x)
        if full:
            return FULL
    return DONE


@kernel
def _begin_transition(spec, a, first, buffers, rounded):
    """The next row of the rollout, from its observation to its action."""
    t, action = buffers.clock[STEPS] % spec.n_steps, buffers.action
    params, now, r, activations = a.learned.params, a.live, a.rollout, a.live.activations
    if first:
        clear(now.flat_memory)
    if t == 0:
        copy(now.flat_memory, r.memory)
    r.starts[t] = first
    r.ends[t], r.rewards[t], r.bootstraps[t] = 0, 0, 0  # of the last rollout; a checkpoint need not hold them
    clear(r.finals[t])
    copy(now.x, r.x[t])
    _store(spec, now.memory, r, rounded, now.scratch, t)
    protocol.advance(spec.cell, params.cell, now.memory, now.x)
    policy_forward(spec.readout, params.readout, activations, now.memory.y)
    o, v = activations.o, value_forward(spec.readout, params.readout, activations, now.memory.y)
    if not (finite_vector(o) and np.isfinite(v)):
        return DIVERGED
    policies.sample(spec.policy, o, buffers.noise, buffers.clock[STEPS], action[DRAWN])
    copy(action[DRAWN], r.actions[t])
    r.log_p[t] = policies.log_probability(spec.policy, o, action[DRAWN])
    r.values[t] = v
    execute(spec.policy, buffers.bounds, action, now.previous)
    return DONE


def cut_off(spec, flat, t):
    """Truncate the episode before row t, since the agent leaves the stream there. Row t has an action already."""
    r = ppo_arrays(spec, flat)[0].rollout
    if r.starts[t] != 0:
        return
    r.ends[t - 1] = TRUNCATED
    copy(r.x[t], r.finals[t - 1])
    r.bootstraps[t - 1] = r.values[t]


def recompute(spec, flat, flat_live, rounded, states, values):
    """Run the rollout again with today's parameters, for new states and sensitivities, new values, or both.

    flat_live : written; the arrays of the network in mid-stream
    rounded : as in `step`
    """
    a, _ = ppo_arrays(spec, flat)
    params, r = a.learned.params, a.rollout
    now, _ = live(spec, flat_live)
    copy(r.memory, now.flat_memory)
    for t in range(spec.n_steps):
        if r.starts[t] != 0:
            clear(now.flat_memory)
        if states:
            _store(spec, now.memory, r, rounded, now.scratch, t)
        protocol.advance(spec.cell, params.cell, now.memory, r.x[t])
        if values:
            r.values[t] = value_forward(spec.readout, params.readout, now.activations, now.memory.y)
            if r.ends[t] == TRUNCATED or (t == spec.n_steps - 1 and r.ends[t] == CONTINUES):
                r.bootstraps[t] = bootstrap_value(spec, params, now.memory.state, now, r.finals[t])
