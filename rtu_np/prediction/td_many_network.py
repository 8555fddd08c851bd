"""The network of many predictions: its arrays, and its readout, a row for each prediction.

Types say how the body learns (derivations (65)-(68)). `td_many_kernels` has the step.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.jit import generic, kernel, njit, noalias
from rtu_np.learning import optimizers, readout
from rtu_np.learning.network import Weights, weights
from rtu_np.learning.passes import AlongTraces, InOwnPass
from rtu_np.learning.readout import NoActivations
from rtu_np.numerics.buffers import clear, copy, padded, padded_rows, whole
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.rows import add_to_rows, learn_four, read_four
from rtu_np.prediction.td_kernels import CUMULANT, DISCOUNT

RATIO, SLOTS = 3, 4  # a row of signals has m numbers in each slot


class Traces(NamedTuple):
    """A trace of the body for each prediction."""


class Shared(NamedTuple):
    """Traces of the features, and a trace of the readout, for all predictions together."""


class Lambda0(NamedTuple):
    """As Shared, with traces of the latest gradient alone; a trace of the readout for each prediction."""


class Frozen(NamedTuple):
    """The body does not learn, and carries no sensitivities."""


class FrozenBelowTraces(NamedTuple):
    """As Frozen, if the optimiser takes its step along the traces: then the readout can learn one step later."""


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
    body: Any  # Traces, Shared, Lambda0, Frozen or FrozenBelowTraces
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
    stops: PerPrediction  # where the neighbours with one trace end, if they start here (`find_neighbours`)
    v_tm1: PerPrediction
    v_t: PerPrediction
    factors: PerPrediction  # of the traces, in the direction of the step
    decays: PerPrediction  # of the traces
    y_tm1: Annotated[np.ndarray, padded, "spec.readout.n_features"]
    y_t: Annotated[np.ndarray, padded, "spec.readout.n_features"]
    dy: PerFeature
    credits: Annotated[np.ndarray, padded_rows, "8", "spec.cell.n_hidden"]
    waits: Annotated[np.ndarray, "1"]  # whether the readout has not learned yet from the latest step


many_arrays = kernel(inline=False)(layout_of(ManyNetwork))


# ------------------------------------------------------------------------------------------------------ the readout


@njit(fastmath={"contract", "reassoc"})
def _two_dots(w, a, b):
    """(w . a, w . b), in any order. The row w may be longer."""
    first = second = w.dtype.type(0)
    for k in range(a.shape[0]):
        first += w[k] * a[k]
        second += w[k] * b[k]
    return first, second


@kernel
def read_both(params, y_tm1, y_t, v_tm1, v_t):
    """v_tm1, v_t (m,) <- W y + b, of the features before and now"""
    whole = v_t.shape[0] - v_t.shape[0] % 4
    for j in range(whole - 4, -1, -4):  # back, as rows learn forth: the latest are in the nearest cache
        read_four(params.w, j, y_tm1, y_t, v_tm1, v_t)
    _read_rest(whole, params, y_tm1, y_t, v_tm1, v_t)


@kernel
def _read_rest(first, params, y_tm1, y_t, v_tm1, v_t):
    for j in range(first, v_t.shape[0]):
        v_tm1[j], v_t[j] = _two_dots(params.w[j], y_tm1, y_t)
    _add_biases(params.b, v_tm1, v_t)


@kernel
@noalias
def _add_biases(b, v_tm1, v_t):
    for j in range(b.shape[0]):
        v_tm1[j] += b[j]
        v_t[j] += b[j]


@kernel
@noalias
def find_errors(first, lambda_, signal, v_tm1, v_t, errors, decays):
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


@kernel
def find_neighbours(spec, network):
    """network.stops <- for each prediction whose trace is another than its neighbour's before, the next such one"""
    n, m = network, spec.readout.m
    start = 0
    for j in range(1, m + 1):
        if j == m or n.group[j] != n.group[start]:
            n.stops[start] = j
            start = j


@generic
def move_rows(optimizer, spec, network):
    """The readout's rows, or those of the direction, <- factors times traces."""


@move_rows.register(AlongTraces)
def _add_to_parameters(optimizer, spec, network):
    n, out, z = network, network.params.readout, network.traces.readout
    start = 0
    while start < spec.readout.m:
        stop = int(n.stops[start])
        add_to_rows(out.w, start, stop, n.factors, z.w[int(n.group[start])])
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
def _write_row(target, factor, z):
    for k in range(target.shape[0]):
        target[k] = factor * z[k]


@kernel
@noalias
def _add_products(target, factors, z):
    for j in range(target.shape[0]):
        target[j] += factors[j] * z[j]


# On a body that does not learn, a readout along traces can wait until the next features are there. Then one pass over
# its rows updates them and reads both features: 100 rows of 128 features are larger than the nearest cache, in float32.


@generic
def learn_rows(body, spec, network):
    """The readout learns from the step, and its traces advance; or it waits."""


@generic
def read_rows(body, spec, network):
    """v_tm1, v_t <- W y + b; a readout that waits learns from the last step before."""


@generic
def catch_up(body, spec, network):
    """A readout that waits learns from the latest step."""


@learn_rows.otherwise
@kernel
def _learn_at_once(body, spec, network):
    move_rows(spec.optimizer, spec, network)
    decay_rows(spec, network, network.y_t)


@read_rows.otherwise
@kernel
def _read(body, spec, network):
    read_both(network.params.readout, network.y_tm1, network.y_t, network.v_tm1, network.v_t)


catch_up.otherwise(lambda body, spec, network: None)


@learn_rows.register(FrozenBelowTraces)
def _wait(body, spec, network):
    network.waits[0] = 1


@catch_up.register(FrozenBelowTraces)
def _learn_what_waits(body, spec, network):
    if network.waits[0] != 0:
        network.waits[0] = 0
        _learn_at_once(body, spec, network)


@read_rows.register(FrozenBelowTraces)
def _learn_and_read(body, spec, network):
    n, params, z = network, network.params.readout, network.traces.readout
    if n.waits[0] == 0:
        _read(body, spec, network)
    else:
        n.waits[0] = 0
        m, width = spec.readout.m, n.y_t.shape[0]
        whole = m - m % 4
        for j in range(0, whole, 4):
            a, b, c, d = int(n.group[j]), int(n.group[j + 1]), int(n.group[j + 2]), int(n.group[j + 3])
            zs = z.w[a][:width], z.w[b][:width], z.w[c][:width], z.w[d][:width]
            learn_four(params.w, j, (n.factors, zs), n.y_tm1, n.y_t, n.v_tm1, n.v_t)
        for j in range(whole, m):
            add_to_rows(params.w, j, j + 1, n.factors, z.w[int(n.group[j])])
        _add_products(params.b, n.factors, z.b)
        _read_rest(whole, params, n.y_tm1, n.y_t, n.v_tm1, n.v_t)
        decay_rows(spec, n, n.y_tm1)


@kernel
def decay_rows(spec, network, y):
    n, z = network, network.traces.readout
    j = 0
    while j < spec.readout.m:
        if int(n.group[j]) == j:
            _decay_row(z.w[j], n.decays[j], y)
        j = int(n.stops[j])
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
