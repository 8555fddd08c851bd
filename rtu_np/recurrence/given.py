"""The gradient that a user has: a function, its result, or a step that carries sensitivities.

Which of the three it is, is not guessed. What cannot be called is a result. What can be called is a step if its third
argument is named `sensitivities`, and else a function gradient(params, state, xs, dy).
"""

import inspect
from typing import Any, Protocol

import numpy as np

from rtu_np.recurrence.forward import SINGLE, Recurrence
from rtu_np.recurrence.trees import Tree, as_given, as_numpy, entry, label, leaves, rebuild

_STEP_ARGUMENT = "sensitivities"
_CALLED = (
    f"gradient(params, state, xs, dy); a step that carries sensitivities names its third argument {_STEP_ARGUMENT!r}"
)
_AGREE = {"float64": 1e-9, "float32": 1e-4}  # the state and y of a user's step with those of forward


class Given(Protocol):
    """A user's gradient. `after` has it as a flat array, like the derivative of `Quantity`."""

    title: str
    of_state: bool  # d state / d params, and not the gradient of dy · y_T
    single: bool  # whether it is in float32; known after a call

    def lengths(self) -> list[int]: ...

    def after(self, steps: int) -> np.ndarray: ...


def take(recurrence: Recurrence, gradient: Any, dy: np.ndarray) -> Given:
    if not callable(gradient):
        return Result(recurrence, gradient)
    names = _argument_names(gradient)
    if len(names) > 2 and names[2] == _STEP_ARGUMENT:
        return Step(recurrence, gradient)
    return Function(recurrence, gradient, dy)


def _argument_names(function: Any) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # of a function that is not Python's
        return []


class Function:
    """gradient(params, state, xs, dy), called with the first T inputs, and with `resets` if it has this argument."""

    title, of_state = "a function of the stream", False

    def __init__(self, recurrence: Recurrence, gradient: Any, dy: np.ndarray) -> None:
        self._recurrence, self._gradient, self._dy = recurrence, gradient, dy
        names = _argument_names(gradient)
        self._takes_resets = "resets" in names
        self.single = False
        try:
            inspect.signature(gradient).bind(*range(4), **({"resets": ()} if self._takes_resets else {}))
        except ValueError:  # a function that is not Python's has no signature
            pass
        except TypeError as error:
            raise TypeError(f"gradient has the arguments {', '.join(names)} ({error}): expected {_CALLED}") from error

    def lengths(self) -> list[int]:
        """1, 2, 3, 4, and then doubled; the first steps after resets; the whole stream. JAX compiles for each."""
        steps = self._recurrence.steps
        doubled = {3, *(2**k for k in range(steps.bit_length()))}
        return sorted({steps, *(T for T in doubled | {t + 1 for t in self._recurrence.resets} if steps > T)})

    def after(self, steps: int) -> np.ndarray:
        r = self._recurrence
        arguments = r.params.build(r.params.flat), r.state.build(r.state.flat), r.xs[:steps], r.y.build(self._dy)
        extra = {"resets": sorted(t for t in r.resets if t < steps)} if self._takes_resets else {}
        try:
            returned = self._gradient(*arguments, **extra)
        except Exception as error:
            error.add_note(f"gradient was called with the first {steps} of {r.steps} inputs")
            raise
        self.single = self.single or _is_single(returned)
        return flat_gradient(r, returned, "" if steps == r.steps else f" for the first {steps} of {r.steps} inputs")[
            None
        ]


class Result:
    """The gradient itself, of the whole stream."""

    title, of_state = "arrays", False

    def __init__(self, recurrence: Recurrence, gradient: Any) -> None:
        self.single = _is_single(gradient)
        self._steps, self._flat = recurrence.steps, flat_gradient(recurrence, gradient, "")

    def lengths(self) -> list[int]:
        return [self._steps]

    def after(self, steps: int) -> np.ndarray:
        return self._flat[None]


