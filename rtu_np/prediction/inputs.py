"""From a row of a stream to the input of a network: what is missing is held or zero, then running normalisation.

    x = [observation, normalised | 1 if it is missing, else 0]             the second half if values may be missing

A number is missing if it is NaN. With "hold" the last value stands for it, as observed; with "zero", and before any
value was observed in this episode, a zero after normalisation, which is the mean. What is missing enters no statistics.
The marks are not normalised. Statistics are in float64 for learners of both precisions, one set for each entry
(derivations (73)-(75)):

    W <- rho W + 1,  Q <- rho^2 Q + 1,  mean <- mean + (x - mean) / W,  M <- rho M + (x - old mean) (x - new mean)
    x <- (x - mean) / sqrt(M / (W - Q / W) + (1e-8 mean)^2)

With rho = 1 that is Welford's (41), of which agents have one count for the whole vector; here each entry has its own.
No term has a unit: the normalised stream is the same in volts and in microvolts.

Kernels of learners get what `InputStage.rows` makes (`rtu_np.prediction.input_stage`): an array, if nothing was asked
for, or `Rows`. `take`, `read` and the others dispatch on the type, so a learner without a stage is compiled as if there
were no such thing.
"""

from typing import Annotated, NamedTuple

import numpy as np

from rtu_np.jit import generic, kernel
from rtu_np.numerics.buffers import finite
from rtu_np.numerics.layout import layout_of
from rtu_np.validation import largest

LONG = 1000  # steps without any input, after which a warning says so
_FLOOR = 1e-8  # of a deviation, relative to the mean: what rounding makes of a constant
_FARTHEST = 1e6  # deviations from the mean; a sample that is in the statistics is at most sqrt(n) away
LARGEST = 1e100  # a number whose square enters the statistics
_LARGEST_FLOAT32, _LARGEST_FLOAT64 = largest("float32"), largest("float64")


class StageSpec(NamedTuple):
    normalize: bool
    holds: bool  # whether the last value stands for a missing one
    marks: bool  # whether values may be missing; marks say which
    keep: float  # rho
    clip: float  # in deviations; infinite if nothing is clipped


class InputStatistics(NamedTuple):
    """One number for each entry of an observation, float64."""

    weight: Annotated[np.ndarray, "n_inputs"]  # W
    squares: Annotated[np.ndarray, "n_inputs"]  # Q, the sum of squared weights
    mean: Annotated[np.ndarray, "n_inputs"]
    M: Annotated[np.ndarray, "n_inputs"]


class InputMemory(NamedTuple):
    """What a stage knows of the present episode."""

    held: Annotated[np.ndarray, "n_inputs"]  # the last value of each entry; NaN if there is no such value
    silent: Annotated[np.ndarray, 1]  # steps in a row, up to now, without any value


input_statistics = kernel(layout_of(InputStatistics, "n_inputs"))
input_memory = kernel(layout_of(InputMemory, "n_inputs"))


class Rows(NamedTuple):
    """Rows of a stream, and all that makes them inputs of a network."""

    raw: np.ndarray  # (rows, n_inputs) float64; NaN is missing
    spec: StageSpec
    statistics: np.ndarray  # flat float64, laid out by `input_statistics`
    memory: np.ndarray  # flat float64, laid out by `input_memory`
    x: np.ndarray  # (width,) the input of the network, in the learner's precision


# ------------------------------------------------------------------------------------------------------------- kernels


@generic
def usable(rows, n_rows):
    """Whether a network can take the first `n_rows` rows."""


@usable.otherwise
@kernel
def _finite(rows, n_rows):
    return finite(rows, n_rows)


@usable.register(Rows)
@kernel
def _present_and_bounded(rows, n_rows):
    raw, outside, bound = rows.raw, 0, _bound(rows)
    for t in range(n_rows):
        for i in range(raw.shape[1]):
            missing = rows.spec.marks and raw[t, i] != raw[t, i]
            outside += not (abs(raw[t, i]) <= bound or missing)
    return outside == 0


@kernel
def _bound(rows):
    """The largest magnitude that the stage takes."""
    if rows.spec.normalize:
        return LARGEST
    return _LARGEST_FLOAT32 if rows.x.itemsize == 4 else _LARGEST_FLOAT64


@generic
def usable_signals(rows, signals, n_rows):
    """Whether the first `n_rows` rows of signals are finite. A cumulant may be NaN if values may be missing."""


@usable_signals.otherwise
@kernel
def _all_finite(rows, signals, n_rows):
    return finite(signals, n_rows)


@usable_signals.register(Rows)
@kernel
def _none_infinite(rows, signals, n_rows):
    outside = 0
    for t in range(n_rows):
        for k in range(signals.shape[1]):
            missing = rows.spec.marks and signals[t, k] != signals[t, k]
            outside += not (abs(signals[t, k]) < np.inf or missing)
    return outside == 0


