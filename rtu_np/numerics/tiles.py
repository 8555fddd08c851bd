"""Products of matrices in tiles of four rows by two vectors, whose sums stay in registers.

LLVM's loops make such a product row by row: each number of the result is read and written for every few of its terms.
Here a tile is read once, gets all of its terms, and is written once. The terms of a number are added in the order of
the loops in plain Python below, so the bits do not depend on how a matrix is cut into tiles.

The code is written in LLVM's own language, with vectors of the length that the processor has. It is a function of its
own, made once for each precision. Called from Python, it is plain Python.
"""

from typing import Any

from llvmlite import ir
from numba import types

from rtu_np.jit import overload
from rtu_np.numerics.rows import counting, indices, intrinsic, repeat

_ROWS, _VECTORS = 4, 2  # of a tile: their sums, and what they are made of, are in 16 registers


def add_product_of(A, B, C, n_grouped):
    """C (n, m) <- C + A (n, d) B (d, m). Columns of C, and of B, stand side by side; m is the lesser of their numbers.

    n_grouped : of the d terms, how many are added up by four before they are added to C; a multiple of 4. Rows behind
        the last four of C add each by itself
    """
    n, m = C.shape[0], min(B.shape[1], C.shape[1])
    for k in range(n):
        grouped = n_grouped if k < n - n % _ROWS else 0
        for i in range(m):
            for j in range(0, grouped, 4):
                four = A[k, j] * B[j, i] + A[k, j + 1] * B[j + 1, i]
                C[k, i] += four + A[k, j + 2] * B[j + 2, i] + A[k, j + 3] * B[j + 3, i]
            for j in range(grouped, B.shape[0]):
                C[k, i] += A[k, j] * B[j, i]


@overload(add_product_of)
def _compile_add_product_of(A, B, C, n_grouped):
    return lambda A, B, C, n_grouped: _add_product_of(A, B, C, n_grouped)


