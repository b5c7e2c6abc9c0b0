"""Competitive learning: the winner learns (hard), or all units by distance (soft) or by rank (gas).

    hard   w_i += ε(t)·(x − w_i) for the learner i; leaky: w_j += ε_l(t)·(x − w_j) for the others
    soft   y = softmax(−β(t)·‖x − w_j‖²),  w_j += ε(t)·y_j·(x − w_j)
    gas    w_j += ε(t)·exp(−k_j/λ(t))·(x − w_j), k_j the number of units nearer than j (Martinetz & Schulten
           1991)

``units.py`` defines the layout of the units. In a hard net the learner is the winner i = argmin_j ‖x − w_j‖,
unless ``fairness.py`` selects another unit.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.elementary import exp
from ..simd.lanes import WIDTH, fma, iota, lane, load, select, store, zero
from ..stream.scaling import Scaling
from ..stream.score import Score
from .fairness import NONE, select_learner, update_share
from .ranking import dissimilarities, ranks
from .units import Outputs, Progress, Units, begin_sample, finish_sample
from .winner import dissimilarity

HARD, SOFT, GAS = 0, 1, 2
MODES = {"hard": HARD, "soft": SOFT, "gas": GAS}

_SMALLEST_SPREAD = np.float32(1e-3)  # only the nearest unit learns; avoids a division by 0 as λ decays to 0
_0, _INF = np.float32(0), np.float32(np.inf)


@device
def _move(x, channels, count, weights, b, step):
    """w += step·(x − w) for block ``b``, in the present channels."""
    for k in range(count):
        d = channels[k]
        w = load(weights, b, d)
        store(weights, b, d, fma(step, x[d] - w, w))


@device
def _learn_hard(x, channels, count, weights, pad, i, learning_rate, leak):
    b, l = i // WIDTH, i % WIDTH
    if leak > _0:
        index = iota()
        learner = np.float32(i)
        for c in range(weights.shape[0]):
            step = select(index == learner, zero() + learning_rate, zero() + leak)
            step = select(load(pad, c) == _0, step, zero())
            _move(x, channels, count, weights, c, step)
            index = index + np.float32(WIDTH)
        return
    for k in range(count):
        d = channels[k]
        w = weights[b, d, l]
        weights[b, d, l] = fma(learning_rate, x[d] - w, w)


@device
def _learn_soft(x, channels, count, units, learning_rate, beta, nearest, shares):
    """``nearest``: the winner's dissimilarity. ``shares`` ``(blocks, 16)`` is scratch: y before division."""
    weights, pad, measure = units
    blocks = weights.shape[0]
    total = zero()
    for b in range(blocks):
        # Relative to the winner: else all exponentials may underflow. An unused lane gives 0, even if β = 0.
        excess = dissimilarity(x, channels, count, weights, b, load(pad, b), measure) - nearest
        y = select(excess < _INF, exp(-beta * excess), zero())
        store(shares, b, y)
        total = total + y
    sum_y = np.float32(0)
    for l in range(WIDTH):
        sum_y += lane(total, l)
    for b in range(blocks):
        _move(x, channels, count, weights, b, load(shares, b) * (learning_rate / sum_y))


@device
def _learn_by_rank(x, channels, count, units, learning_rate, spread, number, distances):
    """``number``: the number of units. ``distances`` ``(blocks, 16)`` is scratch."""
    weights, pad, measure = units
    dissimilarities(x, channels, count, weights, pad, measure, distances)
    index = iota()
    for b in range(weights.shape[0]):
        k = ranks(distances, b, index, number)
        step = learning_rate * exp(-k / max(spread, _SMALLEST_SPREAD))
        _move(x, channels, count, weights, b, select(load(pad, b) == _0, step, zero()))
        index = index + np.float32(WIDTH)


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], i8, f8[:,::1], f8[::1], f8[::1], i8, f8,"
    " i8[::1], f8[::1], f8[::1], f8, f4[::1], f4[::1], f4[::1], f4[::1], i8, i8,"
    " f4, f4, f4[:,::1], i4[::1], f4[::1], f4[::1], i4[::1])"
)
def learn(
    x,  # (n, dim)
    weights,  # (blocks, dim, 16)
    pad,  # (blocks, 16)
    measure,
    statistics,  # (3, dim)
    tree,  # (3072,)
    head,  # (2,)
    method,
    scale_clip,
    samples,  # (1,)
    hits,  # (units + 1,)
    quality,  # (2,)
    decay,
    learning_rate,  # (n,): ε(t)
    beta,  # soft: (n,): β(t)
    spread,  # gas: (n,): λ(t)
    leak,  # (n,): ε_l(t)
    mode,
    fairness,
    conscience,  # C
    conscience_rate,  # B
    share,  # (blocks, 16)
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    present,  # (n,)
):
    """Learn the samples in order. Write the outputs of each sample before it is learned."""
    units, scale = Units(weights, pad, measure), Scaling(method, statistics, scale_clip)
    histogram = Score(tree, head)
    progress = Progress(samples, hits, quality, decay)
    outputs = Outputs(winner, distance, score, present)
    scaled = np.empty(x.shape[1], np.float32)
    channels = np.empty(x.shape[1], np.uint64)
    scratch = np.empty((weights.shape[0], WIDTH), np.float32)
    number = hits.size - 1
    for n in range(x.shape[0]):
        i, nearest, _ = begin_sample(x, n, units, scale, histogram, progress, outputs, scaled, channels)
        count = present[n]
        if i >= 0:
            if mode == SOFT:
                _learn_soft(scaled, channels, count, units, learning_rate[n], beta[n], nearest, scratch)
            elif mode == GAS:
                _learn_by_rank(scaled, channels, count, units, learning_rate[n], spread[n], number, scratch)
            else:
                learner = i
                if fairness != NONE:
                    learner = select_learner(
                        scaled, channels, count, units, fairness, share, number, conscience, i
                    )
                    update_share(fairness, share, i, learner, conscience_rate)
                _learn_hard(scaled, channels, count, weights, pad, learner, learning_rate[n], leak[n])
        finish_sample(x, n, scale, histogram, progress, outputs)
