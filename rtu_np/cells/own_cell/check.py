"""A user's step as it is, in plain NumPy: whether it is a pure function, its kinks, and what its units see.

The gradient check differentiates this step by complex step, and no line of it is generated. Functions that would lose
the imaginary part, or compare by it, are replaced: |z| is z or -z, and comparisons are those of the real parts.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from rtu_np.cells.own_cell.graph import Graph, Node

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
        if out and out[0].ndim:  # a number is not changed, but a name gets another one
            out[0].view(np.ndarray)[...] = result
            return out[0]
        return np.asarray(result).view(Watched)

    def __array_function__(self, function: Any, kinds: Any, args: Any, settings: Any) -> Any:
        result = super().__array_function__(function, kinds, args, settings)
        return result.view(Watched) if isinstance(result, np.ndarray) else result

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(super().__getitem__(key)).view(Watched)


def run(cell: Any, arguments: tuple[dict, dict, Any], watches: bool = True, kinks: list | None = None) -> tuple:
    """(arrays of the next state by name, y) of one step in NumPy; the numbers may be complex.

    arguments : parameters and state by name, and the input
    watches : whether the step may have kinks
    kinks : gets the distances from kinks, if it is given
    """
    params, state, x = arguments
    _distances.clear()
    dtype = np.result_type(x, *params.values(), *state.values(), np.float64)

    def watched(value: Any) -> np.ndarray:
        array = np.array(value, dtype)  # all of one type, so that any can be added to another in place
        return array.view(Watched) if watches else array

    given, before = (Named((name, watched(value)) for name, value in group.items()) for group in (params, state))
    after, y = call(cell, given, before, watched(x), lambda name, n: watched(np.zeros(n)))
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
        after = Named((each, buffer(f"state {each!r}", cell.n_hidden)) for each in names)
        y = buffer("y", cell.width)
        cell.step(params, before, x, after if len(names) > 1 else after[names[0]], y)
        return after, y
    returned = cell.step(params, before, x)
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise TypeError(f"step {name} returns {type(returned).__name__}: expected a pair (state, y)")
    after, y = returned
    if len(names) == 1:
        return Named({names[0]: after}), y
    by_name = dict(zip(names, after, strict=False)) if isinstance(after, tuple | list) else after
    if not isinstance(by_name, dict) or by_name.keys() != set(names) or len(after) != len(names):
        found = ", ".join(map(repr, after)) if isinstance(after, dict) else type(after).__name__
        raise ValueError(f"step {name} returns the state {found}: expected {', '.join(map(repr, names))}")
    return Named(by_name), y


def check_pure(cell: Any, params: dict[str, np.ndarray], n_inputs: int) -> None:
    """ValueError if two calls with the same arguments differ, or if one changes them."""
    rng = np.random.default_rng(0)
    state = {name: rng.standard_normal(cell.n_hidden) for name in cell.state}
    x = rng.standard_normal(n_inputs)
    with np.errstate(all="ignore"):
        one, other = run(cell, (params, state, x)), run(cell, (params, state, x))
    for name, a, b in [*((f"state {n!r}", one[0][n], other[0][n]) for n in cell.state), ("y", one[1], other[1])]:
        if a.shape != b.shape or not np.array_equal(a, b, equal_nan=True):
            raise ValueError(
                f"step {cell.name} is not a pure function: two calls with the same arguments give another value of "
                f"{name}; does it draw random numbers, or keep a state of its own?"
            )


# ---------------------------------------------------------------------------------------------------- unit by unit

_OWN, _OTHERS = -1, -2  # the number at place i depends on what belongs to unit i mod n, or to other units, too


def seen(nodes: list[Node], n: int) -> dict[Node, dict[str, int]]:
    """What each node depends on: {argument: _OWN, _OTHERS, or the unit that a single number belongs to}."""
    found: dict[Node, dict[str, int]] = {}
    for node in nodes:
        whole = bool(node.shape) and node.shape[-1].number % n == 0
        deps: dict[str, int] = {}
        start = 0
        for k, arg in enumerate(node.args):
            for name, how in found[arg].items():
                how = _carried(node, k, how, n, start % n)
                deps[name] = how if deps.get(name, how) == how else _OTHERS
            start += arg.shape[0].number if arg.shape else 1
        if node.op == "leaf" and node.value != "x_t":
            deps[node.value] = _OWN if whole else _OTHERS
        found[node] = deps
    return found


def _carried(node: Node, k: int, how: int, n: int, unit: int) -> int:
    """What becomes of a dependence of the k-th argument, which begins at a place of `unit` if arguments are joined."""
    arg, whole = node.args[k], bool(node.shape) and node.shape[-1].number % n == 0
    if node.is_elementwise:
        kept = bool(arg.shape) == bool(node.shape)
    elif node.op == "slice" and not node.shape:
        return node.value.number % n if how == _OWN else _OTHERS
    elif node.op == "slice":
        kept = whole and node.value.number % n == 0
    else:
        kept = node.op == "row" or (node.op == "product" and k == 1 and whole and not node.value)
        if node.op == "concatenate":
            if not arg.shape:
                return _OWN if how == unit else _OTHERS
            kept = unit == 0
    return how if kept else _OTHERS


def check_elementwise(cell: Any, graph: Graph, states: tuple[Node, ...], params: dict, n_inputs: int) -> None:
    """ValueError if the next state of a unit depends on another unit's state or parameters, with an entry."""
    deps, n = seen(list(graph.nodes.values()), cell.n_hidden), cell.n_hidden
    mixed = sorted({name for node in states for name, how in deps[node].items() if how == _OTHERS})
    if not mixed:
        return
    first = min(mixed, key=lambda each: (not each.startswith("state"), each))
    group, _, name = first.partition(".")
    shown = f"params[{name!r}]" if group == "params" else (name if len(cell.state) > 1 else "state")
    found = _entry(cell, params, n_inputs, group, name)
    what = f"a unit depends on {shown} of another unit"
    if found:
        unit, index, slope = found
        what = f"unit {unit} depends on {shown}{list(index) or ''}, with the derivative {slope:.3g}"
    raise ValueError(
        f"elementwise is True, and in step {cell.name} the next state of {what}: expected units that see their own "
        f"state and the last axis ({n}, or a multiple of it) of their own parameters; or elementwise=False"
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
            both = {**at, group: {**at[group], name: moved}}
            after, _ = run(cell, (both["params"], both["state_tm1"], x))
        for values in after.values():
            slopes = values.imag / _COMPLEX_STEP
            others = [i for i in range(n) if slopes[i] != 0 and not (index and i == index[-1] % n)]
            if others:
                return others[0], index, float(slopes[others[0]])
    return None
