"""Sixteen values of a row whose length is no multiple of 16."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..compiler.arrays import data_of, shape_of
from .lanes import WIDTH, lanes, splat_value

_MASK = ir.VectorType(ir.IntType(1), WIDTH)
_INDICES = ir.VectorType(ir.IntType(64), WIDTH)


@intrinsic
def load_part(typing: Any, array: Any, n: Any, first: Any) -> Any:
    """Lanes ``array[n, first + i]`` of a float32 ``(rows, columns)``; 0 beyond the row."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array_value, n, first = arguments
        columns = shape_of(context, builder, signature.args[0], array_value)[1]
        data = data_of(context, builder, signature.args[0], array_value)
        index = builder.add(builder.mul(n, columns), first)
        pointer = builder.bitcast(builder.gep(data, [index], inbounds=False), lanes.llvm.as_pointer())
        lane_numbers = ir.Constant(_INDICES, list(range(WIDTH)))
        mask = builder.icmp_signed("<", lane_numbers, splat_value(builder, builder.sub(columns, first)))
        kind = ir.FunctionType(lanes.llvm, [lanes.llvm.as_pointer(), ir.IntType(32), _MASK, lanes.llvm])
        load = cgutils.get_or_insert_function(builder.module, kind, "llvm.masked.load.v16f32.p0")
        alignment = ir.Constant(ir.IntType(32), 4)
        return builder.call(load, [pointer, alignment, mask, ir.Constant(lanes.llvm, [0.0] * WIDTH)])

    valid = isinstance(array, types.Array) and array.dtype == types.float32 and array.ndim == 2
    return (lanes(array, types.int64, types.int64), build) if valid else None
