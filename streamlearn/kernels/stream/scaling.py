"""Online scaling, one channel at a time: standard (Welford 1962), exponentially weighted, min–max.

A sample is scaled by the statistics of the samples before it and joins them afterwards, so what ``predict``
would say is what ``learn`` reports. Statistics are float64 ``(3, dim)``: rows COUNT, CENTRE, SPREAD. Missing
values (NaN) stay NaN and leave their channel's statistics alone.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device

NONE, STANDARD, EWMA, MINMAX = 0, 1, 2, 3
METHODS = {None: NONE, "standard": STANDARD, "ewma": EWMA, "minmax": MINMAX}
COUNT = 0  # how many values the channel has had
CENTRE = 1  # mean; for min–max the minimum
SPREAD = 2  # Σ(x − mean)² for standard; the variance for ewma; the maximum for min–max


@device
def _offset_and_width(method, statistics, c):
    """Scaled value = (x − offset)/width. Width 0: the channel has not varied yet."""
    if method == STANDARD:
        count = max(statistics[COUNT, c], 1.0)
        return statistics[CENTRE, c], math.sqrt(statistics[SPREAD, c] / count)
    if method == EWMA:
        return statistics[CENTRE, c], math.sqrt(statistics[SPREAD, c])
    return statistics[CENTRE, c], statistics[SPREAD, c] - statistics[CENTRE, c]


@device
def transform(method, statistics, clip, x, n, out):
    """Scale row ``n`` of ``x`` ``(n, dim)`` into ``out`` ``(dim,)``, cut to ±clip; returns how many values
    are present."""
    present = 0
    for c in range(out.size):
        value = x[n, c]
        if value == value:
            present += 1
            if method != NONE:
                offset, width = _offset_and_width(method, statistics, c)
                scaled = (np.float64(value) - offset) / width if width > 0.0 else 0.0
                value = np.float32(min(max(scaled, -clip), clip))
        out[c] = value
    return present


@device
def restore(method, statistics, c, scaled):
    """A scaled value of channel ``c`` back in the stream's own units."""
    if method == NONE:
        return scaled
    offset, width = _offset_and_width(method, statistics, c)
    return np.float32(offset + np.float64(scaled) * width)


@device
def update(method, statistics, decay, x, n):
    """Let row ``n`` of ``x`` join the statistics; ``decay`` is the weight ewma keeps of the past per
    sample."""
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
            # The first samples weigh alike (1/count), as in a plain mean, until the exponential window is
            # full.
            gain = max(1.0 - decay, 1.0 / count)
            difference = value - statistics[CENTRE, c]
            statistics[CENTRE, c] += gain * difference
            statistics[SPREAD, c] = (1.0 - gain) * (statistics[SPREAD, c] + gain * difference * difference)
