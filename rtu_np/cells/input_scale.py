"""The scale gamma of a unit's input: tied to r in a recurrent trace unit, free in a linear recurrent unit.

    tied   gamma = sqrt(1 - r^2)     no parameter of its own      dgamma/da = -dlog_r r^2 / gamma       derivations (6)
    free   gamma = exp(gamma_log)    dgamma/dgamma_log = gamma    dgamma/da = 0                        derivations (27)

A unit with the free scale has a third sensitivity to a parameter of its own, e' = lambda e + gamma W x. Input weights
are called W1, W2 with the tied scale, and B_re, B_im with the free scale. Kernels unpack the pair and use no names.
"""

from typing import Annotated, NamedTuple

import numpy as np

from rtu_np.jit import generic, noalias
from rtu_np.numerics.buffers import copy, padded, padded_rows
from rtu_np.numerics.elementary import exp
from rtu_np.numerics.layout import layout_of

# ----------------------------------------------------------------------------------------------------------- types


class Tied(NamedTuple):
    """gamma = sqrt(1 - r^2)"""


class Free(NamedTuple):
    """gamma = exp(gamma_log)"""


class TiedScale(NamedTuple):
    """No parameter of its own, and so no sensitivity."""


class FreeScale(NamedTuple):
    gamma_log: Annotated[np.ndarray, padded, "n"]


class FreeScaleSensitivities(NamedTuple):
    dc1_dgamma_log: Annotated[np.ndarray, padded, "n"]
    dc2_dgamma_log: Annotated[np.ndarray, padded, "n"]


class RTUWeights(NamedTuple):
    W1: Annotated[np.ndarray, padded_rows, "d", "n"]
    W2: Annotated[np.ndarray, padded_rows, "d", "n"]


class LRUWeights(NamedTuple):
    B_re: Annotated[np.ndarray, padded_rows, "d", "n"]
    B_im: Annotated[np.ndarray, padded_rows, "d", "n"]


@generic
def input_scale_parameters(kind, n, flat):
    """Layout of the parameters of the scale of `n` units."""


@generic
def input_scale_sensitivities(kind, n, flat):
    """Layout of the sensitivities to these parameters."""


@generic
def input_weights(kind, d, n, flat):
    """Layout of the weights from `d` inputs to `n` units."""


input_scale_parameters.register(Tied)(layout_of(TiedScale, "kind", "n"))
input_scale_parameters.register(Free)(layout_of(FreeScale, "kind", "n"))
input_scale_sensitivities.register(Tied)(layout_of(TiedScale, "kind", "n"))
input_scale_sensitivities.register(Free)(layout_of(FreeScaleSensitivities, "kind", "n"))
input_weights.register(Tied)(layout_of(RTUWeights, "kind", "d", "n"))
input_weights.register(Free)(layout_of(LRUWeights, "kind", "d", "n"))


# --------------------------------------------------------------------------------------------------------- kernels


@generic
def copy_input_scale(kind, params, out):
    """out <- the parameters of the scale"""


@copy_input_scale.register(Free)
@noalias
def _free_copy(kind, params, out):
    copy(params.gamma_log, out)


@generic
def input_scale(kind, gamma_log, r, complement, dlog_r):
    """(gamma, d gamma / da) of one unit."""


@input_scale.register(Tied)
def _tied_gamma(kind, gamma_log, r, complement, dlog_r):
    gamma = np.sqrt(complement)
    return gamma, -dlog_r * r * r / gamma


@input_scale.register(Free)
def _free_gamma(kind, gamma_log, r, complement, dlog_r):
    gamma = exp(gamma_log)
    return gamma, gamma - gamma


@generic
def move_input_scale(kind, g, p, gamma, drive1, drive2, units):
    """Advance the sensitivities to the parameters of the scale, as if f were the identity."""


@move_input_scale.register(Free)
@noalias
def _free_move(kind, g, p, gamma, drive1, drive2, units):
    for i in range(units.dc1_dgamma_log.shape[0]):
        g_i, p_i, gamma_i = g[i], p[i], gamma[i]
        e1, e2 = units.dc1_dgamma_log[i], units.dc2_dgamma_log[i]
        units.dc1_dgamma_log[i] = g_i * e1 - p_i * e2 + gamma_i * drive1[i]
        units.dc2_dgamma_log[i] = g_i * e2 + p_i * e1 + gamma_i * drive2[i]


@generic
def apply_slopes_to_input_scale(kind, units, slope1, slope2):
    """units <- f'(z) units: multiply these sensitivities by the slopes of an activation in the recurrence."""


@apply_slopes_to_input_scale.register(Free)
@noalias
def _free_apply_slopes(kind, units, slope1, slope2):
    for i in range(units.dc1_dgamma_log.shape[0]):
        units.dc1_dgamma_log[i] *= slope1[i]
        units.dc2_dgamma_log[i] *= slope2[i]


@generic
def accumulate_input_scale(kind, units, d1, d2, decay, out):
    """out <- decay out + (dc/dparameter)^T d, for the parameters of the scale."""


@accumulate_input_scale.register(Free)
@noalias
def _free_accumulate(kind, units, d1, d2, decay, out):
    for i in range(d1.shape[0]):
        gradient = d1[i] * units.dc1_dgamma_log[i] + d2[i] * units.dc2_dgamma_log[i]
        out.gamma_log[i] = decay * out.gamma_log[i] + gradient


@generic
def input_scale_backward(kind, gamma, dL_dgamma, out):
    """out <- out + dL/dparameters: reverse mode through gamma, for the parameters of the scale."""


@input_scale_backward.register(Free)
@noalias
def _free_backward(kind, gamma, dL_dgamma, out):
    for i in range(dL_dgamma.shape[0]):
        out.gamma_log[i] += gamma[i] * dL_dgamma[i]


def _no_parameter(kind, *arguments):
    pass


copy_input_scale.register(Tied)(_no_parameter)
move_input_scale.register(Tied)(_no_parameter)
apply_slopes_to_input_scale.register(Tied)(_no_parameter)
accumulate_input_scale.register(Tied)(_no_parameter)
input_scale_backward.register(Tied)(_no_parameter)
