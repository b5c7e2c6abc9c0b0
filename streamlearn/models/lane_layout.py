"""Conversion between arrays of one row per unit and lanes: sixteen units per block, 64 per group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..kernels.simd import groups
from ..kernels.simd.blocks import WIDTH, blocks

__all__ = [
    "Float32",
    "blocks",
    "empty",
    "from_lanes",
    "group_columns",
    "pad",
    "to_groups",
    "to_lanes",
    "zeros",
]

Float32 = NDArray[np.float32]


def empty(*shape: int) -> Float32:
    """Return an uninitialized array ``(…, 16)``, aligned to a cache line for speed."""
    count = int(np.prod(shape))
    buffer = np.empty(count + WIDTH, np.float32)
    start = -(buffer.ctypes.data // buffer.itemsize) % WIDTH
    return buffer[start : start + count].reshape(shape)


def zeros(*shape: int) -> Float32:
    """Return an array ``(…, 16)`` of zeros, aligned to a cache line."""
    array = empty(*shape)
    array[...] = 0
    return array


def _transposed(rows: NDArray[np.floating], width: int, fill: float) -> Float32:
    """``(units, dim)`` → ``(·, dim, width)``."""
    units, dim = rows.shape
    parts = -(-units // width)
    padded = np.full((parts * width, dim), fill, np.float32)
    padded[:units] = rows
    lanes = empty(parts, dim, width)
    lanes[...] = padded.reshape(parts, width, dim).transpose(0, 2, 1)
    return lanes


def to_lanes(rows: NDArray[np.floating], fill: float = 0.0) -> Float32:
    """``(units, dim)`` → ``(blocks, dim, 16)``, with ``fill`` in the unused lanes of the last block."""
    return _transposed(rows, WIDTH, fill)


def to_groups(rows: NDArray[np.floating], fill: float = 0.0) -> Float32:
    """``(units, dim)`` → ``(groups, dim, 64)``, with ``fill`` in the unused lanes of the last group."""
    return _transposed(rows, groups.GROUP, fill)


def from_lanes(lanes: Float32, units: int) -> Float32:
    """``(blocks, dim, 16)`` or ``(groups, dim, 64)`` → ``(units, dim)``."""
    return np.ascontiguousarray(lanes.transpose(0, 2, 1).reshape(-1, lanes.shape[1])[:units])


def pad(units: int) -> Float32:
    """``(blocks, 16)``: 0 for a unit, +inf for an unused lane, so that it never wins."""
    start = np.zeros((units, 1))
    return to_lanes(start, fill=np.inf).reshape(-1, WIDTH)


def group_columns(rows: NDArray[np.floating]) -> Float32:
    """``(units, n)`` → ``(n, blocks, 16)``, +inf in the unused lanes, for units in groups.

    A last group of two or three blocks is filled up to four.

    A single last block is searched alone, which takes less time than a group.
    """
    used, n = blocks(len(rows)), rows.shape[1]
    all_lanes = to_groups(rows, fill=np.inf).transpose(1, 0, 2).reshape(n, -1, WIDTH)
    lanes = empty(n, used if used % groups.BLOCKS == 1 else all_lanes.shape[1], WIDTH)
    lanes[...] = all_lanes[:, : lanes.shape[1]]
    return lanes
