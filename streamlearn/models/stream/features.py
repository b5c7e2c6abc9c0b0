"""The features of a model: which ones the spec selects, and the recent values that they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from ...errors import BadValue
from ...kernels import compiler
from ...kernels.stream import features as kernels
from ...kernels.stream import sizes
from ..batch import Batch, Float32, Integers
from ..state_checks import ANY_INTEGER, COUNT, Range
from .keys import Slots

LONGEST = 1 << 20  # samples back
_HOUR = 3_600_000_000_000  # nanoseconds
_DAY = 24 * _HOUR
_CYCLES = {"hour": (_DAY, 0), "weekday": (7 * _DAY, 3 * _DAY)}  # length, time at 1970
_NO_TIMES = np.zeros(0, np.int64)
_LATEST = np.iinfo(np.int64).max


def _as_tuple(value: Any) -> Any:
    """Accept one value in place of a list of one."""
    return (value,) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else value


Back = Annotated[int, Field(ge=1, le=LONGEST, strict=True)]
Backs = Annotated[tuple[Back, ...], BeforeValidator(_as_tuple)]
Constants = Annotated[
    tuple[Annotated[float, Field(ge=1, le=1e9, allow_inf_nan=False, strict=True)], ...],
    BeforeValidator(_as_tuple),
]
Cycles = Annotated[tuple[Literal["hour", "weekday"], ...], BeforeValidator(_as_tuple)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Features:
    """Features that a model gets beside the channels of a sample.

    Parameters
    ----------
    lags : sequence of int, optional
        k: the values k samples ago.
    differences : sequence of int, optional
        k: the change of the values since k samples ago.
    period : int or sequence of int, optional
        Length of a season in samples: the values one season ago, and the change from there to the sample
        after it.
    memory : sequence of float, optional
        T: running averages with a time constant of T samples, which follow the values as a first-order lag.
    calendar : sequence of {"hour", "weekday"}, optional
        Sine and cosine of the time of day, and of the time of the week.
    utc_offset : float, default 0.0
        Hours that the clock of the calendar is ahead of UTC, without daylight saving time.
    """

    lags: Backs = ()
    differences: Backs = ()
    period: Backs = ()
    memory: Constants = ()
    calendar: Cycles = ()
    utc_offset: Annotated[float, Field(ge=-24, le=24, allow_inf_nan=False)] = 0.0

    @model_validator(mode="after")
    def _names_each_once(self) -> Features:
        for name in ("lags", "differences", "period", "memory", "calendar"):
            values = getattr(self, name)
            repeated = next((value for value in values if values.count(value) > 1), None)
            if repeated is not None:
                raise ValueError(f"{name} has {repeated!r} twice")
        if not (self.terms or self.memory or self.calendar):
            raise ValueError(
                "select at least one of lags, differences, period, memory and calendar, or leave it out"
            )
        return self

    @property
    def terms(self) -> list[tuple[int, int]]:
        """The terms of ``kernels/stream/features.py``, in the order of the columns."""
        seasons = [pair for m in self.period for pair in ((m, sizes.VALUE), (m - 1, m))]
        return [*((k, sizes.VALUE) for k in self.lags), *((0, k) for k in self.differences), *seasons]

    @property
    def depth(self) -> int:
        """Number of samples back that the features need."""
        return max((back for term in self.terms for back in term), default=0)

    @property
    def only_values(self) -> bool:
        """Whether every feature is an earlier value of its channel."""
        return not (self.differences or self.period or self.memory or self.calendar)

    def columns(self, dim: int) -> int:
        """Return the number of features of a sample with ``dim`` channels."""
        return dim * (len(self.terms) + len(self.memory)) + 2 * len(self.calendar)

    def sources(self, dim: int) -> Integers:
        """Return the channel that each input comes from, ``(inputs,)``; −1 for the calendar."""
        channels = np.tile(np.arange(dim), 1 + len(self.terms) + len(self.memory))
        return np.append(channels, np.full(2 * len(self.calendar), -1))

    def by_channel(self, shares: Float32, x: Float32, dim: int) -> Float32:
        """Return the shares of the channels, ``(n, dim)``: the sums of those of a channel's values.

        ``shares`` ``(n, inputs)`` are the shares of ``x``. The calendar has none, and neither has a channel
        whose value is missing. If nothing is left, all present channels have the same share.
        """
        present = ~np.isnan(x[:, :dim])
        sums = np.zeros((len(x), dim))
        for column, channel in enumerate(self.sources(dim)):
            if channel >= 0:
                sums[:, channel] += np.where(np.isnan(shares[:, 0]), np.nan, shares[:, column])
        sums *= np.where(present, 1.0, 0.0)
        total, count = np.zeros(len(x)), np.zeros(len(x))
        for channel in range(dim):  # in a fixed order
            total += sums[:, channel]
            count += present[:, channel]
        with np.errstate(invalid="ignore", divide="ignore"):
            equal = present / count[:, None]
            found = np.where((total > 0)[:, None], sums / total[:, None], equal)
        return np.where(np.isnan(total)[:, None], np.nan, found).astype(np.float32)

    def names(self, channels: Sequence[str]) -> list[str]:
        """Return the name of each feature. ``channels``: the names of the channels."""
        kinds = [f"lag {k}" for k in self.lags] + [f"difference {k}" for k in self.differences]
        for m in self.period:
            kinds += [f"season {m}", f"change of season {m}"]
        kinds += [f"memory {constant:g}" for constant in self.memory]
        cycles = [f"{cycle} {part}" for cycle in self.calendar for part in ("sine", "cosine")]
        return [f"{channel} {kind}" for kind in kinds for channel in channels] + cycles


class FeatureStage:
    """Makes the features of samples. Its arrays are part of the model's ``state``.

    The features of a batch are a function of the rings and the batch. Only ``advance`` changes the rings,
    by the samples that were learned.
    """

    may_hold_nan = ("features.ring", "features.memory")  # missing values; no value so far

    def __init__(self, features: Features, dim: int, keys: int | None, samples: Integers) -> None:
        compiler.ready(kernels)
        self._columns = features.columns(dim)
        self._terms = np.array(features.terms, np.int64).reshape(-1, 2)
        offset = round(features.utc_offset * _HOUR)
        cycles = [_CYCLES[name] for name in features.calendar]
        self._calendar = np.array(
            [(length, (start + offset) % length) for length, start in cycles], np.int64
        ).reshape(-1, 2)
        self.state: dict[str, NDArray[Any]] = {"samples": samples}
        self._slots = Slots(self.state, keys, "features.keys.")
        del self.state["samples"]  # the model's own
        self._ring = np.full((self._slots.count, features.depth, dim), np.nan, np.float32)
        self._counts = np.zeros(self._slots.count, np.int64)
        self._gains = 1.0 / np.array(features.memory, np.float64)
        self._averages = np.full((self._slots.count, dim, len(self._gains)), np.nan)
        self.state |= {"features.ring": self._ring, "features.counts": self._counts}
        self.state["features.memory"] = self._averages
        self._recent = np.zeros((self._slots.count, kernels.TIMES if features.calendar else 0), np.int64)
        if features.calendar:
            self.state["features.times"] = self._recent
        self.ranges: dict[str, Range] = {**self._slots.ranges, "features.counts": COUNT}
        if features.calendar:
            self.ranges["features.times"] = ANY_INTEGER
        self.inconsistencies = self._slots.inconsistencies

    def extract(self, batch: Batch) -> tuple[Batch, tuple[Integers, NDArray[np.bool_]]]:
        """Return the batch with features, and the streams of its rows for ``advance``."""
        slots, fresh = self._slots.assign(batch.keys, batch.rows)
        return batch._replace(x=self._features(batch, slots, fresh, self._slots.count)), (slots, fresh)

    def advance(self, batch: Batch, streams: tuple[Integers, NDArray[np.bool_]], rows: int) -> None:
        """Add the first ``rows`` samples of a batch, those that were learned, to the rings."""
        if rows < batch.rows and batch.keys is not None:
            self._slots.correct(batch.keys[:rows])
        slots, fresh = streams
        times = self._times_of(batch)[:rows]
        kernels.advance(
            *(batch.x[:rows], times, slots[:rows], fresh[:rows], self._ring, self._counts),
            *(self._recent, self._averages, self._gains),
        )

    def preview(self, batch: Batch) -> Batch:
        """Return the batch with features, as if its samples came next. Changes nothing."""
        slots, streams = self._slots.find(batch.keys, batch.rows), self._slots.count
        unknown = slots < 0
        if batch.keys is not None and unknown.any():  # each unknown key has a slot without a ring
            keys, inverse = np.unique(batch.keys[unknown], return_inverse=True)
            slots[unknown] = streams + inverse.reshape(-1)
            streams += len(keys)
        fresh = np.zeros(batch.rows, np.bool_)
        return batch._replace(x=self._features(batch, slots, fresh, streams))

    def later_times(self, keys: Integers | None, steps: int) -> Integers | None:
        """Return the times of the next samples of a stream, ``(steps,)``; None without a calendar.

        They continue the last 16 times by their usual step: the median, or the mean if most times are equal.

        Raises
        ------
        BadValue
            If the stream has no usual step.
        """
        if not self._recent.size:
            return None
        slot = int(self._slots.find(keys, 1)[0])
        count = int(self._counts[slot]) if slot >= 0 else 0
        kept = min(count, kernels.TIMES)
        known = self._recent[slot, np.arange(count - kept, count) % kernels.TIMES]
        changes = np.sort(np.diff(known))
        step = int(changes[len(changes) // 2]) if kept > 1 else 0
        if step <= 0 and kept > 1:
            step = int(known[-1] - known[0]) // (kept - 1)
        if step <= 0:
            raise BadValue(
                "the times of the next samples are not known, because the last times of the stream do not"
                " rise: pass times= for the steps of the forecast, or learn samples with their times",
                field="times",
            )
        last = int(known[-1])
        if last + steps * step > _LATEST:
            raise BadValue(
                f"{steps} steps of {step / 1e9:g} seconds lead beyond the year 2262: ask for fewer steps",
                field="steps",
            )
        return last + step * np.arange(1, steps + 1)

    def _times_of(self, batch: Batch) -> Integers:
        """Return the times that the calendar needs."""
        return _NO_TIMES if not len(self._calendar) or batch.times is None else batch.times

    def _features(self, batch: Batch, slots: Integers, fresh: NDArray[np.bool_], streams: int) -> Float32:
        found = np.empty((batch.rows, batch.x.shape[1] + self._columns), np.float32)
        kernels.extract(
            batch.x,
            self._times_of(batch),
            slots,
            fresh,
            self._ring,
            self._counts,
            self._averages,
            self._gains,
            self._terms,
            self._calendar,
            streams,
            found,
        )
        return found
