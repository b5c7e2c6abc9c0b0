"""How far each channel is from what the model and the other channels let expect.

Let r be the differences between a sample and what the model expected of it, z the r in standard deviations
from their means, and Ω the inverse of the correlation matrix of z. The deviation of channel c is

    u_c = (Ωz)_c/√Ω_cc

which is z_c less its best linear estimate from the other channels, in standard deviations (partial
residuals). If channels move together and a coarse map does not resolve the movement, all z are large and no u
is. If one channel moves alone, its u is large, although the winner may follow it.

The evidence compares two values with their recent ones:

    of one      max |u_c|
    lasting     max |y_c|, where y_c is the mean of u_c over about eight samples, with its sign

u_c is cut to three times the usual limit of max |u_c| before it joins y_c: one large deviation is not a
lasting one. A missing channel has z = 0, and its y stays.

Means and the covariance of r have the gain max(1/4000, 1/n) and learn from one sample in four from n = 256 on
(``evidence.py``). No |r| is larger than 2¹⁰⁰, and no |z| larger than n. A sample with |z| above 6·2^(k/8),
after k such samples in a row, counts as if it were nearer (``patience.py``). There is a matrix for each 16
channels, in order; channels of different matrices count as uncorrelated.

State that all streams share: ``moments`` float32 ``(2·groups, 16)``: the means, then 1/standard deviation.
``covariance`` float64 ``(groups, side, columns)``: C ← (1 − g)·(C + g·v·vᵀ) with the gain g and the
difference v of a sample from the means; the columns are a multiple of 8. ``weights`` float32
``(groups, side, 16)``: Ω_jc/√Ω_cc in row j, lane c. COUNT and LIMIT are in the row OF_COUNTS of
``references`` (``evidence.py``). Of each stream: ``lasting`` float32 ``(slots, groups, 16)``: y.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..simd.lanes import WIDTH, absolute, anywhere, fma, iota, load, lowest, select, splat, store, zero
from ..simd.partial import load_part
from ..simd.views import row_of
from . import covariance as covariances
from .evidence import EVERY, follows_some
from .patience import GROWTH

COUNT, LIMIT = 0, 1
GROUP = WIDTH  # channels
LARGEST = np.float32(1e3)  # deviation that joins the lasting one, at first
BLOCKS = 4  # of ``vectors``
U, SEEN, Z, DIFFERENCE = range(BLOCKS)
LASTING = BLOCKS

_AT_ONCE = 8  # columns
_THINNED, _LEAST_GAIN = 256.0, 1.0 / 4000.0
_LASTING_GAIN = np.float32(1 / 8)
_LEAST_LIMIT, _LARGEST_LIMIT = 6.0, 1e30
_UNLIMITED = 16.0  # samples before the first limit
_RESOLUTION = np.float32(2.0**-20)  # of float32 values, with a margin
_RIDGE = 1e-3
_LARGEST_Z = 1e15
_LARGEST_DIFFERENCE = np.float32(
    2.0**100
)  # the difference of two of them, and its square in float64, are finite
_0, _1, _INF = np.float32(0), np.float32(1), np.float32(np.inf)


class Deviations(NamedTuple):
    """The state, and memory for one sample."""

    counts: Any  # (SIZE,)
    moments: Any  # (2·groups, 16)
    covariance: Any  # (groups, side, columns)
    weights: Any  # (groups, side, 16)
    lasting: Any  # (slots, groups, 16)
    scratch: Any  # (side + 1, columns): an inverse; a row. First 0
    vectors: Any  # (BLOCKS·groups, 16): U …, of the sample that was compared last


def side(channels: int) -> int:
    """Return the number of channels of a group."""
    return min(channels, GROUP)


def columns(channels: int) -> int:
    """Return the number of columns of the covariance of a group."""
    return -(-side(channels) // _AT_ONCE) * _AT_ONCE


def groups(channels: int) -> int:
    """Return the number of groups."""
    return -(-channels // GROUP)


@device
def _cut(values, most):
    """Values within ±``most``."""
    return select(values > most, splat(most), select(values < -most, splat(-most), values))


@device
def compare(deviations, x, expected, n):
    """Write u of row ``n`` of ``x``, which the model ``expected``. Return whether there is any."""
    found, groups = False, deviations.covariance.shape[0]
    most = np.float32(min(deviations.counts[COUNT], _LARGEST_Z))
    for g in range(groups):
        value = load_part(x, n, g * GROUP)
        difference = value - load_part(expected, n, g * GROUP)
        inside = iota() < splat(np.float32(x.shape[1] - g * GROUP))
        seen = select(absolute(difference) < _INF, select(inside, splat(_1), zero()), zero())
        found |= anywhere(seen > _0)
        difference = _cut(difference, _LARGEST_DIFFERENCE)
        difference = select(absolute(difference) > _RESOLUTION * absolute(value), difference, zero())
        _compare_group(deviations, g, select(seen > _0, difference, splat(_INF)), most)
    return found


@device
def _compare_group(deviations, g, difference, most):
    """Write z and u of a group. ``difference``: r, infinite if missing. ``most``: the largest |z|."""
    vectors, moments, weights = deviations.vectors, deviations.moments, row_of(deviations.weights, g)
    groups, side = deviations.covariance.shape[0], weights.shape[0]
    seen = difference < _INF
    difference = select(seen, difference - load(moments, g), zero())
    z = difference * load(moments, groups + g)
    z = _cut(z, most)
    store(vectors, DIFFERENCE * groups + g, difference)
    store(vectors, Z * groups + g, z)
    store(vectors, SEEN * groups + g, select(seen, splat(_1), zero()))
    of_z, even, odd = row_of(vectors, Z * groups + g), zero(), zero()
    for j in range(0, side - 1, 2):
        even = fma(splat(of_z[j]), load(weights, j), even)
        odd = fma(splat(of_z[j + 1]), load(weights, j + 1), odd)
    if side % 2 == 1:
        even = fma(splat(of_z[side - 1]), load(weights, side - 1), even)
    store(vectors, U * groups + g, select(seen, even + odd, zero()))


@device
def largest(deviations, slot, cut):
    """max |u_c| of the sample that was compared last. Add it to y, with |u| ≤ ``cut``; max |y_c|."""
    largest, lasting, groups = zero(), zero(), deviations.covariance.shape[0]
    means, most = row_of(deviations.lasting, slot), splat(np.float32(cut))
    for g in range(groups):
        u, y = load(deviations.vectors, g), load(means, g)
        size = absolute(u)
        largest = select(size > largest, size, largest)
        u = select(size > most, select(u > zero(), most, -most), u)
        y = fma(_LASTING_GAIN * load(deviations.vectors, SEEN * groups + g), u - y, y)
        store(means, g, y)
        size = absolute(y)
        lasting = select(size > lasting, size, lasting)
    return np.float64(-lowest(-largest)), np.float64(-lowest(-lasting))


@device
def squared(deviations, which, slot, c):
    """The square of channel ``c``: U or Z of the sample that was compared last, or y after it (LASTING)."""
    if which == LASTING:
        value = np.float64(deviations.lasting[slot, c // GROUP, c % GROUP])
    else:
        value = np.float64(deviations.vectors[which * deviations.covariance.shape[0] + c // GROUP, c % GROUP])
    return value * value


@device
def observe(deviations):
    """Add the sample that was compared last to the means and the covariance."""
    counts, groups, vectors = deviations.counts, deviations.covariance.shape[0], deviations.vectors
    counts[COUNT] += 1.0
    count, factor = counts[COUNT], 1.0
    if count > _UNLIMITED:
        most, limit = _0, max(counts[LIMIT], _LEAST_LIMIT)
        for g in range(groups):
            most = max(most, -lowest(-absolute(load(vectors, Z * groups + g))))
        counts[LIMIT] = _LEAST_LIMIT
        if most > limit:
            factor = limit / np.float64(most)
            counts[LIMIT] = min(limit * GROWTH, _LARGEST_LIMIT)
    if count >= _THINNED and not follows_some(np.int64(count)):
        return
    gain = 1.0 / count if count < 1.0 / _LEAST_GAIN else _LEAST_GAIN
    if count >= _THINNED:
        gain *= EVERY
    for g in range(groups):
        _add(deviations, g, gain, factor)
        if covariances.is_due(count):
            _invert(deviations, g, _RIDGE + deviations.covariance.shape[1] * gain)


@device
def _add(deviations, g, gain, factor):
    """Add the differences from the means to the moments of a group."""
    moments, groups, side = deviations.moments, deviations.covariance.shape[0], deviations.covariance.shape[1]
    difference, root = row_of(deviations.vectors, DIFFERENCE * groups + g), math.sqrt(gain) * factor
    step = fma(np.float32(gain * factor), load(deviations.vectors, DIFFERENCE * groups + g), load(moments, g))
    store(moments, g, step)
    row = row_of(deviations.scratch, side)
    for c in range(side):
        row[c] = root * np.float64(difference[c])
    for i in range(side):
        covariance, value = row_of(row_of(deviations.covariance, g), i), row[i]
        for first in range(0, covariance.size, _AT_ONCE):
            for j in range(_AT_ONCE):
                covariance[first + j] = (1.0 - gain) * (covariance[first + j] + value * row[first + j])


@device
def _invert(deviations, g, ridge):
    """Compute the widths and the weights of a group."""
    covariance, scratch = row_of(deviations.covariance, g), deviations.scratch
    side, weights = covariance.shape[0], row_of(deviations.weights, g)
    widths, scale = row_of(scratch, side), row_of(deviations.moments, deviations.covariance.shape[0] + g)
    for c in range(side):
        widths[c] = 1.0 / max(math.sqrt(max(covariance[c, c], 0.0)), covariances.SMALLEST_WIDTH)
        scale[c] = np.float32(widths[c])
    covariances.invert(covariance, widths, 0, ridge, scratch)
    for c in range(side):
        root = 1.0 / math.sqrt(scratch[c, c])
        for j in range(side):
            weights[j, c] = np.float32(scratch[j, c] * root)


@device
def clear(deviations, slot):
    """A new stream begins."""
    means = row_of(deviations.lasting, slot)
    for g in range(means.shape[0]):
        store(means, g, zero())
