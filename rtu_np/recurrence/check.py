"""Check the gradient of any recurrence that is written as a plain function, whoever wrote the gradient."""

from typing import Any

import numpy as np

from rtu_np.checkpoint import name_of_function
from rtu_np.recurrence import given, hints
from rtu_np.recurrence.exact import weighing
from rtu_np.recurrence.forward import Recurrence
from rtu_np.recurrence.references import Quantity, References
from rtu_np.recurrence.report import EXACT_FOR_FIXED, REFERENCE, ParameterCheck, Parting, RecurrenceReport
from rtu_np.recurrence.trees import spot
from rtu_np.validation import check_real

_NOTHING_CLAIMED = 1e-3  # references that are no better than this show nothing
_FLOAT32 = 1e-6  # below this, float32 rounds


def check_recurrence(
    forward: Any,
    params: Any,
    state: Any,
    xs: Any,
    gradient: Any = None,
    dy: Any = None,
    resets: Any = None,
    tolerance: float | None = None,
) -> RecurrenceReport:
    """Compare a gradient through time with backpropagation (BPTT), complex step and central differences.

    The three know `forward` alone. What is compared is the gradient of dy · y_T by the parameters, after T = 1, 2, ...
    steps, so that the report can say after which step it is wrong first.

    Parameters
    ----------
    forward : forward(params, state, x) -> (state, y), a pure function in NumPy, JAX or PyTorch
    params, state : an array, or a dict, list, tuple or NamedTuple of them; nested if you like
    xs : the inputs (T, ...), xs[t] for step t + 1; not differentiated by
    gradient : what is checked, one of

        - a function gradient(params, state, xs, dy), which returns the gradient of dy · y_T, T = len(xs), in the
          structure of `params`. If it has an argument `resets`, it gets those below T.
        - such a gradient of all inputs, as arrays
        - a step(params, state, sensitivities, x) -> (state, y, sensitivities). It is taken for a step because its third
          argument has this name. `sensitivities` has the structure of `params`, with d state / d parameter in the place
          of each array, of shape state.shape + parameter.shape (in the structure of the state, if that has several
          arrays). They are zero at first and after a reset, and are compared after each step.
        - None: the references are compared with each other
    dy : what y of the last step is weighed with, of the shape of y, such as (n_outputs,); a random one from a fixed
        seed if not given
    resets : steps (indices of xs) before which the state is set back to `state`
    tolerance : of errors, relative to the largest entry of an array; by default 1e-11, without complex step 1e-8, in
        float32 1e-5, or ten times the error of the references if that is more

    Returns
    -------
    RecurrenceReport : errors by array, the first T and entry at which they part, and hints

    Raises
    ------
    ValueError, TypeError : by name, if a shape, a name or a type is wrong, if a number is not finite, if `forward` is
        not a pure function, or if `tolerance` is less than the references can show

    Costs, with T steps, p parameters and n numbers in the state: about 8 T p + T n calls of `forward`, and a call of
    `gradient` for T = 1, 2, 3, 4, 8, 16 and so on; more if they part. In JAX, compile `forward` (jax.jit).

    Examples
    --------
    >>> import numpy as np
    >>> def leaky(params, h, x):
    ...     h = params["a"] * h + x
    ...     return h, h
    >>> def gradient(params, h, xs, dy):  # e <- a e + h
    ...     e = 0.0
    ...     for x in xs:
    ...         h, e = params["a"] * h + x, params["a"] * e + h
    ...     return {"a": dy * e}
    >>> check_recurrence(leaky, {"a": np.array(0.5)}, np.array(0.0), [1.0, 0.0, 0.0], gradient).passed
    True
    """
    if tolerance is not None:
        check_real("tolerance", tolerance, low=0, low_open=True)
    recurrence = Recurrence(forward, params, state, xs, resets)
    weights = weighing(recurrence, dy)
    if gradient is None:
        quantity = Quantity(recurrence, weights)
        references = References(quantity)
        compared = _Compared(quantity, references, {recurrence.steps: references.bptt})
        return compared.report(f"BPTT of {_what(recurrence, forward)}", tolerance)
    taken = given.take(recurrence, gradient, weights)
    values, repeats = _collect(taken)
    if tolerance is not None and taken.single and tolerance < _FLOAT32:
        single = (*recurrence.params.single, *recurrence.state.single, "gradient")[0]
        raise ValueError(
            f"tolerance is {tolerance!r}, and {single} is float32: expected at least {_FLOAT32}; complex step "
            "shows more, and needs float64"
        )
    quantity = Quantity(recurrence, None if taken.of_state else weights)
    compared = _Compared(quantity, References(quantity), values, taken, repeats)
    return compared.report(f"Gradient of {_what(recurrence, forward)}, given as {taken.title}", tolerance)


def _what(recurrence: Recurrence, forward: Any) -> str:
    name = name_of_function(forward)
    return (
        f"{name}, {recurrence.params.size} parameters, state of {recurrence.state.size}: {recurrence.steps} steps"
        + (f", resets before {sorted(recurrence.resets)}" if recurrence.resets else "")
        + f", {recurrence.real.name}"
    )


def _collect(taken: given.Given) -> tuple[dict[int, np.ndarray], bool]:
    """The gradient by the number of steps, and whether a second call gives the same."""
    longest = taken.lengths()[-1]
    first, again = taken.after(longest), taken.after(longest)
    scale = max(np.abs(first).max(initial=0.0), np.abs(again).max(initial=0.0))
    if np.abs(first - again).max(initial=0.0) > (1e-5 if taken.single else 1e-12) * scale:
        return {longest: again}, False
    return {steps: first if steps == longest else taken.after(steps) for steps in taken.lengths()}, True


