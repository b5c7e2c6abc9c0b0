"""``Decay``: a parameter that changes over a stream that has no end; and how a model follows several."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeGuard

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from ...kernels import compiler
from ...kernels.arguments import by_name
from ...kernels.stream import schedules as kernels
from ..batch import Batch, Float32
from ..sharing import shared
from ..state_checks import LARGEST_COUNT, LARGEST_FLOAT, ByName, Range, State

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_LN2 = 0.6931471805599453
_USUAL_TAU = 5000.0
_NO_TIMES = np.empty(0)
_LEAST, _MOST = (0, -LARGEST_FLOAT, -LARGEST_FLOAT, 0), (LARGEST_COUNT, LARGEST_FLOAT, LARGEST_FLOAT, 1)
_RANGES = {"schedule.clock": Range(_LEAST, _MOST)}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Decay:
    """A value that changes from ``start`` to ``end`` over a stream without an end.

    v(t) = end + (start − end)·e^(−t/τ), or with ``form="inverse"`` v(t) = end + (start − end)/(1 + t/τ),
    which changes sooner and arrives later. With ``end=0`` it is Kohonen's ε₀·e^(−t/τ). An ``end`` above 0
    keeps a model able to follow a stream that drifts.

    Parameters
    ----------
    start : float
        Value at t = 0.
    end : float
        Value that is approached.
    tau : float, default 5000.0
        τ in units of t: after τ, 63 % of the way to ``end`` is gone. Range: above 0.
    half_life : float, optional
        Time after which half the way to ``end`` is gone, in units of t, in place of ``tau``. Range: above 0.
    unit : {"samples", "seconds"}, default "samples"
        Unit of t: samples learned, or seconds of arrival time since the first sample.
    form : {"exponential", "inverse"}, default "exponential"
        The formula.
    max_gap : float, default 3600.0
        The time between two samples counts as so many seconds at most, for ``unit="seconds"``. So a step of
        the clock, or a pause of the stream, changes the value little. The schedules of one model share a
        clock; the smallest ``max_gap`` counts. Range: above 0.

    Raises
    ------
    pydantic.ValidationError
        If a value is out of its range, or if both ``tau`` and ``half_life`` are given.

    Examples
    --------
    >>> import streamlearn as sl
    >>> rate = sl.Decay(0.5, 0.02, half_life=3600, unit="seconds")
    >>> som = sl.SOM(dim=3, grid=(5, 5), learning_rate=rate)
    >>> som.schedules["learning_rate"]
    0.5
    """

    start: Finite
    end: Finite
    tau: Positive | None = None
    half_life: Positive | None = None
    unit: Literal["samples", "seconds"] = "samples"
    form: Literal["exponential", "inverse"] = "exponential"
    max_gap: Positive = 3600.0

    @model_validator(mode="after")
    def _has_one_pace(self) -> Decay:
        if self.half_life is None:
            object.__setattr__(self, "tau", _USUAL_TAU if self.tau is None else self.tau)
        elif self.tau is not None:
            raise ValueError("give tau or half_life: both say how fast")
        return self

    @property
    def time_constant(self) -> float:
        """τ in units of t, also if ``half_life`` was given."""
        if self.half_life is None:
            return self.tau or _USUAL_TAU
        return self.half_life if self.form == "inverse" else self.half_life / _LN2


Schedule = Decay | Finite


def bounds(schedule: Schedule) -> tuple[float, float]:
    """Return the smallest and the largest value of a schedule."""
    if not isinstance(schedule, Decay):
        return schedule, schedule
    return min(schedule.start, schedule.end), max(schedule.start, schedule.end)


def settling(schedules: Mapping[str, Schedule]) -> float:
    """Return the samples until three quarters of the way to every ``end`` are gone. Seconds do not count."""
    decays = [each for each in schedules.values() if isinstance(each, Decay) and each.unit == "samples"]
    times = [each.time_constant * (3.0 if each.form == "inverse" else 2.0 * _LN2) for each in decays]
    return max(times, default=0.0)


def changing(schedules: Mapping[str, Schedule]) -> list[str]:
    """Return the names of the schedules that change."""
    return [name for name, each in schedules.items() if len(set(bounds(each))) > 1]


@dataclass(frozen=True)
class Within:
    """Validator of a schedule that never leaves ``low`` … ``high``."""

    low: float
    high: float

    def __call__(self, value: Schedule) -> Schedule:
        """Return ``value``, or raise ValueError."""
        least, most = bounds(value)
        if least < self.low or most > self.high:
            raise ValueError(f"must stay within {self.low:g} … {self.high:g}")
        return value


def within(low: float, high: float) -> AfterValidator:
    """Return the constraint of a spec's field that the schedule stays within ``low`` … ``high``."""
    return AfterValidator(Within(low, high))


