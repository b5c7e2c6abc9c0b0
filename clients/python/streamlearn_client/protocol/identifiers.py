"""Keys and ids: whole numbers of 64 bits, or names that stand for such numbers.

A *key* says which of many streams a sample belongs to, an *id* which sample a later target is for. A name
stands for the first 8 bytes of its BLAKE2b digest (as long as that, little-endian, signed; of the name in
UTF-8), so that any client may send the number instead.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.errors import BadDtype, BadShape, BadValue

__all__ = ["Identifiers", "as_identifier", "as_identifiers", "identifier"]

Identifiers: TypeAlias = NDArray[np.int64]
"""int64, (n,), C-contiguous."""

_INT64 = np.iinfo(np.int64)


def identifier(name: str) -> int:
    """The number that a name stands for. Raises ``BadValue`` for what is no text in Unicode."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError as error:
        raise BadValue(f"{name!r} can't name anything: {error.reason}") from None
    return int.from_bytes(blake2b(encoded, digest_size=8).digest(), "little", signed=True)


def as_identifier(value: Any, what: str) -> int:
    """One key or id as a number. Raises ``BadDtype`` and ``BadValue`` as `as_identifiers` does."""
    if isinstance(value, str):
        return identifier(value)
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        kind = type(value).__name__
        raise BadDtype(f"{what} must be integers or text, not {kind}", dtype=kind)
    if not _INT64.min <= value <= _INT64.max:
        raise BadValue(f"{what} has {value}, which is beyond 64 bits with a sign")
    return int(value)


def as_identifiers(values: Any, rows: int, what: str) -> Identifiers:
    """``values``, one for each of ``rows`` samples or one for all of them, as int64 ``(rows,)``.

    Raises ``BadDtype`` for anything but integers and text, ``BadValue`` for an integer beyond 64 bits, and
    ``BadShape`` where there are neither one nor ``rows``.
    """
    try:
        given = np.asarray(values)
    except ValueError:
        raise BadShape(f"{what} must be one for all or a flat list, not lists of unequal length") from None
    if given.dtype.kind not in "iu" or not np.can_cast(given.dtype, np.int64):
        given = _one_by_one(values, given.shape, what)
    if given.ndim == 0:
        return np.full(rows, given, np.int64)
    if given.shape != (rows,):
        raise BadShape(
            f"{what} has shape {given.shape}; one for all, or one for each of {rows} samples, was expected",
            expected=[rows],
            got=list(given.shape),
        )
    return np.require(given, np.int64, ("C", "A", "W"))


def _one_by_one(values: Any, shape: tuple[int, ...], what: str) -> Identifiers:
    """As int64 what numpy would make text or floats of: names, names beside integers, large integers."""
    if isinstance(values, np.ndarray) and values.size and values.dtype.kind not in "uUO":
        kind = str(values.dtype)
        raise BadDtype(f"{what} must be integers or text, not {kind}", dtype=kind)
    numbers = [as_identifier(value, what) for value in np.asarray(values, object).flat]
    return np.array(numbers, np.int64).reshape(shape)
