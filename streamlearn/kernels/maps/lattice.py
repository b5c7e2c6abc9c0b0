"""The map's own geometry: how far apart units are on a grid of rows and columns, rectangular or hexagonal,
flat or closed to a torus.

``grid`` float32 ``(2, blocks, 16)`` has every unit's row and column, +inf where the last block has no unit.
On a hexagonal grid odd rows stand half a step to the right, and the column is the axial one, c − ⌊r/2⌋: then
steps along the three axes are (0, 1), (1, 0) and (1, −1), and distances need no case for odd rows.

``shape`` int64 ``(5,)``: HEXAGONAL, TORUS (0 or 1), METRIC, ROWS, COLUMNS.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.lanes import WIDTH, absolute, load, select

HEXAGONAL, TORUS, METRIC, ROWS, COLUMNS = 0, 1, 2, 3, 4
MANHATTAN, EUCLIDEAN, CHEBYSHEV, STEPS = 0, 1, 2, 3  # STEPS: along the edges of hexagons
METRICS = {"manhattan": MANHATTAN, "euclidean": EUCLIDEAN, "chebyshev": CHEBYSHEV, "hexagonal": STEPS}

_1, _HALF = np.float32(1), np.float32(0.5)


@device
def _larger(a, b):
    return select(a > b, a, b)


@device
def _squared_length(rows, columns, hexagonal, metric):
    """d² of a way of so many rows and columns, as float32 or lanes."""
    if metric == EUCLIDEAN:
        across = rows * columns if hexagonal else rows - rows
        return rows * rows + columns * columns + across
    if metric == MANHATTAN:
        d = absolute(rows) + absolute(columns)
    else:
        d = _larger(absolute(rows), absolute(columns))
        if metric == STEPS:
            d = _larger(d, absolute(rows + columns))
    return d * d


@device
def _shortest(rows, columns, hexagonal, torus, metric, height, width):
    """``_squared_length``; on a torus, of the shortest of the ways around."""
    nearest = _squared_length(rows, columns, hexagonal, metric)
    if torus:
        slant = height * _HALF if hexagonal else height - height
        for around in range(9):
            down, right = np.float32(around // 3 - 1), np.float32(around % 3 - 1)
            further = rows + down * height, columns + (right * width - down * slant)
            d2 = _squared_length(*further, hexagonal, metric)
            nearest = select(d2 < nearest, d2, nearest)
    return nearest


@device
def geometry(shape):
    """``shape`` in variables, so that a loop over blocks need not look at it again for every block."""
    return (
        shape[HEXAGONAL] == 1,
        shape[TORUS] == 1,
        shape[METRIC],
        np.float32(shape[ROWS]),
        np.float32(shape[COLUMNS]),
    )


@device
def place(grid, i):
    """Row and column of unit ``i``, as ``grid`` has them."""
    return grid[0, i // WIDTH, i % WIDTH], grid[1, i // WIDTH, i % WIDTH]


@device
def squared_distances(grid, b, row, column, geometry):
    """d² on the grid from (row, column) to the 16 units of block ``b``."""
    return _shortest(load(grid, 0, b) - row, load(grid, 1, b) - column, *geometry)


@device
def touch(grid, i, j, geometry):
    """Whether units i and j are neighbours: hexagons that share an edge, squares that share an edge or a
    corner."""
    row, column = place(grid, i)
    other_row, other_column = place(grid, j)
    hexagonal, torus, _, height, width = geometry
    metric = STEPS if hexagonal else CHEBYSHEV
    return _shortest(other_row - row, other_column - column, hexagonal, torus, metric, height, width) <= _1
