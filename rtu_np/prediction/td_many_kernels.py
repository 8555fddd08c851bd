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

from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.many import Many, learn_many
from rtu_np.gradients.layers import clear_memory
from rtu_np.jit import generic, kernel, noalias
from rtu_np.learning import optimizers
from rtu_np.learning.network import examine, forward_arrays
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
from rtu_np.numerics.buffers import add_scaled, clear, copy, finite_vector
from rtu_np.numerics.units import add_scaled_units
from rtu_np.prediction import inputs
from rtu_np.prediction.td_kernels import paused
from rtu_np.prediction.td_many_network import (
    Frozen,
    FrozenBelowTraces,
    Lambda0,
    Shared,
    Traces,
    catch_up,
    find_errors,
    find_neighbours,
    learn_rows,
    many_arrays,
    read_both,
    read_rows,
    scale_errors,
)


class ManyStep(NamedTuple):
    """One step of a stream."""

    x: np.ndarray  # (n_inputs,)   the observation
    first: Any  # whether it is the first step after a clear
    signal: np.ndarray  # (4 m,)
    end: Any
    known: Any  # whether a cumulant is known


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
        add_scaled_units(n.direction.cell, z, dy[k * units : (k + 1) * units])
    protocol.propagate(cell, n.memory)
    for k in range(spec.n_shared):
        for i in range(dy.shape[0]):
            dy[i] = k * units <= i < (k + 1) * units
        protocol.credit(cell, n.params.cell, n.memory, dy)
        z, _ = protocol.parameters(cell, n.traces.shared[k])
        protocol.accumulate(cell, n.memory, decay, z)


@learn_body.register(FrozenBelowTraces)
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


@_add_body.register(FrozenBelowTraces)
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


@move.register(FrozenBelowTraces)
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


@prepare.register(FrozenBelowTraces)
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
    read_rows(spec.body, spec, n)
    if not finite_vector(n.v_t):
        return False
    if step.end == TERMINATED:
        clear(n.v_t)
    find_errors(step.first, n.dy.dtype.type(spec.lambda_), step.signal, n.v_tm1, n.v_t, n.factors, n.decays)
    scale_errors(spec.optimizer, spec, n)
    learn_body(spec.body, spec, n)
    learn_rows(spec.body, spec, n)
    take_step(spec.optimizer, spec, n, step.known and not step.first)
    if step.end != CONTINUES:
        catch_up(spec.body, spec, n)
        _forget(spec.body, spec, n)
    return True


@generic
def _forget(body, spec, network):
    """Clear memory and traces."""


@_forget.otherwise
@kernel
def _forget_all(body, spec, network):
    clear_memory(spec.cell, network.memory, network.flat_memory)
    clear(network.flat_traces)


@_forget.register(FrozenBelowTraces)
@_forget.register(Frozen)
def _forget_state(body, spec, network):
    clear(network.memory.flat_state)
    clear(network.memory.y)
    clear(network.flat_traces)


def run(spec, flat, clock, observations, signals, predictions, n_steps):
    """Learn from `n_steps` steps that Python has checked; returns what `td_kernels.run` returns.

    signals : (at least n_steps, 4 m); see the slots
    predictions : (at least n_steps, m) written
    """
    network, _ = many_arrays(spec, flat)
    if protocol.degenerate(spec.cell, network.params.cell):
        return REFUSED
    prepare(spec.body, spec, network)
    find_neighbours(spec, network)
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
            catch_up(spec.body, spec, network)
            outcome = _examine(spec.body, spec, network)
            if outcome == DIVERGED:
                return t
            if outcome == PAUSED or clock[STEPS] % LOOK_EVERY == 0:
                return paused(t + 1)
        if inputs.silent(observations):
            catch_up(spec.body, spec, network)
            return paused(t + 1)
    catch_up(spec.body, spec, network)
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


@_examine.register(FrozenBelowTraces)
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
        read_both(params.readout, y_t, y_t, network.v_tm1, predictions[t])
        copy(p.flat_state_t, p.flat_state)
