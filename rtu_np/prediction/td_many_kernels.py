"""Streaming TD(lambda) of m predictions on one body: the compiled step.

Each prediction j has a cumulant, a discount, and a row W_j of one linear readout (derivations (65)-(68)):

    v_j,tm1 = W_j . y_tm1 + b_j                        with today's readout
    y_t     = cell(x_t);  v_j,t = W_j . y_t + b_j      one step of the cell for all
    delta_j = rho_j (c_j + gamma_j v_j,t - v_j,tm1)
    params  <- params + step(sum of delta_j z_j)       a prediction's trace has the body and its own row of the readout
    z_j     <- rho_j gamma_j lambda z_j + grad v_j,t   with the parameters that made v_j,t

The sensitivities of the cell are carried once. Types say how the body learns:

Traces     a trace of the body for each prediction
Features   the traces of the features, one for all predictions, with today's readout; lambda is `lambda_`, or 0
Frozen     the body does not learn, and carries no sensitivities

Ends, first steps and discounts of 0 are as in `rtu_np.prediction.td_kernels`.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.many import Many, add_by_unit, learn_many
from rtu_np.jit import generic, kernel, njit, noalias
from rtu_np.learning import optimizers, readout
from rtu_np.learning.network import Weights, examine, forward_arrays, weights
from rtu_np.learning.outcomes import (
    CONTINUES,
    DIVERGED,
    DONE,
    END,
    EXAMINE_EVERY,
    IS_FIRST,
    LOOK_EVERY,
    PAUSED,
    REFUSED,
    STEPS,
    TERMINATED,
)
from rtu_np.learning.passes import AlongTraces, InOwnPass
from rtu_np.learning.readout import NoActivations
from rtu_np.numerics.buffers import add_scaled, clear, copy, finite_vector, padded, padded_rows, whole
from rtu_np.numerics.layout import layout_of
from rtu_np.prediction import inputs
from rtu_np.prediction.td_kernels import CUMULANT, DISCOUNT, paused

RATIO, SLOTS = 3, 4  # a row of signals has m numbers in each slot


class Traces(NamedTuple):
    """A trace of the body for each prediction."""


class Shared(NamedTuple):
    """Traces of the features, and a trace of the readout, for all predictions together."""


class Lambda0(NamedTuple):
    """As Shared, with traces of the latest gradient alone; a trace of the readout for each prediction."""


class Frozen(NamedTuple):
    """The body does not learn, and carries no sensitivities."""


class RowsSpec(NamedTuple):
    """A linear readout with a row for each prediction."""

    n_features: int
    m: int


class RowsParameters(NamedTuple):
    w: Annotated[np.ndarray, padded_rows, "spec.m", "spec.n_features"]
    b: Annotated[np.ndarray, "spec.m"]


rows_parameters = kernel(layout_of(RowsParameters))
readout.parameters.register(RowsSpec)(rows_parameters)
readout.activations.register(RowsSpec)(layout_of(NoActivations))


class ManySpec(NamedTuple):
    cell: Any
    readout: RowsSpec
    optimizer: Any  # AlongTraces or InOwnPass (`rtu_np.learning.passes`)
    lambda_: float
    body: Any  # Traces, Shared, Lambda0 or Frozen
    bounded: bool  # whether the step along a trace depends on it
    n_body: int  # numbers of a trace of the body
    n_shared: int  # traces of features: as many as a unit has features, or none
    n_own: int  # numbers of the body in a prediction's own trace: n_body, or none
    n_tail: int  # numbers behind these for a copy of the trace of the readout, or none


PerPrediction = Annotated[np.ndarray, "spec.readout.m"]
PerFeature = Annotated[np.ndarray, "spec.readout.n_features"]


class ManyTraces(NamedTuple):
    own: Annotated[np.ndarray, "spec.readout.m", "spec.n_own + spec.n_tail"]
    shared: Annotated[np.ndarray, "spec.n_shared", "spec.n_body"]
    readout: Annotated[RowsParameters, rows_parameters, "spec.readout"]


class ManyNetwork(NamedTuple):
    """All arrays of a network of m predictions that learns."""

    params: Annotated[Weights, weights]
    flat_params: Annotated[np.ndarray, whole]
    traces: Annotated[ManyTraces, kernel(layout_of(ManyTraces))]
    flat_traces: Annotated[np.ndarray, whole]
    group: PerPrediction  # whose trace each prediction's readout has: equal traces are one, that of the first
    moments: Annotated[np.ndarray, "spec.optimizer.n_moments"]
    memory: Annotated[Any, protocol.memory, "spec.cell"]
    flat_memory: Annotated[np.ndarray, whole]
    direction: Annotated[Weights, weights]  # scratch, as all that follows
    flat_direction: Annotated[np.ndarray, whole]
    v_tm1: PerPrediction
    v_t: PerPrediction
    factors: PerPrediction  # of the traces, in the direction of the step
    decays: PerPrediction  # of the traces
    y_tm1: Annotated[np.ndarray, padded, "spec.readout.n_features"]
    y_t: Annotated[np.ndarray, padded, "spec.readout.n_features"]
    dy: PerFeature
    credits: Annotated[np.ndarray, padded_rows, "8", "spec.cell.n_hidden"]


many_arrays = kernel(inline=False)(layout_of(ManyNetwork))


class ManyStep(NamedTuple):
    """One step of a stream."""

    x: np.ndarray  # (n_inputs,)   the observation
    first: Any  # whether it is the first step after a clear
    signal: np.ndarray  # (4 m,)
    end: Any
    known: Any  # whether a cumulant is known


# ------------------------------------------------------------------------------------------------------ the readout


@njit(fastmath={"contract", "reassoc"})
def _two_dots(w, a, b):
    """(w . a, w . b), in any order."""
    first = second = w.dtype.type(0)
    for k in range(w.shape[0]):
        first += w[k] * a[k]
        second += w[k] * b[k]
    return first, second


@kernel
def _read_both(params, y_tm1, y_t, v_tm1, v_t):
    """v_tm1, v_t (m,) <- W y + b, of the features before and now"""
    for j in range(v_t.shape[0]):
        before, now = _two_dots(params.w[j], y_tm1, y_t)
        v_tm1[j] = params.b[j] + before
        v_t[j] = params.b[j] + now


@kernel
@noalias
def _errors(first, lambda_, signal, v_tm1, v_t, errors, decays):
    """errors <- TD errors times importance ratios; decays <- those of the traces"""
    m, zero = v_t.shape[0], lambda_ - lambda_
    for j in range(m):
        discount, ratio = signal[DISCOUNT * m + j], signal[RATIO * m + j]
        error = ratio * (signal[CUMULANT * m + j] + discount * v_t[j] - v_tm1[j])
        errors[j] = zero if first or error != error else error  # a cumulant is missing if it is NaN
        decays[j] = ratio * (discount * lambda_)


@generic
def scale_errors(optimizer, spec, network):
    """factors <- what multiplies the traces in the direction of the step, from the TD errors"""


@scale_errors.register(AlongTraces)
def _steps_along(optimizer, spec, network):
    n, one = network, network.dy.dtype.type(1)
    if spec.bounded:
        for j in range(spec.readout.m):
            tail = n.traces.own[j][spec.n_own :]
            copy(n.traces.readout.w[int(n.group[j])], tail)
            tail[spec.n_tail - 1] = n.traces.readout.b[j]
            n.factors[j] = optimizers.step(optimizer, n.traces.own[j], n.factors[j])
    else:
        _scale(n.factors, optimizers.step(optimizer, n.dy, one))


@kernel
def _scale(x, factor):
    for j in range(x.shape[0]):
        x[j] *= factor


@scale_errors.register(InOwnPass)
def _errors_themselves(optimizer, spec, network):
    pass


@generic
def move_rows(optimizer, spec, network):
    """The readout's rows, or those of the direction, <- factors times traces."""


