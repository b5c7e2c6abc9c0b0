"""Online scaling of each channel: standard, exponentially weighted, or by its range. Robust against spikes.

A sample is scaled by the statistics of the samples before it, and is added to them afterwards. The outputs of
``learn`` therefore equal those of ``predict``. A missing value (NaN) stays NaN and does not change the
statistics of its channel.

The first 16 values of a channel are kept, and cut at their median ± 4·(16/n)·1.4826·MAD for the statistics
(MAD: median absolute deviation; Huber & Ronchetti 2009, section 5.1). Later a value is cut (winsorised) at
±4 widths from the mean before it joins. While values stay outside, this limit doubles with every 8 of them,
so that a shift of level is followed. With w the width and u the limit's factor::

    d = clip(x − mean, ±4·u·w)        u ← u·2^(1/8) if |x − mean| > 4·w, else max(u/2^(1/8), 1)
    mean += g·d                       g = 1/n for standard, max(1 − decay, 1/n) for ewma
    variance = (1 − g)·(variance + g·d²)

For min–max the range grows by at most u·w/64 per value, where u grows with every value that is farther
outside than w/64. An end that no value reaches moves towards the other end with the factor ``decay``.

A width has a floor: a change of the last digit is not a deviation of many widths, however long the channel
was flat before. The last digit q is the smallest change of recent values. The floor is at most 2·q. It is
less, down to q/2, where q is no small part of the value or of the widest width so far (a channel of a few
levels). A channel that never changed in 16 values or more has the width |value|/64.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compiler import called_kernel, device
from ..simd.columns import count_of, four_columns, load_columns, store_columns
from ..simd.lanes import COLUMNS, absolute, anywhere, larger, select, smaller, sqrt
from .patience import GROWTH, SHRINKAGE

NONE, STANDARD, EWMA, MINMAX = 0, 1, 2, 3
METHODS = {None: NONE, "standard": STANDARD, "ewma": EWMA, "minmax": MINMAX}

# Rows of the statistics, float64 (ROWS, dim)
COUNT = 0  # number of values
CENTRE = 1  # mean; for min–max the lower end of the range
SPREAD = 2  # variance, at least the square of the floor; for min–max the upper end of the range
WIDTH = 3  # what a difference is divided by; 0 while all values are equal
PATIENCE = 4  # u, the factor of the limit
LAST = 5  # the last value
RESOLUTION = 6  # q; 0 while all values are equal
WIDEST = 7  # the largest width so far
FIRST = 8  # the first values, sorted

FIRST_VALUES = 16
ROWS = FIRST + FIRST_VALUES
SUMMARY = 3  # rows that describe the channel; the others are what makes them robust

LIMIT = 4.0  # in widths
_FIRST_VALUES = float(FIRST_VALUES)
LARGEST_PATIENCE = 2.0**64
_RANGE_STEP = 1 / 64  # of the range, per value
_MAD_OF_NORMAL = 1.4826  # standard deviation / MAD of a normal distribution
_FORGET_RESOLUTION = 1.0 + 1 / 1024  # per change of the value
_PART_OF_VALUE, _PART_OF_WIDEST = 1 / 64, 1 / 16


class Scaling(NamedTuple):
    """The scaling of the channels of a stream."""

    method: Any
    statistics: Any  # (ROWS, dim); (0, dim) for NONE
    clip: Any


# ``value`` of the functions below is a float64, or doubles: the values of four channels from ``c`` on (see
# columns.py). A channel that has no value, or fewer than the first values, keeps its statistics.


@device
def _width_for(statistics, c, value):
    """Width for ``value``; 0 if the channel has too few values to have one."""
    width = load_columns(statistics, WIDTH, c, value)
    never_changed = (width == 0.0) & (load_columns(statistics, COUNT, c, value) >= _FIRST_VALUES)
    largest = larger(absolute(load_columns(statistics, CENTRE, c, value)), absolute(value))
    return select(never_changed, _PART_OF_VALUE * largest, width)


@device
def _transform(scale, value, c, out):
    """Write the scaled and clipped ``value``. Returns the number of present values."""
    width = _width_for(scale.statistics, c, value)
    scaled = (value - load_columns(scale.statistics, CENTRE, c, value)) / width
    scaled = smaller(larger(select(width > 0.0, scaled, 0.0), -scale.clip), scale.clip)
    store_columns(out, 0, c, select(value == value, scaled, value))
    return count_of(value == value)


@device
def transform(scale, x, n, out):
    """Write row ``n`` of ``x`` ``(n, dim)``, scaled and clipped to ±clip, to ``out`` ``(dim,)``.

    Returns the number of present values.
    """
    present, whole = 0, out.size // COLUMNS * COLUMNS
    if scale.method == NONE:
        for c in range(out.size):
            out[c] = x[n, c]
            present += x[n, c] == x[n, c]
        return present
    for c in range(0, whole, COLUMNS):
        present += _transform(scale, four_columns(x, n, c), c, out)
    for c in range(whole, out.size):
        present += _transform(scale, np.float64(x[n, c]), c, out)
    return present


@device
def restore(scale, c, scaled):
    """Convert a scaled value of channel ``c`` to the stream's own units."""
    if scale.method == NONE:
        return scaled
    return np.float32(scale.statistics[CENTRE, c] + np.float64(scaled) * scale.statistics[WIDTH, c])


