"""The gradient of a network's features, carried next to a learner by complex step through the plain step of its cell.

It knows `protocol.plain_forward` alone: no sensitivities, no traces, no kernel of the learner.

RTRL      S <- J S + F, dense, with the parameters that the learner has at each step. Layer-local RTRL of a stack
          carries the effect of a layer's parameters on the state of this layer alone; dense or exact, on all
TBPTT(T)  the last T steps again, from the state before them, with today's parameters
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.two_layers import TwoLayersSpec
from rtu_np.gradients.rtrl import FullRTRLSpec
from rtu_np.gradients.tbptt import TBPTTSpec
from rtu_np.learning.blocks import layer_names, layers
from rtu_np.numerics.buffers import leaves, rebuild, size

STEP = 1e-30
Arrays = dict[str, np.ndarray]


def derivatives(function: Callable[[Arrays], np.ndarray], at: Arrays) -> Arrays:
    """{name: (outputs, *shape)} of a function of a dictionary of arrays, by complex step."""
    return by_complex_step(function, at, STEP, np.complex128)


def by_complex_step(function: Callable[[Arrays], np.ndarray], at: Arrays, step: float, dtype: type) -> Arrays:
    """The same with a step and a precision."""
    found = {}
    for name, array in at.items():
        moved: np.ndarray = array.astype(dtype)
        columns = []
        for index in np.ndindex(array.shape):
            moved[index] += 1j * step
            columns.append(function({**at, name: moved}).imag / step)
            moved[index] = array[index]
        n = columns[0].size if columns else function(at).size
        found[name] = np.array(columns).T.reshape(n, *array.shape)
    return found


class Moved(NamedTuple):
    """One step of a body."""

    state: np.ndarray  # flat
    y: np.ndarray
    gradient: Arrays  # {parameter: (features, *shape)} of y


class Body:
    """A cell with what its gradient needs of the past.

    spec : of the cell, with its gradient method; params : its views, whose names begin with `prefix`
    learns : whether it needs a gradient at all
    """

    def __init__(self, spec: Any, params: Any, prefix: str = "", learns: bool = True) -> None:
        self.spec, self._views = spec, params
        self._state = protocol.state(spec, np.zeros(size(protocol.state, spec)))[0]
        self.sizes = {name: view.size for name, view in leaves(self._state).items()}
        self._shapes = [view.shape for view in leaves(self._state).values()]
        self.n_state = sum(self.sizes.values())
        names = [f"{prefix}{name}." for name in layer_names(spec, params)]
        parts = [leaves(views, name) for name, (_, views) in zip(names, layers(spec, params), strict=True)]
        self.names_of_layers = [list(part) for part in parts]
        self.names = [name for part in parts for name in part]
        self.window = spec.steps if isinstance(spec, TBPTTSpec) else None
        self.derive: Callable[..., Arrays] = Body.joint  # of a step; `rough.joint` may stand here
        self._learns, self._own = learns, {name: np.ones(self.n_state) for name in self.names}
        if not isinstance(spec, TBPTTSpec | FullRTRLSpec | TwoLayersSpec):
            self._keep_own_rows(parts)
        self.clear()

    def _keep_own_rows(self, parts: list[Arrays]) -> None:
        states = [views for _, views in layers(self.spec, self._state)]
        counts = [sum(view.size for view in leaves(views).values()) for views in states]
        for k, part in enumerate(parts):
            row = np.repeat(np.arange(len(parts)) == k, counts).astype(float)
            self._own.update(dict.fromkeys(part, row))

    def clear(self) -> None:
        """Forget the past."""
        self.carried: Arrays = {}  # {parameter: (numbers of the state, *shape)}: the sensitivities of the state
        self._past: list[tuple[np.ndarray, np.ndarray]] = []

    def scale(self, factors: Arrays) -> None:
        """Multiply what is carried of a parameter by its factors."""
        self.carried |= {name: S * factors[name] for name, S in self.carried.items() if name in factors}

    def forward(self, params: Arrays, state: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(state, features) after one step."""
        views = rebuild(self._views, [params[name] for name in self.names])
        parts = np.split(state, np.cumsum(list(self.sizes.values()))[:-1])
        arrays = [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)] if self.sizes else []
        after, y = protocol.plain_forward(self.spec, views, rebuild(self._state, arrays), x)
        found = [np.ravel(view) for view in leaves(after).values()]
        return np.concatenate(found) if found else state, y

    def advance(self, params: Arrays, state: np.ndarray, x: np.ndarray) -> Moved:
        """The step from `state`, and the gradient of its features by the parameters of the body."""
        own = {name: params[name] for name in self.names}
        after, y = self.forward(own, state, x)
        if not self._learns:
            return Moved(after, y, {})
        if self.window is not None:
            self._past = [*self._past, (state, x)][-self.window :]
            return Moved(after, y, derivatives(self._run_again, own))
        n = self.n_state
        joint = self.derive(self, own, state, x)
        J, dy = joint["state"][:n], joint["state"][n:]
        gradient = {}
        for name in self.names:
            F, direct = joint[name][:n], joint[name][n:]
            if name in self.carried:
                direct = direct + np.tensordot(dy, self.carried[name], 1)
                F = F + np.tensordot(J, self.carried[name], 1)
            gradient[name] = direct
            self.carried[name] = F * self._own[name].reshape(-1, *[1] * (F.ndim - 1))
        return Moved(after, y, gradient)

    def joint(self, own: Arrays, state: np.ndarray, x: np.ndarray) -> Arrays:
        """{name: (numbers of the state and features, *shape)} of a step, by parameters and "state"."""
        return derivatives(lambda p: np.concatenate(self.forward(p, p["state"], x)), {**own, "state": state})

    def _run_again(self, params: Arrays) -> np.ndarray:
        state = self._past[0][0]
        for _, x in self._past:
            state, y = self.forward(params, state, x)
        return y
