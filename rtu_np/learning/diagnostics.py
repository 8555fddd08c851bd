"""How learning goes: how long units remember, how many are at a bound, how a step is spread over the blocks.

Nothing here is compiled, and nothing here changes a learner.
"""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from rtu_np.callers import outside
from rtu_np.cells.diagonal import DiagonalParameters
from rtu_np.cells.eigenvalues import at_bounds, plain_eigenvalue
from rtu_np.learning import optimizers, passes
from rtu_np.learning.blocks import layer_names
from rtu_np.learning.network import NamedNetwork, named, named_moments, weights
from rtu_np.numerics.activations import plain_slope
from rtu_np.numerics.buffers import Pair

_SATURATED = 0.02  # the slope of an activation below which an output is saturated: |tanh| above .99
_FAR = 1e-3  # a change of an array between two looks, relative to its largest entry, that shows that learning goes on
_MANY = 1 / 4  # the part of a layer's units at the slow bound that is worth a warning


def of_network(network: NamedNetwork, delta: Any) -> dict[str, float]:
    """{name: number} about a network with traces. The network's prefix comes first in names, as in those of parameters.

    step_size : the number that multiplies the traces, divided by the TD error `delta`; of SGD and ObGD alone
    last_step : ||.||_1 of the latest update of the parameters, with Adam, AdaptiveObGD, rules per block and all rules
        that need the gradient beside the traces; with SGD, ObGD and RMSProp, of an update for `delta` along the
        present traces
    share.BLOCK : the part of `last_step` that a block gets. The blocks of a network sum to 1
    trace.NAME : ||z||_1 of each array of parameters
    LAYER.NAME : see `of_layers`
    """
    prefix, spec, arrays, readout, _, direction = network
    found = {}
    if direction is None:
        direction = arrays.flat_traces
    else:
        delta = direction.dtype.type(1)
    optimizer = passes.spec_of(spec.optimizer)
    step = optimizers.step(optimizer, direction, delta)
    if step is not None:
        found[f"{prefix}step_size"] = float(step / delta) if delta else 0.0
    update = optimizers.latest_update(optimizer, direction, named_moments(spec, arrays), delta)
    found |= of_update(named(spec, weights(spec, update)[0], prefix, readout), prefix)
    traces = named(spec, arrays.traces, prefix, readout)
    found |= {f"trace.{name}": _norm1(view) for name, view in traces.items()}
    return found | of_layers(spec.cell, arrays.params.cell, arrays.memory, prefix)


def of_update(updates: dict[str, np.ndarray], prefix: str = "") -> dict[str, float]:
    """`last_step`, the sum of absolute values, and `share.BLOCK`, a block's part of it; zeros if nothing has moved."""
    sizes: dict[str, float] = {}
    for name, update in updates.items():
        block = prefix + name.removeprefix(prefix).partition(".")[0]
        sizes[block] = sizes.get(block, 0.0) + _norm1(update)
    total = sum(sizes.values())
    return {f"{prefix}last_step": total, **{f"share.{block}": size / (total or 1.0) for block, size in sizes.items()}}


def of_layers(spec: Any, params: Any, memory: Any, prefix: str = "") -> dict[str, float]:
    """{"LAYER.NAME": number} about the units of each layer.

    half_life.shortest, half_life.median, half_life.longest : log 2 / nu, in steps, of units with complex eigenvalues
    period.shortest, period.median, period.longest : 2 pi / theta, in steps
    at_bound : how many units are at a bound of r or theta
    saturated : how many outputs have an activation of slope below .02 at the latest step
    dead : how many outputs have an activation of slope 0 at the latest step
    """
    parts = list(_layers(spec, params, memory))
    found: dict[str, float] = {}
    for name, (layer, views, y) in zip(layer_names(spec, params), parts, strict=True):
        numbers = {**_of_units(layer, views), **_of_outputs(layer, y)}
        found |= {f"{prefix}{name}.{key}": float(value) for key, value in numbers.items()}
    return found


def _layers(spec: Any, params: Any, memory: Any) -> Iterable[tuple[Any, Any, Any]]:
    """(spec, parameters, latest output) of each layer from below. An output that nothing stores is None."""
    if not isinstance(params, Pair):
        yield spec, params, getattr(memory, "y", None)
    elif hasattr(spec, "lower"):
        yield from _layers(spec.lower, params.lower, getattr(memory, "lower", None))
        yield from _layers(spec.upper, params.upper, getattr(memory, "upper", None))
    else:  # a gradient method holds the whole stack, and stores the output of the last layer
        *below, (layer, views, _) = _layers(spec.cell, params, None)
        yield from (*below, (layer, views, getattr(memory, "y", None)))


def _eigenvalues(spec: Any, params: Any) -> tuple[Any, Any, np.ndarray, np.ndarray] | None:
    """(form, span of the memory, a, b) of the complex eigenvalues of a layer, or None if it has others."""
    while hasattr(spec, "cell"):
        spec = spec.cell
    if isinstance(getattr(params, "lower", None), DiagonalParameters):  # a recurrence and its projection
        spec, params = spec.lower, params.lower
    params = getattr(params, "recurrence", params)  # behind a gate; then the numbers are those of an open gate
    return (spec.form, spec.span, *params.eigenvalue) if isinstance(params, DiagonalParameters) else None