@device
def update(scale, decay, x, n):
    """Add row ``n`` of ``x`` to the statistics. ``decay``: factor of the weight of the past per sample, for
    ewma and min–max."""
    method, statistics, _ = scale
    if method == NONE:
        return
    if method == MINMAX:
        first = _extend_ranges(statistics, decay, x, n)
    else:
        first = _add_row(_add, statistics, 1.0 - decay if method == EWMA else 0.0, x, n)
    if first:
        for c in range(x.shape[1]):
            if statistics[COUNT, c] < FIRST_VALUES and x[n, c] == x[n, c]:
                _observe_first(method, statistics, c, np.float64(x[n, c]))


@called_kernel("b1(f8[:, ::1], f8, f4[:, ::1], i8)")
def _extend_ranges(statistics, decay, x, n):
    """`update` for min–max."""
    return _add_row(_extend_range, statistics, min(1.0 - decay, 0.5), x, n)


@device
def _add_row(add, statistics, rate, x, n):
    """Add row ``n``. Returns whether one of its values is one of the first, which `_observe_first` adds."""
    whole, first = x.shape[1] // COLUMNS * COLUMNS, False
    for c in range(0, whole, COLUMNS):
        first |= _add_value(add, statistics, rate, c, four_columns(x, n, c))
    for c in range(whole, x.shape[1]):
        first |= _add_value(add, statistics, rate, c, np.float64(x[n, c]))
    return first


@device
def _add_value(add, statistics, rate, c, value):
    count = load_columns(statistics, COUNT, c, value)
    learned = (value == value) & (count >= _FIRST_VALUES)
    add(statistics, rate, count, c, learned, value)
    _set(statistics, COUNT, c, learned, count + 1.0)
    return anywhere((value == value) & (count < _FIRST_VALUES))


@device
def _set(statistics, row, c, learned, value):
    """Set a statistic of the channels that have learned their value."""
    store_columns(statistics, row, c, select(learned, value, load_columns(statistics, row, c, value)))


@device
def _add(statistics, least, count, c, learned, value):
    """Add a value to mean and variance, cut at the limit. Its part is 1/n, or at least ``least``."""
    gain = larger(1.0 / (count + 1.0), least)
    mean, variance = load_columns(statistics, CENTRE, c, value), load_columns(statistics, SPREAD, c, value)
    difference = _cut(statistics, c, learned, value - mean, LIMIT * _width_for(statistics, c, value))
    mean = mean + gain * difference
    variance = (1.0 - gain) * (variance + gain * difference * difference)
    floor = _floor(statistics, c, learned, mean, value)
    variance = larger(variance, floor * floor)
    _set(statistics, CENTRE, c, learned, mean)
    _set(statistics, SPREAD, c, learned, variance)
    _set_width(statistics, c, learned, sqrt(variance))


@device
def _extend_range(statistics, rate, _, c, learned, value):
    """Shrink the range by its part ``rate``, and extend it towards a value outside."""
    low, high = load_columns(statistics, CENTRE, c, value), load_columns(statistics, SPREAD, c, value)
    shrinkage = rate * (high - low)
    low, high = low + shrinkage, high - shrinkage
    excess = value - smaller(larger(value, low), high)
    excess = _cut(statistics, c, learned, excess, _RANGE_STEP * _width_for(statistics, c, value))
    low, high = low + smaller(excess, 0.0), high + larger(excess, 0.0)
    _set(statistics, CENTRE, c, learned, low)
    _set(statistics, SPREAD, c, learned, high)
    floor = _floor(statistics, c, learned, low, value)
    _set_width(statistics, c, learned, larger(high - low, floor))


