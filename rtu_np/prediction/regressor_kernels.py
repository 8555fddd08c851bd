"""Online regression: the compiled step of `OnlineRegressor`.

A row is an observation x_t and the targets that arrive with it. With horizon h, one step is (derivations (78)-(81)):

    o <- W y_t + b,  y_t = cell(x_t)        the prediction of the targets of h steps later, before those of t are seen
    e_j = -dL/do_j                          at the input of h steps ago, for each target that is there
    params <- params + step(e) do/dparams

There are three ways to a horizon: `AtOnce`, h = 0; `Behind`, a body that learns h steps behind one that predicts;
`Stored`, the gradient of each prediction, kept for h steps. With one target the optimiser gets do/dparams and e, as it
gets a trace and its TD error. With several it gets the sum of e_j do_j/dparams, and 1.
"""

import numpy as np

from rtu_np import protocol
from rtu_np.gradients.layers import clear_memory
from rtu_np.jit import generic, kernel
from rtu_np.learning import heads, optimizers
from rtu_np.learning.network import examine, gradient_arrays
from rtu_np.learning.outcomes import DIVERGED, EXAMINE_EVERY, IS_FIRST, LOOK_EVERY, PAUSED, REFUSED, STEPS
from rtu_np.learning.parts import DISCOUNT
from rtu_np.learning.passes import WithGradient
from rtu_np.numerics.buffers import assign, clear, copy, finite
from rtu_np.prediction import inputs, targets
from rtu_np.prediction.last_values import (
    LOOKING,
    NONE,
    advance_origins,
    compare,
    forget_row_before,
    include_changes,
    write_bases,
    write_input,
)
from rtu_np.prediction.regressor_arrays import FILLED, ROW, AtOnce, Behind, Stored, ahead, views_of
from rtu_np.prediction.td_kernels import paused

# ------------------------------------------------------------------------------------------------------- prediction


@generic
def predict_row(delay, task, views, x_t):
    """Move the body that predicts to `x_t`; returns (the outputs (n_targets,) of its readout,)."""


@predict_row.register(AtOnce)
@predict_row.register(Stored)
@kernel
def _predict_where_it_learns(delay, task, views, x_t):
    move(task.network, views.network, x_t)
    return (views.network.activations.o,)


@predict_row.register(Behind)
def _predict_ahead(delay, task, views, x_t):
    forward, params = views.delayed.forward, views.network.params
    protocol.prepare(task.network.cell, params.cell, forward.work)
    read_ahead(task.network, params, forward, x_t)
    return (forward.activations.o,)


@kernel
def move(spec, network, x_t):
    """The step of the body that learns, and the outputs of its readout."""
    protocol.move(spec.cell, network.params.cell, network.memory, x_t)
    heads.outputs(network.params.readout, network.memory.y, network.activations.o)


@kernel
def read_ahead(spec, params, forward, x_t):
    """The step of a body that does not learn, and the outputs of its readout. Its state does not move."""
    protocol.forward(spec.cell, params.cell, forward.work, forward.state, x_t, forward.record)
    heads.outputs(params.readout, forward.record.y, forward.activations.o)


@kernel
def write_predictions(task, scale, outputs, base, row):
    """row (n_targets,) <- the predictions; returns whether they are finite."""
    usable = True
    for j in range(row.shape[0]):
        row[j] = targets.prediction(task.loss, scale, j, outputs[j], base[j])
        usable &= np.isfinite(row[j])
    return usable


# --------------------------------------------------------------------------------------------------------- learning


@generic
def learn_row(delay, task, views, x_t, target):
    """Learn from the targets (n_targets,) that have arrived, after `predict_row`."""


@learn_row.register(AtOnce)
def _learn_at_once(delay, task, views, x_t, target):
    learn_here(task, views, views.known.origins.base, target)


