"""A layer that also learns, as learners do it, in compiled code or in plain Python."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from rtu_np import protocol
from rtu_np.cells.layer import Cell, GradientMethod, Layer
from rtu_np.jit import compile_for
from rtu_np.numerics.buffers import allocate, leaves


class LearningLayer(Layer):
    """A `Layer` with the pass `learn`."""

    def __init__(
        self, cell: Cell, n_inputs: int, gradient: GradientMethod, seed: int, dtype: Any, compiled: Callable
    ) -> None:
        super().__init__(cell, n_inputs, gradient, seed, dtype)
        self.seed = seed
        self.compiled = compiled
        self._traces = allocate(self._params.size, self.dtype)

    @cached_property
    def _compiled_learn(self) -> Any:
        return self.compiled(_learn, self.spec)

    @property
    def traces(self) -> dict[str, np.ndarray]:
        """{name: writable view}, named as the parameters."""
        return leaves(protocol.parameters(self.spec, self._traces)[0])

    def learn(self, x: np.ndarray, dy: np.ndarray, decay: float, step: float | None) -> None:
        """One step for the input `x`, and the pass `learn` with dy = `dy`."""
        self._x[:], self._dy[:] = x, dy
        real = self.dtype.type
        step = None if step is None else real(step)
        arrays = self._params, self._traces, self._memory, self._x, self._dy
        self._compiled_learn(self.spec, *arrays, real(decay), step)

    def copy(self, compiled: Callable, dtype: Any = None) -> "LearningLayer":
        """Another layer with the same numbers, rounded to `dtype` if that is given."""
        dtype = self.dtype if dtype is None else dtype
        other = LearningLayer(self.cell, self.n_inputs, self.gradient_method, self.seed, dtype, compiled)
        other.assign(self.numbers())
        return other

    def numbers(self) -> tuple[np.ndarray, ...]:
        """Copies of parameters, memory and traces."""
        return self._params.copy(), self._memory.copy(), self._traces.copy()

    def assign(self, numbers: tuple[np.ndarray, ...]) -> None:
        """Take the numbers of a layer of the same cell."""
        self._params[:], self._memory[:], self._traces[:] = numbers


def plain_python(function: Callable, spec: Any) -> Callable:
    """What a layer takes for `compiled` if nothing is to be compiled."""
    return function


class Compiler:
    """What a layer takes for `compiled` otherwise. Looking for changed code takes milliseconds, so it does so once."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[Callable, Any], Callable] = {}

    def __call__(self, function: Callable, spec: Any) -> Callable:
        key = function, kinds(spec)
        if key not in self._compiled:
            self._compiled[key] = compile_for(function, spec)
        return self._compiled[key]


def kinds(spec: Any) -> Any:
    """The types that compiled code depends on."""
    return (type(spec), *map(kinds, spec)) if isinstance(spec, tuple) else None


def _learn(spec, params, traces, memory, x, dy, decay, step):
    weights, views = protocol.parameters(spec, params)[0], protocol.memory(spec, memory)[0]
    protocol.move(spec, weights, views, x)
    protocol.credit(spec, weights, views, dy)
    protocol.learn(spec, weights, protocol.parameters(spec, traces)[0], views, decay, step)
