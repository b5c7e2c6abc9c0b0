"""The grid of a map: distances between units on a rectangular or hexagonal grid, flat or closed to a torus.

``grid`` float32 ``(2, blocks, 16)`` holds the row and the column of each unit; +inf for an unused lane. On a
hexagonal grid odd rows are shifted right by half a step, and the column is the axial column c − ⌊r/2⌋. Steps
along the three axes are then (0, 1), (1, 0) and (1, −1), for even and odd rows alike.

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
    """d² of a displacement by ``rows`` and ``columns``, as float32 or lanes."""
    if metric == EUCLIDEAN:
        mixed = rows * columns if hexagonal else rows - rows  # hexagonal axes are not orthogonal
        return rows * rows + columns * columns + mixed
    if metric == MANHATTAN:
        d = absolute(rows) + absolute(columns)
    else:
        d = _larger(absolute(rows), absolute(columns))
        if metric == STEPS:
            d = _larger(d, absolute(rows + columns))
    return d * d


@device
def _shortest(rows, columns, hexagonal, torus, metric, height, width):
    """``_squared_length`` of the displacement; on a torus the minimum over its nine periodic images."""
    nearest = _squared_length(rows, columns, hexagonal, metric)
    if torus:
        shift = height * _HALF if hexagonal else height - height
        for image in range(9):
            down, right = np.float32(image // 3 - 1), np.float32(image % 3 - 1)
            displacement = rows + down * height, columns + (right * width - down * shift)
            d2 = _squared_length(*displacement, hexagonal, metric)
            nearest = select(d2 < nearest, d2, nearest)
    return nearest


@device
def geometry(shape):
    """``shape`` as a tuple of scalars. A loop over blocks then does not load it again for each block."""
    return (
        shape[HEXAGONAL] == 1,
        shape[TORUS] == 1,
        shape[METRIC],
        np.float32(shape[ROWS]),
        np.float32(shape[COLUMNS]),
    )


@device
def place(grid, i):
    """Row and column of unit ``i`` from ``grid``."""
    return grid[0, i // WIDTH, i % WIDTH], grid[1, i // WIDTH, i % WIDTH]


@device
def squared_distances(grid, b, row, column, geometry):
    """d² on the grid from (row, column) to the 16 units of block ``b``."""
    return _shortest(load(grid, 0, b) - row, load(grid, 1, b) - column, *geometry)


@device
def touch(grid, i, j, geometry):
    """Whether units i and j are neighbours: hexagons with a common edge, squares with a common edge or
    corner."""
    row, column = place(grid, i)
    other_row, other_column = place(grid, j)
    hexagonal, torus, _, height, width = geometry
    metric = STEPS if hexagonal else CHEBYSHEV
    return _shortest(other_row - row, other_column - column, hexagonal, torus, metric, height, width) <= _1
