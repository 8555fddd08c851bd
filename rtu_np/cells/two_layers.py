"""Exact RTRL of two layers of recurrent trace units, one on the other: `Stack([lower, upper])` with RTRL(exact=True).

Layer-local RTRL leaves out how a lower layer's parameters act on the upper layer's memory (derivations (31)). Here
that is carried, too. A parameter psi belongs to one unit i below, and acts on all units k above, E_k = dc_k/dpsi. With
e = dc_i/dpsi of the present step, from the lower layer's own RTRL (e and E_k are two numbers each),

    E_k <- A_k E_k + U_ki e                                                                      derivations (98)
    A_k    the Jacobian of unit k's step: for the linear unit its rotation, and the nonlinear unit's slopes times that
    U_ki   dc_k/dc_i through the present step, 2 x 2: slope of i, weight, gamma of k (and slope of k)          (99)

U_ki is any 2 x 2 matrix, no complex number, so W2_j = i W1_j of (14) does not carry over: E has four numbers for each
unit above and pair of weights below (derivations (100)). With D_k = dL/dc_k, the gradient by psi is

    sum over k of D_k E_k                                                                                     (101)

Above the upper layer there may be layers without a state. Time and memory grow with (units above) x (parameters below).
Rows of E belong to psi, and are as long as the upper layer is wide, so that U_ki and e are read from the nearest cache.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.couplings import by_eigenvalue, by_weights, carry, couple, four_rows
from rtu_np.cells.input_scale import Tied
from rtu_np.cells.linear_rtu import LinearRTUSpec
from rtu_np.cells.nonlinear_rtu import NonlinearRTUSpec
from rtu_np.cells.rotation import plain_rotation
from rtu_np.cells.rows import accumulate_four
from rtu_np.cells.stack import Between, StackSpec, register_pair, states_of
from rtu_np.gradients.layers import name_of
from rtu_np.gradients.rtrl import with_every_path
from rtu_np.jit import generic, kernel
from rtu_np.numerics.activations import activation_flops, plain_slope
from rtu_np.numerics.buffers import Pair, add_scaled, copy, padded_rows, rebuild
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.products import dot
from rtu_np.protocol import PerOutput

# ----------------------------------------------------------------------------------------------------------- types

_TRACE_UNITS = (LinearRTUSpec, NonlinearRTUSpec)


class TwoLayersSpec(NamedTuple):
    """A `StackSpec` whose sensitivities have every path."""

    n_inputs: int
    n_hidden: int
    n_outputs: int
    lower: Any
    upper: Any
    n_above: int  # units of the upper recurrent layer


@generic
def units_above(spec, views):
    """Of the layers above the lowest, given their spec, the part of `views` that belongs to the recurrent one."""


units_above.register(StackSpec)(lambda spec, views: views.lower)
units_above.otherwise(lambda spec, views: views)


@with_every_path.register(StackSpec)
def _with_every_path(spec: Any) -> Any:
    if protocol.feedforward(spec.upper):
        return spec  # nothing above remembers, so layer-local RTRL has every path
    recurrent: Any = units_above(spec.upper, spec.upper)
    without_state = not isinstance(spec.upper, StackSpec) or protocol.feedforward(spec.upper.upper)
    units = type(spec.lower) in _TRACE_UNITS and type(recurrent) in _TRACE_UNITS
    # E has no rows for the parameter of a free input scale, which an LRU has.
    if units and isinstance(spec.lower.input_scale, Tied) and without_state:
        return TwoLayersSpec(**spec._asdict(), n_above=recurrent.n_hidden)
    names, above = [name_of(spec.lower)], spec.upper
    while isinstance(above, StackSpec):
        names.append(name_of(above.lower))
        above = above.upper
    layers = ", ".join([*names, name_of(above)])
    raise TypeError(
        f"gradient is RTRL(exact=True) for a Stack of {layers}: expected two layers, each a LinearRTU or a "
        "NonlinearRTU, and above them only layers without a state, such as Dense; for others, RTRL(dense=True) is "
        "exact and slow, and RTRL() is layer-local"
    )


# E[2 q] and E[2 q + 1] are the effects of parameter q on c1 and c2 of the units above. The parameters of one unit below
# stand together: a and b, then W1_j and W2_j for each input j.
ByParameter = Annotated[
    np.ndarray, padded_rows, "2 * spec.lower.n_hidden * (2 + 2 * spec.lower.n_inputs)", "spec.n_above"
]


class TwoLayersMemory(NamedTuple):
    lower: Annotated[Any, protocol.memory, "spec.lower"]
    upper: Annotated[Any, protocol.memory, "spec.upper"]
    state: Annotated[Any, states_of, "spec", "lower", "upper"]  # takes no numbers
    y: PerOutput
    between: Between
    dbetween: Between
    E: ByParameter
    U: Annotated[np.ndarray, padded_rows, "4 * spec.lower.n_hidden", "spec.n_above"]  # U11, U12, U21, U22 of each unit


class TwoLayersSensitivities(NamedTuple):
    lower: Annotated[Any, protocol.stored_sensitivities, "spec.lower"]
    upper: Annotated[Any, protocol.stored_sensitivities, "spec.upper"]
    E: ByParameter


register_pair(TwoLayersSpec)
protocol.pair_views.register(TwoLayersSpec)(lambda spec, lower, upper: Pair(lower, upper))
protocol.memory.register(TwoLayersSpec)(layout_of(TwoLayersMemory))
protocol.stored_sensitivities.register(TwoLayersSpec)(layout_of(TwoLayersSensitivities))


# ------------------------------------------------------------------------------------------- reference: plain NumPy


def _plain_unit_jacobians(spec, params, y, x_slopes):
    """(A, B) of the units above: dc/dc_tm1 (2, 2, n) and dc/dx (2, inputs, n), through one step with the outputs y."""
    rotation, (W1, W2) = plain_rotation(spec, params), params.weights
    A = np.array([[rotation.g, -rotation.p], [rotation.p, rotation.g]])
    B = rotation.gamma * np.array([W1, W2]) * x_slopes[:, None]
    if isinstance(spec, NonlinearRTUSpec):  # the state is the output
        slopes = np.stack(np.split(plain_slope(spec.activation, y), 2))[:, None]
        A, B = slopes * A, slopes * B
    return A, B


def _plain_e(memory):
    """(2, n, 2 + 2 d): dc1 and dc2 of the units below by their own parameters, in the order of E."""
    units = memory.units
    a, b = (units.dc1_da, units.dc2_da), (units.dc1_db, units.dc2_db)
    W1 = np.stack([memory.dc1_dW1, memory.dc2_dW1])
    W2 = np.stack([memory.dc1_dW2, memory.dc2_dW2]) if hasattr(memory, "dc1_dW2") else np.stack([-W1[1], W1[0]])
    by_weights = np.stack([W1, W2], axis=-1).swapaxes(1, 2)  # (2, n, d, 2)
    return np.concatenate([np.stack([a, b], axis=-1), by_weights.reshape(2, len(a[0]), -1)], axis=-1)


@protocol.plain_advance.register(TwoLayersSpec)
def plain_advance(spec, params, memory, x_t):
    lower = protocol.plain_advance(spec.lower, params.lower, memory.lower, x_t)
    upper = protocol.plain_advance(spec.upper, params.upper, memory.upper, lower.y)
    above = [units_above(spec.upper, of) for of in (spec.upper, params.upper, upper)]
    linear = isinstance(spec.lower, LinearRTUSpec)
    x_slopes = plain_slope(spec.lower.activation, lower.y) if linear else np.ones(lower.y.size)
    A, B = _plain_unit_jacobians(above[0], above[1], above[2].y, x_slopes)
    U = B.reshape(2, 2, spec.lower.n_hidden, spec.n_above)  # of the inputs c1 and c2
    E = memory.E.reshape(spec.lower.n_hidden, -1, 2, spec.n_above)
    E = np.einsum("ack,iqck->iqak", A, E) + np.einsum("acik,ciq->iqak", U, _plain_e(lower))
    state = type(memory.state)(lower.state, upper.state)
    return memory._replace(
        lower=lower,
        upper=upper,
        state=state,
        y=upper.y,
        between=lower.y,
        E=E.reshape(memory.E.shape),
        U=U.transpose(2, 0, 1, 3).reshape(memory.U.shape),
    )


@protocol.plain_gradient.register(TwoLayersSpec)
def plain_gradient(spec, params, memory, dy):
    above, dbetween = protocol.plain_gradient(spec.upper, params.upper, memory.upper, dy)
    local, dx = protocol.plain_gradient(spec.lower, params.lower, memory.lower, dbetween)
    layer, own, dy_units = units_above(spec.upper, memory.upper), units_above(spec.upper, spec.upper), dy
    if isinstance(spec.upper, StackSpec):
        dy_units = protocol.plain_gradient(spec.upper.upper, params.upper.upper, memory.upper.upper, dy)[1]
    if isinstance(own, LinearRTUSpec):
        dy_units = plain_slope(own.activation, layer.y) * dy_units
    by_unit = memory.E.reshape(spec.lower.n_hidden, -1, 2 * spec.n_above) @ dy_units  # (n, 2 + 2 d)
    by_weights = by_unit[:, 2:].reshape(spec.lower.n_hidden, spec.lower.n_inputs, 2)
    exact = [by_unit[:, 0], by_unit[:, 1], by_weights[..., 0].T, by_weights[..., 1].T]
    return type(params)(rebuild(local, exact), above), dx


# --------------------------------------------------------------------------------------------------------- kernels


@protocol.move.register(TwoLayersSpec)
def move(spec, params, memory, x_t):
    protocol.move(spec.lower, params.lower, memory.lower, x_t)
    copy(memory.lower.y, memory.between)
    protocol.move(spec.upper, params.upper, memory.upper, memory.between)
    copy(memory.upper.y, memory.y)
    # Here, since `learn` may come after the parameters have been updated.
    above = units_above(spec.upper, spec.upper), units_above(spec.upper, memory.upper)
    couple((spec.lower, memory.lower), above, units_above(spec.upper, params.upper), memory.U)


@kernel
def _carry_unit(spec, memory, i):
    """E of all parameters of unit i below, one step on."""
    above, units, E = units_above(spec.upper, spec.upper), units_above(spec.upper, memory.upper), memory.E
    couplings, first = four_rows(memory.U, 4 * i), 4 * i * (1 + spec.lower.n_inputs)
    carry(above, units, couplings, by_eigenvalue(memory.lower, i), four_rows(E, first))
    for j in range(spec.lower.n_inputs):
        e = by_weights(spec.lower, memory.lower, j, i)
        carry(above, units, couplings, e, four_rows(E, first + 4 + 4 * j))


@protocol.propagate.register(TwoLayersSpec)
def propagate(spec, memory):
    protocol.propagate(spec.lower, memory.lower)
    for i in range(spec.lower.n_hidden):
        _carry_unit(spec, memory, i)
    protocol.propagate(spec.upper, memory.upper)


@protocol.credit.register(TwoLayersSpec)
def credit(spec, params, memory, dy):
    """The credit of the units above is enough: E has the way from them to the parameters below."""
    protocol.credit(spec.upper, params.upper, memory.upper, dy)


@kernel
def _contract_unit(spec, E, i, d, decay, out):
    """out <- decay out + sum over units above of D E, for the parameters of unit i below"""
    (d1, d2), (a, b), (W1, W2), row = d, out.eigenvalue, out.weights, 4 * i * (1 + spec.lower.n_inputs)
    a[i] = decay * a[i] + (dot(d1, E[row]) + dot(d2, E[row + 1]))
    b[i] = decay * b[i] + (dot(d1, E[row + 2]) + dot(d2, E[row + 3]))
    for j in range(spec.lower.n_inputs):
        row += 4
        W1[j, i] = decay * W1[j, i] + (dot(d1, E[row]) + dot(d2, E[row + 1]))
        W2[j, i] = decay * W2[j, i] + (dot(d1, E[row + 2]) + dot(d2, E[row + 3]))


@protocol.accumulate.register(TwoLayersSpec)
def accumulate(spec, memory, decay, out):
    units = units_above(spec.upper, memory.upper)
    for i in range(spec.lower.n_hidden):
        _contract_unit(spec, memory.E, i, (units.credit1, units.credit2), decay, out.lower)
    protocol.accumulate(spec.upper, memory.upper, decay, out.upper)


@protocol.learn.register(TwoLayersSpec)
def learn(spec, params, traces, memory, decay, step):
    units = units_above(spec.upper, memory.upper)
    if step is not None:
        add_scaled(params.lower, traces.lower, step)
    protocol.propagate(spec.lower, memory.lower)
    for i in range(spec.lower.n_hidden):  # the rows of a unit are still in the first cache
        _carry_unit(spec, memory, i)
        _contract_unit(spec, memory.E, i, (units.credit1, units.credit2), decay, traces.lower)
    protocol.learn(spec.upper, params.upper, traces.upper, memory.upper, decay, step)


@protocol.input_gradient.register(TwoLayersSpec)
def input_gradient(spec, params, memory, dx):
    protocol.input_gradient(spec.upper, params.upper, memory.upper, memory.dbetween)
    protocol.credit(spec.lower, params.lower, memory.lower, memory.dbetween)
    protocol.input_gradient(spec.lower, params.lower, memory.lower, dx)


@protocol.store_sensitivities.register(TwoLayersSpec)
def store_sensitivities(spec, memory, stored):
    protocol.store_sensitivities(spec.lower, memory.lower, stored.lower)
    protocol.store_sensitivities(spec.upper, memory.upper, stored.upper)
    for row in range(stored.E.shape[0]):
        copy(memory.E[row], stored.E[row])


@protocol.accumulate_stored.register(TwoLayersSpec)
def accumulate_stored(spec, stored, dstate, out):
    _, above = protocol.state(spec.lower, dstate)
    d, one = units_above(spec.upper, protocol.state(spec.upper, above)[0]), stored.E.dtype.type(1)
    protocol.accumulate_stored(spec.lower, stored.lower, dstate, out.lower)
    protocol.accumulate_stored(spec.upper, stored.upper, above, out.upper)
    for i in range(spec.lower.n_hidden):
        _contract_unit(spec, stored.E, i, (d.c1, d.c2), one, out.lower)


@accumulate_four.register(TwoLayersSpec)
def _one_by_one(spec, stored, dstates, out):
    accumulate_stored(spec, stored[0], dstates[0], out)
    accumulate_stored(spec, stored[1], dstates[1], out)
    accumulate_stored(spec, stored[2], dstates[2], out)
    accumulate_stored(spec, stored[3], dstates[3], out)


@protocol.rescale.register(TwoLayersSpec)
def rescale(spec, params, sensitivities, factors):
    protocol.rescale(spec.lower, params.lower, sensitivities.lower, factors.lower)
    protocol.rescale(spec.upper, params.upper, sensitivities.upper, factors.upper)
    for i, factor in enumerate(factors.lower.eigenvalue[1]):  # only phases wrap, so all other factors are 1
        first = 4 * i * (1 + spec.lower.n_inputs)
        sensitivities.E[first + 2 : first + 4] *= factor


# ----------------------------------------------------------------------------------------------------------- costs


@protocol.flops.register(TwoLayersSpec)
def flops(spec):
    lower, upper, n, k = protocol.flops(spec.lower), protocol.flops(spec.upper), spec.lower.n_hidden, spec.n_above
    parameters = n * (2 + 2 * spec.lower.n_inputs)
    linear = isinstance(spec.lower, LinearRTUSpec)
    slopes = 2 * n * activation_flops(spec.lower.activation)[1] if linear else 0
    return protocol.Flops(
        prepare=lower.prepare + upper.prepare,
        forward=lower.forward + upper.forward,
        backward=lower.backward + upper.backward + upper.dx,
        dx=lower.dx,
        output_forward=upper.output_forward,
        output_backward=upper.output_backward,
        move=lower.move + upper.move + slopes + 8 * n * k,
        propagate=lower.propagate + upper.propagate + 14 * k * parameters,
        credit=upper.credit,
        accumulate=(4 * k + 3) * parameters + upper.accumulate,
        input_gradient=upper.input_gradient + lower.credit + lower.input_gradient,
    )
