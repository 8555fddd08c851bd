"""Derivatives of a cell's step as somebody may get them in float32, also if numbers cancel on the way.

They say how close a learner in float32 can be to a reference in float64. Layer normalisation of two features gives plus
and minus one, whatever its input: its derivative is what is left of numbers that cancel, and rounding is most of it.

Derivatives are by complex step in complex64, so that every number on the way is rounded to float32. It is forward mode,
and the learner has reverse mode: both round differently. Symmetric outputs may have equal errors in one, and not in the
other. So layers are derived one by one, and the largest error of each number gets a random factor.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from rtu_np import protocol
from rtu_np.learnercheck.body import Arrays, Body, by_complex_step, derivatives
from rtu_np.learning.blocks import layers
from rtu_np.numerics.buffers import leaves, rebuild

_DRAWS = 3  # a single rounding may be exact by chance
STEP = 1e-15  # whose square is below the rounding of float32


class Rough:
    """Derivatives with errors for the bodies of several references, which learn the same.

    The first of them computes the size of errors. The others take it over, and draw other errors of this size.
    """

    def __init__(self, bodies: list[Body]) -> None:
        self._found: list[tuple[Arrays, Arrays]] = []
        for k, body in enumerate(bodies):
            body.derive = partial(self._derive, np.random.default_rng(k), k == 0)

    def _derive(
        self, rng: np.random.Generator, first: bool, body: Body, own: Arrays, state: np.ndarray, x: np.ndarray
    ) -> Arrays:
        if first:
            self._found = list(_by_layer(body, own, state, x, rng))
        with_errors = [
            {name: array + rng.standard_normal(array.shape) * errors[name] for name, array in exact.items()}
            for exact, errors in self._found
        ]
        return _chained(with_errors, own, state)


def _with_errors(layer: "_Layer", at: Arrays, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """(derivatives, how far those in float32 are from them at most, in a few draws)"""
    exact = derivatives(layer, at)
    errors = {name: np.zeros_like(array) for name, array in exact.items()}
    for _ in range(_DRAWS):
        last = np.finfo(np.float32).eps
        single = {k: (a * (1 + rng.choice([-last, last], a.shape))).astype(np.float32) for k, a in at.items()}
        rounded = by_complex_step(layer, single, STEP, np.complex64)
        errors = {name: np.maximum(worst, np.abs(rounded[name] - exact[name])) for name, worst in errors.items()}
    return exact, errors


def _by_layer(
    body: Body, own: Arrays, state: np.ndarray, x: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[Arrays, Arrays]]:
    """For each layer, from below: `_with_errors` of its state and outputs, by its parameters, its "state" and "x"."""
    start = 0
    for (spec, views), (_, of_state), names in zip(
        layers(body.spec, body._views), layers(body.spec, body._state), body.names_of_layers, strict=True
    ):
        n = sum(view.size for view in leaves(of_state).values())
        layer = _Layer(spec, views, of_state, names)
        at = {**{name: own[name] for name in names}, "state": state[start : start + n], "x": x}
        yield _with_errors(layer, at, rng)
        x, start = layer(at)[n:], start + n


def _chained(found: list[Arrays], own: Arrays, state: np.ndarray) -> Arrays:
    """{name: (numbers of the state and features, *shape)} of a whole step, by parameters and "state"."""
    shapes = {**{name: array.shape for name, array in own.items()}, "state": state.shape}
    after: dict[str, list[np.ndarray]] = {name: [] for name in shapes}
    by_y: Arrays = {}
    start = 0
    for by in found:
        n, rows = by["state"].shape[1], len(by["x"])
        whole = np.zeros((rows, state.size))
        whole[:, start : start + n] = by["state"]
        for name, shape in shapes.items():
            total = {**by, "state": whole}.get(name, np.zeros((rows, *shape)))
            if by_y.get(name) is not None:
                total = total + np.tensordot(by["x"], by_y[name], 1)
            after[name].append(total[:n])
            by_y[name] = total[n:]
        start += n
    return {name: np.concatenate([*after[name], by_y[name]]) for name in shapes}


class _Layer:
    """The step of a layer as a function of named arrays: the state after it, and the outputs, as one vector."""

    def __init__(self, spec: Any, views: Any, state: Any, names: list[str]) -> None:
        self._spec, self._views, self._state, self._names = spec, views, state, names
        self._shapes = [view.shape for view in leaves(state).values()]

    def __call__(self, at: Arrays) -> np.ndarray:
        sizes = [int(np.prod(shape)) for shape in self._shapes]
        parts = np.split(at["state"], np.cumsum(sizes)[:-1]) if sizes else []
        state = rebuild(self._state, [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)])
        params = rebuild(self._views, [at[name] for name in self._names])
        after, y = protocol.plain_forward(self._spec, params, state, at["x"])
        return np.concatenate([*(np.ravel(view) for view in leaves(after).values()), y])