class _Compared:
    """A gradient by the number of steps, next to the references."""

    def __init__(
        self,
        quantity: Quantity,
        references: References,
        values: dict[int, np.ndarray],
        taken: given.Given | None = None,
        repeats: bool = True,
    ) -> None:
        self._quantity, self._references, self._values = quantity, references, values
        self._taken, self._repeats, self._params = taken, repeats, quantity.recurrence.params

    def report(self, title: str, tolerance: float | None) -> RecurrenceReport:
        allowed = self._allowed(tolerance)
        self._look_between(allowed)
        wrong = {name: T for name, part in self._params.slices.items() if (T := self._first(part, allowed)) is not None}
        known = self._mistakes(wrong, allowed)
        agree = self._references.error <= _NOTHING_CLAIMED and bool(self._references.best.any())
        return RecurrenceReport(
            title,
            tuple(self._row(name, wrong, known) for name in self._params.slices),
            allowed,
            agree,
            self._parting(wrong),
            tuple(self._notes(wrong)),
            tuple(self._hints(known)),
        )

    def _allowed(self, tolerance: float | None) -> float:
        if tolerance is None:
            return self._references.least_tolerance(self._taken is not None and self._taken.single)
        if tolerance < self._references.error:
            why = self._references.no_complex
            raise ValueError(
                f"tolerance is {tolerance!r}: expected at least {self._references.error:.1e}, to which the references "
                f"agree{why and f'; complex step would be exact, and {why}'}"
            )
        return tolerance

    def _errors(self, T: int) -> np.ndarray:
        """(numbers, parameters), relative to the largest entry of each array."""
        return np.abs(self._values[T] - self._references.best[T - 1]) / self._references.scale(T - 1)

    def _first(self, part: slice, allowed: float) -> int | None:
        wrong = [T for T in self._values if self._errors(T)[:, part].max(initial=0.0) > allowed]
        return min(wrong, default=None)

    def _look_between(self, allowed: float) -> None:
        """If a number of steps was left out before the first that is wrong, go on step by step."""
        first = self._first(slice(None), allowed)
        if first is None or self._taken is None or not self._repeats or len(self._taken.lengths()) == 1:
            return
        previous = max((T for T in self._values if first > T), default=0)
        for T in range(previous + 1, first):
            self._values[T] = self._taken.after(T)
            if self._errors(T).max() > allowed:
                break

    def _mistakes(self, wrong: dict[str, int], allowed: float) -> dict[str, hints.Mistake]:
        if not self._repeats:
            text = (
                "a second call with the same arguments gives another gradient; is it added to what an earlier call has "
                "left, in PyTorch to .grad?"
            )
            return {name: hints.Mistake(text, {}) for name in wrong}
        return hints.explain(self._quantity, self._references, self._values, wrong, allowed) if wrong else {}

    def _hints(self, known: dict[str, hints.Mistake]) -> list[str]:
        """One line for each mistake, with the names of the arrays."""
        names: dict[str, list[str]] = {}
        for name in self._params.slices:
            if name in known:
                names.setdefault(known[name].text, []).append(name or "params")
        return [f"{', '.join(group)}: {text}" for text, group in names.items()]

    def _notes(self, wrong: dict[str, int]) -> list[str]:
        references, notes = self._references, []
        if references.no_complex:
            notes.append(f"no complex step: {references.no_complex}")
            notes.append(f"the references are good to {references.error:.0e}, by their own estimate")
        if references.error > _NOTHING_CLAIMED:
            notes.append("so nothing can be claimed; is there a kink or a jump near by, or is the stream chaotic?")
        elif references.unsure.max() > _NOTHING_CLAIMED:
            t, _, k = np.unravel_index(int(np.argmax(references.unsure)), references.unsure.shape)
            place = spot("params", *self._params.place(int(k)))
            notes.append(f"differences are unsure at {place}, T = {t + 1}; is there a kink, or is the stream chaotic?")
        right = [references.best[T - 1] for T in self._values]
        zero = [n or "params" for n, part in self._params.slices.items() if not any(E[:, part].any() for E in right)]
        if zero:
            notes.append(f"nothing is shown of {', '.join(zero)}: the gradient by it is zero")
        if (
            wrong
            and len(self._values) == 1
            and self._taken is not None
            and self._repeats
            and references.recurrence.steps > 1
        ):
            notes.append(
                "only all steps were compared; a function of the stream shows after which step it is wrong first"
            )
        return notes

    def _row(self, name: str, wrong: dict[str, int], known: dict[str, hints.Mistake]) -> ParameterCheck:
        part, last = self._params.slices[name], self._references.recurrence.steps
        r = self._references

        def error(expected: np.ndarray) -> float:
            apart = np.abs(self._values[last] - expected) / r.scale(last - 1)
            return float(apart[:, part].max(initial=0.0))

        kind = known[name].kind if name in known else REFERENCE if self._taken is None else EXACT_FOR_FIXED
        return ParameterCheck(
            name or "params",
            part.stop - part.start,
            kind,
            error(r.bptt),
            None if r.complex_step is None else error(r.complex_step[-1]),
            error(r.differences[-1]),
            max(float(self._errors(T)[:, part].max(initial=0.0)) for T in self._values),
            wrong.get(name),
        )

    def _parting(self, wrong: dict[str, int]) -> Parting | None:
        if not wrong:
            return None
        T = min(wrong.values())
        errors = self._errors(T)
        row, k = (int(i) for i in np.unravel_index(int(np.argmax(errors)), errors.shape))
        name, index = self._params.place(k)
        state = self._references.recurrence.state
        of = ""
        if self._quantity.dy is None:
            array, at = state.place(row)
            of = spot("state", array and f"state.{array}", at)
        return Parting(
            T, name or "params", index, float(self._values[T][row, k]), float(self._references.best[T - 1][row, k]), of
        )
