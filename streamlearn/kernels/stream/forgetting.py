"""Exponentially forgotten counts, without a multiplication per entry and sample.

``counts`` float64 ``(m + 1,)``: entries 0 … m − 1 are weighted counts, and the last entry is the weight of
the next event. Each event weighs 1/decay times as much as the event before it. ``counts[:m] / counts[m]`` are
the counts with exponentially decaying weights.
"""

from __future__ import annotations

from ..compiler import device

_LARGE = 2.0**64  # rescale at this weight, far below the range of float64


@device
def count(counts, i, decay):
    """Count one event of entry ``i``."""
    weight = counts.size - 1
    counts[i] += counts[weight]
    counts[weight] /= decay
    if counts[weight] > _LARGE:
        for j in range(weight):
            counts[j] /= counts[weight]
        counts[weight] = 1.0
