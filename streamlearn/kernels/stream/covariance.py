"""The inverse of the correlations of a running covariance.

The inverse Ω of the correlation matrix, with a ridge on its diagonal, is computed at n = 4, 8, … 512 samples,
and then every 512.

    (Ωz)_c/√Ω_cc

is the deviation of the value c from what all other values let expect, in its standard deviations, if z are
the values in standard deviations.
"""

from __future__ import annotations

from ..compiler import device
from ..simd.views import row_of

INTERVAL = 512.0  # samples between two inverses
_FIRST_INVERSE = 4.0
SMALLEST_WIDTH = 1e-30


@device
def is_due(count):
    """Whether Ω is computed after ``count`` samples."""
    if count >= INTERVAL:
        return count % INTERVAL == 0.0
    step = _FIRST_INVERSE
    while step < count:
        step *= 2.0
    return step == count


@device
def invert(covariance, widths, first, ridge, inverse):
    """Write Ω to ``inverse`` ``(size, size)`` by the sweep operator.

    ``covariance``: ``(size, size or more)``. ``widths``: 1/standard deviation of each value, from ``first``
    on. Goodnight, The American Statistician 33, 1979.
    """
    size = covariance.shape[0]
    for i in range(size):
        source, row, own = row_of(covariance, i), row_of(inverse, i), widths[first + i]
        for j in range(size):
            row[j] = source[j] * own * widths[first + j]
        row[i] = 1.0 + ridge
    for k in range(size):
        pivot = row_of(inverse, k)
        scale = 1.0 / pivot[k]
        for j in range(size):
            pivot[j] *= scale
        for i in range(size):
            if i != k:
                row, value = row_of(inverse, i), inverse[i, k]
                for j in range(size):
                    row[j] -= value * pivot[j]
                row[k] = -value * scale
        pivot[k] = scale
