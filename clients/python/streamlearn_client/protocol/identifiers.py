"""Keys and ids: signed 64-bit integers, or names that stand for such integers.

A *key* identifies one of many streams that share a model. An *id* identifies a sample for a target that comes
later. A name stands for its BLAKE2b digest: digest size 8 bytes, of the name in UTF-8, read as a
little-endian signed integer. Any client may send the integer instead of the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.errors import BadDtype, BadShape, BadValue

__all__ = ["Identifiers", "IdentifiersLike", "as_identifier", "as_identifiers", "identifier", "texts_of"]

Identifiers: TypeAlias = NDArray[np.int64]
"""int64, (n,), C-contiguous."""

IdentifiersLike: TypeAlias = int | str | np.integer[Any] | Sequence[int | str] | NDArray[Any]
"""Keys or ids as a caller may pass them: one value for all samples, or (n,) integers or names."""

TEXT_BYTES: Final = 256
"""Longest text of a key that events have, in UTF-8."""
TEXTS_BYTES: Final = 2048
"""The texts of keys in one header, in UTF-8."""

_INT64 = np.iinfo(np.int64)


def identifier(name: str) -> int:
    """Return the integer that a name stands for.

    Parameters
    ----------
    name : str
        A name of a stream or a sample.

    Returns
    -------
    int
        A signed 64-bit integer.

    Raises
    ------
    BadValue
        If the name is not valid Unicode text.

    Examples
    --------
    >>> identifier("press 7") == identifier("press 7")
    True
    """
    try:
        encoded = name.encode()
    except UnicodeEncodeError as error:
        raise BadValue(f"{name!r} is not a valid name ({error.reason}); use Unicode text") from None
    return int.from_bytes(blake2b(encoded, digest_size=8).digest(), "little", signed=True)


def texts_of(values: Any) -> tuple[str, ...]:
    """Return the different texts among keys, as many as a header holds.

    The daemon publishes the text of a key in events. It has those that it received last.

    Parameters
    ----------
    values : int, str or array_like
        Keys, as `as_identifiers` accepts them.

    Returns
    -------
    tuple of str
        The texts, in order. Not those of more than `TEXT_BYTES` bytes.
    """
    if isinstance(values, str):
        values = [values]
    elif isinstance(values, np.ndarray) and values.dtype.kind not in "UO":
        return ()
    found: list[str] = []
    room = TEXTS_BYTES
    for value in dict.fromkeys(np.asarray(values, object).flat):
        size = len(value.encode()) if isinstance(value, str) else 0
        if 0 < size <= min(TEXT_BYTES, room):
            found.append(value)
            room -= size
    return tuple(found)


def as_identifier(value: Any, what: str) -> int:
    """Convert one key or id to an integer.

    Parameters
    ----------
    value : int or str
        The key or id.
    what : str
        Name of the argument, for error messages.

    Returns
    -------
    int
        A signed 64-bit integer.

    Raises
    ------
    BadDtype
        If ``value`` is neither an integer nor text.
    BadValue
        If the integer exceeds 64 bits, or the text is not valid Unicode.
    """
    if isinstance(value, str):
        return identifier(value)
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        kind = type(value).__name__
        raise BadDtype(f"{what} must be integers or text, not {kind}", dtype=kind)
    if not _INT64.min <= value <= _INT64.max:
        raise BadValue(f"{what} has {value}; integers must fit into 64 bits with a sign")
    return int(value)


def as_identifiers(values: Any, rows: int, what: str) -> Identifiers:
    """Convert keys or ids to an int64 array.

    Parameters
    ----------
    values : int, str or array_like, (rows,)
        One integer or name per sample, or one for all samples.
    rows : int
        Number of samples.
    what : str
        Name of the argument, for error messages.

    Returns
    -------
    ndarray of int64, (rows,)
        The integers, C-contiguous and writable.

    Raises
    ------
    BadDtype
        If a value is neither an integer nor text.
    BadValue
        If an integer exceeds 64 bits, or a value is masked.
    BadShape
        If the number of values is neither 1 nor ``rows``.
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise BadShape(f"{what} must be one value for all or a flat list, not nested lists") from None
    if np.ma.is_masked(values):
        raise BadValue(f"{what} has a masked value; every sample needs one")
    if array.dtype.kind not in "iu" or not np.can_cast(array.dtype, np.int64):
        array = _convert_values(values, array.shape, what)
    if array.ndim == 0:
        return np.full(rows, array, np.int64)
    if array.shape != (rows,):
        raise BadShape(
            f"{what} has shape {array.shape}; pass one value for all, or one for each of the {rows} samples",
            expected=[rows],
            got=list(array.shape),
        )
    return np.require(array, np.int64, ("C", "A", "W"))


def _convert_values(values: Any, shape: tuple[int, ...], what: str) -> Identifiers:
    """Convert values that NumPy would turn into text or floats: names and very large integers."""
    if isinstance(values, np.ndarray) and values.size and values.dtype.kind not in "uUO":
        kind = str(values.dtype)
        raise BadDtype(f"{what} must be integers or text, not {kind}", dtype=kind)
    numbers = [as_identifier(value, what) for value in np.asarray(values, object).flat]
    return np.array(numbers, np.int64).reshape(shape)
