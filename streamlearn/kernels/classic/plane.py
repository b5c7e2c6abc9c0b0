"""A plane of cells with local connections. Sixteen consecutive cells form the lanes of one vector.

The plane is one float32 array that holds the rows of cells one after another. A margin of zeros separates the
rows and surrounds the plane. Therefore a neighbour in a given direction is at the same array offset for every
cell, and one load reads that neighbour of sixteen cells:

    for k in range(offsets.size):
        total = total + load_from(plane, start + offsets[k])      # start: index of the block's first cell
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..simd.lanes import load_from, select, zero

_0 = np.float32(0)
MAX_ACTIVITY = np.float32(1e6)  # larger inputs are cut to this, so that no sum overflows


class Outputs(NamedTuple):
    """Outputs of a model of cells, one row per sample."""

    winner: Any  # (n,)
    activity: Any  # (n, cells)
    distance: Any  # (n,)
    score: Any  # (n,)
    present: Any  # (n,)


@device
def neighbour_sum(plane, start, offsets):
    """Sum the neighbours of sixteen cells, in the order of ``offsets``."""
    total = zero()
    for k in range(offsets.size):
        total = total + load_from(plane, start + offsets[k])
    return total


@device
def neighbour_max(plane, start, offsets):
    """Return the largest neighbour of each of sixteen cells; 0 if all are negative."""
    largest = zero()
    for k in range(offsets.size):
        neighbour = load_from(plane, start + offsets[k])
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
