"""A linear read-out of all horizons that learns by recursive least squares (Haykin, Adaptive Filter Theory).

    e = y − W z
    u_h = e_h, cut to ± κσ_h;   w = mean_h min(1, κσ_h/|e_h|)
    g = 1/(λ + w·zᵀPz)
    W ← W + g·u (Pz)ᵀ
    P ← (P − w·g·Pz (Pz)ᵀ)/λ

One P serves all horizons. The weight w joins both lines: if an error were cut but P learned the sample in
full, P would shrink where W did not follow, and the errors would stay large for thousands of samples.
σ_h is the running mean of |e_h|. Until there are pairs to take it from, errors are not cut.

λ < 1 lets P grow where the stream excites nothing. So λ = 1 in a step whose trace(P) is at or above that of
the start, I/δ. Every entry of P and the entry opposite it are computed by the same operations, so P stays
symmetric to the last bit. If zᵀPz is not a positive number, P starts again at I/δ, which is counted.
"""

from __future__ import annotations

import math

from ..compiler import device
from ..simd.views import row_of
from .records import LEARNED, RESTARTS

_UNCUT_PAIRS = 50  # pairs whose errors are not cut
_ERROR_GAIN = 0.002  # of σ, per pair
_LARGEST_ERROR = 6.0  # an error counts in σ up to this many times σ
_TINY = 1e-300  # ∞ times 0 is NaN
_FULL = 1.0 - 1e-9  # of the trace at the start, whose sum is rounded
SMALLEST_ERROR = 0.02  # lower bound of κσ, in units of s: else σ = 0 would stay for ever


@device
def forecast(read_out, z, found):
    """Write W z to ``found`` ``(horizon,)``."""
    for h in range(found.size):
        found[h] = 0.0
    for j in range(z.size):
        weights, value = row_of(read_out.weights, j), z[j]
        for h in range(found.size):
            found[h] += weights[h] * value


@device
def cut_errors(read_out, clip, errors, cut):
    """Write the errors that count to ``cut``, and update σ. Return w. NaN errors count nothing."""
    sizes, pairs = read_out.error_size, read_out.pairs[LEARNED]
    weight = 0.0
    for h in range(errors.size):
        size, limit = abs(errors[h]), math.inf
        cut[h] = 0.0
        if not size < math.inf:
            continue
        gain, largest = max(1.0 / (pairs + 1), _ERROR_GAIN), math.inf
        if pairs >= _UNCUT_PAIRS:
            limit = max(clip * max(sizes[h], _TINY), SMALLEST_ERROR)
            largest = max(_LARGEST_ERROR * sizes[h], SMALLEST_ERROR)
        cut[h] = min(max(errors[h], -limit), limit)
        weight += limit / size if size > limit else 1.0
        sizes[h] += gain * (min(size, largest) - sizes[h])
    return weight / errors.size


@device
def learn(read_out, forgetting, ridge, z, cut, weight, gain):
    """Move W by the errors ``cut``, and P by their weight. ``gain`` ``(features,)``: scratch."""
    covariance = read_out.covariance
    for i in range(z.size):
        gain[i] = 0.0
    trace = 0.0
    for j in range(z.size):
        row, value = row_of(covariance, j), z[j]
        trace += row[j]
        for i in range(z.size):
            gain[i] += row[i] * value
    power = 0.0
    for j in range(z.size):
        power += z[j] * gain[j]
    if not 0.0 <= power < math.inf:
        restart(covariance, ridge)
        read_out.pairs[RESTARTS] += 1
        return
    if trace > _FULL * z.size / ridge:
        forgetting = 1.0
    g = 1.0 / (forgetting + weight * power)
    for j in range(z.size):
        weights, step = row_of(read_out.weights, j), g * gain[j]
        for h in range(cut.size):
            weights[h] += step * cut[h]
    root, grow = math.sqrt(weight * g), 1.0 / forgetting
    for i in range(z.size):
        gain[i] *= root
    for j in range(z.size):
        row, value = row_of(covariance, j), gain[j]
        for i in range(z.size):
            row[i] = (row[i] - value * gain[i]) * grow
    read_out.pairs[LEARNED] += 1


@device
def restart(covariance, ridge):
    """Set P to I/δ."""
    for j in range(covariance.shape[0]):
        row = row_of(covariance, j)
        for i in range(row.size):
            row[i] = 0.0
        row[j] = 1.0 / ridge
