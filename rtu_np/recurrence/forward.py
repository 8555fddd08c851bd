"""A user's `forward(params, state, x) -> (state, y)` on flat arrays, in the precisions that it can run in."""

import contextlib
import sys
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from rtu_np.recurrence.derivatives import complex_step, differences
from rtu_np.recurrence.trees import Tree, as_given, as_numpy, entry, leaves, library_of, map_tree
from rtu_np.validation import check_count

COMPLEX, DOUBLE, SINGLE = np.dtype("complex128"), np.dtype("float64"), np.dtype("float32")
_SAME = {"float64": 1e-12, "float32": 1e-5}  # two calls may differ by rounding: an array's place in memory may matter
_OTHER_PRECISION = 1e-3  # float64 and float32 give the same values up to this, or they are not the same function
LOSES = "abs, .real or float, which drop imaginary parts"
_SETTING = "write 1.0 and not 1; if it is a setting, let forward be a closure over it"


class Pass(NamedTuple):
    """All steps: row t has what step t + 1 made."""

    states: np.ndarray  # (steps, numbers of the state)
    outputs: np.ndarray  # (steps, numbers of y)


class Recurrence:
    """The user's function and arrays, checked.

    real : the precision in which it is run, float64 if it can be
    no_complex : why it cannot be run with complex numbers; empty if it can
    """

    def __init__(self, forward: Any, params: Any, state: Any, xs: Any, resets: Any = None) -> None:
        if not callable(forward):
            raise TypeError(f"forward is {_kind(forward)}: expected a function forward(params, state, x) -> (state, y)")
        self._forward = forward
        self.params, self.state = Tree("params", params, _SETTING), Tree("state", state, _SETTING)
        if not self.params.size:
            raise ValueError("params has no numbers: expected arrays to differentiate by")
        self.xs, self.steps = xs, _count(xs)
        self.resets = _resets(resets, self.steps)
        self._inputs: dict[np.dtype, list[Any]] = {}
        first = self._first_step()
        self.y = Tree("y", first[1])
        if not self.y.size:
            raise ValueError("the y that forward returned has no numbers: expected an output to differentiate")
        self._is_jax = any(library_of(leaf) == "jax" for part in (params, *first) for leaf in leaves(part).values())
        self.given_run = self._pure_run()
        self.real = self._find_real(first)
        self.no_complex = self._find_complex()

    def _first_step(self) -> tuple[Any, Any]:
        """What forward returns for the first input. ValueError, if it changes its arguments."""
        params, state = self.params.build(self.params.flat), self.state.build(self.state.flat)
        x = _copied(self.xs[0])
        try:
            returned = self._forward(params, state, x)
        except Exception as error:
            error.add_note("forward was called as forward(params, state, xs[0])")
            raise
        after = self._pair(_copied(returned), 0)  # what is returned may be the argument itself
        for tree, value in ((self.params, params), (self.state, state)):
            changed = tree.flatten("forward's argument", value) != tree.flat
            if changed.any():
                place = entry(tree.argument, *tree.place(int(np.argmax(changed))))
                raise ValueError(
                    f"forward changes {place} in place: expected a function that leaves its arguments as they are; "
                    "write h = h + ... and not h += ..."
                )
        for one, other in zip(leaves(x).values(), leaves(self.xs[0]).values(), strict=True):
            if not np.array_equal(as_numpy(one), as_numpy(other), equal_nan=as_numpy(one).dtype.kind == "f"):
                raise ValueError(
                    "forward changes xs[0] in place: expected a function that leaves its arguments as they are"
                )
        return after

    def _pair(self, returned: Any, t: int) -> tuple[Any, Any]:
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise TypeError(f"forward returned {_kind(returned)} for xs[{t}]: expected a pair (state, y)")
        return returned[0], returned[1]

    def _flat(self, returned: Any, t: int) -> tuple[np.ndarray, np.ndarray, Any]:
        """State and y as flat arrays, and the state as it was returned."""
        state, y = self._pair(returned, t)
        flat = self.state.flatten("the state that forward returned", state)
        return flat, self.y.flatten("the y that forward returned", y), state

    def _pure_run(self) -> Pass:
        """With the arrays as they were given. ValueError if a second run differs, or if it is not finite."""
        xs = [_copied(self.xs[t]) for t in range(self.steps)]  # of both runs: one that changes them shows
        once = self._run(self.params.build(self.params.flat), self.state.build(self.state.flat), xs)
        for name, tree, values in (("state", self.state, once.states), ("y", self.y, once.outputs)):
            bad = np.argwhere(~np.isfinite(values))
            if bad.size:
                t, k = bad[0]
                raise ValueError(
                    f"forward gives {entry(name, *tree.place(k))} = {values[t, k]} for xs[{t}]: expected finite numbers"
                )
        again = self._run(self.params.build(self.params.flat), self.state.build(self.state.flat), xs)
        single = self.params.single or self.state.single or self.y.single
        for name, tree, a, b in (
            ("state", self.state, once.states, again.states),
            ("y", self.y, once.outputs, again.outputs),
        ):
            scale = max(1.0, np.abs(a).max(initial=0.0))
            differs = np.argwhere(~(np.abs(a - b) <= _SAME["float32" if single else "float64"] * scale))
            if differs.size:
                t, k = differs[0]
                raise ValueError(
                    f"forward is not a pure function: two calls with the same arguments give {a[t, k]} and {b[t, k]} "
                    f"for {entry(name, *tree.place(k))} at xs[{t}]; does it draw random numbers, or keep a state?"
                )
        return once

    def _run(self, params: Any, state: Any, xs: Any, resets: frozenset[int] | None = None) -> Pass:
        resets = self.resets if resets is None else resets
        states, outputs, now = [], [], state
        for t in range(self.steps):
            flat_state, flat_y, now = self._flat(self._forward(params, state if t in resets else now, xs[t]), t)
            states.append(flat_state)
            outputs.append(flat_y)
        return Pass(np.array(states), np.array(outputs))

    def _find_real(self, first: tuple[Any, Any]) -> np.dtype:
        """float64, if forward runs in it and gives what it gives in the precision of the given arrays."""
        given = (
            *self.params.given.values(),
            *self.state.given.values(),
            *(v for t in first for v in leaves(t).values()),
        )
        if all(as_numpy(leaf).dtype == DOUBLE for leaf in given):
            return DOUBLE
        try:
            with self._wide():
                params, state = (tree.build(tree.flat, DOUBLE) for tree in (self.params, self.state))
                after = self._pair(self._forward(params, state, self._inputs_in(DOUBLE)[0]), 0)
                if any(as_numpy(leaf).dtype != DOUBLE for part in after for leaf in leaves(part).values()):
                    return SINGLE
            wide = self.run(self.params.flat, DOUBLE)
        except Exception:  # a constant of another type in the user's function, for example
            return SINGLE
        scale = np.abs(wide.outputs).max(initial=1.0)
        return DOUBLE if np.abs(wide.outputs - self.given_run.outputs).max() <= _OTHER_PRECISION * scale else SINGLE

    def _find_complex(self) -> str:
        if self._is_jax and not sys.modules["jax"].config.jax_enable_x64:
            return "JAX runs in float32 here; jax.config.update('jax_enable_x64', True) makes it possible"
        if self.real == SINGLE:
            return "forward computes in float32"
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message=".*[cC]omplex")
                made = self.run(self.params.flat + 0j, COMPLEX)
        except Exception as error:
            return f"forward does not take complex numbers ({_one_line(error)})"
        scale = np.abs(self.given_run.outputs).max(initial=1.0)
        if not np.abs(made.outputs.real - self.run(self.params.flat, DOUBLE).outputs).max() <= 1e-9 * scale:
            return "forward gives other values when its numbers are complex; does it call abs, or compare?"
        return self._find_lost()

    def _find_lost(self) -> str:
        """Where a function drops imaginary parts without a word: a derivative along a random direction shows it."""
        direction = np.random.default_rng(0).standard_normal(self.params.size)

        def moved(by: np.ndarray) -> np.ndarray:
            run = self.run(self.params.flat + by[0] * direction, COMPLEX if by.dtype == COMPLEX else DOUBLE)
            return np.concatenate([run.states, run.outputs], axis=1).ravel()

        at, scale = np.zeros(1), max(np.abs(self.params.flat).max(), 1e-3) / np.abs(direction).max()
        expected, estimate = differences(moved, at, np.array([scale]), DOUBLE)
        apart = np.abs(complex_step(moved, at) - expected)
        wrong = apart > 10 * estimate + 1e-7 * np.abs(expected).max()
        if not wrong.any():
            return ""
        t = int(np.argmax(wrong)) // (self.state.size + self.y.size)
        return f"at xs[{t}] it differs from central differences; does forward call {LOSES}?"

    def _wide(self) -> Any:
        """Within it, JAX computes in float64."""
        if not self._is_jax or sys.modules["jax"].config.jax_enable_x64:
            return contextlib.nullcontext()
        jax = sys.modules["jax"]
        return jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64()

    def _inputs_in(self, dtype: np.dtype) -> list[Any]:
        """The inputs in a precision. PyTorch multiplies no matrices of unlike types; all others mix them."""
        if dtype not in self._inputs:

            def cast(leaf: Any) -> Any:
                library = library_of(leaf)
                if not hasattr(leaf, "dtype") or as_numpy(leaf).dtype.kind != "f":
                    return leaf
                return as_given(
                    leaf, as_numpy(leaf).astype(DOUBLE if dtype == COMPLEX and library != "torch" else dtype)
                )

            self._inputs[dtype] = [map_tree(cast, self.xs[t]) for t in range(self.steps)]
        return self._inputs[dtype]

    def run(self, params: np.ndarray, dtype: np.dtype, resets: frozenset[int] | None = None) -> Pass:
        """All steps, with other parameters than those given, as a flat array; `resets` instead of those given."""
        with self._wide() if dtype != SINGLE else contextlib.nullcontext():
            state = self.state.build(self.state.flat, dtype)
            return self._run(self.params.build(params, dtype), state, self._inputs_in(dtype), resets)

    def step(self, params: np.ndarray, state: np.ndarray, t: int, dtype: np.dtype) -> np.ndarray:
        """One step with the input of index t: the next state and y, in one flat array."""
        with self._wide() if dtype != SINGLE else contextlib.nullcontext():
            built = self.params.build(params, dtype), self.state.build(state, dtype)
            after = self._flat(self._forward(*built, self._inputs_in(dtype)[t]), t)
        return np.concatenate(after[:2])


