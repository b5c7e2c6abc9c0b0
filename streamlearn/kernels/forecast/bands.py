"""Adaptive conformal bands (Gibbs & Candès, NeurIPS 2021): intervals that cover the stated share of samples.

The band of a forecast reaches to the (1 − a_t) quantile of the recent |errors| on both sides. After each
sample

    a_{t+1} = a_t + η (miss − [the sample was outside])

where miss = 1 − coverage and a_t stays in 0 … 1. The recent errors are in units of the channel's scale s, so
the band follows s at once. They are kept twice: in the order of their arrival, and sorted.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.views import row_of

RING = 500  # recent errors
LEAST = 20  # errors before there is a band
_BEYOND = 2.0  # where a_t asks for more than the largest error: this many times it


@device
def half_width(bands, h):
    """Half the width of the band at horizon index ``h``, in units of s; NaN with too few errors."""
    count = min(bands.counts[h], np.int64(bands.errors.shape[1]))
    if count < LEAST:
        return np.nan
    ordered = row_of(bands.ordered, h)
    rank = np.int64((count + 1) * (1.0 - bands.miss[h]))
    if rank >= count + 1:
        return _BEYOND * np.float64(ordered[count - 1])
    return np.float64(ordered[min(max(rank, np.int64(0)), count - 1)])


@device
def adapt(bands, h, gain, miss, outside):
    """Update a_t."""
    bands.miss[h] = min(max(bands.miss[h] + gain * (miss - (1.0 if outside else 0.0)), 0.0), 1.0)


@device
def count_error(bands, h, error):
    """Add an |error|, in place of the oldest one if the ring is full."""
    errors, ordered = row_of(bands.errors, h), row_of(bands.ordered, h)
    room, count = np.int64(errors.size), bands.counts[h]
    error = np.float32(error)
    found = _places_below(ordered, min(count, room), error)
    removed = _places_below(ordered, room - 1, errors[count % room]) if count >= room else count
    if found > removed:
        for place in range(removed, found - 1):
            ordered[place] = ordered[place + 1]
        ordered[found - 1] = error
    else:
        for place in range(removed, found, -1):
            ordered[place] = ordered[place - 1]
        ordered[found] = error
    errors[count % room] = error
    bands.counts[h] = count + 1


@device
def _places_below(ordered, count, value):
    """How many of the first ``count`` values are below ``value``."""
    low, high = np.int64(0), np.int64(count)
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low
