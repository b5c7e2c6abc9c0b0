"""Rows of arrays without reference counts.

Numba counts references to ``array[q]``, atomically, wherever the row is passed to a function: a third of a
microsecond per sample. A row of this module is valid as long as its array exists. An argument of a kernel
exists during the whole call.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array


@intrinsic
def row_of(typing: Any, array: Any, q: Any) -> Any:
    """``array[q]`` of a C-contiguous array of two axes or more."""
    view = types.Array(array.dtype, array.ndim - 1, "C")

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = make_array(array)(context, builder, arguments[0])
        shape = cgutils.unpack_tuple(builder, whole.shape, array.ndim)
        strides = cgutils.unpack_tuple(builder, whole.strides, array.ndim)
        begin = cgutils.pointer_add(builder, whole.data, builder.mul(arguments[1], strides[0]))
        part = make_array(view)(context, builder)
        populate_array(part, begin, shape[1:], strides[1:], whole.itemsize, meminfo=None)
        return part._getvalue()

    return view(array, types.intp), build


@intrinsic
def values_of(typing: Any, array: Any, q: Any) -> Any:
    """``array[q]`` of a C-contiguous array of two axes or more, as one axis."""
    view = types.Array(array.dtype, 1, "C")

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = make_array(array)(context, builder, arguments[0])
        shape = cgutils.unpack_tuple(builder, whole.shape, array.ndim)
        stride = cgutils.unpack_tuple(builder, whole.strides, array.ndim)[0]
        begin = cgutils.pointer_add(builder, whole.data, builder.mul(arguments[1], stride))
        size = shape[1]
        for length in shape[2:]:
            size = builder.mul(size, length)
        part = make_array(view)(context, builder)
        populate_array(part, begin, [size], [whole.itemsize], whole.itemsize, meminfo=None)
        return part._getvalue()

    return view(array, types.intp), build
