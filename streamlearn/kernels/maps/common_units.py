"""The units that the score compares a sample with: the common ones.

Units go where samples are, also where samples are rare. A fault that comes again and again has units of its
own in the end, and is near to them. So only the units with many samples count, as the large clusters do in
the local outlier factor of clusters (CBLOF: He, Xu & Deng 2003, "Discovering cluster-based local outliers").
With n_j the recent samples of unit j:

    n̄ = Σ n_j² / Σ n_j, which is n_j of the winner in the mean of all samples
    common are the units with n_j ≥ ρ·n̄, the others are rare
    the distance of the score is that to the winner if it is common, else that to the nearest common unit

The paper sorts the clusters by size and lets the largest with 90 % of the samples count, or those before a
sudden fall of the sizes. n̄ needs no sorting, and no unit is rare if all have about as many samples.

n_j counts learned samples and forgets them exponentially. The common units are selected again after every
``units`` learned samples, at least 64; before that all units are common.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..simd.lanes import WIDTH
from ..stream import forgetting
from .winner import Units, nearest_two

PERIOD = 64  # samples, at least

_0, _INF = np.float32(0), np.float32(np.inf)


class CommonUnits(NamedTuple):
    """Which units are common, and the samples of each."""

    pad: Any  # (blocks, 16): 0 for a common unit, else +inf; (0, 16) if the score compares with all units
    wins: Any  # (units + 1,): n_j, as in stream/forgetting.py
    learned: Any  # (1,): number of learned samples
    decay: Any
    rare_below: Any  # ρ


@device
def compared_unit(x, channels, count, units, pad, winner):
    """The unit that the score compares the scaled sample ``x`` with."""
    if pad.shape[0] == 0 or winner < 0 or pad[winner // WIDTH, winner % WIDTH] == _0:
        return winner
    i, _, _ = nearest_two(x, channels, count, Units(units.weights, pad, units.measure))
    return i if i >= 0 else winner


@device
def count(common, winner):
    """Count a learned sample."""
    if common.pad.shape[0] > 0 and winner >= 0:
        forgetting.count(common.wins, winner, common.decay)
        common.learned[0] += 1


@device
def update(common):
    """Select the common units, if it is time."""
    if common.pad.shape[0] == 0 or common.learned[0] % max(common.wins.size - 1, PERIOD) != 0:
        return
    least = _least_wins(common)
    if least <= 0.0:
        return
    for j in range(common.wins.size - 1):
        common.pad[j // WIDTH, j % WIDTH] = _0 if common.wins[j] >= least else _INF


@device
def _least_wins(common):
    """ρ·n̄; 0 if no sample was counted."""
    total, squares = 0.0, 0.0
    for j in range(common.wins.size - 1):
        total += common.wins[j]
        squares += common.wins[j] * common.wins[j]
    return common.rare_below * squares / total if total > 0.0 else 0.0


@device
def split(pad, wins, q, r):
    """The new unit ``r`` gets half of the samples of unit ``q``."""
    if pad.shape[0] > 0:
        pad[r // WIDTH, r % WIDTH] = pad[q // WIDTH, q % WIDTH]
        wins[q] *= 0.5
        wins[r] = wins[q]


@device
def move(pad, wins, j, last):
    """Unit ``last`` takes the place of unit ``j``."""
    if pad.shape[0] > 0:
        pad[j // WIDTH, j % WIDTH] = pad[last // WIDTH, last % WIDTH]
        pad[last // WIDTH, last % WIDTH] = _INF
        wins[j] = wins[last]
        wins[last] = 0.0
