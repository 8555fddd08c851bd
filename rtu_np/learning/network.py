"""The network of every learner: a cell and a readout, with eligibility traces, an optimiser's moments, and memory.

A network is one flat array; `network_arrays` names the views into this array. Acting or predicting without learning
needs another flat array, with a state of its own; `forward_arrays` names the views into that array.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.layer import check_parameters, initial_values
from rtu_np.jit import generic, kernel
from rtu_np.learning import optimizers, passes, readout
from rtu_np.learning.blocks import named_layers
from rtu_np.learning.outcomes import DIVERGED, DONE, PAUSED
from rtu_np.learning.parts import DISCOUNT, Part, Parts
from rtu_np.learning.passes import WithGradient
from rtu_np.learning.per_block import Blocks, check_rules
from rtu_np.numerics.buffers import aligned, allocate, finite_vector, leaves, overlapping, size, whole
from rtu_np.numerics.layout import layout_of


class NetworkSpec(NamedTuple):
    cell: Any
    readout: Any
    optimizer: Any  # compiled apart (`rtu_np.learning.passes`)
    lambda_: float


class Weights(NamedTuple):
    """One number for each weight: the weights themselves, traces, or a gradient."""

    cell: Annotated[Any, protocol.parameters, "spec.cell"]
    readout: Annotated[Any, readout.parameters, "spec.readout"]


weights = kernel(layout_of(Weights))


class Network(NamedTuple):
    """All arrays of a network that learns."""

    params: Annotated[Weights, weights]
    flat_params: Annotated[np.ndarray, whole]
    traces: Annotated[Weights, weights]
    flat_traces: Annotated[np.ndarray, whole]
    moments: Annotated[np.ndarray, "spec.optimizer.n_moments"]  # of the optimiser
    memory: Annotated[Any, protocol.memory, "spec.cell"]
    flat_memory: Annotated[np.ndarray, whole]
    activations: Annotated[Any, readout.activations, "spec.readout"]  # at the latest step
    dy: Annotated[np.ndarray, "spec.cell.n_outputs"]  # the gradient with respect to the features y_t


class Gradient(NamedTuple):
    """The first of the moments of `passes.WithGradient`, as `parts.PartsHeader`."""

    latest: Annotated[np.ndarray, 2]
    gradient: Annotated[Weights, weights]


class ForwardNetwork(NamedTuple):
    """The arrays of a step without learning. They begin with the state."""

    state: Annotated[Any, protocol.state, "spec.cell"]
    flat_state: Annotated[np.ndarray, aligned]
    flat_state_t: Annotated[np.ndarray, overlapping, "flat_state.shape[0]"]  # the same numbers as `record.state`
    record: Annotated[Any, protocol.record, "spec.cell"]
    work: Annotated[Any, protocol.work, "spec.cell"]
    activations: Annotated[Any, readout.activations, "spec.readout"]


class NamedNetwork(NamedTuple):
    """One network of a learner, with the prefix of its names and the block of its readout (None: two heads)."""

    prefix: str
    spec: NetworkSpec
    network: Network
    readout: str | None
    gradients: tuple[np.ndarray, ...] = ()  # flat or in rows, stored between steps beside the traces
    direction: np.ndarray | None = None  # of the latest step, if that is not the TD error times the traces


network_arrays = kernel(inline=False)(layout_of(Network))
forward_arrays = kernel(inline=False)(layout_of(ForwardNetwork))
gradient_arrays = kernel(layout_of(Gradient))


class Training(NamedTuple):
    """How a network learns."""

    optimizer: Any
    gamma: float
    lambda_: float
    dtype: np.dtype
    argument: str = "optimizer"  # the name of the optimiser among the learner's arguments
    readout: str | None = "readout"  # the block of the readout (None: two heads)


def initialise(network: Network, spec: NetworkSpec, cell: Any, readout_settings: Any, rng: np.random.Generator) -> None:
    """Write starting values into a network's parameters."""
    start = initial_values(cell, protocol.parameters, spec.cell, rng)
    check_parameters(spec.cell, protocol.parameters(spec.cell, start)[0])
    start = np.concatenate([start, initial_values(readout_settings, readout.parameters, spec.readout, rng)])
    network.flat_params[:] = start


@generic
def destination(optimizer, spec, network, discount):
    """(weights, decay): the gradient of a step is added to `decay` times these weights."""


@destination.otherwise
def _traces(optimizer, spec, network, discount):
    return network.traces, discount * network.dy.dtype.type(spec.lambda_)


@destination.register(WithGradient)
def _gradient_alone(optimizer, spec, network, discount):
    stored, _ = gradient_arrays(spec, network.moments)
    stored.latest[DISCOUNT] = discount  # the next update advances the traces
    return stored.gradient, network.dy.dtype.type(0)


@kernel
def examine(spec, network):
    """Bring parameters back to their bounds, now and then between two steps.

    Returns DIVERGED if a moment of the optimiser is not finite, PAUSED if a phase is to be wrapped, else DONE.
    """
    if not finite_vector(network.moments):  # if a mean square overflows, its weight would never move again
        return DIVERGED
    return PAUSED if protocol.confine(spec.cell, network.params.cell) else DONE


