"""``Decay``: a parameter that changes over a stream that has no end."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Decay:
    """v(t) = end + (start − end)·exp(−t/τ), t and ``tau`` in samples.

    It covers Kohonen's ε₀e^(−t/τ) (``end=0``) and never needs to know how long the stream is. An ``end``
    above 0 keeps a model able to follow a stream that drifts.
    """

    start: Finite
    end: Finite
    tau: Positive = 5000.0


Schedule = Decay | Finite


def as_array(schedule: Schedule) -> NDArray[np.float64]:
    """The kernels' form: start, end, τ. A number is a schedule that stays."""
    if isinstance(schedule, Decay):
        return np.array([schedule.start, schedule.end, schedule.tau])
    return np.array([schedule, schedule, 1.0])


def bounds(schedule: Schedule) -> tuple[float, float]:
    """The smallest and the largest value the schedule ever has."""
    start, end, _ = as_array(schedule)
    return float(min(start, end)), float(max(start, end))


def within(low: float, high: float) -> AfterValidator:
    """For a spec's field: the schedule never leaves ``low`` … ``high``."""

    def check(value: Schedule) -> Schedule:
        least, most = bounds(value)
        if least < low or most > high:
            raise ValueError(f"must stay within {low:g} … {high:g}")
        return value

    return AfterValidator(check)
