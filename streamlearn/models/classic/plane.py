"""Memory layout of a sheet of cells with local connections. ``kernels/classic/plane.py`` describes it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ...kernels.simd.blocks import WIDTH
from .. import lane_layout
from ..batch import Float32
from ..grids import Places


def lanes_of(rows: int, columns: int, reach: int) -> int:
    """Return the lanes of a plane of cells, with the margins between its rows."""
    return lane_layout.blocks(rows * (columns + reach)) * WIDTH


class Plane:
    """Layout of cells at ``(row, column)`` ≥ 0, each connected to at most ``reach`` rows and columns away."""

    def __init__(self, places: Places, reach: int) -> None:
        self.cells = len(places)
        self._stride = int(places[:, 1].max()) + 1 + reach
        self._index = places[:, 0] * self._stride + places[:, 1]  # of the cells within the blocks
        self.blocks = lane_layout.blocks(int(self._index.max()) + 1)
        self.margin = reach * self._stride + reach  # zeros before and after the blocks
        self.size = 2 * self.margin + self.blocks * WIDTH
        self.cell_index = self.margin + self._index  # (cells,): array index on the plane

    def array_offsets(self, offsets: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
        """Convert (rows, columns) between two cells to the offset on the plane."""
        return np.array([rows * self._stride + columns for rows, columns in offsets], np.int64)

    def to_lanes(self, rows: NDArray[np.floating]) -> Float32:
        """Convert ``(cells, k)`` to ``(blocks, k, 16)``, with 0 at places without a cell."""
        spread = np.zeros((self.blocks * WIDTH, rows.shape[1]), np.float32)
        spread[self._index] = rows
        return lane_layout.to_lanes(spread)

    def from_lanes(self, lanes: Float32) -> Float32:
        """Convert ``(blocks, k, 16)`` to ``(cells, k)``. The result is a copy, and read-only to show it."""
        rows: Float32 = lane_layout.from_lanes(lanes, self.blocks * WIDTH)[self._index]
        rows.flags.writeable = False
        return rows
