"""Parts of arrays without reference counts.

Numba counts references to ``array[q]``, atomically, wherever the row is passed to a function: a third of a
microsecond per sample. A part of this module is valid as long as its array exists. An argument of a kernel
exists during the whole call. All arrays are C-contiguous.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..compiler.arrays import data_of, new_array, shape_of, strides_of


def _part(context: Any, builder: Any, array_type: Any, array: Any, first: list[Any], shape: list[Any]) -> Any:
    """The part of ``array`` with ``shape`` that starts at the index ``first`` on the first axes."""
    strides = strides_of(context, builder, array_type, array)
    begin = data_of(context, builder, array_type, array)
    for index, stride in zip(first, strides, strict=False):
        begin = cgutils.pointer_add(builder, begin, builder.mul(index, stride))
    return new_array(context, builder, types.Array(array_type.dtype, len(shape), "C"), begin, shape)


@intrinsic
def row_of(typing: Any, array: Any, q: Any) -> Any:
    """``array[q]`` of an array of two axes or more."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        shape = shape_of(context, builder, array, arguments[0])[1:]
        return _part(context, builder, array, arguments[0], [arguments[1]], shape)

    return types.Array(array.dtype, array.ndim - 1, "C")(array, types.intp), build


@intrinsic
def rows_of(typing: Any, array: Any, first: Any, count: Any) -> Any:
    """``array[first : first + count]``."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        shape = [arguments[2], *shape_of(context, builder, array, arguments[0])[1:]]
        return _part(context, builder, array, arguments[0], [arguments[1]], shape)

    return types.Array(array.dtype, array.ndim, "C")(array, types.intp, types.intp), build


@intrinsic
def slots_of(typing: Any, array: Any, first: Any, slots: Any, rows: Any) -> Any:
    """``slots`` times ``rows`` rows of an array, from row ``first`` on, as an array (slots, rows, …)."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        shape = [*arguments[2:], *shape_of(context, builder, array, arguments[0])[1:]]
        return _part(context, builder, array, arguments[0], [arguments[1]], shape)

    sizes = types.intp, types.intp, types.intp
    return types.Array(array.dtype, array.ndim + 1, "C")(array, *sizes), build


@intrinsic
def values_of(typing: Any, array: Any, t: Any, row: Any) -> Any:
    """The values of ``array[t]`` from row ``row`` on, of an array (slots, rows, 16), as one axis."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, rows, lanes = shape_of(context, builder, array, arguments[0])
        size = builder.mul(builder.sub(rows, arguments[2]), lanes)
        return _part(context, builder, array, arguments[0], arguments[1:], [size])

    return types.Array(array.dtype, 1, "C")(array, types.intp, types.intp), build


@intrinsic
def floats_of(typing: Any, array: Any, first: Any, count: Any) -> Any:
    """``count`` values of an array of two axes, from row ``first`` on, as one axis."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _part(context, builder, array, arguments[0], [arguments[1]], [arguments[2]])

    return types.Array(array.dtype, 1, "C")(array, types.intp, types.intp), build


def _on_the_stack(element: Any) -> Any:
    @intrinsic
    def new(typing: Any, count: Any) -> Any:
        """An array of ``count``, a constant, that exists during a call of a ``called_kernel``; not filled."""
        if not isinstance(count, types.IntegerLiteral):
            return None
        array_type = types.Array(element, 1, "C")

        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = context.get_data_type(element)
            memory = cgutils.alloca_once(builder, ir.ArrayType(kind, count.literal_value))
            begin = builder.bitcast(memory, kind.as_pointer())
            length = context.get_constant(types.intp, count.literal_value)
            return new_array(context, builder, array_type, begin, [length])

        return array_type(count), build

    return new


floats_on_the_stack, integers_on_the_stack = _on_the_stack(types.float64), _on_the_stack(types.int64)
