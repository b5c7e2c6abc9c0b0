"""Competition: the search for the unit nearest to a sample, for the second nearest, and for the common units.

``weights`` is float32 ``(groups, dim, 64)``; see ``simd/groups.py``. ``pad`` ``(blocks, 16)`` is added to
each dissimilarity: 0, or +inf to exclude a unit.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..simd.groups import BLOCKS, load_block, load_group, prefetch_block
from ..simd.lanes import WIDTH, absolute, fma, iota, larger, load, lowest, select, smaller, splat, sqrt, zero

EUCLIDEAN, MANHATTAN, CHEBYSHEV, COSINE = 0, 1, 2, 3
MEASURES = {"euclidean": EUCLIDEAN, "manhattan": MANHATTAN, "chebyshev": CHEBYSHEV, "cosine": COSINE}

_0, _1, _2, _INF = np.float32(0), np.float32(1), np.float32(2), np.float32(np.inf)
_LARGEST = np.float32(2.0**63)  # its square is finite as float32
_NO_UNIT = np.float32(-1)
_AHEAD = 8  # channels
_1_BLOCK = np.float32(WIDTH)


class Units(NamedTuple):
    """The units and their distance measure."""

    weights: Any  # (groups, dim, 64)
    pad: Any  # (blocks, 16)
    measure: Any


@device
def present_channels(x, channels):
    """Write the indices of the present channels of ``x`` ``(dim,)`` to ``channels`` ``(dim,)``; return their
    number."""
    count = 0
    for d in range(x.size):
        channels[count] = d
        count += x[d] == x[d]
    return count


@device
def squared_distance(x, channels, count, weights, b, start):
    """``start`` + Σ_d (x_d − w_d)² over the present channels, for the 16 units of block ``b``."""
    total = start
    for k in range(count):
        d = channels[k]
        difference = x[d] - load_block(weights, b, d)
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
            w = load_block(weights, b, d)
            dot = fma(w, x[d], dot)
            squared_w = fma(w, w, squared_w)
            squared_x = squared_x + x[d] * x[d]
        lengths = sqrt(squared_w) * sqrt(squared_x)
        angular = _1 - dot / lengths
        angular = select(angular > _0, select(angular < _2, angular, zero() + _2), zero())
        return total + select(lengths < _INF, select(lengths > _0, angular, zero() + _1), zero() + _INF)
    for k in range(count):
        d = channels[k]
        difference = absolute(x[d] - load_block(weights, b, d))
        if measure == MANHATTAN:
            total = total + difference
        else:
            total = select(difference > total, difference, total)
    return select(total < _LARGEST, total, zero() + _INF)


@device
def as_distance(value, measure, dim, present):
    """Convert a dissimilarity to a distance. A missing channel counts as the mean of the present channels."""
    if measure == EUCLIDEAN:
        if present == dim:
            return sqrt(value)
        return np.float32(math.sqrt(np.float64(value) * dim / present))
    if measure == MANHATTAN:
        return np.float32(np.float64(value) * dim / present)
    return value


@device
def blocks_in_groups(pad, measure):
    """Number of blocks that are searched in groups of four. The other blocks are searched one by one."""
    return pad.shape[0] // BLOCKS * BLOCKS if measure == EUCLIDEAN else 0


@device
def load_rows(array, g):
    """``array`` ``(blocks, 16)`` at the four blocks of group ``g``."""
    b = BLOCKS * g
    return load(array, b), load(array, b + 1), load(array, b + 2), load(array, b + 3)


@device
def add_square(x, w, total):
    """``total`` + (x − w)²."""
    return fma(x - w, x - w, total)


@device
def squared_distances(x, channels, count, weights, g, start):
    """``squared_distance`` of the four blocks of group ``g``. Four sums hide the latency of ``fma``."""
    t0, t1, t2, t3 = start
    for k in range(count):
        d = channels[k]
        w0, w1, w2, w3 = load_group(weights, g, d)
        t0, t1 = add_square(x[d], w0, t0), add_square(x[d], w1, t1)
        t2, t3 = add_square(x[d], w2, t2), add_square(x[d], w3, t3)
    return t0, t1, t2, t3


@device
def squared_distances_of_blocks(x, weights, b, start):
    """``squared_distance`` of the blocks ``b``, a pair, to a sample without missing channels."""
    x0, x1 = start
    for d in range(x.size):
        w0, w1 = load_block(weights, b[0], d), load_block(weights, b[1], d)
        x0, x1 = add_square(x[d], w0, x0), add_square(x[d], w1, x1)
    return x0, x1


@device
def prefetch_two(weights, b, d):
    """Bring the blocks ``b`` some channels after ``d`` into the first cache.

    Processors do not by themselves, since the rows of a block are 256 bytes apart.
    """
    prefetch_block(weights, b[0], d + _AHEAD)
    prefetch_block(weights, b[1], d + _AHEAD)


@device
def squared_distances_of_two(x, y, weights, b, start):
    """`squared_distances_of_blocks` to two samples.

    Both share the loads of the weights, which take as long as the arithmetic.
    """
    x0, x1 = start
    y0, y1 = start
    for d in range(x.size):
        prefetch_two(weights, b, d)
        w0, w1 = load_block(weights, b[0], d), load_block(weights, b[1], d)
        x0, x1 = add_square(x[d], w0, x0), add_square(x[d], w1, x1)
        y0, y1 = add_square(y[d], w0, y0), add_square(y[d], w1, y1)
    return (x0, x1), (y0, y1)


@device
def no_units():
    """What `update_nearest` returns before the first block: no units."""
    return splat(_INF), zero(), splat(_INF), zero(), splat(_INF)


@device
def update_nearest(total, b, common, nearest):
    """Update each lane's nearest two units, and the least dissimilarity of a common unit, by those of block
    ``b``.

    A unit is its dissimilarity and the number of its block.
    """
    block = splat(np.float32(b))
    first, first_block, second, second_block, least_common = nearest
    best = total < first
    better = total < second
    return (
        smaller(first, total),
        select(best, block, first_block),
        larger(first, smaller(second, total)),
        select(best, first_block, select(better, block, second_block)),
        smaller(least_common, total + load(common, b)),
    )


@device
def _unit_in(value, block):
    """The number of each lane's unit; −1 if its dissimilarity ``value`` is infinite."""
    return select(value < _INF, iota() + block * _1_BLOCK, splat(_NO_UNIT))


