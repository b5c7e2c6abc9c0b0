"""The score: where a distance or an error stands among the stream's own recent ones, exponentially forgotten.

A histogram over float32's own logarithmic scale (8 bins an octave, 2⁻⁶⁴ … 2⁶⁴), kept as a binary tree so that
ranking and counting both take ten additions and no branch. Forgetting costs nothing per bin: each new value
weighs more than the one before, and all is scaled down when the weights grow large.

Within its bin a value stands by the mean place of what is in it: half of the bin lies below that, and so much
less or more as the value lies below it or above. So the score rises strictly with the value, and where one
value comes again and again its score is the middle of its share, not wherever it happens to lie in its bin.

State: ``tree`` float64 ``(3072,)``: node 1 is the root, node n's halves are 2n and 2n + 1; a node holds what
its left half counts, leaf 1024 + b what bin b does, and 2048 + b the weighted sum of the places in bin b,
each 0 … 1. ``head`` float64 ``(2,)``: the next value's weight, and the total.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device

BINS = 1024
_LOWEST_BIN = (127 - 64) << 3  # float32's bits are a logarithmic scale: exponent and 3 mantissa bits, at 2⁻⁶⁴
_BELOW_BIN_BITS = 20  # the mantissa bits that tell how far into its bin a value lies
_LARGE = 2.0**64

_LEVELS = 10
PLACES = 2 * BINS
SIZE = 3 * BINS
NEXT, TOTAL = 0, 1


@device
def _place(value):
    """The bin of a float32 ≥ 0, and how far into it the value lies (0 … 1)."""
    bits = np.int64(np.float32(value).view(np.int32))
    place = (bits >> _BELOW_BIN_BITS) - _LOWEST_BIN
    if place < 0:
        return 0, 0.0
    if place >= BINS:
        return BINS - 1, 1.0
    return place, (bits & ((1 << _BELOW_BIN_BITS) - 1)) / float(1 << _BELOW_BIN_BITS)


@device
def rank(tree, head, value):
    """The weighted share of recent values below ``value``: in [0, 1), 0 before any was seen; NaN for NaN."""
    if not (value == value):
        return np.float32(np.nan)
    place, part = _place(value)
    below = 0.0
    for level in range(_LEVELS):
        right = (place >> (_LEVELS - 1 - level)) & 1
        below += tree[(BINS | place) >> (_LEVELS - level)] * right
    share = (below + _own(part, tree[BINS | place], tree[PLACES + place])) / (head[TOTAL] + head[NEXT])
    return np.float32(share)


@device
def _own(part, count, places):
    """What of a bin lies below a value at ``part``; their mean place is places/count."""
    if part * count < places:
        return 0.5 * part * count * count / places
    if places < count:
        return 0.5 * count * (1.0 + (part * count - places) / (count - places))
    return 0.5 * count


@device
def observe(tree, head, value, decay):
    """Count ``value``; ``decay`` is what an older value keeps of its weight per sample."""
    if not (value == value):
        return
    place, part = _place(value)
    tree[BINS | place] += head[NEXT]
    tree[PLACES + place] += head[NEXT] * part
    for level in range(_LEVELS):
        left = ((place >> (_LEVELS - 1 - level)) & 1) ^ 1
        tree[(BINS | place) >> (_LEVELS - level)] += head[NEXT] * left
    head[TOTAL] += head[NEXT]
    head[NEXT] /= decay
    if head[NEXT] > _LARGE:
        for i in range(tree.size):
            tree[i] /= head[NEXT]
        head[TOTAL] /= head[NEXT]
        head[NEXT] = 1.0
