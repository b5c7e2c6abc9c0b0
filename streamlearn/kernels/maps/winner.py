"""Competition: who is nearest? Shared by every learner whose units have a position in the space of the
samples."""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device
from ..simd.lanes import WIDTH, absolute, fma, iota, load, lowest, select, splat, sqrt, zero

EUCLIDEAN, MANHATTAN, CHEBYSHEV, COSINE = 0, 1, 2, 3
MEASURES = {"euclidean": EUCLIDEAN, "manhattan": MANHATTAN, "chebyshev": CHEBYSHEV, "cosine": COSINE}

_0, _1, _2, _INF = np.float32(0), np.float32(1), np.float32(2), np.float32(np.inf)
_FAR = np.float32(2.0**63)
_NOBODY = np.float32(-1)
_1_BLOCK, _2_BLOCKS, _3_BLOCKS, _4_BLOCKS = (np.float32(n * WIDTH) for n in (1, 2, 3, 4))


@device
def present_channels(x, used):
    """List the channels of ``x`` ``(dim,)`` that are not missing in ``used`` ``(dim,)``; returns how many."""
    count = 0
    for d in range(x.size):
        if x[d] == x[d]:
            used[count] = d
            count += 1
    return count


@device
def squared_distance(x, used, count, weights, b, start):
    """Σ_d (x_d − w_d)² over the channels used, for the 16 units of block ``b``, added to ``start``."""
    total = start
    for k in range(count):
        d = used[k]
        difference = x[d] - load(weights, b, d)
        total = fma(difference, difference, total)
    return total


@device
def dissimilarity(x, used, count, weights, b, start, measure):
    """How far the 16 units of block ``b`` are from ``x``, over the channels used, added to ``start``.

    The squared distance for EUCLIDEAN, Σ|x_d − w_d|, max|x_d − w_d|, or 1 − cos(x, w) (1 where either is 0).
    Infinite where it, or a length, is too large to be squared: what nobody wins, nobody learns.
    """
    if measure == EUCLIDEAN:
        return squared_distance(x, used, count, weights, b, start)
    total = start
    if measure == COSINE:
        dot, own, whole = zero(), zero(), zero()
        for k in range(count):
            d = used[k]
            w = load(weights, b, d)
            dot = fma(w, x[d], dot)
            own = fma(w, w, own)
            whole = whole + x[d] * x[d]
        lengths = sqrt(own) * sqrt(whole)
        apart = _1 - dot / lengths
        apart = select(apart > _0, select(apart < _2, apart, zero() + _2), zero())
        return total + select(lengths < _INF, select(lengths > _0, apart, zero() + _1), zero() + _INF)
    for k in range(count):
        d = used[k]
        difference = absolute(x[d] - load(weights, b, d))
        if measure == MANHATTAN:
            total = total + difference
        else:
            total = select(difference > total, difference, total)
    return select(total < _FAR, total, zero() + _INF)


@device
def as_distance(value, measure, dim, present):
    """The distance that ``dissimilarity`` stands for, missing channels counted as the others are on
    average."""
    if measure == EUCLIDEAN:
        return np.float32(math.sqrt(np.float64(value) * dim / present))
    if measure == MANHATTAN:
        return np.float32(np.float64(value) * dim / present)
    return value


@device
def _squared_distances(x, used, count, weights, pad, b):
    """``squared_distance`` of four blocks in step: each waits for its own sums only, and shares the load of
    x."""
    t0, t1, t2, t3 = load(pad, b), load(pad, b + 1), load(pad, b + 2), load(pad, b + 3)
    for k in range(count):
        d = used[k]
        value = splat(x[d])
        e0, e1 = value - load(weights, b, d), value - load(weights, b + 1, d)
        e2, e3 = value - load(weights, b + 2, d), value - load(weights, b + 3, d)
        t0, t1, t2, t3 = fma(e0, e0, t0), fma(e1, e1, t1), fma(e2, e2, t2), fma(e3, e3, t3)
    return t0, t1, t2, t3


@device
def _keep_two(total, index, first, first_at, second, second_at):
    """Each lane's nearest two so far, now that ``total`` is known of the units ``index``."""
    best = total < first
    better = total < second
    return (
        select(best, total, first),
        select(best, index, first_at),
        select(best, first, select(better, total, second)),
        select(best, first_at, select(better, index, second_at)),
    )


@device
def nearest_two(x, used, count, weights, pad, measure):
    """(index, dissimilarity) of the nearest unit, and the index of the second nearest; the lowest among
    equals.

    ``pad`` ``(blocks, 16)`` is what each unit starts from: 0, or +inf to keep it out. Index −1 where there
    is none.
    """
    blocks = weights.shape[0]
    nearest = splat(_INF), splat(_NOBODY), splat(_INF), splat(_NOBODY)
    index = iota()
    b = 0
    while b + 4 <= blocks and measure == EUCLIDEAN:
        t0, t1, t2, t3 = _squared_distances(x, used, count, weights, pad, b)
        nearest = _keep_two(t0, index, *nearest)
        nearest = _keep_two(t1, index + _1_BLOCK, *nearest)
        nearest = _keep_two(t2, index + _2_BLOCKS, *nearest)
        nearest = _keep_two(t3, index + _3_BLOCKS, *nearest)
        index = index + _4_BLOCKS
        b += 4
    while b < blocks:
        apart = dissimilarity(x, used, count, weights, b, load(pad, b), measure)
        nearest = _keep_two(apart, index, *nearest)
        index = index + _1_BLOCK
        b += 1
    # Sixteen lanes have each found their two; now the best two of those.
    first, first_at, second, second_at = nearest
    d2 = lowest(first)
    if not (d2 < _INF):
        return -1, _INF, -1
    at = lowest(select(first == d2, first_at, _INF))
    winning = first_at == at
    rest, rest_at = select(winning, second, first), select(winning, second_at, first_at)
    next_at = lowest(select(rest == lowest(rest), rest_at, _INF))
    return np.int64(at), d2, np.int64(next_at)
