"""Hamming net and MaxNet (Lippmann 1987). The Hamming net computes how well each pattern matches; the MaxNet
finds the best by mutual inhibition.

    Hamming net  y_j = ½·Σ_i w_ij x_i + N/2, x_i = ±1: N minus the Hamming distance if w_j is a pattern of ±1
    MaxNet       y_j ← max(0, y_j − ε·Σ_{k≠j} y_k) for all j at once, until one y_j is positive
    update       w_i += ε(t)·(x − w_i) for the winner i of the MaxNet

The recurrence keeps the order of the y_j, because it is monotone in y_j and rounding is monotone too. Equal
values stay equal. Therefore it also stops if all positive values are equal (a tie), and after
``max_iterations``. The winner is then the largest, the lowest index in a tie.

Missing lines (NaN) are left out: N counts the lines present. The memory layout is that of
``maps/units.py``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import allocating_device, device, kernel
from ..simd.lanes import WIDTH, fma, iota, load, lowest, select, splat, store, zero
from ..simd.sums import add_up
from ..simd.views import row_of
from ..stream import gate as gates
from ..stream import score as scores
from ..stream.contribution import fill_unknown, size_of, to_shares
from ..stream.interrupt import requested
from ..stream.score import Score

# Live quality, float64 (5,): exponentially weighted count, Σ distance, Σ iterations, Σ [tie], Σ [capped]
COUNT, DISTANCE, ITERATIONS, TIES, CAPPED = range(5)

_0, _HALF, _1, _INF, _NAN = (np.float32(v) for v in (0, 0.5, 1, np.inf, np.nan))
_NEXT_BLOCK = np.float32(WIDTH)


class Net(NamedTuple):
    """The net: its patterns and its parameters."""

    weights: Any  # (blocks, dim, 16)
    pad: Any  # (blocks, 16): infinite in lanes without a unit
    threshold: Any
    inhibition: Any
    max_iterations: Any


class Buffers(NamedTuple):
    """The sample that is processed, and the values of the MaxNet."""

    signs: Any  # (dim,): ±1
    present_lines: Any  # (dim,): numbers of the lines present
    y: Any  # (blocks, 16)


class Outputs(NamedTuple):
    """One row per sample."""

    winner: Any  # (n,)
    distance: Any  # (n,)
    score: Any  # (n,)
    present: Any  # (n,)
    iterations: Any  # (n,)
    tie: Any  # (n,)
    capped: Any  # (n,)


@allocating_device
def _allocate_buffers(net):
    dim = net.weights.shape[1]
    return Buffers(np.empty(dim, np.float32), np.empty(dim, np.uint64), np.empty(net.pad.shape, np.float32))


@device
def _read_lines(x, n, threshold, signs, present_lines):
    """Write sample ``n`` as ±1 to ``signs`` ``(dim,)`` and the numbers of the lines present to
    ``present_lines``. Returns the number of lines present."""
    count = 0
    for d in range(signs.size):
        value = x[n, d]
        signs[d] = _1 if np.float64(value) > threshold else -_1
        present_lines[count] = d
        count += value == value
    return count


@device
def _match_value(total, count, pad, b):
    """½·total + N/2 for the units of block ``b``, at least 0: rounding can give a small negative value."""
    y = fma(total, _HALF, splat(_HALF * np.float32(count)))
    return select(load(pad, b) < _INF, select(y > _0, y, zero()), zero())


@device
def _match(signs, present_lines, count, weights, pad, y):
    """Hamming net: compute y ``(blocks, 16)``, 0 in lanes without a unit.

    Four blocks are computed at a time: their sums are independent, so they fill the pipeline.
    """
    blocks = weights.shape[0]
    b = 0
    while b + 4 <= blocks:
        t0, t1, t2, t3 = zero(), zero(), zero(), zero()
        for k in range(count):
            d = present_lines[k]
            sign = splat(signs[d])
            t0, t1 = fma(load(weights, b, d), sign, t0), fma(load(weights, b + 1, d), sign, t1)
            t2, t3 = fma(load(weights, b + 2, d), sign, t2), fma(load(weights, b + 3, d), sign, t3)
        store(y, b, _match_value(t0, count, pad, b))
        store(y, b + 1, _match_value(t1, count, pad, b + 1))
        store(y, b + 2, _match_value(t2, count, pad, b + 2))
        store(y, b + 3, _match_value(t3, count, pad, b + 3))
        b += 4
    while b < blocks:
        total = zero()
        for k in range(count):
            d = present_lines[k]
            total = fma(load(weights, b, d), signs[d], total)
        store(y, b, _match_value(total, count, pad, b))
        b += 1


@device
def _inhibit(y, total, inhibition):
    """Do one iteration in place. With ``inhibition`` 0, y does not change.

    Returns the new sum, the largest value and the smallest positive value (+inf if no value is positive).
    """
    totals, minus_largest, smallest = zero(), zero(), splat(_INF)
    for b in range(y.shape[0]):
        own = load(y, b)
        new = fma(total - own, -inhibition, own)
        new = select(new > _0, new, zero())
        store(y, b, new)
        totals = totals + new
        minus_largest = select(-new < minus_largest, -new, minus_largest)
        positive = select(new > _0, new, splat(_INF))
        smallest = select(positive < smallest, positive, smallest)
    return add_up(totals), -lowest(minus_largest), lowest(smallest)


@device
def _maxnet(y, inhibition, max_iterations):
    """Run the recurrence in place. Returns the number of iterations, whether ``max_iterations`` ended it, and
    the largest value."""
    total, largest, smallest = _inhibit(y, _0, _0)
    iterations = 0
    while smallest < largest and iterations < max_iterations:
        total, largest, smallest = _inhibit(y, total, inhibition)
        iterations += 1
    return iterations, smallest < largest, largest


@device
def _tied_units(y, pad, largest):
    """Return the lowest and the highest index of the units with y equal to ``largest``."""
    first, last = splat(_INF), splat(_INF)
    index = iota()
    for b in range(y.shape[0]):
        equal = select(load(pad, b) < _INF, select(load(y, b) == largest, index, _INF), _INF)
        first = select(equal < first, equal, first)
        last = select(equal < _INF, -index, last)
        index = index + _NEXT_BLOCK
    return np.int64(lowest(first)), np.int64(-lowest(last))


@device
def _hamming_distance(signs, present_lines, count, weights, b, l):
    """N − y of one unit over the lines present, scaled to all lines."""
    total = _0
    for k in range(count):
        d = present_lines[k]
        total = fma(weights[b, d, l], signs[d], total)
    distance = _HALF * (np.float32(count) - total)
    return max(distance, _0) * (np.float32(signs.size) / np.float32(count))


@device
def _respond(x, n, net, score, buffers, outputs):
    """Compute the response to sample ``n`` and write its outputs."""
    signs, present_lines, y = buffers
    winner, distance, ranks, present, iterations, tie, capped = outputs
    count = _read_lines(x, n, net.threshold, signs, present_lines)
    present[n] = count
    winner[n], distance[n], iterations[n], tie[n], capped[n] = -1, _NAN, 0, False, False
    if count > 0:
        _match(signs, present_lines, count, net.weights, net.pad, y)
        iterations[n], capped[n], largest = _maxnet(y, net.inhibition, net.max_iterations)
        i, last = _tied_units(y, net.pad, largest)
        winner[n], tie[n] = i, last > i
        distance[n] = _hamming_distance(signs, present_lines, count, net.weights, i // WIDTH, i % WIDTH)
    ranks[n] = scores.rank(score, distance[n], count)


@device
def _write_explanation(buffers, count, weights, unit, expected, contribution):
    """Write the winner's pattern, and the share of each line in the distance: ½(1 − w_i x_i) over the sum.

    NaN without a winner.
    """
    fill_unknown(expected)
    fill_unknown(contribution)
    if unit >= 0:
        for d in range(expected.size):
            expected[d] = weights[unit // WIDTH, d, unit % WIDTH]
        for k in range(count):
            d = buffers.present_lines[k]
            agreement = np.float64(weights[unit // WIDTH, d, unit % WIDTH]) * np.float64(buffers.signs[d])
            contribution[d] = size_of(max(0.5 - 0.5 * agreement, 0.0))
        to_shares(contribution, False)


@device
def _learn(net, unit, present, rate, buffers):
    """w += ε·(x − w) for one unit, on the lines present."""
    b, l = unit // WIDTH, unit % WIDTH
    for k in range(present):
        d = buffers.present_lines[k]
        w = net.weights[b, d, l]
        net.weights[b, d, l] = fma(rate, buffers.signs[d] - w, w)


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], f8, f4, i8, f8[::1], i8, f8, i4[::1], f4[::1], f4[::1],"
    " i4[::1], i4[::1], b1[::1], b1[::1])",
    allocates=True,
)
def predict(
    x,  # (n, dim)
    # the net
    weights,  # (blocks, dim, 16)
    pad,  # (blocks, 16)
    threshold,  # a line is +1 if its value is above this
    inhibition,  # ε of the MaxNet
    max_iterations,
    # the score
    score_reference,  # see stream/score.py
    score_columns,
    score_decay,
    # the outputs
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    present,  # (n,): number of lines present
    iterations,  # (n,)
    tie,  # (n,)
    capped,  # (n,)
):
    """Write the outputs for each sample. Does not change the net."""
    net, histogram = (
        Net(weights, pad, threshold, inhibition, max_iterations),
        Score(score_reference, score_columns, score_decay),
    )
    outputs = Outputs(winner, distance, score, present, iterations, tie, capped)
    buffers = _allocate_buffers(net)
    for n in range(x.shape[0]):
        _respond(x, n, net, histogram, buffers, outputs)


@kernel(
    "i8(f4[:,::1], f4[:,:,::1], f4[:,::1], f8, f4, i8, f8[::1], i8, f8, i8[::1], f8[::1], f8, f4[::1],"
    " u1[::1], f8[::1], i4[::1], f4[::1], f4[::1], i4[::1], i4[::1], b1[::1], b1[::1], b1[::1], f4[:,::1])",
    allocates=True,
)
def learn(
    x,  # (n, dim)
    # the net
    weights,  # (blocks, dim, 16)
    pad,  # (blocks, 16)
    threshold,  # a line is +1 if its value is above this
    inhibition,  # ε of the MaxNet
    max_iterations,
    # the score
    score_reference,  # see stream/score.py
    score_columns,
    score_decay,
    # counter and quality
    samples,  # (1,)
    quality,  # (5,)
    decay,  # of the quality and the score, per sample
    # schedule
    learning_rate,  # (n,): ε(t)
    interrupt,  # (1,): ends the call after the current sample
    gate,  # see stream/gate.py
    # the outputs
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    present,  # (n,): number of lines present
    iterations,  # (n,)
    tie,  # (n,)
    capped,  # (n,)
    watched,  # (n,)
    contribution,  # (2n, dim): contributions, then expected values; (0, dim) if nobody needs it
):
    """Learn ``x`` in order. Writes the outputs for each sample as they are before it is learned.

    Returns the number of samples that were learned.
    """
    net, histogram = (
        Net(weights, pad, threshold, inhibition, max_iterations),
        Score(score_reference, score_columns, score_decay),
    )
    outputs = Outputs(winner, distance, score, present, iterations, tie, capped)
    buffers = _allocate_buffers(net)
    for n in range(x.shape[0]):
        _respond(x, n, net, histogram, buffers, outputs)
        if contribution.shape[0] > 0:
            shares, expected = row_of(contribution, n), row_of(contribution, x.shape[0] + n)
            _write_explanation(buffers, present[n], weights, np.int64(winner[n]), expected, shares)
        learned = gates.admits(gate, score[n])
        watched[n] = not learned
        if winner[n] >= 0:
            if learned and learning_rate[n] > _0:
                _learn(net, winner[n], present[n], learning_rate[n], buffers)
            for i in range(quality.size):
                quality[i] *= decay
            quality[COUNT] += 1.0
            quality[DISTANCE] += np.float64(distance[n])
            quality[ITERATIONS] += iterations[n]
            quality[TIES] += tie[n]
            quality[CAPPED] += capped[n]
            gates.observe(gate, histogram, distance[n], present[n], learned)
        samples[0] += 1
        if requested(interrupt):
            return n + 1
    return x.shape[0]


@kernel("void(f4[:,::1], i4[::1], f4[:,:,::1], f4[:,::1], f8, f4[:,::1], f4[:,::1])", allocates=True)
def explain(
    x,  # (n, dim)
    winner,  # (n,)
    weights,  # (blocks, dim, 16)
    pad,  # (blocks, 16)
    threshold,  # a line is +1 if its value is above this
    # the outputs
    expected,  # (n, dim)
    contribution,  # (n, dim)
):
    """Write the winner's pattern and the share of each line in the distance. Does not change the net."""
    buffers = _allocate_buffers(Net(weights, pad, threshold, _0, 0))
    for n in range(x.shape[0]):
        count, unit = _read_lines(x, n, threshold, buffers.signs, buffers.present_lines), np.int64(winner[n])
        _write_explanation(buffers, count, weights, unit, row_of(expected, n), row_of(contribution, n))
