"""Which parameters of an unknown step multiply its state or its input: found in the derivatives of the step alone.

A matrix W that is used in z = W b + ... has the direct effect F[k, i, j] = A[k, i] b[j], A being d s_t / d z. Matrices
and biases with the same A are summed in one z, a *preactivation*. Then z is known, and so is what of d s_t / d s_{t-1}
goes through it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rtu_np.recurrence.exact import Jacobians
from rtu_np.recurrence.linearised import Linearised

_NEGLIGIBLE = 1e-6
_NUDGE = 1e-6


class Factor:
    """A matrix of parameters that multiplies b, an array of the state before the step, or the input.

    state : the name of the array; None for the input. axis : the axis of the matrix that b is summed along
    """

    def __init__(self, lines: Linearised, name: str, axis: int, state: str | None) -> None:
        self.name, self.axis, self.state, self._lines = name, axis, state, lines
        self.columns = lines.recurrence.params.slices[name]
        self.shape = lines.recurrence.params.shapes[name]
        self._rows = None if state is None else lines.recurrence.state.slices[state]

    @property
    def of_input(self) -> bool:
        return self.state is None

    @property
    def square(self) -> bool:
        return self.shape[0] == self.shape[1]

    def b(self, t: int) -> np.ndarray:
        """At the step of index t; zero before the first and behind the last input."""
        if self._rows is not None:
            return self._lines.starts[t][self._rows]
        r = self._lines.recurrence
        return input_of(r.xs[t]) if 0 <= t < r.steps else np.zeros(self.shape[self.axis])

    def new(self, t: int) -> np.ndarray:
        """The state after the step."""
        assert self._rows is not None
        return self._lines.states[t][self._rows]

    def effects(self) -> list[np.ndarray | None] | None:
        """A of each step, None at one that does not show it; None if the direct effect is no such product."""
        found: list[np.ndarray | None] = []
        for t, step in enumerate(self._lines.steps):
            b, F = self.b(t), self._last(step)
            if not b.any():
                if F.any():
                    return None
                found.append(None if self.of_input else self._nudged(t))
                continue
            A = F @ b / (b @ b)
            if np.abs(F - A[:, :, None] * b).max() > _NEGLIGIBLE * np.abs(F).max():
                return None
            found.append(A)
        return found if any(self.b(t).any() for t in range(len(found))) else None

    def _last(self, step: Jacobians) -> np.ndarray:
        """F as (states, i, j), b's index last."""
        F = step.state_by_params[:, self.columns].reshape(-1, *self.shape)
        return F if self.axis == 1 else F.transpose(0, 2, 1)

    def _nudged(self, t: int) -> np.ndarray:
        """If the state is zero, F does not show A; a state close to zero does, up to an error of its size."""
        state = self._lines.starts[t].copy()
        assert self._rows is not None
        state[self._rows] = _NUDGE
        b = state[self._rows]
        return self._last(self._lines.at(state, t)) @ b / (b @ b)

    def direct(self, A: np.ndarray, b: np.ndarray, t: int) -> np.ndarray:
        """F of the step with other factors."""
        F = self._lines.steps[t].state_by_params.copy()
        product = A[:, :, None] * b
        F[:, self.columns] = (product if self.axis == 1 else product.transpose(0, 2, 1)).reshape(len(F), -1)
        return F

    @property
    def matrix(self) -> np.ndarray:
        """W as in z = W b."""
        W = self._lines.recurrence.params.flat[self.columns].reshape(self.shape)
        return W if self.axis == 1 else W.T

    def path(self, A: np.ndarray, transposed: bool = False) -> np.ndarray:
        """What the state does to the next through this matrix, a part of J."""
        part = np.zeros((len(A), len(A)))
        if self._rows is not None:
            part[:, self._rows] = A @ (self.matrix.T if transposed else self.matrix)
        return part


@dataclass
class Preactivation:
    """z = sum of W b + biases.

    effect : d s_t / d z, by step. values : z, by step
    """

    lines: Linearised
    factors: list[Factor]
    effect: list[np.ndarray]
    biases: list[slice]

    def __post_init__(self) -> None:
        flat, steps = self.lines.recurrence.params.flat, len(self.effect)
        bias = sum((flat[part] for part in self.biases), np.zeros(self.effect[0].shape[1]))
        self.values = [bias + sum(factor.matrix @ factor.b(t) for factor in self.factors) for t in range(steps)]

    @property
    def text(self) -> str:
        """In words, by its parameters."""
        slices = self.lines.recurrence.params.slices
        names = [*(f.name for f in self.factors), *(name for name, part in slices.items() if part in self.biases)]
        return f"the preactivation with {' and '.join(names)}"

    def direct(self, t: int, ratio: np.ndarray) -> np.ndarray:
        """F of the step, with d s_t / d z multiplied by `ratio`."""
        F = self.lines.steps[t].state_by_params.copy()
        for factor in self.factors:
            block = F[:, factor.columns].reshape(-1, *factor.shape)
            F[:, factor.columns] = (block * (ratio[:, None] if factor.axis == 1 else ratio)).reshape(len(F), -1)
        for part in self.biases:
            F[:, part] *= ratio
        return F

    def path(self, t: int, ratio: float | np.ndarray = 1.0) -> np.ndarray:
        """What the state does to the next through z."""
        A = self.effect[t] * ratio
        return sum((factor.path(A) for factor in self.factors), np.zeros((len(A), len(A))))


def preactivations(lines: Linearised) -> list[Preactivation]:
    """All that the derivatives of the steps show."""
    found: list[tuple[list[Factor], list[np.ndarray | None]]] = []
    for factor in _candidates(lines):
        effects = factor.effects()
        if effects is None:
            continue
        for group, known in found:
            if _agree(effects, known) and all(f.name != factor.name for f in group):
                group.append(factor)
                known[:] = [a if a is not None else b for a, b in zip(known, effects, strict=True)]
                break
        else:
            found.append(([factor], effects))
    params, out = lines.recurrence.params, []
    for group, known in found:
        sample = next(A for A in known if A is not None)
        biases = [
            params.slices[name]
            for name, shape in params.shapes.items()
            if shape == sample.shape[1:]
            and _agree([s.state_by_params[:, params.slices[name]] for s in lines.steps], known)
        ]
        complete = [
            A if A is not None else (lines.steps[t].state_by_params[:, biases[0]] if biases else np.zeros_like(sample))
            for t, A in enumerate(known)
        ]
        out.append(Preactivation(lines, group, complete, biases))
    return out


def _candidates(lines: Linearised) -> Iterable[Factor]:
    state = lines.recurrence.state
    vectors: dict[str | None, int] = {name: shape[0] for name, shape in state.shapes.items() if len(shape) == 1}
    vectors[None] = input_of(lines.recurrence.xs[0]).size
    for name, shape in lines.recurrence.params.shapes.items():
        for axis in (0, 1) if len(shape) == 2 else ():
            yield from (Factor(lines, name, axis, what) for what, length in vectors.items() if shape[axis] == length)


def _agree(one: list, other: list) -> bool:
    """Whether two effects are the same, at all steps that show both."""
    both = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return bool(both) and all(
        a.shape == b.shape and np.abs(a - b).max() <= 1e-4 * np.abs(b).max(initial=1e-300) for a, b in both
    )


def input_of(x: object) -> np.ndarray:
    """An input as a flat array, empty if it is not an array of real numbers."""
    try:
        return np.asarray(x, dtype=float).ravel()
    except (TypeError, ValueError, RuntimeError):
        return np.zeros(0)
