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

from ..compiler.arrays import data_of, shape_of
from .lanes import WIDTH, f32, lanes

BLOCKS = 4  # in a group
GROUP = BLOCKS * WIDTH  # units in a group
HALF = WIDTH // 2

_four_lanes = types.UniTuple(lanes, BLOCKS)


def _is_grouped(array: Any) -> bool:
    return isinstance(array, types.Array) and array.dtype == f32 and array.layout == "C" and array.ndim == 3


def _pointer(
    context: Any, builder: Any, array_type: Any, array: Any, group: Any, row: Any, inbounds: bool = True
) -> Any:
    """Pointer to the first of the four vectors of one row of a group."""
    rows = shape_of(context, builder, array_type, array)[1]
    first = builder.mul(
        builder.add(builder.mul(group, rows), row), ir.Constant(row.type, GROUP), flags=("nsw",)
    )
    pointer = builder.gep(data_of(context, builder, array_type, array), [first], inbounds)
    return builder.bitcast(pointer, lanes.llvm.as_pointer())


def _block_pointer(
    context: Any, builder: Any, array_type: Any, array: Any, block: Any, row: Any, inbounds: bool = True
) -> Any:
    four = ir.Constant(block.type, BLOCKS)
    pointer = _pointer(context, builder, array_type, array, builder.udiv(block, four), row, inbounds)
    return builder.gep(pointer, [builder.urem(block, four)], inbounds)


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
def prefetch_block(typingctx: Any, array: Any, block: Any, row: Any) -> Any:
    """Bring the lanes of one block, in one row, into the first cache. The row may be beyond the last one."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, block, row = values
        pointer = _block_pointer(context, builder, signature.args[0], array, block, row, inbounds=False)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), *[ir.IntType(32)] * 3])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        how = [ir.Constant(ir.IntType(32), value) for value in (0, 3, 1)]  # to read, keep it, data
        builder.call(prefetch, [builder.bitcast(pointer, ir.IntType(8).as_pointer()), *how])
        return context.get_dummy_value()

    return (types.void(array, types.int64, types.int64), codegen) if _is_grouped(array) else None


@intrinsic
def load_group(typingctx: Any, array: Any, group: Any, row: Any) -> Any:
    """The lanes of the four blocks of a group, in one row."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        first = _pointer(context, builder, signature.args[0], *values)
        vectors = [builder.load(cgutils.gep(builder, first, k), align=4) for k in range(BLOCKS)]
        return context.make_tuple(builder, _four_lanes, vectors)

    return (_four_lanes(array, types.int64, types.int64), codegen) if _is_grouped(array) else None


@intrinsic
def look_up(typingctx: Any, table: Any, index: Any) -> Any:
    """``table[index % 16]`` in every lane. The indices are whole numbers."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        whole = builder.fptosi(values[1], _integers(WIDTH))
        whole = builder.and_(whole, ir.Constant(whole.type, [WIDTH - 1] * WIDTH))
        lower, upper = _halves(builder, values[0])
        halves = [
            builder.select(
                builder.icmp_signed("<", places, ir.Constant(places.type, [HALF] * HALF)),
                _permuted(builder, lower, places),
                _permuted(builder, upper, places),
            )
            for places in _halves(builder, whole)
        ]
        return builder.shuffle_vector(*halves, ir.Constant(_integers(WIDTH), list(range(WIDTH))))

    return (lanes(lanes, lanes), codegen) if table is lanes and index is lanes else None


def _integers(width: int) -> Any:
    return ir.VectorType(ir.IntType(32), width)


def _halves(builder: Any, vector: Any) -> list[Any]:
    """The lower and the upper eight of sixteen elements."""
    places = (ir.Constant(_integers(HALF), [start + i for i in range(HALF)]) for start in (0, HALF))
    return [builder.shuffle_vector(vector, vector, place) for place in places]


def _permuted(builder: Any, values: Any, index: Any) -> Any:
    """``values[index % 8]`` of eight. LLVM makes one permutation of this if the CPU has AVX2."""
    index = builder.and_(index, ir.Constant(index.type, [HALF - 1] * HALF))
    found = ir.Constant(values.type, ir.Undefined)
    for i in range(HALF):
        place = ir.Constant(ir.IntType(32), i)
        entry = builder.extract_element(values, builder.extract_element(index, place))
        found = builder.insert_element(found, entry, place)
    return found
