"""Contributions: the share of each channel in the deviation of a sample from what the model expects.

A kernel first writes the size of each channel's deviation, NaN for a missing channel. ``to_shares`` then
divides the deviations, or their squares, by their sum. The shares are float32 and sum to 1 up to rounding. A
missing channel has the share 0. If no channel deviates, all present channels have the same share. If the
model expects nothing, as without a winner or a forecast, all shares are NaN.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device

_LARGEST = float(np.finfo(np.float32).max)
_NAN = np.float32(np.nan)


@device
def size_of(deviation):
    """|deviation| of a float64 as float32, cut to the largest finite one. NaN stays NaN."""
    size = abs(deviation)
    return np.float32(_LARGEST if size > _LARGEST else size)


@device
def fill_unknown(values):
    """Fill ``values`` ``(dim,)`` with NaN."""
    for d in range(values.size):
        values[d] = _NAN


@device
def to_shares(sizes, squared):
    """Replace ``sizes`` ``(dim,)`` by their shares in their sum, or in the sum of their squares."""
    largest, count, total = np.float32(0), 0, 0.0
    for d in range(sizes.size):
        if sizes[d] == sizes[d]:
            largest = max(largest, sizes[d])
            count += 1
    for d in range(sizes.size):
        if sizes[d] == sizes[d]:
            part = np.float64(sizes[d]) / np.float64(largest) if largest > 0.0 else 1.0
            part = part * part if squared else part  # finite, because it is at most 1
            sizes[d] = np.float32(part)
            total += part
    for d in range(sizes.size):
        sizes[d] = np.float32(np.float64(sizes[d]) / total) if sizes[d] == sizes[d] else np.float32(0)
    if count == 0:
        fill_unknown(sizes)
