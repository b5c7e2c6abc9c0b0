"""The score: the quantile of a distance or an error among the recent ones, with exponential forgetting.

The histogram has logarithmic bins (8 per octave, 2⁻⁶⁴ … 2⁶⁴), which are read from the bits of a float32. The
bins form a tree of radix 16 · 8 · 8: ranking adds two stored sums, one short sum and a part of one bin, and
counting changes few neighbouring values. Each new value weighs more than the one before, so forgetting costs
nothing per bin; all weights are divided when they become large.

Interpolation within a bin is piecewise linear through the mean position of the bin's values, which has half
of the bin's weight below it. The score is therefore strictly monotonic in the value. If one value is
repeated, its score is the middle of its share, wherever it lies in its bin.

State: ``reference`` float64 ``(2194,)``. Bin b is number b of 1,024,
in eight b // 8 and in sixty-four b // 64.

    reference[s]               weight of all bins below sixty-four s
    reference[16 + e]          weight of the bins of the same sixty-four below eight e
    reference[144 + b]         weight of bin b
    reference[1168 + b]        weighted sum of the positions in bin b, each in 0 … 1

The weight of the next value and the total weight come after them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..simd.doubles import EIGHT, add_above, sum_below

BINS = 1024
_LOWEST_BIN = (127 - 64) << 3  # float32's bits are a logarithmic scale: exponent and 3 mantissa bits, at 2⁻⁶⁴
_POSITION_BITS = 20  # the mantissa bits of the position within a bin
_LARGE = 2.0**64

_SIXTY_FOURS = BINS // 64
_EIGHTS_AT = _SIXTY_FOURS
_BINS_AT = _EIGHTS_AT + BINS // 8
_POSITIONS_AT = _BINS_AT + BINS
NEXT, TOTAL = _POSITIONS_AT + BINS, _POSITIONS_AT + BINS + 1
SIZE = TOTAL + 1


class Score(NamedTuple):
    """The histogram of recent distances or errors."""

    reference: Any  # (2194,)
    by_count: Any  # (classes, bins)
    columns: Any  # number of values that may be present
    decay: Any  # factor of the weight of older values per sample


@device
def _bin(value):
    """The bin of a float32 ≥ 0, and the position of the value in the bin (0 … 1)."""
    bits = np.int64(np.float32(value).view(np.int32))
    b = (bits >> _POSITION_BITS) - _LOWEST_BIN
    if b < 0:
        return 0, 0.0
    if b >= BINS:
        return BINS - 1, 1.0
    return b, (bits & ((1 << _POSITION_BITS) - 1)) / float(1 << _POSITION_BITS)


@device
def rank(score, value, present):
    """The weighted share of recent values below ``value``, in [0, 1). 0 before the first value; NaN for
    NaN."""
    if not (value == value):
        return np.float32(np.nan)
    tree = score.reference
    b, position = _bin(value)
    below = tree[b >> 6] + tree[_EIGHTS_AT + (b >> 3)] + sum_below(tree, _BINS_AT + (b & ~7), b & 7)
    below += _weight_below(position, tree[_BINS_AT + b], tree[_POSITIONS_AT + b])
    return np.float32(below / (tree[TOTAL] + tree[NEXT]))


@device
def _weight_below(position, count, positions):
    """The weight of a bin below ``position``. The mean position of the bin is positions/count."""
    # One formula for both sides of the mean: a branch would often be mispredicted
    beyond = position * count - positions
    above = beyond >= 0.0
    part = beyond if above else position * count
    whole = count - positions if above else positions
    return 0.5 * count * ((1.0 if above else 0.0) + part / (whole if whole > 0.0 else 1.0))


@device
def observe(score, value, present):
    """Add ``value``."""
    if not (value == value):
        return
    tree = score.reference
    b, position = _bin(value)
    weight = tree[NEXT]
    add_above(tree, 0, b >> 6, weight)
    add_above(tree, EIGHT, (b >> 6) - EIGHT, weight)
    add_above(tree, _EIGHTS_AT + EIGHT * (b >> 6), (b >> 3) & 7, weight)
    tree[_BINS_AT + b] += weight
    tree[_POSITIONS_AT + b] += weight * position
    tree[TOTAL] += weight
    tree[NEXT] /= score.decay
    if tree[NEXT] > _LARGE:
        for i in range(tree.size):
            if i != NEXT:
                tree[i] /= tree[NEXT]
        tree[NEXT] = 1.0
