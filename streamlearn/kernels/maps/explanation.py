"""Explanation of a sample by a unit: the values that the unit expects, and the share of each channel.

The unit is the one that the score compares the sample with: the winner, or the nearest common unit (see
``common_units.py``). With w its weights, in the scaled space, the share of channel d is its part of the sum
over the channels present of

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
from .common_units import compared_unit
from .winner import COSINE, MANHATTAN, Units, present_channels


@device
def _weight(units, unit, d):
    return np.float64(units.weights[unit // GROUP, d, unit % GROUP])


@device
def _factor(x, units, unit):
    """Factor of the unit's weights: ‖x‖/‖w‖ over the present channels for COSINE, else 1."""
    if units.measure != COSINE:
        return 1.0
    squared_x, squared_w = 0.0, 0.0
    for d in range(x.size):
        if x[d] == x[d]:
            value, w = np.float64(x[d]), _weight(units, unit, d)
            squared_x += value * value
            squared_w += w * w
    return math.sqrt(squared_x / squared_w) if squared_w > 0.0 else 0.0


@device
def _write_contribution(x, units, unit, contribution):
    """Write the share of each channel of the scaled sample ``x`` ``(dim,)``; NaN without a unit."""
    if unit < 0:
        fill_unknown(contribution)
        return
    factor = _factor(x, units, unit)
    for d in range(x.size):
        contribution[d] = size_of(np.float64(x[d]) - factor * _weight(units, unit, d))
    to_shares(contribution, units.measure != MANHATTAN)


@device
def write_expected(x, units, unit, scale, expected):
    """Write what the unit expects in place of the scaled sample ``x``, in the stream's own units."""
    if unit < 0:
        fill_unknown(expected)
        return
    factor, group, place = _factor(x, units, unit), row_of(units.weights, unit // GROUP), unit % GROUP
    for d in range(x.size):
        expected[d] = scaling.restore(scale, d, np.float32(factor * np.float64(group[d, place])))


@kernel(
    "void(f4[:,::1], i4[::1], f4[:,:,::1], f4[:,::1], i8, i8, f8[:,::1], f8, f4[:,::1], f4[:,::1],"
    " f4[:,::1])",
    allocates=True,
)
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
    common,  # (blocks, 16): see common_units.py
    # Outputs
    expected,  # (n, dim)
    contribution,  # (n, dim)
):
    """Write what the unit that the score compares each sample with expects, and the share of each channel.

    Changes no state.
    """
    units, scale = Units(weights, pad, measure), Scaling(method, statistics, scale_clip)
    scaled, channels = np.empty(x.shape[1], np.float32), np.empty(x.shape[1], np.uint64)
    for n in range(x.shape[0]):
        count = scaling.transform(scale, x, n, scaled)
        present_channels(scaled, channels)
        unit = compared_unit(scaled, channels, count, units, common, np.int64(winner[n]))
        _write_contribution(scaled, units, unit, row_of(contribution, n))
        write_expected(scaled, units, unit, scale, row_of(expected, n))
