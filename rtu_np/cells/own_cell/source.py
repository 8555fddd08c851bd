"""From the graph of a step to its kernels: the source of `forward` and `backward`, and of the arrays they need.

All operations on numbers that have the same length are one loop. In each turn it computes dual numbers
(`rules`), whose inputs are what the loop reads. So behind the loop stand its results, and a vector of
slopes for each result and input (derivations (88)). Between loops stand products with matrices, sums and joined
vectors, whose derivatives are known. `backward` goes back from one to the other (derivations (89)): through a loop by
its slopes, through a product by the matrix.
"""

import re
from typing import NamedTuple

from rtu_np.cells.own_cell.duals import Duals, Place
from rtu_np.cells.own_cell.graph import Graph, Length, Node


class Block:
    """A loop, whose nodes are operations on numbers, or one other operation."""

    def __init__(self, stage: int, nodes: list[Node]) -> None:
        self.stage, self.nodes = stage, nodes
        self.slopes: dict[Node, dict[Node, str]] = {}  # {result: {input: "1", "-1" or a field of the record}}


class Outputs(NamedTuple):
    """The results of a step, and the names of the state's arrays."""

    names: tuple[str, ...]
    states: tuple[Node, ...]
    y: Node


class Source(NamedTuple):
    """What is generated of a step."""

    forward: str
    backward: str
    record: list[tuple[str, str]]  # (name, length), behind the state and y
    work: list[tuple[str, str]]


_SIMPLE = ("leaf", "row", "number", "constant", "slice", "transpose")


