"""Fields of arrays as values of LLVM. Numba's ``make_array`` copies an array into memory for each access."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.np.numpy_support import as_dtype


def data_of(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    """Return the pointer to the first value."""
    return _field(context, builder, array_type, array, "data")


def shape_of(context: Any, builder: Any, array_type: Any, array: Any) -> list[Any]:
    """Return the lengths of the axes."""
    return _lengths(context, builder, array_type, array, "shape")


def strides_of(context: Any, builder: Any, array_type: Any, array: Any) -> list[Any]:
    """Return the bytes between neighbours on the axes."""
    return _lengths(context, builder, array_type, array, "strides")


def item_address(context: Any, builder: Any, array_type: Any, array: Any, indices: Sequence[Any]) -> Any:
    """Return the pointer to a value of a C array, or to the first value of a row."""
    shape = shape_of(context, builder, array_type, array) if array_type.ndim > 1 else []
    flat = indices[0]
    for length, index in zip(shape[1:], indices[1:], strict=False):
        flat = builder.add(builder.mul(flat, length), index)
    for length in shape[len(indices) :]:
        flat = builder.mul(flat, length)
    return builder.gep(data_of(context, builder, array_type, array), [flat])


def new_array(context: Any, builder: Any, array_type: Any, data: Any, shape: Sequence[Any]) -> Any:
    """Return a C array without a reference count: values of ``shape`` from ``data`` on."""
    size = context.get_constant(types.intp, as_dtype(array_type.dtype).itemsize)
    strides = [size]
    for length in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], length))
    items = shape[0]
    for length in shape[1:]:
        items = builder.mul(items, length, flags=["nsw"])
    kind = context.get_value_type(types.intp)
    fields = {
        "nitems": items,
        "itemsize": size,
        "data": data,
        "shape": cgutils.pack_array(builder, shape, kind),
        "strides": cgutils.pack_array(builder, strides, kind),
    }
    model, array = (
        context.data_model_manager[array_type],
        ir.Constant(context.get_value_type(array_type), None),
    )
    for name, value in fields.items():
        array = builder.insert_value(array, value, model.get_field_position(name))
    return array


def _field(context: Any, builder: Any, array_type: Any, array: Any, name: str) -> Any:
    return builder.extract_value(array, context.data_model_manager[array_type].get_field_position(name))


def _lengths(context: Any, builder: Any, array_type: Any, array: Any, name: str) -> list[Any]:
    lengths = _field(context, builder, array_type, array, name)
    return [builder.extract_value(lengths, axis) for axis in range(array_type.ndim)]
