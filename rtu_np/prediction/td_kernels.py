"""Streaming TD(lambda): the compiled step.

With `x_t` the observation and `c_t` the cumulant that came with it, v_t predicts c_{t+1} + gamma_{t+1} c_{t+2} + ...
One step (derivations (18)-(20); Sutton 1988, with accumulating traces):

    v_tm1 = readout(y_tm1)                            with the readout as it stands now
    y_t   = cell(x_t);  v_t = readout(y_t)
    delta = c_t + gamma_t v_t - v_tm1
    params <- params + step(delta) traces             the traces still hold the gradients up to t-1
    traces <- gamma_t lambda traces + grad v_t        with the parameters that made v_t

Termination: the step learns with v_t = 0, then memory and traces are cleared. Truncation: it learns with gamma_t v_t,
then they are cleared. The first step after a clear has no v_tm1: it ignores c_t and learns nothing. A discount of 0
cuts the bootstrap and the traces, and keeps the memory.
"""

import numpy as np

from rtu_np import protocol
from rtu_np.jit import kernel
from rtu_np.learning import optimizers, readout
from rtu_np.learning.network import acting_buffers, buffers
from rtu_np.numerics.buffers import clear, copy, finite

CONTINUES, TERMINATED, TRUNCATED = 0, 1, 2
REFUSED = -1


@kernel
def learn_step(spec, b, first, x_t, cumulant, discount, end):
    """One step of the page's text; returns (v_t, delta). Where v_t is not finite, nothing has been learned.

    first : whether it is the first step after a clear. end : how the step ends.
    """
    params, traces, memory, nothing = b.params, b.traces, b.memory, x_t.dtype.type(0)
    v_tm1 = readout.value(spec.readout, params.readout, b.kept, memory.y)
    protocol.move(spec.cell, params.cell, memory, x_t)
    v_t = readout.read(spec.readout, params.readout, b.kept, memory.y)
    if not np.isfinite(v_t):
        return v_t, nothing
    if end == TERMINATED:
        v_t = nothing
    delta = nothing if first else cumulant + discount * v_t - v_tm1
    readout.feature_gradient(spec.readout, params.readout, b.kept, b.dy)
    protocol.credit(spec.cell, params.cell, memory, b.dy)
    scale = optimizers.scale(spec.optimizer, b.flat_traces, delta)
    if not first:
        optimizers.update(spec.optimizer, b.flat_params, b.flat_traces, b.moments, delta)
    decay = discount * x_t.dtype.type(spec.lambda_)
    protocol.learn(spec.cell, params.cell, traces.cell, memory, decay, scale)
    readout.learn(spec.readout, params.readout, traces.readout, b.kept, memory.y, decay, scale)
    if end != CONTINUES:
        clear(b.flat_memory)
        clear(b.flat_traces)
    return v_t, delta


def run(spec, flat, clock, observations, signals, predictions, n_steps):
    """Learn from `n_steps` steps. Returns how many were made: fewer where a prediction came out non-finite, and
    REFUSED, with nothing changed, where an input is not finite or the parameters are degenerate.

    signals (at least n_steps, 3): cumulant, discount, and how the step ends. predictions: written.
    """
    b, _ = buffers(spec, flat)
    if protocol.degenerate(spec.cell, b.params.cell) or not (
        finite(observations, n_steps) and finite(signals, n_steps)
    ):
        return REFUSED
    for t in range(n_steps):
        cumulant, discount, end = signals[t, 0], signals[t, 1], signals[t, 2]
        v_t, _ = learn_step(spec, b, clock[1] != 0, observations[t], cumulant, discount, end)
        if not np.isfinite(v_t):
            return t
        clock[0] += 1
        clock[1] = end != CONTINUES
        predictions[t] = v_t
    return n_steps


def predict(spec, flat, scratch, observations, predictions, n_steps):
    """Predictions for `n_steps` steps from the state that `scratch` begins with, which is brought along."""
    b, _ = buffers(spec, flat)
    p, _ = acting_buffers(spec, scratch)
    protocol.prepare(spec.cell, b.params.cell, p.work)
    for t in range(n_steps):
        protocol.forward(spec.cell, b.params.cell, p.work, p.state, observations[t], p.record)
        predictions[t] = readout.value(spec.readout, b.params.readout, p.kept, p.record.y)
        copy(p.flat_state_t, p.flat_state)