@move_rows.register(AlongTraces)
def _add_to_parameters(optimizer, spec, network):
    n, out, z = network, network.params.readout, network.traces.readout
    start, m = 0, spec.readout.m
    while start < m:  # neighbours with one trace together
        stop, group = start + 1, n.group[start]
        while stop < m and n.group[stop] == group:
            stop += 1
        _add_to_rows(out.w[start:stop], n.factors[start:stop], z.w[int(group)])
        start = stop
    _add_products(out.b, n.factors, z.b)


@move_rows.register(InOwnPass)
def _store_direction(optimizer, spec, network):
    n, out, z = network, network.direction.readout, network.traces.readout
    for j in range(spec.readout.m):
        _write_row(out.w[j], n.factors[j], z.w[int(n.group[j])])
    clear(out.b)
    _add_products(out.b, n.factors, z.b)


@kernel
@noalias
def _add_to_rows(targets, factors, z):
    for j in range(targets.shape[0]):
        for k in range(targets.shape[1]):
            targets[j, k] += factors[j] * z[k]


@kernel
@noalias
def _write_row(target, factor, z):
    for k in range(target.shape[0]):
        target[k] = factor * z[k]


@kernel
@noalias
def _add_products(target, factors, z):
    for j in range(target.shape[0]):
        target[j] += factors[j] * z[j]


