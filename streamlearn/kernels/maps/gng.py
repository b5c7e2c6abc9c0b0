"""Growing neural gas (Fritzke 1995): units joined by edges that age; a unit is added where the error is
largest.

For each sample x, i the nearest unit, s the second nearest, N_i the units joined to i:

    error      e_i += ‖x − w_i‖²
    adaptation w_i += ε_b(t)·(x − w_i),  w_j += ε_n(t)·(x − w_j) for j in N_i
    edges      those of i age by 1; i – s is new again; who is older than ``oldest`` goes, and so does a unit
               that it leaves without any
    insertion  after every ``every`` samples: q of the largest e, f in N_q of the largest e;
               w_r = ½(w_q + w_f), q – r and r – f in place of q – f; e_q, e_f *= α, then e_r = e_q
    forgetting e_j *= d for all j

Units are laid out as in ``units.py``. There are ``count[0]`` of them, always the first ones, of as many as
there is room for: where one goes, the last takes its place. ``pad`` ``(blocks, 16)`` keeps out those that are
not there, by +inf. ``ages`` int32 ``(room, room)`` has an edge's age on both sides of the diagonal, NO_EDGE
elsewhere.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.lanes import WIDTH, fma
from ..stream import scaling
from ..stream import score as scores
from .units import count_win, locate

NO_EDGE = -1

# Live quality, float64 (2,): exponentially weighted count, Σ distance
COUNT, QUANTIZATION = 0, 1

_0, _HALF, _INF = np.float32(0), np.float32(0.5), np.float32(np.inf)
_NOTHING = 1e-200  # an error that has faded to this is 0: what no number is slow to be multiplied with


@device
def _pull(weights, j, x, used, present, rate):
    """w_j += rate·(x − w_j), in the channels used."""
    b, l = j // WIDTH, j % WIDTH
    for k in range(present):
        d = used[k]
        w = weights[b, d, l]
        weights[b, d, l] = fma(rate, x[d] - w, w)


@device
def _join(ages, i, j, age):
    ages[i, j] = age
    ages[j, i] = age


@device
def _alone(ages, j, units):
    edges = 0
    for k in range(units):
        edges += ages[j, k] != NO_EDGE
    return edges == 0


@device
def _remove(j, weights, pad, count, ages, error, hits):
    """Take unit ``j``, which has no edges, away; the last takes its place, and its number."""
    last = count[0] - 1
    if j != last:
        for d in range(weights.shape[1]):
            weights[j // WIDTH, d, j % WIDTH] = weights[last // WIDTH, d, last % WIDTH]
        for k in range(last):
            _join(ages, j, k, ages[last, k])
            _join(ages, last, k, NO_EDGE)
        error[j] = error[last]
        hits[j] = hits[last]
    for d in range(weights.shape[1]):
        weights[last // WIDTH, d, last % WIDTH] = _0
    pad[last // WIDTH, last % WIDTH] = _INF
    error[last] = 0.0
    hits[last] = 0.0
    count[0] = last


@device
def _adapt(x, used, present, weights, pad, count, ages, error, hits, i, second, rate, neighbour_rate, oldest):
    """Everything but insertion, for the sample that ``i`` won before ``second``."""
    _pull(weights, i, x, used, present, rate)
    for j in range(count[0]):
        if ages[i, j] != NO_EDGE:
            _join(ages, i, j, ages[i, j] + 1)
            _pull(weights, j, x, used, present, neighbour_rate)
    _join(ages, i, second, 0)
    for j in range(count[0] - 1, -1, -1):  # downwards: the last, which may come to j, has had its turn
        if ages[i, j] > oldest:
            _join(ages, i, j, NO_EDGE)
            if _alone(ages, j, count[0]):
                _remove(j, weights, pad, count, ages, error, hits)
                if i == count[0]:
                    i = j


@device
def _worst(error, ages, q, units):
    """The unit of the largest error, the lowest among equals: of all for q = −1, else of those joined to
    ``q``. −1 where there is none."""
    worst = -1
    for j in range(units):
        if (q < 0 or ages[q, j] != NO_EDGE) and (worst < 0 or error[j] > error[worst]):
            worst = j
    return worst


@device
def _insert(weights, pad, count, ages, error, split):
    """A new unit between the one of the largest error and the worst of those joined to it."""
    r = count[0]
    q = _worst(error, ages, -1, r)
    f = _worst(error, ages, q, r)
    if f < 0:  # nothing was learned yet
        return
    for d in range(weights.shape[1]):
        middle = _HALF * weights[q // WIDTH, d, q % WIDTH] + _HALF * weights[f // WIDTH, d, f % WIDTH]
        weights[r // WIDTH, d, r % WIDTH] = middle
    pad[r // WIDTH, r % WIDTH] = _0
    _join(ages, q, f, NO_EDGE)
    _join(ages, q, r, 0)
    _join(ages, r, f, 0)
    error[q] *= split
    error[f] *= split
    error[r] = error[q]
    count[0] = r + 1


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], i8, f8[:,::1], f8[::1], f8[::1], i8, f8,"
    " i8[::1], i8[::1], f8[::1], f8[::1], f8, i8[::1], i4[:,::1], f8[::1], f4[::1], f4[::1], i8, i8, f8, f8,"
    " i4[::1], f4[::1], f4[::1], i4[::1])"
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
    since,  # (1,): samples learned since a unit was, or could have been, inserted
    hits,  # (room + 1,)
    quality,  # (2,)
    decay,
    count,  # (1,)
    ages,  # (room, room)
    error,  # (room,)
    rate,  # (n,): ε_b(t)
    neighbour_rate,  # (n,): ε_n(t)
    oldest,
    every,
    split,  # α
    keep,  # d
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    channels,  # (n,)
):
    """Learn ``x`` in order; report of each sample what ``predict`` would have said just before."""
    scaled = np.empty(x.shape[1], np.float32)
    used = np.empty(x.shape[1], np.uint64)
    for n in range(x.shape[0]):
        _, second = locate(
            x, n, weights, pad, measure, statistics, tree, head, method, clip, scaled, used,
            winner, distance, score, channels,
        )  # fmt: skip
        i = np.int64(winner[n])
        if i >= 0:
            count_win(hits, i, decay)
            quality[COUNT] = quality[COUNT] * decay + 1.0
            quality[QUANTIZATION] = quality[QUANTIZATION] * decay + np.float64(distance[n])
        if i >= 0 and second >= 0:  # else the sample is out of reach of all, or of all but one
            error[i] += np.float64(distance[n]) * np.float64(distance[n])
            _adapt(
                scaled, used, channels[n], weights, pad, count, ages, error, hits, i, second,
                rate[n], neighbour_rate[n], oldest,
            )  # fmt: skip
        scores.observe(tree, head, distance[n], decay)
        scaling.update(method, statistics, decay, x, n)
        samples[0] += 1
        since[0] += 1
        if since[0] == every:
            since[0] = 0
            if count[0] < error.size:
                _insert(weights, pad, count, ages, error, split)
        for j in range(count[0]):
            error[j] = error[j] * keep if error[j] > _NOTHING else 0.0
