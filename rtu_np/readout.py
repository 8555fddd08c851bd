"""The linear readout v = w . y + b of a prediction."""

from typing import NamedTuple

import numpy as np

from rtu_np.buffers import vector
from rtu_np.jit import kernel
from rtu_np.layers import dot


class LinearReadout(NamedTuple):
    w: np.ndarray  # (m,)   m features
    b: np.ndarray  # (1,)


@kernel
def linear_readout(n_features, flat):
    """Carve a readout of `n_features` off `flat`: (views, rest). It starts at zero."""
    w, flat = vector(flat, n_features)
    b, flat = vector(flat, 1)
    return LinearReadout(w, b), flat


@kernel
def value(readout, y):
    """v = w . y + b"""
    return readout.b[0] + dot(readout.w, y)


@kernel
def learn(readout, traces, y, decay, scale):
    """readout <- readout + scale traces (left out where scale is None); traces <- decay traces + (y, 1)."""
    for k in range(y.shape[0]):
        if scale is not None:
            readout.w[k] += scale * traces.w[k]
        traces.w[k] = decay * traces.w[k] + y[k]
    if scale is not None:
        readout.b[0] += scale * traces.b[0]
    traces.b[0] = decay * traces.b[0] + 1
