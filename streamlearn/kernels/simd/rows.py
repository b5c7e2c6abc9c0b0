"""Products of matrices whose rows are lanes: several sums at a time, kept in registers.

A weight matrix is stored as rows of 16 lanes, ``(blocks, inputs, gates, 16)``. The lanes are the units of a
block. The rows of one input are its weights for each gate. *Sums* are a tuple of tuples of lanes,
``sums[a][g]``, where g is the gate. In W·v the sums with different a are partial sums of the same value,
since several partial sums hide the latency of ``fma``; ``fold`` adds them up in a fixed order.

    W·v     sums[a][g] + w[row + a·gates + g]·v[k + a]    add_products, then fold
    δ·vᵀ    sums[a][g] + δ[row + g]·v[k + a]              add_outer_products
    Wᵀ·δ    totals[j] + w[row + j·gates]·δ                add_transposed_products, add_quarters, sum_lanes

All loops over a, g and j are unrolled.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..compiler.arrays import data_of
from .lanes import WIDTH, _address, _is_block_array, _llvm, f32, lanes, splat_value

_fma = _llvm("fma")
_FOUR = types.UniTuple(lanes, 4)


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
    data = data_of(context, builder, array_type, array)
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


@intrinsic
def four_zeros(typingctx):
    """Four lanes of 0, for ``add_squares`` and ``add_transposed_products``."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return context.make_tuple(builder, _FOUR, [ir.Constant(lanes.llvm, [0.0] * WIDTH)] * 4)

    return _FOUR(), codegen


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
def add_transposed_products(typingctx, totals, array, row, step, factor):
    """``totals[j] + array[row + j·step]·factor`` for four inputs j.

    Lane l of ``totals[j]`` is the share of unit l of the block; ``sum_lanes`` adds the shares.
    """
    if not (totals == _FOUR and _is_block_array(array, 1) and factor is lanes):
        return None

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        row, parts = values[2], []
        for j in range(_FOUR.count):
            weights = _load(context, builder, array, values[1], row)
            parts.append(_fma(builder, weights, values[4], builder.extract_value(values[0], j)))
            row = builder.add(row, values[3])
        return context.make_tuple(builder, _FOUR, parts)

    return _FOUR(_FOUR, array, types.int64, types.int64, lanes), codegen


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


def _shuffle(builder: Any, a: Any, b: Any, places: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), places))


def _add_lanes(builder: Any, parts: list[Any], size: int) -> list[Any]:
    """Half as many vectors. Of vectors i and i + half, chunks of 2·size lanes become the sums of the lower
    and of the upper ``size`` lanes. One of the two summands of each lane is already in its place."""
    half, places = len(parts) // 2, list(range(WIDTH))
    of_second = [WIDTH * bool(place & size) for place in places]
    here = [place + second for place, second in zip(places, of_second, strict=True)]
    there = [(place ^ size) + second for place, second in zip(places, of_second, strict=True)]
    return [
        builder.fadd(_shuffle(builder, p, q, here), _shuffle(builder, p, q, there))
        for p, q in zip(parts[:half], parts[half:], strict=True)
    ]


@intrinsic
def add_quarters(typingctx, totals):
    """The lanes of four ``totals`` in one vector: lanes l and l + 8 are added, then those 4 apart."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        parts = [builder.extract_value(values[0], j) for j in range(_FOUR.count)]
        return _add_lanes(builder, _add_lanes(builder, parts, 8), 4)[0]

    return (lanes(_FOUR), codegen) if totals == _FOUR else None


@intrinsic
def sum_lanes(typingctx, quarters):
    """Lane 4·q + j: the sum of all lanes of input j of ``quarters[q]``, which `add_quarters` made.

    Lanes 2 apart are added, then neighbours.
    """

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        parts = [builder.extract_value(values[0], j) for j in range(_FOUR.count)]
        (mixed,) = _add_lanes(builder, _add_lanes(builder, parts, 2), 1)
        return _shuffle(builder, mixed, mixed, [4 * (p % 4) + p // 4 for p in range(WIDTH)])  # was 4·j + q

    return (lanes(_FOUR), codegen) if quarters == _FOUR else None


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
    if not (_is_sums(sums) and norm == _FOUR):
        return None

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        totals = [builder.extract_value(values[0], j) for j in range(_FOUR.count)]
        for n, value in enumerate(v for part in _unpack(builder, sums, values[1]) for v in part):
            j = n % _FOUR.count
            totals[j] = _fma(builder, value, value, totals[j])
        return context.make_tuple(builder, _FOUR, totals)

    return _FOUR(_FOUR, sums), codegen
