"""Histogram of a standardised value z that forgets: the share of recent z below a given one.

Bins are linear in u = z + 1/50 within an octave of |u| + ⅛: two in an octave below u = 0; above it eight to
u = 16, then one in four octaves. A bin is 1/64 wide above 0, and 1/4 at 3. The 1/50 keeps the edges of bins
away from 0, ±½ and ±1. Two samples alone have z = ±1: at an edge, a rounding error would choose their bins.

Within a bin, values are taken as uniform with the mean and the mean deviation that they have; a side of the
mean that would leave the bin is compressed. A thousandth of their weight is spread over the whole bin, so the
share is strictly monotonic in z, for −7.8 < z < 10⁶. The share of a value that is repeated is the middle of
its ranks, wherever it lies in its bin.

Blocks. Values are counted in blocks of m. All earlier weight is multiplied by c/(c + m), where c is the
memory: a third of the values so far, at most the longest memory. The table of shares is ready after each
block.

Classes. Each class of values has shares of its own, in bins of twice the width. Within such a bin, values are
taken as uniform around their mean, as far as the nearer edge: each class may have an upper end of its own. As
long as the weight W of a class is small, its shares are mixed with those of the histogram, in the part
(20/(W + ¼))², at most 1. This part falls with W²: a larger one would lower all high shares of a class that
ends below the others.

Check. Ranks must be uniform. χ² of their octiles is computed for 256 values. Above 5 times its own running
mean (at least 7, the mean of χ² with 7 degrees of freedom), all counts are reduced to the weight of 100
values.

State: the first SIZE entries of a float64 array, and CLASS entries for each class. A share is relative to all
weight and ¼ more: n values of a young histogram weigh n/4, so the largest share of n values is 1 − 1/n.

    SAMPLES         number of values
    CHECKED, CHI    ranks since the last χ²; running mean of χ²
    OCTILES + e     number of these ranks in octile e
    BELOW + b       share below bin b, b = 0 … 72
    MEANS + b       mean position of the values in bin b, each in 0 … 1
    HALVES + b      twice their mean deviation: half the width of a uniform distribution
    at + b          share below bin b of the class that starts at ``at``, b = 0 … 40
    at + 41 + b     mean position of its values in bin b
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compiler import device
from ..simd.columns import four_columns, store_columns
from ..simd.lanes import COLUMNS, larger, select
from ..simd.views import floats_on_the_stack

EIGHT = 8
BINS = 72  # 12 below u = 0, to −7.9; 56 to 16; 3 to 65,536; one beyond
_CLASS_BINS = 40  # the last four are not used

SAMPLES, CHECKED, CHI = range(3)
OCTILES = 3
BELOW = OCTILES + EIGHT
MEANS = BELOW + BINS + 1
HALVES = MEANS + BINS
SIZE = HALVES + BINS
_CLASS_MEANS = _CLASS_BINS + 1
CLASS = _CLASS_MEANS + _CLASS_BINS

# Places, in units of 2⁻⁴⁹ bins. An octave is 2⁵²
_ZERO, _LAST = 12 << 49, (BINS << 49) - 1  # of u = 0, and of the largest u
_WIDE = 7 << 52  # from ⅛ to 16
_EIGHTH = 1020 << 52  # bits of ⅛
_SHIFT = 0.02
_GOLDEN = 2783377641436325  # 2⁵²·0.618…, the golden ratio. Its multiples modulo 2⁵² are evenly distributed

_MORE = 0.25  # the weight that joins the weight of all values: see the state
_BORROWED = 20.0  # the weight of a class below which it has the shares of the histogram
_SMOOTH = 0.001  # share of a bin's weight that is spread over the bin
_NARROWEST = 1e-6  # half of a width, in bins
_CHECKED_RANKS, _FEWEST_RANKED = 256.0, 1000.0
_CHI_MEAN, _CHI_LIMIT, _CHI_GAIN = 7.0, 5.0, 1 / 32
_REDUCED = 100.0


def restart(reference: Any) -> None:
    """Set the histogram and all classes to their state before the first value. All entries are 0 before."""
    reference[CHI] = _CHI_MEAN
    reference[MEANS:HALVES] = 0.5
    reference[HALVES:SIZE] = 0.5


@device
def _fraction(bits):
    """The lower 52 bits, divided by 2⁵²."""
    return np.int64((bits & ((1 << 52) - 1)) | (1023 << 52)).view(np.float64) - 1.0


@device
def place_of(z):
    """The place of ``z`` among the bins: (the number of its bin + its position in the bin)·2⁴⁹.

    The bits of a float64 are nearly a logarithm, and linear in each octave.
    """
    u = z + _SHIFT
    bits = np.float64(abs(u) + 0.125).view(np.int64) - _EIGHTH
    above, below = min(bits, _WIDE + ((bits - _WIDE) >> 5)), -(bits >> 2)
    negative = np.float64(u).view(np.int64) >> 63  # all bits of −1, or of 0: a branch would be mispredicted
    return min(max(_ZERO + (above ^ ((above ^ below) & negative)), 0), _LAST)


@device
def _bin_of(place):
    return (place >> 49) & 127


@device
def _part_below(position, mean, half):
    """The part of a bin's weight below ``position``, of a distribution ``mean`` ± ``half``."""
    part = min(max(0.5 + 0.5 * (position - mean) / half, 0.0), 1.0)
    return part + _SMOOTH * (position - part)


