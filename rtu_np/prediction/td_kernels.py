"""Streaming TD(lambda): the compiled step.

x_t is the observation, and c_t the cumulant that arrives with it. v_t predicts c_{t+1} + gamma_{t+1} c_{t+2} + ... One
step (derivations (18)-(20); Sutton 1988, with accumulating traces):

    v_tm1 = readout(y_tm1)                            with today's readout
    y_t   = cell(x_t);  v_t = readout(y_t)
    delta = c_t + gamma_t v_t - v_tm1
    params <- params + step(delta) traces             the traces still hold the gradients up to t-1
    traces <- gamma_t lambda traces + grad v_t        with the parameters that made v_t

Termination: the step learns with v_t = 0, then memory and traces are cleared. Truncation: the step learns with
gamma_t v_t, then memory and traces are cleared. The first step after a clear has no v_tm1: it ignores c_t and learns
nothing. A discount of 0 cuts the bootstrap and the traces; the memory stays. Without a known cumulant, nothing is
learned at that step, and memory and traces go on (derivations (76)).
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.gradients.layers import clear_memory
from rtu_np.jit import generic, kernel
from rtu_np.learning import optimizers, readout
from rtu_np.learning.network import destination, examine, forward_arrays, network_arrays
from rtu_np.learning.outcomes import (
    CONTINUES,
    DIVERGED,
    END,
    EXAMINE_EVERY,
    IS_FIRST,
    LOOK_EVERY,
    PAUSED,
    REFUSED,
    STEPS,
    TERMINATED,
)
from rtu_np.learning.passes import AlongTraces, EitherWay, InOwnPass, WithGradient, is_along
from rtu_np.numerics.buffers import clear, copy
from rtu_np.prediction import inputs

# Slots of a row of signals, next to END.
CUMULANT, DISCOUNT = 0, 2


class TimeStep(NamedTuple):
    """One step of a stream."""

    x: np.ndarray  # (n_inputs,)   the input of the network
    first: Any  # whether it is the first step after a clear
    cumulant: Any  # arrives with the observation
    discount: Any
    end: Any  # how the step ends (`rtu_np.learning.outcomes`)
    known: Any  # whether there is a cumulant


@kernel
def learn_step(spec, network, time_step):
    """Learn from one step; returns (v_t, delta). If v_t is not finite, nothing has been learned."""
    params, memory, x_t = network.params, network.memory, time_step.x
    activations, zero = network.activations, x_t.dtype.type(0)
    v_tm1 = readout.value(spec.readout, params.readout, activations, memory.y)
    protocol.move(spec.cell, params.cell, memory, x_t)
    v_t = readout.read(spec.readout, params.readout, activations, memory.y)
    if not np.isfinite(v_t):
        return v_t, zero
    if time_step.end == TERMINATED:
        v_t = zero
    delta = zero
    if time_step.known and not time_step.first:
        delta = time_step.cumulant + time_step.discount * v_t - v_tm1
    readout.feature_gradient(spec.readout, params.readout, activations, network.dy)
    protocol.credit(spec.cell, params.cell, memory, network.dy)
    update(spec.optimizer, spec, network, time_step, delta)
    if time_step.end != CONTINUES:
        clear_memory(spec.cell, memory, network.flat_memory)
        clear(network.flat_traces)
    return v_t, delta


@generic
def update(optimizer, spec, network, time_step, delta):
    """Update the parameters for the TD error `delta`, advance the sensitivities, and add the gradient to the traces."""


@update.otherwise
@kernel
def _update_one_way(optimizer, spec, network, time_step, delta):
    params, memory = network.params, network.memory
    step = optimizers.step(optimizer, network.flat_traces, delta)
    if not time_step.first and (time_step.known or _carries_traces(optimizer)):
        optimizers.update(optimizer, network.flat_params, network.flat_traces, network.moments, delta)
    traces, decay = destination(optimizer, spec, network, time_step.discount)
    protocol.learn(spec.cell, params.cell, traces.cell, memory, decay, step)
    readout.learn(spec.readout, params.readout, traces.readout, network.activations, memory.y, decay, step)


@generic
def _carries_traces(optimizer):
    """Whether the optimiser's pass advances the traces: it then has to go on, with a TD error of zero."""


@_carries_traces.otherwise
@kernel
def _no(optimizer):
    return False


@_carries_traces.register(WithGradient)
@kernel
def _yes(optimizer):
    return True


@update.register(EitherWay)
def _update_either_way(optimizer, spec, network, time_step, delta):
    if is_along(optimizer):
        along = AlongTraces(optimizer.table, optimizer.n_moments)
        _update_one_way(along, spec, network, time_step, delta)
    else:
        apart = InOwnPass(optimizer.table, optimizer.n_moments)
        _update_one_way(apart, spec, network, time_step, delta)


def run(spec, flat, clock, observations, signals, predictions, n_steps):
    """Learn from `n_steps` steps; returns how many were made.

    If a prediction is not finite, the run stops there. If an input is not finite or the parameters are degenerate, the
    result is REFUSED, and nothing has changed. If Python has work before the next step, the result is `paused(steps)`.

    flat, clock (2,) : modified in place; see the slots of the clock
    observations : (at least n_steps, n_inputs), or `inputs.Rows`, of which statistics and memory are modified in place
    signals : (at least n_steps, 3); see the slots
    predictions : (at least n_steps,) written
    """
    network, _ = network_arrays(spec, flat)
    if protocol.degenerate(spec.cell, network.params.cell):
        return REFUSED
    if not (inputs.usable(observations, n_steps) and inputs.usable_signals(observations, signals, n_steps)):
        return REFUSED
    for t in range(n_steps):
        cumulant, discount, end = signals[t, CUMULANT], signals[t, DISCOUNT], signals[t, END]
        first, known = clock[IS_FIRST] != 0, inputs.known(observations, cumulant)
        (x_t,) = inputs.take(observations, t, first)
        time_step = TimeStep(x_t, first, cumulant, discount, end, known)
        v_t, _ = learn_step(spec, network, time_step)
        if not np.isfinite(v_t):
            return t
        clock[STEPS] += 1
        clock[IS_FIRST] = end != CONTINUES
        predictions[t] = v_t
        if clock[STEPS] % EXAMINE_EVERY == 0:
            outcome = examine(spec, network)
            if outcome == DIVERGED:
                return t
            if outcome == PAUSED or clock[STEPS] % LOOK_EVERY == 0:
                return paused(t + 1)
        if inputs.silent(observations):
            return paused(t + 1)
    return n_steps


@kernel
def paused(steps):
    """The outcome of a run that paused after `steps` steps; PAUSED after one step. The function is its own inverse."""
    return PAUSED + 1 - steps


def predict(spec, flat, scratch, observations, predictions, n_steps):
    """Predict for `n_steps` steps without learning.

    scratch : modified in place; it begins with the state, which advances
    observations : as in `run`; statistics stay as they are
    predictions : (at least n_steps,) written
    """
    params, (p, _) = network_arrays(spec, flat)[0].params, forward_arrays(spec, scratch)
    protocol.prepare(spec.cell, params.cell, p.work)
    for t in range(n_steps):
        (x_t,) = inputs.read(observations, t)
        protocol.forward(spec.cell, params.cell, p.work, p.state, x_t, p.record)
        predictions[t] = readout.value(spec.readout, params.readout, p.activations, p.record.y)
        copy(p.flat_state_t, p.flat_state)
