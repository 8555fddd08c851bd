"""The lines of a loop over dual numbers (`rules`): values, and tangents by what the loop reads."""

import re
from typing import NamedTuple, Protocol

from rtu_np.cells.own_cell.graph import Node
from rtu_np.cells.own_cell.rules import RULES, Taken

_NUMBERS = {"1": "one", "-1": "-one"}  # an integer would lift float32 arithmetic to float64


class Place(NamedTuple):
    """What a loop reads: an array, and where."""

    array: str  # an expression of compiled code
    start: str
    is_one: bool  # one number, the same in all turns

    def at(self, i: str) -> str:
        if self.is_one:
            return f"{self.array}[{self.start}]"
        return f"{self.array}[{i}]" if self.start == "0" else f"{self.array}[{self.start} + {i}]"


class Names(Protocol):
    """What a loop needs to know of the step that it is a part of."""

    def place(self, node: Node) -> Place:
        """Where compiled code reads a node that is no part of the loop."""

    def number(self, node: Node) -> str:
        """The name of a constant."""

    def is_active(self, node: Node) -> bool:
        """Whether it depends on anything that is differentiated."""

    def new_name(self) -> str:
        """A name that no other line has."""


class Duals:
    """The lines of a loop: values, and tangents by each input of the loop."""

    def __init__(self, writer: Names) -> None:
        self.writer = writer
        self.values: dict[Node, str] = {}
        self.tangents: dict[Node, dict[Node, str]] = {}
        self.lines: list[str] = []
        self._names: dict[str, str] = {}

    def _name(self, text: str) -> str:
        """A name of an expression, which is computed once."""
        if re.fullmatch(r"\w+", text) or text == "-1":
            return text
        if text not in self._names:
            self._names[text] = name = self.writer.new_name()  # a condition has another type than a number
            self.lines.append(f"{name} = {text}")
        return self._names[text]

    def _times(self, a: str, b: str) -> str:
        for one, other in ((a, b), (b, a)):
            if one == "1":
                return other
            if one == "-1":
                return {"1": "-1", "-1": "1"}.get(other) or self._name(f"-{other}")
        return self._name(f"{a} * {b}")

    def _read(self, node: Node) -> None:
        writer = self.writer
        if node.op == "number":
            self.values[node], self.tangents[node] = writer.number(node), {}
            return
        place = writer.place(node)
        text = place.at("{i}")
        self.values[node] = self._name(f"{text} > half" if node.is_condition else text)
        self.tangents[node] = {node: "1"} if writer.is_active(node) else {}

    def compute(self, node: Node) -> None:
        rule = RULES[node.op]
        for arg in node.args:
            if arg not in self.values:
                self._read(arg)
        values = [self.values[arg] for arg in node.args]
        self.values[node] = y = self._name(rule.value.format(*values))
        tangents: dict[Node, str] = {}
        for arg, slope in zip(node.args, rule.slopes, strict=True):
            if slope == "0" or not self.tangents[arg]:
                continue
            factor = self._name(slope.format(*values, y=y))
            for read, tangent in self.tangents[arg].items():
                share = self._chosen(factor, tangent) if isinstance(slope, Taken) else self._times(factor, tangent)
                tangents[read] = share if read not in tangents else self._plus(tangents[read], share)
        self.tangents[node] = tangents

    def _chosen(self, condition: str, tangent: str) -> str:
        return self._name(f"{_NUMBERS.get(tangent, tangent)} if {condition} else zero")

    def _plus(self, a: str, b: str) -> str:
        return self._name(f"{_NUMBERS.get(a, a)} + {_NUMBERS.get(b, b)}")
