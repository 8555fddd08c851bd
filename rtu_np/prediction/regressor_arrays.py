"""The arrays of an `OnlineRegressor`, named for compiled code: what it is compiled for, what changes, and its rows."""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np.jit import generic, kernel
from rtu_np.learning.network import ForwardNetwork, Network, forward_arrays, network_arrays
from rtu_np.numerics.buffers import whole
from rtu_np.numerics.layout import layout_of
from rtu_np.prediction.input_stage import InputStage
from rtu_np.prediction.last_values import LastValues, Origins, last_values, origins
from rtu_np.prediction.targets import TargetScale, target_scale
from rtu_np.validation import check_choice, check_count, check_fits

ROW, FILLED = 2, 3  # more slots of the clock: the oldest row of the rings, and how many are filled


class Task(NamedTuple):
    """What a regressor is compiled for, and its numbers."""

    network: Any  # learning.network.NetworkSpec
    loss: Any
    delay: Any
    n_inputs: int  # of an observation
    n_targets: int
    n_weights: int
    missing: int  # whether a target may be NaN


class AtOnce(NamedTuple):
    horizon: int


class Behind(NamedTuple):
    horizon: int


class Stored(NamedTuple):
    horizon: int


class Arrays(NamedTuple):
    """All that changes while learning."""

    flat: np.ndarray  # `network_arrays`, then `delayed_arrays`
    scale: np.ndarray  # float64, `target_scale`
    known: np.ndarray  # float64, `last_values`
    clock: np.ndarray  # (4,) integers


class Stretch(NamedTuple):
    """Rows of a stream, and the predictions that are made there."""

    inputs: Any  # what `InputStage.rows` makes for (rows, n_inputs)
    targets: np.ndarray  # (rows, n_targets)
    ends: np.ndarray  # (rows,) whether the memory is cleared behind a row
    predictions: np.ndarray  # (rows, n_targets), written


class Views(NamedTuple):
    """Named views into `Arrays`."""

    network: Network
    delayed: Any
    scale: TargetScale
    known: LastValues
    clock: np.ndarray


# ---------------------------------------------------------------------------------------------------------- layouts


PerInput = Annotated[np.ndarray, "task.network.cell.n_inputs"]
RingOfTargets = Annotated[np.ndarray, "delay.horizon", "task.n_targets"]


class AtOnceArrays(NamedTuple):
    x: PerInput  # of the network, at the present row


class BehindArrays(NamedTuple):
    x: PerInput
    forward: Annotated[ForwardNetwork, forward_arrays, "task.network"]
    flat_forward: Annotated[np.ndarray, whole]
    inputs: Annotated[np.ndarray, "delay.horizon", "task.network.cell.n_inputs"]
    bases: RingOfTargets


class StoredArrays(NamedTuple):
    x: PerInput
    gradients: Annotated[np.ndarray, "delay.horizon", "task.n_weights"]
    outputs: RingOfTargets
    bases: RingOfTargets


@generic(inline=False)
def delayed_arrays(delay, task, flat):
    """Layout of the arrays of a way to a horizon. Each has `x`."""


delayed_arrays.register(AtOnce)(layout_of(AtOnceArrays, "delay", "task"))
delayed_arrays.register(Behind)(layout_of(BehindArrays, "delay", "task"))
delayed_arrays.register(Stored)(layout_of(StoredArrays, "delay", "task"))


class Ahead(NamedTuple):
    """The memory of `predict`. It begins with the state."""

    forward: Annotated[ForwardNetwork, forward_arrays, "task.network"]
    origins: Annotated[Origins, origins, "task.n_targets"]
    x: PerInput


ahead = kernel(inline=False)(layout_of(Ahead, "task"))


@kernel
def views_of(task, arrays):
    network, rest = network_arrays(task.network, arrays.flat)
    delayed, _ = delayed_arrays(task.delay, task, rest)
    scale, _ = target_scale(task.n_targets, arrays.scale)
    known, _ = last_values(task.n_targets, task.n_inputs, arrays.known)
    return Views(network, delayed, scale, known, arrays.clock)


def lasting(delayed: Any) -> dict[str, np.ndarray]:
    """{name: view} of the arrays of a way to a horizon that outlive a step."""
    found = {
        name: view for name, view in delayed._asdict().items() if name in ("inputs", "gradients", "outputs", "bases")
    }
    if hasattr(delayed, "forward"):
        found["state"] = delayed.forward.flat_state
    return {f"delayed.{name}": view for name, view in found.items()}


def count_targets(n_targets: Any, n_inputs: int) -> int:
    """`n_targets`, if it is a count. ValueError, TypeError, by name; MemoryError if there is no room."""
    n_targets = check_count("n_targets", n_targets)
    check_fits(8 * n_inputs * n_targets, f"a regressor of {n_targets} targets", "fewer targets or inputs")
    return n_targets


def way_to(horizon: Any, delay: Any, n_targets: int) -> AtOnce | Behind | Stored:
    """The way that the arguments ask for. ValueError, TypeError, by name."""
    kind = check_choice("delay", delay, {"behind": Behind, "stored": Stored})
    horizon = check_count("horizon", horizon, low=0, hint="in steps; 0 is for the targets of the same row")
    if kind is Stored and horizon and n_targets > 1:
        raise ValueError(
            f"delay is 'stored' with n_targets={n_targets}: expected 'behind'; each prediction would store a gradient "
            "for each target"
        )
    if horizon == 0:
        return AtOnce(0)
    return Stored(horizon) if kind is Stored else Behind(horizon)


def stretch(inputs: InputStage, rows: int, n_targets: int) -> Stretch:
    """Arrays for `rows` rows."""
    targets, predictions = (np.zeros((rows, n_targets), inputs.dtype) for _ in range(2))
    return Stretch(inputs.rows(rows), targets, np.zeros(rows, np.int8), predictions)
