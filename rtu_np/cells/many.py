"""What a cell may add for the gradients of many predictions at one step, which share its sensitivities.

Prediction j reads the features with weights of its own. So its gradient is one contraction of the same sensitivities,
and it has a trace of its own (derivations (65), (66)). A cell that adds nothing makes one gradient after the other.

learn_many      the sum of the traces, each times a factor; then the traces decay and get their gradients
UNITWISE        cells whose parameters each act on the features of one unit, for `add_scaled_units` (derivations (67))
"""

from typing import NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.input_scale import accumulate_input_scale
from rtu_np.cells.linear_rtu import LinearRTUSpec
from rtu_np.cells.min_gru import MinGRUSpec
from rtu_np.cells.nonlinear_rtu import NonlinearRTUSpec
from rtu_np.jit import generic, kernel, noalias
from rtu_np.numerics.buffers import add_scaled

UNITWISE = (LinearRTUSpec, NonlinearRTUSpec, MinGRUSpec)


class Many(NamedTuple):
    """What m predictions ask of the cell below them, a row or a number for each."""

    dy: np.ndarray  # (m, at least n_outputs) the gradient of each prediction by the features
    factors: np.ndarray  # (m,)
    decays: np.ndarray  # (m,)
    traces: np.ndarray  # (m, at least the numbers of the parameters); each row begins with a trace of the cell
    credits: np.ndarray  # (8, n) scratch


@generic
def learn_many(spec, params, memory, many, direction):
    """direction <- direction + sum of factors traces; sensitivities up to t; traces <- decays traces + gradients.

    params : those of the latest `move`
    many : a `Many`; its traces are modified in place
    direction : the views of the parameters, modified in place
    """


@learn_many.otherwise
@kernel
def _one_by_one(spec, params, memory, many, direction):
    protocol.propagate(spec, memory)
    _learn_from(0, spec, params, memory, many, direction)


@kernel
def _learn_from(first, spec, params, memory, many, direction):
    """Make the gradients of the predictions from the `first` on, one after the other."""
    for j in range(first, many.factors.shape[0]):
        z, _ = protocol.parameters(spec, many.traces[j])
        add_scaled(direction, z, many.factors[j])
        protocol.credit(spec, params, memory, many.dy[j][: spec.n_outputs])
        protocol.accumulate(spec, memory, many.decays[j], z)


@learn_many.register(LinearRTUSpec)
def _linear_rtu_learn_many(spec, params, memory, many, direction):
    protocol.propagate(spec, memory)
    traces, f, q = many.traces, many.factors, many.decays
    whole = f.shape[0] - f.shape[0] % 4
    for j in range(0, whole, 4):
        for k in range(4):
            protocol.credit(spec, params, memory, many.dy[j + k])
            _keep_credit(spec, memory, many.credits[2 * k], many.credits[2 * k + 1])
        a, b = protocol.parameters(spec, traces[j])[0], protocol.parameters(spec, traces[j + 1])[0]
        c, d = protocol.parameters(spec, traces[j + 2])[0], protocol.parameters(spec, traces[j + 3])[0]
        factors, decays = (f[j], f[j + 1], f[j + 2], f[j + 3]), (q[j], q[j + 1], q[j + 2], q[j + 3])
        units = memory.units
        _learn_four_units(
            (units.dc1_da, units.dc2_da, units.dc1_db, units.dc2_db),
            many.credits,
            (a.eigenvalue, b.eigenvalue, c.eigenvalue, d.eigenvalue),
            direction.eigenvalue,
            factors,
            decays,
        )
        _learn_input_scale(spec, units.input_scale, many, (j, 0), a.input_scale, direction.input_scale)
        _learn_input_scale(spec, units.input_scale, many, (j + 1, 1), b.input_scale, direction.input_scale)
        _learn_input_scale(spec, units.input_scale, many, (j + 2, 2), c.input_scale, direction.input_scale)
        _learn_input_scale(spec, units.input_scale, many, (j + 3, 3), d.input_scale, direction.input_scale)
        _learn_four(
            memory, many.credits, (a.weights, b.weights, c.weights, d.weights), direction.weights, factors, decays
        )
    _learn_from(whole, spec, params, memory, many, direction)


@kernel
@noalias
def _keep_credit(spec, memory, credit1, credit2):
    for i in range(memory.credit1.shape[0]):
        credit1[i] = memory.credit1[i]
        credit2[i] = memory.credit2[i]


