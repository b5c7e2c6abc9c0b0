"""Self-organizing orientation columns (von der Malsburg 1973): a sheet of excitatory (E) and inhibitory (I)
cells on a hexagonal grid, one of each at every place, below a retina of ``dim`` lines.

    settling    H_k ← H_k + δ(−H_k + p Σ_E H*_l − q Σ_I H*_l + Σ_i s_ik A_i)    E cells, from H = 0
                H_k  =  r Σ_E H*_l                                            I cells
                H*   =  max(0, H − θ)                                         what a cell sends
    learning    s_ik ← s_ik + h A_i H*_k,  then all s of cell k × (its fixed sum / Σ_i s_ik)

In each settling step I cells go first, so that inhibition is of the excitation there is: with I a step
behind, the published strengths swing for ever instead of settling. The steady states are the same.

Cells lie on a plane (``plane.py``): ``blocks`` of 16 places, ``live`` ``(blocks, 16)`` 1 where there is a
cell and 0 where there is none. ``ee``, ``ei``, ``ie`` are the steps along the plane to the E cells that
excite an E cell, the E cells that excite an I cell, and the I cells that inhibit an E cell.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device, kernel
from ..simd.lanes import WIDTH, absolute, anywhere, fma, lane, load, select, store, zero
from ..stream import score as scores
from .plane import put, receive, strongest, sum_around, window

P, Q, R, THETA, DELTA, SUM = 0, 1, 2, 3, 4, 5  # of ``rule``, float32 (6,)
# Parts of the rule: H* goes no higher than LARGEST, so that no strength of connections can overflow, and an
# afferent under FAINTEST is none, for one left to fade for ever would be slow to compute with.
LARGEST, FAINTEST = np.float32(1e9), np.float32(1e-20)

# Live quality, float64 (3,): exponentially weighted count, Σ share of E cells that fire, Σ largest last step
COUNT, FIRING, UNSETTLED = 0, 1, 2

_0, _1 = np.float32(0), np.float32(1)


@device
def _sent(h, theta, live):
    """H* = max(0, H − θ), where there is a cell."""
    over = h - theta
    over = select(over < LARGEST, over, LARGEST)
    return select(over > _0, over * live, zero())


@device
def _largest(values):
    largest = _0
    for l in range(WIDTH):
        largest = max(largest, lane(values, l))
    return largest


EXCITED = 2  # of the scratch


@device
def _scratch(live, margin):
    """Room for settling: what the lines bring to the E cells and their H, and the planes of H* of E and I."""
    excited = np.zeros(2 * margin + live.size, np.float32)
    return np.empty_like(live), np.empty_like(live), excited, np.zeros_like(excited)


@device
def _settle(lines, afferents, wiring, scratch):
    """Settle the sheet under ``lines`` ``(dim,)``; returns the largest change of an H* in the last step."""
    live, margin, ee, ei, ie, rule, steps = wiring
    drive, h, excited, inhibiting = scratch
    blocks = h.shape[0]
    for b in range(blocks):
        total = zero()
        for i in range(lines.size):
            if lines[i] > _0:
                total = fma(load(afferents, b, i), lines[i], total)
        store(drive, b, total)
        store(h, b, zero())
        put(excited, margin + b * WIDTH, zero())
    change = zero()
    for _ in range(steps):
        change = zero()
        for b in range(blocks):
            start = margin + b * WIDTH
            cell = rule[R] * sum_around(excited, start, ei)
            put(inhibiting, start, _sent(cell, rule[THETA], load(live, b)))
        for b in range(blocks):
            start = margin + b * WIDTH
            cell = load(h, b)
            towards = fma(rule[P], sum_around(excited, start, ee), load(drive, b)) - cell
            towards = fma(-rule[Q], sum_around(inhibiting, start, ie), towards)
            store(h, b, fma(rule[DELTA], towards, cell))
        for b in range(blocks):
            start = margin + b * WIDTH
            before = window(excited, start)
            after = _sent(load(h, b), rule[THETA], load(live, b))
            put(excited, start, after)
            moved = absolute(after - before)
            change = select(moved > change, moved, change)
    return _largest(change)


@device
def _mismatch(x, n, afferents, place):
    """1 − cos of the angle between the sample and the afferents of the cell at ``place``, over the lines
    present."""
    both, ours, theirs = 0.0, 0.0, 0.0
    for i in range(x.shape[1]):
        if x[n, i] == x[n, i]:
            s, a = np.float64(afferents[place // WIDTH, i, place % WIDTH]), np.float64(x[n, i])
            both += s * a
            ours += s * s
            theirs += a * a
    return 1.0 - both / math.sqrt(ours * theirs) if ours * theirs > 0.0 else 1.0


@device
def _say(x, n, afferents, margin, places, excited, scored, said):
    """What is said of sample ``n`` once the sheet has settled."""
    winner, activity, distance, score, channels = said
    i, _ = strongest(excited, places, activity, n)
    winner[n] = i
    distance[n] = _1 if channels[n] > 0 else np.float32(np.nan)
    if i >= 0:
        distance[n] = np.float32(max(0.0, _mismatch(x, n, afferents, places[i] - margin)))
    score[n] = scores.rank(*scored, distance[n])


@device
def _learn(lines, afferents, margin, excited, rate, total):
    """Strengthen what was active together, and hold every cell's sum."""
    for b in range(afferents.shape[0]):
        sent = window(excited, margin + b * WIDTH)
        if anywhere(sent > _0):
            step = rate * sent
            whole = zero()
            for i in range(lines.size):
                s = fma(step, lines[i], load(afferents, b, i))
                store(afferents, b, i, s)
                whole = whole + s
            rescale = select(sent > _0, total / whole, zero() + _1)
            for i in range(lines.size):
                s = rescale * load(afferents, b, i)
                store(afferents, b, i, select(s > FAINTEST, s, zero()))


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], i8, i8[::1], i8[::1], i8[::1], i8[::1], f4[::1], i8,"
    " f8[::1], f8[::1], i4[::1], f4[:,::1], f4[::1], f4[::1], i4[::1])"
)
def predict(
    x,  # (n, dim)
    afferents,  # (blocks, dim, 16): s
    live,  # (blocks, 16)
    margin,
    places,  # (cells,): where on the planes
    ee,
    ei,
    ie,
    rule,  # (6,)
    steps,
    tree,  # (3072,)
    head,  # (2,)
    winner,  # (n,)
    activity,  # (n, cells)
    distance,  # (n,)
    score,  # (n,)
    channels,  # (n,)
):
    """What the model, as it stands, says of each sample."""
    lines = np.empty(x.shape[1], np.float32)
    wiring, scratch = (live, margin, ee, ei, ie, rule, steps), _scratch(live, margin)
    scored, said = (tree, head), (winner, activity, distance, score, channels)
    for n in range(x.shape[0]):
        channels[n] = receive(x, n, lines)
        _settle(lines, afferents, wiring, scratch)
        _say(x, n, afferents, margin, places, scratch[EXCITED], scored, said)


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], i8, i8[::1], i8[::1], i8[::1], i8[::1], f4[::1], i8,"
    " f8[::1], f8[::1], i8[::1], f8[::1], f8, f4[::1], i4[::1], f4[:,::1], f4[::1], f4[::1], i4[::1])"
)
def learn(
    x,  # (n, dim)
    afferents,  # (blocks, dim, 16): s
    live,  # (blocks, 16)
    margin,
    places,  # (cells,)
    ee,
    ei,
    ie,
    rule,  # (6,)
    steps,
    tree,  # (3072,)
    head,  # (2,)
    samples,  # (1,)
    quality,  # (3,)
    decay,
    rate,  # (n,): h(t)
    winner,  # (n,)
    activity,  # (n, cells)
    distance,  # (n,)
    score,  # (n,)
    channels,  # (n,)
):
    """Learn ``x`` in order; report of each sample what ``predict`` would have said just before."""
    lines = np.empty(x.shape[1], np.float32)
    wiring, scratch = (live, margin, ee, ei, ie, rule, steps), _scratch(live, margin)
    scored, said = (tree, head), (winner, activity, distance, score, channels)
    for n in range(x.shape[0]):
        channels[n] = receive(x, n, lines)
        change = _settle(lines, afferents, wiring, scratch)
        _say(x, n, afferents, margin, places, scratch[EXCITED], scored, said)
        if winner[n] >= 0:
            _learn(lines, afferents, margin, scratch[EXCITED], rate[n], rule[SUM])
        if channels[n] > 0:
            firing = 0
            for cell in range(places.size):
                firing += activity[n, cell] > _0
            quality[COUNT] = quality[COUNT] * decay + 1.0
            quality[FIRING] = quality[FIRING] * decay + firing / places.size
            quality[UNSETTLED] = quality[UNSETTLED] * decay + np.float64(change)
        scores.observe(tree, head, distance[n], decay)
        samples[0] += 1
