"""A plane of cells with local connections. Sixteen consecutive cells form the lanes of one vector.

The plane is one float32 array that holds the rows of cells one after another. A margin of zeros separates the
rows and surrounds the plane. Therefore a neighbour in a given direction is at the same array offset for every
cell, and one load reads that neighbour of sixteen cells:

    for k in range(offsets.size):
        total = total + window(plane, start + offsets[k])      # start: index of the block's first cell
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from ..compiler import device
from ..compiler.arrays import data_of
from ..simd.lanes import f32, lanes, select, zero

_FLOATS = types.Array(f32, 1, "C")
_0 = np.float32(0)
MAX_ACTIVITY = np.float32(1e6)  # larger inputs are cut to this, so that no sum overflows


class Outputs(NamedTuple):
    """Outputs of a model of cells, one row per sample."""

    winner: Any  # (n,)
    activity: Any  # (n, cells)
    distance: Any  # (n,)
    score: Any  # (n,)
    present: Any  # (n,)


def _pointer(context: Any, builder: Any, array: Any, start: Any) -> Any:
    data = data_of(context, builder, _FLOATS, array)
    return builder.bitcast(builder.gep(data, [start], inbounds=True), lanes.llvm.as_pointer())


@intrinsic
def window(typingctx, plane, start):
    """Load ``plane[start : start + 16]`` of a float32 array of shape (size,). Needs no alignment."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(_pointer(context, builder, *values), align=4)

    if plane != _FLOATS or not isinstance(start, types.Integer):
        return None
    return lanes(_FLOATS, types.int64), codegen


@intrinsic
def store_window(typingctx, plane, start, value):
    """Store lanes to ``plane[start : start + 16]``. Needs no alignment."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, start, value = values
        builder.store(value, _pointer(context, builder, array, start), align=4)
        return context.get_dummy_value()

    if plane != _FLOATS or not isinstance(start, types.Integer) or value is not lanes:
        return None
    return types.void(_FLOATS, types.int64, lanes), codegen


@device
def neighbour_sum(plane, start, offsets):
    """Sum the neighbours of sixteen cells, in the order of ``offsets``."""
    total = zero()
    for k in range(offsets.size):
        total = total + window(plane, start + offsets[k])
    return total


@device
def neighbour_max(plane, start, offsets):
    """Return the largest neighbour of each of sixteen cells; 0 if all are negative."""
    largest = zero()
    for k in range(offsets.size):
        neighbour = window(plane, start + offsets[k])
        largest = select(neighbour > largest, neighbour, largest)
    return largest


@device
def read_activities(x, n, inputs):
    """Copy row ``n`` of ``x`` ``(n, dim)`` to ``inputs`` ``(dim,)``; a missing value becomes 0.

    Returns the number of values present.
    """
    present = 0
    for i in range(inputs.size):
        value = x[n, i]
        inputs[i] = _0
        if value == value:
            inputs[i] = min(value, MAX_ACTIVITY)
            present += 1
    return present


@device
def count_firing(activity, n):
    """Return the number of cells with an activity above 0 in row ``n`` of ``activity`` ``(n, cells)``."""
    firing = 0
    for cell in range(activity.shape[1]):
        firing += activity[n, cell] > _0
    return firing


@device
def copy_activities(plane, cell_index, activity, n):
    """Copy the activities of all cells to row ``n`` of ``activity`` ``(n, cells)``.

    Returns the most active cell, the lowest index in a tie, and its activity; −1 and 0 if no cell is active.
    """
    winner, largest = -1, _0
    for cell in range(cell_index.size):
        value = plane[cell_index[cell]]
        activity[n, cell] = value
        if value > largest:
            winner, largest = cell, value
    return winner, largest
