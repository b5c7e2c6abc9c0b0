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

__all__ = ["Identifiers", "as_identifiers", "identifier"]

Identifiers: TypeAlias = NDArray[np.int64]
"""int64, (n,), C-contiguous."""


def identifier(name: str) -> int:
    """The number that a name stands for."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)


def as_identifiers(values: Any, rows: int, what: str) -> Identifiers:
    """``values``, one for each of ``rows`` samples or one for all of them, as int64 ``(rows,)``.

    Raises ``BadDtype`` for anything but integers and text, ``BadValue`` for an integer beyond 64 bits, and
    ``BadShape`` where there are neither one nor ``rows``.
    """
    given = np.asarray(values)
    if given.dtype.kind == "U":
        names = [identifier(str(name)) for name in given.flat]
        given = np.array(names, np.int64).reshape(given.shape)
    if given.dtype.kind not in "iu" and given.size:
        raise BadDtype(f"{what} must be integers or text, not {given.dtype}", dtype=str(given.dtype))
    if given.dtype.kind == "u" and given.size and given.max() > np.iinfo(np.int64).max:
        raise BadValue(f"{what} has {given.max()}, which is beyond 64 bits with a sign")
    if given.ndim == 0:
        return np.full(rows, given, np.int64)
    if given.shape != (rows,):
        raise BadShape(
            f"{what} has shape {given.shape}; one for all, or one for each of {rows} samples, was expected",
            expected=[rows],
            got=list(given.shape),
        )
    return np.require(given, np.int64, ("C", "A", "W"))
