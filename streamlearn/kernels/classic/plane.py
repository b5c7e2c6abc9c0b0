"""A plane of cells whose connections are local: sixteen neighbouring cells are the lanes, from any place on.

The plane is one float32 array: rows of cells one behind the other, a margin of zeros between them and around
all. A cell's neighbour is then a fixed step away, whatever the cell, and sixteen cells' neighbours in one
direction are one load:

    for k in range(steps.size):
        total = total + window(plane, start + steps[k])        # start: where the plane has block b
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from ..compiler import device
from ..simd.lanes import f32, lanes, select, zero

_FLOATS = types.Array(f32, 1, "C")
_0 = np.float32(0)
LOUDEST = np.float32(1e6)  # a line that is more active counts as this, so that nothing can overflow


def _pointer(context: Any, builder: Any, array: Any, start: Any) -> Any:
    view = context.make_array(_FLOATS)(context, builder, array)
    return builder.bitcast(builder.gep(view.data, [start], inbounds=True), lanes.llvm.as_pointer())


@intrinsic
def window(typingctx, plane, start):
    """Lanes ``plane[start : start + 16]`` of a float32 array of one axis, wherever it starts."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(_pointer(context, builder, *values), align=4)

    if plane != _FLOATS or not isinstance(start, types.Integer):
        return None
    return lanes(_FLOATS, types.int64), codegen


@intrinsic
def put(typingctx, plane, start, value):
    """``plane[start : start + 16] = value``, the lanes that ``window`` would give."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, start, value = values
        builder.store(value, _pointer(context, builder, array, start), align=4)
        return context.get_dummy_value()

    if plane != _FLOATS or not isinstance(start, types.Integer) or value is not lanes:
        return None
    return types.void(_FLOATS, types.int64, lanes), codegen


@device
def sum_around(plane, start, steps):
    """The sum of sixteen cells' neighbours, in the order of ``steps``."""
    total = zero()
    for k in range(steps.size):
        total = total + window(plane, start + steps[k])
    return total


@device
def largest_around(plane, start, steps):
    """The largest of sixteen cells' neighbours, at least 0."""
    largest = zero()
    for k in range(steps.size):
        neighbour = window(plane, start + steps[k])
        largest = select(neighbour > largest, neighbour, largest)
    return largest


@device
def strongest(plane, places, activity, n):
    """Copy every cell's activity to row ``n`` of ``activity`` ``(n, cells)``; the lowest of the strongest
    cells and its activity, or −1 and 0 where none is active."""
    winner, most = -1, _0
    for cell in range(places.size):
        value = plane[places[cell]]
        activity[n, cell] = value
        if value > most:
            winner, most = cell, value
    return winner, most


@device
def receive(x, n, lines):
    """Row ``n`` of ``x`` ``(n, dim)`` as activities of ``lines`` ``(dim,)``, silent where one is missing.
    Returns how many are present."""
    present = 0
    for i in range(lines.size):
        value = x[n, i]
        lines[i] = _0
        if value == value:
            lines[i] = min(value, LOUDEST)
            present += 1
    return present
