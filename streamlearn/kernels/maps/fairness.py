"""Selection of the learner, so that no unit stays dead: a unit that won often gets a handicap.

    conscience (DeSieno 1988)                  argmin ‖x − w_j‖² − C·(1/N − p_j),  p_j += B·(z_j − p_j)
    frequency-sensitive (Ahalt et al. 1990)    argmin n_j·‖x − w_j‖,  n_i += 1 for the learner i

z_j is 1 for the nearest unit and 0 for the others. ``share`` float32 ``(blocks, 16)`` holds p, which starts
at 1/N, or n, which starts at 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..simd.lanes import WIDTH, iota, load, lowest, select, splat, store, zero
from .winner import EUCLIDEAN, dissimilarity

NONE, CONSCIENCE, FREQUENCY = 0, 1, 2
KINDS = {"none": NONE, "conscience": CONSCIENCE, "frequency": FREQUENCY}

_LARGEST_COUNT = np.float32(1 << 20)  # then all n are halved: only ratios matter, and float32 counts to 2²⁴
_1, _HALF, _INF = np.float32(1), np.float32(0.5), np.float32(np.inf)


class Fairness(NamedTuple):
    """The selection of the learner."""

    kind: Any
    share: Any  # (blocks, 16)
    conscience: Any  # C
    conscience_rate: Any  # B


@device
def select_learner(sample, units, fairness, number, winner):
    """Return the unit that learns. ``number`` is N.

    Returns ``winner`` if the handicapped distance of every unit is infinite.
    """
    weights, pad, measure = units
    share = fairness.share
    best = splat(_INF)
    best_index = zero()
    index = iota()
    equal_share = _1 / np.float32(number)
    for b in range(share.shape[0]):
        distance = dissimilarity(sample.x, sample.channels, sample.count, weights, b, load(pad, b), measure)
        if fairness.kind == CONSCIENCE:
            distance = distance - fairness.conscience * (equal_share - load(share, b))
        else:
            wins = load(share, b)
            distance = distance * wins
            if measure == EUCLIDEAN:
                distance = distance * wins  # n²·d² has the same order as n·d
        better = distance < best
        best = select(better, distance, best)
        best_index = select(better, index, best_index)
        index = index + np.float32(WIDTH)
    least = lowest(best)
    return np.int64(lowest(select(best == least, best_index, _INF))) if least < _INF else winner


@device
def update_share(fairness, winner, learner):
    """Update p by the nearest unit, or n by the learner."""
    share = fairness.share
    if fairness.kind == CONSCIENCE:
        index = iota()
        nearest = np.float32(winner)
        for b in range(share.shape[0]):
            p = load(share, b)
            z = select(index == nearest, zero() + _1, zero())
            store(share, b, p + fairness.conscience_rate * (z - p))
            index = index + np.float32(WIDTH)
    elif fairness.kind == FREQUENCY:
        share[learner // WIDTH, learner % WIDTH] += _1
        if share[learner // WIDTH, learner % WIDTH] >= _LARGEST_COUNT:
            for b in range(share.shape[0]):
                store(share, b, load(share, b) * _HALF)
