"""``np.empty``, ``np.zeros`` and ``np.full`` in place. Numba compiles a function for each type and shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import cgutils, types
from numba.core.errors import LoweringError
from numba.core.typing import signature
from numba.core.typing.npydecl import parse_dtype, parse_shape
from numba.np.arrayobj import _empty_nd_impl, _parse_shape, store_item


def new_array_type(function: Any, arguments: Any) -> Any:
    """Return the signature of a call of one of the three functions; None for other functions."""
    key = getattr(function, "typing_key", None)
    if key not in ALLOCATIONS:
        return None
    kinds = [types.unliteral(each) for each in arguments]
    value = kinds.pop(1) if key is np.full and len(kinds) > 1 else types.float64
    element = parse_dtype(kinds[1]) if len(kinds) > 1 else value
    axes = parse_shape(kinds[0])
    if len(kinds) > 2 or element is None or axes is None:
        return None
    return signature(types.Array(element, axes, "C"), *map(types.unliteral, arguments))


def _new(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    if not context.enable_nrt:
        raise LoweringError("a function that creates an array needs allocates=True or @allocating_device")
    shape = _parse_shape(context, builder, signature.args[0], arguments[0])
    return _empty_nd_impl(context, builder, signature.return_type, shape)


def _empty(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return _new(context, builder, signature, arguments)._getvalue()


def _zeros(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = _new(context, builder, signature, arguments)
    cgutils.memset(builder, array.data, builder.mul(array.itemsize, array.nitems), 0)
    return array._getvalue()


def _full(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array, kind = _new(context, builder, signature, arguments), signature.return_type
    value = context.cast(builder, arguments[1], signature.args[1], kind.dtype)
    with cgutils.for_range(builder, array.nitems) as loop:
        store_item(context, builder, kind, value, builder.gep(array.data, [loop.index]))
    return array._getvalue()


ALLOCATIONS: dict[Any, Any] = {np.empty: _empty, np.zeros: _zeros, np.full: _full}
