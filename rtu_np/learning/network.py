"""What every learner holds: a cell and a readout, with eligibility traces, an optimiser's moments, and memory.

All of it is one flat array for each learner; `buffers` cuts it into views. To act or predict without learning takes a
state of its own, which `acting_buffers` cuts.
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.layer import check_parameters, initial_values
from rtu_np.jit import kernel
from rtu_np.learning import optimizers, readout
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
    kept: Any  # what the readout keeps of a step
    dy: np.ndarray  # the gradient with respect to the features y_t


@kernel
def weights(spec, flat):
    """Carve one number for each weight off `flat`: the weights themselves, traces, or a gradient: (views, rest)."""
    params, flat = protocol.parameters(spec.cell, flat)
    read, flat = readout.parameters(spec.readout, flat)
    return Weights(params, read), flat


@kernel(apart=True)
def buffers(spec, flat):
    """Carve all that a learner holds off one flat array: (views, rest)."""
    params, rest = weights(spec, flat)
    flat_params = flat[: flat.shape[0] - rest.shape[0]]
    n_weights = flat_params.shape[0]
    traces, after = weights(spec, rest)
    flat_traces = rest[:n_weights]
    moments, after = optimizers.moments(spec.optimizer, n_weights, after)
    memory, rest = protocol.memory(spec.cell, after)
    flat_memory = after[: after.shape[0] - rest.shape[0]]
    kept, rest = readout.scratch(spec.readout, rest)
    dy, rest = vector(rest, spec.cell.n_outputs)
    return Network(params, traces, flat_params, flat_traces, moments, memory, flat_memory, kept, dy), rest


class Acting(NamedTuple):
    state: Any
    record: Any
    work: Any
    kept: Any
    flat_state: np.ndarray  # the same numbers as `state`
    flat_state_t: np.ndarray  # the same numbers as `record.state`


@kernel(apart=True)
def acting_buffers(spec, flat):
    """Carve what a step without learning needs off one flat array: (views, rest). It begins with the state."""
    state, rest = protocol.state(spec.cell, flat)
    flat_state, flat = aligned(flat, rest)
    flat_state_t = flat[: flat_state.shape[0]]
    record, flat = protocol.record(spec.cell, flat)
    work, flat = protocol.work(spec.cell, flat)
    kept, flat = readout.scratch(spec.readout, flat)
    return Acting(state, record, work, kept, flat_state, flat_state_t), flat


def initialise(network: Network, spec: NetworkSpec, cell: Any, readout_settings: Any, rng: np.random.Generator) -> None:
    """Write starting values into a network's parameters."""
    start = initial_values(cell, protocol.parameters, spec.cell, rng)
    check_parameters(spec.cell, protocol.parameters(spec.cell, start)[0])
    start = np.concatenate([start, initial_values(readout_settings, readout.parameters, spec.readout, rng)])
    network.flat_params[:] = start


def named(weights: Weights, prefix: str = "", readout_name: str | None = "readout") -> dict[str, np.ndarray]:
    """{name: view} of a cell's parameters and, as "readout.w" and so on, of the readout's; or of their traces.

    Where `readout_name` is None, the readout is made of parts, whose names these are.
    """
    read = weights.readout
    parts = zip(read._fields, read, strict=True) if readout_name is None else [(readout_name, read)]
    named_parts = (leaves(part, f"{prefix}{name}.") for name, part in parts)
    return {**leaves(weights.cell, prefix), **{name: view for part in named_parts for name, view in part.items()}}


def arrays(network: Network, prefix: str = "", readout_name: str | None = "readout") -> dict[str, np.ndarray]:
    """{name: view} of all in a network that changes while learning."""
    return {
        **named(network.params, f"{prefix}params.", readout_name),
        **named(network.traces, f"{prefix}traces.", readout_name),
        **leaves(network.moments, f"{prefix}moments."),
        f"{prefix}memory": network.flat_memory,
    }
