"""Who learns, where winning alone would leave units dead: those that won too often stand back.

    conscience (DeSieno 1988)                  argmin ‖x − w_j‖² − C·(1/N − p_j),  p_j += B·(z_j − p_j)
    frequency-sensitive (Ahalt et al. 1990)    argmin n_j·‖x − w_j‖,  n_i += 1 for the learner i

z_j is 1 for the plain nearest unit, else 0. ``share`` float32 ``(blocks, 16)`` holds p (from 1/N) or n (from
1).
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.lanes import WIDTH, iota, load, lowest, select, splat, store, zero
from .winner import EUCLIDEAN, dissimilarity

NONE, CONSCIENCE, FREQUENCY = 0, 1, 2

_MANY = np.float32(1 << 20)  # n are halved here: only their ratios matter, and float32 counts to 2²⁴
_1, _HALF, _INF = np.float32(1), np.float32(0.5), np.float32(np.inf)


@device
def learner(x, used, present, weights, pad, measure, fairness, share, units, strength, winner):
    """The unit that is to learn; ``strength`` is C. The winner, where all others are out of sight."""
    best = splat(_INF)
    best_at = zero()
    index = iota()
    equal = _1 / np.float32(units)
    for b in range(weights.shape[0]):
        apart = dissimilarity(x, used, present, weights, b, load(pad, b), measure)
        if fairness == CONSCIENCE:
            apart = apart - strength * (equal - load(share, b))
        else:
            count = load(share, b)
            apart = apart * count
            if measure == EUCLIDEAN:
                apart = apart * count  # n²·d² orders as n·d does
        better = apart < best
        best = select(better, apart, best)
        best_at = select(better, index, best_at)
        index = index + np.float32(WIDTH)
    least = lowest(best)
    return np.int64(lowest(select(best == least, best_at, _INF))) if least < _INF else winner


@device
def remember(fairness, share, winner, learned, rate):
    """Note who was nearest and who learned; ``rate`` is B."""
    if fairness == CONSCIENCE:
        index = iota()
        won = np.float32(winner)
        for b in range(share.shape[0]):
            p = load(share, b)
            z = select(index == won, zero() + _1, zero())
            store(share, b, p + rate * (z - p))
            index = index + np.float32(WIDTH)
    elif fairness == FREQUENCY:
        share[learned // WIDTH, learned % WIDTH] += _1
        if share[learned // WIDTH, learned % WIDTH] >= _MANY:
            for b in range(share.shape[0]):
                store(share, b, load(share, b) * _HALF)
