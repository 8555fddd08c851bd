"""An optimiser's pass, compiled apart from the networks that it updates.

An optimiser needs flat arrays alone, whatever the network. So its pass over them is one compiled function for each
optimiser and precision, and the step of a network calls it through an address. One compiled network then serves many
optimisers, and a new optimiser costs a pass, not a pass for each network. A network is compiled for one of four kinds:

AlongTraces     SGD, ObGD: the update is a number times the traces. The pass returns the number, and the network adds
                the traces while it advances its sensitivities, in one sweep through memory.
InOwnPass       Adam, RMSProp, and any other.
EitherWay       the network is compiled for both, and looks at each step: `TDLambda`, whose networks are small.
WithGradient    rules that need the latest gradient beside the traces, and a rule for each block. The network stores the
                gradient with the moments. The pass goes through the parts of the flat arrays, advances the traces
                of each, and calls the pass of its rule.

What the compiled network gets of an optimiser is the address of a table in memory: the address of its function, and the
numbers of its settings.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import extending, types

from rtu_np.jit import c_address, config, kernel, overload
from rtu_np.learning import optimizers
from rtu_np.learning.parts import DELTA, DISCOUNT, Parts, parts_header
from rtu_np.numerics.buffers import leaves, size

intrinsic: Any = extending.intrinsic  # its type would say that it is called with the context of typing, too
# Slots of a table, eight bytes each. The settings of a rule follow, or rows about the parts.
_FUNCTION, _IS_ALONG, _N_MOMENTS, _SIZE, _LAMBDA, _N_PARTS, _GRADIENT_AT, _SETTINGS = range(8)
_START, _MOMENTS_AT, _RULE, _ROW = range(4)  # slots of a row, and its length


class AlongTraces(NamedTuple):
    table: int  # its address
    n_moments: int


class InOwnPass(NamedTuple):
    table: int
    n_moments: int


class EitherWay(NamedTuple):
    table: int
    n_moments: int


class WithGradient(NamedTuple):
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
    kind = EitherWay if either else AlongTraces if along else InOwnPass
    return kind(_table(spec, function, n_weights, n_moments, along=along), n_moments)


def compiled_by_parts(parts: Parts, n_weights: int, dtype: np.dtype) -> WithGradient:
    """What a network of `n_weights` weights needs of rules for its parts."""
    header, _ = parts_header(n_weights, np.empty(size(parts_header, n_weights), np.int8))
    gradient_at = header.gradient.ctypes.data - header.latest.ctypes.data
    end, rows = size(parts_header, n_weights), []
    for part in parts.parts:
        n = part.stop - part.start
        n_moments = size(optimizers.moments, part.spec, n)
        function = 0 if config.DISABLE_JIT else _address_of_part(type(part.spec), dtype)
        rows.append((part.start, end, _table(part.spec, function, n, n_moments, lambda_=part.lambda_)))
        end += n_moments
    function = 0 if config.DISABLE_JIT else _address_of_parts(dtype)
    return WithGradient(_table(parts, function, n_weights, end, rows=rows, gradient_at=gradient_at), end)


def _table(
    spec: Any,
    function: int,
    n: int,
    n_moments: int,
    *,
    along: bool = False,
    lambda_: float = 0.0,
    rows: Any = (),
    gradient_at: int = 0,
) -> int:
    """The address of the table with these numbers, for `n` weights. Equal numbers have one table."""
    key = spec, type(spec), function, n, n_moments, lambda_, tuple(rows)
    if key not in _known:
        settings = np.array(rows, np.int64).ravel() if rows else np.array(spec, np.float64).view(np.int64)
        table = np.zeros(_SETTINGS + settings.size, np.int64)
        table[[_FUNCTION, _IS_ALONG, _N_MOMENTS, _SIZE]] = function, along, n_moments, n
        table[[_N_PARTS, _GRADIENT_AT]] = len(rows), gradient_at
        table[_LAMBDA : _LAMBDA + 1].view(np.float64)[0] = lambda_
        table[_SETTINGS:] = settings
        _known[key] = table.ctypes.data
        _passes[table.ctypes.data] = _Pass(spec, table)
    return _known[key]


def spec_of(optimizer: Any) -> Any:
    """The spec of an optimiser that was compiled apart, for Python; any other spec stays as it is."""
    apart = isinstance(optimizer, AlongTraces | InOwnPass | EitherWay | WithGradient)
    return _passes[optimizer.table].spec if apart else optimizer


def moments_of(optimizer: Any, n_weights: int, flat: np.ndarray) -> Any:
    """Named views of the moments of an optimiser that was compiled apart, for Python."""
    return optimizers.moments(spec_of(optimizer), n_weights, flat)[0]


def _is_along_traces(spec: Any, dtype: np.dtype) -> bool:
    return optimizers.step(spec, np.zeros(1, dtype), dtype.type(0)) is not None


# --------------------------------------------------------------------------------------------------------- compiling


def _address(kind: type, along: bool, dtype: np.dtype) -> int:
    """The address of the pass of an optimiser."""
    real = _real(dtype)
    array = types.CPointer(real)
    return c_address(_pass_of_all(kind, along), real(types.intp, types.intp, array, array, array, real))


@functools.cache  # one function for all learners, so that its fingerprint is remembered
def _pass_of_all(kind: type, along: bool) -> Callable:
    make = _maker(kind)

    def step(table, n, params, traces, moments, delta):
        return optimizers.step(make(table), _vector(traces, n), delta)

    def update(table, n, params, traces, moments, delta):
        spec, flat = make(table), _vector(moments, _slot(table, _N_MOMENTS))
        views, _ = optimizers.moments(spec, n, flat)
        optimizers.update(spec, _vector(params, n), _vector(traces, n), views, delta)
        return delta

    return step if along else update


def _address_of_part(kind: type, dtype: np.dtype) -> int:
    """The address of the pass of a rule over one part of a network."""
    real = _real(dtype)
    array = types.CPointer(real)
    return c_address(_pass_of_part(kind), real(types.intp, array, array, array, array, real, real))


@functools.cache
def _pass_of_part(kind: type) -> Callable:
    make = _maker(kind)

    def follow(table, params, traces, gradient, moments, delta, discount):
        spec, n, flat = make(table), _slot(table, _SIZE), _vector(moments, _slot(table, _N_MOMENTS))
        views, _ = optimizers.moments(spec, n, flat)
        decay = discount * flat.dtype.type(_setting(table, _LAMBDA))
        p, z, g = _vector(params, n), _vector(traces, n), _vector(gradient, n)
        optimizers.follow(spec, p, z, g, views, delta, decay)
        return delta

    return follow


@functools.cache
def _address_of_parts(dtype: np.dtype) -> int:
    """The address of the pass over the parts of a network."""

    def update(table, n, params, traces, moments, delta):
        latest, gradient_at = _vector(moments, 2), _slot(table, _GRADIENT_AT)
        discount, latest[DELTA] = latest[DISCOUNT], delta
        for k in range(_slot(table, _N_PARTS)):
            row = _SETTINGS + k * _ROW
            start, rule = _slot(table, row + _START), _slot(table, row + _RULE)
            p, z, g = _at(params, start), _at(traces, start), _at(moments, gradient_at + start)
            own = _at(moments, _slot(table, row + _MOMENTS_AT))
            _call_part(rule, p, z, g, own, delta, discount)
        return delta

    real = _real(dtype)
    array = types.CPointer(real)
    return c_address(update, real(types.intp, types.intp, array, array, array, real))


def _real(dtype: np.dtype) -> Any:
    return types.float32 if dtype == np.float32 else types.float64


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
def _at(typing_context, data, start):
    """The pointer `start` numbers further."""

    def build(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return data(data, types.intp), build


def _call_address(builder: Any, table: Any, arguments: list, returned: Any) -> Any:
    """Call the function whose address stands in a table, with the table and these arguments."""
    kind = ir.FunctionType(returned, [table.type, *(each.type for each in arguments)])
    address = builder.load(_place(builder, table, ir.Constant(ir.IntType(64), _FUNCTION)))
    return builder.call(builder.inttoptr(address, kind.as_pointer()), [table, *arguments])


@intrinsic
def _call(typing_context, table, params, traces, moments, delta):
    """Call the pass whose address stands in a table."""

    def build(context, builder, signature, arguments):
        table, *arrays, delta = arguments
        arrays = [
            context.make_array(kind)(context, builder, value=value)
            for kind, value in zip(signature.args[1:4], arrays, strict=True)
        ]
        n = builder.extract_value(arrays[1].shape, 0)
        return _call_address(builder, table, [n, *(array.data for array in arrays), delta], delta.type)

    return traces.dtype(types.intp, params, traces, moments, traces.dtype), build


@intrinsic
def _call_part(typing_context, table, params, traces, gradient, moments, delta, discount):
    """Call the pass of a rule over one part; the arrays are pointers."""

    def build(context, builder, signature, arguments):
        return _call_address(builder, arguments[0], list(arguments[1:]), arguments[-1].type)

    arrays = params, traces, gradient, moments
    return delta(types.intp, *arrays, delta, delta), build


# ----------------------------------------------------------------------------------------------------------- calling


def _step(optimizer, traces, delta):
    return optimizers.step(spec_of(optimizer), traces, delta)


def _update(optimizer, params, traces, moments, delta):
    optimizers.update(spec_of(optimizer), params, traces, moments_of(optimizer, params.size, moments), delta)


def named_moments(optimizer: Any, n_weights: int, flat: np.ndarray) -> dict[str, np.ndarray]:
    """{name: view} of the moments of an optimiser that was compiled apart."""
    spec, views = spec_of(optimizer), moments_of(optimizer, n_weights, flat)
    if not isinstance(spec, Parts):
        return leaves(views)
    header, *own = views
    named = leaves(header)
    for part, of_part in zip(spec.parts, own, strict=True):
        named |= leaves(of_part, f"{part.block or 'rule'}.")
    return named


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
@optimizers.step.register(WithGradient)
def _no_number(optimizer, traces, delta):
    return None


@optimizers.update.register(AlongTraces)
def _no_pass(optimizer, params, traces, moments, delta):
    pass


@optimizers.update.register(InOwnPass)
@optimizers.update.register(WithGradient)
def _pass(optimizer, params, traces, moments, delta):
    _update(optimizer, params, traces, moments, delta)


def is_along(optimizer):
    """Whether the update of an optimiser is a number times the traces."""
    return _passes[optimizer.table].table[_IS_ALONG] != 0


@overload(is_along)
def _compile_is_along(optimizer):
    return lambda optimizer: _slot(optimizer.table, _IS_ALONG) != 0
