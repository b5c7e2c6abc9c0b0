"""How long a stream stays in a region, and how long it takes to come back to it.

Each region keeps its last 64 durations of both kinds. With u their quantile at 0.8 and β the mean excess of
the larger ones over u, as in ``threshold.py``,

    limit = max(u + 1.25·(1 + 16/n)·β·log(⅕·V/rate), 1¼·longest)

is exceeded by fewer than ``rate`` of V durations if their tail is exponential. n is the number of durations
so far: β of few is uncertain. The longest duration is forgotten slowly,
by 1/4096 with each. A duration beyond the limit is not learned. But one that is the fourth such in about a
thousand becomes the longest one, so what stays is usual after four alarms.

State, the first axis DWELL, CYCLE: ``recent`` float32 ``(2, regions, 64)``. ``kept`` int64 ``(2, regions)``:
durations so far. ``limits`` float64 ``(2, regions, 4)``: LIMIT … USUAL.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device

DWELL, CYCLE = 0, 1
RECENT = 64
LIMIT = 0  # 0: none yet
LONGEST = 1
BEYOND = 2  # durations beyond the limit, forgotten by 1/256 with each usual one
USUAL = 3  # the median
COLUMNS = 4
ENOUGH = 20  # durations before the first limit

_INTERVAL = 8  # durations from one limit to the next
_TAIL = 5  # one in so many is in the tail
_SAFETY, _YOUNG = 1.25, 16.0
_ABOVE_LONGEST = 1.25
_REGULAR = 1.8  # of a cycle: u over the median; 2.3 for a return at random
_PATIENCE = 4.0
_FORGETTING = 1.0 / 4096.0
_FORGETTING_BEYOND = 1.0 / 256.0


class Durations(NamedTuple):
    """The state, see above, and memory for one sorted list."""

    recent: Any
    kept: Any
    limits: Any
    ordered: Any  # (RECENT,): scratch


@device
def reset(durations, kind, region):
    """Forget the durations of a region."""
    durations.kept[kind, region] = 0
    for i in range(COLUMNS):
        durations.limits[kind, region, i] = 0.0


@device
def is_beyond(durations, kind, region, duration):
    """Whether a duration is longer than nearly all before."""
    limit = durations.limits[kind, region, LIMIT]
    return limit > 0.0 and duration > limit


@device
def observe(durations, kind, region, duration, factor):
    """Learn a duration. ``factor``: log(⅕·V/rate)."""
    limits, kept = durations.limits, durations.kept
    if is_beyond(durations, kind, region, duration):
        limits[kind, region, BEYOND] += 1.0
        if limits[kind, region, BEYOND] >= _PATIENCE:
            limits[kind, region, LONGEST] = duration
            _set_limit(durations, kind, region, factor)
        return
    limits[kind, region, BEYOND] = max(limits[kind, region, BEYOND] - _FORGETTING_BEYOND, 0.0)
    durations.recent[kind, region, kept[kind, region] % RECENT] = np.float32(duration)
    kept[kind, region] += 1
    longest = limits[kind, region, LONGEST]
    limits[kind, region, LONGEST] = max(duration, longest - _FORGETTING * longest)
    count = kept[kind, region]
    if count >= ENOUGH and (count == ENOUGH or count % _INTERVAL == 0):
        _set_limit(durations, kind, region, factor)


@device
def _set_limit(durations, kind, region, factor):
    """Compute limit and median from the last durations."""
    count, ordered = min(durations.kept[kind, region], RECENT), durations.ordered
    for i in range(count):
        value = np.float64(durations.recent[kind, region, i])
        j = i
        while j > 0 and ordered[j - 1] > value:
            ordered[j] = ordered[j - 1]
            j -= 1
        ordered[j] = value
    tail = count // _TAIL
    u, median = ordered[count - tail - 1], ordered[count // 2]
    excess = 0.0
    for i in range(count - tail, count):
        excess += ordered[i] - u
    limits = durations.limits
    limits[kind, region, USUAL] = median
    safety = _SAFETY * (1.0 + _YOUNG / durations.kept[kind, region])
    limit = max(u + safety * excess / tail * factor, _ABOVE_LONGEST * limits[kind, region, LONGEST])
    is_random = kind == CYCLE and u > _REGULAR * median
    limits[kind, region, LIMIT] = 0.0 if is_random else limit
