"""What a message means: values of channels, with a time, and the number that its source gave it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from streamlearn.tabular.times import TimeColumn

NUMBERS: Final = 2**41
"""Numbers of messages are below this one. A time in milliseconds is."""
_LARGEST = float(np.finfo(np.float32).max)


class BadPayload(ValueError):
    """A message that has no meaning for its input."""


class Reading(NamedTuple):
    """Values of channels at one time. ``None``: the time of arrival."""

    values: Mapping[str, float]
    time: int | None = None


class Readings(NamedTuple):
    """The readings of one message.

    ``number`` is the message's place among those of its source, ``None`` if it has none. A new ``run`` of a
    source counts from the beginning.
    """

    rows: list[Reading]
    number: int | None = None
    run: str = ""


def as_value(value: Any, what: str) -> float:
    """Return a value of a channel. ``None`` is NaN, a missing one."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise BadPayload(f"{what} is {value[:40]!r}; expected a number") from None
    if not isinstance(value, (int, float)):
        raise BadPayload(f"{what} is {type(value).__name__}; expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if abs(number) > _LARGEST:
        raise BadPayload(f"{what} is {number:g}; expected a finite number of 32 bits")
    return number


def as_number(value: Any, what: str) -> int:
    """Return the number of a message."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value < NUMBERS:
        raise BadPayload(f"{what} is {value!r:.40}; expected a whole number from 0 to 2^41 - 1")
    return value


class Times:
    """Reads the times of an input, as `TimeColumn` does: the first one decides their form."""

    def __init__(self, form: str | None, utc_offset: float) -> None:
        self._column = TimeColumn(form, utc_offset)

    def read(self, value: Any, what: str) -> int:
        """Return nanoseconds since 1970."""
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise BadPayload(f"{what} is {value!r:.40}; expected a time")
        try:
            return self._column.read(value if isinstance(value, str) else _digits(value))
        except ValueError as problem:
            raise BadPayload(f"{what} {problem}") from None


def _digits(value: int | float) -> str:
    """Return a number without an exponent below 1e16, as times are written."""
    return repr(value) if isinstance(value, float) else str(value)
