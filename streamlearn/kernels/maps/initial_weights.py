"""Initial weights from the first m samples of a stream. The samples are stored raw and scaled at the m-th.

    range    w_jc uniform between the minimum and the maximum of channel c
    samples  w_j = x_⌊j·m/units⌋: samples at even distances
    pca      w_j = x̄ + a_j·√λ₁·v₁ + b_j·√λ₂·v₂, (a_j, b_j) ∈ [−1, 1]² the position of unit j on the grid, λ
             and v the two largest variances of the samples and their directions (principal components)

Missing values do not enter minimum, maximum and mean. Elsewhere the mean of the channel replaces a missing
value. A channel without any value is 0.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import allocating_device, device, kernel
from ..simd.groups import GROUP
from ..simd.lanes import canonical_nan
from ..simd.splitmix import uniform
from ..stream import scaling
from ..stream.scaling import Scaling
from .sizes import ROUNDS

RANGE, SAMPLES, PCA = 0, 1, 2
RULES = {"range": RANGE, "samples": SAMPLES, "pca": PCA}

_CONVERGED = 1e-20  # |change|² of a direction
_RANK_TOLERANCE = 1e-12  # a direction that orthogonalization shortens by more than this is rounding noise
_LARGER = 1.000001  # elements within this factor count as equal, so that rounding does not decide the sign
_LARGEST = float(np.finfo(np.float32).max)


@device
def _set_weight(weights, j, c, value):
    weights[j // GROUP, c, j % GROUP] = np.float32(min(max(value, -_LARGEST), _LARGEST))


@device
def _means(scaled, centre):
    """Write each channel's mean over its present values to ``centre``; 0 if it has none."""
    for c in range(centre.size):
        total, count = 0.0, 0
        for n in range(scaled.shape[0]):
            if scaled[n, c] == scaled[n, c]:
                total += np.float64(scaled[n, c])
                count += 1
        centre[c] = total / max(count, 1)


@allocating_device
def _fill_range(scaled, centre, random, units, weights):
    low, high = centre.copy(), centre.copy()
    for n in range(scaled.shape[0]):
        for c in range(centre.size):
            value = np.float64(scaled[n, c])
            if value == value:
                low[c], high[c] = min(low[c], value), max(high[c], value)
    for j in range(units):
        for c in range(centre.size):
            value = low[c] + (high[c] - low[c]) * np.float64(uniform(random))
            _set_weight(weights, j, c, min(value, high[c]))


@device
def _fill_samples(scaled, centre, units, weights):
    for j in range(units):
        n = j * scaled.shape[0] // units
        for c in range(centre.size):
            value = np.float64(scaled[n, c])
            _set_weight(weights, j, c, value if value == value else centre[c])


@device
def _apply_covariance(deviations, direction, out):
    """out = XᵀX·direction, X the ``deviations`` (m, dim); returns |X·direction|². Needs no (dim, dim)
    matrix."""
    for d in range(out.size):
        out[d] = 0.0
    squares = 0.0
    for n in range(deviations.shape[0]):
        along = 0.0
        for c in range(out.size):
            along += deviations[n, c] * direction[c]
        squares += along * along
        for c in range(out.size):
            out[c] += along * deviations[n, c]
    return squares


@device
def _orthonormalise(direction, earlier, known):
    """Make ``direction`` orthogonal to the first ``known`` rows of ``earlier`` (2, dim) and of length 1; 0 if
    it depends on them."""
    for _ in range(2):  # twice: rounding in the first pass may dominate the remainder
        whole = 0.0
        for c in range(direction.size):
            whole += direction[c] * direction[c]
        for k in range(known):
            along = 0.0
            for c in range(direction.size):
                along += direction[c] * earlier[k, c]
            for c in range(direction.size):
                direction[c] -= along * earlier[k, c]
        rest = 0.0
        for c in range(direction.size):
            rest += direction[c] * direction[c]
        length = math.sqrt(rest)
        independent = length > _RANK_TOLERANCE * math.sqrt(whole)
        for c in range(direction.size):
            direction[c] = direction[c] / length if independent else 0.0


@allocating_device
def _component(deviations, axes, k, random):
    """Write principal component ``k`` to ``axes[k]`` by power iteration, given components 0 … k − 1; returns
    √λ.

    The element of the largest magnitude is positive; among equal ones the first.
    """
    axis, following = axes[k], np.empty(axes.shape[1])
    for c in range(axis.size):
        axis[c] = np.float64(uniform(random)) - 0.5
    _orthonormalise(axis, axes, k)
    for _ in range(ROUNDS):
        _apply_covariance(deviations, axis, following)
        _orthonormalise(following, axes, k)
        change = 0.0
        for c in range(axis.size):
            change += (following[c] - axis[c]) * (following[c] - axis[c])
            axis[c] = following[c]
        if change < _CONVERGED:
            break
    squares = _apply_covariance(deviations, axis, following)
    largest = 0
    for c in range(axis.size):
        if abs(axis[c]) > _LARGER * abs(axis[largest]):
            largest = c
    if axis[largest] < 0.0:
        for c in range(axis.size):
            axis[c] = -axis[c]
    return math.sqrt(squares / deviations.shape[0])


@allocating_device
def _fill_plane(scaled, centre, places, weights):
    deviations = np.zeros(scaled.shape)
    for n in range(scaled.shape[0]):
        for c in range(centre.size):
            if scaled[n, c] == scaled[n, c]:
                deviations[n, c] = np.float64(scaled[n, c]) - centre[c]
    random = np.zeros(1, np.uint64)  # fixed seed: any start that is not orthogonal to the result will do
    axes, spread = np.zeros((2, centre.size)), np.zeros(2)
    for k in range(2):
        spread[k] = _component(deviations, axes, k, random)
    for j in range(places.shape[0]):
        for c in range(centre.size):
            along = places[j, 0] * spread[0] * axes[0, c] + places[j, 1] * spread[1] * axes[1, c]
            _set_weight(weights, j, c, centre[c] + along)


@kernel(
    "i8(f4[:,::1], i8[::1], f4[:,::1], i8[::1], f8[:,::1], i8, f8, f8,"
    " i8, i8, u8[::1], f8[:,::1], f4[:,:,::1])",
    allocates=True,
)
def collect(
    x,  # (n, dim)
    samples,  # (1,)
    held,  # (m, dim)
    count,  # (1,), fewer than m
    statistics,  # (rows, dim): see scaling.py
    method,
    scale_clip,
    decay,
    rule,
    units,  # number of units to initialize
    random,  # (1,)
    places,  # pca: (units, 2)
    weights,  # (groups, dim, 64)
):
    """Store samples until there are m, and then set the weights. Returns the number of samples stored."""
    scale = Scaling(method, statistics, scale_clip)
    taken = min(x.shape[0], held.shape[0] - count[0])
    for n in range(taken):
        for c in range(x.shape[1]):
            held[count[0], c] = canonical_nan(x[n, c])
        scaling.update(scale, decay, x, n)
        count[0] += 1
        samples[0] += 1
    if count[0] == held.shape[0]:
        scaled = np.empty(held.shape, np.float32)
        for n in range(held.shape[0]):
            scaling.transform(scale, held, n, scaled[n])
        centre = np.empty(x.shape[1])
        _means(scaled, centre)
        if rule == RANGE:
            _fill_range(scaled, centre, random, units, weights)
        elif rule == SAMPLES:
            _fill_samples(scaled, centre, units, weights)
        else:
            _fill_plane(scaled, centre, places, weights)
    return taken
