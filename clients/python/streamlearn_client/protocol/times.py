"""Times of samples: int64 nanoseconds since 1970, from the forms in which programs have them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamlearn_client.errors import BadDtype, BadShape, BadValue
from streamlearn_client.protocol.samples import as_numbers

__all__ = ["NO_TIME", "TIME", "Times", "TimesLike", "as_times", "is_nanoseconds"]

Times: TypeAlias = NDArray[np.int64]
"""int64, (n,): nanoseconds since 1970 (UTC), C-contiguous and aligned."""

TimesLike: TypeAlias = ArrayLike | datetime | Sequence[datetime] | str
"""Times as a caller may pass them: integers are nanoseconds since 1970, floats seconds; or dates.

Text is the name of a column of the samples, if they are a data frame, an Arrow table or a dict of columns.
"""

NO_TIME: Final = int(np.iinfo(np.int64).min)
"""A time that is not known, as NumPy's NaT. No sample may have it."""

TIME: Final = struct.Struct("<q")
"""Packs one time as its frame."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = 1_000_000_000
_LARGEST_SECONDS: Final = 9_223_372_036  # ± so many seconds fit: years 1677 to 2262
_RANGE: Final = "times must lie in the years 1678 to 2261, which int64 nanoseconds can express"


def as_times(values: Any, rows: int) -> Times:
    """Convert times to int64 nanoseconds since 1970.

    Parameters
    ----------
    values : array_like, (rows,)
        The time of each sample, or one for all: integers (nanoseconds since 1970), floats (seconds since
        1970), ``datetime64`` of any unit (UTC), or datetimes with a time zone; pandas objects too.
    rows : int
        Number of samples.

    Returns
    -------
    ndarray of int64, (rows,)
        The times, C-contiguous and writable.

    Raises
    ------
    BadShape
        If the number of times is neither 1 nor ``rows``.
    BadDtype
        If a value is not a time, or a datetime has no time zone.
    BadValue
        If a time is missing or infinite, or not within the years 1678 to 2261.
    """
    times = _as_nanoseconds(values)
    if times.shape not in ((), (rows,)):
        raise BadShape(
            f"times has shape {times.shape}; one for all, or one for each of {rows} samples, was expected",
            expected=[rows],
            got=list(times.shape),
        )
    if (times == NO_TIME).any():
        raise _missing()
    if times.ndim == 0:
        return np.full(rows, times)
    return np.require(times, np.int64, ("C", "A", "W"))


def is_nanoseconds(value: Any) -> TypeGuard[int]:
    """Return whether ``value`` is an integer that a time can be, and so needs no conversion."""
    return type(value) is int and NO_TIME < value < -NO_TIME


def _as_nanoseconds(values: Any) -> Times:
    if type(values) is int:
        return _from_integer(values)
    if isinstance(values, str):
        raise BadDtype(
            f"times is the text {values!r:.40}: text names a column of a data frame, an Arrow table or a"
            " dict, and these samples are none. Pass nanoseconds (integers), seconds (floats) or dates"
        )
    dtype = getattr(values, "dtype", None)
    has_zone = not isinstance(dtype, np.dtype) and str(dtype).startswith("datetime64[")  # of pandas
    try:
        given = np.asarray(values, "M8[ns]") if has_zone else np.asarray(values)
    except ValueError:
        raise BadShape("times must be one time for all samples, or a flat list") from None
    if np.ma.is_masked(values):
        raise _missing()
    if given.dtype.kind == "O" and given.size and isinstance(given.flat[0], datetime):
        return np.array([_from_datetime(each) for each in given.flat], np.int64).reshape(given.shape)
    if given.dtype.kind == "M":
        return _from_dates(given)
    if given.dtype.kind in "iu":
        if given.dtype.kind == "u" and (given > np.iinfo(np.int64).max).any():
            raise BadValue(_RANGE)
        return given.astype(np.int64)
    if given.dtype.kind not in "fO":
        raise BadDtype(
            f"times must be nanoseconds (integers) or seconds (floats) since 1970, or dates (datetime64), not"
            f" {given.dtype}"
        )
    return _from_seconds(as_numbers(values, "times").astype(np.float64))


def _from_integer(value: int) -> Times:
    if not NO_TIME < value <= np.iinfo(np.int64).max:
        raise BadValue(_RANGE)
    return np.array(value, np.int64)


def _from_datetime(value: Any) -> int:
    if not isinstance(value, datetime):
        raise BadDtype(f"times has a {type(value).__name__} among datetimes")
    if value != value:  # pandas.NaT
        raise _missing()
    if value.tzinfo is None:
        raise BadDtype("times has a datetime without a time zone; add one, or pass seconds since 1970")
    nanoseconds = (value - _EPOCH) // timedelta(microseconds=1) * 1000 + getattr(value, "nanosecond", 0)
    if abs(nanoseconds) > _LARGEST_SECONDS * _SECOND:
        raise BadValue(_RANGE)
    return int(nanoseconds)


def _from_dates(dates: NDArray[Any]) -> Times:
    seconds = dates.astype("M8[s]").astype(np.int64)
    if (np.isnat(dates)).any():
        raise _missing()
    if (np.abs(seconds) >= _LARGEST_SECONDS).any():
        raise BadValue(_RANGE)
    return np.asarray(dates.astype("M8[ns]").astype(np.int64))


def _from_seconds(seconds: NDArray[np.float64]) -> Times:
    if not np.isfinite(seconds).all():
        raise _missing()
    if (np.abs(seconds) >= _LARGEST_SECONDS).any():
        raise BadValue(f"{_RANGE}. A float is a number of seconds since 1970, an integer of nanoseconds")
    return np.asarray(np.rint(seconds * _SECOND).astype(np.int64))


def _missing() -> BadValue:
    return BadValue("times has a missing or infinite value; every sample needs a finite time")
