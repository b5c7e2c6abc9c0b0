"""Adaptive conformal bands (Gibbs & Candès, NeurIPS 2021): intervals that cover the stated share of samples.

The band of a forecast reaches to the (1 − a_t) quantile of the recent |errors| on both sides. After each
sample

    a_{t+1} = a_t + η (miss − [the sample was outside])

where miss = 1 − coverage and a_t stays in 0 … 2·miss, at most 1: on a flat stream all errors are inside,
which would raise a_t without end. An error is divided by the *level* that its forecast had.
With m_k the mean of the recent |errors| of its step, with a half-life of k of them, and m the mean of all,

    level = max(m_100, m_10/2, m/10)

So the band follows a change of the noise within tens of samples, where a_t alone follows within hundreds. On
a stream that was flat for long, m_100 is near 0. Without the other two, the errors after it would be huge in
units of the level, and the band too wide for the next 500. An error counts for the means up to 6u levels. u
doubles with every 4 errors beyond that. The recent errors are kept twice: in the order of their arrival, and
sorted.

Entry point: ``observe``, for the forecasts of any model.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device, kernel
from ..simd.lanes import canonical_nan
from ..simd.views import row_of
from .records import Bands

LEAST = 20  # errors before there is a band
LEVEL_DECAY = 0.993092495437036  # 2^(−1/100)
SUM, COUNT = 0, 1  # of the recent |errors|: m_100 = SUM/COUNT
RECENT, MEAN = 2, 3  # m_10 and m
PATIENCE = 4  # u; 0 before the first error
_MOST = 1e30  # levels
_LARGEST = 6.0  # an error counts for the means up to this many levels, times u
_GROWTH, _SHRINKAGE = 1.189207115002721, 0.8408964152537145  # 2^(1/4) of u, and 2^(−1/4)
_LARGEST_PATIENCE = 2.0**64
_RECENT_GAIN = 0.06696700846319259  # 1 − 2^(−1/10)
_MEAN_GAIN = 1e-4
_PART_OF_RECENT, _PART_OF_MEAN = 0.5, 0.1
_BEYOND = 2.0  # where a_t asks for more than the largest error: this many times it


@device
def level_of(bands, h):
    """The level of the errors at horizon index ``h``; 0 without one."""
    levels = row_of(bands.levels, h)
    if levels[COUNT] == 0.0:
        return 0.0
    least = max(_PART_OF_RECENT * levels[RECENT], _PART_OF_MEAN * levels[MEAN])
    return max(levels[SUM] / levels[COUNT], least)


@device
def half_width(bands, h):
    """Half the width of the band at horizon index ``h``; NaN with too few errors."""
    count = min(bands.counts[h], np.int64(bands.errors.shape[1]))
    if count < LEAST:
        return np.nan
    ordered = row_of(bands.ordered, h)
    rank = np.int64((count + 1) * (1.0 - bands.miss[h]))
    if rank >= count + 1:
        return level_of(bands, h) * _BEYOND * np.float64(ordered[count - 1])
    return level_of(bands, h) * np.float64(ordered[min(max(rank, np.int64(0)), count - 1)])


@device
def adapt(bands, h, gain, miss, outside):
    """Update a_t."""
    changed = bands.miss[h] + gain * (miss - (1.0 if outside else 0.0))
    bands.miss[h] = min(max(changed, 0.0), 2.0 * miss, 1.0)


@device
def count_error(bands, h, error, level):
    """Add an |error| whose forecast had the level ``level``."""
    levels, usual = row_of(bands.levels, h), level_of(bands, h)
    patience, share = max(levels[PATIENCE], 1.0), 1.0 / (bands.counts[h] + 1)
    limit = _LARGEST * usual * patience if usual > 0.0 else math.inf
    counted = min(error, limit)
    levels[SUM] = levels[SUM] * LEVEL_DECAY + counted
    levels[COUNT] = levels[COUNT] * LEVEL_DECAY + 1.0
    levels[RECENT] += max(_RECENT_GAIN, share) * (counted - levels[RECENT])
    levels[MEAN] += max(_MEAN_GAIN, share) * (counted - levels[MEAN])
    longer, shorter = min(patience * _GROWTH, _LARGEST_PATIENCE), max(patience * _SHRINKAGE, 1.0)
    levels[PATIENCE] = longer if error > limit else shorter
    if level > 0.0:
        _add(bands, h, min(error / level, _MOST))


@device
def _add(bands, h, error):
    """Add an error in levels, in place of the oldest one if the ring is full."""
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


@kernel(
    "void(f4[:,:,::1], f4[:,::1], i8[::1], b1[::1], b1[::1], f8[::1], f4[:,::1], f4[:,::1], i8[::1],"
    " f8[:,::1], f8[::1], i8[::1], f4[:,:,:,:,::1], f4[:,:,::1], f4[:,:,::1])"
)
def observe(
    prediction,  # (n, horizon, columns): forecasts of this row's values and those of the rows after it
    values,  # (n, columns): NaN marks a missing value
    slots,  # (n,): slot of each row's stream
    new_stream,  # (n,): whether the row is the first of a new stream
    watched,  # (n,): whether the row is not learned: it changes no band
    constants,  # (2,): 1 − coverage; η
    errors,  # (horizon·columns, ring)
    ordered,  # (horizon·columns, ring)
    counts,  # (horizon·columns,)
    levels,  # (horizon·columns, LEVELS)
    miss,  # (horizon·columns,): a_t
    position,  # (slots,): number of the next row of each stream
    waiting,  # (slots, horizon, 3, horizon, columns): forecast, half width and level of recent rows
    lower,  # (n, horizon, columns)
    upper,  # (n, horizon, columns)
):
    """Write the bands of forecasts in order, and compare them with the values when these arrive."""
    bands = Bands(errors, ordered, counts, levels, miss)
    horizon, columns = prediction.shape[1], prediction.shape[2]
    for n in range(prediction.shape[0]):
        slot = slots[n]
        if new_stream[n]:
            position[slot] = 0
        number, own = position[slot], row_of(waiting, slot)
        newest = row_of(own, number % horizon)
        for h in range(horizon):
            for c in range(columns):
                o, middle = np.int64(h * columns + c), np.float64(prediction[n, h, c])
                half = half_width(bands, o)
                newest[0, h, c] = canonical_nan(prediction[n, h, c])
                newest[1, h, c] = canonical_nan(np.float32(half))
                newest[2, h, c] = np.float32(level_of(bands, o))
                lower[n, h, c] = canonical_nan(np.float32(middle - half))
                upper[n, h, c] = canonical_nan(np.float32(middle + half))
        for h in range(0 if watched[n] else min(horizon, number + 1)):
            made = row_of(own, (number - h) % horizon)
            for c in range(columns):
                o, half = np.int64(h * columns + c), np.float64(made[1, h, c])
                error = abs(np.float64(made[0, h, c]) - np.float64(values[n, c]))
                if not error < math.inf:
                    continue
                if half == half:
                    adapt(bands, o, constants[1], constants[0], error > half)
                count_error(bands, o, min(error, 1e30), np.float64(made[2, h, c]))
        position[slot] += 1