def _of_units(spec: Any, params: Any) -> dict[str, Any]:
    found = _eigenvalues(spec, params)
    if found is None:
        return {}
    form, span, a, b = found
    r, theta = plain_eigenvalue(form, np.float64(a), np.float64(b))[:2]
    with np.errstate(divide="ignore"):  # r of 0 or 1 and a phase of 0 have limits
        half_lives = np.log(0.5) / np.log(r)
        periods = 2 * np.pi / np.abs(np.angle(np.exp(1j * theta)))
    return {
        **_three("half_life", half_lives),
        **_three("period", periods),
        "at_bound": np.count_nonzero(np.logical_or(*at_bounds(form, span, a, b))),
    }


def _three(name: str, values: np.ndarray) -> dict[str, Any]:
    return {f"{name}.shortest": values.min(), f"{name}.median": np.median(values), f"{name}.longest": values.max()}


def _of_outputs(spec: Any, y: Any) -> dict[str, Any]:
    while hasattr(spec, "cell"):
        spec = spec.cell
    spec = getattr(spec, "upper", spec)
    if y is None or not hasattr(spec, "activation"):
        return {}
    slopes = np.abs(plain_slope(spec.activation, y))
    return {"saturated": np.count_nonzero(slopes < _SATURATED), "dead": np.count_nonzero(slopes == 0)}


def _share_a_bound(optimizer: Any, traces: np.ndarray) -> bool:
    """Whether the size of all traces limits the step of each, as in ObGD: one of them can starve the others."""
    one = traces.dtype.type(1)
    step = optimizers.step(optimizer, traces, one)
    return step is not None and step != optimizers.step(optimizer, 0 * traces, one)


def _norm1(array: np.ndarray) -> float:
    return float(np.abs(array).sum(dtype=np.float64))


class Watch:
    """Looks now and then whether learning goes on, and warns once for each kind of trouble.

    Examples
    --------
    >>> watch, before, after = Watch(), {"W": np.ones(2), "b": np.ones(1)}, {"W": np.ones(2), "b": np.full(1, 9.0)}
    >>> watch.compare(before, {"W": np.ones(2), "b": np.ones(1)}, 0)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     watch.compare(after, {"W": np.ones(2), "b": np.ones(1)}, 20_000)
    >>> str(caught[0].message)[:58]
    'by step 20000, W has not changed since step 0, though its '
    """

    def __init__(self) -> None:
        self._then: dict[str, np.ndarray] = {}
        self._when = 0
        self._warned: set[str] = set()

    def check(self, networks: Iterable[NamedNetwork], steps: int) -> None:
        """Look at the networks of a learner after `steps` steps."""
        params: dict[str, np.ndarray] = {}
        traces: dict[str, np.ndarray] = {}
        for prefix, spec, arrays, readout, *_ in networks:
            self.count_slow(spec.cell, arrays.params.cell, prefix, steps)
            if _share_a_bound(passes.spec_of(spec.optimizer), arrays.flat_traces):
                params |= named(spec, arrays.params, prefix, readout)
                traces |= named(spec, arrays.traces, prefix, readout)
        self.compare(params, traces, steps)

    def count_slow(self, spec: Any, params: Any, prefix: str, steps: int) -> None:
        """Warn if many units of a layer are at the bound of the longest memory."""
        for name, (layer, views, _) in zip(layer_names(spec, params), _layers(spec, params, None), strict=True):
            if found := _eigenvalues(layer, views):
                slow = np.count_nonzero(at_bounds(*found)[0])
                if slow > _MANY * found[2].size:
                    self._warn(
                        f"{prefix}{name}",
                        f"by step {steps}, {slow} of {found[2].size} units of {prefix}{name} are at the bound of r, "
                        "and remember for longer than their parameters stay the same. The usual cure is a smaller "
                        "step size; a larger r_min moves the bound, if the task needs so long a memory",
                    )

    def compare(self, params: dict[str, np.ndarray], traces: dict[str, np.ndarray], steps: int) -> None:
        """Warn if an array of parameters has not changed in one bit since the last look, and another has moved far.

        If no array moves far, there may be nothing to learn.
        """
        moved = {
            name: np.abs(params[name] - then).max() / (np.abs(then).max() or 1)
            for name, then in self._then.items()
            if name in params
        }
        starved = [name for name, change in moved.items() if change == 0 and np.any(traces[name])]
        far = (change > _FAR for name, change in moved.items() if not name.endswith("theta_log"))  # a wrap moves phases
        if starved and any(far):
            sizes = {name: _norm1(trace) for name, trace in traces.items()}
            largest = max(sizes, key=lambda name: sizes[name])
            self._warn(
                "steps",
                f"by step {steps}, {', '.join(starved)} has not changed since step {self._when}, though its traces are "
                f"not zero: its steps are too small to change a number. The largest trace is that of {largest}, "
                f"{sizes[largest]:.2g} in all; ObGD divides by the sum. diagnostics() shows the share of each block",
            )
        self._then, self._when = {name: view.copy() for name, view in params.items()}, steps

    def _warn(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, RuntimeWarning, stacklevel=outside())
