"""Drift detection on the scores, which are values in [0, 1]: Page–Hinkley and ADWIN.

Page–Hinkley (Page 1954, "Continuous inspection schemes", as in Gama et al. 2014): m = Σ (x_t − x̄_t ∓ δ). An
alarm is raised if m has moved from its extreme by more than λ, upwards or downwards. The detector then
restarts.

ADWIN (Bifet & Gavaldà 2007): the window is an exponential histogram with buckets of 1, 2, 4, … values, at
most five buckets of each size. It is tested every 32 values. An alarm is raised if some cut divides it into
two parts with means that differ by more than the bound at confidence δ. The window is then emptied, so that
one change raises one alarm.

State: ``page`` float64 ``(6,)``: COUNT … LARGEST. ``window`` float64 ``(4,)``: LENGTH, SUM, SPREAD (which is
Σ(x − mean)²), TICKS. ``buckets`` float64 ``(ROWS, 6, 2)``: sum and spread of each bucket, oldest first.
``sizes`` int64 ``(ROWS,)``: the number of buckets of 2^row values.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device, kernel
from ..simd.elementary import log

PAGE_HINKLEY, ADWIN = 1, 2
DETECTORS = {"page_hinkley": PAGE_HINKLEY, "adwin": ADWIN}

COUNT, MEAN, UP, DOWN, LEAST, LARGEST = range(6)
LENGTH, SUM, SPREAD, TICKS = range(4)
ROWS = 48  # buckets of up to 2⁴⁷ values
MOST = 5  # buckets of one size
_TEST_INTERVAL = 32  # values between two tests of ADWIN
_SHORTEST_WINDOW = 10  # a window must be longer than this to be tested
_SHORTEST_PART = 5  # values in each part of a cut


@device
def _page_hinkley(page, value, delta, threshold):
    page[COUNT] += 1.0
    page[MEAN] += (value - page[MEAN]) / page[COUNT]
    deviation = value - page[MEAN]
    page[UP] += deviation - delta
    page[DOWN] += deviation + delta
    page[LEAST] = min(page[LEAST], page[UP])
    page[LARGEST] = max(page[LARGEST], page[DOWN])
    moved = max(page[UP] - page[LEAST], page[LARGEST] - page[DOWN])
    if page[COUNT] < 30.0 or moved <= threshold:
        return False
    restart(page)
    return True


@device
def restart(page):
    """Reset Page–Hinkley to its initial state."""
    for i in range(page.size):
        page[i] = 0.0
    page[LEAST], page[LARGEST] = math.inf, -math.inf


@device
def _spread_between(n0, sum0, n1, sum1):
    """The spread that the union of two groups adds to their own: n₀n₁/(n₀ + n₁)·(mean₀ − mean₁)²."""
    difference = sum0 / n0 - sum1 / n1
    return n0 * n1 / (n0 + n1) * difference * difference


@device
def _insert(window, buckets, sizes, value):
    if window[LENGTH] > 0.0:
        window[SPREAD] += _spread_between(window[LENGTH], window[SUM], 1.0, value)
    window[LENGTH] += 1.0
    window[SUM] += value
    buckets[0, sizes[0], 0], buckets[0, sizes[0], 1] = value, 0.0
    sizes[0] += 1
    row, values = 0, 1.0
    while sizes[row] > MOST and row + 1 < ROWS:  # merge the two oldest into one of twice the size
        a, b = buckets[row, 0, 0], buckets[row, 1, 0]
        spread = buckets[row, 0, 1] + buckets[row, 1, 1] + _spread_between(values, a, values, b)
        buckets[row + 1, sizes[row + 1], 0], buckets[row + 1, sizes[row + 1], 1] = a + b, spread
        sizes[row + 1] += 1
        _remove_oldest(buckets, sizes, row, 2)
        row, values = row + 1, values * 2.0


@device
def _remove_oldest(buckets, sizes, row, count):
    """Remove the ``count`` oldest buckets of one size."""
    sizes[row] -= count
    for k in range(sizes[row]):
        buckets[row, k, 0], buckets[row, k, 1] = buckets[row, k + count, 0], buckets[row, k + count, 1]


@device
def _has_cut(window, buckets, sizes, delta):
    """Whether some cut gives two parts with means that differ by more than the bound ε_cut."""
    length = window[LENGTH]
    confidence = np.float64(log(np.float32(2.0 * np.float64(log(np.float32(length))) / delta)))
    variance = max(window[SPREAD], 0.0) / length
    n0, sum0 = 0.0, 0.0
    for row in range(ROWS - 1, -1, -1):
        values = float(np.int64(1) << row)
        for k in range(sizes[row]):
            n0 += values
            sum0 += buckets[row, k, 0]
            n1 = length - n0
            if n0 < _SHORTEST_PART or n1 < _SHORTEST_PART:
                continue
            m = 1.0 / (n0 - _SHORTEST_PART + 1.0) + 1.0 / (n1 - _SHORTEST_PART + 1.0)
            bound = math.sqrt(2.0 * m * variance * confidence) + 2.0 / 3.0 * confidence * m
            if abs(sum0 / n0 - (window[SUM] - sum0) / n1) > bound:
                return True
    return False


@device
def _adwin(window, buckets, sizes, value, delta):
    _insert(window, buckets, sizes, value)
    window[TICKS] += 1.0
    if window[TICKS] % _TEST_INTERVAL != 0.0 or window[LENGTH] <= _SHORTEST_WINDOW:
        return False
    if not _has_cut(window, buckets, sizes, delta):
        return False
    for i in range(window.size):
        window[i] = 0.0
    for row in range(ROWS):
        sizes[row] = 0
        for k in range(MOST + 1):
            buckets[row, k, 0], buckets[row, k, 1] = 0.0, 0.0
    return True


@kernel("void(f4[::1], i8[::1], i8, f8, f8, f8[::1], f8[::1], f8[:,:,::1], i8[::1], i8[::1], b1[::1])")
def detect(
    scores,  # (n,): NaN for a sample without a score
    sample,  # (n,): numbers of the samples
    detector,
    delta,
    threshold,
    page,  # (6,)
    window,  # (4,)
    buckets,  # (ROWS, MOST + 1, 2)
    sizes,  # (ROWS,)
    alarms,  # (2,): number of alarms; number of the sample of the last alarm
    drift,  # (n,)
):
    """Process the scores in order. Write to ``drift`` whether each sample raises an alarm."""
    for n in range(scores.size):
        drift[n] = False
        value = np.float64(scores[n])
        if value == value:
            if detector == PAGE_HINKLEY:
                drift[n] = _page_hinkley(page, value, delta, threshold)
            else:
                drift[n] = _adwin(window, buckets, sizes, value, delta)
            if drift[n]:
                alarms[0] += 1
                alarms[1] = sample[n]