@kernel
def _learn_input_scale(spec, units, many, at, z, direction):
    """`learn_many` of one prediction, for the parameter of a free input scale; a tied scale has none.

    at : (its number, its number among the four)
    """
    (j, k), credits = at, many.credits
    factor, decay = many.factors[j], many.decays[j]
    add_scaled(direction, z, factor)
    accumulate_input_scale(spec.input_scale, units, credits[2 * k], credits[2 * k + 1], decay, z)


@kernel
@noalias
def _learn_four_units(units, credits, traces, direction, factors, decays):
    """`learn_many` of four predictions, for the parameters of the eigenvalues."""
    a1, a2, b1, b2 = units
    (za_a, za_b), (zb_a, zb_b), (zc_a, zc_b), (zd_a, zd_b) = traces
    f0, f1, f2, f3 = factors
    q0, q1, q2, q3 = decays
    out_a, out_b = direction
    for i in range(a1.shape[0]):
        out_a[i] += f0 * za_a[i] + f1 * zb_a[i] + f2 * zc_a[i] + f3 * zd_a[i]
        out_b[i] += f0 * za_b[i] + f1 * zb_b[i] + f2 * zc_b[i] + f3 * zd_b[i]
        za_a[i] = q0 * za_a[i] + credits[0, i] * a1[i] + credits[1, i] * a2[i]
        za_b[i] = q0 * za_b[i] + credits[0, i] * b1[i] + credits[1, i] * b2[i]
        zb_a[i] = q1 * zb_a[i] + credits[2, i] * a1[i] + credits[3, i] * a2[i]
        zb_b[i] = q1 * zb_b[i] + credits[2, i] * b1[i] + credits[3, i] * b2[i]
        zc_a[i] = q2 * zc_a[i] + credits[4, i] * a1[i] + credits[5, i] * a2[i]
        zc_b[i] = q2 * zc_b[i] + credits[4, i] * b1[i] + credits[5, i] * b2[i]
        zd_a[i] = q3 * zd_a[i] + credits[6, i] * a1[i] + credits[7, i] * a2[i]
        zd_b[i] = q3 * zd_b[i] + credits[6, i] * b1[i] + credits[7, i] * b2[i]


@kernel
@noalias
def _learn_four(memory, credits, traces, direction, factors, decays):
    """`learn_many` of four predictions, for the weights: their sensitivities and the sum are read once for four."""
    (a1, a2), (b1, b2), (c1, c2), (d1, d2) = traces
    f0, f1, f2, f3 = factors
    q0, q1, q2, q3 = decays
    out1, out2 = direction
    for j in range(memory.dc1_dW1.shape[0]):
        for i in range(memory.dc1_dW1.shape[1]):
            e1, e2 = memory.dc1_dW1[j, i], memory.dc2_dW1[j, i]
            z1, z2 = a1[j, i], a2[j, i]
            sum1, sum2 = f0 * z1, f0 * z2
            a1[j, i] = q0 * z1 + credits[0, i] * e1 + credits[1, i] * e2
            a2[j, i] = q0 * z2 + credits[1, i] * e1 - credits[0, i] * e2
            z1, z2 = b1[j, i], b2[j, i]
            sum1, sum2 = sum1 + f1 * z1, sum2 + f1 * z2
            b1[j, i] = q1 * z1 + credits[2, i] * e1 + credits[3, i] * e2
            b2[j, i] = q1 * z2 + credits[3, i] * e1 - credits[2, i] * e2
            z1, z2 = c1[j, i], c2[j, i]
            sum1, sum2 = sum1 + f2 * z1, sum2 + f2 * z2
            c1[j, i] = q2 * z1 + credits[4, i] * e1 + credits[5, i] * e2
            c2[j, i] = q2 * z2 + credits[5, i] * e1 - credits[4, i] * e2
            z1, z2 = d1[j, i], d2[j, i]
            sum1, sum2 = sum1 + f3 * z1, sum2 + f3 * z2
            d1[j, i] = q3 * z1 + credits[6, i] * e1 + credits[7, i] * e2
            d2[j, i] = q3 * z2 + credits[7, i] * e1 - credits[6, i] * e2
            out1[j, i] += sum1
            out2[j, i] += sum2
