"""The score: the quantile of a distance or an error among the recent ones, with exponential forgetting.

The histogram has logarithmic bins (8 per octave, 2⁻⁶⁴ … 2⁶⁴), which are read from the bits of a float32. It
is stored as a binary tree: ranking and counting take ten additions and no branch. Each new value weighs more
than the one before, so forgetting costs nothing per bin; all weights are divided when they become large.

Interpolation within a bin is piecewise linear through the mean position of the bin's values, which has half
of the bin's weight below it. The score is therefore strictly monotonic in the value. If one value is
repeated, its score is the middle of its share, wherever it lies in its bin.

State: ``tree`` float64 ``(3072,)``. Node 1 is the root; the children of node n are 2n and 2n + 1. A node
holds the weight of its left half. Leaf 1024 + b holds the weight of bin b. Entry 2048 + b holds the weighted
sum of the positions in bin b, each in 0 … 1. ``head`` float64 ``(2,)`` holds the weight of the next value and
the total weight.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device

BINS = 1024
_LOWEST_BIN = (127 - 64) << 3  # float32's bits are a logarithmic scale: exponent and 3 mantissa bits, at 2⁻⁶⁴
_POSITION_BITS = 20  # the mantissa bits of the position within a bin
_LARGE = 2.0**64

_LEVELS = 10
POSITIONS = 2 * BINS
SIZE = 3 * BINS
NEXT, TOTAL = 0, 1


class Score(NamedTuple):
    """The histogram of recent distances or errors."""

    tree: Any  # (3072,)
    head: Any  # (2,)


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
def rank(score, value):
    """The weighted share of recent values below ``value``, in [0, 1). 0 before the first value; NaN for
    NaN."""
    if not (value == value):
        return np.float32(np.nan)
    tree, head = score
    b, position = _bin(value)
    below = 0.0
    for level in range(_LEVELS):
        right = (b >> (_LEVELS - 1 - level)) & 1
        below += tree[(BINS | b) >> (_LEVELS - level)] * right
    below += _weight_below(position, tree[BINS | b], tree[POSITIONS + b])
    return np.float32(below / (head[TOTAL] + head[NEXT]))


@device
def _weight_below(position, count, positions):
    """The weight of a bin below ``position``. The mean position of the bin is positions/count."""
    if position * count < positions:
        return 0.5 * position * count * count / positions
    if positions < count:
        return 0.5 * count * (1.0 + (position * count - positions) / (count - positions))
    return 0.5 * count


@device
def observe(score, value, decay):
    """Add ``value``. ``decay``: factor of the weight of older values per sample."""
    if not (value == value):
        return
    tree, head = score
    b, position = _bin(value)
    tree[BINS | b] += head[NEXT]
    tree[POSITIONS + b] += head[NEXT] * position
    for level in range(_LEVELS):
        left = ((b >> (_LEVELS - 1 - level)) & 1) ^ 1
        tree[(BINS | b) >> (_LEVELS - level)] += head[NEXT] * left
    head[TOTAL] += head[NEXT]
    head[NEXT] /= decay
    if head[NEXT] > _LARGE:
        for i in range(tree.size):
            tree[i] /= head[NEXT]
        head[TOTAL] /= head[NEXT]
        head[NEXT] = 1.0
