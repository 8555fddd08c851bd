"""What the input at each lag adds to a gradient, as exact differences of T-BPTT gradients."""

from typing import Any

import numpy as np

from rtu_np import TBPTT


def terms(
    cell: Any,
    body: list[np.ndarray],
    direction: np.ndarray,
    stream: np.ndarray,
    lags: int,
    layers: tuple[str, ...] = ("",),
) -> np.ndarray:
    """(T, lags, parameters): what the input at each lag adds to a gradient at every step of a stream.

    cell : the settings of the body, of which `body` has the arrays of parameters, in their order
    direction : the gradient is that of direction . y_t
    layers : beginnings of the names of the parameters that count
    """
    gradients = []
    for window in range(1, lags + 1):
        layer = cell.build(stream.shape[1], TBPTT(window))
        for view, values in zip(layer.parameters.values(), body, strict=True):
            view[:] = values
        rows = []
        for x in stream:
            layer.advance(x)
            parts = layer.gradient(direction).items()
            rows.append(np.concatenate([g.ravel() for name, g in parts if name.startswith(layers)]))
        gradients.append(np.array(rows))
    upto = np.stack(gradients, axis=1)
    return np.diff(upto, axis=1, prepend=0)
