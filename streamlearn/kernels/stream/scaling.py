"""Online scaling of each channel: standard (Welford 1962), exponentially weighted, or min–max.

A sample is scaled by the statistics of the samples before it, and is added to them afterwards. The outputs of
``learn`` therefore equal those of ``predict``. Statistics are float64 ``(3, dim)``: rows COUNT, CENTRE,
SPREAD. A missing value (NaN) stays NaN and does not change the statistics of its channel.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compiler import device

NONE, STANDARD, EWMA, MINMAX = 0, 1, 2, 3
METHODS = {None: NONE, "standard": STANDARD, "ewma": EWMA, "minmax": MINMAX}
COUNT = 0  # number of values
CENTRE = 1  # mean; for min–max the minimum
SPREAD = 2  # Σ(x − mean)² for standard; the variance for ewma; the maximum for min–max


class Scaling(NamedTuple):
    """The scaling of the channels of a stream."""

    method: Any
    statistics: Any  # (3, dim)
    clip: Any


@device
def _offset_and_width(scale, c):
    """Offset and width of scaled = (x − offset)/width. The width is 0 while all values are equal."""
    method, statistics, _ = scale
    if method == STANDARD:
        count = max(statistics[COUNT, c], 1.0)
        return statistics[CENTRE, c], math.sqrt(statistics[SPREAD, c] / count)
    if method == EWMA:
        return statistics[CENTRE, c], math.sqrt(statistics[SPREAD, c])
    return statistics[CENTRE, c], statistics[SPREAD, c] - statistics[CENTRE, c]


@device
def transform(scale, x, n, out):
    """Write row ``n`` of ``x`` ``(n, dim)``, scaled and clipped to ±clip, to ``out`` ``(dim,)``.

    Returns the number of present values.
    """
    present = 0
    if scale.method == NONE:
        for c in range(out.size):
            out[c] = x[n, c]
            present += x[n, c] == x[n, c]
        return present
    for c in range(out.size):
        value = x[n, c]
        if value == value:
            present += 1
            offset, width = _offset_and_width(scale, c)
            scaled = (np.float64(value) - offset) / width if width > 0.0 else 0.0
            value = np.float32(min(max(scaled, -scale.clip), scale.clip))
        out[c] = value
    return present


@device
def restore(scale, c, scaled):
    """Convert a scaled value of channel ``c`` to the stream's own units."""
    if scale.method == NONE:
        return scaled
    offset, width = _offset_and_width(scale, c)
    return np.float32(offset + np.float64(scaled) * width)


@device
def update(scale, decay, x, n):
    """Add row ``n`` of ``x`` to the statistics. ``decay``: factor of the weight of the past per sample, for
    ewma."""
    method, statistics, _ = scale
    if method == NONE:
        return
    for c in range(x.shape[1]):
        value = np.float64(x[n, c])
        if not (value == value):
            continue
        count = statistics[COUNT, c] + 1.0
        statistics[COUNT, c] = count
        if method == MINMAX:
            first = count == 1.0
            statistics[CENTRE, c] = value if first else min(statistics[CENTRE, c], value)
            statistics[SPREAD, c] = value if first else max(statistics[SPREAD, c], value)
        elif method == STANDARD:
            difference = value - statistics[CENTRE, c]
            statistics[CENTRE, c] += difference / count
            statistics[SPREAD, c] += difference * (value - statistics[CENTRE, c])
        else:
            # Arithmetic mean (weight 1/count) until the exponential window is full
            gain = max(1.0 - decay, 1.0 / count)
            difference = value - statistics[CENTRE, c]
            statistics[CENTRE, c] += gain * difference
            statistics[SPREAD, c] = (1.0 - gain) * (statistics[SPREAD, c] + gain * difference * difference)
