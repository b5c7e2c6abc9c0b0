"""The usual size of each channel's forecast errors: a running mean of |error| without outliers.

An error counts with at most u·6 times the mean. Every error beyond that is cut, and u grows by 2^(1/8); after
any other error u is 1. So a spike does not widen the scale, and a lasting change does. An error below the
resolution of float32, relative to the value, has no meaning.

State: ``error_scale`` float64 ``(3, columns)``, rows COUNT, MEAN, LIMIT = 6·u.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device
from .patience import GROWTH

COUNT, MEAN, LIMIT = range(3)
ROWS = 3
_LEAST_LIMIT = 6.0
_LARGEST_LIMIT = 1e30
_RESOLUTION = 2.0**-20


@device
def relative_error(scale, c, forecast, value):
    """|forecast − value| over the usual size; NaN if one is missing."""
    error = abs(np.float64(forecast) - np.float64(value))
    usual = max(scale[MEAN, c], _RESOLUTION * abs(np.float64(value))) if scale[COUNT, c] > 0.0 else 1.0
    return error / usual if error > 0.0 else error


@device
def observe(scale, decay, c, forecast, value):
    """Add an error. ``decay``: factor of the weight of the past per sample."""
    error = abs(np.float64(forecast) - np.float64(value))
    if not (error < math.inf):
        return
    scale[COUNT, c] += 1.0
    first = scale[COUNT, c] == 1.0
    factor = max(scale[LIMIT, c], _LEAST_LIMIT)
    limit = factor * max(scale[MEAN, c], _RESOLUTION * abs(np.float64(value)))
    scale[LIMIT, c] = _LEAST_LIMIT if first or error <= limit else min(factor * GROWTH, _LARGEST_LIMIT)
    gain = max(1.0 - decay, 1.0 / scale[COUNT, c])
    scale[MEAN, c] += gain * ((error if first else min(error, limit)) - scale[MEAN, c])
