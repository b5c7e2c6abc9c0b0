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
    count, total = 0, 0.0
    for d in range(sizes.size):
        known = sizes[d] == sizes[d]
        size = np.float64(sizes[d]) if known else 0.0
        count += 1 if known else 0
        total += size * size if squared else size  # finite: a float32 squared is below 1e78
    if count == 0:
        fill_unknown(sizes)
        return
    share, part = (1.0 / total, 0.0) if total > 0.0 else (0.0, 1.0 / count)
    for d in range(sizes.size):
        known = sizes[d] == sizes[d]
        size = np.float64(sizes[d])
        part_of_d = share * (size * size if squared else size) + part
        sizes[d] = np.float32(part_of_d) if known else np.float32(0)
