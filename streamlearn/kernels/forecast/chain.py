"""Features of a target that comes with its sample: a chain from the newest value to a long average.

For each channel the chain is

    x_t, x_{t−1}, …, x_{t−L+1}, a_1, …, a_K,        a_k ← a_k + (x_t − a_k)/T_k

with the time constants T_k at equal ratios up to 10⁴ samples. The features are the difference of each value
from the next one, and a_K. So the last values and the averages carry different information, and no two
features are nearly equal. (A unit that decays with T is a diagonal recurrent unit whose λ is real; complex
ones had larger errors.)

A feature is z = (raw − offset)/unit, with the mean and the width of all raw values as offset and unit. These
change when the number of samples is a power of two only, and then W and P change with them: from z to z',
z = r z' + d, so W' = Aᵀ W and P' = Aᵀ P A for the matrix A of r and d. The forecast does not change. If they
changed with every sample, the relation of z and y would change as well, and its error would be about 1 %.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..compiler import device
from ..simd.views import row_of

LIMIT = 100.0  # of a feature
SLOWEST = 10_000  # samples: the longest time constant

# scale, float64 (·, 4), of each raw feature or target: mean, sum of squares around it, offset, unit (0: none)
MEAN, SQUARES, OFFSET, UNIT = range(4)


class Past(NamedTuple):
    """The values of one stream so far."""

    history: Any  # (channels, lags): a ring
    averages: Any  # (channels, K)
    seen: Any  # (channels,): 1 if the channel has had a value


@device
def clear(past):
    """Forget the values of a stream."""
    for c in range(past.seen.size):
        past.seen[c] = 0


@device
def add_values(past, constants, number, x):
    """Add ``x`` ``(channels,)``, sample ``number``. A missing value repeats the last one.

    ``constants`` ``(K,)`` are the T.
    """
    lags = past.history.shape[1]
    for c in range(x.size):
        history, averages, value = row_of(past.history, c), row_of(past.averages, c), float(x[c])
        if value != value:
            value = history[(number - 1) % lags]
        elif past.seen[c] == 0:
            past.seen[c] = 1
            for k in range(lags):
                history[k] = value
            for k in range(averages.size):
                averages[k] = value
        history[number % lags] = value
        for k in range(averages.size if x[c] == x[c] else 0):
            averages[k] += (value - averages[k]) / constants[k]


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
            z[j] = min(max((raw[j] - scale[j, OFFSET]) / unit, -LIMIT), LIMIT) if unit > 0.0 else 0.0


@device
def observe(scale, j, count, value):
    """Add the ``count``-th value of row ``j`` to its mean and sum of squares (Welford)."""
    difference = value - scale[j, MEAN]
    scale[j, MEAN] += difference / count
    scale[j, SQUARES] += difference * (value - scale[j, MEAN])


@device
def is_power_of_two(count):
    """Whether offsets and units change after ``count`` values."""
    return count > 0 and (count & (count - 1)) == 0


@device
def renew_features(scale, count, read_out, ratios):
    """Set offsets and units of the features to means and widths, and W and P so that no forecast changes.

    ``ratios`` ``(features,)``: scratch.
    """
    weights, covariance = read_out.weights, read_out.covariance
    for j in range(ratios.size):
        ratios[j] = 1.0
    for j in range(1, scale.shape[0]):
        unit, old = math.sqrt(scale[j, SQUARES] / count), scale[j, UNIT]
        if not unit > 0.0:
            continue
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