@device
def share_below(reference, place):
    """The share of all values below a place."""
    b, position = _bin_of(place), _fraction(place << 3)
    mean = reference[MEANS + b]
    part = _part_below(position, mean, min(reference[HALVES + b], mean if position < mean else 1.0 - mean))
    return reference[BELOW + b] + part * (reference[BELOW + b + 1] - reference[BELOW + b])


@device
def share_of_class(reference, at, place, share):
    """The share of the class at ``at`` below a place. ``share``: of the histogram."""
    b, position = at + (_bin_of(place) >> 1), _fraction(place << 2)
    mean = reference[b + _CLASS_MEANS]
    part = _part_below(position, mean, max(min(mean, 1.0 - mean), _NARROWEST))
    own = reference[b] + part * (reference[b + 1] - reference[b])
    borrowed = min(_BORROWED / _MORE * (1.0 - reference[at + _CLASS_BINS]), 1.0)
    return own + borrowed * borrowed * (share - own)


# -- counting ------------------------------------------------------------------------------------------------


@device
def count(reference, classes, places, size, longest, resting):
    """Check the ranks of a block of ``places`` ``(size,)``. Count them unless the histogram is ``resting``.

    ``classes``: start of the first class. ``longest``: the longest memory.
    """
    weights, shifts, deviations = (
        floats_on_the_stack(BINS),
        floats_on_the_stack(BINS),
        floats_on_the_stack(BINS),
    )
    for b in range(BINS):
        weights[b] = shifts[b] = deviations[b] = 0.0
    checked, scale = np.int64(reference[CHECKED]), EIGHT / reference[BELOW + BINS]
    for i in range(size):
        b, position = _bin_of(places[i]), _fraction(places[i] << 3)
        # For the check, a place is evenly distributed within its bin, so that equal values are spread
        part = _fraction((checked + i) * _GOLDEN)
        rank = reference[BELOW + b] + part * (reference[BELOW + b + 1] - reference[BELOW + b])
        octile = rank * scale
        reference[OCTILES + np.int64(octile if 0.0 < octile < EIGHT else 0.0)] += 1.0
        shift = position - reference[MEANS + b]
        weights[b] += 1.0
        shifts[b] += shift
        deviations[b] += abs(shift)
    reference[CHECKED] += size
    if _ranks_are_wrong(reference):
        _reduce(reference, classes)
    if resting:
        return
    total, memory = _weight(reference, BELOW, BINS, _MORE), min(longest, reference[SAMPLES] / 3.0)
    kept = memory / (memory + size)
    weight = (total + _MORE) * kept
    for b in range(0, BINS, COLUMNS):
        added, half = four_columns(weights, 0, b), four_columns(reference, 0, HALVES + b)
        share = four_columns(reference, 0, BELOW + b + 1) - four_columns(reference, 0, BELOW + b)
        all_weight = added + share * weight
        inverse = select(all_weight > 0.0, 1.0 / all_weight, 0.0)
        mean = four_columns(reference, 0, MEANS + b) + four_columns(shifts, 0, b) * inverse
        half = half + (2.0 * four_columns(deviations, 0, b) - added * half) * inverse
        store_columns(weights, 0, b, all_weight)
        store_columns(reference, 0, MEANS + b, mean)
        store_columns(reference, 0, HALVES + b, larger(half, _NARROWEST))
    _write_shares(reference, BELOW, BINS, weights, total * kept + size + _MORE)
    reference[SAMPLES] += size