class Writer:
    """The source of one step."""

    def __init__(self, graph: Graph, outputs: Outputs) -> None:
        def wrapped(node: Node) -> Node:
            return node if node.is_elementwise else graph.node("positive", (node,), node.shape)

        self.graph, self.names = graph, outputs.names
        self.states, self.y = [wrapped(node) for node in outputs.states], wrapped(outputs.y)
        self.record: list[tuple[str, str]] = []
        self.work: list[tuple[str, str]] = []
        self._stages: dict[Node, int] = {}
        self._stored: dict[Node, str] = {}  # the array of a result, in the record
        self._adjoints: dict[Node, str] = {}
        self._active: dict[Node, bool] = {}
        self._values: dict[str, str] = {}
        self._n_names = 0
        self.blocks = self._make_blocks()

    # -------------------------------------------------------------------------------------------------- loops

    def _make_blocks(self) -> list[Block]:
        blocks: dict[object, Block] = {}
        nodes = reachable([*self.states, self.y])
        for node in nodes:
            self._stages[node] = self._stage(node)
        self._delay(nodes)
        for node in nodes:
            if node.op not in _SIMPLE:
                stage = self._stages[node]
                key = (stage, self._text(node)) if node.is_elementwise else node
                blocks.setdefault(key, Block(stage, [])).nodes.append(node)
        ordered = sorted(blocks.values(), key=lambda block: block.stage)
        results = {*self.states, self.y}
        for block in ordered:
            for node in block.nodes:
                earlier = (a for a in node.args if self._stages[a] < block.stage or not self._same_loop(node, a))
                results |= set(map(_base, earlier))
        for block in ordered:
            for node in block.nodes:
                if node in results or not node.is_elementwise:
                    self._store(node)
        return ordered

    def _text(self, node: Node) -> str:
        """How many numbers a node has, as an expression."""
        return self.graph.length_of(node.shape[0].text) if node.shape else "1"

    def _same_loop(self, node: Node, arg: Node) -> bool:
        if not (node.is_elementwise and arg.is_elementwise):
            return False
        return bool(node.shape) == bool(arg.shape) and self._text(node) == self._text(arg)

    def _stage(self, node: Node) -> int:
        def of(arg: Node) -> int:
            if arg.op in _SIMPLE:
                return self._stages[arg]
            return self._stages[arg] + (not self._same_loop(node, arg))

        return max(map(of, node.args), default=0)

    def _delay(self, nodes: list[Node]) -> None:
        """Compute what one loop alone reads in that loop, so that it is not stored."""
        latest: dict[Node, int] = {}
        for node in reversed(nodes):
            if node.is_elementwise:
                self._stages[node] = latest.get(node, self._stages[node])
            for arg in node.args:
                stage = self._stages[node] - (not self._same_loop(node, arg))
                latest[arg] = min(stage, latest.get(arg, stage))

    def _store(self, node: Node) -> None:
        if node in self.states:
            self._stored[node] = f"record.state.{self.names[self.states.index(node)]}"
        elif node is self.y:
            self._stored[node] = "record.y"
        else:
            self._stored[node] = f"record.{self._field('v', self._text(node))}"
        if self.is_active(node):
            name = f"a{len(self.work)}"
            self.work.append((name, self._text(node)))
            self._adjoints[node] = f"work.{name}"

    def _field(self, kind: str, length: str) -> str:
        self.record.append((f"{kind}{len(self.record)}", length))
        return self.record[-1][0]

    def is_active(self, node: Node) -> bool:
        """Whether it depends on anything that is differentiated."""
        if node not in self._active:
            constant = node.op in ("number", "constant") or node.is_condition or node.op == "sign"
            self._active[node] = node.op == "leaf" or (not constant and any(map(self.is_active, node.args)))
        return self._active[node]

    # ------------------------------------------------------------------------------------------------- places

    def place(self, node: Node) -> Place:
        """Where compiled code reads a node that is no part of the loop."""
        base, start = (node.args[0], node.value.text) if node.op == "slice" else (node, "0")
        return Place(self._array(base), start, not node.shape)

    def _array(self, node: Node) -> str:
        if node.op == "leaf":
            return node.value
        if node.op == "row":
            return f"{node.args[0].value}[{node.value}]"
        if node.op == "constant":
            return f"constant{node.value}"
        return self._stored[node]

    def target(self, node: Node) -> Place | None:
        """Where compiled code adds the gradient by a node; None if nobody needs it."""
        if not self.is_active(node):
            return None
        base, start = (node.args[0], node.value.text) if node.op == "slice" else (node, "0")
        leaf = base.args[0] if base.op == "row" else base
        if leaf.op == "leaf":
            kind, _, name = leaf.value.partition(".")
            array = {"params": f"adjoint.params.{name}", "x_t": "work.dx", "state_tm1": f"work.d_{name}"}[kind]
            array += f"[{base.value}]" if base.op == "row" else ""
        else:
            array = self._adjoints[base]
        return Place(array, start, not node.shape)

    def number(self, node: Node) -> str:
        """The name of a constant, in the precision of the data."""
        value = node.value
        text = value.text if isinstance(value, Length) else re.sub("inf|nan", r"np.\g<0>", repr(value))
        return self._values.setdefault(text, f"k{len(self._values)}")

    def new_name(self) -> str:
        self._n_names += 1
        return f"t{self._n_names}"

    # ------------------------------------------------------------------------------------------------ forward

    def source(self) -> Source:
        parts = [self._loop(block) if block.nodes[0].is_elementwise else self._other(block) for block in self.blocks]
        backward = self._backward()
        self.work += [("dx", "spec.n_inputs"), *((f"d_{name}", "spec.n_hidden") for name in self.names)]
        body = self._preamble() + [line for part in parts for line in part]
        forward = _function("forward", "spec, params, work, state_tm1, x_t, record", body)
        arguments = "spec, params, work, state_tm1, x_t, record, dy, adjoint"
        return Source(forward, _function("backward", arguments, backward), self.record, self.work)

    def _preamble(self) -> list[str]:
        numbers = {"one": "1.0", "zero": "0.0", "half": "0.5", **{name: text for text, name in self._values.items()}}
        return ["real = x_t.dtype.type", *(f"{name} = real({text})" for name, text in numbers.items())]

    def _loop(self, block: Block) -> list[str]:
        duals = Duals(self)
        for node in block.nodes:
            duals.compute(node)
        lines, length = duals.lines, self._text(block.nodes[0])
        for node in block.nodes:
            if node not in self._stored:
                continue
            value = duals.values[node]
            lines.append(f"{self._stored[node]}[{{i}}] = {f'one if {value} else zero' if node.is_condition else value}")
            if node is self.y and node in self.states:
                lines.append(f"record.y[{{i}}] = {value}")
            for state, name in zip(self.states, self.names, strict=True):
                if state is node and not self._stored[node].endswith(f".{name}"):
                    lines.append(f"record.state.{name}[{{i}}] = {value}")
            known: dict[str, str] = {}
            for read, slope in duals.tangents[node].items():
                if slope not in ("1", "-1") and slope not in known:
                    known[slope] = f"record.{self._field('s', length)}"
                    lines.append(f"{known[slope]}[{{i}}] = {slope}")
                block.slopes.setdefault(node, {})[read] = known.get(slope, slope)
        if not block.nodes[0].shape:
            return [line.format(i="0") for line in lines]
        return [f"for i in range({length}):", *(f"    {line.format(i='i')}" for line in lines)]

    def _other(self, block: Block) -> list[str]:
        (node,) = block.nodes
        out = self._stored[node]
        if node.op == "product":
            vector, matrix = self._vector(node.args[0]), self._array(node.args[1])
            if node.value:
                return [f"for i in range({self._text(node)}):", f"    {out}[i] = dot({matrix}[i], {vector})"]
            return [f"clear({out})", f"add_product({vector}, {matrix}, {out})"]
        if node.op == "sum":
            term, n = self.place(node.args[0]).at("i"), self._text(node.args[0])
            return [f"{out}[0] = zero", f"for i in range({n}):", f"    {out}[0] += {term}"]
        lines, end = [], "0"
        for arg in node.args:
            place = self.place(arg) if arg.op != "number" else None
            if place is None:
                lines.append(f"{out}[{end}] = {self.number(arg)}")
            elif place.is_one:
                lines.append(f"{out}[{end}] = {place.at('0')}")
            else:
                lines += [f"for i in range({self._text(arg)}):", f"    {out}[{end} + i] = {place.at('i')}"]
            end += f" + {self._text(arg)}"
        return lines

    def _vector(self, node: Node) -> str:
        place, n = self.place(node), self._text(node)
        return place.array if node.op != "slice" else f"{place.array}[{place.start} : {place.start} + {n}]"

    # ----------------------------------------------------------------------------------------------- backward

    def _backward(self) -> list[str]:
        lines = ["zero = dy.dtype.type(0)", "clear(work.dx)", *(f"clear(work.d_{name})" for name in self.names)]
        for node, array in self._adjoints.items():
            given = ["dy[i]"] if node is self.y else []
            given += [f"adjoint.state.{name}[i]" for s, name in zip(self.states, self.names, strict=True) if s is node]
            lines += [f"for i in range({self._text(node)}):", f"    {array}[i] = {' + '.join(given) or 'zero'}"]
        for block in reversed(self.blocks):
            lines += self._back_through_loop(block) if block.nodes[0].is_elementwise else self._back_through(block)
        for name in self.names:
            lines.append(f"copy(work.d_{name}, adjoint.state.{name})")
        return [*lines, "if adjoint.x.shape[0] > 0:", "    copy(work.dx, adjoint.x)"]

    def _back_through_loop(self, block: Block) -> list[str]:
        inside: list[str] = []
        totals: dict[Place, str] = {}
        sums: dict[Node, list[str]] = {}
        for node, slopes in block.slopes.items():
            for read, slope in slopes.items():
                factor = {"1": "", "-1": "-"}.get(slope)
                got = f"{self._adjoints[node]}[{{i}}]"
                sums.setdefault(read, []).append(f"{slope}[{{i}}] * {got}" if factor is None else f"{factor}{got}")
        known: dict[str, str] = {}
        for read, terms in sums.items():
            text, place = " + ".join(terms), self.target(read)
            assert place is not None
            if text not in known:
                known[text] = f"g{len(known)}"
                inside.append(f"{known[text]} = {text}")
            if place.is_one and block.nodes[0].shape:
                inside.append(f"{totals.setdefault(place, f'total{len(totals)}')} += {known[text]}")
            else:
                inside.append(f"{place.at('{i}')} += {known[text]}")
        if not block.nodes[0].shape:
            return [line.format(i="0") for line in inside]
        if not inside:
            return []
        loop = [f"for i in range({self._text(block.nodes[0])}):", *(f"    {line.format(i='i')}" for line in inside)]
        return [
            *(f"{name} = zero" for name in totals.values()),
            *loop,
            *(f"{place.at('0')} += {name}" for place, name in totals.items()),
        ]

    def _back_through(self, block: Block) -> list[str]:
        (node,) = block.nodes
        if not self.is_active(node):
            return []
        got = self._adjoints[node]
        if node.op == "product":
            return self._back_through_product(node, got)
        if node.op == "sum":
            place = self.target(node.args[0])
            return [f"for i in range({self._text(node.args[0])}):", f"    {place.at('i')} += {got}[0]"] if place else []
        lines, end = [], "0"
        for arg in node.args:
            place = self.target(arg)
            if place and place.is_one:
                lines.append(f"{place.at('0')} += {got}[{end}]")
            elif place:
                lines += [f"for i in range({self._text(arg)}):", f"    {place.at('i')} += {got}[{end} + i]"]
            end += f" + {self._text(arg)}"
        return lines

    def _back_through_product(self, node: Node, got: str) -> list[str]:
        (vector, matrix), lines = node.args, []
        if to_matrix := self.target(matrix):
            outer = (got, self._vector(vector)) if node.value else (self._vector(vector), got)
            lines.append(f"add_outer({outer[0]}, {outer[1]}, {to_matrix.array})")
        place = self.target(vector)
        if place is None:
            return lines
        if node.value:
            array = place.array
            if vector.op == "slice":
                array = f"{array}[{place.start} : {place.start} + {self._text(vector)}]"
            return [*lines, f"add_product({got}, {self._array(matrix)}, {array})"]
        row = f"{self._array(matrix)}[i]"
        back = [f"for i in range({self._text(vector)}):", f"    {place.at('i')} += dot({row}, {got})"]
        if place.array == "work.dx":  # the gradient by the input is often not needed
            back = ["if adjoint.x.shape[0] > 0:", *(f"    {line}" for line in back)]
        return [*lines, *back]


def reachable(outputs: list[Node]) -> list[Node]:
    """The nodes that the outputs depend on, in an order in which they can be computed."""
    found: dict[Node, None] = {}
    stack = [(node, False) for node in reversed(outputs)]
    while stack:
        node, done = stack.pop()
        if done:
            found.setdefault(node)
        elif node not in found:
            stack += [(node, True), *((arg, False) for arg in reversed(node.args))]
    return list(found)


def _base(node: Node) -> Node:
    return node.args[0] if node.op == "slice" else node


def _function(name: str, arguments: str, body: list[str]) -> str:
    return "\n".join([f"def {name}({arguments}):", *(f"    {line}" for line in body)]) + "\n"
