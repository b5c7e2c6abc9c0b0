"""Schedules for streams of unknown length, and their clock.

    v(t) = end + (start − end)·heat·g(t),  g(t) = e^(−t/τ), or 1/(1 + t/τ) for the form "inverse"

v is constant if start = end. t counts from the last reheat, or from the start with heat = 1. t is the number
of earlier samples, or the seconds from the arrival of the first sample to the arrival of this one.

Time does not run backwards: a sample with an earlier arrival time than the latest one does not advance t. The
time between two samples counts as ``max_gap`` at most, so a step of the clock that gave the arrival times
changes t by ``max_gap`` at most. After a step back by more than ``max_gap``, t continues from the new time.

``schedules`` float64 ``(schedules, 5)``: START … FORM of each. ``clock`` float64 ``(4,)``: SAMPLES … HEAT.
"""

from __future__ import annotations

import numpy as np

from ..compiler import allocating_device, device, kernel
from ..simd.elementary import exp
from ..simd.lanes import WIDTH, load, store

START, END, TAU, UNIT, FORM = range(5)
IN_SAMPLES, IN_SECONDS = 0, 1
UNITS = {"samples": IN_SAMPLES, "seconds": IN_SECONDS}
EXPONENTIAL, INVERSE = 0, 1
FORMS = {"exponential": EXPONENTIAL, "inverse": INVERSE}

# Since the last reheat: number of samples, arrival of the first and of the latest one; and the heat. FIRST is
# moved by the time that does not count, so that t of the latest sample is LATEST − FIRST.
SAMPLES, FIRST, LATEST, HEAT = range(4)


@device
def _decay(form, tau, t, g):
    """Write g(t) for ``t`` (n,) to ``g`` (blocks, 16): the lanes are samples."""
    flat = g.reshape(-1)
    for n in range(t.size):
        flat[n] = np.float32(1.0 / (1.0 + t[n] / tau)) if form == INVERSE else np.float32(-t[n] / tau)
    if form == EXPONENTIAL:
        for b in range(g.shape[0]):
            store(g, b, exp(load(g, b)))


@allocating_device
def _write_changing(schedules, clock, times, max_gap, values):
    """Write the values of the schedules that change. Advance the time of the clock."""
    count = values.shape[1]
    samples, seconds = clock[SAMPLES] + np.arange(count), np.empty(count)
    for n in range(times.size):
        if samples[n] == 0.0:
            clock[FIRST] = clock[LATEST] = times[n]
        gap = times[n] - clock[LATEST]
        if gap > 0.0 or gap < -max_gap:
            clock[LATEST] = times[n]
        if abs(gap) > max_gap:
            clock[FIRST] = min(clock[FIRST] + gap - max(0.0, min(gap, max_gap)), clock[LATEST])
        seconds[n] = clock[LATEST] - clock[FIRST]
    g = np.zeros((-(-count // WIDTH), WIDTH), np.float32)
    flat = g.reshape(-1)
    for k in range(schedules.shape[0]):
        start, end = schedules[k, START], schedules[k, END]
        if start != end:
            t = seconds if schedules[k, UNIT] == IN_SECONDS else samples
            _decay(schedules[k, FORM], schedules[k, TAU], t, g)
            for n in range(count):
                values[k, n] = end + (start - end) * (clock[HEAT] * np.float64(flat[n]))


@kernel("void(f8[:,::1], f8[::1], f8[::1], f8, f4[:,::1])", allocates=True)
def advance(
    schedules,  # (schedules, 5)
    clock,  # (4,)
    times,  # (n,): arrival times in seconds; (0,) if no schedule uses time
    max_gap,  # seconds
    values,  # (schedules, n)
):
    """Write the values of the schedules for n samples. Advance the clock by n samples."""
    changes = times.size > 0
    for k in range(schedules.shape[0]):
        if schedules[k, START] == schedules[k, END]:
            values[k] = schedules[k, END]
        else:
            changes = True
    if changes:
        _write_changing(schedules, clock, times, max_gap, values)
    clock[SAMPLES] += values.shape[1]