@learn_row.register(Behind)
def _learn_behind(delay, task, views, x_t, target):
    delayed, clock = views.delayed, views.clock
    row = clock[ROW]
    if clock[FILLED] == delay.horizon:
        move(task.network, views.network, delayed.inputs[row])
        learn_here(task, views, delayed.bases[row], target)
    copy(delayed.forward.flat_state_t, delayed.forward.flat_state)
    copy(x_t, delayed.inputs[row])
    copy(views.known.origins.base, delayed.bases[row])
    advance_ring(delay, clock)


@learn_row.register(Stored)
def _learn_from_stored(delay, task, views, x_t, target):
    spec, network, delayed, clock = task.network, views.network, views.delayed, views.clock
    row, o = clock[ROW], network.activations.o
    latest, earlier = o[0], delayed.outputs[row, 0]
    due = clock[FILLED] == delay.horizon
    o[0] = earlier
    delta, seen = errors(task, views, delayed.bases[row], target, due)
    differentiate(spec, network)
    swap(network.flat_traces, delayed.gradients[row])
    delayed.outputs[row, 0] = latest
    copy(views.known.origins.base, delayed.bases[row])
    if seen:
        update(spec.optimizer, spec, network, delta)
    advance_ring(delay, clock)


@kernel
def advance_ring(delay, clock):
    clock[ROW] = (clock[ROW] + 1) % delay.horizon
    clock[FILLED] = min(clock[FILLED] + 1, delay.horizon)


@kernel
def swap(a, b):
    for k in range(a.shape[0]):
        a_k = a[k]
        a[k] = b[k]
        b[k] = a_k


@kernel
def learn_here(task, views, base, target):
    """Learn from targets of the input that the learning body has moved to."""
    spec, network = task.network, views.network
    delta, seen = errors(task, views, base, target, True)
    differentiate(spec, network)
    if seen:
        update(spec.optimizer, spec, network, delta)


@kernel
def errors(task, views, base, target, due):
    """Write the gradient with respect to the outputs; returns (delta, whether there is a target)."""
    o, do = views.network.activations.o, views.network.activations.do
    one, seen = o.dtype.type(1), False
    for j in range(target.shape[0]):
        do[j] = 0
        column = views.known.column[j]
        if due and column != LOOKING and not np.isnan(target[j]):
            targets.include(views.scale, j, target[j] - base[j], column == NONE)
            y = o.dtype.type(targets.standardize(task.loss, views.scale, j, target[j], base[j]))
            do[j] = targets.descent(task.loss, o[j], y)
            seen = True
    delta = one
    if task.n_targets == 1:
        delta, do[0] = do[0], one
    return delta, seen


@kernel
def differentiate(spec, network):
    """traces <- sum over j of do_j times the gradient of output j; the sensitivities advance."""
    params, traces, memory = network.params, network.traces, network.memory
    activations, zero = network.activations, network.dy.dtype.type(0)
    heads.feature_gradient(params.readout, activations.do, network.dy)
    protocol.credit(spec.cell, params.cell, memory, network.dy)
    protocol.learn(spec.cell, params.cell, traces.cell, memory, zero, None)
    heads.accumulate(memory.y, activations.do, zero, traces.readout)


@generic
def update(optimizer, spec, network, delta):
    """Update the parameters along the gradient in the traces, for the error `delta`."""


@update.otherwise
@kernel
def _update_along(optimizer, spec, network, delta):
    optimizers.take_step(optimizer, network.flat_params, network.flat_traces, network.moments, delta)


@update.register(WithGradient)
def _update_with_gradient(optimizer, spec, network, delta):
    stored, _ = gradient_arrays(spec, network.moments)
    stored.latest[DISCOUNT] = 0  # lambda is 0: the trace of a rule is the latest gradient
    assign(stored.gradient, network.traces)
    optimizers.update(optimizer, network.flat_params, network.flat_traces, network.moments, delta)


# ------------------------------------------------------------------------------------------------------------- runs