@generic
def known(rows, cumulant):
    """Whether there is a cumulant to learn from."""


@known.otherwise
@kernel
def _always(rows, cumulant):
    return True


@known.register(Rows)
@kernel
def _is_number(rows, cumulant):
    return cumulant == cumulant


@generic
def take(rows, t, first):
    """(the input of the network,) at row `t`, which enters the statistics. `first` : whether an episode begins.

    A tuple, since Numba lets no kernel return an array that is not among its arguments.
    """


@take.otherwise
@kernel
def _row(rows, t, first):
    return (rows[t],)


@take.register(Rows)
@kernel
def _take(rows, t, first):
    spec, raw = rows.spec, rows.raw
    stats, _ = input_statistics(raw.shape[1], rows.statistics)
    memory, _ = input_memory(raw.shape[1], rows.memory)
    n_seen = 0
    for i in range(raw.shape[1]):
        if first:
            memory.held[i] = np.nan
        value = raw[t, i]
        if value == value:
            n_seen += 1
            value = _clipped(spec, stats, i, value)
            _include(spec, stats, i, value)
        _write(rows, stats, memory, i, value)
    memory.silent[0] = 0.0 if n_seen > 0 else memory.silent[0] + 1
    return (rows.x,)


@generic
def read(rows, t):
    """As `take`, with statistics as they are: for predictions without learning."""


@read.otherwise
@kernel
def _row_again(rows, t):
    return (rows[t],)


@read.register(Rows)
@kernel
def _read(rows, t):
    spec, raw = rows.spec, rows.raw
    stats, _ = input_statistics(raw.shape[1], rows.statistics)
    memory, _ = input_memory(raw.shape[1], rows.memory)
    for i in range(raw.shape[1]):
        _write(rows, stats, memory, i, _clipped(spec, stats, i, raw[t, i]))
    return (rows.x,)


@kernel
def _write(rows, stats, memory, i, value):
    """Entry i of the input, and its mark, for a value that may be NaN; the value is held."""
    spec, x, n_inputs = rows.spec, rows.x, rows.raw.shape[1]
    seen = value == value
    if seen:
        memory.held[i] = value
    elif spec.holds:
        value = memory.held[i]
    number = 0.0
    if value == value:
        number = _normalized(stats, i, value) if spec.normalize else value
    x[i] = x.dtype.type(number)
    if spec.marks:
        x[n_inputs + i] = x.dtype.type(0.0 if seen else 1.0)


@kernel
def _include(spec, stats, i, value):
    """Add a value of entry i to the statistics."""
    if spec.normalize:
        stats.weight[i] = spec.keep * stats.weight[i] + 1
        stats.squares[i] = spec.keep * spec.keep * stats.squares[i] + 1
        distance = value - stats.mean[i]
        stats.mean[i] += distance / stats.weight[i]
        stats.M[i] = spec.keep * stats.M[i] + distance * (value - stats.mean[i])


@kernel
def _deviation(stats, i):
    """The deviation of entry i; 1 if it has not varied."""
    if stats.M[i] == 0:
        return 1.0
    weight, least = stats.weight[i], _FLOOR * stats.mean[i]
    return np.sqrt(stats.M[i] / (weight - stats.squares[i] / weight) + least * least)


@kernel
def _normalized(stats, i, value):
    return max(min((value - stats.mean[i]) / _deviation(stats, i), _FARTHEST), -_FARTHEST)


@kernel
def _clipped(spec, stats, i, value):
    """The value, at most `clip` deviations from the mean. If it has not varied so far, it is as it is."""
    if spec.clip < np.inf and stats.M[i] > 0:
        reach = spec.clip * _deviation(stats, i)
        distance = value - stats.mean[i]
        if abs(distance) > reach:  # not if it is NaN
            return stats.mean[i] + np.sign(distance) * reach
    return value


@generic
def silent(rows):
    """Whether no value at all has arrived for so many steps that it is time for a warning."""


@silent.otherwise
@kernel
def _never(rows):
    return False


@silent.register(Rows)
@kernel
def _long_silent(rows):
    memory, _ = input_memory(rows.raw.shape[1], rows.memory)
    return memory.silent[0] == LONG


def check_magnitude(name: str, array: np.ndarray, bound: float) -> np.ndarray:
    """`array`, if no number in it is larger than `bound`; NaN is not. ValueError, by name."""
    if not float(np.nanmax(np.abs(array), initial=0)) <= bound:  # a float: float32 would make infinity of a large bound
        first = tuple(int(k) for k in np.argwhere(np.abs(array.astype(np.float64)) > bound)[0])
        raise ValueError(
            f"{name}[{', '.join(map(str, first))}] is {array[first]}: expected numbers of magnitude at most "
            f"{bound:.2g}; is a unit or a fill value wrong?"
        )
    return array
