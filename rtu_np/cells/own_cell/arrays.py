"""Arrays that note what is done to them: a user's step is called once with these, and makes a graph.

An operation of NumPy on a `Traced` array makes a `Node`, and no number. So a step is plain Python: helper functions,
loops over sizes and branches on settings are gone in the graph, and what is left are operations on vectors.
"""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from rtu_np.cells.own_cell.graph import Graph, Length, Node, fixed
from rtu_np.cells.own_cell.rules import RULES


class Traced(NDArrayOperatorsMixin):
    """An array of a step that is being traced: it has a shape, and no numbers."""

    __array_priority__ = 1000.0
    is_argument = False

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node = graph, node

    def _like(self, node: Node) -> "Traced":
        return Traced(self.graph, node)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(length.number for length in self.node.shape)

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: int(np.prod(self.shape)))
    dtype = property(lambda self: np.dtype("float64"))

    @property
    def T(self) -> "Traced":  # noqa: N802
        node = self.node
        if len(node.shape) < 2:
            return self
        if node.op == "transpose":
            return self._like(node.args[0])
        return self._like(self.graph.node("transpose", (node,), node.shape[::-1]))

    def sum(self) -> "Traced":
        return self._like(self.graph.sum(self.node))

    def mean(self) -> "Traced":
        graph, node = self.graph, self.node
        total = graph.sum(node)
        return self._like(graph.elementwise("divide", total, graph.number(node.shape[0])) if node.shape else total)

    def dot(self, other: Any) -> "Traced":
        return self @ other

    def copy(self) -> "Traced":
        return self._like(self.node)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what NumPy looks for
            raise AttributeError(name)
        self.graph.refuse(f"uses .{name} of an array, which is not known here: expected x @ W, np.exp and the like")

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of one number")
        return self.shape[0]

    def __iter__(self) -> Iterator["Traced"]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key: Any) -> "Traced":
        node = self.node
        if key is Ellipsis or key == slice(None):
            return self
        if len(node.shape) == 2 and isinstance(key, tuple) and len(key) == 2:
            return self[key[0]][key[1]]
        if not node.shape:
            self.graph.refuse(f"reads [{key}] of one number")
        if isinstance(key, int | np.integer) and not isinstance(key, bool):
            if not -len(self) <= key < len(self):
                raise IndexError(f"step {self.graph.name} reads index {key} of an array of length {len(self)}")
            k = fixed(int(key) % len(self))
            if len(node.shape) == 2:
                if node.op != "leaf":
                    self.graph.refuse("reads a row of a matrix that is not a parameter itself")
                return self._like(self.graph.node("row", (node,), node.shape[1:], k.number))
            return self._like(self.graph.part(node, k, None))
        if not isinstance(key, slice) or key.step not in (None, 1) or len(node.shape) != 1:
            self.graph.refuse(f"reads [{key}]: expected a whole number, or a slice of a vector without a step")
        start, stop, _ = key.indices(len(self))
        return self._like(self.graph.part(node, fixed(start), _rest(node.shape[0], start, stop)))

    def __setitem__(self, key: Any, value: Any) -> None:
        self.graph.refuse("writes into an array: expected an output, or an array that np.zeros_like has made")

    def _no_number(self, *_: Any) -> NoReturn:
        self.graph.refuse(
            "needs the value of an array while it is differentiated, by if, while, float(), max() or a function of "
            "math: expected np.where, np.maximum and functions of NumPy"
        )

    __bool__ = __float__ = __int__ = __index__ = __complex__ = __round__ = _no_number

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        self.graph.refuse("writes an array into one that np.zeros or np.empty has made: expected np.zeros_like(state)")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> "Traced":
        graph, out = self.graph, settings.pop("out", (None,))[0]
        name = "divide" if ufunc is np.true_divide else ufunc.__name__
        if method == "reduce" and name == "add" and settings.get("axis") in (None, 0, -1):
            return self.sum()
        known = ufunc is np.matmul or name in RULES or name == "float_power"
        if method != "__call__" or settings or not known:
            how = ("" if method == "__call__" else f".{method}") + "".join(f" with {each}" for each in settings)
            names = ", ".join(sorted({*RULES} - {"sigmoid"}))
            graph.refuse(
                f"calls numpy.{ufunc.__name__}{how}, whose derivative is not known: expected one of {names}, or x @ W"
            )
        args = [graph.as_node(each) for each in inputs]
        node = graph.product(*args) if ufunc is np.matmul else graph.elementwise(name.removeprefix("float_"), *args)
        if out is None or not out.shape:  # a number is not changed, but a name gets another one
            return self._like(node)
        if out.is_argument:
            graph.refuse("changes its argument in place: write h = h + ... and not h += ...")
        if isinstance(out, Buffer):
            out[...] = self._like(node)
        else:
            out.node = node
        return out

    def __array_function__(self, function: Any, kinds: Any, args: tuple, settings: dict) -> Any:
        make = _FUNCTIONS.get(function)
        if make is None:
            self.graph.refuse(f"calls {function.__module__}.{function.__name__}, whose derivative is not known")
        try:
            return make(self.graph, *args, **settings)
        except TypeError as error:
            if "argument" in str(error) and self.graph.name not in str(error):
                self.graph.refuse(f"calls numpy.{function.__name__} with settings that are not known here ({error})")
            raise


