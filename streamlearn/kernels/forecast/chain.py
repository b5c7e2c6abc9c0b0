"""Features of a target that comes with its sample: a chain from the newest value to a long average.

For each channel the chain is

    x_t, x_{t−1}, …, x_{t−L+1}, a_1, …, a_K,        a_k ← a_k + (x_t − a_k)/min(T_k, n)

with the time constants T_k at equal ratios up to 10⁴ samples, and n the number of values so far. So an
average is the plain mean until n is T_k. If it began at the first value, it would be a slope for T_k samples,
and a read-out that has learned a part of the slope would be wrong on the rest.

The features are the difference of each value from the next one, and a_K. So the last values and the averages
carry different information, and no two features are nearly equal. (A unit that decays with T is a diagonal
recurrent unit whose λ is real; complex ones had larger errors.)

A feature is z = (raw − offset)/unit, with the mean and the width of all raw values as offset and unit. These
change when the number of samples is a power of two only, and then W and P change with them: from z to z',
z = r z' + d, so W' = Aᵀ W and P' = Aᵀ P A for the matrix A of r and d. The forecast does not change. If they
changed with every sample, the relation of z and y would change as well, and its error would be about 1 %.

A unit is at least 1 % of the largest width of the channel's differences. A difference of averages is 0 until
n is T_k, and a unit from its first values would make all later ones large.

Where a width grows, P_jj grows with its square, far above the 1/δ of the start, and P loses its accuracy. So
an entry above 1/δ is set to it by P ← P − c P_j P_jᵀ: the same as one more pair that W fits already.

Samples that are only watched do not take the read-out to where it has learned nothing, and do not stay in the
averages for thousands of samples after they have ended:

- A raw feature counts up to one unit beyond the lowest and the highest one that were learned.
- A value is not added to the averages if it is outside the range of those that were learned, by more than a
  quarter of that range.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..compiler import device
from ..simd.views import row_of

# scale, float64 (·, 6), of each raw feature or target: mean, sum of squares around it, offset, unit
# (0: none), lowest and highest value
MEAN, SQUARES, OFFSET, UNIT, LOWEST, HIGHEST = range(6)

# ranges, float64 (channels, 3), of the values that were learned: number, lowest and highest
COUNT, LEAST, MOST = range(3)
_BEYOND = 0.25  # of the range

_SMALLEST_UNIT = 0.01  # of the largest width


class Past(NamedTuple):
    """The values of one stream so far."""

    history: Any  # (channels, lags): a ring
    averages: Any  # (channels, K)
    seen: Any  # (channels,): number of values in the averages


@device
def clear(past):
    """Forget the values of a stream."""
    for c in range(past.seen.size):
        past.seen[c] = 0


@device
def add_values(past, constants, ranges, number, x):
    """Add ``x`` ``(channels,)``, sample ``number``. A missing value repeats the last one.

    ``constants`` ``(K,)`` are the T.
    """
    lags = past.history.shape[1]
    for c in range(x.size):
        history, averages, value = row_of(past.history, c), row_of(past.averages, c), float(x[c])
        if value != value:
            history[number % lags] = history[(number - 1) % lags]
            continue
        if past.seen[c] == 0:
            for k in range(lags):
                history[k] = value
            for k in range(averages.size):
                averages[k] = value
        history[number % lags] = value
        if past.seen[c] > 0 and not _is_usual(row_of(ranges, c), value):
            continue
        past.seen[c] += 1
        for k in range(averages.size):
            averages[k] += (value - averages[k]) / min(constants[k], float(past.seen[c]))


@device
def _is_usual(found, value):
    """Whether ``value`` is in the range of those that were learned, or a quarter of it outside."""
    beyond = _BEYOND * (found[MOST] - found[LEAST])
    return found[COUNT] < 2.0 or found[LEAST] - beyond <= value <= found[MOST] + beyond


@device
def observe_values(ranges, x):
    """Add the values of a learned sample ``x`` ``(channels,)`` to their ranges."""
    for c in range(x.size):
        found, value = row_of(ranges, c), float(x[c])
        if value != value:
            continue
        found[LEAST] = min(found[LEAST], value) if found[COUNT] > 0.0 else value
        found[MOST] = max(found[MOST], value) if found[COUNT] > 0.0 else value
        found[COUNT] += 1.0


@device
def write_raw(past, number, scale, extra, raw):
    """Write the raw features of sample ``number``: 1, the chain of each channel, and ``extra``.

    Those of a channel without a value so far, and missing ones of ``extra``, are their means.
    """
    lags, m = past.history.shape[1], 1
    raw[0] = 1.0
    for c in range(past.seen.size):
        history, averages = row_of(past.history, c), row_of(past.averages, c)
        length = lags + averages.size
        if past.seen[c] == 0:
            for k in range(length):
                raw[m + k] = scale[m + k, OFFSET]
            m += length
            continue
        value = history[number % lags]
        for k in range(1, length):
            later = history[(number - k) % lags] if k < lags else averages[k - lags]
            raw[m] = value - later
            value = later
            m += 1
        raw[m] = value
        m += 1
    for k in range(extra.size):
        raw[m] = extra[k] if extra[k] == extra[k] else scale[m, OFFSET]
        m += 1


@device
def normalise(scale, raw, z):
    """Write the features to ``z``. A row of ``scale`` belongs to each; features after them stay raw."""
    for j in range(z.size):
        z[j] = raw[j]
        if j < scale.shape[0] and j > 0:
            unit = scale[j, UNIT]
            value = min(max(raw[j], scale[j, LOWEST] - unit), scale[j, HIGHEST] + unit)
            z[j] = (value - scale[j, OFFSET]) / unit if unit > 0.0 else 0.0


@device
def observe(scale, j, count, value):
    """Add the ``count``-th value of row ``j`` to its range, mean and sum of squares (Welford)."""
    if count == 1:
        scale[j, LOWEST], scale[j, HIGHEST] = value, value
    scale[j, LOWEST] = min(scale[j, LOWEST], value)
    scale[j, HIGHEST] = max(scale[j, HIGHEST], value)
    difference = value - scale[j, MEAN]
    scale[j, MEAN] += difference / count
    scale[j, SQUARES] += difference * (value - scale[j, MEAN])


@device
def is_power_of_two(count):
    """Whether offsets and units change after ``count`` values."""
    return count > 0 and (count & (count - 1)) == 0


@device
def renew_features(past, scale, count, read_out, ridge, ratios):
    """Set offsets and units of the features to means and widths, and W and P so that no forecast changes.

    ``ridge``: δ. ``ratios`` ``(features,)``: scratch.
    """
    weights, covariance = read_out.weights, read_out.covariance
    for j in range(ratios.size):
        ratios[j] = 1.0
    for j in range(1, scale.shape[0]):
        unit, old = math.sqrt(scale[j, SQUARES] / count), scale[j, UNIT]
        if not unit > 0.0:
            continue
        unit = max(unit, _SMALLEST_UNIT * _largest_width(past, scale, count, j))
        if old > 0.0:
            ratios[j] = unit / old
            shift = (scale[j, MEAN] - scale[j, OFFSET]) / old
            for h in range(weights.shape[1]):
                weights[0, h] += shift * weights[j, h]
            for i in range(ratios.size):
                covariance[i, 0] += shift * covariance[i, j]
            for i in range(ratios.size):
                covariance[0, i] += shift * covariance[j, i]
        scale[j, OFFSET], scale[j, UNIT] = scale[j, MEAN], unit
    for j in range(ratios.size):
        for h in range(weights.shape[1]):
            weights[j, h] *= ratios[j]
        for i in range(ratios.size):
            covariance[j, i] *= ratios[j] * ratios[i]
    for j in range(ratios.size):
        _limit(covariance, j, 1.0 / ridge, ratios)


@device
def _largest_width(past, scale, count, j):
    """Largest width of the differences in the chain of raw feature ``j``; 0 if it is in no chain."""
    length = past.history.shape[1] + past.averages.shape[1]
    c = (j - 1) // length
    most, first = 0.0, 1 + c * length
    for k in range(first, first + length - 1 if c < past.seen.size else first):
        most = max(most, scale[k, SQUARES])
    return math.sqrt(most / count)


@device
def _limit(covariance, j, largest, column):
    """Set P_jj to ``largest`` if it is above: P ← P − c P_j P_jᵀ. ``column`` ``(features,)``: scratch."""
    found = covariance[j, j]
    if not largest < found < math.inf:
        return
    share = (found - largest) / found / found
    for i in range(column.size):
        column[i] = covariance[i, j]
    for i in range(column.size):
        row, value = row_of(covariance, i), share * column[i]
        for k in range(column.size):
            row[k] -= value * column[k]


@device
def renew_target(scale, o, count, read_out, steps):
    """Set offset and unit of target ``o`` to its mean and width, and W and σ so that no forecast changes.

    Its columns of W are ``o`` + h·targets for each of the ``steps``.
    """
    weights, targets = read_out.weights, scale.shape[0]
    unit, old = math.sqrt(scale[o, SQUARES] / count), scale[o, UNIT]
    offset = scale[o, OFFSET]
    scale[o, OFFSET] = scale[o, MEAN]
    if not unit > 0.0:
        return
    scale[o, UNIT] = unit
    for h in range(steps if old > 0.0 else 0):
        column = o + h * targets
        for j in range(weights.shape[0]):
            weights[j, column] *= old / unit
        weights[0, column] += (offset - scale[o, OFFSET]) / unit
        read_out.error_size[column] *= old / unit
