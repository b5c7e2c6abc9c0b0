"""The score: how unusual a distance or an error is among the recent ones, calibrated.

A share p of the stream's samples has a score above 1 − p, whatever the distribution of the distances, however
many values are missing, and again soon after the level or the noise of the stream has changed.

    y = d^(2/3)                 close to normal if d² is a sum of squares (Wilson & Hilferty 1931)
    z = (y/ℓ − a_k)/(w_k·s)     ℓ, s: level and spread of the last 256 samples, all numbers k together.
                                a_k, w_k: location and width of y/ℓ, for each number k of present values
    score                       share of recent z below this one, forgotten with ``decay``

Statistics and patience. ℓ, a, w and s move by winsorised steps: at most ±L widths, L = 4. Each sample farther
away multiplies L by 2^⅛, the others divide it by 2^(1/2048). So a spike moves nothing far, and a change that
stays is followed.

Level. While the mean of z over 64 samples is beyond ±¾, the level moves: ℓ follows at a rate of 1/32, and all
else rests, so the histograms do not count samples of a wrong level.

The transform z = A_k·y − B_k in use is replaced by the current one only if they differ by 0.15 widths or by
15 % in scale. So equal distances have equal z for a long time, and share the middle of their ranks. After a
long fall of distances, the histogram has z of other transforms. So the score of z < 0 is at most 0.98.

Histogram. It counts z of all samples. The share below z in it is the score if no value is missing. A young
histogram forgets faster: its memory is a third of its samples.

Numbers of present values. Once samples with different k have come, each of up to four classes of k counts its
own samples in 46 bins. The score is the share below z among them and a weight of 50 from the histogram.

Check. Ranks must be uniform. χ² of their octiles is computed in blocks of 256. Above 5 times its own running
mean (at least 7, the mean of χ² with 7 degrees of freedom), all counts are reduced to the weight of 100
samples.

``reference`` float64 ``(size(columns),)``: the head, then ROW entries for each number of present values (for
columns > 32, 32 classes of numbers), then the histogram, then CLASS weights for each class of k. The
histogram has 64 bins in eights. Each new value weighs more than the one before, so forgetting costs nothing
per bin; all weights are divided when they become large. From the start ``at`` of the histogram:

    at + SAMPLES, NEXT, TOTAL    number of samples; weight of the next value; total weight
    at + BELOW + e               weight of the bins below eight e
    at + BINS + b                weight of bin b
    at + POSITIONS + b           weighted sum of the positions in bin b, each in 0 … 1
    at + SQUARES + b             weighted sum of their squares

Bins are linear in z, four in each octave of |z| + ⅛ up to 16, then one: 1/32 wide at the middle, 1/2 at 3.
Within a bin, values are taken as uniform with the mean and the variance that they have. A thousandth of their
weight is spread over the whole bin, so the score is strictly monotonic in the distance, for −8 < z < 65,536.
The score of a value that is repeated is the middle of its share, wherever it lies in its bin.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..simd.doubles import EIGHT, add_above, sum_below
from ..simd.roots import cube_root
from .patience import GROWTH, SLOW_SHRINKAGE

# The head
COUNT = 0  # samples so far
LEVEL, SPREAD = 1, 2  # ℓ and s²
LIMIT = 3  # L
TREND = 4  # mean of z over 64 samples
ONLY = 5  # k of all samples so far; 0 before the first one, MIXED once k differs
CHECKED, CHI = 6, 7  # ranks in this block; running mean of χ²
OCTILES = 8  # … 15: number of ranks in each octile, in this block
HEAD = 16
MIXED = -1.0

# A row of one number of present values: samples, a, w², and A and B of the transform in use
ROW_COUNT, LOCATION, VARIANCE, FACTOR, OFFSET = range(5)
ROW = 5
MOST_ROWS, MOST_CLASSES = 32, 4
CLASS = 46  # weights of a class of k: 6 bins below z = 0, 40 above

# A histogram
SAMPLES, NEXT, TOTAL, BELOW = range(4)
_BINS = 64
_LOW_BINS = 24  # below z = 0: six octaves, to −7.9
BINS = BELOW + EIGHT
POSITIONS = BINS + _BINS
SQUARES = POSITIONS + _BINS
HISTOGRAM = SQUARES + _BINS
_POSITION_BITS = 21  # mantissa bits of the position; the two above them are the bin in its octave
_MIDDLE = (127 - 3) << 2  # place of 2⁻³ among the quarters of the octaves of float32
_WIDE = np.float32(16)  # from here on, a bin is an octave
_FIRST_WIDE = (127 + 4) - 28
_WHOLE = 2.0**-23
_BEYOND = 2.0**16
_LARGE = 2.0**64

_UNSCORED = 16  # first samples, whose score is ½
_SETTLING = 80  # first samples without a level of their own
_CUT = 4.0
_MOST_PATIENCE = 4.0 * 2.0**20
_TREND_GAIN, _LEVEL_GAIN, _MOVING_GAIN = 1 / 64, 1 / 256, 1 / 32
_MOVING = 0.75
_BLOCK, _FEWEST_RANKED = 256, 1000
_CHI_MEAN, _CHI_LIMIT, _CHI_GAIN = 7.0, 5.0, 1 / 32
_KEPT = 100.0
_GOLDEN = 0.6180339887498949  # its multiples modulo 1 are evenly distributed
_BORROWED_SHARE = 50.0
_SMOOTH = 0.001  # share of a bin's weight that is spread over the bin
_NARROWEST_PART = 1e-6  # of a bin
_BORROWED = 8.0  # samples that a start from another row counts as
_TOLERANCE = 0.15
_NARROWEST = 1e-6  # widths relative to their location
_TINY = 1e-30
_LARGEST = 3.4028234663852886e38
_SMALLEST = 1e-90  # joins every d², so that no width is 0
_MOST_BELOW = 0.98
_BELOW_1 = np.float32(1 - 2.0**-24)


class Score(NamedTuple):
    """The reference of the score."""

    reference: Any  # (size(columns),)
    columns: Any  # number of values that may be present
    decay: Any  # factor of the weight of older values per sample


def size(columns: int) -> int:
    """Return the size of ``reference`` if ``columns`` values may be present."""
    return HEAD + ROW * min(columns, MOST_ROWS) + HISTOGRAM + CLASS * min(columns, MOST_CLASSES)


def restart(reference: Any, columns: int) -> None:
    """Set ``reference`` to its state before the first sample."""
    reference[:] = 0.0
    reference[LEVEL] = reference[SPREAD] = 1.0
    reference[LIMIT], reference[CHI] = _CUT, _CHI_MEAN
    reference[HEAD + ROW * min(columns, MOST_ROWS) + NEXT] = 1.0


# -- ranking -------------------------------------------------------------------------------------------------


@device
def _power(value):
    """d^(2/3) for a float32 ≥ 0."""
    d = np.float64(min(value, _LARGEST))
    return cube_root(d * d + _SMALLEST)


@device
def _class_of(present, classes, columns):
    """The number of a class of equally many numbers of present values, from 0 on."""
    return present - 1 if classes == columns else (present * classes - 1) // columns


@device
def _row_of(score, present):
    """Start of the row of a number of present values."""
    return HEAD + ROW * _class_of(present, min(score.columns, MOST_ROWS), score.columns)


@device
def _histogram_of(score):
    """Start of the histogram."""
    return HEAD + ROW * min(score.columns, MOST_ROWS)


@device
def _weights_of(score, present):
    """Start of the weights of the class of a number of present values."""
    classes = min(score.columns, MOST_CLASSES)
    return _histogram_of(score) + HISTOGRAM + CLASS * _class_of(present, classes, score.columns)


@device
def _place(z):
    """The bin of ``z``, and the position of ``z`` in the bin (0 … 1)."""
    distance = abs(z)
    far = np.float32(distance if distance < _BEYOND else _BEYOND) + np.float32(0.125)
    bits = np.int64(np.float32(far).view(np.int32))
    wide = far >= _WIDE
    shift = _POSITION_BITS + (2 if wide else 0)
    step = (bits >> shift) - (_FIRST_WIDE if wide else _MIDDLE)
    position = (bits & ((1 << shift) - 1)) * (_WHOLE if wide else 4.0 * _WHOLE)
    # Selections, not branches, which would often be mispredicted. |z| below the resolution of ⅛ is 0
    low = z < 0.0 and far > np.float32(0.125)
    b = _LOW_BINS - 1 - step if low else _LOW_BINS + step
    position = 1.0 - position if low else position
    position = 0.0 if b < 0 else (1.0 if b >= _BINS else position)
    return min(max(b, 0), _BINS - 1), position


@device
def _weight_of_bins_below(reference, at, b):
    return reference[at + BELOW + (b >> 3)] + sum_below(reference, at + BINS + (b & ~7), b & 7)


@device
def _share_below(reference, at, z):
    """The bin of ``z``, the part of its weight below ``z``, and the share of all weight below ``z``."""
    b, position = _place(z)
    weight = reference[at + BINS + b]
    part = _part_below(position, weight, reference[at + POSITIONS + b], reference[at + SQUARES + b])
    below = _weight_of_bins_below(reference, at, b) + weight * part
    return b, part, below / (reference[at + TOTAL] + reference[at + NEXT])


@device
def _part_below(position, weight, positions, squares):
    """The part of a bin's weight below ``position``: uniform with the mean and the variance of the values."""
    share = 1.0 / weight if weight > 0.0 else 0.0
    mean = positions * share
    variance = squares * share - mean * mean
    half = max(math.sqrt(3.0 * variance if variance > 0.0 else 0.0), _NARROWEST_PART)
    part = min(max(0.5 + 0.5 * (position - mean) / half, 0.0), 1.0) if weight > 0.0 else position
    return part + _SMOOTH * (position - part)


