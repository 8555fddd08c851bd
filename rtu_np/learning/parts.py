"""Parts of a network's flat arrays, each with a rule of its own: what they mean in plain Python.

`rtu_np.learning.passes` has the compiled pass.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np.learning import optimizers
from rtu_np.numerics.layout import layout_of

# Slots of `latest`: the discount of the traces at the next update, 0 if they are cut; the TD error of the latest one.
DISCOUNT, DELTA = range(2)


class Part(NamedTuple):
    """The weights [start, stop) of a network, which one rule updates."""

    block: str  # its name; "" if it is the whole network
    start: int
    stop: int
    spec: Any  # of the rule
    lambda_: float  # of its traces


class Parts(NamedTuple):
    """What stands for the spec of an optimiser in Python, if the network has parts."""

    parts: tuple[Part, ...]


class PartsHeader(NamedTuple):
    """The first of the moments. Those of the parts follow."""

    latest: Annotated[np.ndarray, 2]
    gradient: Annotated[np.ndarray, "n_weights"]  # of the latest step


parts_header = layout_of(PartsHeader, "n_weights")


@optimizers.moments.register(Parts)
def _parts_moments(spec, n_weights, flat):
    """In Python alone; named (`named_moments`)."""
    header, rest = parts_header(n_weights, flat)
    views = []
    for part in spec.parts:
        own, rest = optimizers.moments(part.spec, part.stop - part.start, rest)
        views.append(own)
    return (header, *views), rest


@optimizers.update.register(Parts)
def _update_parts(spec, params, traces, moments, delta):
    header, *views = moments
    header.latest[DELTA] = delta
    for part, own in zip(spec.parts, views, strict=True):
        p, z, g = (flat[part.start : part.stop] for flat in (params, traces, header.gradient))
        decay = header.latest[DISCOUNT] * z.dtype.type(part.lambda_)
        optimizers.follow(part.spec, p, z, g, own, delta, decay)


@optimizers.rescale.register(Parts)
def _rescale_parts(spec, moments, factors):
    header, *views = moments
    header.gradient[:] *= factors[: header.gradient.size]
    for part, own in zip(spec.parts, views, strict=True):
        optimizers.rescale(part.spec, own, factors[part.start : part.stop])


@optimizers.latest_update.register(Parts)
def _latest_of_parts(spec, traces, moments, delta):
    header, *views = moments
    updates = [
        optimizers.latest_update(part.spec, traces[part.start : part.stop], own, header.latest[DELTA])
        for part, own in zip(spec.parts, views, strict=True)
    ]
    return np.concatenate(updates)


@optimizers.step.register(Parts)
def _no_number(spec, traces, delta):
    return None
