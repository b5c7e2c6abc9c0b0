"""Readers of payloads: JSON, one number, and lines of CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from streamlearn.bridges.inputs import Input
from streamlearn.bridges.paths import MISSING, Path
from streamlearn.bridges.readings import BadPayload, Reading, Readings, Times, as_number, as_value
from streamlearn.bridges.topics import fill

ROWS = 10_000
"""Most readings of one message."""


class Reader(Protocol):
    """Reads the payloads of one input."""

    def read(self, payload: bytes, parts: Mapping[str, str]) -> Readings:
        """Return the readings. Raises `BadPayload`."""
        ...


def reader_of(given: Input) -> Reader:
    """Return the reader of an input's payloads."""
    return READERS[given.payload](given)


class Json:
    """Objects, or a list of objects at the path ``rows``. A channel is at its path."""

    def __init__(self, given: Input) -> None:
        self._paths = {channel: Path(path) for channel, path in given.paths.items()}
        self._rows = Path(given.rows) if given.rows else None
        self._time = Path(given.time) if given.time else None
        self._number = Path(given.number) if given.number else None
        self._run = Path(given.run) if given.run else None
        self._times = Times(given.time_format, given.utc_offset)

    def read(self, payload: bytes, parts: Mapping[str, str]) -> Readings:
        """Return the readings."""
        try:
            value = json.loads(payload)
        except (ValueError, RecursionError) as problem:
            raise BadPayload(f"the payload is not JSON: {str(problem)[:80]}") from None
        rows = [value]
        if self._rows is not None:
            rows = self._rows.find(value)
            if not isinstance(rows, list) or not rows:
                raise BadPayload(f"{self._rows.text} is no list of samples")
            if len(rows) > ROWS:
                raise BadPayload(f"{self._rows.text} has {len(rows)} samples; at most {ROWS} are accepted")
        number = None if self._number is None else as_number(_at(self._number, value), self._number.text)
        run = "" if self._run is None else str(_at(self._run, value))[:200]
        return Readings([self._reading(row, value, parts) for row in rows], number, run)

    def _reading(self, row: Any, whole: Any, parts: Mapping[str, str]) -> Reading:
        found = {fill(name, parts): path.find(row) for name, path in self._paths.items()}
        if all(value is MISSING for value in found.values()):
            expected = ", ".join(path.text for path in self._paths.values())
            raise BadPayload(f"the payload has none of {expected}")
        values = {name: as_value(None if each is MISSING else each, name) for name, each in found.items()}
        if self._time is None:
            return Reading(values)
        time = self._time.find(row)
        if time is MISSING:
            time = _at(self._time, whole)
        return Reading(values, self._times.read(time, self._time.text))


def _at(path: Path, value: Any) -> Any:
    found = path.find(value)
    if found is MISSING:
        raise BadPayload(f"the payload has no {path.text}")
    return found


class Number:
    """One number as text. Blanks around it, and a unit after a blank, are ignored."""

    def __init__(self, given: Input) -> None:
        (self._channel,) = given.paths

    def read(self, payload: bytes, parts: Mapping[str, str]) -> Readings:
        """Return the reading."""
        words = _text(payload).split()
        if not words:
            raise BadPayload("the payload is empty; expected a number")
        channel = fill(self._channel, parts)
        return Readings([Reading({channel: as_value(words[0], channel)})])


class Csv:
    """Lines whose fields are the columns of the input, in order. Empty lines are ignored."""

    def __init__(self, given: Input) -> None:
        self._columns = given.columns
        self._given = given
        self._times = Times(given.time_format, given.utc_offset)

    def read(self, payload: bytes, parts: Mapping[str, str]) -> Readings:
        """Return the readings."""
        rows, number, run = [], None, ""
        try:
            lines = [
                line
                for line in csv.reader(io.StringIO(_text(payload)), delimiter=self._given.delimiter)
                if line
            ]
        except csv.Error as problem:
            raise BadPayload(f"the payload is not CSV: {problem}") from None
        if not lines or len(lines) > ROWS:
            raise BadPayload(f"the payload has {len(lines)} lines; expected 1 to {ROWS}")
        for line in lines:
            if len(line) != len(self._columns):
                raise BadPayload(f"a line has {len(line)} fields; expected {len(self._columns)}")
            fields = dict(zip(self._columns, (field.strip() for field in line), strict=True))
            values = {
                fill(name, parts): as_value(fields[column] or None, name)
                for name, column in self._given.paths.items()
            }
            time = (
                None if not self._given.time else self._times.read(fields[self._given.time], self._given.time)
            )
            if self._given.number and number is None:  # that of the first line
                number = as_number(fields[self._given.number], self._given.number)
            if self._given.run:
                run = fields[self._given.run][:200]
            rows.append(Reading(values, time))
        return Readings(rows, number, run)


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise BadPayload("the payload is not UTF-8") from None


READERS: Final[dict[str, Callable[[Input], Reader]]] = {"json": Json, "number": Number, "csv": Csv}
"""The readers of payloads that have a meaning of their own."""