@device
def _bin_of_class(b, part):
    """The bin of a class, and the part of its weight that is below: four bins below z = 0 are one."""
    if b < _LOW_BINS:
        return b >> 2, 0.25 * (float(b & 3) + part)
    return b - _LOW_BINS + (_LOW_BINS >> 2), part


@device
def _share_of_class(reference, at, b, part, share):
    """The share of a class that is below z in bin ``b``. ``part``, ``share``: see ``_share_below``."""
    own, part = _bin_of_class(b, part)
    below, total = part * reference[at + own], 0.0
    for i in range(CLASS):
        below += reference[at + i] if i < own else 0.0
        total += reference[at + i]
    return (below + _BORROWED_SHARE * share) / (total + _BORROWED_SHARE)


@device
def rank(score, value, present):
    """The score of a distance or error ``value`` over ``present`` values, in [0, 1); NaN if it is NaN.

    It is ½ for the first samples, and for the first sample with this number of present values.
    """
    if not (value == value) or present < 1:
        return np.float32(np.nan)
    reference, row = score.reference, _row_of(score, present)
    if reference[COUNT] < _UNSCORED or reference[row + ROW_COUNT] == 0.0:
        return np.float32(0.5)
    z = _power(value) * reference[row + FACTOR] - reference[row + OFFSET]
    b, part, share = _share_below(reference, _histogram_of(score), z)
    if reference[ONLY] == MIXED:
        share = _share_of_class(reference, _weights_of(score, present), b, part, share)
    return min(np.float32(min(share, _MOST_BELOW) if z < 0.0 else share), _BELOW_1)


