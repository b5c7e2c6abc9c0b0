"""Where the cells of a sheet lie on the kernels' planes (``kernels/plane.py``), and the hexagonal grid."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ...kernels.simd.lanes import WIDTH
from .. import lane_layout
from ..batch import Float32

Cells = NDArray[np.int64]  # (cells, 2): row and column


class Plane:
    """Cells at ``(row, column)`` ≥ 0 that connect no further than ``reach`` rows and columns away."""

    def __init__(self, cells: Cells, reach: int) -> None:
        self.cells, self.reach = len(cells), reach
        self._stride = int(cells[:, 1].max()) + 1 + reach
        self.places = cells[:, 0] * self._stride + cells[:, 1]  # within the blocks
        self.blocks = lane_layout.blocks(int(self.places.max()) + 1)
        self.margin = reach * self._stride + reach  # of zeros, before and behind the blocks
        self.size = 2 * self.margin + self.blocks * WIDTH

    def steps(self, offsets: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
        """How far along the plane it is to cells so many rows and columns away."""
        return np.array([rows * self._stride + columns for rows, columns in offsets], np.int64)

    def to_lanes(self, rows: NDArray[np.floating]) -> Float32:
        """``(cells, k)`` → ``(blocks, k, 16)``, 0 where there is no cell."""
        spread = np.zeros((self.blocks * WIDTH, rows.shape[1]), np.float32)
        spread[self.places] = rows
        return lane_layout.to_lanes(spread)

    def from_lanes(self, lanes: Float32) -> Float32:
        """``(blocks, k, 16)`` → ``(cells, k)``; read-only, for it is a copy."""
        rows: Float32 = lane_layout.from_lanes(lanes, self.blocks * WIDTH)[self.places]
        rows.flags.writeable = False
        return rows


def hexagon(rings: int) -> Cells:
    """Return the cells of a hexagon of ``rings`` around one cell, as axial rows and columns."""
    span = range(-rings, rings + 1)
    cells = [(r, q) for r in span for q in span if abs(r + q) <= rings]
    return np.array(cells, np.int64) + rings


def shifted_rows(rows: int, columns: int) -> Cells:
    """Return the cells of a sheet with odd rows shifted right by half a step, as axial rows and columns."""
    row, column = np.divmod(np.arange(rows * columns, dtype=np.int64), columns)
    return np.stack((row, column - row // 2 + (rows - 1) // 2), axis=1)


def positions(cells: Cells) -> NDArray[np.float64]:
    """``(cells, 2)``: x and y on a hexagonal grid of unit steps, the middle of all at (0, 0)."""
    x = cells[:, 1] + cells[:, 0] / 2
    y = cells[:, 0] * np.sqrt(0.75)
    return np.stack((x - x.mean(), y - y.mean()), axis=1)


def centres(rows: int, columns: int, hexagonal: bool) -> NDArray[np.float64]:
    """Return x and y of a grid's units as they are drawn, ``(rows·columns, 2)``, row by row.

    Columns are 1 apart, the first unit is at (0, 0), and odd rows of hexagons are shifted right by half a
    step.
    """
    row, column = np.divmod(np.arange(rows * columns), columns)
    if hexagonal:
        return np.stack((column + row % 2 / 2, row * np.sqrt(0.75)), axis=1)
    return np.stack((column, row), axis=1).astype(np.float64)


def ring_offsets(nearest: int, farthest: int) -> list[tuple[int, int]]:
    """(rows, columns) to every place from ring ``nearest`` to ring ``farthest`` of a hexagonal grid."""
    span = range(-farthest, farthest + 1)
    return [(r, q) for r in span for q in span if nearest <= max(abs(r), abs(q), abs(r + q)) <= farthest]
