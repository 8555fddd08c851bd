"""A stream as the derivatives of its steps, so that a gradient can be carried in wrong ways, too.

The right way is S_t = J_t S_{t-1} + F_t (exact.py). y_t is written through the new state, y_t = g(s_t, s_{t-1},
params): with B = d g / d s_t, C = B J + C' and D = B F + D'. Then a mistake in J or F also shows in the last step.
"""

from collections.abc import Callable

import numpy as np

from rtu_np.recurrence.exact import Jacobians, jacobians, start_of
from rtu_np.recurrence.references import Quantity

Carried = list[np.ndarray]  # S before the first step, after it, after the second, ...
_NEGLIGIBLE = 1e-9


class Linearised:
    """The derivatives of all steps of a quantity."""

    def __init__(self, quantity: Quantity, way: str) -> None:
        self.quantity, self.recurrence, self._way = quantity, quantity.recurrence, way
        r = self.recurrence
        self.states = r.run(r.params.flat, r.real).states
        self.starts = [start_of(r, self.states, t) for t in range(r.steps)]
        self.steps = [jacobians(r, start, t, way) for t, start in enumerate(self.starts)]
        self._through = [self._through_state(step) for step in self.steps]

    def at(self, state: np.ndarray, t: int) -> Jacobians:
        """The derivatives of a step from another state, or with another input."""
        return jacobians(self.recurrence, state, t, self._way)

    def _through_state(self, step: Jacobians) -> np.ndarray:
        """B, as far as C and D show it: from all parameters that act through the state, or from the state alone."""
        acting = [
            part
            for part in self.recurrence.params.slices.values()
            if np.abs(step.state_by_params[:, part]).max(initial=0.0) > 0
        ]
        known = np.concatenate([step.state_by_state, *(step.state_by_params[:, part] for part in acting)], axis=1)
        wanted = np.concatenate([step.y_by_state, *(step.y_by_params[:, part] for part in acting)], axis=1)
        found = self._solved(known, wanted)
        if found is None:
            found = self._solved(step.state_by_state, step.y_by_state)
        return np.zeros((wanted.shape[0], known.shape[0])) if found is None else found

    @staticmethod
    def _solved(known: np.ndarray, wanted: np.ndarray) -> np.ndarray | None:
        if not known.size or not wanted.size:
            return None
        found = np.linalg.lstsq(known.T, wanted.T, rcond=1e-12)[0].T
        return found if np.abs(found @ known - wanted).max() <= 1e-6 * np.abs(wanted).max() else None

    def carried(
        self,
        by_state: Callable[[int], np.ndarray] | None = None,
        by_params: Callable[[int], np.ndarray] | None = None,
        resets: frozenset[int] | None = None,
    ) -> Carried:
        """S with another J, another F, or other resets."""
        resets = self.recurrence.resets if resets is None else resets
        found = [np.zeros((self.recurrence.state.size, self.recurrence.params.size))]
        for t, step in enumerate(self.steps):
            before_step = np.zeros_like(found[0]) if t in resets else found[-1]
            J = step.state_by_state if by_state is None else by_state(t)
            F = step.state_by_params if by_params is None else by_params(t)
            found.append(J @ before_step + F)
        return found

    def gradients(
        self, carried: Carried, resets: frozenset[int] | None = None, direct: bool = True
    ) -> dict[int, np.ndarray]:
        """The quantity's derivative by T, from S; without what the parameters do to y directly, if not `direct`."""
        if self.quantity.dy is None:
            return {t + 1: S for t, S in enumerate(carried[1:])}
        resets = self.recurrence.resets if resets is None else resets
        found = {}
        for t, (step, B) in enumerate(zip(self.steps, self._through, strict=True)):
            S_tm1 = np.zeros_like(carried[0]) if t in resets else carried[t]
            by_y = B @ carried[t + 1] + (step.y_by_state - B @ step.state_by_state) @ S_tm1
            if direct:
                by_y = by_y + step.y_by_params - B @ step.state_by_params
            found[t + 1] = self.quantity.dy[None] @ by_y
        return found

    def by_age(self, T: int) -> np.ndarray:
        """(ages, numbers, parameters): what the parameters do in the last step, in the one before it, ..."""
        step = self.steps[T - 1]
        if self.quantity.dy is None:
            found, back = [step.state_by_params], step.state_by_state
        else:
            dy = self.quantity.dy[None]
            found, back = [dy @ step.y_by_params], dy @ step.y_by_state
        for t in reversed(range(T - 1)):
            if t + 1 in self.recurrence.resets:
                break
            found.append(back @ self.steps[t].state_by_params)
            back = back @ self.steps[t].state_by_state
        return np.array(found)