# -- observing -----------------------------------------------------------------------------------------------


@device
def observe(score, value, present):
    """Add a distance or error ``value`` over ``present`` values."""
    if not (value == value) or present < 1:
        return
    reference, row, power = score.reference, _row_of(score, present), _power(value)
    _count(score, row, power, present)
    y = power / reference[LEVEL]
    location = reference[row + LOCATION]
    width = _width(reference, row, y)
    deviation, moving = y - location, False
    if reference[COUNT] > _UNSCORED:
        z = deviation / width
        used = power * reference[row + FACTOR] - reference[row + OFFSET]
        _check(score, used)
        moving = _is_moving(reference, z)
        if not moving:
            if reference[ONLY] == MIXED:
                _add_to_class(score, present, used)
            _add(reference, _histogram_of(score), used, score.decay)
        deviation = _winsorise(reference, z) * width
        if reference[COUNT] > _SETTLING:
            _move_level(reference, deviation, location, z, moving)
    if not moving:
        _move_row(reference, row, deviation, score.decay)
    samples = np.int64(reference[row + ROW_COUNT])
    if moving or samples < 16 or samples & 15 == 0:
        _renew_transform(reference, row)


@device
def _count(score, row, power, present):
    """Count a sample. A row without samples starts from the nearest row with some."""
    reference = score.reference
    reference[COUNT] += 1.0
    if reference[ONLY] != present:
        reference[ONLY] = present if reference[COUNT] == 1.0 else MIXED
    reference[row + ROW_COUNT] += 1.0
    if reference[row + ROW_COUNT] > 1.0:
        return
    nearest = -1
    for other in range(HEAD, _histogram_of(score), ROW):
        known = other != row and reference[other + ROW_COUNT] > 0.0
        if known and (nearest < 0 or abs(other - row) < abs(nearest - row)):
            nearest = other
    if nearest < 0:
        reference[row + LOCATION], reference[row + VARIANCE] = power / reference[LEVEL], 0.0
    else:  # the width of a mean of k values falls with the root of k
        reference[row + ROW_COUNT] = _BORROWED
        reference[row + LOCATION] = reference[nearest + LOCATION]
        ratio = float((nearest - HEAD) // ROW + 1) / float((row - HEAD) // ROW + 1)
        reference[row + VARIANCE] = reference[nearest + VARIANCE] * ratio
    _renew_transform(reference, row)


@device
def _width(reference, row, y):
    """The width of a row, not below the resolution of its location and of ``y``."""
    floor = max(_NARROWEST * max(reference[row + LOCATION], y), _TINY)
    return max(math.sqrt(reference[row + VARIANCE]), floor)


@device
def _check(score, z):
    """Count the octile of z. If a block of them is not uniform, reduce the weight of the histograms.

    z takes an evenly distributed place within the share of its bin. So equal values are spread as well.
    """
    reference, histogram = score.reference, _histogram_of(score)
    if reference[histogram + SAMPLES] <= _FEWEST_RANKED:
        return
    checked = reference[CHECKED] + 1.0
    reference[CHECKED] = checked
    b, _ = _place(z)
    part = checked * _GOLDEN - np.float64(np.int64(checked * _GOLDEN))
    share = _weight_of_bins_below(reference, histogram, b) + part * reference[histogram + BINS + b]
    share *= EIGHT / reference[histogram + TOTAL]
    reference[OCTILES + np.int64(share if 0.0 < share < EIGHT else 0.0)] += 1.0
    if checked < _BLOCK:
        return
    total, expected = 0.0, _BLOCK / EIGHT
    for i in range(OCTILES, OCTILES + EIGHT):
        total += (reference[i] - expected) * (reference[i] - expected)
        reference[i] = 0.0
    chi = total / expected
    reference[CHECKED] = 0.0
    if chi > _CHI_LIMIT * max(reference[CHI], _CHI_MEAN):
        reference[histogram + SAMPLES] = _KEPT
        reference[histogram + NEXT] = max(reference[histogram + NEXT], reference[histogram + TOTAL] / _KEPT)
        for at in range(histogram + HISTOGRAM, reference.size, CLASS):
            _reduce_class(reference, at)
    reference[CHI] += _CHI_GAIN * (min(chi, 3.0 * reference[CHI]) - reference[CHI])


@device
def _reduce_class(reference, at):
    """Reduce the weight of a class of k to that of 100 samples."""
    total = 0.0
    for i in range(at, at + CLASS):
        total += reference[i]
    for i in range(at, at + CLASS):
        reference[i] *= _KEPT / total if total > _KEPT else 1.0


@device
def _is_moving(reference, z):
    """Add z to the trend. Return whether the level moves."""
    if reference[COUNT] > _SETTLING:
        count = reference[COUNT] - _UNSCORED
        gain = _TREND_GAIN if count * _TREND_GAIN > 1.0 else 1.0 / count
        reference[TREND] += gain * (min(max(z, -_CUT), _CUT) - reference[TREND])
    return abs(reference[TREND]) > _MOVING


@device
def _winsorise(reference, z):
    """Cut z to ±L, and update the patience L."""
    limit = reference[LIMIT]
    if abs(z) > _CUT:
        reference[LIMIT] = min(limit * GROWTH, _MOST_PATIENCE)
    else:
        reference[LIMIT] = max(limit * SLOW_SHRINKAGE, _CUT)
    return min(max(z, -limit), limit)


@device
def _move_level(reference, deviation, location, z, moving):
    """Update ℓ, and s unless the level moves."""
    count = reference[COUNT]
    gain = _LEVEL_GAIN if count * _LEVEL_GAIN > 1.0 else 1.0 / count
    if moving:
        gain = _MOVING_GAIN
    if location > 0.0:
        reference[LEVEL] *= 1.0 + gain * max(-0.5, min(1.0, deviation / location))
    if not moving:
        square = min(z * z, _CUT * _CUT * reference[SPREAD])
        reference[SPREAD] = max(reference[SPREAD] + _LEVEL_GAIN * (square - reference[SPREAD]), 1e-4)


@device
def _move_row(reference, row, deviation, decay):
    """Update location and width by a winsorised step."""
    variance, samples = reference[row + VARIANCE], reference[row + ROW_COUNT] + 1.0
    gain = 1.0 - decay
    if gain * samples < 2.0:  # the memory is half of the samples so far
        gain = 2.0 / samples
    reference[row + LOCATION] += gain * deviation
    reference[row + VARIANCE] = (1.0 - gain) * (variance + gain * deviation * deviation)


@device
def _add_to_class(score, present, z):
    """Count z in the class of a number of present values."""
    reference, at = score.reference, _weights_of(score, present)
    b, _ = _place(z)
    own, _ = _bin_of_class(b, 0.0)
    total = 0.0
    for i in range(CLASS):
        total += reference[at + i]
    young = (4.0 * total + 1.0) / (4.0 * total + 4.0)  # as in the histogram: of n samples, n/4 are the weight
    for i in range(CLASS):
        reference[at + i] *= min(score.decay, young)
    reference[at + own] += 1.0


@device
def _add(reference, at, z, decay):
    """Count z in a histogram."""
    b, position = _place(z)
    weight, samples = reference[at + NEXT], reference[at + SAMPLES] + 1.0
    add_above(reference, at + BELOW, b >> 3, weight)
    reference[at + BINS + b] += weight
    reference[at + POSITIONS + b] += weight * position
    reference[at + SQUARES + b] += weight * position * position
    reference[at + TOTAL] += weight
    reference[at + SAMPLES] = samples
    young = decay * (samples + 4.0) > samples + 1.0
    reference[at + NEXT] = weight * (samples + 4.0) / (samples + 1.0) if young else weight / decay
    if reference[at + NEXT] > _LARGE:
        for i in range(at + TOTAL, at + HISTOGRAM):
            reference[i] /= reference[at + NEXT]
        reference[at + NEXT] = 1.0


@device
def _renew_transform(reference, row):
    """Use the current transform if the one in use differs in the place of the location, or in scale."""
    location = reference[row + LOCATION]
    width = max(math.sqrt(reference[row + VARIANCE] * reference[SPREAD]), _NARROWEST * location, _TINY)
    factor, used = 1.0 / (reference[LEVEL] * width), reference[row + FACTOR]
    place = location * reference[LEVEL] * used - reference[row + OFFSET]
    same_scale = used < factor * (1.0 + _TOLERANCE) and factor < used * (1.0 + _TOLERANCE)
    if abs(place) > _TOLERANCE or not same_scale:
        reference[row + FACTOR], reference[row + OFFSET] = factor, location / width