def network_spec(cell: Any, readout: Any, training: Training, either: bool = False) -> NetworkSpec:
    """The spec of a network; `either` as in `rtu_np.learning.passes`."""
    optimizer, *_, lambda_, dtype, argument, block = training
    spec = NetworkSpec(cell, readout, None, lambda_)
    n = size(weights, spec)
    if isinstance(optimizer, Blocks):
        ranges = block_ranges(spec, dtype, block)
        optimizer = optimizer.complete(ranges)
        rules = check_rules(argument, optimizer, ranges, readout)
        lambdas = optimizer.lambdas_or(lambda_)
        parts = [_part(name, *ranges[name], rule, training, lambdas[name]) for name, rule in rules.items()]
    else:
        check_rules(argument, optimizer, {}, readout)
        rule = optimizer.spec()
        if not optimizers.needs_gradient(rule):
            return spec._replace(optimizer=passes.compiled_apart(rule, n, dtype, either))
        parts = [_part("", 0, n, optimizer, training, lambda_)]
    return spec._replace(optimizer=passes.compiled_by_parts(Parts(tuple(parts)), n, dtype))


def _part(block: str, start: int, stop: int, rule: Any, training: Training, lambda_: float) -> Part:
    spec = rule.spec()
    if "gamma_lambda" in spec._fields:
        spec = spec._replace(gamma_lambda=float(training.gamma * lambda_))
    return Part(block, start, stop, spec, float(lambda_))


def block_ranges(spec: Any, dtype: np.dtype, readout_name: str | None) -> dict[str, tuple[int, int]]:
    """{block: (start, stop)} in the flat arrays of the weights, from the first weight to the last."""
    flat = allocate(size(weights, spec), dtype)
    starts: dict[str, int] = {}
    for name, view in named(spec, weights(spec, flat)[0], "", readout_name).items():
        start = (view.ctypes.data - flat.ctypes.data) // flat.itemsize
        block = name.partition(".")[0]
        starts[block] = min(start, starts.get(block, start))
    order = sorted(starts, key=lambda block: starts[block])
    stops = [*(starts[block] for block in order[1:]), flat.size]
    return {block: (starts[block], stop) for block, stop in zip(order, stops, strict=True)}


def wrap_parameters(spec: Any, params: Weights, moments: Any, n_weights: int) -> tuple[np.ndarray, Weights]:
    """Wrap the phases above 4 pi and rescale the moments.

    Returns the factors by which derivatives change, flat (n_weights,) and as views.
    """
    flat = np.ones(n_weights)
    factors, _ = weights(spec, flat)
    protocol.wrap(spec.cell, params.cell, factors.cell)
    optimizers.rescale(passes.spec_of(spec.optimizer), moments, flat)
    return flat, factors


def wrap(named: NamedNetwork) -> None:
    """Wrap the phases above 4 pi, between two steps, and rescale all that is linear in the derivative by a phase."""
    spec, network = named.spec, named.network
    flat, factors = wrap_parameters(spec, network.params, named_moments(spec, network), network.flat_params.size)
    for gradient in (network.flat_traces, *named.gradients):
        gradient *= flat[: gradient.shape[-1]]
    protocol.rescale(spec.cell, network.params.cell, network.memory, factors.cell)


class Views(dict[str, np.ndarray]):
    """{name: writable view}, in which no name can get another array: what is written must go into the view."""

    def __setitem__(self, name: str, value: Any) -> None:
        raise TypeError(f"{name!r} is a view of the learner's own array: expected [{name!r}][:] = numbers")

    def __reduce__(self) -> Any:
        return dict, (dict(self),)  # a copy is no view


def named(spec: Any, weights: Weights, prefix: str = "", readout_name: str | None = "readout") -> dict[str, np.ndarray]:
    """{name: view} of the parameters by block (`rtu_np.learning.blocks`), or of their traces.

    The readout is the block `readout_name`. If `readout_name` is None, the readout has parts, and each part is a block.
    """
    read = weights.readout
    parts = zip(read._fields, read, strict=True) if readout_name is None else [(readout_name, read)]
    named_parts = (leaves(part, f"{prefix}{name}.") for name, part in parts)
    body = named_layers(spec.cell, weights.cell, prefix)
    return {**body, **{name: view for part in named_parts for name, view in part.items()}}


def named_moments(spec: NetworkSpec, network: Network) -> Any:
    """Named views of the optimiser's moments, for Python."""
    return passes.moments_of(spec.optimizer, network.flat_params.size, network.moments)


def checkpoint_arrays(
    spec: Any, network: Network, prefix: str = "", readout_name: str | None = "readout"
) -> dict[str, np.ndarray]:
    """{name: view} of all arrays of a network that change while learning."""
    return {
        **named(spec, network.params, f"{prefix}params.", readout_name),
        **named(spec, network.traces, f"{prefix}traces.", readout_name),
        **{
            f"{prefix}moments.{name}": view
            for name, view in passes.named_moments(spec.optimizer, network.flat_params.size, network.moments).items()
        },
        f"{prefix}memory": network.flat_memory,
    }
