"""A live recurrent layer: parameters and memory of one cell, one step at a time from Python."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from rtu_np import protocol
from rtu_np.gradients.layers import reset_memory
from rtu_np.gradients.rtrl import RTRL
from rtu_np.jit import compile_for
from rtu_np.numerics.buffers import allocate, leaves, size
from rtu_np.validation import check_array, check_count, check_dtype, check_finite, check_seed, check_settings


class GradientMethod(Protocol):
    """How a gradient travels through time; see `rtu_np.gradients`."""

    def spec(self, cell_spec: Any, dtype: Any) -> Any:
        """The spec of a memory that carries the gradient of a cell with `cell_spec`, in `dtype`."""


class Cell(ABC):
    """Settings of a recurrent layer, independent of its input width and precision: a frozen dataclass.

    A cell of your own defines `spec` and `initialise`, and registers functions of `rtu_np.protocol` for its spec
    (docs/own_stream.md); or `from_step` makes it of one function (docs/own_cell.md).

    Examples
    --------
    >>> from rtu_np import LinearRTU
    >>> isinstance(LinearRTU(4), Cell), LinearRTU(4).build(n_inputs=2).n_outputs
    (True, 8)
    """

    @abstractmethod
    def spec(self, n_inputs: int) -> Any:
        """The NamedTuple that kernels dispatch on, with at least `n_inputs`, `n_hidden` and `n_outputs`."""

    @abstractmethod
    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        """Write starting values into the float64 views `params`, which hold zeros."""

    def build(
        self, n_inputs: int, gradient: GradientMethod | None = None, seed: int | None = 0, dtype: Any = "float64"
    ) -> "Layer":
        """Make a live layer of this cell.

        Parameters
        ----------
        n_inputs : width d of the input
        gradient : how the gradient travels through time; RTRL() by default
        seed : of the starting values; None for fresh entropy
        dtype : "float64" or "float32"

        Raises
        ------
        ValueError, TypeError : if an argument is out of its range or of the wrong type; the message names the argument
        MemoryError : if the layer does not fit this machine
        """
        return Layer(self, n_inputs, gradient, seed, dtype)


def check_cell(cell: Any, name: str = "cell") -> Cell:
    if not isinstance(cell, Cell):
        raise TypeError(f"{name} is {cell!r}: expected a cell such as LinearRTU(16)")
    return cell


def check_gradient(gradient: Any) -> GradientMethod:
    """The gradient method; RTRL() by default."""
    if gradient is None:
        return RTRL()
    return check_settings("gradient", gradient, "a gradient method such as RTRL() or TBPTT(10)", 2)


def initial_values(settings: Any, layout: Any, spec: Any, rng: np.random.Generator) -> np.ndarray:
    """Flat parameters in float64, so that both precisions start from the same values."""
    flat = allocate(size(layout, spec), "float64")
    settings.initialise(layout(spec, flat)[0], rng)
    return flat


def check_parameters(spec: Any, params: Any) -> None:
    """ValueError if `params` are not finite, or if the recurrence has no derivative."""
    for name, values in leaves(params).items():
        check_finite(name, values)
    if protocol.degenerate(spec, params):
        raise ValueError(protocol.why_degenerate(spec, params))


class Layer:
    """One cell with its parameters and memory, for loops of your own. `Cell.build` makes it.

    Examples
    --------
    >>> import numpy as np
    >>> from rtu_np import LinearRTU
    >>> layer = LinearRTU(n_hidden=2, activation="identity").build(n_inputs=1, seed=0)
    >>> y = layer.advance([1.0])
    >>> sorted(layer.gradient(np.ones(4)))
    ['W1', 'W2', 'nu_log', 'theta_log']
    """

    compiled: Callable = staticmethod(compile_for)  # how a subclass has its functions compiled, or not

    def __init__(
        self, settings: Cell, n_inputs: int, gradient: GradientMethod | None, seed: int | None, dtype: Any
    ) -> None:
        self.n_inputs = n_inputs = check_count("n_inputs", n_inputs)
        self.cell, self.dtype = settings, check_dtype("dtype", dtype)
        self.gradient_method = check_gradient(gradient)
        self.spec = self.gradient_method.spec(settings.spec(n_inputs), self.dtype)
        self.n_outputs = self.spec.n_outputs
        start = initial_values(settings, protocol.parameters, self.spec, check_seed("seed", seed))
        check_parameters(self.spec, protocol.parameters(self.spec, start)[0])
        self._params = allocate(start.size, self.dtype)
        self._params[:] = start
        self._memory = allocate(size(protocol.memory, self.spec), self.dtype)
        self._gradient = allocate(self._params.size, self.dtype)
        self._x, self._dx = np.zeros(self.n_inputs, self.dtype), np.zeros(self.n_inputs, self.dtype)
        self._dy = np.zeros(self.n_outputs, self.dtype)

    @cached_property
    def _compiled_advance(self) -> Callable:
        return self.compiled(_advance, self.spec)

    @cached_property
    def _compiled_gradient(self) -> Callable:
        return self.compiled(_gradient, self.spec)

    def __getstate__(self) -> dict[str, Any]:
        """Without compiled functions, which belong to this process."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_compiled_")}

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """{name: writable view}. To replace values, write into the views: `layer.parameters["W1"][:] = ...`."""
        return leaves(protocol.parameters(self.spec, self._params)[0])

    @property
    def state(self) -> dict[str, np.ndarray]:
        """{name: writable view} of the recurrent state."""
        return leaves(protocol.memory(self.spec, self._memory)[0].state)

    def advance(self, x: Any) -> np.ndarray:
        """One step of the state and its sensitivities for the input `x` (n_inputs,). Returns y (n_outputs,).

        ValueError or TypeError if x has another shape or is not finite, or if the recurrence has no derivative. Then
        nothing has changed.
        """
        x = check_array("x", x, (self.n_inputs,), dtype=self.dtype)
        check_parameters(self.spec, protocol.parameters(self.spec, self._params)[0])
        self._x[:] = x
        self._compiled_advance(self.spec, self._params, self._memory, self._x)
        return protocol.memory(self.spec, self._memory)[0].y.copy()

    def gradient(self, dy: Any) -> dict[str, np.ndarray]:
        """{name: array} with the gradient of dy . y_t by the parameters, for dy (n_outputs,).

        The gradient goes through all steps since `reset`, or through the window of TBPTT(T).
        """
        self._credit(dy)
        views = leaves(protocol.parameters(self.spec, self._gradient)[0])
        return {name: view.copy() for name, view in views.items()}

    def input_gradient(self, dy: Any) -> np.ndarray:
        """Gradient (n_inputs,) of dy . y_t by the latest input, through the latest step alone, for dy (n_outputs,)."""
        self._credit(dy)
        return self._dx.copy()

    def _credit(self, dy: Any) -> None:
        self._dy[:] = check_array("dy", dy, (self.n_outputs,), dtype=self.dtype)
        arguments = (self.spec, self._params, self._memory, self._dy, self._gradient, self._dx)
        self._compiled_gradient(*arguments)

    def reset(self) -> None:
        """Clear state and sensitivities. Parameters stay, and the random numbers of a gradient method go on."""
        reset_memory(self.spec, protocol.memory(self.spec, self._memory)[0], self._memory)


def _advance(spec, params, memory, x):
    protocol.advance(spec, protocol.parameters(spec, params)[0], protocol.memory(spec, memory)[0], x)


def _gradient(spec, params, memory, dy, out, dx):
    views, (weights, _) = protocol.memory(spec, memory)[0], protocol.parameters(spec, params)
    protocol.credit(spec, weights, views, dy)
    protocol.accumulate(spec, views, out.dtype.type(0), protocol.parameters(spec, out)[0])
    protocol.input_gradient(spec, weights, views, dx)
