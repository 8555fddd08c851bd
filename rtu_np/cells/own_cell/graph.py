"""What a step computes, as a graph of operations on vectors.

Lengths have a text as well as a number (`Length`), by which generated code works for all sizes.
"""

from typing import Any, NamedTuple, NoReturn

import numpy as np

from rtu_np.cells.own_cell.rules import RULES, WITHOUT_SLOPE

_LARGEST_POWER = 100  # of whole powers
_MOST = 4000  # nodes; a loop over units in Python makes many, and compiling takes seconds per thousand


class Length(NamedTuple):
    """A number, and the expression of compiled code that gives it at all sizes."""

    number: int
    text: str


def fixed(number: int) -> Length:
    return Length(number, str(number))


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
        if hasattr(value, "node"):  # an array that is traced
            return value.node
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            self.refuse(f"computes with a {type(value).__name__}: expected numbers and real arrays")
        if array.ndim == 0:
            return self.number(float(array))
        same = [k for k, each in enumerate(self.constants) if np.array_equal(each, array)]
        if not same:
            self.constants.append(array.astype(np.float64))
        return self.node("constant", (), tuple(map(fixed, array.shape)), same[0] if same else len(self.constants) - 1)

    # ------------------------------------------------------------------------------------------------ operations

    def elementwise(self, op: str, *args: Node) -> Node:
        if op == "power":
            return self._power(*args)
        if op in ("divide", "reciprocal") and (gate := self._sigmoid(args[-1])):
            is_gate = op == "reciprocal" or (args[0].op, args[0].value) == ("number", 1.0)
            return gate if is_gate else self.elementwise("multiply", args[0], gate)
        return self._apply(op, *args)

    def _apply(self, op: str, *args: Node) -> Node:
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

    def _sigmoid(self, under: Node) -> Node | None:
        """1 / (1 + e^-z) as one operation, whose slope has no infinity over infinity."""
        for one, power in (under.args, under.args[::-1]) if under.op == "add" else ():
            if (one.op, one.value) == ("number", 1.0) and power.op == "exp":
                (z,) = power.args
                return self.elementwise("sigmoid", z.args[0] if z.op == "negative" else self.elementwise("negative", z))
        return None

    def _power(self, base: Node, exponent: Node) -> Node:
        """Whole and half powers by products and roots."""
        k = exponent.value if exponent.op == "number" and not isinstance(exponent.value, Length) else None
        if k == 0.0:
            return self.node("positive", (self.number(1.0),), base.shape)
        if k is not None and k < 0:
            return self.elementwise("reciprocal", self._power(base, self.number(-k)))
        if k in (0.5, 1.0, 2.0):
            return self.elementwise({0.5: "sqrt", 1.0: "positive", 2.0: "square"}[k], base)
        if k is not None and k == k // 1 and 2 < k < _LARGEST_POWER:
            even = self.elementwise("square", self._power(base, self.number(k // 2)))
            return self.elementwise("multiply", even, base) if k % 2 else even
        return self._apply("power", base, exponent)

    def _one(self, node: Node) -> Node:
        return self.part(node, fixed(0), None)

    def part(self, node: Node, start: Length, length: Length | None) -> Node:
        """`length` numbers from `start` on, or one number. Of an operation on each number, it is that of its parts."""
        whole = node.shape[0]
        if length is not None and start.number == 0 and length.number == whole.number:
            return node
        if node.is_elementwise:
            if not any(arg.shape for arg in node.args):  # one number in all places
                return self.node(node.op, node.args, () if length is None else (length,))
            parts = (self.part(arg, start, length) if arg.shape else arg for arg in node.args)
            return self.elementwise(node.op, *parts)
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
        lengths = [part.shape[0] if part.shape else fixed(1) for part in parts]
        if any(len(part.shape) > 1 for part in parts):
            self.refuse("concatenates arrays of two dimensions: expected vectors")
        total = Length(sum(each.number for each in lengths), " + ".join(each.text for each in lengths))
        return parts[0] if len(parts) == 1 and parts[0].shape else self.node("concatenate", tuple(parts), (total,))
