"""Groups of four blocks of lanes: 64 units whose sums run beside each other.

Four independent sums hide the latency of ``fma``. A float32 array ``(groups, rows, 64)`` holds row r of the
four blocks of a group in four consecutive vectors, so a pass over the rows reads one stream of memory. Unit u
is at ``[u // 64, r, u % 64]``. Block b of all is block b % 4 of group b // 4.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from .lanes import WIDTH, f32, lanes

BLOCKS = 4  # in a group
GROUP = BLOCKS * WIDTH  # units in a group

_four_lanes = types.UniTuple(lanes, BLOCKS)


def _is_grouped(array: Any) -> bool:
    return isinstance(array, types.Array) and array.dtype == f32 and array.layout == "C" and array.ndim == 3


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, group: Any, row: Any) -> Any:
    """Pointer to the first of the four vectors of one row of a group."""
    view = make_array(array_type)(context, builder, array)
    rows = cgutils.unpack_tuple(builder, view.shape)[1]
    first = builder.mul(
        builder.add(builder.mul(group, rows), row), ir.Constant(row.type, GROUP), flags=("nsw",)
    )
    pointer = builder.gep(view.data, [first], inbounds=True)
    return builder.bitcast(pointer, lanes.llvm.as_pointer())


def _block_pointer(context: Any, builder: Any, array_type: Any, array: Any, block: Any, row: Any) -> Any:
    four = ir.Constant(block.type, BLOCKS)
    pointer = _pointer(context, builder, array_type, array, builder.udiv(block, four), row)
    return builder.gep(pointer, [builder.urem(block, four)], inbounds=True)


@intrinsic
def load_block(typingctx: Any, array: Any, block: Any, row: Any) -> Any:
    """The lanes of one block, in one row."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(_block_pointer(context, builder, signature.args[0], *values), align=4)

    return (lanes(array, types.int64, types.int64), codegen) if _is_grouped(array) else None


@intrinsic
def store_block(typingctx: Any, array: Any, block: Any, row: Any, value: Any) -> Any:
    """Store the lanes of one block, in one row."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, block, row, value = values
        builder.store(value, _block_pointer(context, builder, signature.args[0], array, block, row), align=4)
        return context.get_dummy_value()

    valid = _is_grouped(array) and value is lanes
    return (types.void(array, types.int64, types.int64, lanes), codegen) if valid else None


@intrinsic
def load_group(typingctx: Any, array: Any, group: Any, row: Any) -> Any:
    """The lanes of the four blocks of a group, in one row."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        first = _pointer(context, builder, signature.args[0], *values)
        vectors = [builder.load(cgutils.gep(builder, first, k), align=4) for k in range(BLOCKS)]
        return context.make_tuple(builder, _four_lanes, vectors)

    return (_four_lanes(array, types.int64, types.int64), codegen) if _is_grouped(array) else None


@intrinsic
def store_group(typingctx: Any, array: Any, group: Any, row: Any, value: Any) -> Any:
    """Store the lanes of the four blocks of a group, in one row."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        first = _pointer(context, builder, signature.args[0], *values[:3])
        for k, vector in enumerate(cgutils.unpack_tuple(builder, values[3])):
            builder.store(vector, cgutils.gep(builder, first, k), align=4)
        return context.get_dummy_value()

    valid = _is_grouped(array) and value == _four_lanes
    return (types.void(array, types.int64, types.int64, _four_lanes), codegen) if valid else None


@intrinsic
def least_of(typingctx: Any, value: Any, index: Any) -> Any:
    """The least of ``value`` and its entry of ``index``, as float32 and int64; of equals the lowest index.

    No value is negative or NaN. The indices are whole numbers; −1 comes last. The bits of such a float32 have
    the order of the values, so a value and its index are one integer.
    """

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        half, whole = ir.VectorType(ir.IntType(32), WIDTH), ir.VectorType(ir.IntType(64), WIDTH)
        high = builder.zext(builder.bitcast(values[0], half), whole)
        low = builder.zext(builder.fptosi(values[1], half), whole)
        pairs = builder.or_(builder.shl(high, ir.Constant(whole, [32] * WIDTH)), low)
        width = WIDTH
        while width > 1:
            width //= 2
            a, b = (
                builder.shuffle_vector(
                    pairs,
                    pairs,
                    ir.Constant(ir.VectorType(ir.IntType(32), width), [start + i for i in range(width)]),
                )
                for start in (0, width)
            )
            pairs = builder.select(builder.icmp_unsigned("<", b, a), b, a)
        pair = builder.extract_element(pairs, ir.Constant(ir.IntType(32), 0))
        bits = builder.trunc(builder.lshr(pair, ir.Constant(pair.type, 32)), ir.IntType(32))
        found = builder.sext(builder.trunc(pair, ir.IntType(32)), ir.IntType(64))
        return context.make_tuple(
            builder, signature.return_type, [builder.bitcast(bits, ir.FloatType()), found]
        )

    valid = value is lanes and index is lanes
    return (types.Tuple((f32, types.int64))(lanes, lanes), codegen) if valid else None


@intrinsic
def look_up(typingctx: Any, table: Any, index: Any) -> Any:
    """``table[index]`` in every lane. The indices are whole numbers from 0 to 15."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        integer = ir.IntType(32)
        whole = builder.fptosi(values[1], ir.VectorType(integer, WIDTH))
        index = builder.and_(whole, ir.Constant(whole.type, [WIDTH - 1] * WIDTH))
        found = ir.Constant(lanes.llvm, ir.Undefined)  # LLVM makes one permutation of this if the CPU has it
        for i in range(WIDTH):
            place = ir.Constant(integer, i)
            entry = builder.extract_element(values[0], builder.extract_element(index, place))
            found = builder.insert_element(found, entry, place)
        return found

    return (lanes(lanes, lanes), codegen) if table is lanes and index is lanes else None
