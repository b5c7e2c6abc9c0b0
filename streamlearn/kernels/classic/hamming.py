"""Hamming net and MaxNet (Lippmann 1987): how well each pattern matches, then a contest that only the best
survives.

    Hamming net  y_j = ½·Σ_i w_ij x_i + N/2, x_i ±1: N less the Hamming distance where w_j is a pattern of ±1
    MaxNet       y_j ← max(0, y_j − ε·Σ_{k≠j} y_k), all at once, until one is positive
    learning     w_i += ε(t)·(x − w_i) for the MaxNet's winner i

The recurrence never changes who is ahead of whom: it is monotone in y_j, and so is its rounding. Exactly
equal ones stay equal, so it also stops once all that are positive are equal (a tie), and after ``most``
iterations. The winner is the largest then, the lowest index among equals.

A missing line (NaN) takes no part: N counts the lines present. Units are laid out as in ``units.py``.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.lanes import WIDTH, fma, iota, load, lowest, select, splat, store, zero
from ..simd.sums import add_up
from ..stream import score as scores

# Live quality, float64 (5,): exponentially weighted count, Σ distance, Σ iterations, Σ [tie], Σ [capped]
COUNT, DISTANCE, ITERATIONS, TIES, CAPPED = range(5)

_0, _HALF, _1, _INF, _NAN = (np.float32(v) for v in (0, 0.5, 1, np.inf, np.nan))
_NEXT_BLOCK = np.float32(WIDTH)


@device
def _sense(x, n, threshold, signs, used):
    """Sample ``n`` as ±1 in ``signs`` ``(dim,)``, the lines it has in ``used``; returns how many."""
    present = 0
    for d in range(signs.size):
        value = x[n, d]
        signs[d] = _1 if np.float64(value) > threshold else -_1
        used[present] = d
        present += value == value
    return present


@device
def _matching(total, present, pad, b):
    """½·total + N/2 for the units of block ``b``; rounding can leave a hair below 0, which is 0."""
    y = fma(total, _HALF, splat(_HALF * np.float32(present)))
    return select(load(pad, b) < _INF, select(y > _0, y, zero()), zero())


@device
def _match(signs, used, present, weights, pad, y):
    """The Hamming net: y ``(blocks, 16)``, 0 where there is no unit. Four blocks go in step: none waits for
    another's sums."""
    blocks = weights.shape[0]
    b = 0
    while b + 4 <= blocks:
        t0, t1, t2, t3 = zero(), zero(), zero(), zero()
        for k in range(present):
            d = used[k]
            sign = splat(signs[d])
            t0, t1 = fma(load(weights, b, d), sign, t0), fma(load(weights, b + 1, d), sign, t1)
            t2, t3 = fma(load(weights, b + 2, d), sign, t2), fma(load(weights, b + 3, d), sign, t3)
        store(y, b, _matching(t0, present, pad, b))
        store(y, b + 1, _matching(t1, present, pad, b + 1))
        store(y, b + 2, _matching(t2, present, pad, b + 2))
        store(y, b + 3, _matching(t3, present, pad, b + 3))
        b += 4
    while b < blocks:
        total = zero()
        for k in range(present):
            d = used[k]
            total = fma(load(weights, b, d), signs[d], total)
        store(y, b, _matching(total, present, pad, b))
        b += 1


@device
def _inhibit(y, total, epsilon):
    """One iteration, in place; returns the new sum, the largest and the least that is positive (+inf: none).

    With ``epsilon`` 0 it only looks.
    """
    totals, minus_largest, least = zero(), zero(), splat(_INF)
    for b in range(y.shape[0]):
        own = load(y, b)
        new = fma(total - own, -epsilon, own)
        new = select(new > _0, new, zero())
        store(y, b, new)
        totals = totals + new
        minus_largest = select(-new < minus_largest, -new, minus_largest)
        positive = select(new > _0, new, splat(_INF))
        least = select(positive < least, positive, least)
    return add_up(totals), -lowest(minus_largest), lowest(least)


@device
def _maxnet(y, epsilon, most):
    """Run the recurrence in place; returns how many iterations it took, and whether ``most`` cut it short."""
    total, largest, least = _inhibit(y, _0, _0)
    iterations = 0
    while least < largest and iterations < most:
        total, largest, least = _inhibit(y, total, epsilon)
        iterations += 1
    return iterations, least < largest, largest


