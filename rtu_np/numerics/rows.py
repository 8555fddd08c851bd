"""Passes over the rows of a matrix that LLVM's loops do not make: four rows with two vectors, many rows with one.

read_four      LLVM makes of an inner product a vector of partial sums, and then adds these up, for each product on its
               own. With rows of 128 numbers, that takes as long as the products. Here eight vectors of partial sums are
               added up together: each halving makes one vector of two, so all eight take fifteen additions, not 32.
learn_four     The same, of rows that learn just before: they are read once, and not twice.
add_to_rows    LLVM reads the vector again for each row. Here up to sixteen registers hold it.

Both are written in LLVM's own language, with vectors of 64 bytes; for a processor with shorter ones, LLVM splits them.
Called from Python, they are plain NumPy.
"""

import functools
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import extending, types

from rtu_np.jit import overload

intrinsic: Any = extending.intrinsic  # its type would say that it is called with the context of typing, too
_VECTOR = 64  # bytes; a `padded` vector and a row of `padded_rows` are multiples of it


def read_four(w, j, a, b, of_a, of_b):
    """of_a[j : j + 4], of_b[j : j + 4] <- w[j : j + 4] . a, w[j : j + 4] . b

    w : (at least j + 4, at least n), of `padded_rows`
    a, b : (n,), `padded`
    """
    for i in range(j, j + 4):
        row = w[i, : a.shape[0]]
        of_a[i], of_b[i] = row @ a, row @ b


@overload(read_four)
def _compile_read_four(w, j, a, b, of_a, of_b):
    return lambda w, j, a, b, of_a, of_b: _read_four(w, j, a, b, of_a, of_b)


def learn_four(w, j, steps, a, b, of_a, of_b):
    """Rows w[j + k] <- w[j + k] + factors[j + k] zs[k], for k from 0 to 3, and then `read_four`

    steps : (factors, zs), with four vectors zs as long as a; the bits are those of `add_to_rows` and `read_four`
    """
    factors, zs = steps
    for k, z in enumerate(zs):
        w[j + k, : z.shape[0]] += factors[j + k] * z
    read_four(w, j, a, b, of_a, of_b)


@overload(learn_four)
def _compile_learn_four(w, j, steps, a, b, of_a, of_b):
    return lambda w, j, steps, a, b, of_a, of_b: _learn_four(w, j, steps, a, b, of_a, of_b)


def add_to_rows(w, start, stop, factors, z):
    """w[j, :n] <- w[j, :n] + factors[j] z, for j from `start` to before `stop`

    w : (at least stop, at least n), of `padded_rows`
    z : (n,), `padded`, or a row of `padded_rows`
    """
    w[start:stop, : z.shape[0]] += factors[start:stop, None] * z


@overload(add_to_rows)
def _compile_add_to_rows(w, start, stop, factors, z):
    return lambda w, start, stop, factors, z: _add_to_rows(w, start, stop, factors, z)


@intrinsic
def _add_to_rows(typing_context, w, start, stop, factors, z):
    signature = types.none(w, types.intp, types.intp, factors, z)
    vector = _vector_of(w)

    def build(context, builder, signature, arguments):
        kinds, (_, start, stop, _, _) = signature.args, arguments
        rows, factors, z = (context.make_array(kinds[k])(context, builder, arguments[k]) for k in (0, 3, 4))
        width = builder.extract_value(rows.shape, 1)
        zero, one, lanes = (ir.Constant(start.type, each) for each in (0, 1, vector.count))
        n_vectors = builder.udiv(builder.extract_value(z.shape, 0), lanes)

        def add(first, count):
            """Add to `count` vectors of each row; those of z stay in registers."""
            places = [builder.mul(builder.add(first, ir.Constant(start.type, k)), lanes) for k in range(count)]
            of_z = [_load(builder, vector, place, z.data) for place in places]
            with counting(builder, start, stop, one) as j:
                factor = repeat(builder, vector, builder.load(builder.gep(factors.data, [j])))
                row = builder.gep(rows.data, [builder.mul(j, width)])
                for place, each in zip(places, of_z, strict=True):
                    product = builder.fmul(factor, each, flags=["contract"])
                    number = builder.fadd(_load(builder, vector, place, row), product, flags=["contract"])
                    _store(builder, number, place, row)

        done = zero
        for count in (16, 8, 1):
            end = builder.and_(n_vectors, ir.Constant(start.type, -count))
            with counting(builder, done, end, ir.Constant(start.type, count)) as first:
                add(first, count)
            done = end
        return context.get_dummy_value()

    return signature, build


@intrinsic
def _read_four(typing_context, w, j, a, b, of_a, of_b):
    signature = types.none(w, types.intp, a, b, of_a, of_b)

    def build(context, builder, signature, arguments):
        w, a, b, of_a, of_b = (_array(context, builder, signature, arguments, k) for k in (0, 2, 3, 4, 5))
        _sums_of_four(builder, _vector_of(signature.args[0]), (w, arguments[1]), (a, b), (of_a, of_b), None)
        return context.get_dummy_value()

    return signature, build


