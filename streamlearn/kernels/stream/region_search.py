"""The search for regions after so many samples, and what the new regions keep of the old ones.

An old and a new region are the same if they share three quarters of their samples. Then what is known of the
region stays: its transitions, durations and last visit. Any other new region begins without a past.
"""

from __future__ import annotations

import numpy as np

from ..compiler import allocating_device
from . import durations as times
from .regions import REGIONS, find
from .sequence_state import CANDIDATE, CONFIRM, CURRENT, FOUND, LEARNED, NEXT, SINCE, VOTES
from .sizes import NONE

_LONGEST_INTERVAL = 8192  # samples from one search for regions to the next
_FAST, _SHARE, _LEAST, _MOST = 4.0, 6.0, 2, 12  # of CONFIRM
_SAME = 0.75  # samples that an old and a new region share if they are the same


@allocating_device
def _origins(sequences, found, count):
    """The old region of each new one, −1 if it is another; the samples of a node are its flow."""
    overlap = np.zeros((REGIONS, REGIONS))
    old, new, origins = np.zeros(REGIONS), np.zeros(REGIONS), np.full(REGIONS, NONE)
    for i in range(found.size):
        samples = 0.0
        for j in range(found.size):
            samples += np.float64(sequences.flow[i, j])
        before, now = sequences.regions[i], found[i]
        if before >= 0:
            old[before] += samples
        if now >= 0:
            new[now] += samples
        if before >= 0 and now >= 0:
            overlap[before, now] += samples
    for r in range(count):
        for o in range(REGIONS):
            if overlap[o, r] > _SAME * (old[o] + new[r] - overlap[o, r]):
                origins[r] = o
    return origins


@allocating_device
def _renumber(sequences, origins):
    """Move what is known of the old regions to the new ones. A new region begins without a past."""
    table, visits, places = sequences.table.copy(), sequences.visits.copy(), sequences.places.copy()
    recent = sequences.durations.recent.copy()
    kept, limits = sequences.durations.kept.copy(), sequences.durations.limits.copy()
    numbers, durations, current = sequences.numbers, sequences.durations, NONE
    for r in range(REGIONS):
        o = origins[r]
        for q in range(REGIONS):
            known = o >= 0 and origins[q] >= 0
            sequences.table[r, q] = table[o, origins[q]] if known else 0.0
        for i in range(2):
            sequences.visits[r, i] = visits[o, i] if o >= 0 else 0.0
            times.reset(durations, i, r)
            if o >= 0:
                durations.kept[i, r] = kept[i, o]
                for k in range(times.RECENT):
                    durations.recent[i, r, k] = recent[i, o, k]
                for k in range(times.COLUMNS):
                    durations.limits[i, r, k] = limits[i, o, k]
        for i in range(3):
            sequences.places[r, i] = places[o, i] if o >= 0 else NONE
        if o >= 0 and o == numbers[CURRENT]:
            current = r
    numbers[CURRENT] = current
    numbers[SINCE] = numbers[SINCE] if current >= 0 else NONE
    numbers[CANDIDATE], numbers[VOTES] = NONE, 0


@allocating_device
def search_regions(sequences):
    """Search for the regions, and choose how many samples confirm one."""
    numbers, flow, found = sequences.numbers, sequences.flow, find(sequences.flow)
    count, total, between = 0, 0.0, 0.0
    for i in range(found.size):
        count = max(count, found[i] + 1)
        for j in range(found.size):
            total += np.float64(flow[i, j])
            between += np.float64(flow[i, j]) if found[i] != found[j] else 0.0
    _renumber(sequences, _origins(sequences, found, count))
    for i in range(found.size):
        sequences.regions[i] = found[i]
        for j in range(found.size):
            flow[i, j] *= np.float32(0.5)
    stay = total / max(between, 1.0)
    confirm = np.int64(min(max(stay / _SHARE, np.float64(_LEAST)), np.float64(_MOST)))
    numbers[FOUND], numbers[CONFIRM] = count, 1 if stay < _FAST else confirm
    numbers[NEXT] = numbers[LEARNED] + min(numbers[LEARNED], _LONGEST_INTERVAL)
