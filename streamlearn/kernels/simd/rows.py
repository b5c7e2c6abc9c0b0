"""Products of matrices whose rows are lanes: several sums at a time, kept in registers.

A weight matrix is stored as rows of 16 lanes, ``(blocks, inputs, gates, 16)``. The lanes are the units of a
block. The rows of one input are its weights for each gate. *Sums* are a tuple of tuples of lanes,
``sums[a][g]``, where g is the gate. In W·v the sums with different a are partial sums of the same value,
since several partial sums hide the latency of ``fma``; ``fold`` adds them up in a fixed order.

    W·v     sums[a][g] + w[row + a·gates + g]·v[k + a]           add_products, then fold
    δ·vᵀ    sums[a][g] + δ[row + g]·v[k + a]                     add_outer_products
    Wᵀ·δ    totals[j] + Σ_g w[row + j·gates + g]·δ[first + g]    add_transposed_products, then sum_lanes

All loops over a, g and j are unrolled.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .lanes import WIDTH, _address, _is_block_array, _llvm, f32, lanes, splat_value

_fma = _llvm("fma")
_HALF = WIDTH // 2
_TOTALS = types.UniTuple(lanes, _HALF)
_NORM = types.UniTuple(lanes, 4)


def _is_sums(sums: types.Type) -> bool:
    return (
        isinstance(sums, types.UniTuple)
        and isinstance(sums.dtype, types.UniTuple)
        and sums.dtype.dtype is lanes
    )


def _is_vector(values: types.Type) -> bool:
    return (
        isinstance(values, types.Array) and values.dtype == f32 and values.ndim == 1 and values.layout == "C"
    )


def _row(context: Any, builder: Any, array_type: Any, array: Any, row: Any, offset: int) -> Any:
    """The pointer to row ``row + offset`` of an array (rows, 16)."""
    return _address(context, builder, array_type, array, [builder.add(row, ir.Constant(row.type, offset))])


def _load(context: Any, builder: Any, array_type: Any, array: Any, row: Any, offset: int = 0) -> Any:
    return builder.load(_row(context, builder, array_type, array, row, offset), align=4)


def _value(context: Any, builder: Any, array_type: Any, array: Any, k: Any, offset: int) -> Any:
    """``array[k + offset]`` of a float32 vector, in all lanes."""
    data = context.make_array(array_type)(context, builder, array).data
    pointer = builder.gep(data, [builder.add(k, ir.Constant(k.type, offset))], inbounds=True)
    return splat_value(builder, builder.load(pointer))


def _pack(context: Any, builder: Any, sums: Any, parts: list[list[Any]]) -> Any:
    rows = [context.make_tuple(builder, sums.dtype, part) for part in parts]
    return context.make_tuple(builder, sums, rows)


def _unpack(builder: Any, sums: Any, value: Any) -> list[list[Any]]:
    return [
        [builder.extract_value(value, [a, g]) for g in range(sums.dtype.count)] for a in range(sums.count)
    ]


@intrinsic
def zeros(typingctx, count, gates):
    """``count`` partial sums of ``gates`` lanes, all 0."""
    if not (isinstance(count, types.IntegerLiteral) and isinstance(gates, types.IntegerLiteral)):
        return None
    sums = types.UniTuple(types.UniTuple(lanes, gates.literal_value), count.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        zero = ir.Constant(lanes.llvm, [0.0] * WIDTH)
        return _pack(context, builder, sums, [[zero] * sums.dtype.count] * sums.count)

    return sums(count, gates), codegen


def _zero_tuple(kind: types.UniTuple) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return context.make_tuple(builder, kind, [ir.Constant(lanes.llvm, [0.0] * WIDTH)] * kind.count)

    return kind(), codegen


@intrinsic
def zero_totals(typingctx):
    """8 lanes of 0, for ``add_transposed_products``."""
    return _zero_tuple(_TOTALS)


@intrinsic
def zero_norm(typingctx):
    """Four lanes of 0, for ``add_squares``."""
    return _zero_tuple(_NORM)


@intrinsic
def add_row(typingctx, sums, array, row, factor):
    """``sums[0][g] + array[row + g]·factor`` for every g; the other sums stay."""
    if not (_is_sums(sums) and _is_block_array(array, 1) and factor == f32):
        return None

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        parts, factor = _unpack(builder, sums, values[0]), splat_value(builder, values[3])
        for g, total in enumerate(parts[0]):
            parts[0][g] = _fma(
                builder, _load(context, builder, array, values[1], values[2], g), factor, total
            )
        return _pack(context, builder, sums, parts)

    return sums(sums, array, types.int64, f32), codegen


@intrinsic
def add_products(typingctx, sums, array, row, values, k):
    """``sums[a][g] + array[row + a·gates + g]·values[k + a]`` for every a and g."""
    if not (_is_sums(sums) and _is_block_array(array, 1) and _is_vector(values)):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        parts = _unpack(builder, sums, arguments[0])
        for a, part in enumerate(parts):
            factor = _value(context, builder, values, arguments[3], arguments[4], a)
            for g, total in enumerate(part):
                offset = a * sums.dtype.count + g
                weights = _load(context, builder, array, arguments[1], arguments[2], offset)
                part[g] = _fma(builder, weights, factor, total)
        return _pack(context, builder, sums, parts)

    return sums(sums, array, types.int64, values, types.int64), codegen


@intrinsic
def add_outer_products(typingctx, sums, array, row, values, k):
    """``sums[a][g] + array[row + g]·values[k + a]`` for every a and g."""
    if not (_is_sums(sums) and _is_block_array(array, 1) and _is_vector(values)):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        parts = _unpack(builder, sums, arguments[0])
        rows = [
            _load(context, builder, array, arguments[1], arguments[2], g) for g in range(sums.dtype.count)
        ]
        for a, part in enumerate(parts):
            factor = _value(context, builder, values, arguments[3], arguments[4], a)
            part[:] = [_fma(builder, row, factor, total) for row, total in zip(rows, part, strict=True)]
        return _pack(context, builder, sums, parts)

    return sums(sums, array, types.int64, values, types.int64), codegen


@intrinsic
def add_transposed_products(typingctx, sums, totals, array, row, factors, first):
    """``totals[j] + Σ_g array[row + j·gates + g]·factors[first + g]`` for 8 inputs j, g in order.

    Lane l of ``totals[j]`` is the share of unit l of the block; ``sum_lanes`` adds the shares. The number of
    gates is that of ``sums``.
    """
    if not (
        _is_sums(sums) and totals == _TOTALS and _is_block_array(array, 1) and _is_block_array(factors, 1)
    ):
        return None
    gates = sums.dtype.count

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        parts = [builder.extract_value(values[1], j) for j in range(_HALF)]
        for g in range(gates):
            factor = _load(context, builder, factors, values[4], values[5], g)
            for j, total in enumerate(parts):
                weights = _load(context, builder, array, values[2], values[3], j * gates + g)
                parts[j] = _fma(builder, weights, factor, total)
        return context.make_tuple(builder, _TOTALS, parts)

    return _TOTALS(sums, _TOTALS, array, types.int64, factors, types.int64), codegen


@intrinsic
def fold(typingctx, sums):
    """The sum of ``sums[a]`` over a, a tuple over g. Neighbours are added, then pairs."""
    if not _is_sums(sums):
        return None

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        parts = _unpack(builder, sums, values[0])
        while len(parts) > 1:
            parts = [
                [builder.fadd(p, q) for p, q in zip(left, right, strict=True)]
                for left, right in zip(parts[::2], parts[1::2], strict=True)
            ]
        return context.make_tuple(builder, sums.dtype, parts[0])

    return sums.dtype(sums), codegen


@intrinsic
def sum_lanes(typingctx, first, second):
    """Lane j: the sum of the 16 lanes of ``first[j]``, or from lane 8 on of ``second[j − 8]``.

    Lanes l and l + 8 are added, then those 4 apart, then 2, then 1.
    """
    if not (first == second == _TOTALS):
        return None

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        parts = [builder.extract_value(half, j) for half in values for j in range(_HALF)]

        def shuffle(a: Any, b: Any, places: list[int]) -> Any:
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), places))

        # Vector i takes in vector i + half: its chunks of 2·size lanes become, of both, the sums of the lower
        # and the upper ``size`` lanes. One of the two summands of each lane is already in its place.
        size = WIDTH // 2
        while len(parts) > 1:
            half, places = len(parts) // 2, list(range(WIDTH))
            of_second = [bool(place & size) for place in places]
            here = [place + WIDTH * second for place, second in zip(places, of_second, strict=True)]
            there = [(place ^ size) + WIDTH * second for place, second in zip(places, of_second, strict=True)]
            parts = [
                builder.fadd(shuffle(p, q, here), shuffle(p, q, there))
                for p, q in zip(parts[:half], parts[half:], strict=True)
            ]
            size //= 2
        return parts[0]

    return lanes(_TOTALS, _TOTALS), codegen


@intrinsic
def store_rows(typingctx, array, row, step, sums):
    """Store ``sums[a][g]`` to row ``row + a·step + g``."""
    if not (_is_sums(sums) and _is_block_array(array, 1)):
        return None

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        row = values[1]
        for part in _unpack(builder, sums, values[3]):
            for g, value in enumerate(part):
                builder.store(value, _row(context, builder, array, values[0], row, g), align=4)
            row = builder.add(row, values[2])
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, sums), codegen


@intrinsic
def add_squares(typingctx, norm, sums):
    """``norm``, four lanes, plus the squares of ``sums``, g after g, a after a: each to the next of the
    four.
    """
    if not (_is_sums(sums) and norm == _NORM):
        return None

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        totals = [builder.extract_value(values[0], j) for j in range(_NORM.count)]
        for n, value in enumerate(v for part in _unpack(builder, sums, values[1]) for v in part):
            j = n % _NORM.count
            totals[j] = _fma(builder, value, value, totals[j])
        return context.make_tuple(builder, _NORM, totals)

    return _NORM(_NORM, sums), codegen
