"""Channels that are stuck: one value is repeated far longer than the channel ever repeats one.

Each channel keeps the length of its current run of equal values, and the longest run that it ever had. The
longest run is forgotten slowly: by one sample in 4096. A channel is stuck when its run is longer than 16
samples and longer than three times its longest run, after 20 complete runs. So a channel that repeats values
by nature (on and off, whole numbers, a coarse sensor) sets its own limit, and a channel that never changed is
not judged.

A run that was reported counts with its limit: if it is the channel's new nature, the limit grows threefold
each time. A missing value neither continues nor ends a run.

State: ``runs`` float64 ``(slots, dim, 5)``: VALUE … BEGAN.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device

VALUE, LENGTH = 0, 1  # of the current run
COMPLETE, LONGEST = 2, 3  # runs that ended, 20 at most; the longest of them
REPORTED = 4  # 1 + number of the sample at which the current run was reported; 0: it was not
COLUMNS = 5

FACTOR = 3.0
SHORTEST = 16.0  # runs that are reported are longer
ENOUGH = 20.0  # complete runs
_FORGETTING = 1.0 / 4096.0

NOTHING, BEGINS, ENDS = 0, 1, 2


@device
def observe(run, value, number, learning):
    """Add the value of sample ``number`` to the state ``run`` ``(5,)`` of a channel.

    Return NOTHING, BEGINS or ENDS: what happens to the channel's alarm.
    """
    if not (value == value):
        return NOTHING
    if value == run[VALUE] and run[LENGTH] > 0.0:
        run[LENGTH] += 1.0
        if run[REPORTED] == 0.0 and run[COMPLETE] >= ENOUGH and run[LENGTH] > limit(run):
            run[REPORTED] = np.float64(number) + 1.0
            return BEGINS
        return NOTHING
    ended = run[REPORTED] > 0.0
    if learning and run[LENGTH] > 0.0:
        length = min(run[LENGTH], limit(run)) if ended else run[LENGTH]
        run[LONGEST] = max(length, run[LONGEST] - _FORGETTING * length)
        run[COMPLETE] = min(run[COMPLETE] + 1.0, ENOUGH)
    run[VALUE], run[LENGTH], run[REPORTED] = value, 1.0, 0.0
    return ENDS if ended else NOTHING


@device
def limit(run):
    """The longest run of a channel that is not reported."""
    return max(SHORTEST, FACTOR * run[LONGEST])