@intrinsic
def _add_product_of(typing_context, A, B, C, n_grouped):
    signature = types.none(A, B, C, types.intp)

    def build(context, builder, signature, arguments):
        arrays = [
            context.make_array(kind)(context, builder, each)
            for kind, each in zip(signature.args[:3], arguments[:3], strict=True)
        ]
        function = _function_for(context, builder.module, arrays[0].data.type.pointee)
        size = ir.Constant(arguments[3].type, C.dtype.bitwidth // 8)
        strides = [[builder.sdiv(each, size) for each in _numbers(builder, array.strides)] for array in arrays]
        (a_row, a_column), (b_row, _), (c_row, _) = strides
        (n, of_c), (d, of_b) = (_numbers(builder, arrays[k].shape) for k in (2, 1))
        m = builder.select(builder.icmp_signed("<", of_c, of_b), of_c, of_b)
        (a, b, c), sizes = [each.data for each in arrays], (n, d, m, arguments[3])
        builder.call(function, [a, b, c, a_row, a_column, b_row, c_row, *sizes])
        return context.get_dummy_value()

    return signature, build


def _numbers(builder, pair):
    return [builder.extract_value(pair, k) for k in range(2)]


def _vector_bytes(context: Any) -> int:
    """The length of the processor's vectors."""
    _, name, features = context.codegen().magic_tuple()
    if "+avx512f" in features or name == "x86-64-v4":
        return 64
    return 32 if "+avx" in features or name == "x86-64-v3" else 16


def _function_for(context: Any, module: Any, number: Any) -> Any:
    """The product for numbers of this type, as a function of the module."""
    name = f"rtu_np.add_product_of.{number}"
    if name in module.globals:
        return module.globals[name]
    integer, pointer = ir.IntType(64), number.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer] * 3 + [integer] * 8), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    for argument in function.args[:3]:
        argument.add_attribute("noalias")
    builder = ir.IRBuilder(function.append_basic_block())
    _Product(builder, function.args, _vector_bytes(context) * 8 // (32 if number == ir.FloatType() else 64)).build()
    builder.ret_void()
    return function


class _Product:
    """Writes the loops over tiles."""

    def __init__(self, builder: Any, arguments: Any, lanes: int) -> None:
        self._builder, self._lanes = builder, lanes
        self._a, self._b, self._c, self._a_row, self._a_column, self._b_row, self._c_row, *sizes = arguments
        self._n, self._d, self._m, self._n_grouped = sizes

    def build(self) -> None:
        """Columns in tiles, then in single vectors of half the length, then one by one."""
        builder, done = self._builder, self._integer(0)
        number = self._a.type.pointee
        for kind, count in (
            (ir.VectorType(number, self._lanes), _VECTORS),
            (ir.VectorType(number, self._lanes // 2), 1),
            (number, 1),
        ):
            width = count * getattr(kind, "count", 1)
            end = builder.and_(self._m, self._integer(-width))
            with counting(builder, done, end, self._integer(width)) as column:
                rows = builder.and_(self._n, self._integer(-_ROWS))
                with counting(builder, self._integer(0), rows, self._integer(_ROWS)) as row:
                    self._tile(row, column, _ROWS, [kind] * count)
                with counting(builder, rows, self._n, self._integer(1)) as row:
                    self._tile(row, column, 1, [kind] * count)
            done = end

    def _integer(self, value: int) -> Any:
        return ir.Constant(ir.IntType(64), value)

    def _tile(self, first_row: Any, first_column: Any, n_rows: int, kinds: list) -> None:
        """All terms of some rows of C, in some vectors of each."""
        builder = self._builder
        width = getattr(kinds[0], "count", 1)
        rows = [builder.add(first_row, self._integer(r)) for r in range(n_rows)]
        columns = [builder.add(first_column, self._integer(v * width)) for v in range(len(kinds))]
        places = [
            [
                self._place(self._c, self._offset(row, self._c_row, column), kind)
                for column, kind in zip(columns, kinds, strict=True)
            ]
            for row in rows
        ]
        with builder.goto_entry_block():
            sums = [[builder.alloca(kind) for kind in kinds] for _ in rows]
        for of_row, into in zip(places, sums, strict=True):
            for place, total in zip(of_row, into, strict=True):
                builder.store(self._load(place), total)
        starts = [builder.mul(row, self._a_row) for row in rows]
        grouped = self._n_grouped if n_rows == _ROWS else self._integer(0)

        def add_terms(first: Any, count: int) -> None:
            terms = [builder.add(first, self._integer(k)) for k in range(count)]
            b_rows = [builder.mul(term, self._b_row) for term in terms]
            a_columns = [builder.mul(term, self._a_column) for term in terms]
            factors = [
                [
                    self._repeated(builder.load(builder.gep(self._a, [builder.add(start, at)])), kinds[0])
                    for at in a_columns
                ]
                for start in starts
            ]
            for v, kind in enumerate(kinds):
                of_b = [self._load(self._place(self._b, builder.add(at, columns[v]), kind)) for at in b_rows]
                for of_row, into in zip(factors, sums, strict=True):
                    total = self._product(of_row[0], of_b[0])
                    for factor, each in zip(of_row[1:], of_b[1:], strict=True):
                        total = builder.fadd(total, self._product(factor, each), flags=["contract"])
                    builder.store(builder.fadd(builder.load(into[v]), total, flags=["contract"]), into[v])

        if n_rows == _ROWS:
            with counting(builder, self._integer(0), grouped, self._integer(4)) as first:
                add_terms(first, 4)
        with counting(builder, grouped, self._d, self._integer(1)) as first:
            add_terms(first, 1)
        for of_row, into in zip(places, sums, strict=True):
            for place, total in zip(of_row, into, strict=True):
                self._store(builder.load(total), place)

    def _product(self, a: Any, b: Any) -> Any:
        return self._builder.fmul(a, b, flags=["contract"])

    def _offset(self, row: Any, stride: Any, column: Any) -> Any:
        return self._builder.add(self._builder.mul(row, stride), column)

    def _place(self, data: Any, offset: Any, kind: Any) -> Any:
        return self._builder.bitcast(self._builder.gep(data, [offset]), kind.as_pointer())

    def _load(self, place: Any) -> Any:
        return self._builder.load(place, align=self._alignment)

    def _store(self, numbers: Any, place: Any) -> None:
        self._builder.store(numbers, place, align=self._alignment)

    @property
    def _alignment(self) -> int:
        return 4 if self._a.type.pointee == ir.FloatType() else 8

    def _repeated(self, number: Any, kind: Any) -> Any:
        return repeat(self._builder, kind, number) if isinstance(kind, ir.VectorType) else number


# -------------------------------------------------------------------------------------------------------- transposing

SIDE = 8  # of the squares that are turned


def turn_square(W, j, i, out):
    """out[i : i + 8, j : j + 8] <- W[j : j + 8, i : i + 8]^T"""
    for k in range(SIDE):
        for m in range(SIDE):
            out[i + m, j + k] = W[j + k, i + m]


@overload(turn_square)
def _compile_turn_square(W, j, i, out):
    return lambda W, j, i, out: _turn_square(W, j, i, out)


@intrinsic
def _turn_square(typing_context, W, j, i, out):
    signature = types.none(W, types.intp, types.intp, out)

    def build(context, builder, signature, arguments):
        source, target = (context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 3))
        j, i = arguments[1:3]
        vector, alignment = ir.VectorType(source.data.type.pointee, SIDE), W.dtype.bitwidth // 8

        def places(array, row, column):
            width = builder.extract_value(array.shape, 1)
            for k in range(SIDE):
                start = builder.mul(builder.add(row, ir.Constant(row.type, k)), width)
                at = builder.gep(array.data, [builder.add(start, column)])
                yield builder.bitcast(at, vector.as_pointer())

        rows = [builder.load(place, align=alignment) for place in places(source, j, i)]
        for bit in (1, 2, 4):  # swap this bit of a number's row with that of its column
            first = indices([m + SIDE - bit if m & bit else m for m in range(SIDE)])
            second = indices([m + SIDE if m & bit else m + bit for m in range(SIDE)])
            pairs = [(rows[k & ~bit], rows[k | bit]) for k in range(SIDE)]
            rows = [builder.shuffle_vector(*pair, second if k & bit else first) for k, pair in enumerate(pairs)]
        for row, place in zip(rows, places(target, i, j), strict=True):
            builder.store(row, place, align=alignment)
        return context.get_dummy_value()

    return signature, build
