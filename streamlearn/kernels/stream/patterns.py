"""Patterns: samples that a person called normal, or a fault with a name.

The distance between a sample and a pattern is the root mean square, over the channels that both have, of
their difference in widths of the channel: its mean absolute deviation from its running mean. A sample within
the pattern's radius is that pattern. Of several, it is the one with the least distance per radius.

The first sample and the peak of the last eight alarms are kept, so that a person can name them by their
numbers.

State: ``channels`` float64 ``(3, dim)``: COUNT, CENTRE, WIDTH. ``values`` float32 ``(PATTERNS, dim)``,
``verdicts`` float64 ``(PATTERNS, 3)``: VERDICT … ORDER. ``kept`` float32 ``(KEPT_ROWS, dim)``,
``kept_numbers`` int64 ``(KEPT_ROWS + 1,)``: the number of the sample of each row, −1 for none; then the
number of alarms that were kept.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from .evidence import follows_some

PATTERNS = 16
NAME_BYTES = 32
KEPT_ALARMS = 8
KEPT_ROWS = 2 * KEPT_ALARMS

COUNT, CENTRE, WIDTH = 0, 1, 2
VERDICT, RADIUS, ORDER = 0, 1, 2
FREE, NORMAL, FAULT = 0, 1, 2

_YOUNG = 256  # then one sample in four counts
_MEMORY = 1000.0  # samples that count
_LEAST_GAIN = 1.0 / _MEMORY
_CLIP = 6.0  # in widths
_LARGEST = 1e150  # its square is finite


class Known(NamedTuple):
    """The state, see above."""

    channels: Any
    values: Any
    verdicts: Any
    kept: Any
    kept_numbers: Any


@device
def exist(known):
    """Whether there is any pattern."""
    count = 0
    for p in range(PATTERNS):
        count += known.verdicts[p, VERDICT] != FREE
    return count > 0


@device
def observe(known, x, n, number):
    """Add row ``n`` of ``x``, which is sample ``number``, to the means and the widths of the channels."""
    if number >= _YOUNG and not follows_some(number):
        return
    channels = known.channels
    for d in range(x.shape[1]):
        value = np.float64(x[n, d])
        if not (value == value):
            continue
        count, width = channels[COUNT, d] + 1.0, channels[WIDTH, d]
        deviation = value - channels[CENTRE, d]
        if count > 16.0 and width > 0.0:
            deviation = max(-_CLIP * width, min(_CLIP * width, deviation))
        gain = 1.0 / count if count < _MEMORY else _LEAST_GAIN  # a division takes longer than all the rest
        if count == 1.0:
            channels[CENTRE, d], deviation = value, 0.0
        channels[COUNT, d] = count
        channels[CENTRE, d] += gain * deviation
        channels[WIDTH, d] += gain * (abs(deviation) - width)


@device
def nearest(known, x, n):
    """The pattern that row ``n`` of ``x`` is; −1: none."""
    found, least = -1, 1.0
    for p in range(PATTERNS):
        radius = known.verdicts[p, RADIUS]
        if known.verdicts[p, VERDICT] == FREE or radius <= 0.0:
            continue
        ratio = distance(known, p, x, n) / radius
        if ratio <= least:
            found, least = p, ratio
    return found


@device
def distance(known, p, x, n):
    """The distance between pattern ``p`` and row ``n`` of ``x``; infinite without a common channel."""
    total, count = 0.0, 0
    for d in range(x.shape[1]):
        difference = np.float64(x[n, d]) - np.float64(known.values[p, d])
        if difference == difference:
            width = known.channels[WIDTH, d]
            count += 1
            if difference != 0.0:
                widths = min(abs(difference) / width, _LARGEST) if width > 0.0 else _LARGEST
                total += widths * widths
    return math.sqrt(total / count) if count > 0 else math.inf


@device
def keep_next(known, x, n, number):
    """Keep the first sample of an alarm in place of the oldest one. Return its row."""
    row = 2 * (known.kept_numbers[KEPT_ROWS] % KEPT_ALARMS)
    known.kept_numbers[KEPT_ROWS] += 1
    known.kept_numbers[row + 1] = -1
    keep(known, row, x, n, number)
    return row


@device
def keep(known, row, x, n, number):
    """Keep row ``n`` of ``x``, which is sample ``number``."""
    known.kept_numbers[row] = number if n < x.shape[0] else -1
    if n < x.shape[0]:
        for d in range(x.shape[1]):
            value = x[n, d]
            known.kept[row, d] = value if value == value else np.float32(np.nan)  # one bit pattern