class Schedules(ByName):
    """The schedules of one model by name, and their clock. The clock is part of the model's ``state``."""

    def __init__(self, schedules: Mapping[str, Schedule]) -> None:
        compiler.ready(kernels)
        self._names = tuple(schedules)
        table = np.array([_as_row(each) for each in schedules.values()]).reshape(len(schedules), 5)
        self._table = shared(("schedules", table.tobytes()), lambda: table)
        self._clock = np.array([0.0, 0.0, 0.0, 1.0])
        self._before = b""  # the clock before the last `advance`
        self.state = {"schedule.clock": self._clock} if schedules else {}
        self.ranges = _RANGES
        gaps = [each.max_gap for each in schedules.values() if _in_seconds(each)]
        self.uses_time = bool(gaps)
        self._max_gap = min(gaps, default=math.inf)

    def advance(self, batch: Batch) -> dict[str, Float32]:
        """Return each schedule's values ``(n,)`` for the samples of ``batch``. Advance the clock by n."""
        if not self._names:
            return {}
        self._before = self._clock.tobytes()
        values = np.empty((len(self._table), len(batch.x)), np.float32)
        times = batch.times / 1e9 if self.uses_time and batch.times is not None else _NO_TIMES  # seconds
        kernels.advance(self._table, self._clock, times, self._max_gap, values)
        return dict(zip(self._names, values, strict=True))

    def arguments(self, values: Float32) -> dict[str, Any]:
        """Return the arguments of `kernels.advance` by name, for samples without times."""
        given = self._table, self._clock, _NO_TIMES, self._max_gap, values
        return by_name(kernels.advance.py_func, given)

    def correct(self, done: Batch) -> None:
        """Undo the last `advance`, and advance the clock by the samples of ``done`` only."""
        if not self._names:
            return
        self._clock[:] = np.frombuffer(self._before)
        self.advance(done)

    def current(self) -> dict[str, float]:
        """Return each schedule's value at the current clock. Does not advance the clock."""
        values = np.empty((len(self._table), 1), np.float32)
        clock = self._clock.copy()
        kernels.advance(self._table, clock, clock[[kernels.LATEST]], self._max_gap, values)
        return dict(zip(self._names, values[:, 0].tolist(), strict=True))

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe a clock that ran backwards."""
        clock = state.get("schedule.clock", self._clock)
        if clock[kernels.FIRST] > clock[kernels.LATEST]:
            yield "'schedule.clock' has a first arrival after the latest one"

    def reheat(self, heat: float) -> None:
        """Restart the clock. The schedules then start at ``end + heat·(start − end)``."""
        self._clock[:] = 0
        self._clock[kernels.HEAT] = heat

    def reheat_to(self, heat: float) -> None:
        """Restart the clock with ``heat``, unless a schedule is farther from its end than that."""
        values = self.current()
        shares = [
            (values[name] - end) / (start - end)
            for name, (start, end, *_) in zip(self._names, self._table.tolist(), strict=True)
            if start != end
        ]
        if max(shares, default=0.0) < heat:
            self.reheat(heat)


def _in_seconds(schedule: Schedule) -> TypeGuard[Decay]:
    return isinstance(schedule, Decay) and schedule.unit == "seconds"


def _as_row(schedule: Schedule) -> tuple[float, float, float, int, int]:
    """Return the schedule as the kernel's table row: START, END, TAU, UNIT, FORM. A number is constant."""
    if not isinstance(schedule, Decay):
        return schedule, schedule, 1.0, kernels.IN_SAMPLES, kernels.EXPONENTIAL
    kinds = kernels.UNITS[schedule.unit], kernels.FORMS[schedule.form]
    return schedule.start, schedule.end, schedule.time_constant, *kinds
