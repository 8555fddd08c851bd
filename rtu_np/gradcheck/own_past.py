"""References for SnAp-1 and RFLO in a dense cell: each unit goes through its own past, with the others' states given.

Unit i is computed again from its start, with changed parameters; at each step it sees its own number as it has become,
and the numbers of all other units as they were. That is what these sensitivities differentiate (derivations (93)). With
RFLO a unit sees its own number through the leak alone, (94).
"""

from typing import Any

import numpy as np

from rtu_np import protocol
from rtu_np.cells.layer import Layer
from rtu_np.cells.states import HiddenState
from rtu_np.gradcheck.case import Case, Sequence
from rtu_np.gradients.own_number import LeakAlone, OwnNumberSpec
from rtu_np.numerics.buffers import leaves, rebuild

OWN_PAST, LEAK_ALONE = "own past, approximate", "leak alone, approximate"


def case_of(layer: Layer, sequence: Sequence, rng: np.random.Generator) -> Case:
    """The case of a layer, with the references of its gradient method."""
    spec = layer.spec
    if isinstance(spec, OwnNumberSpec):
        return OwnPastCase(layer, sequence, rng)
    if any(isinstance(part, OwnNumberSpec) for part in _parts(spec)):
        raise TypeError(
            f"gradient is {layer.gradient_method!r} for a stack with a dense cell: expected the dense cell alone, "
            "whose units are computed again one by one; what a stack adds is that of RTRL()"
        )
    return Case(layer, sequence, rng)


def _parts(spec: Any) -> list[Any]:
    if not hasattr(spec, "lower"):
        return [spec]
    return [*_parts(spec.lower), *_parts(spec.upper)]


class OwnPastCase(Case):
    """A random sequence for a dense cell, whose output is its state."""

    def __init__(self, layer: Layer, sequence: Sequence, rng: np.random.Generator) -> None:
        super().__init__(layer, sequence, rng)
        self.leak_alone = isinstance(layer.spec.kind, LeakAlone)
        self.recorded = [self.held]
        for x in self.window:
            self.recorded.append(protocol.plain_forward(self.spec, self.params, self.recorded[-1], x)[0])

    def kind(self, name: str) -> str:
        if name not in leaves(self.params):
            return super().kind(name)
        return LEAK_ALONE if self.leak_alone else OWN_PAST

    def value(self, name: str, replaced: np.ndarray) -> Any:
        if name not in leaves(self.params):
            return super().value(name, replaced)
        at = {**self.arguments, name: replaced}
        params = rebuild(self.params, [at[leaf] for leaf in leaves(self.params)])
        own = self.held.h
        for before, x in zip(self.recorded, self.window, strict=False):
            own = self._step(params, before.h, own, x)
        return own @ self.w + self.arguments["readout.b"][0]

    def _step(self, params: Any, others: np.ndarray, own: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The units' own numbers after a step, from these and the numbers of all units before it."""
        if self.leak_alone:
            after = protocol.plain_forward(self.spec, params, HiddenState(others), x)[0].h
            return after + (1 - self.spec.leak) * (own - others)
        numbers = []
        for i in range(own.size):
            seen = others.astype(own.dtype)
            seen[i] = own[i]
            numbers.append(protocol.plain_forward(self.spec, params, HiddenState(seen), x)[0].h[i])
        return np.array(numbers)

    def _reverse(self, layer: int | None) -> dict[str, np.ndarray]:
        """The gradient by all parameters, back through each unit's own past, in plain NumPy."""
        d, total = self.w, {name: np.zeros(view.shape) for name, view in leaves(self.params).items()}
        dxs = []
        for t in range(len(self.window) - 1, -1, -1):
            back, dx = np.zeros_like(d), np.zeros(self.spec.n_inputs)
            for i in range(d.size):
                one = np.zeros_like(d)
                one[i] = d[i]
                step = self.recorded[t], self.window[t], self.recorded[t + 1], np.zeros_like(d), HiddenState(one)
                dstate, gradient, dx_i = protocol.plain_backward(self.spec, self.params, *step)
                back[i], dx = dstate.h[i], dx + dx_i
                for name, part in leaves(gradient).items():
                    total[name] += part
            d = (1 - self.spec.leak) * d if self.leak_alone else back
            dxs.append(dx)
        return {**total, "x": dxs[0]}
