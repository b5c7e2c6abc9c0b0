"""Competitive learning: the winner learns (hard), or all do by nearness (soft) or by rank (gas).

    hard   w_i += ε(t)·(x − w_i) for the learner i; leaky: w_j += ε_l(t)·(x − w_j) for the others
    soft   y = softmax(−β(t)·‖x − w_j‖²),  w_j += ε(t)·y_j·(x − w_j)
    gas    w_j += ε(t)·exp(−k_j/λ(t))·(x − w_j), k_j the number of units nearer than j (Martinetz & Schulten
           1991)

Units are laid out as in ``units.py``. In a hard net the learner is the winner i = argmin_j ‖x − w_j‖, unless
``fairness.py`` says otherwise.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.elementary import exp
from ..simd.lanes import WIDTH, fma, iota, lane, load, select, splat, store, zero
from ..stream import scaling
from ..stream import score as scores
from .fairness import NONE, learner, remember
from .units import count_win, locate
from .winner import dissimilarity

HARD, SOFT, GAS = 0, 1, 2
MODES = {"hard": HARD, "soft": SOFT, "gas": GAS}

# Live quality, float64 (2,): exponentially weighted count, Σ distance
COUNT, QUANTIZATION = 0, 1

_LEAST_SPREAD = np.float32(1e-3)  # the nearest alone: a λ that fades to 0 stays a number
_0, _1, _INF = np.float32(0), np.float32(1), np.float32(np.inf)


@device
def _move(x, used, present, weights, b, step):
    """w += step·(x − w) for block ``b``, in the channels used."""
    for k in range(present):
        d = used[k]
        w = load(weights, b, d)
        store(weights, b, d, fma(step, x[d] - w, w))


@device
def _learn_hard(x, used, present, weights, pad, i, rate, leak):
    b, l = i // WIDTH, i % WIDTH
    if leak > _0:
        index = iota()
        learner = np.float32(i)
        for c in range(weights.shape[0]):
            step = select(index == learner, zero() + rate, zero() + leak)
            _move(x, used, present, weights, c, select(load(pad, c) == _0, step, zero()))
            index = index + np.float32(WIDTH)
        return
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
        _move(x, used, present, weights, b, load(share, b) * (rate / whole))


@device
def _learn_by_rank(x, used, present, weights, pad, measure, rate, spread, units, apart):
    """``apart`` ``(blocks, 16)`` is scratch: how far each unit is. Of equals the lowest index is the
    nearer."""
    blocks = weights.shape[0]
    for b in range(blocks):
        store(apart, b, dissimilarity(x, used, present, weights, b, load(pad, b), measure))
    index = iota()
    for b in range(blocks):
        own = load(apart, b)
        rank = zero()
        for j in range(units):
            other = apart[j // WIDTH, j % WIDTH]
            level = select(
                splat(np.float32(j)) < index, own, splat(-_INF)
            )  # an equal one counts if it is lower
            rank = rank + select(splat(other) < own, zero() + _1, select(level == other, zero() + _1, zero()))
        step = select(load(pad, b) == _0, rate * exp(-rank / max(spread, _LEAST_SPREAD)), zero())
        _move(x, used, present, weights, b, step)
        index = index + np.float32(WIDTH)


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], i8, f8[:,::1], f8[::1], f8[::1], i8, f8,"
    " i8[::1], f8[::1], f8[::1], f8, f4[::1], f4[::1], f4[::1], i8, i8,"
    " f4[::1], f4[:,::1], i4[::1], f4[::1], f4[::1], i4[::1])"
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
    clip,
    samples,  # (1,)
    hits,  # (units + 1,)
    quality,  # (2,)
    decay,
    rate,  # (n,): ε(t)
    softness,  # (n,): β(t) of a soft net, λ(t) of a neural gas
    leak,  # (n,): ε_l(t)
    mode,
    fairness,
    conscience,  # (2,): C and B
    share,  # (blocks, 16)
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    channels,  # (n,)
):
    """Learn ``x`` in order; report of each sample what ``predict`` would have said just before."""
    scaled = np.empty(x.shape[1], np.float32)
    used = np.empty(x.shape[1], np.uint64)
    scratch = np.empty((weights.shape[0], WIDTH), np.float32)
    units = hits.size - 1
    for n in range(x.shape[0]):
        apart, _ = locate(
            x, n, weights, pad, measure, statistics, tree, head, method, clip, scaled, used,
            winner, distance, score, channels,
        )  # fmt: skip
        i = np.int64(winner[n])
        if i >= 0:
            if mode == SOFT:
                _learn_soft(
                    scaled, used, channels[n], weights, pad, measure, rate[n], softness[n], apart, scratch
                )
            elif mode == GAS:
                _learn_by_rank(
                    scaled, used, channels[n], weights, pad, measure, rate[n], softness[n], units, scratch
                )
            else:
                one = i
                if fairness != NONE:
                    one = learner(
                        scaled, used, channels[n], weights, pad, measure,
                        fairness, share, units, conscience[0], i,
                    )  # fmt: skip
                    remember(fairness, share, i, one, conscience[1])
                _learn_hard(scaled, used, channels[n], weights, pad, one, rate[n], leak[n])
            count_win(hits, i, decay)
            quality[COUNT] = quality[COUNT] * decay + 1.0
            quality[QUANTIZATION] = quality[QUANTIZATION] * decay + np.float64(distance[n])
        scores.observe(tree, head, distance[n], decay)
        scaling.update(method, statistics, decay, x, n)
        samples[0] += 1
