"""What every learner holds: a cell and a readout, with eligibility traces, an optimiser's moments, and memory.

All of it is one flat array for each learner; `network_arrays` names the views into it. Acting or predicting without
learning takes a state of its own; `forward_arrays` names the views into that.
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.layer import check_parameters, initial_values
from rtu_np.jit import kernel
from rtu_np.learning import optimizers, readout
from rtu_np.learning.blocks import named_layers
from rtu_np.numerics.buffers import aligned, leaves, vector


class NetworkSpec(NamedTuple):
    cell: Any
    readout: Any
    optimizer: Any
    lambda_: float


class Weights(NamedTuple):
    cell: Any
    readout: Any


class Network(NamedTuple):
    params: Weights
    traces: Weights
    flat_params: np.ndarray
    flat_traces: np.ndarray
    moments: Any
    memory: Any
    flat_memory: np.ndarray
    activations: Any  # of the readout, at the latest step
    dy: np.ndarray  # the gradient with respect to the features y_t


@kernel
def weights(spec, flat):
    """Layout of one number for each weight: the weights themselves, traces, or a gradient."""
    params, flat = protocol.parameters(spec.cell, flat)
    read, flat = readout.parameters(spec.readout, flat)
    return Weights(params, read), flat


@kernel(inline=False)
def network_arrays(spec, flat):
    """Layout of all that a learner holds."""
    params, rest = weights(spec, flat)
    flat_params = flat[: flat.shape[0] - rest.shape[0]]
    n_weights = flat_params.shape[0]
    traces, after = weights(spec, rest)
    flat_traces = rest[:n_weights]
    moments, after = optimizers.moments(spec.optimizer, n_weights, after)
    memory, rest = protocol.memory(spec.cell, after)
    flat_memory = after[: after.shape[0] - rest.shape[0]]
    activations, rest = readout.activations(spec.readout, rest)
    dy, rest = vector(rest, spec.cell.n_outputs)
    return Network(params, traces, flat_params, flat_traces, moments, memory, flat_memory, activations, dy), rest


class ForwardNetwork(NamedTuple):
    """What a step without learning needs."""

    state: Any
    record: Any
    work: Any
    activations: Any
    flat_state: np.ndarray  # the same numbers as `state`
    flat_state_t: np.ndarray  # the same numbers as `record.state`


@kernel(inline=False)
def forward_arrays(spec, flat):
    """Layout of what a step without learning needs. It begins with the state."""
    state, rest = protocol.state(spec.cell, flat)
    flat_state, flat = aligned(flat, rest)
    flat_state_t = flat[: flat_state.shape[0]]
    record, flat = protocol.record(spec.cell, flat)
    work, flat = protocol.work(spec.cell, flat)
    activations, flat = readout.activations(spec.readout, flat)
    return ForwardNetwork(state, record, work, activations, flat_state, flat_state_t), flat


def initialise(network: Network, spec: NetworkSpec, cell: Any, readout_settings: Any, rng: np.random.Generator) -> None:
    """Write starting values into a network's parameters."""
    start = initial_values(cell, protocol.parameters, spec.cell, rng)
    check_parameters(spec.cell, protocol.parameters(spec.cell, start)[0])
    start = np.concatenate([start, initial_values(readout_settings, readout.parameters, spec.readout, rng)])
    network.flat_params[:] = start


def named(spec: Any, weights: Weights, prefix: str = "", readout_name: str | None = "readout") -> dict[str, np.ndarray]:
    """{name: view} of the parameters by block (`rtu_np.learning.blocks`), or of their traces.

    The readout is the block `readout_name`. If that is None, the readout is made of parts, and these are the blocks.
    """
    read = weights.readout
    parts = zip(read._fields, read, strict=True) if readout_name is None else [(readout_name, read)]
    named_parts = (leaves(part, f"{prefix}{name}.") for name, part in parts)
    body = named_layers(spec.cell, weights.cell, prefix)
    return {**body, **{name: view for part in named_parts for name, view in part.items()}}


def checkpoint_arrays(
    spec: Any, network: Network, prefix: str = "", readout_name: str | None = "readout"
) -> dict[str, np.ndarray]:
    """{name: view} of all in a network that changes while learning."""
    return {
        **named(spec, network.params, f"{prefix}params.", readout_name),
        **named(spec, network.traces, f"{prefix}traces.", readout_name),
        **leaves(network.moments, f"{prefix}moments."),
        f"{prefix}memory": network.flat_memory,
    }
