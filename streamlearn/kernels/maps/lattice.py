"""The grid of a map: distances between units on a rectangular or hexagonal grid, flat or closed to a torus.

``grid`` float32 ``(2, blocks, 16)`` holds the row and the column of each unit; +inf for an unused lane. On a
hexagonal grid odd rows are shifted right by half a step, and the column is the axial column c − ⌊r/2⌋. Steps
along the three axes are then (0, 1), (1, 0) and (1, −1), for even and odd rows alike.

``shape`` int64 ``(5,)``: HEXAGONAL, TORUS (0 or 1), METRIC, ROWS, COLUMNS.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.lanes import WIDTH, absolute, larger, load, select

HEXAGONAL, TORUS, METRIC, ROWS, COLUMNS = 0, 1, 2, 3, 4
MANHATTAN, EUCLIDEAN, CHEBYSHEV, STEPS = 0, 1, 2, 3  # STEPS: along the edges of hexagons
METRICS = {"manhattan": MANHATTAN, "euclidean": EUCLIDEAN, "chebyshev": CHEBYSHEV, "hexagonal": STEPS}

_0, _1, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_HEXAGON_ROWS = np.float32(1.25)  # above 2/√3: rows of hexagons are √3/2 apart


@device
def _length(rows, columns, hexagonal, metric):
    """d of a displacement by ``rows`` and ``columns``, as float32 or lanes; for EUCLIDEAN d²."""
    if metric == EUCLIDEAN:
        mixed = rows * columns if hexagonal else rows - rows  # hexagonal axes are not orthogonal
        return rows * rows + columns * columns + mixed
    if metric == MANHATTAN:
        return absolute(rows) + absolute(columns)
    d = larger(absolute(rows), absolute(columns))
    if metric == STEPS:
        d = larger(d, absolute(rows + columns))
    return d


@device
def _shortest(rows, columns, hexagonal, torus, metric, height, width):
    """``_length`` of the displacement; on a torus the minimum over its nine periodic images."""
    nearest = _length(rows, columns, hexagonal, metric)
    if torus:
        shift = height * _HALF if hexagonal else height - height
        for image in range(9):
            down, right = np.float32(image // 3 - 1), np.float32(image % 3 - 1)
            displacement = rows + down * height, columns + (right * width - down * shift)
            d = _length(*displacement, hexagonal, metric)
            nearest = select(d < nearest, d, nearest)
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
def has_whole_distances(geometry):
    """Whether every distance on the grid is a whole number."""
    return geometry[2] != EUCLIDEAN


@device
def is_product(geometry):
    """Whether d² is the square of the rows plus the square of the columns between two units."""
    hexagonal, torus, metric, _, _ = geometry
    return metric == EUCLIDEAN and not hexagonal and not torus


@device
def distances(grid, b, row, column, geometry):
    """d on the grid from (row, column) to the 16 units of block ``b``; d² for EUCLIDEAN."""
    return _shortest(load(grid, 0, b) - row, load(grid, 1, b) - column, *geometry)


@device
def squares(distances, geometry):
    """d² from what `distances` returns."""
    return distances * distances if has_whole_distances(geometry) else distances


@device
def used_blocks(shape):
    """Number of the blocks that have units."""
    return (shape[ROWS] * shape[COLUMNS] + WIDTH - 1) // WIDTH


@device
def reachable_blocks(row, reach, geometry, used):
    """First block and end of the ``used`` blocks that may have units no farther than ``reach`` from
    ``row``."""
    hexagonal, torus, _, height, width = geometry
    rows = reach * _HEXAGON_ROWS if hexagonal else reach
    if torus or not rows < height:
        return np.int64(0), np.int64(used)
    first, last = np.int64(max(row - rows, _0)), np.int64(min(row + rows, height - _1))
    columns = np.int64(width)
    return first * columns // WIDTH, ((last + 1) * columns + WIDTH - 1) // WIDTH


@device
def touch(grid, i, j, geometry):
    """Whether units i and j are neighbours: hexagons with a common edge, squares with a common edge or
    corner."""
    row, column = place(grid, i)
    other_row, other_column = place(grid, j)
    hexagonal, torus, _, height, width = geometry
    metric = STEPS if hexagonal else CHEBYSHEV
    return _shortest(other_row - row, other_column - column, hexagonal, torus, metric, height, width) <= _1