@kernel
def clear_stream(task, views):
    """Forget the stream: memory, traces, and inputs whose targets have not come."""
    network = views.network
    clear_memory(task.network.cell, network.memory, network.flat_memory)
    clear(network.flat_traces)
    clear_delayed(task.delay, views.delayed)
    forget_row_before(views.known)
    views.clock[ROW] = 0
    views.clock[FILLED] = 0


@generic
def clear_delayed(delay, delayed):
    """Clear the state of the body that predicts."""


@clear_delayed.register(Behind)
def _clear_ahead(delay, delayed):
    clear(delayed.flat_forward)


@clear_delayed.otherwise
def _nothing_to_clear(delay, delayed):
    pass


@generic
def raw(rows):
    """((rows, n_inputs) the observations as they were given,). A tuple, as of `inputs.take`."""


@raw.register(inputs.Rows)
def _raw_of_stage(rows):
    return (rows.raw,)


@raw.otherwise
@kernel
def _raw_themselves(rows):
    return (rows,)


def run(task, arrays, stretch, n_steps, learns):
    """Predict and learn for `n_steps` rows; returns how many were made.

    If a prediction is not finite, the run stops there. If a row is not usable or the parameters are degenerate, the
    result is REFUSED, and nothing has changed. If Python has work before the next step, the result is `paused(steps)`.

    arrays : modified in place
    stretch.predictions : written
    learns : if 0, there is one row, and nothing has changed but the memory of the learning body and of the inputs
    """
    views, spec, rows, given = views_of(task, arrays), task.network, stretch.inputs, stretch.targets
    clock, network, known, x_t = views.clock, views.network, views.known, views.delayed.x
    present = known.origins
    if protocol.degenerate(spec.cell, network.params.cell):
        return REFUSED
    if not inputs.usable(rows, n_steps) or (learns and not task.missing and not finite(given, n_steps)):
        return REFUSED
    (observations,) = raw(rows)
    for t in range(n_steps):
        (taken,) = inputs.take(rows, t, clock[IS_FIRST] != 0)
        write_bases(known, present, observations[t])
        include_changes(known, present)
        write_input(known, present, taken, x_t)
        (outputs,) = predict_row(task.delay, task, views, x_t)
        if not write_predictions(task, views.scale, outputs, present.base, stretch.predictions[t]):
            return t
        if not learns:
            return 1
        compare(known, observations[t], given[t], task.delay.horizon)
        write_bases(known, present, observations[t])
        learn_row(task.delay, task, views, x_t, given[t])
        advance_origins(present)
        clock[STEPS] += 1
        clock[IS_FIRST] = stretch.ends[t]
        if stretch.ends[t]:
            clear_stream(task, views)
        if clock[STEPS] % EXAMINE_EVERY == 0:
            outcome = examine(spec, network)
            if outcome == DIVERGED:
                return t
            if outcome == PAUSED or clock[STEPS] % LOOK_EVERY == 0:
                return paused(t + 1)
        if inputs.silent(rows):
            return paused(t + 1)
    return n_steps


def predict(task, arrays, scratch, stretch, n_steps):
    """Predict for `n_steps` rows without learning.

    scratch : modified in place; it begins with the state, which advances
    stretch.predictions : written
    """
    views, (own, _) = views_of(task, arrays), ahead(task, scratch)
    params, rows, forward, known = views.network.params, stretch.inputs, own.forward, views.known
    protocol.prepare(task.network.cell, params.cell, forward.work)
    (observations,) = raw(rows)
    for t in range(n_steps):
        (taken,) = inputs.read(rows, t)
        write_bases(known, own.origins, observations[t])
        write_input(known, own.origins, taken, own.x)
        read_ahead(task.network, params, forward, own.x)
        write_predictions(task, views.scale, forward.activations.o, own.origins.base, stretch.predictions[t])
        advance_origins(own.origins)
        copy(forward.flat_state_t, forward.flat_state)
