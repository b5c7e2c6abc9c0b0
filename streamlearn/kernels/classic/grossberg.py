"""Inhibitory clusters (Grossberg 1976; Rumelhart & Zipser 1985). Each unit distributes a fixed weight over
its lines.

    net     a_j = Σ_i w_ij x_i + bias_j, x_i 0 or 1
    winner  of each cluster: the unit with the largest a_j, the lowest index in a tie. Its output is 1, the
            others' 0. The outputs of a layer are the input of the next layer
    update  w_ij += ε(t)·(x_i/n − w_ij) for the winner, n: number of active lines of the layer; ε_l for losers

A missing line (NaN) does not contribute to a_j, and its weight does not change. W is the sum of unit j's
weights on the lines present; these weights change by w_ij += ε·(W·x_i/n − w_ij). If no line is active, no
unit wins and no unit learns, and the distance has its largest value, 1.

Sensitivity: bias_j = γ·(wins of j's cluster / its units − wins of j). A win of one of m units lowers its bias
by γ(1 − 1/m) and raises the others by γ/m. The bias is computed from exact counts, so it cannot drift.

The sum of a unit's weights. With u = 2⁻²⁴, rounding in one update changes Σ_i w_i by at most 7u: u for the
new weights (they sum to 1), 2εu for the differences, 4εu for W/n. Every 64 samples, the weights of each unit
are divided by their sum if it is off by more than 4u. At most 8u remain. Therefore
|Σ_i w_i − 1| ≤ (64·7 + 8)·u < 2.8e-5 after any number of samples, at any rate. The exact rule keeps the sum
at 1, so the division removes rounding errors only.

Units form the lanes, and every layer starts with a new block: unit g is lane g % 16 of block g // 16, where g
counts through all layers. ``weights`` float32 ``(rows, 16)`` has one row per line for each layer and block.
``layers`` int64 ``(layers, 6)`` and ``clusters`` int64 ``(clusters, 2)`` hold the positions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import allocating_device, device, kernel
from ..simd.lanes import WIDTH, absolute, anywhere, fma, iota, load, lowest, select, splat, store, zero
from ..simd.sums import add_up
from ..simd.views import row_of
from ..stream import gate as gates
from ..stream import score as scores
from ..stream.contribution import fill_unknown
from ..stream.interrupt import requested
from ..stream.score import Score
from .clusters import (
    BLOCKS,
    CLUSTERS,
    FIRST_BLOCK,
    FIRST_CLUSTER,
    FIRST_ROW,
    LINES,
    START,
    STOP,
    write_explanation,
)

# Live quality, float64 (2,): exponentially weighted count, Σ distance
COUNT, DISTANCE = 0, 1

RENORMALISE = 64  # samples between two divisions by the sum
_TOLERANCE = np.float32(2.0**-22)
_FEW = 8  # up to this many units, a scalar loop finds the largest faster than lanes do
_MIN_WEIGHT = np.float32(2.0**-100)  # smaller weights are set to 0: denormals are slow

_0, _HALF, _1, _INF, _NAN = (np.float32(v) for v in (0, 0.5, 1, np.inf, np.nan))


class Net(NamedTuple):
    """The net: its state, its memory layout and its parameters."""

    weights: Any  # (rows, 16)
    layers: Any  # (layers, 6)
    clusters: Any  # (clusters, 2)
    unit_mask: Any  # (blocks, 16)
    wins: Any  # (blocks, 16)
    threshold: Any
    sensitivity: Any


class Rates(NamedTuple):
    """The learning rates of one sample."""

    winners: Any  # ε
    losers: Any  # ε_l


class Buffers(NamedTuple):
    """The response of a layer. Arrays of one value per unit have all layers."""

    active: Any  # (max lines,): numbers of the active lines
    share: Any  # (max lines,): x_i/n, NaN at a missing line
    excitation: Any  # (blocks, 16): a_j
    weight_sum: Any  # (blocks, 16): W
    output: Any  # (blocks, 16)
    bias: Any  # (blocks, 16)


class Outputs(NamedTuple):
    """One row per sample."""

    winner: Any  # (n, clusters)
    distance: Any  # (n,)
    score: Any  # (n,)
    present: Any  # (n,)
    contribution: Any  # (2n, dim): contributions, then expected values; (0, dim) if nobody needs it


@allocating_device
def _allocate_buffers(net):
    """Allocate the buffers, and compute the biases from the wins so far."""
    lines = 0
    for k in range(net.layers.shape[0]):
        lines = max(lines, net.layers[k, LINES])
    shape = net.unit_mask.shape
    buffers = Buffers(
        np.empty(lines, np.uint64),
        np.empty(lines, np.float32),
        np.empty(shape, np.float32),
        np.empty(shape, np.float32),
        np.empty(shape, np.float32),
        np.zeros(shape, np.float32),
    )
    _equalise(net, 0, net.clusters.shape[0], buffers.bias)
    return buffers


@device
def _read_lines(x, n, threshold, active, share):
    """Write the numbers of the active lines of sample ``n`` to ``active``. Set ``share`` to NaN at missing
    lines and to 0 elsewhere. Returns the number of lines active and of lines present."""
    count, present = 0, 0
    for d in range(x.shape[1]):
        value = x[n, d]
        is_present = value == value
        active[count] = d
        count += np.float64(value) > threshold
        present += is_present
        share[d] = _0 if is_present else _NAN
    return count, present


@device
def _weight_sum(weights, row, lines, share):
    """Sum the weights of 16 units over the lines present, with compensation for rounding (TwoSum)."""
    total, error = zero(), zero()
    for d in range(lines):
        if share[d] == share[d]:
            w = load(weights, row + d)
            new = total + w
            added = new - total
            error = error + ((total - (new - added)) + (w - added))
            total = new
    return total + error


@device
def _excite(weights, lines, base, first, last, count, buffers):
    """Compute a_j, bias plus weights of the active lines, for the units of blocks ``first`` … ``last − 1``.

    Four blocks are computed at a time: their sums are independent, so they fill the pipeline.
    """
    active, bias, excitation = buffers.active, buffers.bias, buffers.excitation
    b = first
    while b + 4 <= last:
        t0, t1, t2, t3 = load(bias, b), load(bias, b + 1), load(bias, b + 2), load(bias, b + 3)
        r0 = base + b * lines
        r1, r2, r3 = r0 + lines, r0 + 2 * lines, r0 + 3 * lines
        for k in range(count):
            d = active[k]
            t0, t1 = t0 + load(weights, r0 + d), t1 + load(weights, r1 + d)
            t2, t3 = t2 + load(weights, r2 + d), t3 + load(weights, r3 + d)
        store(excitation, b, t0)
        store(excitation, b + 1, t1)
        store(excitation, b + 2, t2)
        store(excitation, b + 3, t3)
        b += 4
    while b < last:
        total = load(bias, b)
        for k in range(count):
            total = total + load(weights, base + b * lines + active[k])
        store(excitation, b, total)
        b += 1


@device
def _compete(excitation, start, stop):
    """Return the unit of ``start`` … ``stop − 1`` with the largest net input, the lowest index in a tie."""
    if stop - start <= _FEW:
        g = start
        for other in range(start + 1, stop):
            if excitation[other // WIDTH, other % WIDTH] > excitation[g // WIDTH, g % WIDTH]:
                g = other
        return g
    best, best_index = splat(_INF), zero()  # of −a, because ``lowest`` finds minima
    for b in range(start // WIDTH, (stop - 1) // WIDTH + 1):
        index = iota() + np.float32(b * WIDTH - start)
        inside = index < np.float32(stop - start)
        negative = select(index >= _0, select(inside, -load(excitation, b), _INF), _INF)
        better = negative < best
        best_index = select(better, index, best_index)
        best = select(better, negative, best)
    return start + np.int64(lowest(select(best == lowest(best), best_index, _INF)))


@device
def _misfit(weights, row, active, count, weight_sum):
    """½Σ_i |x_i/n − w_i| of 16 units: the share of its weight that each has on the wrong lines.

    Goal and weights both sum to ``weight_sum``, so the active lines are sufficient.
    """
    goal, deficit = weight_sum / np.float32(count), zero()
    for k in range(count):
        missing_weight = goal - load(weights, row + active[k])
        deficit = deficit + select(missing_weight > _0, missing_weight, zero())
    return select(weight_sum > _0, deficit / weight_sum, _1)


@device
def _adapt(weights, row, lines, share, weight_sum, step):
    """w += step·(share·weight_sum − w) for 16 units, on the lines present."""
    for d in range(lines):
        if share[d] == share[d]:
            w = load(weights, row + d)
            new = fma(step, share[d] * weight_sum - w, w)
            store(weights, row + d, select(new < _MIN_WEIGHT, zero(), new))


@device
def _clear(share, lines):
    for d in range(lines):
        share[d] = _0


@device
def _renormalise(net, share):
    """Divide the weights of each unit by their sum if the sum is off by more than the tolerance."""
    weights, layers = net.weights, net.layers
    for k in range(layers.shape[0]):
        lines = layers[k, LINES]
        _clear(share, lines)
        for b in range(layers[k, BLOCKS]):
            row = layers[k, FIRST_ROW] + b * lines
            weight_sum = _weight_sum(weights, row, lines, share)
            off = select(weight_sum > _HALF, absolute(weight_sum - _1), zero())  # 0 in lanes without a unit
            if anywhere(off > _TOLERANCE):
                factor = select(off > _TOLERANCE, _1 / weight_sum, _1)
                for d in range(lines):
                    store(weights, row + d, load(weights, row + d) * factor)


@device
def _equalise(net, first, last, bias):
    """Compute the biases of the units of clusters ``first`` … ``last − 1`` from their numbers of wins."""
    if net.sensitivity == 0.0:
        return
    wins = net.wins
    for c in range(first, last):
        start, stop = net.clusters[c, START], net.clusters[c, STOP]
        total = 0
        for g in range(start, stop):
            total += wins[g // WIDTH, g % WIDTH]
        fair = total / (stop - start)
        for g in range(start, stop):
            bias[g // WIDTH, g % WIDTH] = net.sensitivity * (fair - wins[g // WIDTH, g % WIDTH])


@device
def _respond(x, n, net, score, learning, rates, buffers, outputs):
    """Compute the response of all layers to sample ``n`` and write its outputs. Learn it if ``learning``.

    A layer learns before the next layer responds. This is correct: the next layer sees the winners only, not
    the weights.
    """
    weights, layers, clusters = net.weights, net.layers, net.clusters
    active, share, output = buffers.active, buffers.share, buffers.output
    winner, distance, present = outputs.winner, outputs.distance, outputs.present
    count, present[n] = _read_lines(x, n, net.threshold, active, share)
    missing = present[n] < x.shape[1]
    misfits = zero()
    rows = x.shape[0]  # of outputs.contribution, before the expected values
    if outputs.contribution.shape[0] > 0:
        fill_unknown(row_of(outputs.contribution, n))
        fill_unknown(row_of(outputs.contribution, rows + n))
    for k in range(layers.shape[0]):
        first_block, last_block = layers[k, FIRST_BLOCK], layers[k, FIRST_BLOCK] + layers[k, BLOCKS]
        first, last = layers[k, FIRST_CLUSTER], layers[k, FIRST_CLUSTER] + layers[k, CLUSTERS]
        lines = layers[k, LINES]
        base = layers[k, FIRST_ROW] - first_block * lines  # the first row of block b is base + b·lines
        if count == 0:
            for c in range(first, last):
                winner[n, c] = -1
            continue
        if k > 0:
            _clear(share, lines)
        _excite(weights, lines, base, first_block, last_block, count, buffers)
        for b in range(first_block, last_block):
            store(output, b, zero())
        for c in range(first, last):
            g = _compete(buffers.excitation, clusters[c, START], clusters[c, STOP])
            winner[n, c] = g - clusters[c, START]
            output[g // WIDTH, g % WIDTH] = _1
            if learning:
                net.wins[g // WIDTH, g % WIDTH] += 1
        if k == 0 and outputs.contribution.shape[0] > 0:
            shares, expected = row_of(outputs.contribution, n), row_of(outputs.contribution, rows + n)
            write_explanation(x, n, net.threshold, weights, layers, clusters, winner, expected, shares)
        some_missing = missing and k == 0
        for b in range(first_block, last_block):
            row = base + b * lines
            total = _weight_sum(weights, row, lines, share) if some_missing else load(net.unit_mask, b)
            store(buffers.weight_sum, b, total)
            won = load(output, b) > _0
            if anywhere(won):
                misfit = _misfit(weights, row, active, count, total)
                misfits = misfits + select(won, misfit, zero())
        if learning:
            for i in range(count):
                share[active[i]] = _1 / np.float32(count)
            for b in range(first_block, last_block):
                step = select(load(output, b) > _0, rates.winners, rates.losers)
                if anywhere(step > _0):
                    _adapt(weights, base + b * lines, lines, share, load(buffers.weight_sum, b), step)
            _equalise(net, first, last, buffers.bias)
        count = last - first
        for i in range(count):
            active[i] = clusters[first + i, START] + winner[n, first + i] - first_block * WIDTH
    distance[n] = _NAN
    if present[n] > 0:
        distance[n] = add_up(misfits) / np.float32(clusters.shape[0]) if winner[n, 0] >= 0 else _1
    outputs.score[n] = scores.rank(score, distance[n], present[n])


@kernel(
    "void(f4[:,::1], f4[:,::1], i8[:,::1], i8[:,::1], f4[:,::1], i8[:,::1], f8, f8, f8[::1], i8, f8,"
    " i4[:,::1], f4[::1], f4[::1], i4[::1])",
    allocates=True,
)
def predict(
    x,  # (n, dim)
    # the net
    weights,  # (rows, 16)
    layers,  # (layers, 6)
    clusters,  # (clusters, 2)
    unit_mask,  # (blocks, 16): 1 in the lane of a unit, 0 in lanes without one
    wins,  # (blocks, 16)
    threshold,  # a line is active if its value is above this
    sensitivity,  # γ
    # the score
    score_reference,  # see stream/score.py
    score_columns,
    score_decay,
    # the outputs
    winner,  # (n, clusters)
    distance,  # (n,)
    score,  # (n,)
    present,  # (n,): number of lines present
):
    """Write the outputs for each sample. Does not change the net."""
    net = Net(weights, layers, clusters, unit_mask, wins, threshold, sensitivity)
    histogram, outputs = (
        Score(score_reference, score_columns, score_decay),
        Outputs(winner, distance, score, present, np.empty((0, x.shape[1]), np.float32)),
    )
    buffers = _allocate_buffers(net)
    for n in range(x.shape[0]):
        _respond(x, n, net, histogram, False, Rates(_0, _0), buffers, outputs)


@kernel(
    "i8(f4[:,::1], f4[:,::1], i8[:,::1], i8[:,::1], f4[:,::1], i8[:,::1], f8, f8, f8[::1], i8, f8,"
    " i8[::1], i8[::1], f8[::1], f8, f4[::1], f4[::1], u1[::1], f8[::1], i4[:,::1], f4[::1], f4[::1],"
    " i4[::1], b1[::1], f4[:,::1])",
    allocates=True,
)
def learn(
    x,  # (n, dim)
    # the net
    weights,  # (rows, 16)
    layers,  # (layers, 6)
    clusters,  # (clusters, 2)
    unit_mask,  # (blocks, 16): 1 in the lane of a unit, 0 in lanes without one
    wins,  # (blocks, 16)
    threshold,  # a line is active if its value is above this
    sensitivity,  # γ
    # the score
    score_reference,  # see stream/score.py
    score_columns,
    score_decay,
    # counters and quality
    samples,  # (1,)
    since_renormalisation,  # (1,): samples
    quality,  # (2,)
    decay,  # of the quality and the score, per sample
    # schedules
    learning_rate,  # (n,): ε(t)
    leak,  # (n,): ε_l(t)
    interrupt,  # (1,): ends the call after the current sample
    gate,  # see stream/gate.py
    # the outputs
    winner,  # (n, clusters)
    distance,  # (n,)
    score,  # (n,)
    present,  # (n,): number of lines present
    watched,  # (n,)
    contribution,  # (2n, dim): contributions, then expected values; (0, dim) if nobody needs it
):
    """Learn ``x`` in order. Writes the outputs for each sample as they are before it is learned.

    Returns the number of samples that were learned.
    """
    net = Net(weights, layers, clusters, unit_mask, wins, threshold, sensitivity)
    histogram, outputs = (
        Score(score_reference, score_columns, score_decay),
        Outputs(winner, distance, score, present, contribution),
    )
    buffers = _allocate_buffers(net)
    for n in range(x.shape[0]):
        rates = Rates(learning_rate[n], leak[n])
        scored = gates.needs_score(gate)
        learned = not scored and gates.admits(gate, gates.UNKNOWN)
        # Respond; if the score admits the sample, again, and learn. A loop, so that it is compiled once
        for turn in range(2 if scored else 1):
            if turn == 0 or learned:
                _respond(x, n, net, histogram, learned, rates, buffers, outputs)
            if turn == 0 and scored:
                learned = gates.admits(gate, score[n])
        watched[n] = not learned
        if distance[n] == distance[n]:
            quality[COUNT] = quality[COUNT] * decay + 1.0
            quality[DISTANCE] = quality[DISTANCE] * decay + np.float64(distance[n])
            gates.observe(gate, histogram, distance[n], present[n], learned)
        samples[0] += 1
        since_renormalisation[0] += 1 if learned else 0
        if since_renormalisation[0] == RENORMALISE:
            _renormalise(net, buffers.share)
            since_renormalisation[0] = 0
        if requested(interrupt):
            return n + 1
    return x.shape[0]
