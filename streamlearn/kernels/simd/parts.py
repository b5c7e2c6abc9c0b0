"""Parts of an array of one axis with shapes of their own. As in ``views.py``, without reference counts."""

from __future__ import annotations

from typing import Any

from numba.core import cgutils, types
from numba.extending import intrinsic

from ..compiler.arrays import data_of, shape_of
from .views import _part


@intrinsic
def part_of(typing: Any, array: Any, first: Any, shape: Any) -> Any:
    """The values of an array of one axis, from ``first`` on, as an array with ``shape``, a tuple."""
    if not (isinstance(array, types.Array) and array.ndim == 1 and isinstance(shape, types.UniTuple)):
        return None

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lengths = cgutils.unpack_tuple(builder, arguments[2])
        return _part(context, builder, array, arguments[0], [arguments[1]], lengths)

    sizes = types.UniTuple(types.intp, shape.count)
    return types.Array(array.dtype, shape.count, "C")(array, types.intp, sizes), build


def _listed(axes: int) -> Any:
    @intrinsic
    def new(typing: Any, array: Any, layout: Any, k: Any) -> Any:
        """A part of an array of one axis. ``layout[k]``: its first value, then its shape."""

        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            columns = shape_of(context, builder, layout, arguments[1])[1]
            table = data_of(context, builder, layout, arguments[1])
            first = builder.mul(arguments[2], columns)
            entries = [
                builder.load(builder.gep(table, [builder.add(first, first.type(i))])) for i in range(1 + axes)
            ]
            return _part(context, builder, array, arguments[0], entries[:1], entries[1:])

        return types.Array(array.dtype, axes, "C")(array, layout, types.intp), build

    return new


vector_of, matrix_of, cube_of = _listed(1), _listed(2), _listed(3)
