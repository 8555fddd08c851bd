"""The graph of a user's step, and what is wrong with a step that has no graph."""

from typing import Any

from rtu_np.cells.own_cell import check
from rtu_np.cells.own_cell.arrays import Buffer, Traced
from rtu_np.cells.own_cell.graph import Graph, Length, Node
from rtu_np.cells.own_cell.source import Outputs


class _Parameters(check.Named):
    """The parameters while a step is traced: a name that is not there is an error, and what is read is noted."""

    def __init__(self, cell: Any, arrays: dict[str, Traced]) -> None:
        super().__init__(arrays)
        self.__dict__.update(cell=cell, read=set())

    def __getitem__(self, name: str) -> Traced:
        if name not in self:
            raise ValueError(
                f"step {self.cell.name} reads params[{name!r}], and init makes {', '.join(self) or 'no parameters'}: "
                "expected one of these; does init lack it, or is the name misspelt?"
            )
        self.read.add(name)
        return super().__getitem__(name)

    def values(self) -> Any:
        return [self[name] for name in self]

    def items(self) -> Any:
        return [(name, self[name]) for name in self]


def trace(cell: Any, shapes: dict[str, tuple[int, ...]], n_inputs: int) -> tuple[Graph, Outputs]:
    """The graph of a step. ValueError, TypeError, by name."""
    graph, n = Graph(cell.name), Length(cell.n_hidden, "spec.n_hidden")

    def leaf(text: str, *lengths: Length) -> Traced:
        array = Traced(graph, graph.node("leaf", (), lengths, text))
        array.is_argument = True
        return array

    made = {}
    for name, shape in shapes.items():
        lengths = [Length(m, f"spec.size_{name}_{k}") for k, m in enumerate(shape)]
        made[name] = leaf(f"params.{name}", *(lengths or [Length(1, "1")]))
        if not shape:
            made[name] = made[name][0]
    params = _Parameters(cell, made)
    state = check.Named((name, leaf(f"state_tm1.{name}", n)) for name in cell.state)
    x = leaf("x_t", Length(n_inputs, "spec.n_inputs"))
    try:
        after, y = check.call(cell, params, state, x, lambda name, m: Buffer(graph, name, Length(m, str(m))))
    except (ValueError, TypeError) as error:
        if f"step {cell.name} " in str(error):
            raise error from None
        raise TypeError(f"step {cell.name} cannot be differentiated: {_one_line(error)}") from error
    except (AttributeError, IndexError, KeyError, NotImplementedError) as error:
        raise TypeError(f"step {cell.name} cannot be differentiated: {_one_line(error)}") from error
    if unused := set(params) - params.read:
        raise ValueError(
            f"init makes {', '.join(sorted(unused))}, and step {cell.name} does not read it: expected the parameters "
            "of the step alone"
        )
    states = [_output(cell, graph, f"the state {name!r}", after[name], n) for name in cell.state]
    return graph, Outputs(cell.state, tuple(states), _output(cell, graph, "y", y, Length(cell.width, "spec.n_outputs")))


def _output(cell: Any, graph: Graph, what: str, value: Any, length: Length) -> Node:
    node = graph.as_node(value)
    shape = tuple(each.number for each in node.shape)
    if shape != (length.number,):
        setting = "n_hidden" if length.text == "spec.n_hidden" else "n_outputs"
        raise ValueError(
            f"step {cell.name} returns {what} of shape {shape}: expected ({length.number},), which is ({setting},)"
        )
    if node.is_condition:
        raise TypeError(f"step {cell.name} returns {what} of true and false: expected numbers")
    graph.equate(node.shape[0], length)
    return node


def _one_line(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}".partition("\n")[0]
    return text if len(text) <= 160 else text[:157] + "..."
