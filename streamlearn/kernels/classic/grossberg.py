"""Inhibitory clusters (Grossberg 1976; Rumelhart & Zipser 1985): each unit shares out a fixed weight over its
lines.

    net     a_j = Σ_i w_ij x_i + bias_j, x_i 0 or 1
    winner  of each cluster the unit with the largest a_j, the lowest index among equals; it puts out 1, the
            others 0, and the layer above sees that pattern
    learn   w_ij += ε(t)·(x_i/n − w_ij) for the winner, n being the active lines of the layer; ε_l for losers

A line that is missing (NaN) excites nobody, and the weight on it stays: W being what unit j has on the lines
present, w_ij += ε·(W·x_i/n − w_ij) there. Where no line is active nothing wins and nothing learns; as far as
fits go, that is the worst.

Sensitivity: bias_j = γ·(wins of j's cluster / its units − wins of j), so that a win lowers a bias by
γ(1 − 1/m) and raises the others by γ/m. It is computed from exact counts, and cannot drift.

The sum of a unit's weights. With u = 2⁻²⁴, one step of the rule changes Σ_i w_i by at most 7u beyond what it
would exactly: u for rounding the new weights (they sum to 1), 2εu for the differences, 4εu for W/n. Every 64
samples the units whose sum is off by more than 4u are divided by it, which leaves at most 8u. So
|Σ_i w_i − 1| ≤ (64·7 + 8)·u < 2.8e-5 after any number of samples, at any rate. Exactly it would be 0, so this
only takes rounding away.

Units are lanes, and every layer starts on a block: unit g is lane g % 16 of block g // 16, counted through
all layers. ``weights`` float32 ``(rows, 16)`` has for each layer and block one row a line. ``layers`` int64
``(layers, 6)`` and ``clusters`` int64 ``(clusters, 2)`` say where everything is.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.lanes import WIDTH, absolute, anywhere, fma, iota, load, lowest, select, splat, store, zero
from ..simd.sums import add_up
from ..stream import score as scores

# layers[k]: how many lines it sees; its first block, row of weights and cluster, and how many of those
LINES, FIRST_BLOCK, BLOCKS, FIRST_ROW, FIRST_CLUSTER, CLUSTERS = range(6)
START, STOP = 0, 1  # clusters[c]: its units are START … STOP − 1

# Live quality, float64 (2,): exponentially weighted count, Σ distance
COUNT, DISTANCE = 0, 1

RENORMALISE = 64  # samples
_TOLERANCE = np.float32(2.0**-22)
_FEW = 8  # units that are sooner compared one after another
_NONE = np.float32(2.0**-100)  # a smaller weight becomes 0: else what decays ends as slow denormals

_0, _HALF, _1, _INF, _NAN = (np.float32(v) for v in (0, 0.5, 1, np.inf, np.nan))


@device
def _sense(x, n, threshold, active, share):
    """List the active lines of sample ``n`` in ``active``, mark the missing ones in ``share`` by NaN, the
    others by 0; returns how many are active and how many present."""
    count, present = 0, 0
    for d in range(x.shape[1]):
        value = x[n, d]
        here = value == value
        active[count] = d
        count += np.float64(value) > threshold
        present += here
        share[d] = _0 if here else _NAN
    return count, present


@device
def _whole(weights, row, lines, share):
    """What the 16 units from ``row`` on have on the lines that are not missing (TwoSum: to the last bit or
    so)."""
    total, lost = zero(), zero()
    for d in range(lines):
        if share[d] == share[d]:
            w = load(weights, row + d)
            new = total + w
            taken = new - total
            lost = lost + ((total - (new - taken)) + (w - taken))
            total = new
    return total + lost


@device
def _excite(weights, lines, base, first, last, active, count, bias, net):
    """a = Σ of the active lines' weights, for the units of blocks ``first`` … ``last − 1``; four blocks go in
    step: none waits for another's sums."""
    b = first
    while b + 4 <= last:
        t0, t1, t2, t3 = load(bias, b), load(bias, b + 1), load(bias, b + 2), load(bias, b + 3)
        r0 = base + b * lines
        r1, r2, r3 = r0 + lines, r0 + 2 * lines, r0 + 3 * lines
        for k in range(count):
            d = active[k]
            t0, t1 = t0 + load(weights, r0 + d), t1 + load(weights, r1 + d)
            t2, t3 = t2 + load(weights, r2 + d), t3 + load(weights, r3 + d)
        store(net, b, t0)
        store(net, b + 1, t1)
        store(net, b + 2, t2)
        store(net, b + 3, t3)
        b += 4
    while b < last:
        total = load(bias, b)
        for k in range(count):
            total = total + load(weights, base + b * lines + active[k])
        store(net, b, total)
        b += 1


