"""A cell from one function: `from_step` takes a step in NumPy, and generates the functions of `rtu_np.protocol`.

The step is called once with arrays that note what is done to them (`graph`). From the graph come the kernels
`forward` and `backward` (`source`), whose derivatives are dual numbers (`rules`; derivations (88), (89)).
RTRL and truncated BPTT are those of all cells. If units do not see one another, RTRL has one sensitivity for each
parameter (`unitwise`; derivations (90)).

A kernel is generated for all sizes, in place, and allocates nothing. Its source has all that the step was, also the
numbers that the step has read, and calls no function of the user's. A hash of the source names the type that kernels
dispatch on. So a second process finds the compiled code, and a step that has changed has a type of its own.

The reference of the gradient check is the step itself in NumPy (`check`).
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
from rtu_np.cells.layer import Cell
from rtu_np.cells.own_cell import check
from rtu_np.cells.own_cell.graph import Graph
from rtu_np.cells.own_cell.rules import WATCHED
from rtu_np.cells.own_cell.source import Outputs, Source, Writer, reachable
from rtu_np.cells.own_cell.trace import trace
from rtu_np.cells.own_cell.unitwise import register_unitwise
from rtu_np.checkpoint import name_of_function
from rtu_np.gradients.layers import name_of
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

    All learners and agents take it, with RTRL(), RTRL(dense=True) and TBPTT(T), and SnAp1() if `elementwise`. Without
    `elementwise`, RTRL is full RTRL, which grows with n_hidden squared times the parameters. `flops` does not count it.

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
        in_place = "step(params, state, x, next_state, y)"
        for name, function, counts, expected in (
            ("step", self.step, (3, 5), f"step(params, state, x) -> (state, y), or {in_place}"),
            ("init", self.init, (3,), "init(n_inputs, n_hidden, rng) -> {name: array}"),
        ):
            if not callable(function):
                raise TypeError(f"{name} is {function!r}: expected a function {expected}")
            if (n := _count_arguments(function)) not in counts:
                raise TypeError(f"{name} has {n} arguments without defaults: expected {expected}")
        if not isinstance(self.state, tuple) or not self.state:
            raise TypeError(f'state is {self.state!r}: expected a tuple of names, such as ("h", "c")')
        for name in self.state:
            _check_name("state", name)
        make_plain(self)
        object.__setattr__(self, "_widths", {})

    @property
    def widths(self) -> dict[tuple, int]:
        """{shapes of the parameters: n_inputs}, for `initialise`, which gets the parameters alone."""
        return self.__dict__["_widths"]

    @property
    def name(self) -> str:
        return name_of_function(self.step)

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
                    f"init makes {name} of dtype {array.dtype} and shape {array.shape}: expected real numbers in at "
                    "most two dimensions"
                )
            check_finite(f"init's {name}", array)
            arrays[name] = array.astype(np.float64)
        return arrays

    def spec(self, n_inputs: int) -> Any:
        params = self.starting_values(n_inputs, np.random.default_rng(0))
        shapes = tuple((name, array.shape) for name, array in params.items())
        self.widths[shapes] = n_inputs
        graph, outputs = trace(self, dict(shapes), n_inputs)
        check.check_pure(self, params, n_inputs)
        if self.elementwise:
            check.check_elementwise(self, graph, outputs.states, params, n_inputs)
        kind = _kind(self, graph, outputs, shapes)
        _CELLS[kind, self.n_hidden, self.width] = self
        lengths = [length for _, shape in shapes for length in shape]
        n_state = len(self.state) * self.n_hidden
        without = kind(n_inputs, self.n_hidden, self.width, len(self.state), n_state, 0, *lengths)
        spec = without._replace(n_params=size(protocol.parameters, without))
        if kind not in _COMPARED:
            _compare(self, spec)
            _COMPARED.add(kind)
        return spec

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        shapes = tuple((name, view.shape) for name, view in _as_given(params).items())
        for view, value in zip(params, self.starting_values(self.widths[shapes], rng).values(), strict=True):
            view[...] = value


def _count_arguments(function: Callable) -> int:
    """How many arguments a call has to give."""
    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return sum(each.default is each.empty and each.kind not in starred for each in parameters)


def _check_name(argument: str, name: Any) -> None:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name[0] == "_":
        raise ValueError(f"{argument} {name!r}: expected a name such as 'W', which Python takes for a variable")
    if name in _RESERVED:
        raise ValueError(f"{argument} {name!r}: expected another name, since generated code needs this one")


# ------------------------------------------------------------------------------------------------------ generation

_CELLS: dict[tuple[type, int, int], StepCell] = {}  # the latest cell of a type of spec, n_hidden and n_outputs
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
        if cell.elementwise:
            register_unitwise(getattr(module, name), output_is_state=outputs.states == (outputs.y,))
        if any(node.op in WATCHED for node in reachable([*outputs.states, outputs.y])):
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
    kind.__reduce__ = lambda spec: (_again, (_cell_of(spec), spec.n_inputs, tuple(spec)))
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
    protocol.flops.register(kind)(_not_counted)
    name_of.register(kind)(lambda spec: f"from_step({_cell_of(spec).name})")


def _cell_of(spec: Any) -> StepCell:
    return _CELLS[type(spec), spec.n_hidden, spec.n_outputs]


def _not_counted(spec: Any) -> None:
    raise TypeError(
        f"cell is {name_of(spec)}, whose operations are not counted: expected a cell with `flops` of its own; "
        "bytes_per_step counts the bytes of this one"
    )


def _again(cell: StepCell, n_inputs: int, numbers: tuple[int, ...]) -> Any:
    """A spec in another process, where its type has to be made first."""
    return type(cell.spec(n_inputs))(*numbers)


def _compiled(name: str, function: str, source: str, graph: Graph) -> Callable:
    names: dict[str, Any] = {"__name__": __name__, "np": np, **{each.__name__: each for each in _IN_KERNELS}}
    names |= {f"constant{k}": array for k, array in enumerate(graph.constants)}
    file = f"<{function} of {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)
    return names[function]


# ------------------------------------------------------------------------------------------- reference: plain NumPy


_COMPARED: set[type] = set()


def _compare(cell: StepCell, spec: Any) -> None:
    """ValueError if the generated step, in plain Python, gives other numbers than the user's."""
    rng = np.random.default_rng(1)
    flat, work, record, before = (
        np.zeros(size(layout, spec)) for layout in (protocol.parameters, protocol.work, protocol.record, protocol.state)
    )
    params, state_tm1 = protocol.parameters(spec, flat)[0], protocol.state(spec, before)[0]
    for view in (*params, *state_tm1):
        view[...] = rng.standard_normal(view.shape)
    x, views = rng.standard_normal(spec.n_inputs), protocol.record(spec, record)[0]
    with np.errstate(all="ignore"):
        protocol.forward(spec, params, protocol.work(spec, work)[0], state_tm1, x, views)
        after, y = _plain_forward(spec, params, state_tm1, x)
    for name, made, expected in (*zip(cell.state, views.state, after, strict=True), ("y", views.y, y)):
        scale = np.abs(expected).max(where=np.isfinite(expected), initial=1.0)
        differs = np.argwhere(~np.isclose(made, expected, rtol=0, atol=1e-9 * scale, equal_nan=True))
        if differs.size:
            k = int(differs[0, 0])
            raise ValueError(
                f"step {cell.name} gives {name}[{k}] = {made[k]:.6g} while it is taken apart, and {expected[k]:.6g} "
                "with numbers: expected the same; does it change an array of which it has a part, or ask for a type?"
            )


def _plain_forward(spec, params, state_tm1, x_t):
    after, y = _run(spec, params, state_tm1, x_t)
    return type(state_tm1)(*after.values()), y


def _distances(spec, params, state_tm1, x_t):
    """The distances from all kinks."""
    found: list[np.ndarray] = []
    _run(spec, params, state_tm1, x_t, found)
    return np.concatenate(found) if found else np.full(1, np.inf)


def _run(spec, params, state_tm1, x_t, kinks=None):
    watches = type(spec) in protocol.preactivations.table
    return check.run(_cell_of(spec), (_as_given(params), state_tm1._asdict(), x_t), watches, kinks)


def _as_given(params: Any) -> dict[str, np.ndarray]:
    """The views of the parameters, in the shapes that `init` has given."""
    single = _NUMBERS[type(params)]
    return {name: view.reshape(()) if name in single else view for name, view in params._asdict().items()}
