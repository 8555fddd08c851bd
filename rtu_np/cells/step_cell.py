"""A cell from one function: `from_step` takes a step in NumPy, and generates the functions of `rtu_np.protocol`.

The step is called once with arrays that note what is done to them (`step_graph`). From the graph come the kernels
`forward` and `backward` (`step_source`), whose derivatives are dual numbers (`step_rules`; derivations (88), (89)). RTRL
and truncated BPTT are those of all cells. If units do not see one another, RTRL has one sensitivity for each parameter
(`unitwise`; derivations (90)).

A kernel is generated for all sizes, in place, and allocates nothing. Its source has all that the step was, also the
numbers that the step has read, and calls no function of the user's. A hash of the source names the type that kernels
dispatch on. So a second process finds the compiled code, and a step that has changed has a type of its own.

The reference of the gradient check is the step itself in NumPy (`step_check`).
"""

import hashlib
import inspect
import keyword
import linecache
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells import step_check
from rtu_np.cells.layer import Cell
from rtu_np.cells.step_graph import Buffer, Graph, Length, Node, Traced, has_kink
from rtu_np.cells.step_source import Outputs, Source, Writer, reachable
from rtu_np.cells.unitwise import register_unitwise
from rtu_np.jit import kernel, noalias
from rtu_np.numerics.buffers import aligned, clear, copy, packed, size
from rtu_np.numerics.elementary import exp, expm1, sigmoid, sin_cos, tanh
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.products import add_outer, add_product, dot
from rtu_np.validation import check_count, check_finite, check_flag, make_plain

_IN_KERNELS = (exp, expm1, sigmoid, sin_cos, tanh, add_outer, add_product, dot, clear, copy)
_RESERVED = {"flat", "rest", "spec", "vector", "matrix", "packed", "aligned", "padded", "block", "whole", "overlapping"}


def from_step(
    step: Callable,
    n_hidden: int,
    n_outputs: int | None = None,
    init: Callable | None = None,
    elementwise: bool = False,
    state: tuple[str, ...] = ("h",),
) -> "StepCell":
    """A cell from one function, with exact derivatives by dual numbers (derivations (88)-(90)).

    All gradient methods, learners and agents take it. Without `elementwise`, RTRL is full RTRL, which grows with
    n_hidden squared times the parameters.

    Parameters
    ----------
    step : step(params, state, x) -> (state, y), a pure function in NumPy. `params` has the arrays of `init`, as
        params["W"] and params.W; `state` is an array (n_hidden,), and `x` the input (n_inputs,). `check_recurrence`
        takes the same function. A function of five arguments, step(params, state, x, next_state, y), writes the last
        two in place, and computes the same
    n_hidden : number of units n
    n_outputs : length of y; n_hidden by default
    init : init(n_inputs, n_hidden, rng) -> {name: array}, the starting values of the parameters, of at most two
        dimensions; rng is a `numpy.random.Generator`
    elementwise : whether no unit sees another. Then RTRL costs about as much as the step. The last axis of a parameter
        is that of the units. It is checked
    state : names of the state's arrays, each (n_hidden,). If there are several, the step gets and returns a dict

    Raises
    ------
    ValueError, TypeError : by name, for settings out of range; and when a layer is made, for a step that is not a pure
        function, a wrong shape, a parameter that `init` lacks or that the step does not use, an operation whose
        derivative is not known, and `elementwise` if a unit sees another

    Examples
    --------
    >>> def step(params, h, x):
    ...     u = 1 / (1 + np.exp(-x @ params["U"]))
    ...     h = (1 - u) * h + u * (x @ params["W"])
    ...     return h, h
    >>> def init(n_inputs, n_hidden, rng):
    ...     return {name: rng.standard_normal((n_inputs, n_hidden)) for name in ("U", "W")}
    >>> cell = from_step(step, n_hidden=8, init=init, elementwise=True)
    >>> cell.build(n_inputs=3).advance([1.0, 0.0, -1.0]).shape
    (8,)
    """
    return StepCell(step, n_hidden, n_outputs, init, elementwise, state)  # type: ignore[arg-type]