@device
def _least_of(value, index):
    """The least of ``value`` and its entry of ``index``, as float32 and int64; of equals the lowest index.

    No value is NaN. The indices are whole numbers, −1 where the value is infinite.
    """
    least = lowest(value)
    return least, np.int64(lowest(select(value == least, index, splat(_INF))))


@device
def nearest_of_lanes(nearest):
    """Reduce what the 16 lanes found to what `search` returns."""
    first, first_block, second, second_block, least_common = nearest
    first_index = _unit_in(first, first_block)
    least, winner = _least_of(first, first_index)
    winning = first_index == np.float32(winner)
    rest = select(winning, second, first)
    rest_index = _unit_in(rest, select(winning, second_block, first_block))
    _, runner_up = _least_of(rest, rest_index)
    usual = lowest(least_common)
    return winner, least, runner_up, usual if usual < _INF else least


@device
def nearest_of_distances(distances, common):
    """`search`, by the ``distances`` ``(blocks, 16)`` of the units."""
    nearest = no_units()
    for b in range(distances.shape[0]):
        nearest = update_nearest(load(distances, b), b, common, nearest)
    return nearest_of_lanes(nearest)


@device
def search(x, channels, count, units, common):
    """Return index and dissimilarity of the nearest unit, the index of the second nearest, and the
    dissimilarity of the nearest common unit.

    ``common`` ``(blocks, 16)`` is 0 for a common unit, else +inf. Without a common unit, all are common.
    Among equal units the lowest index comes first. An index is −1 if every other dissimilarity is infinite.
    """
    weights, pad, measure = units
    nearest = no_units()
    whole = blocks_in_groups(pad, measure)
    for g in range(whole // BLOCKS):
        totals, b = squared_distances(x, channels, count, weights, g, load_rows(pad, g)), BLOCKS * g
        nearest = update_nearest(totals[0], b, common, nearest)
        nearest = update_nearest(totals[1], b + 1, common, nearest)
        nearest = update_nearest(totals[2], b + 2, common, nearest)
        nearest = update_nearest(totals[3], b + 3, common, nearest)
    for b in range(whole, pad.shape[0]):
        total = dissimilarity(x, channels, count, weights, b, load(pad, b), measure)
        nearest = update_nearest(total, b, common, nearest)
    return nearest_of_lanes(nearest)


@device
def nearest_two(x, channels, count, units):
    """What `search` returns, without the common units."""
    winner, nearest, second, _ = search(x, channels, count, units, units.pad)
    return winner, nearest, second


@device
def search_both(x, y, channels, units, common):
    """`search` of two samples without missing channels, by EUCLIDEAN."""
    weights, pad, _ = units
    to_x, to_y = no_units(), no_units()
    whole = blocks_in_groups(pad, EUCLIDEAN)
    for b in range(0, whole, 2):
        distances, others = squared_distances_of_two(
            x, y, weights, (b, b + 1), (load(pad, b), load(pad, b + 1))
        )
        to_x = update_nearest(distances[1], b + 1, common, update_nearest(distances[0], b, common, to_x))
        to_y = update_nearest(others[1], b + 1, common, update_nearest(others[0], b, common, to_y))
    for b in range(whole, pad.shape[0]):
        start = load(pad, b)
        to_x = update_nearest(squared_distance(x, channels, x.size, weights, b, start), b, common, to_x)
        to_y = update_nearest(squared_distance(y, channels, x.size, weights, b, start), b, common, to_y)
    return nearest_of_lanes(to_x), nearest_of_lanes(to_y)
