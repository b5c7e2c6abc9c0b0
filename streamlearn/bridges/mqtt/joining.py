"""Joining: messages that bring different channels of one stream become one sample.

Values whose times are within ``window`` of the first one belong to one sample; of a channel that comes twice,
the last one counts. The sample is complete when it has all channels, and then it is emitted. Otherwise it
waits for the others until ``wait`` is over, and the missing ones are NaN. Samples are emitted in the order of
their times, so a complete one waits for an incomplete one before it. At most ``open`` samples wait. A value
of a sample that was emitted is late, and passed by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from streamlearn.bridges.inputs import Join
from streamlearn.bridges.readings import Reading

_NS = 1_000_000_000

Done = Callable[[], None]


@dataclass(slots=True)
class Row:
    """A sample whose channels arrive one by one. ``done`` is called when it is durable."""

    time: int  # of its first value
    deadline: float
    values: dict[str, float] = field(default_factory=dict)
    done: list[Done] = field(default_factory=list)


class Joiner:
    """The open samples of one stream.

    Parameters
    ----------
    settings
        The window.
    channels
        How many channels a complete sample has.
    after
        Time of the last sample that the daemon has, in nanoseconds. Values within its window belong to it.
    """

    def __init__(self, settings: Join, channels: int, after: int | None = None) -> None:
        self._window = round(settings.window * _NS)
        self._wait = settings.window if settings.wait is None else settings.wait
        self._most, self._channels, self._after = settings.open, channels, after
        self._open: list[Row] = []  # by time
        self.late = 0
        """Values that came after their sample was emitted."""

    def __len__(self) -> int:
        return len(self._open)

    def add(self, reading: Reading, time: int, now: float, done: Done) -> list[Row]:
        """Add values. Return the samples that are emitted."""
        if self._after is not None and time < self._after + self._window:
            self.late += 1
            done()
            return []
        row = self._row_at(time)
        if row is None:
            row = Row(time, now + self._wait)
            self._open.append(row)
            self._open.sort(key=lambda each: each.time)
        row.values.update(reading.values)
        row.done.append(done)
        return self._emitted(now)

    def due(self, now: float) -> list[Row]:
        """Return the samples whose time to wait is over."""
        return self._emitted(now)

    @property
    def deadline(self) -> float:
        """When the oldest sample has waited long enough."""
        return self._open[0].deadline if self._open else float("inf")

    def _row_at(self, time: int) -> Row | None:
        for row in self._open:
            if abs(time - row.time) < self._window:
                return row
        return None

    def _emitted(self, now: float) -> list[Row]:
        emitted: list[Row] = []
        while self._open:
            first = self._open[0]
            if len(first.values) < self._channels and now < first.deadline and len(self._open) <= self._most:
                break
            self._after = first.time
            emitted.append(self._open.pop(0))
        return emitted