def _rest(whole: Length, start: int, stop: int) -> Length:
    if stop == whole.number:
        return Length(stop - start, f"({whole.text} - {start})" if start else whole.text)
    return fixed(max(stop - start, 0))


class Buffer(Traced):
    """An array that a step writes: one of its outputs, or what np.zeros_like makes."""

    def __init__(self, graph: Graph, name: str, length: Length, filled: bool = False) -> None:
        self.graph, self.name, self.length = graph, name, length
        self._pieces: list[tuple[int, int, Node]] = [(0, length.number, graph.number(0.0))] if filled else []

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length.number,)

    @property
    def node(self) -> Node:  # type: ignore[override]
        """All that has been written."""
        end, parts = 0, []
        for start, stop, node in sorted(self._pieces, key=lambda piece: piece[0]):
            if start != end:
                break
            end = stop
            parts.append(node if node.shape or stop - start == 1 else self._wide(node, stop - start))
        if end != self.length.number:
            raise ValueError(f"step {self.graph.name} leaves {self.name}[{end}] unwritten: expected all its numbers")
        return self.graph.concatenate(parts)

    def _wide(self, node: Node, n: int) -> Node:
        """One number in each place of a vector."""
        length = self.length if n == self.length.number else fixed(n)
        return self.graph.node("positive", (node,), (length,))

    def __getitem__(self, key: Any) -> Traced:
        if isinstance(key, int | np.integer):
            for start, stop, node in self._pieces:
                if start <= key < stop:
                    return self._like(self.graph.part(node, fixed(int(key) - start), None) if node.shape else node)
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, int | np.integer):
            key = slice(int(key) % len(self), int(key) % len(self) + 1)
        if key is Ellipsis:
            key = slice(None)
        if not isinstance(key, slice) or key.step not in (None, 1):
            self.graph.refuse(f"writes {self.name}[{key}]: expected a whole number, or a slice without a step")
        start, stop, _ = key.indices(len(self))
        node = self.graph.as_node(value)
        if len(node.shape) > 1 or (node.shape and node.shape[0].number not in (1, stop - start)):
            shape = tuple(length.number for length in node.shape)
            raise ValueError(
                f"step {self.graph.name} writes an array of shape {shape} into {self.name}[{start}:{stop}]: expected "
                f"({stop - start},)"
            )
        if node.shape and node.shape[0].number == 1 < stop - start:
            node = self.graph.part(node, fixed(0), None)
        pieces = []
        for a, b, old in self._pieces:
            for low, high in ((a, min(b, start)), (max(a, stop), b)):
                if low < high:
                    cut = old if not old.shape else self.graph.part(old, fixed(low - a), fixed(high - low))
                    pieces.append((low, high, cut))
        self._pieces = [*pieces, (start, stop, node)]


def _where(graph: Graph, condition: Any, a: Any, b: Any) -> Traced:
    nodes = [graph.as_node(each) for each in (condition, a, b)]
    if not nodes[0].is_condition:
        graph.refuse("calls np.where with a condition that is not a comparison: expected np.where(a > b, ..., ...)")
    return Traced(graph, graph.elementwise("where", *nodes))


def _clip(graph: Graph, a: Any, a_min: Any = None, a_max: Any = None) -> Any:
    a = a if a_min is None else np.maximum(a, a_min)
    return a if a_max is None else np.minimum(a, a_max)


def _split(graph: Graph, a: Any, sections: Any, axis: int = 0) -> list[Traced]:
    whole = a.node.shape[0]
    if not isinstance(sections, int) or whole.number % sections:
        graph.refuse(f"calls numpy.split of length {whole.number} with {sections!r}: expected a number of equal parts")
    length = Length(whole.number // sections, f"({whole.text}) // {sections}")
    starts = [Length(k * length.number, f"{k} * ({length.text})" if k else "0") for k in range(sections)]
    return [Traced(graph, graph.part(a.node, start, length)) for start in starts]


def _joined(graph: Graph, parts: Any, axis: int = 0) -> Traced:
    return Traced(graph, graph.concatenate([graph.as_node(part) for part in parts]))


def _filled(value: float) -> Callable[..., Traced]:
    def make(graph: Graph, a: Any) -> Traced:
        buffer = Buffer(graph, "an array", a.node.shape[0], filled=True)
        buffer[...] = value
        return buffer

    return make


_FUNCTIONS: dict[Any, Callable] = {
    np.where: _where,
    np.clip: _clip,
    np.split: _split,
    np.concatenate: _joined,
    np.hstack: _joined,
    np.sum: lambda graph, a: a.sum(),
    np.mean: lambda graph, a: a.mean(),
    np.dot: lambda graph, a, b: Traced(graph, graph.product(graph.as_node(a), graph.as_node(b))),
    np.transpose: lambda graph, a: a.T,
    np.copy: lambda graph, a: a.copy(),
    np.zeros_like: _filled(0.0),
    np.ones_like: _filled(1.0),
    np.empty_like: _filled(0.0),
    np.ndim: lambda graph, a: a.ndim,
    np.shape: lambda graph, a: a.shape,
    np.size: lambda graph, a: a.size,
}