@device
def _cut(statistics, c, learned, difference, limit):
    """Return ``difference``, cut at ±u·limit. Then update u."""
    patience = load_columns(statistics, PATIENCE, c, difference)
    longer = smaller(patience * GROWTH, LARGEST_PATIENCE)
    shorter = larger(patience * SHRINKAGE, 1.0)
    _set(statistics, PATIENCE, c, learned, select(absolute(difference) > limit, longer, shorter))
    return smaller(larger(difference, -patience * limit), patience * limit)


@device
def _floor(statistics, c, learned, centre, value):
    """Update q, and return the floor of the width."""
    change = absolute(value - load_columns(statistics, LAST, c, value))
    resolution = load_columns(statistics, RESOLUTION, c, value)
    least = select(resolution > 0.0, smaller(_FORGET_RESOLUTION * resolution, change), change)
    resolution = select(change > 0.0, least, resolution)
    _set(statistics, LAST, c, learned, value)
    _set(statistics, RESOLUTION, c, learned, resolution)
    widest = load_columns(statistics, WIDEST, c, value)
    levels = larger(_PART_OF_WIDEST * widest, _PART_OF_VALUE * absolute(centre))
    return smaller(2.0 * resolution, larger(0.5 * resolution, levels))


@device
def _set_width(statistics, c, learned, width):
    """Set the width, in the stream's own units."""
    _set(statistics, WIDTH, c, learned, width)
    _set(statistics, WIDEST, c, learned, larger(load_columns(statistics, WIDEST, c, width), width))


# -- the first values --------------------------------------------------------------------------------------


@called_kernel("void(i8, f8[:, ::1], i8, f8)")
def _observe_first(method, statistics, c, value):
    """Insert one of the first values, and compute centre and spread from all of them, cut at the limit."""
    count = np.int64(statistics[COUNT, c]) + 1
    place = FIRST + count - 1
    while place > FIRST and statistics[place - 1, c] > value:
        statistics[place, c] = statistics[place - 1, c]
        place -= 1
    statistics[place, c] = value
    if count == 1:
        statistics[LAST, c] = value

    median = 0.5 * (statistics[FIRST + (count - 1) // 2, c] + statistics[FIRST + count // 2, c])
    limit = LIMIT * FIRST_VALUES / count * _first_width(statistics, c, count, median)
    low, high = (
        max(statistics[FIRST, c], median - limit),
        min(statistics[FIRST + count - 1, c], median + limit),
    )
    mean, variance = 0.0, 0.0
    for i in range(FIRST, FIRST + count):
        mean += min(max(statistics[i, c], low), high)
    mean /= count
    for i in range(FIRST, FIRST + count):
        difference = min(max(statistics[i, c], low), high) - mean
        variance += difference * difference
    centre = low if method == MINMAX else mean
    floor = _floor(statistics, c, True, centre, value)
    variance = max(variance / count, floor * floor)
    statistics[COUNT, c] = count
    statistics[CENTRE, c] = centre
    statistics[SPREAD, c] = high if method == MINMAX else variance
    _set_width(statistics, c, True, max(high - low, floor) if method == MINMAX else math.sqrt(variance))


@device
def _first_width(statistics, c, count, median):
    """1.4826·MAD of the first values; their mean absolute deviation if the MAD is 0."""
    below, above = FIRST + (count - 1) // 2, FIRST + (count - 1) // 2 + 1
    before, deviation = 0.0, 0.0  # the deviations, in ascending order: the one before, and this one
    for _ in range(count // 2 + 1):
        before = deviation
        left = median - statistics[below, c] if below >= FIRST else math.inf
        right = statistics[above, c] - median if above < FIRST + count else math.inf
        deviation = min(left, right)
        if left <= right:
            below -= 1
        else:
            above += 1
    width = _MAD_OF_NORMAL * (deviation if count % 2 == 1 else 0.5 * (before + deviation))
    if width > 0.0:
        return width
    total = 0.0
    for i in range(FIRST, FIRST + count):
        total += abs(statistics[i, c] - median)
    return total / count
