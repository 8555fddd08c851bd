"""What a gradient is compared with: three ways to the derivative of a stream, for each number of its steps.

The *quantity* of T steps is dy · y_T, one number, or for sensitivities the state s_T, several. Its derivative by the
parameters is an array (numbers of the quantity, parameters).

complex step    through all steps, if the function allows it; exact to rounding
differences     through all steps, with an estimate of their error
BPTT            back through the step's own derivatives
"""

from dataclasses import dataclass

import numpy as np

from rtu_np.recurrence.derivatives import complex_step, differences, scales
from rtu_np.recurrence.exact import backward, way_of
from rtu_np.recurrence.forward import COMPLEX, DOUBLE, LOSES, SINGLE, Pass, Recurrence
from rtu_np.recurrence.trees import spot
from rtu_np.validation import check_fits

EXACT, BY_DIFFERENCES, SINGLE_PRECISION = 1e-11, 1e-8, 1e-5  # the least that is allowed
_SAFETY = 10.0  # the tolerance is at least so many times the estimated error of the references
# An array whose derivative is below this part of the largest is judged by the largest. Differences in float32 cannot
# tell a hundredth from zero, which the derivative by a recurrent weight is after one step from a state of zero.
_SMALL = {DOUBLE: 1e-5, SINGLE: 0.1}


@dataclass(frozen=True)
class Quantity:
    """dy · y_T by its dy, or s_T if that is None."""

    recurrence: Recurrence
    dy: np.ndarray | None

    def of(self, run: Pass) -> np.ndarray:
        """(steps, numbers): of the first step, of the first two, ..."""
        return run.states if self.dy is None else run.outputs @ self.dy[:, None]

    def check_memory(self) -> None:
        """MemoryError, if the derivatives of all steps do not fit."""
        r = self.recurrence
        numbers = r.state.size if self.dy is None else 1
        needed = 6 * 8 * r.steps * numbers * r.params.size
        check_fits(needed, f"the derivative of {numbers} numbers after each of {r.steps} steps", "a shorter stream")

    def derivative(self, resets: frozenset[int] | None = None) -> np.ndarray:
        """By complex step through all steps: (steps, numbers, parameters)."""
        r = self.recurrence
        return self._shaped(complex_step(lambda p: self.of(r.run(p, COMPLEX, resets)).ravel(), r.params.flat))

    def by_differences(self, resets: frozenset[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The same by central differences, and the estimate of their error."""
        r = self.recurrence
        found, error = differences(
            lambda p: self.of(r.run(p, r.real, resets)).ravel(),
            r.params.flat,
            scales(r.params.flat, list(r.params.slices.values())),
            r.real,
        )
        return self._shaped(found), self._shaped(error)

    def _shaped(self, columns: np.ndarray) -> np.ndarray:
        return columns.reshape(self.recurrence.steps, -1, self.recurrence.params.size)


class References:
    """The derivative of a quantity in three ways.

    best : by complex step if that is possible, and else by differences
    no_complex : why complex step is not possible; empty if it is
    error : of `best`, relative: how far BPTT is from it, and without complex step, how unsure differences are
    unsure : of differences, the estimated relative error of each number
    """

    def __init__(self, quantity: Quantity) -> None:
        recurrence = self.recurrence = quantity.recurrence
        quantity.check_memory()
        self.differences, estimate = quantity.by_differences()
        self.no_complex = recurrence.no_complex
        self.complex_step = None if self.no_complex else quantity.derivative()
        if self.complex_step is not None:
            self._distrust(estimate)
        self.best = self.differences if self.complex_step is None else self.complex_step
        n = len(self.best[0])
        by_y = None if quantity.dy is None else quantity.dy[None]
        self.way = "differences" if self.no_complex else way_of(recurrence)
        self.bptt = backward(recurrence, by_y, np.eye(n) if by_y is None else None, self.way)
        self.error = self._relative(self.bptt, -1)
        self.unsure = estimate / np.stack([self.scale(t) for t in range(recurrence.steps)])[:, None]
        if self.complex_step is None:
            self.error = max(self.error, float(self.unsure.max(initial=0.0)))

    def _distrust(self, uncertainty: np.ndarray) -> None:
        """Give complex step up if it is further from differences than these say that they are wrong."""
        assert self.complex_step is not None
        apart = np.abs(self.complex_step - self.differences)
        scale = np.abs(self.differences).max(initial=0.0)
        excess = apart - _SAFETY * uncertainty - 1e-8 * scale
        if excess.max() > 0:
            t, _, k = np.unravel_index(int(np.argmax(excess)), excess.shape)
            place = spot("params", *self.recurrence.params.place(int(k)))
            self.no_complex = (
                f"at {place}, T = {t + 1}, it differs from central differences; does forward call {LOSES}?"
            )
            self.complex_step = None

    def scale(self, t: int) -> np.ndarray:
        """For each parameter, what its error after t + 1 steps is divided by: the largest entry of its array."""
        largest = np.abs(self.best[t]).max(initial=0.0) or 1.0
        out = np.empty(self.recurrence.params.size)
        for part in self.recurrence.params.slices.values():
            out[part] = max(np.abs(self.best[t][:, part]).max(initial=0.0), _SMALL[self.recurrence.real] * largest)
        return out

    def _relative(self, found: np.ndarray, t: int) -> float:
        return float((np.abs(found - self.best[t]) / self.scale(t)).max(initial=0.0))

    def least_tolerance(self, single: bool) -> float:
        """What can be claimed with these references, of a gradient in float32 if `single`."""
        floor = EXACT if self.complex_step is not None else BY_DIFFERENCES
        return max(SINGLE_PRECISION if single else floor, _SAFETY * self.error)
