"""Schedules without an end, and the clock they follow.

    v(t) = end + (start − end)·heat·g(t),  g(t) = e^(−t/τ), or of inverse time 1/(1 + t/τ)

constant where start = end. t is what the next sample finds since the schedules were heated last (1 at first):
the number of samples, or the seconds from the arrival of the first of them to its own. Time never runs
backwards: a sample that is said to have come before the one ahead of it came with it.

``schedules`` float64 ``(schedules, 5)``: START … FORM of each. ``clock`` float64 ``(4,)``: SAMPLES … HEAT.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.elementary import exp
from ..simd.lanes import WIDTH, load, store

START, END, TAU, UNIT, FORM = range(5)
IN_SAMPLES, IN_SECONDS = 0, 1
UNITS = {"samples": IN_SAMPLES, "seconds": IN_SECONDS}
EXPONENTIAL, INVERSE = 0, 1
FORMS = {"exponential": EXPONENTIAL, "inverse": INVERSE}

# Since heated: how many samples, when the first of them arrived and when the latest; and how far.
SAMPLES, BEGAN, LATEST, HEAT = range(4)


@device
def _fade(form, tau, t, left):
    """g(t) of every sample, for ``t`` (n,), into ``left`` (blocks, 16): samples are the lanes."""
    flat = left.reshape(-1)
    for n in range(t.size):
        flat[n] = np.float32(1.0 / (1.0 + t[n] / tau)) if form == INVERSE else np.float32(-t[n] / tau)
    if form == EXPONENTIAL:
        for b in range(left.shape[0]):
            store(left, b, exp(load(left, b)))


@kernel("void(f8[:,::1], f8[::1], f8[::1], f4[:,::1])")
def advance(
    schedules,  # (schedules, 5)
    clock,  # (4,)
    times,  # (n,): of arrival, in seconds; (0,) where nobody needs to know
    values,  # (schedules, n)
):
    """Write the values of the schedules for n samples. Advance the clock by n samples."""
    count = values.shape[1]
    samples, seconds = clock[SAMPLES] + np.arange(count), np.empty(count)
    for n in range(times.size):
        if samples[n] == 0.0:
            clock[BEGAN] = clock[LATEST] = times[n]
        clock[LATEST] = max(clock[LATEST], times[n])
        seconds[n] = clock[LATEST] - clock[BEGAN]
    left = np.zeros((-(-count // WIDTH), WIDTH), np.float32)
    flat = left.reshape(-1)
    for k in range(schedules.shape[0]):
        start, end = schedules[k, START], schedules[k, END]
        if start == end:
            values[k] = end
            continue
        t = seconds if schedules[k, UNIT] == IN_SECONDS else samples
        _fade(schedules[k, FORM], schedules[k, TAU], t, left)
        for n in range(count):
            values[k, n] = end + (start - end) * (clock[HEAT] * np.float64(flat[n]))
    clock[SAMPLES] += count
