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
from ..simd.columns import load_columns
from ..simd.lanes import absolute, larger, select, smaller
from .patience import GROWTH
from .scaling import _set

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
    """Add the error of a float64 or, with doubles, of four columns from ``c`` on, unless one is missing.

    ``decay``: factor of the weight of the past per sample.
    """
    error = absolute(forecast - value)
    known = error < math.inf
    count = load_columns(scale, COUNT, c, value) + 1.0
    mean = load_columns(scale, MEAN, c, value)
    factor = larger(load_columns(scale, LIMIT, c, value), _LEAST_LIMIT)
    limit = factor * larger(mean, _RESOLUTION * absolute(value))
    longer = smaller(factor * GROWTH, _LARGEST_LIMIT)
    first = count == 1.0
    _set(scale, COUNT, c, known, count)
    _set(scale, LIMIT, c, known, select(first, _LEAST_LIMIT, select(error <= limit, _LEAST_LIMIT, longer)))
    gain = larger(1.0 - decay, 1.0 / count)
    _set(scale, MEAN, c, known, mean + gain * (select(first, error, smaller(error, limit)) - mean))