def _copied(tree: Any) -> Any:
    """With copies of all arrays, and other values as they are."""
    return map_tree(lambda leaf: as_given(leaf, as_numpy(leaf)) if hasattr(leaf, "dtype") else leaf, tree)


def _count(xs: Any) -> int:
    try:
        steps = len(xs)
    except TypeError:
        raise TypeError(f"xs is {_kind(xs)}: expected an array or a list of inputs, one for each step") from None
    if hasattr(xs, "iloc"):
        raise TypeError(f"xs is {_kind(xs)}: expected an array of its rows; xs.to_numpy() makes one")
    if isinstance(xs, dict) or steps < 1:
        raise ValueError(f"xs is {_kind(xs)} of length {steps}: expected an array or a list of at least one input")
    return steps


def _resets(resets: Any, steps: int) -> frozenset[int]:
    if resets is None:
        return frozenset()
    if not isinstance(resets, Iterable) or isinstance(resets, str):
        raise TypeError(f"resets is {_kind(resets)}: expected a list of steps before which the state is set back")
    return frozenset(
        check_count(f"resets[{k}]", t, low=0, high=steps - 1, hint="a step's index in xs") for k, t in enumerate(resets)
    )


def _kind(value: Any) -> str:
    return f"a value of type {type(value).__name__}"


def _one_line(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}".partition("\n")[0]
    return text if len(text) <= 100 else text[:97] + "..."