@intrinsic
def _learn_four(typing_context, w, j, steps, a, b, of_a, of_b):
    signature = types.none(w, types.intp, steps, a, b, of_a, of_b)

    def build(context, builder, signature, arguments):
        w, a, b, of_a, of_b = (_array(context, builder, signature, arguments, k) for k in (0, 3, 4, 5, 6))
        vector, at, steps, (of_factors, of_zs) = _vector_of(signature.args[0]), arguments[1], [], signature.args[2]
        factors = context.make_array(of_factors)(context, builder, builder.extract_value(arguments[2], 0))
        for k, kind in enumerate(of_zs):
            z = context.make_array(kind)(context, builder, builder.extract_value(arguments[2], [1, k]))
            place = builder.gep(factors.data, [builder.add(at, ir.Constant(at.type, k))])
            steps.append((repeat(builder, vector, builder.load(place)), z.data))
        _sums_of_four(builder, vector, (w, at), (a, b), (of_a, of_b), steps)
        return context.get_dummy_value()

    return signature, build


def _array(context, builder, signature, arguments, k):
    return context.make_array(signature.args[k])(context, builder, arguments[k])


def _sums_of_four(builder, vector, rows_from, vectors, outs, steps):
    """outs <- the products of four rows with two vectors; first rows <- rows + factor z, with `steps` (factor, z)."""
    (w, at), lanes = rows_from, vector.count
    width = builder.extract_value(w.shape, 1)
    rows = [builder.gep(w.data, [builder.mul(builder.add(at, ir.Constant(at.type, i)), width)]) for i in range(4)]
    with builder.goto_entry_block():
        sums = [builder.alloca(vector) for _ in range(8)]
    for place in sums:
        builder.store(ir.Constant(vector, [0.0] * lanes), place)

    def add_product(number, a, b):
        return builder.fadd(number, builder.fmul(a, b, flags=["contract"]), flags=["contract"])

    n_vectors = builder.udiv(builder.extract_value(vectors[0].shape, 0), ir.Constant(at.type, lanes))
    zero, one = (ir.Constant(at.type, each) for each in (0, 1))
    with counting(builder, zero, n_vectors, one) as k_vector:
        start = builder.mul(k_vector, ir.Constant(at.type, lanes))
        load = functools.partial(_load, builder, vector, start)
        factors = load(vectors[0].data), load(vectors[1].data)
        for i, row in enumerate(rows):
            numbers = load(row)
            if steps is not None:
                factor, z = steps[i]
                numbers = add_product(numbers, factor, load(z))
                _store(builder, numbers, start, row)
            for k, each in enumerate(factors):
                place = sums[4 * k + i]
                builder.store(add_product(builder.load(place), numbers, each), place)

    finished = _finish(builder, [builder.load(place) for place in sums])
    for k, out in enumerate(outs):
        four = builder.shuffle_vector(finished, finished, indices(range(4 * k, 4 * k + 4)))
        place = builder.bitcast(builder.gep(out.data, [at]), four.type.as_pointer())
        builder.store(four, place, align=_VECTOR // lanes)


def _vector_of(array):
    number = ir.FloatType() if array.dtype == types.float32 else ir.DoubleType()
    return ir.VectorType(number, _VECTOR * 8 // array.dtype.bitwidth)


def repeat(builder, vector, number):
    """A vector that has one number at each place."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, first, indices([0] * vector.count))


def _store(builder, numbers, start, data):
    place = builder.bitcast(builder.gep(data, [start]), numbers.type.as_pointer())
    builder.store(numbers, place, align=_VECTOR // numbers.type.count)


@contextmanager
def counting(builder, start, stop, step):
    """A loop: its number, from `start` to before `stop`."""
    before = builder.block
    head, body, after = (builder.append_basic_block() for _ in range(3))
    builder.branch(head)
    builder.position_at_end(head)
    number = builder.phi(start.type)
    number.add_incoming(start, before)
    builder.cbranch(builder.icmp_signed("<", number, stop), body, after)
    builder.position_at_end(body)
    yield number
    number.add_incoming(builder.add(number, step), builder.block)
    builder.branch(head)
    builder.position_at_end(after)


def _load(builder, vector, start, data):
    place = builder.bitcast(builder.gep(data, [start]), vector.as_pointer())
    return builder.load(place, align=_VECTOR // vector.count)


def indices(numbers):
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), list(numbers))


def _finish(builder, sums):
    """The sum of each of eight vectors, in the first eight places of a vector."""
    lanes = sums[0].type.count
    chunk = lanes  # how many numbers of each sum stand side by side
    while chunk > 1:
        pairs = list(zip(sums[::2], sums[1::2], strict=True)) if len(sums) > 1 else [(sums[0], sums[0])]
        half = chunk // 2
        firsts = [i for i in range(2 * lanes) if i % chunk < half]
        seconds = [i + half for i in firsts]
        sums = [
            builder.fadd(builder.shuffle_vector(u, v, indices(firsts)), builder.shuffle_vector(u, v, indices(seconds)))
            for u, v in pairs
        ]
        chunk = half
    return sums[0]
