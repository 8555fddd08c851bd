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
from rtu_np.jit import generic, kernel, noalias
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
from rtu_np.learning.readout import LinearReadoutSpec, NoActivations
from rtu_np.numerics.buffers import add_scaled, clear, copy, finite, finite_vector, padded_rows, whole
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.products import dot
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
    w: Annotated[np.ndarray, "spec.m", "spec.n_features"]
    b: Annotated[np.ndarray, "spec.m"]


readout.parameters.register(RowsSpec)(layout_of(RowsParameters))
readout.activations.register(RowsSpec)(layout_of(NoActivations))


class ManySpec(NamedTuple):
    cell: Any
    readout: RowsSpec
    optimizer: Any  # AlongTraces or InOwnPass (`rtu_np.learning.passes`)
    lambda_: float
    body: Any  # Traces, Shared, Lambda0 or Frozen
    n_rows: int  # traces that have a readout: one for each prediction, or one for all
    start: int  # of the readout in such a row, behind the body
    n_row: int  # numbers of a row
    n_shared: int  # traces of features: as many as a unit has features, or none
    n_body: int  # numbers of such a trace


PerPrediction = Annotated[np.ndarray, "spec.readout.m"]
PerFeature = Annotated[np.ndarray, "spec.readout.n_features"]


class ManyTraces(NamedTuple):
    rows: Annotated[np.ndarray, "spec.n_rows", "spec.n_row"]
    shared: Annotated[np.ndarray, "spec.n_shared", "spec.n_body"]


class ManyNetwork(NamedTuple):
    """All arrays of a network of m predictions that learns."""

    params: Annotated[Weights, weights]
    flat_params: Annotated[np.ndarray, whole]
    traces: Annotated[ManyTraces, kernel(layout_of(ManyTraces))]
    flat_traces: Annotated[np.ndarray, whole]
    moments: Annotated[np.ndarray, "spec.optimizer.n_moments"]
    memory: Annotated[Any, protocol.memory, "spec.cell"]
    flat_memory: Annotated[np.ndarray, whole]
    direction: Annotated[Weights, weights]  # scratch, as all that follows
    flat_direction: Annotated[np.ndarray, whole]
    v_tm1: PerPrediction
    v_t: PerPrediction
    factors: PerPrediction  # of the traces, in the direction of the step
    decays: PerPrediction  # of the traces
    y_tm1: PerFeature
    dy: PerFeature
    credits: Annotated[np.ndarray, padded_rows, "8", "spec.cell.n_hidden"]


many_arrays = kernel(inline=False)(layout_of(ManyNetwork))


class ManyStep(NamedTuple):
    """One step of a stream."""

    x: np.ndarray  # (n_inputs,)   the observation
    first: Any  # whether it is the first step after a clear
    signal: np.ndarray  # (4 m,)
    end: Any


# ------------------------------------------------------------------------------------------------------ the readout


@kernel
@noalias
def values(params, y, v):
    """v (m,) <- W y + b"""
    for j in range(v.shape[0]):
        v[j] = params.b[j] + dot(params.w[j], y)


@generic
def factor(optimizer, row, error):
    """The number that multiplies a prediction's trace in the direction of the step, for its TD error."""


@factor.register(AlongTraces)
def _step_along(optimizer, row, error):
    return optimizers.step(optimizer, row, error)


@factor.register(InOwnPass)
def _error_itself(optimizer, row, error):
    return error


@generic
def add_rows(optimizer, network, j, z):
    """Row j of the readout, or of the direction, <- factor times the trace z."""


@add_rows.register(AlongTraces)
def _add_to_parameters(optimizer, network, j, z):
    _add_scaled_row(network.params.readout.w[j], network.factors[j], z.w)
    network.params.readout.b[j] += network.factors[j] * z.b[0]


@add_rows.register(InOwnPass)
def _store_direction(optimizer, network, j, z):
    _scale_row(network.direction.readout.w[j], network.factors[j], z.w)
    network.direction.readout.b[j] = network.factors[j] * z.b[0]


@kernel
@noalias
def _add_scaled_row(target, scale, source):
    for k in range(target.shape[0]):
        target[k] += scale * source[k]


@kernel
@noalias
def _scale_row(target, scale, source):
    for k in range(target.shape[0]):
        target[k] = scale * source[k]


@kernel
@noalias
def _decay_row(z, decay, y):
    for k in range(y.shape[0]):
        z.w[k] = decay * z.w[k] + y[k]
    z.b[0] = decay * z.b[0] + 1


@kernel
def row_of(spec, network, j):
    """The trace of the readout of prediction j."""
    one = LinearReadoutSpec(spec.readout.n_features)
    return readout.parameters(one, network.traces.rows[j][spec.start :])[0]


@generic
def learn_rows(body, spec, network):
    """Update the readout, or store its direction; then its traces decay and get the features."""