@kernel
def _decay_rows(spec, network):
    n, z = network, network.traces.readout
    for j in range(spec.readout.m):
        if int(n.group[j]) == j:
            _decay_row(z.w[j], n.decays[j], n.y_t)
    _decay_biases(z.b, n.decays)


@kernel
@noalias
def _decay_row(z, decay, y):
    for k in range(y.shape[0]):
        z[k] = decay * z[k] + y[k]


@kernel
@noalias
def _decay_biases(z, decays):
    one = z.dtype.type(1)
    for j in range(z.shape[0]):
        z[j] = decays[j] * z[j] + one


# --------------------------------------------------------------------------------------------------------- the body


@generic
def learn_body(body, spec, network):
    """direction.cell <- the direction of the body's step, before the readout learns; advance sensitivities and traces.

    The parameters of the body are those of the latest `move`.
    """


@learn_body.register(Traces)
def _learn_from_traces(body, spec, network):
    n = network
    clear(n.flat_direction[: spec.n_body])
    many = Many(n.params.readout.w, n.factors, n.decays, n.traces.own, n.credits)
    learn_many(spec.cell, n.params.cell, n.memory, many, n.direction.cell)


@learn_body.register(Shared)
def _learn_from_features(body, spec, network):
    _learn_along_features(spec, network, network.decays[0])


@learn_body.register(Lambda0)
def _learn_from_latest_features(body, spec, network):
    _learn_along_features(spec, network, network.dy.dtype.type(0))


@kernel
@noalias
def _weigh(factors, w, dy):
    """dy <- the sum of factors times rows"""
    for k in range(dy.shape[0]):
        dy[k] = 0
    for j in range(factors.shape[0]):
        for k in range(dy.shape[0]):
            dy[k] += factors[j] * w[j, k]


@kernel
def _learn_along_features(spec, network, decay):
    n, cell, units, dy = network, spec.cell, spec.cell.n_hidden, network.dy
    clear(n.flat_direction[: spec.n_body])
    _weigh(n.factors, n.params.readout.w, dy)
    for k in range(spec.n_shared):
        z, _ = protocol.parameters(cell, n.traces.shared[k])
        add_by_unit(n.direction.cell, z, dy[k * units : (k + 1) * units])
    protocol.propagate(cell, n.memory)
    for k in range(spec.n_shared):
        for i in range(dy.shape[0]):
            dy[i] = k * units <= i < (k + 1) * units
        protocol.credit(cell, n.params.cell, n.memory, dy)
        z, _ = protocol.parameters(cell, n.traces.shared[k])
        protocol.accumulate(cell, n.memory, decay, z)


@learn_body.register(Frozen)
def _learn_nothing(body, spec, network):
    pass


@generic
def take_step(optimizer, spec, network, learns):
    """Update all parameters that have not been updated yet."""


@take_step.register(AlongTraces)
def _add_direction(optimizer, spec, network, learns):
    _add_body(spec.body, network)


@take_step.register(InOwnPass)
def _own_pass(optimizer, spec, network, learns):
    n = network
    if learns:
        optimizers.update(optimizer, n.flat_params, n.flat_direction, n.moments, n.dy.dtype.type(1))


@generic
def _add_body(body, network):
    """The body's parameters <- parameters + direction."""


@_add_body.register(Frozen)
def _add_nothing(body, network):
    pass


@_add_body.otherwise
@kernel
def _add_to_body(body, network):
    add_scaled(network.params.cell, network.direction.cell, network.dy.dtype.type(1))


# --------------------------------------------------------------------------------------------------------- the step


@generic
def move(body, spec, network, x):
    """The step of the body, from its memory to the memory after it."""


@move.otherwise
@kernel
def _move_and_prepare(body, spec, network, x):
    protocol.move(spec.cell, network.params.cell, network.memory, x)


@move.register(Frozen)
def _move_prepared(body, spec, network, x):
    cell, memory = spec.cell.cell, network.memory
    record, _ = protocol.record(cell, memory.records[0])
    protocol.forward(cell, network.params.cell, memory.work, memory.state, x, record)
    copy(memory.records[0, : spec.cell.n_state], memory.flat_state)
    copy(record.y, memory.y)


