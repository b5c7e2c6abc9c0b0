"""Recent alarms, for a page that is opened later.

Their number is bounded: if there are too many, the model with the most loses its oldest one. With a file
(`alarm_file.py`) they survive the end of the gateway. Alarms that the daemon publishes while no gateway runs
are not in it; those times are the ``gaps``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any, Final

import numpy as np

from streamlearn.gateway.alarm_file import AlarmFile, Line
from streamlearn.json_values import document
from streamlearn_client.alarms import AlarmEvent
from streamlearn_client.results import Event

MOST_GAPS: Final = 100
SPARE_LINES: Final = 1000
"""The file is written anew when it has more lines than twice the alarms and these."""


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

    def to_line(self) -> Line:
        """Return the alarm as a line of the file."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return own | {"alarm": alarm_to_map(self.alarm)}

    @classmethod
    def from_line(cls, line: Line) -> KeptAlarm:
        """Return the alarm of a line. Raises `TypeError`, `KeyError` or `ValueError` for any other line."""
        alarm = dict(line["alarm"])
        for name in ("contribution", "expected"):
            alarm[name] = np.array(alarm[name], np.float32)
        kept = cls(**line | {"alarm": AlarmEvent(**alarm)})
        if not (type(kept.model) is str and type(kept.time) is int and type(kept.number) is int):
            raise ValueError("an alarm has no model, time or number")
        return kept


class AlarmHistory:
    """The last alarms of all models, at most ``most``. One entry has the begin and the end of an alarm.

    Parameters
    ----------
    most
        Largest number of alarms.
    file
        Where they are kept; without it in memory only.

    Raises
    ------
    BadConfig
        If the file can't be used.
    """

    def __init__(self, most: int, file: AlarmFile | None = None) -> None:
        self.since = time.time_ns()
        """The alarms are complete from this time on, in ns since 1970, except in ``gaps``."""
        self.gaps: list[tuple[int, int]] = []
        """From when until when no gateway ran."""
        self._most, self._file = most, file
        self._models: dict[str, deque[KeptAlarm]] = {}  # oldest first
        self._count = self._numbers = 0
        if file is not None:
            self._load(file)

    def _load(self, file: AlarmFile) -> None:
        header, lines, ran = file.read()
        if header is not None:
            try:
                since, gaps = int(header["since"]), [(int(begin), int(end)) for begin, end in header["gaps"]]
                alarms = _last_states(lines)
            except (KeyError, TypeError, ValueError) as error:
                file.set_aside(str(error))
            else:
                self.gaps, self.since = [*gaps, (min(ran, self.since), self.since)], since
                for each in alarms:
                    self._add(each)
                self._numbers = max((each.number for each in alarms), default=0)
                for _, end in self.gaps[:-MOST_GAPS]:
                    self.since = end
                del self.gaps[:-MOST_GAPS]
        self._rewrite()

    def _rewrite(self) -> None:
        if self._file is not None:
            alarms = sorted(chain.from_iterable(self._models.values()), key=lambda each: each.number)
            header = {"since": self.since, "gaps": self.gaps}
            self._file.rewrite(header, [each.to_line() for each in alarms])

    def _write(self, lines: Iterable[Line]) -> None:
        if self._file is not None:
            self._file.append(lines)
            if self._file.lines > 2 * self._count + SPARE_LINES:
                self._rewrite()

    def alive(self) -> None:
        """Note that the gateway runs."""
        if self._file is not None:
            self._file.touch()

    def observe(self, event: Event, channels: Sequence[str] | None = None) -> None:
        """Note an event of the daemon. ``channels``: the names of the model's channels, if it has some."""
        if event.kind == "alarm":
            for alarm in event.alarms:
                self._note(event, alarm, channels)
        elif event.kind == "deleted":
            self._delete(event.model)
        elif event.kind == "restored":
            self._end(self._models.get(event.model, ()), event.time, ("score", "stuck"))

    def daemon_started(self, now: int) -> None:
        """End the alarms of silent streams: a new daemon does not know them. ``now``: ns since 1970."""
        self._end(chain.from_iterable(self._models.values()), now, ("silent",))

    def models_on(self) -> list[str]:
        """Return the names of the models with an alarm that is on."""
        return [model for model, kept in self._models.items() if any(each.on for each in kept)]

    def confirm(self, model: str, causes: Collection[str] | None, now: int) -> None:
        """End the alarms of a model except those of ``causes``, which are on. None: the model is deleted.

        ``now``: ns since 1970, for ends that came while no gateway ran.
        """
        if causes is None:
            self._delete(model)
            return
        kept = self._models.get(model, ())
        self._end(kept, now, {each.alarm.cause for each in kept} - set(causes))

    def _delete(self, model: str) -> None:
        if model in self._models:
            self._count -= len(self._models.pop(model))
            self._write([{"deleted": model}])

    def _end(self, alarms: Iterable[KeptAlarm], now: int, causes: Collection[str]) -> None:
        ended = [each for each in alarms if each.on and each.alarm.cause in causes]
        for each in ended:
            each.on, each.ended = False, now
        self._write([each.to_line() for each in ended])

    def _note(self, event: Event, alarm: AlarmEvent, channels: Sequence[str] | None) -> None:
        moment = event.time if alarm.time is None else alarm.time
        kept = self._models.get(event.model, ())
        begins = alarm.state == "begin"
        if not begins and (began := self._began(kept, alarm)):
            began.alarm, began.on, began.ended = alarm, False, moment
            self._write([began.to_line()])
            return
        if begins:  # the end of an alarm before it came when no gateway ran
            same = [each for each in kept if _stream(each.alarm) == _stream(alarm)]
            self._end(same, moment, (alarm.cause,))
        self._numbers += 1
        ended = None if begins else moment
        new = KeptAlarm(event.model, event.lsn, moment, alarm, channels, begins, ended, self._numbers)
        self._add(new)
        self._write([new.to_line()])

    def _add(self, alarm: KeptAlarm) -> None:
        self._models.setdefault(alarm.model, deque()).append(alarm)
        self._count += 1
        if self._count > self._most:
            max(self._models.values(), key=len).popleft()
            self._count -= 1

    def _began(self, kept: Iterable[KeptAlarm], end: AlarmEvent) -> KeptAlarm | None:
        """Return the alarm that ends: the last one that is on, or one that a restore ended before."""
        same = [each for each in kept if _stream(each.alarm) == _stream(end)]
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


def _stream(alarm: AlarmEvent) -> tuple[str, int | str | None, int]:
    """The cause, the key, and which channel is stuck. Of each, one alarm of a model is on at a time."""
    return alarm.cause, alarm.key, alarm.channel if alarm.cause == "stuck" else -1


def _last_states(lines: Iterable[Line]) -> list[KeptAlarm]:
    """Return the alarms of a file in the order in which they began, each as its last line has it."""
    found: dict[int, KeptAlarm] = {}
    for line in lines:
        if "deleted" in line:
            found = {number: each for number, each in found.items() if each.model != line["deleted"]}
        else:
            alarm = KeptAlarm.from_line(line)
            found[alarm.number] = alarm
    return sorted(found.values(), key=lambda each: each.number)


def alarm_to_map(alarm: AlarmEvent) -> dict[str, Any]:
    """Return the fields of an alarm."""
    return {each.name: getattr(alarm, each.name) for each in fields(alarm) if each.name != "row"}
