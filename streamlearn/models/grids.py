"""Coordinates of the places of rectangular and hexagonal grids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]  # (places, 2): row and column


def hexagon(rings: int) -> Places:
    """Return the axial rows and columns of a hexagonal patch: one place with ``rings`` rings around it."""
    span = range(-rings, rings + 1)
    places = [(r, q) for r in span for q in span if abs(r + q) <= rings]
    return np.array(places, np.int64) + rings


def shifted_rows(rows: int, columns: int) -> Places:
    """Return the axial rows and columns of a sheet. Odd rows are shifted right by half a step."""
    row, column = np.divmod(np.arange(rows * columns, dtype=np.int64), columns)
    return np.stack((row, column - row // 2 + (rows - 1) // 2), axis=1)


def positions(places: Places) -> NDArray[np.float64]:
    """Return x and y ``(places, 2)`` on a hexagonal grid of unit steps. The mean position is (0, 0)."""
    x = places[:, 1] + places[:, 0] / 2
    y = places[:, 0] * np.sqrt(0.75)
    return np.stack((x - x.mean(), y - y.mean()), axis=1)


def centres(rows: int, columns: int, hexagonal: bool) -> NDArray[np.float64]:
    """Return x and y ``(rows·columns, 2)`` of the units of a grid, row by row, as they are drawn.

    Columns are 1 apart and the first unit is at (0, 0). Odd rows of a hexagonal grid are shifted right by
    half a step.
    """
    row, column = np.divmod(np.arange(rows * columns), columns)
    if hexagonal:
        return np.stack((column + row % 2 / 2, row * np.sqrt(0.75)), axis=1)
    return np.stack((column, row), axis=1).astype(np.float64)


def ring_offsets(nearest: int, farthest: int) -> list[tuple[int, int]]:
    """Return (rows, columns) to every place from ring ``nearest`` to ring ``farthest``, axial coordinates."""
    span = range(-farthest, farthest + 1)
    return [(r, q) for r in span for q in span if nearest <= max(abs(r), abs(q), abs(r + q)) <= farthest]
