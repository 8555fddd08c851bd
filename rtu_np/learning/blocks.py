"""The blocks of a network, by the names that parameters, traces and diagnostics carry.

    encoder     layers below the recurrent layer
    cell        the recurrent layer; if there are several, all layers from the first to the last of them
    hidden      layers behind the recurrent layer
    readout     from the features to the prediction
    policy      from the features to the policy's distribution
    value       from the features to a value, or to action values

A network without a recurrent layer is an encoder. Within a block of several layers, these are numbered from below:
"encoder.0.W", "encoder.2.W".
"""

from typing import Any

import numpy as np

from rtu_np import protocol
from rtu_np.numerics.buffers import Pair, leaves, size


def layers(spec: Any, views: Any) -> list[tuple[Any, Any]]:
    """[(spec, views)] of the layers of a body, from below. A body that is not a stack is one layer."""
    if not isinstance(views, Pair):
        return [(spec, views)]
    stack = spec if hasattr(spec, "lower") else spec.cell  # a gradient method may hold the whole stack
    return [*layers(stack.lower, views.lower), *layers(stack.upper, views.upper)]


def block_names(recurrent: list[bool]) -> list[str]:
    """The name of each layer, from below, given which layers have a state.

    Examples
    --------
    >>> block_names([False, False, True, False])
    ['encoder.0', 'encoder.1', 'cell', 'hidden']
    """
    first = recurrent.index(True) if True in recurrent else len(recurrent)
    last = len(recurrent) - 1 - recurrent[::-1].index(True) if True in recurrent else first
    blocks = ["encoder" if k < first else "cell" if k <= last else "hidden" for k in range(len(recurrent))]
    return _numbered(blocks)


def _numbered(blocks: list[str]) -> list[str]:
    """The names of layers from the names of their blocks; layers of one block are numbered."""
    return [name if blocks.count(name) == 1 else f"{name}.{blocks[:k].count(name)}" for k, name in enumerate(blocks)]


def layer_names(spec: Any, views: Any) -> list[str]:
    """The name of each layer of a body, from below."""
    return block_names([size(protocol.state, part) > 0 for part, _ in layers(spec, views)])


def named_layers(spec: Any, views: Any, prefix: str = "", block: str | None = None) -> dict[str, np.ndarray]:
    """{name: view} of a body's parameters, or of arrays with the layout of the parameters.

    If `block` is given, all layers belong to it.
    """
    parts = layers(spec, views)
    names = layer_names(spec, views) if block is None else _numbered([block] * len(parts))
    named = [leaves(part, f"{prefix}{name}.") for name, (_, part) in zip(names, parts, strict=True)]
    return {name: view for part in named for name, view in part.items()}