class Step:
    """step(params, state, sensitivities, x) -> (state, y, sensitivities), from zero sensitivities.

    `sensitivities` has the structure of params, with d state / d parameter in the place of each array: of shape
    state.shape + parameter.shape, in the structure of the state. At a reset, the state is set back, and the
    sensitivities to zero.
    """

    title, of_state = "a step with sensitivities", True

    def __init__(self, recurrence: Recurrence, step: Any) -> None:
        self._recurrence, self._step = recurrence, step
        zeros = [
            rebuild(
                recurrence.state.value,
                iter([self._zero(leaf, name, p) for name, leaf in recurrence.state.given.items()]),
            )
            for p in recurrence.params.shapes.values()
        ]
        self._tree = Tree("sensitivities", rebuild(recurrence.params.value, iter(zeros)))
        self.single = bool(recurrence.params.single or recurrence.state.single)
        self._after: list[np.ndarray] = []

    def _zero(self, leaf: Any, name: str, shape: tuple[int, ...]) -> Any:
        return as_given(leaf, np.zeros(self._recurrence.state.shapes[name] + shape, as_numpy(leaf).dtype))

    def lengths(self) -> list[int]:
        return list(range(1, self._recurrence.steps + 1))

    def after(self, steps: int) -> np.ndarray:
        if not self._after:
            self._run()
        return self._after[steps - 1]

    def _run(self) -> None:
        r, state, carried = self._recurrence, None, None
        for t in range(r.steps):
            if t == 0 or t in r.resets:
                state, carried = r.state.build(r.state.flat), self._tree.build(self._tree.flat)
            returned = self._step(r.params.build(r.params.flat), state, carried, r.xs[t])
            if not isinstance(returned, tuple | list) or len(returned) != 3:
                raise TypeError(
                    f"gradient returned a value of type {type(returned).__name__} for xs[{t}]: expected (state, y, "
                    "sensitivities), since it is a step that carries sensitivities"
                )
            state, y, carried = returned
            self.single = self.single or _is_single(carried)
            self._compare("state", r.state, state, r.given_run.states[t], t)
            self._compare("y", r.y, y, r.given_run.outputs[t], t)
            flat = self._tree.flatten("the sensitivities that gradient returned", carried)
            _check_finite("sensitivities", self._tree, flat, f" after xs[{t}]")
            self._after.append(self._matrix(flat))

    def _compare(self, name: str, tree: Tree, value: Any, expected: np.ndarray, t: int) -> None:
        found = tree.flatten(f"the {name} that gradient returned", value)
        allowed = _AGREE["float32" if tree.single or self.single else "float64"] * np.abs(expected).max(initial=1.0)
        differs = ~(np.abs(found - expected) <= allowed)
        if differs.any():
            k = int(np.argmax(differs))
            raise ValueError(
                f"gradient, as a step, gives {entry(name, *tree.place(k))} = {found[k]} for xs[{t}], and forward "
                f"{expected[k]}: expected the same recurrence"
            )

    def _matrix(self, flat: np.ndarray) -> np.ndarray:
        """(numbers of the state, parameters)"""
        r = self._recurrence
        out = np.zeros((r.state.size, r.params.size))
        for parameter, columns in r.params.slices.items():
            for state, rows in r.state.slices.items():
                part = flat[self._tree.slices[".".join(filter(None, (parameter, state)))]]
                out[rows, columns] = part.reshape(rows.stop - rows.start, columns.stop - columns.start)
        return out


def flat_gradient(recurrence: Recurrence, gradient: Any, when: str) -> np.ndarray:
    """A user's gradient as a flat array. ValueError, TypeError, by name."""
    params, found = recurrence.params, leaves(gradient)
    expected = "expected the names of params, " + (
        ", ".join(map(repr, params.given)) if "" not in params.given else "one array"
    )
    lacking = [name for name in params.given if name not in found]
    if lacking:
        raise ValueError(f"gradient lacks {', '.join(map(repr, lacking))}{when}: {expected}")
    extra = [name for name in found if name not in params.given]
    if extra:
        raise ValueError(f"gradient has {', '.join(map(repr, extra))}, which params has not{when}: {expected}")
    for name, leaf in found.items():
        shape, wanted = as_numpy(leaf).shape, params.shapes[name]
        if shape != wanted:
            cause = "; is it transposed?" if shape == wanted[::-1] else ""
            raise ValueError(
                f"{label('gradient', name)} has shape {shape}{when}: expected {wanted}, that of "
                f"{label('params', name)}{cause}"
            )
    flat = params.flatten("gradient", gradient)
    if flat.dtype.kind == "c":
        raise TypeError(f"gradient has complex numbers{when}: expected real ones; is .real or .imag missing?")
    _check_finite("gradient", params, flat, when)
    return flat.astype(float)


def _check_finite(argument: str, tree: Tree, flat: np.ndarray, when: str) -> None:
    bad = ~np.isfinite(flat)
    if bad.any():
        k = int(np.argmax(bad))
        raise ValueError(f"{entry(argument, *tree.place(k))} is {flat[k]}{when}: expected finite numbers")


def _is_single(tree: Any) -> bool:
    return any(as_numpy(leaf).dtype == SINGLE for leaf in leaves(tree).values())
