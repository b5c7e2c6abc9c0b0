"""Alarms of one model, and drift beside them. ``kernels/stream/alarm.py`` defines when they begin and end."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.alarms import AlarmEvent
from streamlearn_client.outputs import NamedArrays

from ...kernels import compiler
from ...kernels.arguments import by_name
from ...kernels.stream import alarm as kernels
from ...kernels.stream import alarm_arrays, evidence, judge, patterns, stuck, threshold
from ..batch import Float32, Integers
from ..sharing import shared
from ..state_checks import LARGEST_COUNT, LARGEST_FLOAT, Range, Ranges, State
from .alarm_spec import Alarm
from .drift import DriftDetector
from .keys import Slots
from .patterns import Patterns

_EVENT_ROWS = 16  # of one kernel call; more need another call
_EVENT_VALUES = 4096  # of all rows, about
_NONE = np.zeros(0, np.int64)
_NO_CODES = np.zeros(0, np.int8)
_NO_FLAGS = np.zeros(0, np.bool_)
_NO_VALUES = np.zeros(0, np.float32)
_NO_OUTPUTS = _NO_FLAGS, _NO_CODES, _NO_VALUES, _NO_CODES
_NO_DETECTOR = np.zeros(0), np.zeros(0), _NONE


class _Memory(threading.local):
    """The events of one kernel call, in each thread: to create arrays takes longer than to learn a sample."""

    events: tuple[int, Integers, Float32] = -1, _NONE, _NO_VALUES


_memory = _Memory()


def _event_memory(dim: int) -> tuple[int, Integers, Float32]:
    """Return ``dim`` and the arrays ``event_numbers`` and ``event_levels`` of `judge.judge`.

    The arrays belong to this thread until its next call.
    """
    events = _memory.events
    if events[0] != dim:
        most = max(kernels.EVENTS_PER_ROW, min(_EVENT_ROWS, _EVENT_VALUES // dim))
        numbers = np.empty((most + 1, kernels.E_NUMBERS), np.int64)
        levels = np.empty((most, kernels.E_SHARES + 2 * dim), np.float32)
        events = dim, numbers, levels
        _memory.events = events
    return events


class AlarmDetector:
    """Alarms on the evidence of one model's samples. Its arrays are part of the model's ``state``.

    ``patterns`` are those that a person judged.

    Parameters
    ----------
    alarm : Alarm
        When alarms begin and end.
    dim : int
        Channels of a sample.
    keys : int or None
        Largest number of keys: each has alarms of its own.
    samples : ndarray of int64, (1,)
        The model's number of samples.
    has_hours : bool
        Whether the samples are one stream of one channel. Then the mean of each hour counts, too.
    compares : bool
        Whether the model expects each sample. Then the deviation of each channel from it counts, too.
    drift : DriftDetector or None
        The model's drift detector. It processes the samples in the same call.
    """

    may_hold_nan = ("alarm.patterns", "alarm.kept", "alarm.expected")  # missing or unknown values

    def __init__(
        self,
        alarm: Alarm,
        dim: int,
        keys: int | None,
        samples: Integers,
        has_hours: bool,
        compares: bool,
        drift: DriftDetector | None,
    ) -> None:
        compiler.ready(judge)
        slots = keys or 1
        count, window = alarm.counts
        sizes = alarm_arrays.Sizes(
            slots, dim, dim if alarm.stuck else 0, dim if compares else 0, evidence.HOURS if has_hours else 0
        )
        layout = shared(("alarm arrays", sizes), partial(alarm_arrays.Layout, sizes))
        self._layout = layout  # exists as long as this model
        arrays, self.state = layout.create()
        self.state["alarm.threshold"][:] = threshold.FIRST
        self.patterns = Patterns(self.state)
        above = alarm.above or 0.0
        given = above, alarm.clear, count, window, alarm.quiet, alarm.after, alarm.false_alarms
        self._settings = shared(("alarm", given), partial(np.array, given, np.float64))
        detector = _NO_DETECTOR if drift is None else drift.arguments
        self._arguments = self._settings, layout.layout, *arrays, *detector
        self._has_drift = drift is not None
        self.ranges: Mapping[str, Range] = shared(("alarm ranges", window), partial(_ranges, window))
        self._slots: Slots | None = None
        if keys is not None:
            owned = {"samples": samples}
            self._slots = Slots(owned, keys, "alarm.keys.")
            self.state |= {name: array for name, array in owned.items() if name != "samples"}
            self.ranges = {**self.ranges, **self._slots.ranges}
        self._dim = dim
        self._no_rows: Float32 = shared(("no rows", dim), lambda: np.empty((0, dim), np.float32))

    def share(self, state: dict[str, NDArray[Any]]) -> None:
        """Use the model's ``state``, which has these arrays, in place of a dict of its own: less memory."""
        self.state = self.patterns.state = state

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe names that are not text, and keys that contradict each other."""
        yield from self.patterns.inconsistencies(state)
        if self._slots is not None:
            yield from self._slots.inconsistencies(state)

    def detect(
        self,
        out: NamedArrays,
        x: Float32 | None,
        explanation: tuple[Float32 | None, Float32 | None],
        keys: Integers | None,
        times: Integers | None,
        first: int | None,
        lookahead: bool,
    ) -> None:
        """Add ``drift``, ``alarm``, ``evidence`` and ``fault`` to outputs with a score, and the events.

        Parameters
        ----------
        out : NamedArrays
            The outputs of samples.
        x : ndarray of float32, (rows, dim), or None
            The samples in the stream's own units; None for late targets.
        explanation : tuple of ndarray of float32, (n, channels), or None
            The contributions of the channels of the samples of the outputs, if the model has computed them.
            What it expected of these samples, in the stream's own units.
        keys, times : ndarray of int64, (rows,), or None
            The keys and the times of the samples.
        first : int or None
            Number of the first of the samples; None for late targets, which belong to earlier samples.
        lookahead : bool
            Whether the outputs belong to earlier samples than ``x``.
        """
        arrays, rows = out.arrays, len(out)
        samples = arrays.get("sample", _NONE)
        slots, fresh = _NONE, _NO_FLAGS
        if self._slots is not None and keys is not None:
            if first is None:
                slots = self._slots.find(keys, rows)
            else:
                slots, fresh = self._slots.assign(keys, rows, first)
        if x is None:
            x = self._no_rows
        elif lookahead and first is not None:
            nothing = _NO_VALUES, _NO_VALUES, self._no_rows, self._no_rows, _NO_FLAGS
            self._process(out, x, *nothing, first, _NONE, _NONE, slots, fresh, *_NO_OUTPUTS)
            out.events = [replace(event, row=-1) for event in out.events]  # its output comes later
            x = self._no_rows
        scores = arrays.get("score")
        if scores is None:
            return
        values = arrays["distance"] if "distance" in arrays else arrays["error"]
        contribution, expected = explanation
        if contribution is None or contribution.shape[1] != self._dim:
            contribution = self._no_rows
        arrays["alarm"] = alarm = np.empty(rows, np.int8)
        arrays["evidence"] = found = np.empty(rows, np.float32)
        arrays["fault"] = fault = np.empty(rows, np.int8)
        drift = _NO_FLAGS
        if self._has_drift:
            arrays["drift"] = drift = np.empty(rows, np.bool_)
        if expected is None:
            expected = self._no_rows
        if times is None:
            times = _NONE
        watched = arrays.get("watched", _NO_FLAGS)
        given = x, values, scores, contribution, expected, watched, first or 0, samples, times, slots, fresh
        self._process(out, *given, drift, alarm, found, fault)

    def _process(self, out: NamedArrays, *samples: Any) -> None:
        """Call the kernel until all samples are processed, and add the events to ``out``."""
        _, numbers, levels = _event_memory(self._dim)
        row = 0
        while row >= 0:
            count = judge.judge(*self._arguments, row, *samples, numbers, levels)
            row = int(numbers[-1, 0]) if count < 0 else -1
            if count:
                out.events += self.events(count if count > 0 else -1 - count, numbers, levels)

    def events(self, count: int, numbers: Integers, levels: Float32) -> list[AlarmEvent]:
        """Return the first ``count`` events in the arrays of `judge.judge`."""
        events = []
        for k in range(count):
            row_of_event = numbers[k].tolist()
            fault = self.patterns.name(row_of_event[kernels.E_PATTERN])
            events.append(_event(row_of_event, levels[k].copy(), fault))
        return events

    def arguments(self, x: Float32, row: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        """Return the arguments of `judge.judge` for one sample ``x`` by name.

        ``row`` has its number and what the learner computed for it, the outputs, and memory for the events.
        ``contribution`` and ``expected`` may be left out.
        """
        contribution, expected = row.get("contribution", self._no_rows), row.get("expected", self._no_rows)
        keyed = row["slot_of_alarms"], row["new_in_alarms"]
        given = contribution, expected, row["watched"], 0, row["number"], _NONE, *keyed
        samples = 0, x, compared(row), row["score"], *given
        events = row["event_numbers"], row["event_levels"]
        outputs = row["drift"], row["alarm"], row["evidence"], row["fault"], *events
        return by_name(judge.judge.py_func, (*self._arguments, *samples, *outputs))

    def key_arguments(self, row: Mapping[str, NDArray[Any]]) -> dict[str, Any] | None:
        """Return the arguments that assign a slot to the key of one sample by name; None without keys."""
        if self._slots is None:
            return None
        return self._slots.arguments(row["number"], row["slot_of_alarms"], row["new_in_alarms"])

    def quality(self) -> dict[str, Any]:
        """Return the alarms that are on, the channels that are stuck, and the patterns that were judged."""
        runs = self.state["alarm.runs"]
        reported = np.flatnonzero((runs[:, stuck.REPORTED] > 0).any(axis=0))
        return {
            "alarm_above": self._above(),
            "alarms_on": int(self.state["alarm.numbers"][:, kernels.ON].sum()),
            "stuck": reported.tolist(),
            "patterns": self.patterns.to_list(),
        }

    def _above(self) -> float:
        """Return the evidence above which a sample counts for an alarm now."""
        settings = self._settings
        if settings[judge.ABOVE] > 0:
            return float(settings[judge.ABOVE])
        factor = math.log(threshold.AT_ONE / settings[judge.RATE])
        above = threshold.exceeded_at.py_func(self.state["alarm.threshold"], factor)
        return float(max(above, settings[judge.CLEAR]))


def compared(row: Mapping[str, NDArray[Any]]) -> Float32:
    """Return what is compared with earlier samples: the distance, or the error if there is none."""
    return row["distance"] if len(row.get("distance", _NONE)) else row["error"]


def _event(numbers: list[int], levels: Float32, fault: str) -> AlarmEvent:
    dim = (len(levels) - kernels.E_SHARES) // 2
    return AlarmEvent(
        state="begin" if numbers[kernels.E_CODE] == kernels.BEGIN else "end",
        cause=AlarmEvent.CAUSES[numbers[kernels.E_CAUSE]],
        row=numbers[kernels.E_ROW],
        sample=numbers[kernels.E_SAMPLE],
        first=numbers[kernels.E_FIRST],
        last=numbers[kernels.E_LAST],
        peak=numbers[kernels.E_PEAK],
        samples=numbers[kernels.E_SAMPLES],
        channel=numbers[kernels.E_CHANNEL],
        score=float(levels[kernels.E_SCORE]),
        evidence=float(levels[kernels.E_EVIDENCE]),
        contribution=levels[kernels.E_SHARES : kernels.E_SHARES + dim],
        expected=levels[kernels.E_SHARES + dim :],
        fault=fault,
    )


def _ranges(window: int) -> Ranges:
    """Return the valid values of the arrays, without those of ``keys``."""
    rows = patterns.PATTERNS, patterns.KEPT_ROWS - 2  # so that a kernel finds their rows
    least = np.zeros(threshold.SIZE)
    least[threshold.PEAKS] = threshold.FIRST[threshold.PEAKS]
    most = 1, (1 << window) - 1, *[LARGEST_COUNT] * 7, *rows, LARGEST_COUNT
    return Ranges(
        {
            "alarm.references": Range(0, LARGEST_FLOAT),
            "alarm.hours": Range(np.array([[0], [-LARGEST_FLOAT], [-LARGEST_FLOAT]]), LARGEST_FLOAT),
            "alarm.threshold": Range(least, LARGEST_FLOAT),
            "alarm.numbers": Range(0, most),
            "alarm.runs": Range(0, LARGEST_FLOAT),
            **Patterns.ranges(),
        }
    )
