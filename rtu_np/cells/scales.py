"""The scale gamma of a unit's input: tied to r in a recurrent trace unit, free in a linear recurrent unit.

    tied   gamma = sqrt(1 - r^2)     no parameter of its own      dgamma/da = -dlog_r r^2 / gamma       derivations (6)
    free   gamma = exp(gamma_log)    dgamma/dgamma_log = gamma    dgamma/da = 0                        derivations (27)

With the free scale comes a third sensitivity of a unit to itself, e' = lambda e + gamma W x. Input weights are called
W1, W2 in the one and B_re, B_im in the other; kernels unpack them and need not know.
"""

from typing import NamedTuple

import numpy as np

from rtu_np.jit import generic, separate
from rtu_np.numerics.buffers import copy, matrix, vector
from rtu_np.numerics.elementary import exp

# ----------------------------------------------------------------------------------------------------------- types


class Tied(NamedTuple):
    """gamma = sqrt(1 - r^2)"""


class Free(NamedTuple):
    """gamma = exp(gamma_log)"""


class TiedScale(NamedTuple):
    """No parameter of its own, and so no sensitivity."""


class FreeScale(NamedTuple):
    gamma_log: np.ndarray  # (n,)


class FreeScaleSensitivities(NamedTuple):
    dc1_dgamma_log: np.ndarray  # (n,)
    dc2_dgamma_log: np.ndarray  # (n,)


class RTUWeights(NamedTuple):
    W1: np.ndarray  # (d, n)
    W2: np.ndarray  # (d, n)


class LRUWeights(NamedTuple):
    B_re: np.ndarray  # (d, n)
    B_im: np.ndarray  # (d, n)


@generic
def scale_and_weights(scale, d, n, flat):
    """Carve (scale parameters, weights) off `flat`, and the rest."""


@scale_and_weights.register(Tied)
def _tied_parameters(scale, d, n, flat):
    W1, flat = matrix(flat, d, n)
    W2, flat = matrix(flat, d, n)
    return TiedScale(), RTUWeights(W1, W2), flat


@scale_and_weights.register(Free)
def _free_parameters(scale, d, n, flat):
    gamma_log, flat = vector(flat, n)
    B_re, flat = matrix(flat, d, n)
    B_im, flat = matrix(flat, d, n)
    return FreeScale(gamma_log), LRUWeights(B_re, B_im), flat


@generic
def scale_sensitivities(scale, n, flat):
    """Carve the sensitivities to the parameters of the scale off `flat`: (views, rest)."""


@scale_sensitivities.register(Tied)
def _tied_sensitivities(scale, n, flat):
    return TiedScale(), flat


@scale_sensitivities.register(Free)
def _free_sensitivities(scale, n, flat):
    dc1_dgamma_log, flat = vector(flat, n)
    dc2_dgamma_log, flat = vector(flat, n)
    return FreeScaleSensitivities(dc1_dgamma_log, dc2_dgamma_log), flat


# --------------------------------------------------------------------------------------------------------- kernels


@generic
def copy_scale(scale, params, out):
    """out <- the parameters of the scale"""


@copy_scale.register(Free)
@separate
def _free_copy_scale(scale, params, out):
    copy(params.gamma_log, out)


@generic
def scale_of(scale, gamma_log, r, complement, dlog_r):
    """(gamma, d gamma / da) of one unit."""


@scale_of.register(Tied)
def _tied_gamma(scale, gamma_log, r, complement, dlog_r):
    gamma = np.sqrt(complement)
    return gamma, -dlog_r * r * r / gamma


@scale_of.register(Free)
def _free_gamma(scale, gamma_log, r, complement, dlog_r):
    gamma = exp(gamma_log)
    return gamma, gamma - gamma


@generic
def move_scale(scale, work, units):
    """The sensitivities to the parameters of the scale, as if f were the identity."""


@move_scale.register(Free)
@separate
def _free_move_scale(scale, work, units):
    for i in range(units.dc1_dgamma_log.shape[0]):
        g, p, gamma = work.g[i], work.p[i], work.gamma[i]
        e1, e2 = units.dc1_dgamma_log[i], units.dc2_dgamma_log[i]
        units.dc1_dgamma_log[i] = g * e1 - p * e2 + gamma * work.drive1[i]
        units.dc2_dgamma_log[i] = g * e2 + p * e1 + gamma * work.drive2[i]


@generic
def slope_scale(scale, units, slope1, slope2):
    """What an activation in the recurrence does to these sensitivities."""


@slope_scale.register(Free)
@separate
def _free_slope_scale(scale, units, slope1, slope2):
    for i in range(units.dc1_dgamma_log.shape[0]):
        units.dc1_dgamma_log[i] *= slope1[i]
        units.dc2_dgamma_log[i] *= slope2[i]


@generic
def accumulate_scale(scale, units, d1, d2, decay, out):
    """out <- decay out + (dc/dparameter)^T d, for the parameters of the scale."""


@accumulate_scale.register(Free)
@separate
def _free_accumulate_scale(scale, units, d1, d2, decay, out):
    for i in range(d1.shape[0]):
        gradient = d1[i] * units.dc1_dgamma_log[i] + d2[i] * units.dc2_dgamma_log[i]
        out.gamma_log[i] = decay * out.gamma_log[i] + gradient


@generic
def scale_backward(scale, work, out):
    """Reverse mode through gamma, for the parameters of the scale, once `work.along` is dL/dgamma."""


@scale_backward.register(Free)
@separate
def _free_scale_backward(scale, work, out):
    for i in range(out.gamma_log.shape[0]):
        out.gamma_log[i] += work.gamma[i] * work.along[i]


def _no_parameter(scale, *arguments):
    pass


for _function in (copy_scale, move_scale, slope_scale, accumulate_scale, scale_backward):
    _function.register(Tied)(_no_parameter)
