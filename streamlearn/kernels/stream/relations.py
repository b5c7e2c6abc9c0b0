"""How far a sample is from what the past of its channels and the other channels let expect.

A sample has three values for each channel c of a stream:

    ERROR     x_c − f_c, where f_c is the forecast that was made for it
    LEVEL     x_c − m_c, where m_c is the mean of the channel
    ACTIVITY  log((a + s/64)/s), where s is the mean of the changes |x_c − its last value|, and a that of the
              last 16 of them, each at most 8s

Errors and levels below the resolution of float32, relative to x_c, are 0. Let z be these values of all
channels in standard deviations from their means, and Ω the inverse of their correlation matrix. zᵀΩz is the
squared Mahalanobis distance of the sample. The part of channel c is what it loses without the channel: with B
the three values of c,

    part_c = (Ωz)_Bᵀ (Ω_BB)⁻¹ (Ωz)_B

If only one channel deviates, its part is the whole distance, and no other part is larger
(reconstruction-based contributions; Alcala & Qin, Automatica 45, 2009). An offset that the forecast follows
leaves a level that the other channels contradict. A channel that is stuck has no activity.

m, s, the means and the covariance C have the gain g = max(1 − decay, 1/n). From n = 256 on, means and C learn
every fourth sample, with the gain 4g. A sample with a value beyond u·6 standard deviations counts as if it
were nearer to the means, by the factor that makes the value u·6. u grows by 2^(1/8) with each such sample,
and is 1 after any other. So a spike widens nothing, and a lasting change does.

Standard deviations and Ω are computed at n = 4, 8, … 512, and then every 512 samples, with 1/1000 + side·g
added to the diagonal of the correlations. Until then only errors count, in the stream's own units. In zᵀΩz
no |z| is larger than n, because n samples cannot say more: a channel that was flat in the first four has no
width, and one huge distance among the first ones would spoil the reference of the score for long. The
channels are in groups of 16, in order. Channels of different groups count as uncorrelated, so the work is
proportional to the number of channels.

State that all streams share: ``counts`` float64 ``(2,)``: COUNT, LIMIT = 6u. ``means`` float64 ``(values,)``.
``widths`` float64 ``(values,)``: 1/standard deviation. ``covariance`` float64 and ``precision`` float32
``(groups, side, side)``: C and Ω. Channel c of a group has the values 3c, 3c + 1 and 3c + 2 of the group's
side. Of each stream: ``recent`` float64 ``(slots, channels, 2)``: LAST, the last value, NaN before the first;
RECENT, a. ``usual`` float64 ``(slots, channels, 3)``: SAMPLES, MEAN and CHANGE: n, m and s. A sample that is
only watched changes ``recent``, and nothing else.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..simd.elementary import log
from ..simd.lanes import canonical_nan
from ..simd.views import row_of
from . import covariance as covariances
from .contribution import size_of, to_shares
from .patience import GROWTH
from .sizes import GROUP, VALUES

ERROR, LEVEL, ACTIVITY = range(3)
COUNT, LIMIT = range(2)
LAST, RECENT = range(2)
SAMPLES, MEAN, CHANGE = range(3)
THINNED, EVERY = 256.0, 4.0  # means and C learn every fourth sample from the 256th on

_LEAST_LIMIT, _LARGEST_LIMIT = 6.0, 1e30
_UNLIMITED = 16.0  # samples before the first limit
_RESOLUTION = 2.0**-20  # of float32 values, with a margin
_SMALLEST_ACTIVITY = 0.05  # standard deviation of the activity, at least
_LARGEST = 1e15  # of z, at any n
_RIDGE = 1e-3
_RECENT_GAIN = 1.0 / 16.0
_LARGEST_CHANGE = 8.0  # of a recent change, in units of s
_LEAST_CHANGE = 1.0 / 64.0


class Relations(NamedTuple):
    """What all streams share, and memory for one sample."""

    counts: Any  # (2,)
    means: Any  # (values,)
    widths: Any  # (values,)
    covariance: Any  # (groups, side, side)
    precision: Any  # (groups, side, side)
    deviation: Any  # (values,): scratch; the values of the sample minus their means
    vectors: Any  # (2, values): scratch; Z and PRODUCT
    inverse: Any  # (side, side): scratch


Z, PRODUCT = np.int64(0), np.int64(1)  # rows of ``vectors``: z, Ωz


class Own(NamedTuple):
    """What one stream keeps."""

    recent: Any  # (channels, 2)
    usual: Any  # (channels, 3)


@device
def _recent_change(own, c, value):
    """a with the change to ``value``."""
    change, usual = abs(value - own.recent[c, LAST]), own.usual[c, CHANGE]
    if not (change < math.inf):  # the first value, or a missing one
        return own.recent[c, RECENT]
    if usual > 0.0:
        change = min(change, _LARGEST_CHANGE * usual)
    if own.recent[c, RECENT] == 0.0:
        return change
    return own.recent[c, RECENT] + _RECENT_GAIN * (change - own.recent[c, RECENT])


@device
def _first_of(relations, c):
    """Index of the first value of channel ``c``."""
    return (c // GROUP) * relations.covariance.shape[1] + VALUES * (c % GROUP)


@device
def _meaningful(difference, value):
    """A difference from ``value``; 0 if it is below the resolution, or missing."""
    size = abs(difference)
    return difference if size > _RESOLUTION * abs(value) and size < math.inf else 0.0


@device
def _compare(relations, own, c, forecast, value):
    """Write the deviations of channel ``c`` of a sample. A missing value counts as its forecast."""
    deviation, means, usual = relations.deviation, relations.means, own.usual[c, CHANGE]
    level = value if value == value else forecast
    level = _meaningful(level - own.usual[c, MEAN], level) if own.usual[c, SAMPLES] > 0.0 else 0.0
    first = _first_of(relations, c)
    deviation[first + ERROR] = _meaningful(value - forecast, value) - means[first + ERROR]
    deviation[first + LEVEL] = level - means[first + LEVEL]
    deviation[first + ACTIVITY] = 0.0
    if usual > 0.0:
        activity = log(np.float32(_recent_change(own, c, value) / usual + _LEAST_CHANGE))
        deviation[first + ACTIVITY] = np.float64(activity) - means[first + ACTIVITY]


@device
def distance(relations, own, forecast, x, n):
    """Compare row ``n`` of ``x`` with its ``forecast`` ``(channels,)``.

    Return √(zᵀΩz / number of values of the channels present), NaN without a value that has a forecast.
    """
    z, product = row_of(relations.vectors, Z), row_of(relations.vectors, PRODUCT)
    deviation, widths, compared = relations.deviation, relations.widths, 0
    largest = min(relations.counts[COUNT], _LARGEST)
    for c in range(own.recent.shape[0]):
        value, made = np.float64(x[n, c]), np.float64(forecast[c])
        compared += 1 if value == value and abs(made) < math.inf else 0
        _compare(relations, own, c, made, value)
    for i in range(z.size):
        z[i] = np.float32(min(max(deviation[i] * widths[i], -largest), largest))
        product[i] = np.float32(0)
    size, total = relations.precision.shape[1], 0.0
    for c in range(own.recent.shape[0]):
        group, i = c // GROUP, VALUES * (c % GROUP)
        precision, first = row_of(relations.precision, group), group * size
        row0, row1, row2 = row_of(precision, i), row_of(precision, i + 1), row_of(precision, i + 2)
        z0, z1, z2 = z[first + i], z[first + i + 1], z[first + i + 2]
        for j in range(size):
            product[first + j] += z0 * row0[j] + z1 * row1[j] + z2 * row2[j]
    for i in range(z.size):
        total += np.float64(z[i]) * np.float64(product[i])
    root = math.sqrt(max(total, 0.0) / (VALUES * compared)) if compared > 0 else np.nan
    return canonical_nan(np.float32(root))


@device
def write_contribution(relations, forecast, x, n, contribution):
    """Write the share of each channel of row ``n``, after `distance`; NaN without a forecast."""
    for c in range(contribution.size):
        known = x[n, c] == x[n, c] and abs(forecast[c]) < math.inf
        contribution[c] = size_of(math.sqrt(_part(relations, c)) if known else np.nan)
    to_shares(contribution, True)


@device
def _part(relations, c):
    """(Ωz)_Bᵀ (Ω_BB)⁻¹ (Ωz)_B of channel ``c``, by elimination."""
    first, i = _first_of(relations, c), VALUES * (c % GROUP)
    block, product = row_of(relations.precision, c // GROUP), row_of(relations.vectors, PRODUCT)
    p0, p1, p2 = np.float64(product[first]), np.float64(product[first + 1]), np.float64(product[first + 2])
    a00, a01, a02 = np.float64(block[i, i]), np.float64(block[i, i + 1]), np.float64(block[i, i + 2])
    a11, a12 = np.float64(block[i + 1, i + 1]), np.float64(block[i + 1, i + 2])
    a22 = np.float64(block[i + 2, i + 2])
    f1, f2 = a01 / a00, a02 / a00
    a11, a12, a22 = a11 - f1 * a01, a12 - f1 * a02, a22 - f2 * a02
    p1, p2 = p1 - f1 * p0, p2 - f2 * p0
    f2 = a12 / a11
    a22, p2 = a22 - f2 * a12, p2 - f2 * p1
    return max(p0 * p0 / a00 + p1 * p1 / a11 + p2 * p2 / a22, 0.0)


@device
def observe(relations, own, x, n, decay):
    """Add row ``n`` of ``x``, after `distance`. ``decay``: of the past, per sample."""
    counts, deviation, widths = relations.counts, relations.deviation, relations.widths
    counts[COUNT] += 1.0
    count, factor = counts[COUNT], 1.0
    if count > _UNLIMITED:
        largest, limit = 0.0, max(counts[LIMIT], _LEAST_LIMIT)
        for i in range(deviation.size):
            largest = max(largest, abs(deviation[i] * widths[i]))
        counts[LIMIT] = _LEAST_LIMIT
        if largest > limit:
            factor = limit / largest
            counts[LIMIT] = min(limit * GROWTH, _LARGEST_LIMIT)
    for c in range(own.recent.shape[0]):
        _count(own, c, np.float64(x[n, c]), decay, factor)
    gain = max(1.0 - decay, 1.0 / count)
    if count >= THINNED:
        if count % EVERY != 0.0:
            return
        gain = min(EVERY * gain, 1.0)
    _add_to_covariance(relations, gain, factor)
    if covariances.is_due(count):
        for g in range(relations.covariance.shape[0]):
            _invert(relations, g, _RIDGE + relations.covariance.shape[1] * gain)


@device
def _count(own, c, value, decay, factor):
    """Add a value to the means of its channel."""
    if not abs(value) < math.inf:
        return
    usual = own.usual
    usual[c, SAMPLES] += 1.0
    count = usual[c, SAMPLES]
    usual[c, MEAN] += (
        max(1.0 - decay, 1.0 / count) * (factor if count > 1.0 else 1.0) * (value - usual[c, MEAN])
    )
    change = abs(value - own.recent[c, LAST])
    if change < math.inf:
        if count > _UNLIMITED and usual[c, CHANGE] > 0.0:
            change = min(change, _LARGEST_CHANGE * usual[c, CHANGE])
        gain = max(1.0 - decay, 1.0 / max(count - 1.0, 1.0))
        usual[c, CHANGE] += gain * (change - usual[c, CHANGE])


@device
def _add_to_covariance(relations, gain, factor):
    """Add the deviations, times ``factor``, to the means and to C."""
    deviation, size, root = relations.deviation, relations.covariance.shape[1], math.sqrt(gain) * factor
    for i in range(deviation.size):
        relations.means[i] += gain * factor * deviation[i]
        deviation[i] *= root
    for g in range(relations.covariance.shape[0]):
        covariance, first = row_of(relations.covariance, g), g * size
        for i in range(size):
            row, value = row_of(covariance, i), deviation[first + i]
            for j in range(size):
                row[j] = (1.0 - gain) * (row[j] + value * deviation[first + j])


@device
def _invert(relations, g, ridge):
    """Compute standard deviations and Ω of a group."""
    inverse, covariance = relations.inverse, row_of(relations.covariance, g)
    size, first = covariance.shape[0], g * covariance.shape[0]
    for i in range(size):
        width = math.sqrt(max(covariance[i, i], 0.0))
        if i % VALUES == ACTIVITY:
            width = max(width, _SMALLEST_ACTIVITY)
        relations.widths[first + i] = 1.0 / max(width, covariances.SMALLEST_WIDTH)
    covariances.invert(covariance, relations.widths, first, ridge, inverse)
    for i in range(size):
        source, result = row_of(inverse, i), row_of(row_of(relations.precision, g), i)
        for j in range(size):
            result[j] = np.float32(source[j])


@device
def advance(own, x, n):
    """Add row ``n`` of ``x`` to the recent values of its stream."""
    for c in range(own.recent.shape[0]):
        value = np.float64(x[n, c])
        if abs(value) < math.inf:
            own.recent[c, RECENT] = _recent_change(own, c, value)
            own.recent[c, LAST] = value


@device
def clear(own):
    """A new stream begins."""
    for c in range(own.recent.shape[0]):
        own.recent[c, LAST], own.recent[c, RECENT] = np.nan, 0.0
        for i in range(own.usual.shape[1]):
            own.usual[c, i] = 0.0