@learn_rows.otherwise
@kernel
def _learn_each_row(body, spec, network):
    for j in range(spec.readout.m):
        z = row_of(spec, network, j)
        add_rows(spec.optimizer, network, j, z)
        _decay_row(z, network.decays[j], network.memory.y)


@learn_rows.register(Shared)
def _learn_with_one_row(body, spec, network):
    z = row_of(spec, network, 0)
    for j in range(spec.readout.m):
        add_rows(spec.optimizer, network, j, z)
    _decay_row(z, network.decays[0], network.memory.y)


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
    many = Many(n.params.readout.w, n.factors, n.decays, n.traces.rows, n.credits)
    learn_many(spec.cell, n.params.cell, n.memory, many, n.direction.cell)


@learn_body.register(Shared)
def _learn_from_features(body, spec, network):
    _learn_along_features(spec, network, network.decays[0])


@learn_body.register(Lambda0)
def _learn_from_latest_features(body, spec, network):
    _learn_along_features(spec, network, network.dy.dtype.type(0))


@kernel
def _learn_along_features(spec, network, decay):
    n, cell, units, dy = network, spec.cell, spec.cell.n_hidden, network.dy
    clear(n.flat_direction[: spec.n_body])
    clear(dy)
    for j in range(spec.readout.m):
        _add_scaled_row(dy, n.factors[j], n.params.readout.w[j])
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
def take_step(optimizer, spec, network, first):
    """Update all parameters that have not been updated yet."""


@take_step.register(AlongTraces)
def _add_direction(optimizer, spec, network, first):
    _add_body(spec.body, network)


@take_step.register(InOwnPass)
def _own_pass(optimizer, spec, network, first):
    n = network
    if not first:
        optimizers.update(optimizer, n.flat_params, n.flat_direction, n.moments, n.dy.dtype.type(1))


@generic
def _add_body(body, network):
    """The body's parameters <- parameters + direction."""


@_add_body.register(Frozen)
def _add_nothing(body, network):
    pass


@_add_body.otherwise
def _add_to_body(body, network):
    add_scaled(network.params.cell, network.direction.cell, network.dy.dtype.type(1))


# --------------------------------------------------------------------------------------------------------- the step


@kernel
def learn_step(spec, network, step):
    """Learn from one step; returns whether the predictions are finite. If not, nothing has been learned."""
    n, m = network, spec.readout.m
    lambda_, zero = n.dy.dtype.type(spec.lambda_), n.dy.dtype.type(0)
    values(n.params.readout, n.memory.y, n.v_tm1)
    protocol.move(spec.cell, n.params.cell, n.memory, step.x)
    values(n.params.readout, n.memory.y, n.v_t)
    if not finite_vector(n.v_t):
        return False
    if step.end == TERMINATED:
        clear(n.v_t)
    for j in range(m):
        c, discount, ratio = step.signal[CUMULANT * m + j], step.signal[DISCOUNT * m + j], step.signal[RATIO * m + j]
        error = zero if step.first else ratio * (c + discount * n.v_t[j] - n.v_tm1[j])
        n.decays[j] = ratio * discount * lambda_
        n.factors[j] = factor(spec.optimizer, n.traces.rows[min(j, spec.n_rows - 1)], error)
    learn_body(spec.body, spec, n)
    learn_rows(spec.body, spec, n)
    take_step(spec.optimizer, spec, n, step.first)
    if step.end != CONTINUES:
        clear(n.flat_memory)
        clear(n.flat_traces)
    return True


def run(spec, flat, clock, observations, signals, predictions, n_steps):
    """Learn from `n_steps` steps; returns what `td_kernels.run` returns.

    signals : (at least n_steps, 4 m); see the slots
    predictions : (at least n_steps, m) written
    """
    network, _ = many_arrays(spec, flat)
    if protocol.degenerate(spec.cell, network.params.cell):
        return REFUSED
    if not (finite(observations, n_steps) and finite(signals, n_steps)):
        return REFUSED
    for t in range(n_steps):
        end = signals[t, END * spec.readout.m]
        if not learn_step(spec, network, ManyStep(observations[t], clock[IS_FIRST] != 0, signals[t], end)):
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
    return n_steps


@generic
def _examine(body, spec, network):
    """As `rtu_np.learning.network.examine`."""


@_examine.register(Frozen)
def _examine_readout(body, spec, network):
    return DONE if finite_vector(network.moments) else DIVERGED


@_examine.otherwise
def _examine_all(body, spec, network):
    return examine(spec, network)


def predict(spec, flat, scratch, observations, predictions, n_steps):
    """Predict for `n_steps` steps without learning, as `td_kernels.predict`. predictions : (at least n_steps, m)"""
    params, (p, _) = many_arrays(spec, flat)[0].params, forward_arrays(spec, scratch)
    protocol.prepare(spec.cell, params.cell, p.work)
    for t in range(n_steps):
        protocol.forward(spec.cell, params.cell, p.work, p.state, observations[t], p.record)
        values(params.readout, p.record.y, predictions[t])
        copy(p.flat_state_t, p.flat_state)
