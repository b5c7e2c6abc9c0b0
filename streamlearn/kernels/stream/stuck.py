"""Channels that are stuck: one value is repeated far longer than the channel ever repeats one.

Each channel keeps the length of its current run of equal values, and the longest run that it ever had. The
longest run is forgotten slowly: by one sample in 4096. A channel is stuck when its run is longer than 16
samples and longer than three times its longest run, after 20 complete runs. So a channel that repeats values
by nature (on and off, whole numbers, a coarse sensor) sets its own limit, and a channel that never changed is
not judged.

A run that was reported counts with its limit: if it is the channel's new nature, the limit grows threefold
each time. A missing value neither continues nor ends a run.

While every value of a stream differs from the last one, the runs have the length 1, and only the number of
such samples is counted: PLAIN − 1 (``alarm.py``), 0 at other times. `add_plain` adds them to the runs.

State: ``runs`` float64 ``(slots, 4, dim)``: LENGTH … REPORTED. ``last`` float32 ``(slots, groups, 16)``: the
last value of each channel.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.lanes import WIDTH, anywhere, iota, load, select, splat, store, zero
from ..simd.partial import load_part

LENGTH = 0  # of the current run
COMPLETE, LONGEST = 1, 2  # runs that ended, 20 at most; the longest of them
REPORTED = 3  # 1 + number of the sample at which the current run was reported; 0: it was not
ROWS = 4

FACTOR = 3.0
SHORTEST = 16.0  # runs that are reported are longer
ENOUGH = 20.0  # complete runs
_FORGETTING = 1.0 / 4096.0

NOTHING, BEGINS, ENDS = 0, 1, 2
_1 = np.float32(1)


@device
def all_change(last, x, n):
    """Whether every channel of row ``n`` of ``x`` has another value than before. Then keep the values."""
    for g in range(last.shape[0]):
        value, before = load_part(x, n, g * WIDTH), load(last, g)
        beyond = iota() >= splat(np.float32(x.shape[1] - g * WIDTH))
        differs = select(value < before, splat(_1), select(value > before, splat(_1), zero()))
        if anywhere(select(beyond, splat(_1), differs) < splat(_1)):
            return False
    for g in range(last.shape[0]):
        store(last, g, load_part(x, n, g * WIDTH))
    return True


@device
def add_plain(runs, count):
    """Add ``count`` runs of one sample to all channels."""
    for d in range(runs.shape[1]):
        runs[LONGEST, d] = max(1.0, runs[LONGEST, d] - _FORGETTING * count)
        runs[COMPLETE, d] = min(runs[COMPLETE, d] + count, ENOUGH)


@device
def is_plain(runs):
    """Whether every channel has a run of one sample."""
    plain = True
    for d in range(runs.shape[1]):
        plain &= runs[LENGTH, d] == 1.0
    return plain


@device
def observe(runs, last, d, value, number, learning):
    """Add the value of channel ``d`` of sample ``number`` to ``runs`` ``(4, dim)`` and ``last``.

    Return NOTHING, BEGINS or ENDS: what happens to the channel's alarm.
    """
    if not (value == value):
        return NOTHING
    before = last[d // WIDTH, d % WIDTH]
    if value == before and runs[LENGTH, d] > 0.0:
        runs[LENGTH, d] += 1.0
        if runs[REPORTED, d] == 0.0 and runs[COMPLETE, d] >= ENOUGH and runs[LENGTH, d] > limit(runs, d):
            runs[REPORTED, d] = np.float64(number) + 1.0
            return BEGINS
        return NOTHING
    ended = runs[REPORTED, d] > 0.0
    if learning and runs[LENGTH, d] > 0.0:
        length = min(runs[LENGTH, d], limit(runs, d)) if ended else runs[LENGTH, d]
        runs[LONGEST, d] = max(length, runs[LONGEST, d] - _FORGETTING * length)
        runs[COMPLETE, d] = min(runs[COMPLETE, d] + 1.0, ENOUGH)
    last[d // WIDTH, d % WIDTH] = value
    runs[LENGTH, d], runs[REPORTED, d] = 1.0, 0.0
    return ENDS if ended else NOTHING


@device
def limit(runs, d):
    """The longest run of channel ``d`` that is not reported."""
    return max(SHORTEST, FACTOR * runs[LONGEST, d])
