"""Schedules without an end: v(t) = end + (start − end)·exp(−t/τ), constant where start = end."""

from __future__ import annotations

import numpy as np

from .compiler import device
from .mathf import exp

START, END, TAU = 0, 1, 2  # float64 (3,)


@device
def at(schedule, t):
    """The schedule's value for the sample after ``t`` learned ones, as float32."""
    if schedule[START] == schedule[END]:
        return np.float32(schedule[END])
    fading = exp(np.float32(-t / schedule[TAU]))
    return np.float32(schedule[END] + (schedule[START] - schedule[END]) * np.float64(fading))
