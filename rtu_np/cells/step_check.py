"""A user's step as it is, in plain NumPy: whether it is a pure function, its kinks, and what its units see.

The gradient check differentiates this step by complex step, and no line of it is generated. Functions that would lose
the imaginary part, or compare by it, are replaced: |z| is z or -z, and comparisons are those of the real parts.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from rtu_np.cells.step_graph import Graph, Node

_COMPLEX_STEP = 1e-30


class Named(dict):
    """The arrays that a step gets, by name: params["W"] and params.W."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


# ---------------------------------------------------------------------------------------------------- plain arrays


def _absolute(z: np.ndarray) -> np.ndarray:
    return np.where(z.real < 0, -z, z)


_ANALYTIC: dict[Any, Callable] = {
    np.absolute: _absolute,
    np.sign: lambda z: np.sign(z.real),
    np.maximum: lambda a, b: np.where(a.real < b.real, b, a),
    np.minimum: lambda a, b: np.where(b.real < a.real, b, a),
    np.less: lambda a, b: a.real < b.real,
    np.less_equal: lambda a, b: a.real <= b.real,
    np.greater: lambda a, b: a.real > b.real,
    np.greater_equal: lambda a, b: a.real >= b.real,
    np.logaddexp: lambda a, b: np.where(a.real < b.real, b, a) + np.log1p(np.exp(-_absolute(a - b))),
}
_distances: list[np.ndarray] = []  # from kinks, in the present call