@dataclass(frozen=True)
class StepCell(Cell):
    """What `from_step` makes; it has the settings as its fields."""

    step: Callable
    n_hidden: int
    n_outputs: int | None
    init: Callable
    elementwise: bool = False
    state: tuple[str, ...] = ("h",)

    def __post_init__(self) -> None:
        check_count("n_hidden", self.n_hidden)
        if self.n_outputs is not None:
            check_count("n_outputs", self.n_outputs)
        check_flag("elementwise", self.elementwise)
        for name, value, expected in (
            ("step", self.step, "step(params, state, x) -> (state, y)"),
            ("init", self.init, "init(n_inputs, n_hidden, rng) -> {name: array}"),
        ):
            if not callable(value):
                raise TypeError(f"{name} is {value!r}: expected a function {expected}")
        if _count_arguments(self.step) not in (3, 5):
            raise TypeError(
                f"step {self.name} has {_count_arguments(self.step)} arguments: expected step(params, state, x), or "
                "step(params, state, x, next_state, y)"
            )
        if not isinstance(self.state, tuple) or not self.state:
            raise TypeError(f'state is {self.state!r}: expected a tuple of names, such as ("h", "c")')
        for name in self.state:
            _check_name("state", name)
        make_plain(self)
        object.__setattr__(self, "_widths", {})  # {shapes of the parameters: n_inputs}, for `initialise`

    @property
    def name(self) -> str:
        return getattr(self.step, "__name__", type(self.step).__name__)

    @property
    def in_place(self) -> bool:
        return _count_arguments(self.step) == 5

    @property
    def width(self) -> int:
        return self.n_hidden if self.n_outputs is None else self.n_outputs

    def starting_values(self, n_inputs: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """What `init` makes, as arrays of float64. ValueError, TypeError, by name."""
        made = self.init(n_inputs, self.n_hidden, rng)
        made = made._asdict() if hasattr(made, "_asdict") else made
        if not isinstance(made, dict):
            raise TypeError(f"init returns {type(made).__name__}: expected a dict of arrays by their names")
        arrays = {}
        for name, value in made.items():
            _check_name("init makes", name)
            array = np.asarray(value)
            if array.dtype.kind not in "fiub" or array.ndim > 2 or not array.size:
                raise ValueError(
                    f"init makes {name} of dtype {array.dtype} and shape {array.shape}: expected real numbers in at most "
                    "two dimensions"
                )
            check_finite(f"init's {name}", array)
            arrays[name] = array.astype(np.float64)
        return arrays

    def spec(self, n_inputs: int) -> Any:
        params = self.starting_values(n_inputs, np.random.default_rng(0))
        shapes = tuple((name, array.shape) for name, array in params.items())
        self._widths[shapes] = n_inputs
        step_check.check_pure(self, params, n_inputs)
        graph, outputs = _trace(self, dict(shapes), n_inputs)
        if self.elementwise:
            step_check.check_elementwise(self, graph, list(outputs.states), params, n_inputs)
        kind = _kind(self, graph, outputs, shapes)
        _CELLS[kind] = self
        lengths = [length for _, shape in shapes for length in shape]
        n_state = len(self.state) * self.n_hidden
        without = kind(n_inputs, self.n_hidden, self.width, len(self.state), n_state, 0, *lengths)
        return without._replace(n_params=size(protocol.parameters, without))

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        shapes = tuple((name, view.shape) for name, view in _as_given(params).items())
        for view, value in zip(params, self.starting_values(self._widths[shapes], rng).values(), strict=True):
            view[...] = value


def _count_arguments(function: Callable) -> int:
    try:
        return len(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return 0


def _check_name(argument: str, name: Any) -> None:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name[0] == "_":
        raise ValueError(f"{argument} {name!r}: expected a name such as 'W', which Python takes for a variable")
    if name in _RESERVED:
        raise ValueError(f"{argument} {name!r}: expected another name, since generated code needs this one")


# --------------------------------------------------------------------------------------------------------- tracing


class _Parameters(step_check.Named):
    """The parameters while a step is traced: a name that is not there is an error, and what is read is noted."""

    def __init__(self, cell: StepCell, arrays: dict[str, Traced]) -> None:
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


def _trace(cell: StepCell, shapes: dict[str, tuple[int, ...]], n_inputs: int) -> tuple[Graph, Outputs]:
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
    state = step_check.Named((name, leaf(f"state_tm1.{name}", n)) for name in cell.state)
    x = leaf("x_t", Length(n_inputs, "spec.n_inputs"))
    try:
        after, y = step_check.call(cell, params, state, x, lambda name, m: Buffer(graph, name, Length(m, str(m))))
    except (ValueError, TypeError) as error:
        if f"step {cell.name} " in str(error):
            raise error from None
        raise TypeError(f"step {cell.name} cannot be differentiated: {_one_line(error)}") from error
    except (AttributeError, IndexError, KeyError, NotImplementedError) as error:
        raise TypeError(f"step {cell.name} cannot be differentiated: {_one_line(error)}") from error
    if unused := set(params) - params.read:
        raise ValueError(
            f"init makes {', '.join(sorted(unused))}, and step {cell.name} does not read it: expected the parameters of "
            "the step alone"
        )
    states = [_output(cell, graph, f"the state {name!r}", after[name], n) for name in cell.state]
    return graph, Outputs(
        cell.state, tuple(states), _output(cell, graph, "y", y, Length(cell.width, "spec.n_outputs"))
    )


def _output(cell: StepCell, graph: Graph, what: str, value: Any, length: Length) -> Node:
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


# ------------------------------------------------------------------------------------------------------ generation

_CELLS: dict[type, StepCell] = {}  # the latest cell of each type of spec
_NUMBERS: dict[type, set[str]] = {}  # of each type of parameters: those that are one number for the step


def _kind(cell: StepCell, graph: Graph, outputs: Outputs, shapes: tuple) -> type:
    """The type of the spec, with all functions registered; made once for each source."""
    writer = Writer(graph, outputs)
    source = writer.source()
    ranks = [(name, len(shape)) for name, shape in shapes]
    constants = [(array.shape, array.tobytes()) for array in graph.constants]
    text = repr((cell.state, ranks, cell.elementwise, source, constants))
    name = f"Step_{cell.name if cell.name.isidentifier() else 'step'}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    module = sys.modules[__name__]
    if not hasattr(module, name):
        _register(name, cell, ranks, graph, source)
        if has_kink(reachable([*outputs.states, outputs.y])):
            protocol.preactivations.register(getattr(module, name))(_distances)
    return getattr(module, name)


def _named_tuple(name: str, fields: list[tuple[str, Any]]) -> Any:
    """A type that compiled code of another process finds by its name."""
    kind: Any = NamedTuple(name, fields)  # type: ignore[misc]
    kind.__module__ = __name__
    setattr(sys.modules[__name__], name, kind)
    return kind


def _vector(length: str) -> Any:
    return Annotated[np.ndarray, length]


def _register(name: str, cell: StepCell, ranks: list[tuple[str, int]], graph: Graph, source: Source) -> None:
    counts = ("n_inputs", "n_hidden", "n_outputs", "n_arrays", "n_state", "n_params")
    lengths = {param: [f"size_{param}_{k}" for k in range(rank)] for param, rank in ranks}
    kind = _named_tuple(name, [(each, int) for each in (*counts, *(n for names in lengths.values() for n in names))])
    kind.__reduce__ = lambda spec: (_again, (_CELLS[kind], spec.n_inputs))
    params = _named_tuple(
        f"{name}_Parameters",
        [(p, Annotated[(np.ndarray, *([f"spec.{each}" for each in names] or ["1"]))]) for p, names in lengths.items()],
    )
    _NUMBERS[params] = {p for p, rank in ranks if not rank}
    packed_vector = Annotated[np.ndarray, packed, "spec.n_hidden"]
    state = _named_tuple(f"{name}_State", [(each, packed_vector) for each in cell.state])
    state_layout = kernel(layout_of(state))
    fields = [("state", Annotated[state, state_layout, aligned]), ("y", protocol.PerOutput)]
    record = _named_tuple(f"{name}_Record", [*fields, *((each, _vector(text)) for each, text in source.record)])
    work = _named_tuple(f"{name}_Work", [(each, _vector(text)) for each, text in source.work])
    protocol.parameters.register(kind)(layout_of(params))
    protocol.state.register(kind)(state_layout)
    protocol.record.register(kind)(layout_of(record))
    protocol.work.register(kind)(layout_of(work))
    protocol.forward.register(kind)(noalias(_compiled(name, "forward", source.forward, graph)))
    protocol.backward.register(kind)(noalias(_compiled(name, "backward", source.backward, graph)))
    protocol.plain_forward.register(kind)(_plain_forward)
    if cell.elementwise:
        register_unitwise(kind)


def _again(cell: StepCell, n_inputs: int) -> Any:
    return cell.spec(n_inputs)


def _compiled(name: str, function: str, source: str, graph: Graph) -> Callable:
    names: dict[str, Any] = {"__name__": __name__, "np": np, **{each.__name__: each for each in _IN_KERNELS}}
    names |= {f"constant{k}": array for k, array in enumerate(graph.constants)}
    file = f"<{function} of {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)
    return names[function]


# ------------------------------------------------------------------------------------------- reference: plain NumPy


def _plain_forward(spec, params, state_tm1, x_t):
    after, y = _run(spec, params, state_tm1, x_t)
    return type(state_tm1)(*after.values()), y


def _distances(spec, params, state_tm1, x_t):
    """The distances from all kinks."""
    found: list[np.ndarray] = []
    _run(spec, params, state_tm1, x_t, found)
    return np.concatenate(found) if found else np.full(1, np.inf)


def _run(spec, params, state_tm1, x_t, kinks=None):
    return step_check.run(_CELLS[type(spec)], _as_given(params), state_tm1._asdict(), x_t, kinks)


def _as_given(params: Any) -> dict[str, np.ndarray]:
    """The views of the parameters, in the shapes that `init` has given."""
    single = _NUMBERS[type(params)]
    return {name: view.reshape(()) if name in single else view for name, view in params._asdict().items()}
