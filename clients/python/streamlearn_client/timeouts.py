"""Timeouts: one rule for every timeout of the client and of the command line.

``None``, infinity and anything above `LONGEST` mean no limit. Negative numbers, NaN, booleans, text and
other objects are refused with ``BadValue``.
"""

from __future__ import annotations

import math
import time
from enum import Enum
from typing import Any, Final

import numpy as np

from streamlearn_client.errors import BadValue

__all__ = ["DEFAULT", "Deadline", "Default", "check_timeout"]

LONGEST: Final = 1e9
"""Longest timeout in seconds, 31 years; a longer one means no limit."""
LONGEST_WAIT: Final = 3600.0
"""Longest single wait in seconds. Every wait is part of a loop, so it may end early."""


class Default(Enum):
    """The type of `DEFAULT`."""

    DEFAULT = "DEFAULT"
    """Use the timeout that was given when the object was created."""

    def __repr__(self) -> str:
        return self.value


DEFAULT: Final = Default.DEFAULT


def check_timeout(value: Any, field: str = "timeout", *, zero: bool = False) -> float:
    """Return a timeout in seconds; infinity for no limit.

    Parameters
    ----------
    value : float or None
        The timeout. ``None`` means no limit.
    field : str, default "timeout"
        Name of the argument, for the error message.
    zero : bool, default False
        Whether 0 is accepted; it means: do not wait.

    Returns
    -------
    float
        The timeout.

    Raises
    ------
    BadValue
        If ``value`` is not ``None`` or a number in this range.
    """
    if value is None:
        return math.inf
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        if value > LONGEST:
            return math.inf
        if value > 0 or (zero and value == 0):
            return float(value)
    least = "0 or more" if zero else "more than 0"
    raise BadValue(
        f"{field} must be {least} seconds, or None for no limit; not {value!r}",
        field=field,
    )


class Deadline:
    """The end of a wait, on the monotonic clock."""

    __slots__ = ("at", "timeout")

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.at = time.monotonic() + timeout

    def remaining(self) -> float:
        """Return the seconds until the deadline: 0 after it, infinity without a limit."""
        return max(0.0, self.at - time.monotonic())

    def wait(self) -> float:
        """Return the seconds of the next single wait."""
        return min(self.remaining(), LONGEST_WAIT)

    def wait_ms(self) -> int:
        """Return the milliseconds of the next single wait, rounded up."""
        return math.ceil(self.wait() * 1000)
