"""Schedules without an end, and the clock they follow.

    v(t) = end + (start − end)·heat·g(t),  g(t) = e^(−t/τ), or of inverse time 1/(1 + t/τ)

constant where start = end. t is what the next sample finds since the schedules were heated last (1 at first):
the number of samples, or the seconds from the arrival of the first of them to its own. Time never runs
backwards: a sample that is said to have come before the one ahead of it came with it.

``schedules`` float64 ``(schedules, 5)``: START … FORM of each. ``clock`` float64 ``(4,)``: SAMPLES … HEAT.
"""

from __future__ import annotations

import numpy as np

from .compiler import device, kernel
from .mathf import exp

START, END, TAU, UNIT, FORM = range(5)
IN_SAMPLES, IN_SECONDS = 0, 1
UNITS = {"samples": IN_SAMPLES, "seconds": IN_SECONDS}
EXPONENTIAL, INVERSE = 0, 1
FORMS = {"exponential": EXPONENTIAL, "inverse": INVERSE}

# Since heated: how many samples, when the first of them arrived and when the latest; and how far.
SAMPLES, BEGAN, LATEST, HEAT = range(4)


@device
def _at(schedule, clock):
    """The schedule's value as the clock stands, as float32."""
    if schedule[START] == schedule[END]:
        return np.float32(schedule[END])
    t = clock[LATEST] - clock[BEGAN] if schedule[UNIT] == IN_SECONDS else clock[SAMPLES]
    if schedule[FORM] == INVERSE:
        left = 1.0 / (1.0 + t / schedule[TAU])
    else:
        left = np.float64(exp(np.float32(-t / schedule[TAU])))
    return np.float32(schedule[END] + (schedule[START] - schedule[END]) * (clock[HEAT] * left))


@kernel("void(f8[:,::1], f8[::1], f8[::1], f4[:,::1])")
def follow(
    schedules,  # (schedules, 5)
    clock,  # (4,)
    times,  # (n,): of arrival, in seconds; (0,) where nobody needs to know
    values,  # (schedules, n)
):
    """Write the schedules' values for each of n samples, and move the clock on past these."""
    for n in range(values.shape[1]):
        if times.size > 0:
            if clock[SAMPLES] == 0.0:
                clock[BEGAN] = clock[LATEST] = times[n]
            clock[LATEST] = max(clock[LATEST], times[n])
        for k in range(schedules.shape[0]):
            values[k, n] = _at(schedules[k], clock)
        clock[SAMPLES] += 1.0
