"""Explanation of a sample by its winner: the values that the unit expects, and the share of each channel.

With w the winner's weights, in the scaled space, the share of channel d is its part of the sum over the
channels present of

    EUCLIDEAN, CHEBYSHEV    (x_d − w_d)²
    MANHATTAN               |x_d − w_d|
    COSINE                  (x_d/‖x‖ − w_d/‖w‖)², which sum to 2·(1 − cos)

The expected value is w_d. COSINE ignores lengths, so there it is w_d·‖x‖/‖w‖.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device, kernel
from ..simd.groups import GROUP
from ..simd.views import row_of
from ..stream import scaling
from ..stream.contribution import fill_unknown, size_of, to_shares
from ..stream.scaling import Scaling
from .winner import COSINE, MANHATTAN, Units


@device
def _weight(units, winner, d):
    return np.float64(units.weights[winner // GROUP, d, winner % GROUP])


@device
def _factor(x, units, winner):
    """Factor of the winner's weights: ‖x‖/‖w‖ over the present channels for COSINE, else 1."""
    if units.measure != COSINE:
        return 1.0
    squared_x, squared_w = 0.0, 0.0
    for d in range(x.size):
        if x[d] == x[d]:
            value, w = np.float64(x[d]), _weight(units, winner, d)
            squared_x += value * value
            squared_w += w * w
    return math.sqrt(squared_x / squared_w) if squared_w > 0.0 else 0.0


@device
def _write_contribution(x, units, winner, contribution):
    """Write the share of each channel of the scaled sample ``x`` ``(dim,)``; NaN without a winner."""
    if winner < 0:
        fill_unknown(contribution)
        return
    factor = _factor(x, units, winner)
    for d in range(x.size):
        contribution[d] = size_of(np.float64(x[d]) - factor * _weight(units, winner, d))
    to_shares(contribution, units.measure != MANHATTAN)


@device
def _write_expected(x, units, winner, scale, expected):
    """Write what the winner of the scaled sample ``x`` expects, in the stream's own units."""
    if winner < 0:
        fill_unknown(expected)
        return
    factor = _factor(x, units, winner)
    for d in range(x.size):
        expected[d] = scaling.restore(scale, d, np.float32(factor * _weight(units, winner, d)))


@device
def write_explanation(x, units, winner, scale, expected, contribution):
    """Write what the winner of the scaled sample ``x`` expects, and the share of each channel."""
    _write_contribution(x, units, winner, contribution)
    _write_expected(x, units, winner, scale, expected)


@kernel("void(f4[:,::1], i4[::1], f4[:,:,::1], f4[:,::1], i8, i8, f8[:,::1], f8, f4[:,::1], f4[:,::1])")
def explain(
    x,  # (n, dim)
    winner,  # (n,)
    # Units
    weights,  # (groups, dim, 64)
    pad,  # (blocks, 16)
    measure,
    # Scaling
    method,
    statistics,  # (3, dim)
    scale_clip,
    # Outputs
    expected,  # (n, dim)
    contribution,  # (n, dim)
):
    """Write what the winner of each sample expects, and the share of each channel. Changes no state."""
    units, scale = Units(weights, pad, measure), Scaling(method, statistics, scale_clip)
    scaled = np.empty(x.shape[1], np.float32)
    for n in range(x.shape[0]):
        scaling.transform(scale, x, n, scaled)
        shares = row_of(contribution, n)
        write_explanation(scaled, units, np.int64(winner[n]), scale, row_of(expected, n), shares)
