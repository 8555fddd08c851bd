"""Layouts: a NamedTuple of arrays whose annotations also say which numbers of a flat array each field views.

A layout takes a flat array and returns (views, rest). `layout_of` makes it from the NamedTuple:

>>> import inspect
>>> from typing import Annotated, NamedTuple
>>> import numpy as np
>>> class Weights(NamedTuple):
...     W: Annotated[np.ndarray, "spec.n_inputs", "spec.n_outputs"]
...     b: Annotated[np.ndarray, "spec.n_outputs"]
>>> weights = layout_of(Weights)
>>> print(inspect.getsource(weights), end="")
def layout_of_Weights(spec, flat):
    W, flat = matrix(flat, spec.n_inputs, spec.n_outputs)
    b, flat = vector(flat, spec.n_outputs)
    return Weights(W, b), flat
>>> class Spec(NamedTuple):
...     n_inputs: int
...     n_outputs: int
>>> views, rest = weights(Spec(2, 4), np.arange(40.0))
>>> views.W.shape, views.b
((2, 4), array([16., 17., 18., 19.]))

Each field takes its numbers from the start of `flat`, in the order of the fields. After its type, an annotation holds:

    "spec.n_inputs", 3                     the shape: one to three lengths
    packed, "spec.n_hidden"                the shape, and what makes the view: packed, padded, padded_rows, overlapping
    diagonal_state                         another layout, which gets the same arguments
    protocol.state, "spec.cell"            another layout, and its arguments before `flat`
    protocol.state, "spec.cell", aligned   the same; the next field starts on a cache line
    aligned                                the last field's numbers as one array; the next starts on a cache line
    whole                                  the same, but the next field follows without a gap

Text is Python, and can name the arguments of the layout and earlier fields.
"""

import linecache
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, get_type_hints

from rtu_np.numerics.buffers import aligned, block, matrix, overlapping, packed, padded, padded_rows, vector, whole

_BY_SHAPE = (vector, matrix, block)  # of one, two and three lengths
_VIEWS = {*_BY_SHAPE, packed, padded, padded_rows, overlapping}  # (flat, *shape) -> (view, rest)
_WHOLES = {aligned, whole}  # (flat, rest) -> (all numbers from the one to the other, rest)


class _Call(NamedTuple):
    """One line of a layout: `target, rest = function(arguments)`."""

    target: str
    function: Callable
    arguments: str


def layout_of(kind: type, *arguments: str) -> Callable[..., tuple[Any, Any]]:
    """The layout (*arguments, flat) -> (views, rest) of a NamedTuple, for Python and for kernels.

    Its source is the one that a person would write by hand. Tracebacks and Numba's messages quote this source. The
    docstring of this module has an example.

    Parameters
    ----------
    kind : a NamedTuple with annotations as above
    arguments : names of the layout's arguments before `flat`; "spec" by default

    Raises
    ------
    ValueError : if a field has a name that the source needs for something else
    TypeError : if an annotation gives neither a shape nor a layout
    """
    hints, arguments = get_type_hints(kind, include_extras=True), arguments or ("spec",)
    needed = {"flat", "rest", kind.__name__, *arguments, *(function.__name__ for function in _VIEWS | _WHOLES)}
    if clash := hints.keys() & needed:
        raise ValueError(f"{kind.__name__}.{min(clash)}: its layout needs this name for something else; rename it")
    name = f"layout_of_{kind.__name__}"
    names: dict[str, Any] = {"__name__": kind.__module__, kind.__name__: kind}
    lines = [f"def {name}({', '.join(arguments)}, flat):"]
    calls = [call for field, hint in hints.items() for call in _calls(kind, field, hint, arguments)]
    for call, following in zip(calls, [*calls, None][1:], strict=True):
        known = call.function in _VIEWS | _WHOLES
        called = call.function.__name__ if known else f"_{call.target}"  # no field begins like this
        names[called] = getattr(call.function, "inlined", call.function)
        rest = "rest" if following and following.function in _WHOLES else "flat"
        origin = "" if known else f"  # {call.function.__module__}.{call.function.__name__}"
        lines.append(f"    {call.target}, {rest} = {called}({call.arguments}){origin}")
    lines.append(f"    return {kind.__name__}({', '.join(hints)}), flat")
    source, file = "\n".join(lines) + "\n", f"<layout of {kind.__module__}.{kind.__qualname__}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)
    names[name].__doc__ = kind.__doc__
    return names[name]


def _calls(kind: type, field: str, hint: Any, arguments: tuple[str, ...]) -> Iterator[_Call]:
    """The line that makes a field, then the line that aligns the rest, if the annotation asks for alignment."""
    parts = getattr(hint, "__metadata__", ())
    text, functions = [str(part) for part in parts if not callable(part)], [part for part in parts if callable(part)]
    if set(functions[:1]) <= _VIEWS and not 1 <= len(text) <= len(_BY_SHAPE):
        raise TypeError(
            f"{kind.__name__}.{field}: its annotation gives {len(text)} lengths; expected one to three, or a layout"
        )
    first, *more = functions or [_BY_SHAPE[len(text) - 1]]
    if first in _WHOLES:
        yield _Call(field, first, "flat, rest")
    elif first in _VIEWS:
        yield _Call(field, first, ", ".join(["flat", *text]))
    else:
        yield _Call(field, first, ", ".join([*(text or arguments), "flat"]))
    for gap in more:
        if gap not in _WHOLES:
            raise TypeError(f"{kind.__name__}.{field}: {gap.__name__} stands second; expected aligned or whole there")
        yield _Call("_", gap, "flat, rest")