@generic
def prepare(body, spec, network):
    """What the steps of a frozen body need of its parameters."""


@prepare.otherwise
@kernel
def _nothing_to_prepare(body, spec, network):
    pass


@prepare.register(Frozen)
def _prepare_cell(body, spec, network):
    protocol.prepare(spec.cell.cell, network.params.cell, network.memory.work)


@kernel
def learn_step(spec, network, step):
    """Learn from one step; returns whether the predictions are finite. If not, nothing has been learned."""
    n = network
    copy(n.memory.y, n.y_tm1)
    move(spec.body, spec, n, step.x)
    copy(n.memory.y, n.y_t)
    _read_both(n.params.readout, n.y_tm1, n.y_t, n.v_tm1, n.v_t)
    if not finite_vector(n.v_t):
        return False
    if step.end == TERMINATED:
        clear(n.v_t)
    _errors(step.first, n.dy.dtype.type(spec.lambda_), step.signal, n.v_tm1, n.v_t, n.factors, n.decays)
    scale_errors(spec.optimizer, spec, n)
    learn_body(spec.body, spec, n)
    move_rows(spec.optimizer, spec, n)
    _decay_rows(spec, n)
    take_step(spec.optimizer, spec, n, step.known and not step.first)
    if step.end != CONTINUES:
        _forget(spec.body, spec, n)
    return True


@generic
def _forget(body, spec, network):
    """Clear memory and traces."""


@_forget.otherwise
@kernel
def _forget_all(body, spec, network):
    clear(network.flat_memory)
    clear(network.flat_traces)


@_forget.register(Frozen)
def _forget_state(body, spec, network):
    clear(network.memory.flat_state)
    clear(network.memory.y)
    clear(network.flat_traces)


def run(spec, flat, clock, observations, signals, predictions, n_steps):
    """Learn from `n_steps` steps; returns what `td_kernels.run` returns.

    signals : (at least n_steps, 4 m); see the slots
    predictions : (at least n_steps, m) written
    """
    network, _ = many_arrays(spec, flat)
    if protocol.degenerate(spec.cell, network.params.cell):
        return REFUSED
    if not (inputs.usable(observations, n_steps) and inputs.usable_signals(observations, signals, n_steps)):
        return REFUSED
    prepare(spec.body, spec, network)
    for t in range(n_steps):
        end, first = signals[t, END * spec.readout.m], clock[IS_FIRST] != 0
        known = _known(observations, signals[t, : spec.readout.m])
        (x_t,) = inputs.take(observations, t, first)
        if not learn_step(spec, network, ManyStep(x_t, first, signals[t], end, known)):
            return t
        clock[STEPS] += 1
        clock[IS_FIRST] = end != CONTINUES
        copy(network.v_t, predictions[t])
        if clock[STEPS] % EXAMINE_EVERY == 0:
            outcome = _examine(spec.body, spec, network)
            if outcome == DIVERGED:
                return t
            if outcome == PAUSED or clock[STEPS] % LOOK_EVERY == 0:
                return paused(t + 1)
        if inputs.silent(observations):
            return paused(t + 1)
    return n_steps


@kernel
def _known(rows, cumulants):
    """Whether there is a cumulant to learn from."""
    n_known = 0
    for j in range(cumulants.shape[0]):
        n_known += inputs.known(rows, cumulants[j])
    return n_known > 0


@generic
def _examine(body, spec, network):
    """As `rtu_np.learning.network.examine`."""


@_examine.register(Frozen)
def _examine_readout(body, spec, network):
    return DONE if finite_vector(network.moments) else DIVERGED


@_examine.otherwise
@kernel
def _examine_all(body, spec, network):
    return examine(spec, network)


def predict(spec, flat, scratch, observations, predictions, n_steps):
    """Predict for `n_steps` steps without learning, as `td_kernels.predict`. predictions : (at least n_steps, m)"""
    (network, _), (p, _) = many_arrays(spec, flat), forward_arrays(spec, scratch)
    params, y_t = network.params, network.y_t
    protocol.prepare(spec.cell, params.cell, p.work)
    for t in range(n_steps):
        (x_t,) = inputs.read(observations, t)
        protocol.forward(spec.cell, params.cell, p.work, p.state, x_t, p.record)
        copy(p.record.y, y_t)
        _read_both(params.readout, y_t, y_t, predictions[t], predictions[t])
        copy(p.flat_state_t, p.flat_state)
