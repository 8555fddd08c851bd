"""Losses of predictions of targets, and the scale of the targets, as compiled code has them.

    squared     L = (y - o)^2 / 2
    huber       the same if |y - o| <= 1, else |y - o| - 1/2
    logistic    L = log(1 + exp(o)) - y o                       the prediction is 1 / (1 + exp(-o))

`descent` is -dL/do (derivations (78)). With the first two, the output o of the readout is in units of the running
deviation of its target, so that step sizes do not depend on units (derivations (79)):

    prediction = base + mean + deviation o,       y = (target - base - mean) / deviation

The base is the last value of a target whose changes are predicted, else 0. The mean of changes is held at 0: a learner
begins by predicting the last value.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np.jit import generic, kernel, like
from rtu_np.numerics.elementary import sigmoid
from rtu_np.numerics.layout import layout_of
from rtu_np.prediction.inputs import LARGEST, check_magnitude


class Squared(NamedTuple):
    pass


class Huber(NamedTuple):
    pass


class Logistic(NamedTuple):
    pass


WINDOW = 1000.0  # targets that the running mean and variance reach back, as an exponential window
LOSSES: dict[str, Any] = {"squared": Squared(), "huber": Huber(), "logistic": Logistic()}


class TargetScale(NamedTuple):
    """The running mean and variance of each target, float64. Zeros before the first target."""

    n: Annotated[np.ndarray, "n_targets"]  # targets so far, at most the length of the window
    mean: Annotated[np.ndarray, "n_targets"]
    variance: Annotated[np.ndarray, "n_targets"]


target_scale = kernel(layout_of(TargetScale, "n_targets"))


@generic
def descent(loss, o, y):
    """-dL/do for the output `o` and the target `y`, in the units of `o`."""


@descent.register(Squared)
def _squared_descent(loss, o, y):
    return y - o


@descent.register(Huber)
def _huber_descent(loss, o, y):
    return max(min(y - o, like(o, 1.0)), like(o, -1.0))


@descent.register(Logistic)
def _logistic_descent(loss, o, y):
    return y - sigmoid(o)


@generic
def prediction(loss, scale, j, o, base):
    """What the output `o` predicts for target `j`, in units of the target."""


@prediction.otherwise
@kernel
def _in_units_of_target(loss, scale, j, o, base):
    return base + (scale.mean[j] + np.sqrt(scale.variance[j]) * o)


@prediction.register(Logistic)
def _probability(loss, scale, j, o, base):
    return sigmoid(o)


@generic
def standardize(loss, scale, j, target, base):
    """Target `j` in the units of the output."""


@standardize.otherwise
@kernel
def _in_units_of_output(loss, scale, j, target, base):
    distance, variance = target - base - scale.mean[j], scale.variance[j]
    return distance / np.sqrt(variance) if variance > 0 else 0.0


@standardize.register(Logistic)
def _as_it_is(loss, scale, j, target, base):
    return target


@kernel
def include(scale, j, change, centred):
    """Add a target, less its base, to the running mean and variance of target `j`.

    centred : whether the variance is about the mean; else it is about 0
    """
    n = min(scale.n[j] + 1.0, WINDOW)
    scale.n[j] = n
    distance = change - scale.mean[j]
    if centred:
        scale.mean[j] += distance / n
    scale.variance[j] += (distance * (change - scale.mean[j]) - scale.variance[j]) / n


def check_targets(name: str, array: np.ndarray, loss: str) -> np.ndarray:
    """`array`, if its numbers are targets of the loss. ValueError, by name."""
    outside = (array < 0) | (array > 1)
    if loss == "logistic" and outside.any():
        first = tuple(int(k) for k in np.argwhere(outside)[0])
        raise ValueError(
            f"{name}[{', '.join(map(str, first))}] is {array[first]}: expected numbers in [0, 1], since the loss is "
            "'logistic'"
        )
    return check_magnitude(name, array, LARGEST)
