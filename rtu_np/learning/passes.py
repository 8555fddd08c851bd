"""An optimiser's pass, compiled apart from the networks that it updates.

An optimiser needs flat arrays alone, whatever the network. So its pass over them is one compiled function for each
optimiser and precision, and the step of a network calls it through an address. One compiled network then serves many
optimisers, and a new optimiser costs a pass, not a pass for each network. A network is compiled for one of three kinds:

AlongTraces     SGD, ObGD: the update is a number times the traces. The pass returns the number, and the network adds
                the traces while it advances its sensitivities, in one sweep through memory.
InOwnPass       Adam, RMSProp, and any other.
EitherWay       the network is compiled for both, and looks at each step: `TDLambda`, whose networks are small.

What the compiled network gets of an optimiser is the address of a table in memory: the address of its function, and the
numbers of its settings.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import extending, types

from rtu_np.jit import c_address, config, kernel, overload
from rtu_np.learning import optimizers
from rtu_np.numerics.buffers import size

intrinsic: Any = extending.intrinsic  # its type would say that it is called with the context of typing, too
_FUNCTION, _IS_ALONG, _N_MOMENTS, _SETTINGS = range(4)  # slots of a table, eight bytes each


class AlongTraces(NamedTuple):
    table: int  # its address
    n_moments: int


class InOwnPass(NamedTuple):
    table: int
    n_moments: int


class EitherWay(NamedTuple):
    table: int
    n_moments: int


class _Pass(NamedTuple):
    spec: Any  # of the optimiser
    table: np.ndarray


_passes: dict[int, _Pass] = {}  # by the address of the table, which lives as long as the process
_known: dict[tuple, int] = {}  # addresses of tables


def compiled_apart(
    spec: Any, n_weights: int, dtype: np.dtype, either: bool = False
) -> AlongTraces | InOwnPass | EitherWay:
    """What a network of `n_weights` weights needs of an optimiser with this spec, whose fields are numbers."""
    n_moments, along = size(optimizers.moments, spec, n_weights), _is_along_traces(spec, dtype)
    function = 0 if config.DISABLE_JIT else _address(type(spec), along, dtype)
    key = spec, type(spec), n_moments, function
    if key not in _known:
        table = np.zeros(_SETTINGS + len(spec), np.int64)
        table[[_FUNCTION, _IS_ALONG, _N_MOMENTS]] = function, along, n_moments
        table[_SETTINGS:].view(np.float64)[:] = spec
        _known[key] = table.ctypes.data
        _passes[table.ctypes.data] = _Pass(spec, table)
    kind = EitherWay if either else AlongTraces if along else InOwnPass
    return kind(_known[key], n_moments)


def spec_of(optimizer: Any) -> Any:
    """The spec of an optimiser that was compiled apart, for Python; any other spec stays as it is."""
    return _passes[optimizer.table].spec if isinstance(optimizer, AlongTraces | InOwnPass | EitherWay) else optimizer


def moments_of(optimizer: Any, n_weights: int, flat: np.ndarray) -> Any:
    """Named views of the moments of an optimiser that was compiled apart, for Python."""
    return optimizers.moments(spec_of(optimizer), n_weights, flat)[0]


def _is_along_traces(spec: Any, dtype: np.dtype) -> bool:
    return optimizers.step(spec, np.zeros(1, dtype), dtype.type(0)) is not None


# --------------------------------------------------------------------------------------------------------- compiling


def _address(kind: type, along: bool, dtype: np.dtype) -> int:
    """The address of the pass of an optimiser."""
    make = _maker(kind)

    def step(table, n, params, traces, moments, delta):
        return optimizers.step(make(table), _vector(traces, n), delta)

    def update(table, n, params, traces, moments, delta):
        spec, flat = make(table), _vector(moments, _slot(table, _N_MOMENTS))
        views, _ = optimizers.moments(spec, n, flat)
        optimizers.update(spec, _vector(params, n), _vector(traces, n), views, delta)
        return delta

    real = types.float32 if dtype == np.float32 else types.float64
    array = types.CPointer(real)
    return c_address(step if along else update, real(types.intp, types.intp, array, array, array, real))


def _maker(kind: type) -> Callable:
    """The kernel that reads the spec of an optimiser from its table."""
    fields = ", ".join(f"_setting(table, {_SETTINGS + k})" for k in range(len(kind._fields)))  # type: ignore[attr-defined]
    names: dict[str, Any] = {"kind": kind, "_setting": _setting, "__name__": kind.__module__}
    exec(f"def spec_from(table):\n    return kind({fields})\n", names)
    return kernel(names["spec_from"])


@intrinsic
def _slot(typing_context, table, slot):
    """An integer of a table."""

    def build(context, builder, signature, arguments):
        return builder.load(_place(builder, *arguments))

    return types.intp(types.intp, types.intp), build


@intrinsic
def _setting(typing_context, table, slot):
    """A float64 of a table."""

    def build(context, builder, signature, arguments):
        place = _place(builder, *arguments)
        return builder.load(builder.bitcast(place, ir.DoubleType().as_pointer()))

    return types.float64(types.intp, types.intp), build


@intrinsic
def _vector(typing_context, data, n):
    """The vector of `n` numbers at a pointer. Numba's `carray` needs its runtime."""
    kind = types.Array(data.dtype, 1, "C")

    def build(context, builder, signature, arguments):
        array = context.make_array(kind)(context, builder)
        array.data, n = arguments
        itemsize = context.get_constant(types.intp, data.dtype.bitwidth // 8)
        array.itemsize, array.nitems = itemsize, n
        array.shape = array.strides = ir.Constant(ir.ArrayType(n.type, 1), ir.Undefined)
        array.shape = builder.insert_value(array.shape, n, 0)
        array.strides = builder.insert_value(array.strides, itemsize, 0)
        return array._getvalue()

    return kind(data, types.intp), build


def _place(builder: Any, table: Any, slot: Any) -> Any:
    return builder.gep(builder.inttoptr(table, ir.IntType(64).as_pointer()), [slot])


@intrinsic
def _call(typing_context, table, params, traces, moments, delta):
    """Call the pass whose address stands in a table."""

    def build(context, builder, signature, arguments):
        table, *arrays, delta = arguments
        arrays = [
            context.make_array(kind)(context, builder, value=value)
            for kind, value in zip(signature.args[1:4], arrays, strict=True)
        ]
        data = [array.data for array in arrays]
        n = builder.extract_value(arrays[1].shape, 0)
        kind = ir.FunctionType(delta.type, [table.type, n.type, *(each.type for each in data), delta.type])
        address = builder.load(_place(builder, table, context.get_constant(types.intp, _FUNCTION)))
        return builder.call(builder.inttoptr(address, kind.as_pointer()), [table, n, *data, delta])

    return traces.dtype(types.intp, params, traces, moments, traces.dtype), build


# ----------------------------------------------------------------------------------------------------------- calling


def _step(optimizer, traces, delta):
    return optimizers.step(spec_of(optimizer), traces, delta)


def _update(optimizer, params, traces, moments, delta):
    optimizers.update(spec_of(optimizer), params, traces, moments_of(optimizer, params.size, moments), delta)


@overload(_step)
def _compile_step(optimizer, traces, delta):
    return lambda optimizer, traces, delta: _call(optimizer.table, traces, traces, traces, delta)


@overload(_update)
def _compile_update(optimizer, params, traces, moments, delta):
    def update(optimizer, params, traces, moments, delta):
        _call(optimizer.table, params, traces, moments, delta)

    return update


@optimizers.step.register(AlongTraces)
def _number_along_traces(optimizer, traces, delta):
    return _step(optimizer, traces, delta)


@optimizers.step.register(InOwnPass)
def _no_number(optimizer, traces, delta):
    return None


@optimizers.update.register(AlongTraces)
def _no_pass(optimizer, params, traces, moments, delta):
    pass


@optimizers.update.register(InOwnPass)
def _pass(optimizer, params, traces, moments, delta):
    _update(optimizer, params, traces, moments, delta)


def is_along(optimizer):
    """Whether the update of an optimiser is a number times the traces."""
    return _passes[optimizer.table].table[_IS_ALONG] != 0


@overload(is_along)
def _compile_is_along(optimizer):
    return lambda optimizer: _slot(optimizer.table, _IS_ALONG) != 0
