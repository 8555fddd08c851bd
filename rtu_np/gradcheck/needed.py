"""Which functions a cell lacks for its gradient to be checked."""

from collections.abc import Iterator
from typing import Any

from rtu_np import protocol
from rtu_np.cells.layer import Cell, GradientMethod
from rtu_np.gradients.rtrl import RTRL

_ALWAYS = (protocol.parameters, protocol.state, protocol.forward, protocol.backward, protocol.plain_forward)
_SENSITIVITIES = (
    protocol.memory,
    protocol.move,
    protocol.credit,
    protocol.accumulate,
    protocol.input_gradient,
)


def check_functions(cell: Cell, spec: Any, gradient: GradientMethod) -> None:
    """TypeError, with the name of the function, if the cell or a layer in it does not register what a check needs.

    A cell that registers none of the functions of its own sensitivities gets full RTRL, which needs none.
    """
    own = isinstance(gradient, RTRL) and not gradient.dense
    for part in _specs(spec):
        kind = type(part)
        needed = [*_ALWAYS]
        if own and any(kind in function.table for function in _SENSITIVITIES):
            needed += _SENSITIVITIES
        for function in needed:
            if kind not in function.table and None not in function.table:
                raise TypeError(
                    f"cell is a {type(cell).__name__} without `{function.__name__}` for its {kind.__name__}: the check "
                    f"needs protocol.{function.__name__}.register({kind.__name__}); docs/own_stream.md shows it"
                )


def _specs(spec: Any) -> Iterator[Any]:
    """A spec, and those of its layers."""
    yield spec
    for part in spec:
        if isinstance(part, tuple) and hasattr(part, "n_outputs"):
            yield from _specs(part)
