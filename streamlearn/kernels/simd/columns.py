"""Columns: four values of a row at a time, as float64, whatever the length of the row.

A formula for the channels of a sample is the same for each channel. Written once, it takes four channels at
once as doubles (see lanes.py), and the last channels one by one as float64::

    def observe(statistics, c, value):                 # value: doubles or a float64
        mean = load_columns(statistics, MEAN, c, value)
        store_columns(statistics, MEAN, c, mean + gain * (value - mean))

    for c in range(0, whole, COLUMNS):
        observe(statistics, c, four_columns(x, n, c))
    for c in range(whole, dim):
        observe(statistics, c, np.float64(x[n, c]))

LLVM's own vectors need many checks that rows do not overlap, and begin at sixteen channels or more.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..compiler.arrays import data_of, shape_of
from .lanes import COLUMNS, doubles, f32, f64, mask_of_doubles


def _is_rows(array: types.Type) -> bool:
    return (
        isinstance(array, types.Array)
        and array.dtype in (f32, f64)
        and array.layout == "C"
        and array.ndim in (1, 2)
    )


def _address(context: Any, builder: Any, array_type: Any, values: Any) -> Any:
    """Where the columns from ``c`` on of row ``n`` start. An array of one axis is one row."""
    array, n, c = values
    index = c
    if array_type.ndim == 2:
        index = builder.add(builder.mul(n, shape_of(context, builder, array_type, array)[1]), c)
    return builder.gep(data_of(context, builder, array_type, array), [index], inbounds=True)


def _load(kind: types.Type) -> Any:
    """Code that loads ``kind``, doubles or float64, from a row of float32 or float64."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address = _address(context, builder, signature.args[0], values[:3])
        element, size = address.type.pointee, 4 if signature.args[0].dtype == f32 else 8
        wanted = doubles.llvm if kind is doubles else ir.DoubleType()
        stored = ir.VectorType(element, COLUMNS) if kind is doubles else element
        value = builder.load(builder.bitcast(address, stored.as_pointer()), align=size)
        return value if stored == wanted else builder.fpext(value, wanted)

    return build


@intrinsic
def four_columns(typingctx: Any, array: Any, n: Any, c: Any) -> Any:
    """``array[n, c : c + 4]`` of a float32 or float64 array, as doubles."""
    return (doubles(array, types.int64, types.int64), _load(doubles)) if _is_rows(array) else None


@intrinsic
def load_columns(typingctx: Any, array: Any, n: Any, c: Any, like: Any) -> Any:
    """``four_columns`` if ``like`` is doubles, ``array[n, c]`` if it is a float64."""
    if not _is_rows(array) or like not in (doubles, f64):
        return None
    return like(array, types.int64, types.int64, like), _load(like)


@intrinsic
def store_columns(typingctx: Any, array: Any, n: Any, c: Any, value: Any) -> Any:
    """Store doubles at ``array[n, c : c + 4]``, or a float64 at ``array[n, c]``; rounded if it is float32."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address = _address(context, builder, signature.args[0], values[:3])
        element, size = address.type.pointee, 4 if signature.args[0].dtype == f32 else 8
        stored = ir.VectorType(element, COLUMNS) if value is doubles else element
        rounded = values[3] if values[3].type == stored else builder.fptrunc(values[3], stored)
        builder.store(rounded, builder.bitcast(address, stored.as_pointer()), align=size)
        return context.get_dummy_value()

    if not _is_rows(array) or value not in (doubles, f64):
        return None
    return types.void(array, types.int64, types.int64, value), build


@intrinsic
def count_of(typingctx: Any, condition: Any) -> Any:
    """In how many columns a condition holds."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if condition is mask_of_doubles:
            values = [builder.ctpop(builder.bitcast(values[0], ir.IntType(COLUMNS)))]
        return builder.zext(values[0], ir.IntType(64))

    return (types.int64(condition), build) if condition in (mask_of_doubles, types.boolean) else None
