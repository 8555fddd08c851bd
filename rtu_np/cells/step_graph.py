"""What a step computes, as a graph: a user's function is called once, with arrays that note what is done to them.

The arrays are `Traced`. An operation of NumPy on them makes a `Node`, and no number. So a step is plain Python: helper
functions, loops over sizes and branches on settings are gone in the graph, and what is left are operations on vectors.
Lengths have a text beside their number (`Length`), by which generated code works for all sizes.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from rtu_np.cells.step_rules import KINKS, RULES, WITHOUT_SLOPE

_MOST = 4000  # nodes; a loop over units in Python makes many, and compiling takes seconds per thousand


class Length(NamedTuple):
    """A number, and the expression of compiled code that gives it at all sizes."""

    number: int
    text: str


def _fixed(number: int) -> Length:
    return Length(int(number), str(int(number)))


class Node:
    """One operation. `op` is a rule's name, or one of

    leaf        an argument; `value` is its expression in compiled code, as "params.W"
    row         a row of a leaf of two dimensions; `value` is its number
    number      a constant; `value` is a float, or a `Length`
    constant    a constant array, the `value`-th of the graph
    slice       a part of a vector; `value` is where it begins, a `Length`. With shape (), one number of it
    product     a vector times a matrix; `value` is True if the matrix is transposed
    sum, concatenate
    """

    def __init__(self, op: str, args: tuple["Node", ...], shape: tuple[Length, ...], value: Any) -> None:
        self.op, self.args, self.shape, self.value = op, args, shape, value

    @property
    def is_elementwise(self) -> bool:
        return self.op in RULES

    @property
    def is_condition(self) -> bool:
        return self.op in WITHOUT_SLOPE and self.op != "sign"


class Graph:
    """All nodes of a step, each operation once, in an order in which they can be computed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: dict[tuple, Node] = {}
        self.constants: list[np.ndarray] = []
        self._equal: dict[str, str] = {}  # texts of lengths, each with another of the same length

    def refuse(self, what: str) -> NoReturn:
        raise TypeError(f"step {self.name} {what}")

    def node(self, op: str, args: tuple[Node, ...] = (), shape: tuple[Length, ...] = (), value: Any = None) -> Node:
        key = op, tuple(map(id, args)), value, tuple(each.text for each in shape)
        if key not in self.nodes:
            if len(self.nodes) >= _MOST:
                self.refuse(
                    f"makes more than {_MOST} operations: expected expressions of whole arrays, such as x @ "
                    'params["W"], in place of loops over units'
                )
            self.nodes[key] = Node(op, args, shape, value)
        return self.nodes[key]

    def length_of(self, text: str) -> str:
        """One text for all lengths that have to be equal."""
        while text in self._equal:
            text = self._equal[text]
        return text

    def equate(self, one: Length, other: Length) -> None:
        """Two lengths have to be equal at all sizes, or the step would fail there."""
        texts = {self.length_of(one.text), self.length_of(other.text)}
        if len(texts) == 2:
            best = min(texts, key=lambda text: (text.isdigit(), text != "spec.n_hidden", len(text), text))
            (rest,) = texts - {best}
            self._equal[rest] = best

    def number(self, value: float | Length) -> Node:
        return self.node("number", value=value)

    def as_node(self, value: Any) -> Node:
        if isinstance(value, Traced):
            return value.node
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            self.refuse(f"computes with {value!r}: expected numbers and real arrays")
        if array.ndim == 0:
            return self.number(float(array))
        same = [k for k, each in enumerate(self.constants) if np.array_equal(each, array)]
        if not same:
            self.constants.append(array.astype(np.float64))
        return self.node("constant", (), tuple(map(_fixed, array.shape)), same[0] if same else len(self.constants) - 1)

    # ------------------------------------------------------------------------------------------------ operations

    def elementwise(self, op: str, *args: Node) -> Node:
        if op == "power":
            return self._power(*args)
        if op == "divide" and (node := self._sigmoid(*args)):
            return node
        vectors = [arg for arg in args if arg.shape]
        if any(len(arg.shape) > 1 for arg in vectors):
            self.refuse(
                f"calls {op} of an array of two dimensions: expected vectors; a matrix is multiplied by: x @ params"
                '["W"], or params["W"] @ x'
            )
        longest = max((arg.shape[0].number for arg in vectors), default=0)
        args = tuple(self._one(arg) if arg.shape and arg.shape[0].number == 1 < longest else arg for arg in args)
        lengths = [arg.shape[0] for arg in args if arg.shape]
        if {length.number for length in lengths} - {longest}:
            shapes = " and ".join(f"({length.number},)" for length in lengths)
            raise ValueError(f"step {self.name} calls {op} of arrays of the shapes {shapes}: expected equal lengths")
        for length in lengths[1:]:
            self.equate(lengths[0], length)
        return self.node(op, args, tuple(lengths[:1]))

    def _sigmoid(self, over: Node, under: Node) -> Node | None:
        """1 / (1 + e^-z) as one operation, whose slope has no infinity over infinity."""
        if (over.op, over.value) != ("number", 1.0) or under.op != "add":
            return None
        for one, power in (under.args, under.args[::-1]):
            if (one.op, one.value) == ("number", 1.0) and power.op == "exp":
                (z,) = power.args
                return self.elementwise("sigmoid", *(z.args if z.op == "negative" else [self.elementwise("negative", z)]))
        return None

    def _power(self, base: Node, exponent: Node) -> Node:
        k = exponent.value if exponent.op == "number" and not isinstance(exponent.value, Length) else None
        if k is None:
            return self.elementwise("exp", self.elementwise("multiply", exponent, self.elementwise("log", base)))
        if k in (0.5, -1.0, 2.0):
            return self.elementwise({0.5: "sqrt", -1.0: "reciprocal", 2.0: "square"}[k], base)
        if k == int(k) and 1 <= k <= 8:
            half = self._power(base, self.number(k // 2)) if k > 1 else base
            even = self.elementwise("square", half) if k > 1 else base
            return self.elementwise("multiply", even, base) if k % 2 and k > 1 else even
        scaled = self.elementwise("multiply", exponent, self.elementwise("log", base))
        return self.elementwise("exp", scaled)

    def _one(self, node: Node) -> Node:
        return self.part(node, _fixed(0), None)

    def part(self, node: Node, start: Length, length: Length | None) -> Node:
        """`length` numbers from `start` on, or one number. Of an operation on each number, it is that of its parts."""
        whole = node.shape[0]
        if length is not None and start.number == 0 and length.number == whole.number:
            return node
        if node.is_elementwise:
            if not any(arg.shape for arg in node.args):  # one number in all places
                return self.node(node.op, node.args, () if length is None else (length,))
            return self.elementwise(node.op, *(self.part(arg, start, length) if arg.shape else arg for arg in node.args))
        if node.op == "slice":
            begin = Length(start.number + node.value.number, f"{start.text} + {node.value.text}")
            return self.node("slice", node.args, () if length is None else (length,), begin)
        return self.node("slice", (node,), () if length is None else (length,), start)

    def product(self, left: Node, right: Node) -> Node:
        ranks = len(left.shape), len(right.shape)
        if ranks == (1, 1):
            return self.sum(self.elementwise("multiply", left, right))
        if ranks not in ((1, 2), (2, 1)):
            self.refuse(f"multiplies arrays of {ranks[0]} and {ranks[1]} dimensions: expected a vector and a matrix")
        vector, matrix = (left, right) if ranks == (1, 2) else (right, left)
        transposed = (ranks == (2, 1)) != (matrix.op == "transpose")
        matrix = matrix.args[0] if matrix.op == "transpose" else matrix
        inner, outer = matrix.shape[::-1] if transposed else matrix.shape
        if vector.shape[0].number != inner.number:
            shapes = [tuple(length.number for length in each.shape) for each in (left, right)]
            raise ValueError(f"step {self.name} multiplies arrays of the shapes {shapes[0]} and {shapes[1]}")
        self.equate(vector.shape[0], inner)
        return self.node("product", (vector, matrix), (outer,), transposed)

    def sum(self, node: Node) -> Node:
        if len(node.shape) > 1:
            self.refuse("sums an array of two dimensions: expected a vector")
        return self.node("sum", (node,)) if node.shape else node

    def concatenate(self, parts: list[Node]) -> Node:
        lengths = [part.shape[0] if part.shape else _fixed(1) for part in parts]
        if any(len(part.shape) > 1 for part in parts):
            self.refuse("concatenates arrays of two dimensions: expected vectors")
        total = Length(sum(each.number for each in lengths), " + ".join(each.text for each in lengths))
        return parts[0] if len(parts) == 1 and parts[0].shape else self.node("concatenate", tuple(parts), (total,))


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
            k = _fixed(key % len(self))
            if len(node.shape) == 2:
                if node.op != "leaf":
                    self.graph.refuse("reads a row of a matrix that is not a parameter itself")
                return self._like(self.graph.node("row", (node,), node.shape[1:], k.number))
            return self._like(self.graph.part(node, k, None))
        if not isinstance(key, slice) or key.step not in (None, 1) or len(node.shape) != 1:
            self.graph.refuse(f"reads [{key}]: expected a whole number, or a slice of a vector without a step")
        start, stop, _ = key.indices(len(self))
        return self._like(self.graph.part(node, _fixed(start), _rest(node.shape[0], start, stop)))

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
        known = ufunc is np.matmul or name in RULES or name in ("power", "float_power")
        if method != "__call__" or settings or not known:
            how = "" if method == "__call__" else f".{method}"
            graph.refuse(
                f"calls numpy.{ufunc.__name__}{how}{' with ' + next(iter(settings)) if settings else ''}, whose derivative "
                f"is not known: expected one of {', '.join(sorted({*RULES} - {'sigmoid'}))}, or x @ W"
            )
        args = [graph.as_node(each) for each in inputs]
        node = graph.product(*args) if ufunc is np.matmul else graph.elementwise(name.removeprefix("float_"), *args)
        if out is None:
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
            self.graph.refuse(f"calls numpy.{function.__name__}, whose derivative is not known")
        try:
            return make(self.graph, *args, **settings)
        except TypeError as error:
            if "argument" in str(error) and self.graph.name not in str(error):
                self.graph.refuse(f"calls numpy.{function.__name__} with settings that are not known here ({error})")
            raise


def _rest(whole: Length, start: int, stop: int) -> Length:
    if stop == whole.number:
        return Length(stop - start, f"({whole.text} - {start})" if start else whole.text)
    return _fixed(max(stop - start, 0))


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
        length = self.length if n == self.length.number else _fixed(n)
        return self.graph.node("positive", (node,), (length,))

    def __getitem__(self, key: Any) -> Traced:
        if isinstance(key, int | np.integer):
            for start, stop, node in self._pieces:
                if start <= key < stop:
                    return self._like(self.graph.part(node, _fixed(key - start), None) if node.shape else node)
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
            node = self.graph.part(node, _fixed(0), None)
        pieces = []
        for a, b, old in self._pieces:
            for low, high in ((a, min(b, start)), (max(a, stop), b)):
                if low < high:
                    cut = old if not old.shape else self.graph.part(old, _fixed(low - a), _fixed(high - low))
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


def has_kink(nodes: list[Node]) -> bool:
    return any(node.op in KINKS for node in nodes)
