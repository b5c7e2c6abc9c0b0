"""The times of CSV rows: which form a column has, and its conversion to nanoseconds since 1970.

The first row decides the form of a column; a later row in another form is an error. A form that could be read
in two ways is refused, with the options that decide it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from streamlearn.tabular.errors import BadUsage

_SECOND = 1_000_000_000
_LARGEST = 2**63 - 1
_UNITS = {"seconds": _SECOND, "milliseconds": 1_000_000, "microseconds": 1000, "nanoseconds": 1}
_LEAST_SECONDS = 10**8  # 1973-03-03: smaller numbers could be in any unit, or no time at all
FORMATS = ("iso", *_UNITS, "day-first", "month-first")
MONTHS = {name: n for n, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}

_CLOCK = (
    r"(?:(?:[T ]\s*|,\s*)(?P<hour>\d{1,2}):?(?P<minute>\d{2})"
    r"(?::?(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?\s*(?P<half>[AaPp][Mm])?)?\s*(?P<zone>Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?"
)
_ISO = re.compile(
    r"(?P<year>\d{4})(?P<dash>[-/.]?)(?P<month>\d{2})(?P=dash)(?P<day>\d{2})" + _CLOCK, re.ASCII
)
_PARTS = re.compile(
    r"(?P<first>\d{1,2})(?P<dash>[-/.])(?P<other>\d{1,2})(?P=dash)(?P<year>\d{4})" + _CLOCK, re.ASCII
)
_NAMED = re.compile(
    r"(?:(?P<day>\d{1,2})[- ](?P<month>[A-Za-z]{3,9})[- ,]+"
    r"|(?P<us_month>[A-Za-z]{3,9}) (?P<us_day>\d{1,2}),? )(?P<year>\d{4})" + _CLOCK,
    re.ASCII,
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE]\+?\d{1,2})?", re.ASCII)


class _Form(NamedTuple):
    """One way to write a time. ``read`` returns None for a text in another form."""

    name: str
    read: Callable[[str], int | None]


class TimeColumn:
    """Reads the times of a column.

    Parameters
    ----------
    form
        ``--time-format``: one of ``FORMATS``, or a pattern of ``strptime`` with ``%``. ``None``: the first
        row decides.
    utc_offset
        Hours that times without a zone are ahead of UTC.

    Raises
    ------
    BadUsage
        If there is no such format.
    """

    def __init__(self, form: str | None = None, utc_offset: float = 0.0) -> None:
        if not -24 <= utc_offset <= 24:
            raise BadUsage(f"--utc-offset {utc_offset:g}: a number of hours from -24 to 24 was expected")
        self._offset = round(utc_offset * 3600 * _SECOND)
        self._form: _Form | None = None
        if form is not None:
            self._form = self._named(form)

    def read(self, text: str) -> int:
        """Return the time in nanoseconds since 1970. Raises ``ValueError`` with the reason."""
        text = text.strip()
        if not text:
            raise ValueError("is empty: every row needs a time")
        if self._form is None:
            self._form = self._detected(text)
        try:
            time = self._form.read(text)
        except (ValueError, OverflowError) as problem:
            raise ValueError(f"{text[:40]!r} is no time: {problem}") from None
        if time is None:
            raise ValueError(
                f"{text[:40]!r} is not in the form {self._form.name!r}, which the rows before it or"
                " --time-format have"
            )
        if abs(time) > _LARGEST:
            raise ValueError(f"{text[:40]!r} is not within the years 1678 to 2261")
        return time

    @property
    def offset(self) -> int:
        """Nanoseconds that times without a zone are ahead of UTC."""
        return self._offset

    def read_value(self, value: object) -> int:
        """Return the time of a typed value: a text as `read`, an integer or a float as the client.

        With ``--time-format``, numbers are in this form. Without it, floats are seconds, and integers are in
        the unit of their size. Raises ``ValueError`` with the reason.
        """
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError(f"{value!r} is no time: a text or a number was expected")
        if isinstance(value, str) or self._form is not None:
            return self.read(str(value))
        if isinstance(value, float):
            if not abs(value) <= _LARGEST / _SECOND:
                raise ValueError(f"{value!r} is not within the years 1678 to 2261")
            return round(value * _SECOND)
        if abs(value) > _LARGEST:
            raise ValueError(f"{value!r} is not within the years 1678 to 2261")
        return value * _UNITS[_unit_of(str(value))] if abs(value) >= _LEAST_SECONDS else value

    def _named(self, form: str) -> _Form:
        if "%" in form:
            return _Form(form, lambda text: self._patterned(text, form))
        if form in _UNITS:
            return _Form(form, lambda text: _count(text, _UNITS[form]))
        if form == "iso":
            return _Form(form, lambda text: self._date(_ISO.fullmatch(text)))
        if form in ("day-first", "month-first"):
            return _Form(form, lambda text: self._date(_PARTS.fullmatch(text), form == "day-first"))
        raise BadUsage(
            f"--time-format {form}: use one of {', '.join(FORMATS)}, or a pattern such as %d.%m.%Y"
        )

    def _detected(self, text: str) -> _Form:
        """Return the form of the first time. Raises ``ValueError`` if it has none, or several."""
        compact = re.fullmatch(r"\d{8}", text, re.ASCII)
        if _NUMBER.fullmatch(text) and not compact:
            return self._named(_unit_of(text))
        if compact or _ISO.fullmatch(text) is None:
            parts = _PARTS.fullmatch(text)
            if parts is not None:
                return self._named(_order_of(text, parts))
            if _NAMED.fullmatch(text) is not None:
                return _Form("day and name of the month", lambda given: self._date(_NAMED.fullmatch(given)))
            if compact:
                raise ValueError(
                    f"{text!r} may be a date or a number: set --time-format iso, or a unit such as seconds"
                )
            raise ValueError(
                f"{text[:40]!r} is in no form of a time that is recognised: set --time-format to one of"
                f" {', '.join(FORMATS)}, or to a pattern such as '%d.%m.%y %H:%M'"
            )
        return self._named("iso")

    def _date(self, found: re.Match[str] | None, day_first: bool = True) -> int | None:
        if found is None:
            return None
        part = found.groupdict()
        if "first" in part:
            day, month = (part["first"], part["other"]) if day_first else (part["other"], part["first"])
        elif part.get("us_month"):
            day, month = part["us_day"], _month(part["us_month"])
        else:
            day, month = part["day"], part["month"] if part["month"].isdigit() else _month(part["month"])
        hour = int(part["hour"] or 0)
        if part["half"]:
            if not 1 <= hour <= 12:
                raise ValueError("hours with AM and PM are 1 to 12")
            hour = hour % 12 + 12 * (part["half"].lower() == "pm")
        whole = datetime(
            int(part["year"]), int(month), int(day), hour, int(part["minute"] or 0), int(part["second"] or 0),
            tzinfo=UTC,
        )  # fmt: skip
        fraction = int((part["fraction"] or "").ljust(9, "0"))
        return _seconds(whole) * _SECOND + fraction - self._zone(part["zone"])

    def _zone(self, zone: str | None) -> int:
        """Return how far ahead of UTC a zone is, in nanoseconds."""
        if zone is None:
            return self._offset
        if zone[0] not in "+-":
            return 0
        digits = zone[1:].replace(":", "").ljust(4, "0")
        seconds = 3600 * int(digits[:2]) + 60 * int(digits[2:])
        return seconds * _SECOND * (-1 if zone[0] == "-" else 1)

    def _patterned(self, text: str, pattern: str) -> int:
        found = datetime.strptime(text, pattern)  # noqa: DTZ007 - the pattern may have a zone
        offset = found.utcoffset()
        ahead = self._offset if offset is None else round(offset.total_seconds() * _SECOND)
        return _seconds(found.replace(tzinfo=UTC)) * _SECOND + found.microsecond * 1000 - ahead


def _seconds(moment: datetime) -> int:
    """Whole seconds since 1970."""
    elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return elapsed.days * 86_400 + elapsed.seconds


def _count(text: str, unit: int) -> int | None:
    return round(Decimal(text) * unit) if _NUMBER.fullmatch(text) else None


def _unit_of(text: str) -> str:
    """Return the unit of a number since 1970 by its size."""
    size = abs(Decimal(text))
    for name, least in zip(_UNITS, (_LEAST_SECONDS * 1000**k for k in range(4)), strict=True):
        if least <= size < least * 1000:
            return name
    raise ValueError(
        f"{text[:40]} may be seconds, milliseconds, microseconds or nanoseconds since 1970: set --time-format"
        " to one of these"
    )


def _order_of(text: str, parts: re.Match[str]) -> str:
    """Return whether the day or the month is first. A date with dots has the day first."""
    first, other = int(parts["first"]), int(parts["other"])
    if parts["dash"] == "." or first > 12:
        return "day-first"
    if other > 12:
        return "month-first"
    raise ValueError(
        f"{text[:40]!r} may have the day or the month first: set --time-format day-first or --time-format"
        " month-first"
    )


def _month(name: str) -> int:
    try:
        return MONTHS[name[:3].lower()]
    except KeyError:
        raise ValueError(f"{name} is no month") from None
