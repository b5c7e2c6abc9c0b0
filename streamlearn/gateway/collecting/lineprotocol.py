"""InfluxDB line protocol: one point per line.

::

    measurement,tag=value,tag=value field=1.5,field=2i,field=t,field="text" 1772622720000000000

The form is that of https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/. A backslash
escapes comma, space and ``=`` in names and tags, and ``"`` and a backslash in texts; before any other
character it stands for itself. A text may contain ends of lines. Lines that begin with ``#`` are comments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final

from streamlearn.gateway.collecting.points import Point, Refusal

PRECISIONS: Final = {
    "ns": 1,
    "n": 1,
    "us": 1_000,
    "u": 1_000,
    "µ": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
}
"""Nanoseconds per unit of the times, by the parameter ``precision`` of version 1 and 2 of the interface."""
LARGEST_TIME: Final = 2**63 - 1

_NAME: Final = r"(?:\\[,= ]|[^,= \n])++"  # of a tag or a field
_VALUE: Final = r'(?:"(?:\\.|[^"\\])*+"|[^", \n]++)'
_HEAD: Final = re.compile(rf"((?:\\[, ]|[^, \n])++)((?:,{_NAME}={_NAME})*+)[ ]++")
_FIELDS: Final = re.compile(rf"{_NAME}={_VALUE}(?:,{_NAME}={_VALUE})*+", re.DOTALL)
_END: Final = re.compile(r"(?:[ ]++(-?[0-9]++))?[ ]*+\r?(?:\n|\Z)")
_TAG: Final = re.compile(rf",({_NAME})=({_NAME})")
_FIELD: Final = re.compile(rf"({_NAME})=({_VALUE}),?", re.DOTALL)
_ESCAPED_NAME: Final = re.compile(r"\\([,= ])")
_ESCAPED_MEASUREMENT: Final = re.compile(r"\\([, ])")
_ESCAPED_TEXT: Final = re.compile(r'\\(["\\])')
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER: Final = re.compile(r"-?[0-9]+i|[0-9]+u")
_SKIPPED: Final = re.compile(r"[ \t]*+(?:#[^\n]*+|\r)?(?:\n|\Z)")  # blank, or a comment
_TRUE: Final = frozenset({"t", "T", "true", "True", "TRUE"})
_FALSE: Final = frozenset({"f", "F", "false", "False", "FALSE"})
_SHOWN: Final = 60  # characters of a line in a message


def parse_lines(text: str, unit: int, now: int) -> Iterator[Point | Refusal]:
    """Return the points of a body, and a refusal for each line that has another form.

    Parameters
    ----------
    text
        The body.
    unit
        Nanoseconds per unit of the times.
    now
        The time of lines without one, nanoseconds since 1970.
    """
    at, line = 0, 1
    while at < len(text):
        if skipped := _SKIPPED.match(text, at):
            end = skipped.end()
        else:
            try:
                point, end = _point(text, at, line, unit, now)
                yield point
            except ValueError as problem:
                end = _next_line(text, at)
                yield Refusal(line, f"{problem} in {text[at:end].strip()[:_SHOWN]!r}")
        line += text.count("\n", at, end)
        at = end


def _next_line(text: str, at: int) -> int:
    return text.find("\n", at) + 1 or len(text)


def _point(text: str, at: int, line: int, unit: int, now: int) -> tuple[Point, int]:
    """Return the point that begins at ``at``, and where the next line begins. Raise `ValueError`."""
    head = _HEAD.match(text, at)
    if head is None:
        raise ValueError("a measurement, its tags as name=value, and a space were expected")
    fields = _FIELDS.match(text, head.end())
    if fields is None:
        raise ValueError("no field, as name=value,")
    end = _END.match(text, fields.end())
    if end is None:
        raise ValueError("after the fields, a time as a whole number and the end of the line were expected")
    tags: dict[str, str] = {}
    for name, value in _TAG.findall(head[2]):
        name = _ESCAPED_NAME.sub(r"\1", name)
        if name in tags:
            raise ValueError(f"the tag {name!r} occurs twice")
        tags[name] = _ESCAPED_NAME.sub(r"\1", value)
    values: dict[str, float] = {}
    texts: dict[str, str] = {}
    for name, value in _FIELD.findall(fields[0]):
        name = _ESCAPED_NAME.sub(r"\1", name)
        if value[0] == '"':
            texts[name] = _ESCAPED_TEXT.sub(r"\1", value[1:-1])
        else:
            values[name] = _number(name, value)
    time = now if end[1] is None else int(end[1]) * unit
    if not 0 <= time <= LARGEST_TIME:
        raise ValueError("the time is not between 1970 and 2262; does `precision` fit the times?")
    measurement = _ESCAPED_MEASUREMENT.sub(r"\1", head[1])
    return Point(line, measurement, tags, values, time, texts), end.end()


def _number(name: str, value: str) -> float:
    """Return a number; true is 1 and false is 0."""
    if _NUMBER.fullmatch(value):
        number = float(value)
    elif _INTEGER.fullmatch(value):
        number = float(value[:-1])
    elif value in _TRUE:
        return 1.0
    elif value in _FALSE:
        return 0.0
    else:
        raise ValueError(f"the field {name!r} has {value[:_SHOWN]!r}, which is no number, boolean or text")
    if math.isinf(number):
        raise ValueError(f"the field {name!r} is too large")
    return number
