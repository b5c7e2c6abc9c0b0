"""Conversion between arrays of one row per unit and lanes of sixteen units per block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..kernels.simd.blocks import blocks
from ..kernels.simd.lanes import WIDTH

__all__ = ["Float32", "blocks", "empty", "from_lanes", "pad", "to_lanes", "zeros"]

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


def to_lanes(rows: NDArray[np.floating], fill: float = 0.0) -> Float32:
    """``(units, dim)`` → ``(blocks, dim, 16)``, with ``fill`` in the unused lanes of the last block."""
    units, dim = rows.shape
    padded = np.full((blocks(units) * WIDTH, dim), fill, np.float32)
    padded[:units] = rows
    lanes = empty(len(padded) // WIDTH, dim, WIDTH)
    lanes[...] = padded.reshape(-1, WIDTH, dim).transpose(0, 2, 1)
    return lanes


def from_lanes(lanes: Float32, units: int) -> Float32:
    """``(blocks, dim, 16)`` → ``(units, dim)``."""
    return np.ascontiguousarray(lanes.transpose(0, 2, 1).reshape(-1, lanes.shape[1])[:units])


def pad(units: int) -> Float32:
    """``(blocks, 16)``: 0 for a unit, +inf for an unused lane, so that it never wins."""
    start = np.zeros((units, 1))
    return to_lanes(start, fill=np.inf).reshape(-1, WIDTH)