@device
def _compete(net, start, stop):
    """The unit of ``start`` … ``stop − 1`` with the largest net input, the lowest index among equals."""
    if stop - start <= _FEW:
        g = start
        for other in range(start + 1, stop):
            if net[other // WIDTH, other % WIDTH] > net[g // WIDTH, g % WIDTH]:
                g = other
        return g
    best, at = splat(_INF), zero()  # of −a, for ``lowest``
    for b in range(start // WIDTH, (stop - 1) // WIDTH + 1):
        index = iota() + np.float32(b * WIDTH - start)
        inside = select(index >= _0, select(index < np.float32(stop - start), -load(net, b), _INF), _INF)
        better = inside < best
        at = select(better, index, at)
        best = select(better, inside, best)
    return start + np.int64(lowest(select(best == lowest(best), at, _INF)))


@device
def _misfit(weights, row, active, count, whole):
    """½Σ_i |x_i/n − w_i| of 16 units: the share of its weight that each has on the wrong lines.

    Both sum to ``whole``, so it is enough to look where x_i is 1.
    """
    due, wanting = whole / np.float32(count), zero()
    for k in range(count):
        lacking = due - load(weights, row + active[k])
        wanting = wanting + select(lacking > _0, lacking, zero())
    return select(whole > _0, wanting / whole, _1)


@device
def _adapt(weights, row, lines, share, whole, step):
    """w += step·(share·whole − w) for 16 units, on the lines that are not missing."""
    for d in range(lines):
        if share[d] == share[d]:
            w = load(weights, row + d)
            moved = fma(step, share[d] * whole - w, w)
            store(weights, row + d, select(moved < _NONE, zero(), moved))


@device
def _renormalise(weights, layers, share):
    """Divide every unit's weights by their sum, where it is off by more than rounding leaves."""
    for k in range(layers.shape[0]):
        lines = layers[k, LINES]
        share[:lines] = _0
        for b in range(layers[k, BLOCKS]):
            row = layers[k, FIRST_ROW] + b * lines
            whole = _whole(weights, row, lines, share)
            off = select(whole > _HALF, absolute(whole - _1), zero())  # lanes without a unit stay 0
            if anywhere(off > _TOLERANCE):
                factor = select(off > _TOLERANCE, _1 / whole, _1)
                for d in range(lines):
                    store(weights, row + d, load(weights, row + d) * factor)


@device
def _equalise(wins, clusters, sensitivity, bias):
    """The biases of these clusters' units, from how often each of them has won."""
    for c in range(clusters.shape[0]):
        start, stop = clusters[c, START], clusters[c, STOP]
        total = 0
        for g in range(start, stop):
            total += wins[g // WIDTH, g % WIDTH]
        fair = total / (stop - start)
        for g in range(start, stop):
            bias[g // WIDTH, g % WIDTH] = sensitivity * (fair - wins[g // WIDTH, g % WIDTH])


@device
def _respond(
    x, n, weights, layers, clusters, full, wins, threshold, sensitivity, learning, rate, leak,
    tree, head, bias, active, share, net, whole, output,
    winner, distance, score, channels,
):  # fmt: skip
    """Let sample ``n`` rise through the layers and write what is said of it; ``learning``, learn it.

    A layer may learn before the next one responds: that one sees who won, and no weights.
    """
    count, present = _sense(x, n, threshold, active, share)
    missing = present < x.shape[1]
    misfits = zero()
    for k in range(layers.shape[0]):
        first_block, last_block = layers[k, FIRST_BLOCK], layers[k, FIRST_BLOCK] + layers[k, BLOCKS]
        first, last = layers[k, FIRST_CLUSTER], layers[k, FIRST_CLUSTER] + layers[k, CLUSTERS]
        lines = layers[k, LINES]
        base = layers[k, FIRST_ROW] - first_block * lines  # block b has its rows from base + b·lines on
        if count == 0:
            winner[n, first:last] = -1
            continue
        if k > 0:
            share[:lines] = _0
        _excite(weights, lines, base, first_block, last_block, active, count, bias, net)
        for b in range(first_block, last_block):
            store(output, b, zero())
        for c in range(first, last):
            g = _compete(net, clusters[c, START], clusters[c, STOP])
            winner[n, c] = g - clusters[c, START]
            output[g // WIDTH, g % WIDTH] = _1
            if learning:
                wins[g // WIDTH, g % WIDTH] += 1
        some_missing = missing and k == 0
        for b in range(first_block, last_block):
            store(
                whole, b, _whole(weights, base + b * lines, lines, share) if some_missing else load(full, b)
            )
            won = load(output, b) > _0
            if anywhere(won):
                misfit = _misfit(weights, base + b * lines, active, count, load(whole, b))
                misfits = misfits + select(won, misfit, zero())
        if learning:
            for i in range(count):
                share[active[i]] = _1 / np.float32(count)
            for b in range(first_block, last_block):
                step = select(load(output, b) > _0, rate, leak)
                if anywhere(step > _0):
                    _adapt(weights, base + b * lines, lines, share, load(whole, b), step)
            if sensitivity > 0.0:
                _equalise(wins, clusters[first:last], sensitivity, bias)
        count = last - first
        for i in range(count):
            active[i] = clusters[first + i, START] + winner[n, first + i] - first_block * WIDTH
    channels[n] = present
    distance[n] = _NAN
    if present > 0:
        distance[n] = add_up(misfits) / np.float32(clusters.shape[0]) if winner[n, 0] >= 0 else _1
    score[n] = scores.rank(tree, head, distance[n])


@kernel(
    "void(f4[:,::1], f4[:,::1], i8[:,::1], i8[:,::1], f4[:,::1], i8[:,::1], f8, f8, f8[::1], f8[::1],"
    " i4[:,::1], f4[::1], f4[::1], i4[::1])"
)
def predict(
    x,  # (n, dim)
    weights,  # (rows, 16)
    layers,  # (layers, 6)
    clusters,  # (clusters, 2)
    full,  # (blocks, 16): 1 for a unit, 0 where there is none
    wins,  # (blocks, 16)
    threshold,  # a line above it is active
    sensitivity,  # γ
    tree,  # (3072,)
    head,  # (2,)
    winner,  # (n, clusters)
    distance,  # (n,)
    score,  # (n,)
    channels,  # (n,)
):
    """What the net, as it stands, says of each sample."""
    most = np.max(layers[:, LINES])
    active, share = np.empty(most, np.uint64), np.empty(most, np.float32)
    net, whole, output = np.empty_like(full), np.empty_like(full), np.empty_like(full)
    bias = np.zeros_like(full)
    if sensitivity > 0.0:
        _equalise(wins, clusters, sensitivity, bias)
    for n in range(x.shape[0]):
        _respond(
            x, n, weights, layers, clusters, full, wins, threshold, sensitivity, False, _0, _0,
            tree, head, bias, active, share, net, whole, output,
            winner, distance, score, channels,
        )  # fmt: skip


@kernel(
    "void(f4[:,::1], f4[:,::1], i8[:,::1], i8[:,::1], f4[:,::1], i8[:,::1], f8, f8, f8[::1], f8[::1],"
    " i8[::1], i8[::1], f8[::1], f8, f4[::1], f4[::1], i4[:,::1], f4[::1], f4[::1], i4[::1])"
)
def learn(
    x,  # (n, dim)
    weights,  # (rows, 16)
    layers,  # (layers, 6)
    clusters,  # (clusters, 2)
    full,  # (blocks, 16): 1 for a unit, 0 where there is none
    wins,  # (blocks, 16)
    threshold,  # a line above it is active
    sensitivity,  # γ
    tree,  # (3072,)
    head,  # (2,)
    samples,  # (1,)
    since,  # (1,): samples learned since rounding was last taken away
    quality,  # (2,)
    decay,
    rate,  # (n,): ε(t)
    leak,  # (n,): ε_l(t)
    winner,  # (n, clusters)
    distance,  # (n,)
    score,  # (n,)
    channels,  # (n,)
):
    """Learn ``x`` in order; report of each sample what ``predict`` would have said just before."""
    most = np.max(layers[:, LINES])
    active, share = np.empty(most, np.uint64), np.empty(most, np.float32)
    net, whole, output = np.empty_like(full), np.empty_like(full), np.empty_like(full)
    bias = np.zeros_like(full)
    if sensitivity > 0.0:
        _equalise(wins, clusters, sensitivity, bias)
    for n in range(x.shape[0]):
        _respond(
            x, n, weights, layers, clusters, full, wins, threshold, sensitivity, True, rate[n], leak[n],
            tree, head, bias, active, share, net, whole, output,
            winner, distance, score, channels,
        )  # fmt: skip
        if distance[n] == distance[n]:
            quality[COUNT] = quality[COUNT] * decay + 1.0
            quality[DISTANCE] = quality[DISTANCE] * decay + np.float64(distance[n])
            scores.observe(tree, head, distance[n], decay)
        samples[0] += 1
        since[0] += 1
        if since[0] == RENORMALISE:
            _renormalise(weights, layers, share)
            since[0] = 0
