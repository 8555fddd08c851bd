"""What two layers of trace units need of each other: how a unit below drives the units above, and how these carry it.

With U and A of derivations (99): `couple` writes U, and `carry` does E <- A E + U e (98), for two parameters at a time.
`rtu_np.cells.two_layers` goes through the units and their parameters. The type of a layer's spec chooses its form.
"""

from rtu_np.cells.linear_rtu import LinearRTUSpec
from rtu_np.cells.nonlinear_rtu import NonlinearRTUSpec
from rtu_np.jit import generic, kernel, like, noalias
from rtu_np.numerics.activations import slope


@generic
def _slopes_of_unit(spec, memory, i):
    """(dy1/dc1, dy2/dc2) of unit i below."""


@_slopes_of_unit.register(LinearRTUSpec)
def _of_linear_unit(spec, memory, i):
    return slope(spec.activation, memory.y[i]), slope(spec.activation, memory.y[spec.n_hidden + i])


@_slopes_of_unit.register(NonlinearRTUSpec)
def _of_nonlinear_unit(spec, memory, i):
    one = like(memory.y[i], 1.0)
    return one, one


@generic
def _scales(spec, memory):
    """(dc1/d(W1 x), dc2/d(W2 x)) of the units above."""


_scales.register(LinearRTUSpec)(lambda spec, memory: (memory.work.gamma, memory.work.gamma))
_scales.register(NonlinearRTUSpec)(lambda spec, memory: (memory.gamma1, memory.gamma2))


@kernel
@noalias
def _scale_row(factor, row, scale, out):
    for k in range(scale.shape[0]):
        out[k] = factor * row[k] * scale[k]


@kernel
def couple(below, above, params, U):
    """U <- dc/dc of the units above by those below, through the latest step.

    below, above : (spec, memory) of the units
    params : of the units above, as they were at that step
    U : U11, U12, U21, U22 of each unit below in rows, written
    """
    (W1, W2), n = params.weights, below[0].n_hidden
    scale1, scale2 = _scales(above[0], above[1])
    for i in range(n):
        slope1, slope2 = _slopes_of_unit(below[0], below[1], i)
        _scale_row(slope1, W1[i], scale1, U[4 * i])
        _scale_row(slope2, W1[n + i], scale1, U[4 * i + 1])
        _scale_row(slope1, W2[i], scale2, U[4 * i + 2])
        _scale_row(slope2, W2[n + i], scale2, U[4 * i + 3])


@generic
def carry(spec, memory, couplings, e, rows):
    """rows <- A rows + U e, of two parameters of one unit below. `spec` and `memory` are those of the units above.

    couplings : U11, U12, U21, U22
    e : dc1 and dc2 of the unit below by the first parameter, then by the second
    rows : likewise of the units above, modified in place
    """


@carry.register(LinearRTUSpec)
def _carry_linear(spec, memory, couplings, e, rows):
    _turn_rows(memory.work.g, memory.work.p, couplings, e, rows)


@kernel
@noalias
def _turn_rows(g, p, couplings, e, rows):
    U11, U12, U21, U22 = couplings
    e1, e2, f1, f2 = e
    E1, E2, F1, F2 = rows
    for k in range(g.shape[0]):
        E1_tm1, F1_tm1 = E1[k], F1[k]
        E1[k] = g[k] * E1_tm1 - p[k] * E2[k] + U11[k] * e1 + U12[k] * e2
        E2[k] = g[k] * E2[k] + p[k] * E1_tm1 + U21[k] * e1 + U22[k] * e2
        F1[k] = g[k] * F1_tm1 - p[k] * F2[k] + U11[k] * f1 + U12[k] * f2
        F2[k] = g[k] * F2[k] + p[k] * F1_tm1 + U21[k] * f1 + U22[k] * f2


@carry.register(NonlinearRTUSpec)
def _carry_nonlinear(spec, memory, couplings, e, rows):
    _turn_rows_by_slopes((memory.g1, memory.p1, memory.g2, memory.p2), couplings, e, rows)


@kernel
@noalias
def _turn_rows_by_slopes(jacobian, couplings, e, rows):
    g1, p1, g2, p2 = jacobian
    U11, U12, U21, U22 = couplings
    e1, e2, f1, f2 = e
    E1, E2, F1, F2 = rows
    for k in range(g1.shape[0]):
        E1_tm1, F1_tm1 = E1[k], F1[k]
        E1[k] = g1[k] * E1_tm1 - p1[k] * E2[k] + U11[k] * e1 + U12[k] * e2
        E2[k] = g2[k] * E2[k] + p2[k] * E1_tm1 + U21[k] * e1 + U22[k] * e2
        F1[k] = g1[k] * F1_tm1 - p1[k] * F2[k] + U11[k] * f1 + U12[k] * f2
        F2[k] = g2[k] * F2[k] + p2[k] * F1_tm1 + U21[k] * f1 + U22[k] * f2


@kernel
def by_eigenvalue(memory, i):
    """dc1 and dc2 of unit i below by a, then by b."""
    units = memory.units
    return units.dc1_da[i], units.dc2_da[i], units.dc1_db[i], units.dc2_db[i]


@generic
def by_weights(spec, memory, j, i):
    """dc1 and dc2 of unit i below by W1_j, then by W2_j."""


@by_weights.register(LinearRTUSpec)
def _linear_by_weights(spec, memory, j, i):
    e1, e2 = memory.dc1_dW1[j, i], memory.dc2_dW1[j, i]
    return e1, e2, -e2, e1


@by_weights.register(NonlinearRTUSpec)
def _nonlinear_by_weights(spec, memory, j, i):
    return memory.dc1_dW1[j, i], memory.dc2_dW1[j, i], memory.dc1_dW2[j, i], memory.dc2_dW2[j, i]


@kernel
def four_rows(matrix, first):
    return matrix[first], matrix[first + 1], matrix[first + 2], matrix[first + 3]
