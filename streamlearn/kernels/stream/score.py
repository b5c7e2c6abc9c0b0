"""The score: how unusual a distance or an error is among the recent ones, calibrated.

A share p of the stream's samples has a score above 1 − p, whatever the distribution of the distances, however
many values are missing, and again soon after the level or the noise of the stream has changed.

    y = √d                      close to normal if d² is a sum of squares (Hawkins & Wixley 1986)
    z = (y/ℓ − a_k)/(w_k·s)     ℓ, s: level and spread of the last 240 samples, all numbers k together.
                                a_k, w_k: location and width of y/ℓ, for each number k of present values
    score                       share of recent z below this one, forgotten with ``decay``

Blocks. ``rank`` reads tables, and ``observe`` only keeps the sample. A complete block changes the statistics
and the tables: the first 16 samples, then an eighth of the samples so far, at most 32. A mean over the last c
samples moves to the mean of m samples by the gain m/(m + c).

Statistics and patience. A deviation counts with at most ±L widths (it is winsorised), L = 4. Each z beyond ±4
multiplies L by 2^⅛, the others divide it by 2^(1/2048). So a spike moves nothing far, and a change that stays
is followed. In the first block, y is at most four times its median. For a_k and w_k, c is half of the samples
so far, at most the memory of ``decay``.

Level. After a block that leaves the mean of z over 48 samples beyond ±¾, the level moves: ℓ follows with
c = 20, and all else rests, so the histograms do not count samples of a wrong level.

The transform z = A_k·y − B_k in use is replaced by the current one only if they differ by 0.17 widths or by
17 % in scale (15 with missing values). So equal distances have equal z for a long time, and share the middle
of their ranks. After a long fall of distances, the histogram has z of other transforms. So the score of z < 0
is at most 0.98.

Histogram. It counts z of all samples (`histogram`). The share below z in it is the score if no value is
missing. Once samples with different k have come, each of up to four classes of k counts its own samples.

``reference`` float64 ``(size(columns),)``: the histogram, the head, the samples of this block, ROW entries
for each k (for columns > 32, 32 classes of k), and the shares of each class of k. Sample i of this block is
kept in KEPT + i: the bits of the float32 distance, and above them the number of its row.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compiler import called_kernel, device
from ..simd.views import floats_on_the_stack, integers_on_the_stack
from . import histogram
from .patience import GROWTH, SLOW_SHRINKAGE

# The head
(
    COUNT,  # samples in complete blocks
    WAITING,  # samples in this block so far
    LENGTH,  # of this block
    LEVEL,  # ℓ
    SPREAD,  # s²
    LIMIT,  # L
    TREND,  # mean of z over 48 samples
    ONLY,  # row of all samples so far; MIXED once they differ
) = range(histogram.SIZE, histogram.SIZE + 8)
MIXED = -1.0
BLOCK = 32
KEPT = ONLY + 1

# A row of one number of present values: samples, a, w, and A and B of the transform in use
ROWS = KEPT + BLOCK
ROW_COUNT, LOCATION, WIDTH, FACTOR, OFFSET = range(5)
ROW = 5
MOST_ROWS, MOST_CLASSES = 32, 4

_FIRST_BLOCK = 16
_SETTLING = 80  # first samples without a level of their own
_CUT = 4.0
_MOST_PATIENCE = 4.0 * 2.0**20
_TREND_MEMORY, _LEVEL_MEMORY, _MOVING_MEMORY = 48.0, 240.0, 20.0
_MOVING = 0.75
_BORROWED = 8.0  # samples that a start from another row counts as
_TOLERANCE, _MIXED_TOLERANCE = 0.17, 0.15  # the second one with missing values
_NARROWEST = 1e-6  # widths relative to their location
_TINY = 1e-30
_LARGEST = 3.4028234663852886e38
_MOST_BELOW = 0.98
_BELOW_1 = 1 - 2.0**-24


class Score(NamedTuple):
    """The reference of the score."""

    reference: Any  # (size(columns),)
    columns: Any  # number of values that may be present
    decay: Any  # factor of the weight of older values per sample


class Block(NamedTuple):
    """The samples of a complete block, and results for each of them."""

    size: Any
    y: Any  # (BLOCK,)
    number: Any  # (BLOCK,): of its row
    place: Any  # (BLOCK,): of z by the transform in use, in the histogram
    z: Any  # (BLOCK,): cut at ±4; 0 for samples of other rows
    deviation: Any  # (BLOCK,): cut at ±L widths; 0 for samples of other rows


def size(columns: int) -> int:
    """Return the size of ``reference`` if ``columns`` values may be present."""
    return ROWS + ROW * min(columns, MOST_ROWS) + histogram.CLASS * min(columns, MOST_CLASSES)


def restart(reference: Any) -> None:
    """Set ``reference`` to its state before the first sample."""
    reference[:] = 0.0
    reference[LENGTH] = _FIRST_BLOCK
    reference[LEVEL] = reference[SPREAD] = 1.0
    reference[LIMIT] = _CUT
    histogram.restart(reference)


# -- ranking -------------------------------------------------------------------------------------------------


@device
def _number_of_row(score, present):
    """The number of the row of ``present`` values, from 0 on."""
    columns = score.columns
    return present - 1 if columns <= MOST_ROWS else (present * MOST_ROWS - 1) // columns


@device
def _y(value):
    """√|d| of a float32. A cross-entropy may be −0."""
    return math.sqrt(np.float64(min(abs(value), _LARGEST)))


@device
def rank(score, value, present):
    """The score of a distance or error ``value`` over ``present`` values, in [0, 1); NaN if it is NaN.

    It is ½ in the first block of samples, and in the first block with this number of present values.
    """
    if not (value == value) or present < 1:
        return np.float32(np.nan)
    reference, number = score.reference, _number_of_row(score, present)
    row = ROWS + ROW * number
    if reference[row + FACTOR] == 0.0:
        return np.float32(0.5)
    z = _y(value) * reference[row + FACTOR] - reference[row + OFFSET]
    place = histogram.place_of(z)
    share = histogram.share_below(reference, place)
    if reference[ONLY] == MIXED:
        share = histogram.share_of_class(reference, _class_of(score, number), place, share)
    return np.float32(min(share, _MOST_BELOW if z < 0.0 else _BELOW_1))


@device
def _end_of_rows(score):
    return ROWS + ROW * min(score.columns, MOST_ROWS)


@device
def _class_of(score, number):
    """Start of the class of a row."""
    rows, classes = min(score.columns, MOST_ROWS), min(score.columns, MOST_CLASSES)
    return _end_of_rows(score) + histogram.CLASS * ((number * classes + classes - 1) // rows)


# -- observing -----------------------------------------------------------------------------------------------


@device
def observe(score, value, present):
    """Add a distance or error ``value`` over ``present`` values."""
    if not (value == value) or present < 1:
        return
    reference, waiting = score.reference, score.reference[WAITING]
    i = np.int64(waiting if 0.0 < waiting < BLOCK else 0.0)
    distance, number = np.int64(np.float32(abs(value)).view(np.int32)), _number_of_row(score, present)
    reference[KEPT + i] = np.int64(distance | number << 32).view(np.float64)
    reference[WAITING] = i + 1
    if i + 1 >= reference[LENGTH] or i + 1 == BLOCK:
        _end_block(reference, score.columns, score.decay, i + 1)


@called_kernel("void(f8[::1], i8, f8, i8)")
def _end_block(reference, columns, decay, samples):
    """Add the samples of a block to the statistics, and make the tables for the next block."""
    score, block = Score(reference, columns, decay), _take_block(reference, columns, samples)
    if reference[COUNT] == 0.0:
        _cut_first_block(block)
    _start_rows(score, block)
    begin, end = _rows_of_block(score)
    moving = abs(reference[TREND]) > _MOVING
    z, squares, relative, outside = 0.0, 0.0, 0.0, 0
    for row in range(begin, end, ROW):
        sums = _move_row(score, row, block, moving)
        z, squares, relative, outside = z + sums[0], squares + sums[1], relative + sums[2], outside + sums[3]
        _set_places(reference, row, block)
    _count(score, block, moving)
    if reference[COUNT] > 0.0:
        _be_patient(reference, outside, samples - outside)
    if reference[COUNT] >= _SETTLING:
        reference[TREND] += _gain(samples, _TREND_MEMORY) * (z / samples - reference[TREND])
        _move_level(reference, samples, squares, relative, moving)
    for row in range(begin, end, ROW):
        if reference[row + ROW_COUNT] > 0.0:
            _renew_transform(reference, row)
    reference[COUNT] += samples
    reference[WAITING] = 0.0
    reference[LENGTH] = min(max(reference[COUNT] // 8.0, 1.0), BLOCK)


@called_kernel("void(f8[::1], i8, f8, f4[::1], i4[::1], b1[::1], i8, i8)")
def rank_and_observe(reference, columns, decay, values, present, watched, first, end):
    """Replace distances or errors by their scores, in order, and add those that are not ``watched``.

    The arrays of samples have the shape (n,); the samples are ``first`` … ``end − 1``.
    """
    score = Score(reference, columns, decay)
    for n in range(first, end):
        value = values[n]
        values[n] = rank(score, value, present[n])
        if not watched[n]:
            observe(score, value, present[n])


@device
def _take_block(reference, columns, samples):
    """The samples that were kept."""
    y, z, deviation = floats_on_the_stack(BLOCK), floats_on_the_stack(BLOCK), floats_on_the_stack(BLOCK)
    number, place = integers_on_the_stack(BLOCK), integers_on_the_stack(BLOCK)
    for i in range(samples):
        bits = np.float64(reference[KEPT + i]).view(np.int64)
        y[i] = _y(np.int32(bits).view(np.float32))
        number[i] = min(max(bits >> 32, 0), min(columns, MOST_ROWS) - 1)  # also in a damaged state
    return Block(samples, y, number, place, z, deviation)


@device
def _cut_first_block(block):
    """Limit y to four times its median, unless the median is 0: no width is known yet."""
    middle, median = (block.size - 1) // 2, 0.0
    for i in range(block.size):
        below, not_above = 0, 0
        for j in range(block.size):
            below += block.y[j] < block.y[i]
            not_above += block.y[j] <= block.y[i]
        if below <= middle < not_above:
            median = block.y[i]
    for i in range(block.size):
        block.y[i] = min(block.y[i], _CUT * median if median > 0.0 else math.inf)


@device
def _gain(samples, memory):
    """Of a mean over ``memory`` samples, for a block of ``samples``."""
    return samples / (samples + memory)


@device
def _rows_of_block(score):
    """Start of the first row that may have samples in this block, and end of the last one."""
    only = score.reference[ONLY]
    if only == MIXED:
        return ROWS, _end_of_rows(score)
    row = ROWS + ROW * np.int64(only if 0.0 < only < min(score.columns, MOST_ROWS) else 0.0)
    return row, row + ROW


@device
def _start_rows(score, block):
    """Start each row that has its first sample in this block, except in the first block."""
    reference, others = score.reference, 0
    if reference[COUNT] == 0.0:
        reference[ONLY] = block.number[0]
    for i in range(block.size):
        others += block.number[i] != reference[ONLY]
    if others == 0:
        return
    reference[ONLY] = MIXED
    for i in range(block.size):
        row = ROWS + ROW * np.int64(block.number[i])
        if reference[row + ROW_COUNT] == 0.0 and reference[COUNT] > 0.0:
            _start_row(score, row)


@device
def _start_row(score, row):
    """Start from the nearest row with samples. The width of a mean of k values falls with the root of k."""
    reference, nearest = score.reference, row
    for other in range(ROWS, _end_of_rows(score), ROW):
        known = reference[other + ROW_COUNT] > 0.0
        if known and (nearest == row or abs(other - row) < abs(nearest - row)):
            nearest = other
    ratio = float((nearest - ROWS) // ROW + 1) / float((row - ROWS) // ROW + 1)
    reference[row + ROW_COUNT] = _BORROWED
    reference[row + LOCATION] = reference[nearest + LOCATION]
    reference[row + WIDTH] = reference[nearest + WIDTH] * math.sqrt(ratio)
    _renew_transform(reference, row)


@device
def _move_row(score, row, block, moving):
    """Move location and width, unless the level moves.

    Returns sums over the samples of the row: z, cut at ±4; squares of the deviations, relative to the width
    and cut at (4·s)²; deviations relative to the location, cut to −½ … 1; and the number of z outside of ±4.
    """
    reference, number = score.reference, (row - ROWS) // ROW
    before, location, width = reference[row + ROW_COUNT], reference[row + LOCATION], reference[row + WIDTH]
    limit = reference[LIMIT] if before > 0.0 else math.inf
    of_level, of_width = 1.0 / reference[LEVEL], 1.0 / max(width, _NARROWEST * location, _TINY)
    samples, outside = 0, 0
    for i in range(block.size):
        here = block.number[i] == number
        y = block.y[i] * of_level
        deviation = y - location if here else 0.0
        cut = min(max(deviation * of_width, -_CUT), _CUT)
        most = limit * max(width, _NARROWEST * y)
        block.deviation[i] = min(max(deviation, -most), most)
        block.z[i] = cut
        samples += here
        outside += abs(cut) == _CUT
    if samples == 0:
        return 0.0, 0.0, 0.0, 0.0
    trend, total, squares, spread = 0.0, 0.0, 0.0, 0.0
    relative, most_spread = 0.0, _CUT * _CUT * reference[SPREAD]
    of_location = 1.0 / location if location > 0.0 else 0.0
    for i in range(block.size):
        square = block.deviation[i] * block.deviation[i]
        trend += block.z[i]
        total += block.deviation[i]
        squares += square
        spread += min(square * of_width * of_width, most_spread)
        relative += min(max(block.deviation[i] * of_location, -0.5), 1.0)
    if not moving:
        gain = _gain(samples, min(1.0 / (1.0 - score.decay), 0.5 * before))
        step = gain * total / samples
        variance = (1.0 - gain) * width * width + gain * squares / samples - step * step
        reference[row + ROW_COUNT] = before + samples
        reference[row + LOCATION] = location + step
        reference[row + WIDTH] = math.sqrt(max(variance, 0.0))
    if before == 0.0:
        _renew_transform(reference, row)
    return trend, spread, relative, float(outside)


@device
def _be_patient(reference, outside, inside):
    """Update the patience L."""
    limit = max(reference[LIMIT] * (1.0 - inside * (1.0 - SLOW_SHRINKAGE)), _CUT)
    for _ in range(np.int64(outside)):
        limit *= GROWTH
    reference[LIMIT] = min(limit, _MOST_PATIENCE)


@device
def _move_level(reference, m, squares, relative, moving):
    """Move ℓ, and s unless the level moves."""
    gain = _gain(m, _MOVING_MEMORY if moving else _LEVEL_MEMORY)
    reference[LEVEL] *= 1.0 + gain * relative / m
    if not moving:
        spread = reference[SPREAD]
        reference[SPREAD] = max(spread + gain * (squares / m - spread), 1e-4)


@device
def _renew_transform(reference, row):
    """Use the current transform if the one in use differs in the place of the location, or in scale."""
    location = reference[row + LOCATION]
    width = max(reference[row + WIDTH] * math.sqrt(reference[SPREAD]), _NARROWEST * location, _TINY)
    factor, used = 1.0 / (reference[LEVEL] * width), reference[row + FACTOR]
    place = location * reference[LEVEL] * used - reference[row + OFFSET]
    tolerance = _MIXED_TOLERANCE if reference[ONLY] == MIXED else _TOLERANCE
    same_scale = used < factor * (1.0 + tolerance) and factor < used * (1.0 + tolerance)
    if abs(place) > tolerance or not same_scale:
        reference[row + FACTOR], reference[row + OFFSET] = factor, location / width


@device
def _set_places(reference, row, block):
    """Compute the places of the samples of a row."""
    number, factor, offset = (row - ROWS) // ROW, reference[row + FACTOR], reference[row + OFFSET]
    for i in range(block.size):
        place = histogram.place_of(block.y[i] * factor - offset)
        if block.number[i] == number:
            block.place[i] = place


@device
def _count(score, block, moving):
    """Count the block in the histogram and in the classes of k, unless the level moves."""
    reference, longest, at = score.reference, 1.0 / (1.0 - score.decay), _end_of_rows(score)
    histogram.count(reference, at, block.place, block.size, longest, moving)
    if reference[ONLY] != MIXED or moving:
        return
    rows, classes = min(score.columns, MOST_ROWS), min(score.columns, MOST_CLASSES)
    for c in range(classes):
        first, end = c * rows // classes, (c + 1) * rows // classes
        histogram.count_in_class(
            reference, at + histogram.CLASS * c, first, end, block.number, block.place, block.size, longest
        )
