"""Competitive learning: the winner learns (hard), or everyone does by how near they are (soft).

    hard   w_i += ε(t)·(x − w_i) for the winner i = argmin_j ‖x − w_j‖, nobody else
    soft   y = softmax(−β‖x − w_j‖²),  w_j += ε(t)·y_j·(x − w_j)

Units are laid out as in ``units.py``.
"""

from __future__ import annotations

import numpy as np

from . import scale, schedule
from . import score as scores
from .compiler import device, kernel
from .lanes import WIDTH, fma, lane, load, select, store, zero
from .mathf import exp
from .units import count_win, locate
from .winner import dissimilarity

_INF = np.float32(np.inf)
HARD, SOFT = 0, 1
MODES = {"hard": HARD, "soft": SOFT}

# Live quality, float64 (2,): exponentially weighted count, Σ distance
COUNT, QUANTIZATION = 0, 1


@device
def _learn_hard(x, used, present, weights, i, rate):
    b, l = i // WIDTH, i % WIDTH
    for k in range(present):
        d = used[k]
        w = weights[b, d, l]
        weights[b, d, l] = fma(rate, x[d] - w, w)


@device
def _learn_soft(x, used, present, weights, pad, measure, rate, beta, nearest, share):
    """``nearest`` is the winner's dissimilarity, over the channels used; ``share`` ``(blocks, 16)`` is
    scratch."""
    blocks = weights.shape[0]
    total = zero()
    for b in range(blocks):
        farther = dissimilarity(x, used, present, weights, b, load(pad, b), measure) - nearest
        # Relative to the winner's, so that it cannot all underflow; 0 where there is no unit, also for β = 0.
        y = select(farther < _INF, exp(-beta * farther), zero())
        store(share, b, y)
        total = total + y
    whole = np.float32(0)
    for l in range(WIDTH):
        whole += lane(total, l)
    for b in range(blocks):
        step = load(share, b) * (rate / whole)
        for k in range(present):
            d = used[k]
            w = load(weights, b, d)
            store(weights, b, d, fma(step, x[d] - w, w))


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], i8, f8[:,::1], f8[::1], f8[::1], i8, f8,"
    " i8[::1], f8[::1], f8[::1], f8, f8[::1], f8[::1], i8, i4[::1], f4[::1], f4[::1], i4[::1])"
)
def learn(
    x,  # (n, dim)
    weights,  # (blocks, dim, 16)
    pad,  # (blocks, 16)
    measure,
    statistics,  # (3, dim)
    tree,  # (2048,)
    head,  # (2,)
    method,
    clip,
    samples,  # (1,)
    hits,  # (units + 1,)
    quality,  # (2,)
    decay,
    learning_rate,  # schedule (3,)
    beta,  # schedule (3,)
    mode,
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    channels,  # (n,)
):
    """Learn ``x`` in order; report of each sample what ``predict`` would have said just before."""
    scaled = np.empty(x.shape[1], np.float32)
    used = np.empty(x.shape[1], np.uint64)
    share = np.empty((weights.shape[0], WIDTH), np.float32)
    for n in range(x.shape[0]):
        apart, _ = locate(
            x, n, weights, pad, measure, statistics, tree, head, method, clip, scaled, used,
            winner, distance, score, channels,
        )  # fmt: skip
        i = np.int64(winner[n])
        if i >= 0:
            t = np.float64(samples[0])
            rate = schedule.at(learning_rate, t)
            if mode == HARD:
                _learn_hard(scaled, used, channels[n], weights, i, rate)
            else:
                _learn_soft(
                    scaled, used, channels[n], weights, pad, measure, rate, schedule.at(beta, t), apart, share
                )
            count_win(hits, i, decay)
            quality[COUNT] = quality[COUNT] * decay + 1.0
            quality[QUANTIZATION] = quality[QUANTIZATION] * decay + np.float64(distance[n])
        scores.observe(tree, head, distance[n], decay)
        scale.update(method, statistics, decay, x, n)
        samples[0] += 1
