"""Floating-point operations and bytes of a learning step, counted from the equations.

One operation is an addition, a multiplication, a division, or one evaluation of exp, tanh, sin, cos or sqrt; changes of
sign, comparisons and copies are free. A step is counted up to adding the gradient to the eligibility trace (derivations
(20)). The update is left out: it is the same for every cell and method, 2 operations per parameter with SGD.

The counts are those of the equations as the kernels evaluate them, without the padding of odd sizes to whole vectors.
The tests check them against numbers that count their own operations.
"""

from typing import Any

from rtu_np import protocol
from rtu_np.cells.layer import Cell, GradientMethod, check_cell, check_gradient
from rtu_np.numerics.buffers import count_numbers
from rtu_np.validation import check_count, check_dtype


def flops(cell: Cell, n_inputs: int, gradient: GradientMethod | None = None) -> int:
    """Operations of one learning step of `cell`: products, sums and functions (docs/derivations.md, *Cost per step*).

    Parameters
    ----------
    cell : any cell
    n_inputs : width of the input
    gradient : how the gradient travels through time; RTRL() by default, TBPTT with a full window

    Raises
    ------
    ValueError, TypeError : by name, for an argument out of its range or of the wrong type

    Examples
    --------
    >>> from rtu_np import GRU, TBPTT, LinearRTU
    >>> flops(LinearRTU(192), 64), flops(GRU(64), 64, TBPTT(10))
    (282816, 1376384)
    """
    n_inputs = check_count("n_inputs", n_inputs)
    return protocol.learning_flops(check_gradient(gradient).spec(check_cell(cell).spec(n_inputs), "float64"))


def bytes_per_step(cell: Cell, n_inputs: int, gradient: GradientMethod | None = None, dtype: Any = "float64") -> int:
    """Bytes that one learning step moves at least: every number that the learner stores is read and written once.

    These are parameters, traces, and the memory of the gradient method (RTRL() by default). How many of the bytes reach
    main memory depends on the caches.

    Parameters
    ----------
    cell, n_inputs, gradient : as in `flops`
    dtype : "float64" or "float32"

    Raises
    ------
    ValueError, TypeError : by name, for an argument out of its range or of the wrong type

    Examples
    --------
    >>> from rtu_np import LinearRTU
    >>> bytes_per_step(LinearRTU(192), 64), bytes_per_step(LinearRTU(192), 64, dtype="float32")
    (1251328, 625664)
    """
    n_inputs = check_count("n_inputs", n_inputs)
    dtype = check_dtype("dtype", dtype)
    spec = check_gradient(gradient).spec(check_cell(cell).spec(n_inputs), dtype)
    stored = 2 * count_numbers(protocol.parameters, spec) + count_numbers(protocol.memory, spec)
    return 2 * stored * dtype.itemsize
