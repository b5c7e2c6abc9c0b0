"""Drift detection on the distances or errors of a model. ``level.py`` defines the blocks and their reference.

BLOCKS: the CUSUM of the reference itself. The other two detectors process z of each block mean, while the
reference is settled. They begin again with the reference.

Page–Hinkley (Page 1954, "Continuous inspection schemes", as in Gama et al. 2014): m = Σ (z_t − z̄_t ∓ δ). An
alarm is raised if m has moved from its extreme by more than λ. The detector then restarts.

ADWIN (Bifet & Gavaldà 2007) on (z + 6)/12, which is in [0, 1]: the window is an exponential histogram with
buckets of 1, 2, 4, … values, at most five buckets of each size. An alarm is raised if some cut divides it
into two parts with means that differ by more than the bound at confidence δ. The window is then emptied, so
that one change raises one alarm.

Only a rise raises an alarm, unless ``both`` is true.

State: ``block`` and ``reference``: see ``level.py``. ``page`` float64 ``(6,)``: COUNT … LARGEST. ``window``
float64 ``(3,)``: LENGTH, SUM, SPREAD (which is Σ(x − mean)²). ``buckets`` float64 ``(ROWS, 6, 2)``: sum and
spread of each bucket, oldest first. ``sizes`` int64 ``(ROWS,)``: the number of buckets of 2^row values.
``alarms`` int64 ``(3,)``: number of alarms; number of the sample of the last alarm, −1 for none; whether the
model has not yet reacted to the last rise.

A call takes time for each array among its arguments. So these are parts of two: ``values`` float64 has block
and reference, then page, or window and buckets; ``counts`` int64 has alarms, then sizes.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compiler import device, kernel
from ..simd.elementary import log
from ..simd.parts import part_of
from . import level
from .level import FALLEN, RISEN, Test

BLOCKS, PAGE_HINKLEY, ADWIN = range(3)
DETECTORS = {"blocks": BLOCKS, "page_hinkley": PAGE_HINKLEY, "adwin": ADWIN}

COUNT, MEAN, UP, DOWN, LEAST, LARGEST = range(6)
LENGTH, SUM, SPREAD = range(3)
ALARMS, LAST, PENDING = range(3)
# Settings: the detector, then the blocks and their test (see level.py)
KIND, DELTA, THRESHOLD, BOTH, SIZE, REST, ALLOWANCE, LIMIT = range(8)
SETTINGS = 8
ROWS = 48  # buckets of up to 2⁴⁷ values
MOST = 5  # buckets of one size
BLOCK, OWN = 2, 2 + level.SIZE  # in ``values``: the reference begins, what belongs to one detector begins
PAGE, WINDOW, BUCKETS, COUNTS = 6, 3, (ROWS, MOST + 1, 2), 3  # sizes and shapes of the parts
_SHORTEST_WINDOW = 10  # a window must be longer than this to be tested
_SHORTEST_PART = 5  # values in each part of a cut


class Detector(NamedTuple):
    """The settings of the detector and its state. Arrays of other detectors do not exist."""

    settings: Any  # (8,): KIND … LIMIT
    block: Any  # (2,)
    reference: Any  # (16,)
    page: Any  # (6,)
    window: Any  # (3,)
    buckets: Any  # (ROWS, MOST + 1, 2)
    sizes: Any  # (ROWS,)
    alarms: Any  # (3,)


@device
def page_hinkley(detector, value):
    """Process a value. Returns whether it raises an alarm."""
    page, delta = detector.page, detector.settings[DELTA]
    page[COUNT] += 1.0
    page[MEAN] += (value - page[MEAN]) / page[COUNT]
    deviation = value - page[MEAN]
    page[UP] += deviation - delta
    page[DOWN] += deviation + delta
    page[LEAST] = min(page[LEAST], page[UP])
    page[LARGEST] = max(page[LARGEST], page[DOWN])
    moved = page[UP] - page[LEAST]
    if detector.settings[BOTH] > 0.0:
        moved = max(moved, page[LARGEST] - page[DOWN])
    if page[COUNT] < 30.0 or moved <= detector.settings[THRESHOLD]:
        return False
    _restart_page(page)
    return True


@device
def _restart_page(page):
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
def _has_cut(detector):
    """Whether some cut gives two parts with means that differ by more than the bound ε_cut."""
    delta, both = detector.settings[DELTA], detector.settings[BOTH] > 0.0
    window, buckets, sizes = detector.window, detector.buckets, detector.sizes
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
            rise = (window[SUM] - sum0) / n1 - sum0 / n0
            if rise > bound or (both and -rise > bound):
                return True
    return False


@device
def _restart_window(window, buckets, sizes):
    for i in range(window.size):
        window[i] = 0.0
    for row in range(sizes.size):
        sizes[row] = 0
        for k in range(MOST + 1):
            buckets[row, k, 0], buckets[row, k, 1] = 0.0, 0.0


@device
def adwin(detector, value):
    """Process a value. Returns whether it raises an alarm."""
    window, buckets, sizes = detector.window, detector.buckets, detector.sizes
    _insert(window, buckets, sizes, value)
    if window[LENGTH] <= _SHORTEST_WINDOW or not _has_cut(detector):
        return False
    _restart_window(window, buckets, sizes)
    return True


@device
def _restart(detector):
    """Restart the detector without an alarm."""
    if detector.settings[KIND] == PAGE_HINKLEY:
        _restart_page(detector.page)
    elif detector.settings[KIND] == ADWIN:
        _restart_window(detector.window, detector.buckets, detector.sizes)


@device
def _test(detector, reference, mean, test):
    """Process a block mean. Return whether it raises an alarm, and whether that is a rise."""
    settled = level.is_settled(reference, test)
    change, z = level.observe(reference, mean, test)
    if not settled:
        return False, False
    rise = change == RISEN
    if detector.settings[KIND] == PAGE_HINKLEY:
        rise = page_hinkley(detector, z)
    elif detector.settings[KIND] == ADWIN:
        rise = adwin(detector, (z + level.CUT) / (2.0 * level.CUT))
    if rise:
        level.report(reference, mean)
    elif change == FALLEN:
        _restart(detector)
    return rise or ((detector.settings[BOTH] > 0.0) and change == FALLEN), rise and z > 0.0


@device
def observe(detector, value, number):
    """Process the distance or error of sample ``number``. Return whether it raises an alarm."""
    if not (value < math.inf):  # NaN and infinity
        return False
    level.add(detector.block, np.float64(value))
    if detector.block[level.VALUES] < detector.settings[SIZE]:
        return False
    settings = detector.settings
    test = Test(settings[REST], settings[ALLOWANCE], settings[LIMIT])
    alarm, rise = _test(detector, detector.reference, level.take_mean(detector.block), test)
    if alarm:
        detector.alarms[ALARMS] += 1
        detector.alarms[LAST] = number
    if rise:
        detector.alarms[PENDING] = 1
    return alarm


@device
def detector_of(settings, values, counts):
    """The detector with its arrays. All are parts: an argument must not be returned within a tuple."""
    return Detector(
        part_of(settings, 0, (SETTINGS,)),
        part_of(values, 0, (BLOCK,)),
        part_of(values, BLOCK, (level.SIZE,)),
        part_of(values, OWN, (PAGE,)),
        part_of(values, OWN, (WINDOW,)),
        part_of(values, OWN + WINDOW, BUCKETS),
        part_of(counts, COUNTS, (ROWS,)),
        part_of(counts, 0, (COUNTS,)),
    )


@kernel("void(f8[::1], f8[::1], i8[::1], f4[::1], i8, i8[::1], b1[::1])")
def detect(
    settings,  # (8,): KIND … LIMIT
    values,  # state
    counts,  # state
    # Samples
    distances,  # (n,): distances or errors; NaN for a sample without one
    first,  # number of the first sample
    samples,  # (n,): numbers of the samples; (0,): they count on from ``first``
    # Output
    drift,  # (n,)
):
    """Process the distances in order. Write to ``drift`` whether each sample raises an alarm."""
    detector = detector_of(settings, values, counts)
    for n in range(distances.size):
        drift[n] = observe(detector, distances[n], samples[n] if samples.size > 0 else first + n)
