"""Competition: the search for the unit nearest to a sample, and for the second nearest."""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device
from ..simd.lanes import WIDTH, absolute, fma, iota, load, lowest, select, splat, sqrt, zero

EUCLIDEAN, MANHATTAN, CHEBYSHEV, COSINE = 0, 1, 2, 3
MEASURES = {"euclidean": EUCLIDEAN, "manhattan": MANHATTAN, "chebyshev": CHEBYSHEV, "cosine": COSINE}

_0, _1, _2, _INF = np.float32(0), np.float32(1), np.float32(2), np.float32(np.inf)
_LARGEST = np.float32(2.0**63)  # its square is finite as float32
_NO_UNIT = np.float32(-1)
_1_BLOCK, _2_BLOCKS, _3_BLOCKS, _4_BLOCKS = (np.float32(n * WIDTH) for n in (1, 2, 3, 4))


@device
def present_channels(x, channels):
    """Write the indices of the present channels of ``x`` ``(dim,)`` to ``channels`` ``(dim,)``; return their
    number."""
    count = 0
    for d in range(x.size):
        if x[d] == x[d]:
            channels[count] = d
            count += 1
    return count


@device
def squared_distance(x, channels, count, weights, b, start):
    """``start`` + Σ_d (x_d − w_d)² over the present channels, for the 16 units of block ``b``."""
    total = start
    for k in range(count):
        d = channels[k]
        difference = x[d] - load(weights, b, d)
        total = fma(difference, difference, total)
    return total


@device
def dissimilarity(x, channels, count, weights, b, start, measure):
    """``start`` + the dissimilarity of ``x`` and the 16 units of block ``b``, over the present channels.

    EUCLIDEAN: Σ(x_d − w_d)². MANHATTAN: Σ|x_d − w_d|. CHEBYSHEV: max|x_d − w_d|. COSINE: 1 − cos(x, w), and 1
    if a vector is 0. Infinite if the value or a length is so large that its square overflows; an infinitely
    distant unit cannot win.
    """
    if measure == EUCLIDEAN:
        return squared_distance(x, channels, count, weights, b, start)
    total = start
    if measure == COSINE:
        dot, squared_w, squared_x = zero(), zero(), zero()
        for k in range(count):
            d = channels[k]
            w = load(weights, b, d)
            dot = fma(w, x[d], dot)
            squared_w = fma(w, w, squared_w)
            squared_x = squared_x + x[d] * x[d]
        lengths = sqrt(squared_w) * sqrt(squared_x)
        angular = _1 - dot / lengths
        angular = select(angular > _0, select(angular < _2, angular, zero() + _2), zero())
        return total + select(lengths < _INF, select(lengths > _0, angular, zero() + _1), zero() + _INF)
    for k in range(count):
        d = channels[k]
        difference = absolute(x[d] - load(weights, b, d))
        if measure == MANHATTAN:
            total = total + difference
        else:
            total = select(difference > total, difference, total)
    return select(total < _LARGEST, total, zero() + _INF)


@device
def as_distance(value, measure, dim, present):
    """Convert a dissimilarity to a distance. A missing channel counts as the mean of the present channels."""
    if measure == EUCLIDEAN:
        return np.float32(math.sqrt(np.float64(value) * dim / present))
    if measure == MANHATTAN:
        return np.float32(np.float64(value) * dim / present)
    return value


@device
def _squared_distances(x, channels, count, weights, pad, b):
    """``squared_distance`` of four blocks: four independent sums hide the latency of fma, and share loads of
    x."""
    t0, t1, t2, t3 = load(pad, b), load(pad, b + 1), load(pad, b + 2), load(pad, b + 3)
    for k in range(count):
        d = channels[k]
        value = splat(x[d])
        e0, e1 = value - load(weights, b, d), value - load(weights, b + 1, d)
        e2, e3 = value - load(weights, b + 2, d), value - load(weights, b + 3, d)
        t0, t1, t2, t3 = fma(e0, e0, t0), fma(e1, e1, t1), fma(e2, e2, t2), fma(e3, e3, t3)
    return t0, t1, t2, t3


@device
def _update_two(total, index, first, first_index, second, second_index):
    """Update each lane's nearest two units by the dissimilarities ``total`` of the units ``index``."""
    best = total < first
    better = total < second
    return (
        select(best, total, first),
        select(best, index, first_index),
        select(best, first, select(better, total, second)),
        select(best, first_index, select(better, index, second_index)),
    )


@device
def nearest_two(x, channels, count, weights, pad, measure):
    """Return index and dissimilarity of the nearest unit, and the index of the second nearest.

    Among equal units the lowest index comes first. ``pad`` ``(blocks, 16)`` is added to each dissimilarity:
    0, or +inf to exclude the unit. An index is −1 if every other dissimilarity is infinite.
    """
    blocks = weights.shape[0]
    nearest = splat(_INF), splat(_NO_UNIT), splat(_INF), splat(_NO_UNIT)
    index = iota()
    b = 0
    while b + 4 <= blocks and measure == EUCLIDEAN:
        t0, t1, t2, t3 = _squared_distances(x, channels, count, weights, pad, b)
        nearest = _update_two(t0, index, *nearest)
        nearest = _update_two(t1, index + _1_BLOCK, *nearest)
        nearest = _update_two(t2, index + _2_BLOCKS, *nearest)
        nearest = _update_two(t3, index + _3_BLOCKS, *nearest)
        index = index + _4_BLOCKS
        b += 4
    while b < blocks:
        value = dissimilarity(x, channels, count, weights, b, load(pad, b), measure)
        nearest = _update_two(value, index, *nearest)
        index = index + _1_BLOCK
        b += 1
    # Reduce the nearest two units of each of the 16 lanes to the nearest two of all.
    first, first_index, second, second_index = nearest
    least = lowest(first)
    if not (least < _INF):
        return -1, _INF, -1
    winner = lowest(select(first == least, first_index, _INF))
    winning = first_index == winner
    rest, rest_index = select(winning, second, first), select(winning, second_index, first_index)
    next_index = lowest(select(rest == lowest(rest), rest_index, _INF))
    return np.int64(winner), least, np.int64(next_index)