class Watched(np.ndarray):
    """An array whose derivatives are those of its real part, and which notes how far it is from kinks."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **settings: Any) -> Any:
        plain = [each.view(np.ndarray) if isinstance(each, Watched) else each for each in inputs]
        analytic = _ANALYTIC.get(ufunc) if method == "__call__" else None
        if analytic is None:
            result = getattr(ufunc, method)(*plain, **settings)
        else:
            arrays = [np.asarray(each) for each in plain]
            if ufunc is not np.logaddexp:
                _distances.append(np.ravel(arrays[0].real - (arrays[1].real if len(arrays) == 2 else 0)))
            result = analytic(*arrays)
        if out:
            out[0].view(np.ndarray)[...] = result
            return out[0]
        return np.asarray(result).view(Watched)

    def __array_function__(self, function: Any, kinds: Any, args: Any, settings: Any) -> Any:
        result = super().__array_function__(function, kinds, args, settings)
        return result.view(Watched) if isinstance(result, np.ndarray) else result

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(super().__getitem__(key)).view(Watched)


def run(cell: Any, params: dict[str, Any], state: dict[str, Any], x: Any, kinks: list | None = None) -> tuple:
    """(arrays of the next state by name, y) of one step in NumPy; the numbers may be complex.

    kinks : gets the distances from kinks, if it is given
    """
    _distances.clear()
    given = [
        Named((name, np.array(value).view(Watched)) for name, value in group.items()) for group in (params, state)
    ]
    dtype = np.result_type(x, *params.values(), *state.values(), np.float64)
    after, y = call(cell, *given, np.array(x).view(Watched), lambda name, n: np.zeros(n, dtype).view(Watched))
    if kinks is not None:
        kinks += _distances
    return {name: np.asarray(value) for name, value in after.items()}, np.asarray(y)


def call(cell: Any, params: Named, state: Named, x: Any, buffer: Callable[[str, int], Any]) -> tuple[Named, Any]:
    """(the next state by name, y) of the user's step, in either of its forms.

    buffer(name, length) makes an array for a step to write
    """
    name, names = cell.name, cell.state
    before = state if len(names) > 1 else state[names[0]]
    if cell.in_place:
        after = Named((each, buffer(f"the next state {each!r}", cell.n_hidden)) for each in names)
        y = buffer("y", cell.width)
        cell.step(params, before, x, after if len(names) > 1 else after[names[0]], y)
        return after, y
    returned = cell.step(params, before, x)
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise TypeError(f"step {name} returns {type(returned).__name__}: expected a pair (state, y)")
    after, y = returned
    if len(names) == 1:
        return Named({names[0]: after}), y
    if isinstance(after, tuple | list) and len(after) == len(names):
        after = dict(zip(names, after, strict=True))
    if not isinstance(after, dict) or after.keys() != set(names):
        found = ", ".join(map(repr, after)) if isinstance(after, dict) else type(after).__name__
        raise ValueError(f"step {name} returns the state {found}: expected {', '.join(map(repr, names))}")
    return Named(after), y


def check_pure(cell: Any, params: dict[str, np.ndarray], n_inputs: int) -> None:
    """ValueError if two calls with the same arguments differ, or if one changes them."""
    rng = np.random.default_rng(0)
    state = {name: rng.standard_normal(cell.n_hidden) for name in cell.state}
    x = rng.standard_normal(n_inputs)
    with np.errstate(all="ignore"):
        one, other = run(cell, params, state, x), run(cell, params, state, x)
    for name, a, b in [*((f"the next state {n!r}", one[0][n], other[0][n]) for n in cell.state), ("y", one[1], other[1])]:
        if a.shape != b.shape or not np.array_equal(a, b, equal_nan=True):
            raise ValueError(
                f"step {cell.name} is not a pure function: two calls with the same arguments give another {name}; does "
                "it draw random numbers, or keep a state of its own?"
            )


# ---------------------------------------------------------------------------------------------------- unit by unit

_OWN, _OTHERS = 0, 1  # a number depends on what belongs to its own unit, or to other units, too


def seen(nodes: list[Node], n: int) -> dict[Node, dict[str, int]]:
    """What each node depends on: {argument: _OWN or _OTHERS}. A number at place i of a vector is one of unit i mod n."""
    found: dict[Node, dict[str, int]] = {}
    for node in nodes:
        whole = bool(node.shape) and node.shape[-1].number % n == 0
        deps: dict[str, int] = {}
        for arg in node.args:
            kept = node.is_elementwise and bool(arg.shape)
            kept |= node.op == "slice" and whole and node.value.number % n == 0
            kept |= node.op == "row" or (node.op == "product" and arg is node.args[1] and whole and not node.value)
            kept |= node.op == "concatenate" and all(bool(a.shape) and a.shape[0].number % n == 0 for a in node.args)
            for name, how in found[arg].items():
                deps[name] = max(deps.get(name, _OWN), how if kept else _OTHERS)
        if node.op == "leaf" and not node.value.startswith("x_t"):
            deps[node.value] = _OWN if whole else _OTHERS
        found[node] = deps
    return found


def check_elementwise(cell: Any, graph: Graph, states: list[Node], params: dict[str, np.ndarray], n_inputs: int) -> None:
    """ValueError if the next state of a unit depends on another unit's state or parameters, with an entry."""
    deps, n = seen(list(graph.nodes.values()), cell.n_hidden), cell.n_hidden
    mixed = sorted({name for node in states for name, how in deps[node].items() if how == _OTHERS})
    if not mixed:
        return
    first = min(mixed, key=lambda each: (not each.startswith("state"), each))
    group, _, name = first.partition(".")
    shown = f"params[{name!r}]" if group == "params" else (name if len(cell.state) > 1 else "the state")
    found = _entry(cell, params, n_inputs, group, name)
    what = (
        f"the next state of unit {found[0]} depends on {shown}{list(found[1])}, with the derivative {found[2]:.3g}"
        if found
        else f"the next state of a unit depends on {shown} of other units"
    )
    raise ValueError(
        f"elementwise is True, and in step {cell.name} {what}: expected units that see their own state and the last axis "
        f"({n}, or a multiple of it) of their own parameters; or elementwise=False"
    )


def _entry(cell: Any, params: dict, n_inputs: int, group: str, name: str) -> tuple[int, tuple[int, ...], float] | None:
    """(unit, index, derivative) of a dependence on another unit, by complex step; None if none is seen."""
    rng, n = np.random.default_rng(0), cell.n_hidden
    at = {
        "params": {key: rng.standard_normal(np.shape(value)) for key, value in params.items()},
        "state_tm1": {key: rng.standard_normal(n) for key in cell.state},
    }
    x = rng.standard_normal(n_inputs)
    array = at[group][name]
    for index in np.ndindex(array.shape):
        moved = array.astype(complex)
        moved[index] += 1j * _COMPLEX_STEP
        with np.errstate(all="ignore"):
            after, _ = run(cell, **_moved(at, group, name, moved), x=x)
        for values in after.values():
            slopes = values.imag / _COMPLEX_STEP
            others = [i for i in range(n) if slopes[i] != 0 and not (index and i == index[-1] % n)]
            if others:
                return others[0], index, float(slopes[others[0]])
    return None


def _moved(at: dict, group: str, name: str, moved: np.ndarray) -> dict:
    both = {**at, group: {**at[group], name: moved}}
    return {"params": both["params"], "state": both["state_tm1"]}
