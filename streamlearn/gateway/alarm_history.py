"""Recent alarms, for a page that is opened later.

They are in the gateway's memory: a restart of the daemon does not change them, a restart of the gateway
forgets them. Their number is bounded: if there are too many, the model with the most loses its oldest one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain
from typing import Any

from streamlearn.json_values import document
from streamlearn_client.alarms import AlarmEvent
from streamlearn_client.results import Event


@dataclass(slots=True, eq=False)
class KeptAlarm:
    """An alarm. ``alarm`` is its last event; ``time`` and ``ended`` are in ns since 1970."""

    model: str
    lsn: int  # of the record in which it began
    time: int  # of its first event
    alarm: AlarmEvent
    channels: Sequence[str] | None
    on: bool
    ended: int | None = None
    number: int = 0  # in the order in which they began

    def to_json(self) -> dict[str, Any]:
        """Return the alarm as JSON."""
        found = alarm_to_map(self.alarm)
        found |= {"model": self.model, "lsn": self.lsn, "time": self.time, "ended": self.ended, "on": self.on}
        return document(found | {"channels": self.channels})


@dataclass(slots=True)
class AlarmHistory:
    """The last alarms of all models, at most ``most``. One entry has the begin and the end of an alarm."""

    most: int
    since: int = field(default_factory=time.time_ns)
    """The alarms are complete from this time on, in ns since 1970."""
    _models: dict[str, deque[KeptAlarm]] = field(default_factory=dict)  # oldest first
    _count: int = 0
    _numbers: int = 0

    def observe(self, event: Event, channels: Sequence[str] | None = None) -> None:
        """Note an event of the daemon. ``channels``: the names of the model's channels, if it has some."""
        if event.kind == "alarm":
            for alarm in event.alarms:
                self._note(event, alarm, channels)
        elif event.kind == "deleted":
            self._count -= len(self._models.pop(event.model, ()))
        elif event.kind == "restored":
            self._end(self._models.get(event.model, ()), event.time, ("score", "stuck"))

    def daemon_started(self, now: int) -> None:
        """End the alarms of silent streams: a new daemon does not know them. ``now``: ns since 1970."""
        self._end(chain.from_iterable(self._models.values()), now, ("silent",))

    def _end(self, alarms: Any, now: int, causes: tuple[str, ...]) -> None:
        for each in alarms:
            if each.on and each.alarm.cause in causes:
                each.on, each.ended = False, now

    def _note(self, event: Event, alarm: AlarmEvent, channels: Sequence[str] | None) -> None:
        moment = event.time if alarm.time is None else alarm.time
        kept = self._models.setdefault(event.model, deque())
        begins = alarm.state == "begin"
        if not begins and (began := self._began(kept, alarm)):
            began.alarm, began.on, began.ended = alarm, False, moment
            return
        self._numbers += 1
        ended = None if begins else moment
        kept.append(KeptAlarm(event.model, event.lsn, moment, alarm, channels, begins, ended, self._numbers))
        self._count += 1
        if self._count > self.most:
            max(self._models.values(), key=len).popleft()
            self._count -= 1

    def _began(self, kept: deque[KeptAlarm], end: AlarmEvent) -> KeptAlarm | None:
        """Return the alarm that ends: the last one that is on, or one that a restore ended before."""
        same = [each for each in kept if (each.alarm.cause, each.alarm.key) == (end.cause, end.key)]
        found = [each for each in same if each.on] or [each for each in same if each.alarm.first == end.first]
        return found[-1] if found else None

    def select(self, wanted: Callable[[str], bool], since: int, limit: int) -> list[KeptAlarm]:
        """Return the last alarms of the ``wanted`` models on at ``since`` or later, newest first."""
        found = [
            each
            for model, kept in self._models.items()
            if wanted(model)
            for each in kept
            if each.on or (each.ended or each.time) >= since
        ]
        return sorted(found, key=lambda each: each.number, reverse=True)[:limit]


def alarm_to_map(alarm: AlarmEvent) -> dict[str, Any]:
    """Return the fields of an alarm."""
    return {each.name: getattr(alarm, each.name) for each in fields(alarm) if each.name != "row"}