@device
def _ahead(y, pad, largest):
    """The lowest and the highest index of the units that are ``largest``."""
    first, last = splat(_INF), splat(_INF)
    index = iota()
    for b in range(y.shape[0]):
        equal = select(load(pad, b) < _INF, select(load(y, b) == largest, index, _INF), _INF)
        first = select(equal < first, equal, first)
        last = select(equal < _INF, -index, last)
        index = index + _NEXT_BLOCK
    return np.int64(lowest(first)), np.int64(-lowest(last))


@device
def _respond(
    x, n, weights, pad, threshold, epsilon, most, tree, head, signs, used, y,
    winner, distance, score, channels, iterations, tie, capped,
):  # fmt: skip
    """Write what is said of sample ``n``."""
    present = _sense(x, n, threshold, signs, used)
    channels[n] = present
    winner[n], distance[n], iterations[n], tie[n], capped[n] = -1, _NAN, 0, False, False
    if present > 0:
        _match(signs, used, present, weights, pad, y)
        iterations[n], capped[n], largest = _maxnet(y, epsilon, most)
        i, last = _ahead(y, pad, largest)
        winner[n], tie[n] = i, last > i
        distance[n] = _hamming(signs, used, present, weights, i // WIDTH, i % WIDTH)
    score[n] = scores.rank(tree, head, distance[n])


@device
def _hamming(signs, used, present, weights, b, l):
    """N − y of one unit, as it would be were the missing lines like the others."""
    total = _0
    for k in range(present):
        d = used[k]
        total = fma(weights[b, d, l], signs[d], total)
    apart = _HALF * (np.float32(present) - total)
    return max(apart, _0) * (np.float32(signs.size) / np.float32(present))


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], f8, f4, i8, f8[::1], f8[::1],"
    " i4[::1], f4[::1], f4[::1], i4[::1], i4[::1], b1[::1], b1[::1])"
)
def predict(
    x,  # (n, dim)
    weights,  # (blocks, dim, 16)
    pad,  # (blocks, 16)
    threshold,  # a line above it is +1
    epsilon,  # MaxNet's
    most,  # iterations
    tree,  # (3072,)
    head,  # (2,)
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    channels,  # (n,)
    iterations,  # (n,)
    tie,  # (n,)
    capped,  # (n,)
):
    """What the net, as it stands, says of each sample."""
    signs, used = np.empty(x.shape[1], np.float32), np.empty(x.shape[1], np.uint64)
    y = np.empty_like(pad)
    for n in range(x.shape[0]):
        _respond(
            x, n, weights, pad, threshold, epsilon, most, tree, head, signs, used, y,
            winner, distance, score, channels, iterations, tie, capped,
        )  # fmt: skip


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], f8, f4, i8, f8[::1], f8[::1], i8[::1], f8[::1], f8, f4[::1],"
    " i4[::1], f4[::1], f4[::1], i4[::1], i4[::1], b1[::1], b1[::1])"
)
def learn(
    x,  # (n, dim)
    weights,  # (blocks, dim, 16)
    pad,  # (blocks, 16)
    threshold,  # a line above it is +1
    epsilon,  # MaxNet's
    most,  # iterations
    tree,  # (3072,)
    head,  # (2,)
    samples,  # (1,)
    quality,  # (5,)
    decay,
    rate,  # (n,): ε(t)
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    channels,  # (n,)
    iterations,  # (n,)
    tie,  # (n,)
    capped,  # (n,)
):
    """Learn ``x`` in order; report of each sample what ``predict`` would have said just before."""
    signs, used = np.empty(x.shape[1], np.float32), np.empty(x.shape[1], np.uint64)
    y = np.empty_like(pad)
    for n in range(x.shape[0]):
        _respond(
            x, n, weights, pad, threshold, epsilon, most, tree, head, signs, used, y,
            winner, distance, score, channels, iterations, tie, capped,
        )  # fmt: skip
        if winner[n] >= 0:
            b, l = winner[n] // WIDTH, winner[n] % WIDTH
            if rate[n] > _0:
                for k in range(channels[n]):
                    d = used[k]
                    w = weights[b, d, l]
                    weights[b, d, l] = fma(rate[n], signs[d] - w, w)
            for i in range(quality.size):
                quality[i] *= decay
            quality[COUNT] += 1.0
            quality[DISTANCE] += np.float64(distance[n])
            quality[ITERATIONS] += iterations[n]
            quality[TIES] += tie[n]
            quality[CAPPED] += capped[n]
            scores.observe(tree, head, distance[n], decay)
        samples[0] += 1