@device
def count_in_class(reference, at, first, end, numbers, places, size, longest):
    """Count a block in the class at ``at``: those places whose number is in first … end − 1."""
    weights, shifts, samples = floats_on_the_stack(_CLASS_BINS), floats_on_the_stack(_CLASS_BINS), 0.0
    for b in range(_CLASS_BINS):
        weights[b] = shifts[b] = 0.0
    for i in range(size):
        if first <= numbers[i] < end:
            b = _bin_of(places[i]) >> 1
            weights[b] += 1.0
            shifts[b] += _fraction(places[i] << 2) - reference[at + _CLASS_MEANS + b]
            samples += 1.0
    if samples == 0.0:
        return
    total = _weight(reference, at, _CLASS_BINS, _MORE)
    memory = min(longest, 4.0 / 3.0 * total)  # of n values, about n/4 are the weight in a young class
    kept = memory / (memory + samples)
    for b in range(_CLASS_BINS):
        weights[b] += (reference[at + b + 1] - reference[at + b]) * ((total + _MORE) * kept)
        reference[at + _CLASS_MEANS + b] += shifts[b] / weights[b] if weights[b] > 0.0 else 0.0
    _write_shares(reference, at, _CLASS_BINS, weights, total * kept + samples + _MORE)


@device
def _weight(reference, at, bins, more):
    """The weight of all values, from the share of them. ``more``: the weight that joins it."""
    return more * reference[at + bins] / (1.0 - reference[at + bins])


@device
def _write_shares(reference, at, bins, weights, total):
    """Write the share below each bin, from the weights of the bins."""
    scale = 1.0 / total
    for first in range(0, bins, EIGHT):  # eights do not wait for each other
        below = 0.0
        for b in range(first, first + EIGHT):
            below += weights[b] * scale
            reference[at + 1 + b] = below
    for first in range(at + EIGHT, at + bins, EIGHT):
        below = reference[first]
        for b in range(first + 1, first + 1 + EIGHT):
            reference[b] += below


@device
def _ranks_are_wrong(reference):
    """Whether the octiles of 256 ranks are not uniform."""
    checked, usual = reference[CHECKED], reference[CHI]
    if checked < _CHECKED_RANKS:
        return False
    expected, squares = checked / EIGHT, 0.0
    for i in range(OCTILES, OCTILES + EIGHT):
        squares += (reference[i] - expected) * (reference[i] - expected)
        reference[i] = 0.0
    reference[CHECKED] = 0.0
    if reference[SAMPLES] <= _FEWEST_RANKED:
        return False
    chi = squares / expected
    reference[CHI] += _CHI_GAIN * (min(chi, 3.0 * usual) - usual)
    return chi > _CHI_LIMIT * max(usual, _CHI_MEAN)


@device
def _reduce(reference, classes):
    """Reduce all counts to the weight of 100 values."""
    reference[SAMPLES] = min(reference[SAMPLES], _REDUCED)
    _reduce_shares(reference, BELOW, BINS, _MORE)
    for at in range(classes, reference.size, CLASS):
        _reduce_shares(reference, at, _CLASS_BINS, _MORE)


@device
def _reduce_shares(reference, at, bins, more):
    share = reference[at + bins]
    most = _REDUCED / (_REDUCED + more)
    for b in range(at, at + bins + 1):
        reference[b] *= most / share if share > most else 1.0
