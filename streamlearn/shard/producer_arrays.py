"""The producer table as arrays of a checkpoint. Models ignore arrays with this prefix.

- `producers.names` u8: all names in UTF-8, joined; producers with a name first, oldest last batch first
- `producers.ends` i64 `(n,)`: where each name ends
- `producers.positions` i64 `(n, 3)`: epoch, next seq, lsn of the last batch
- `producers.digests` u64: the digests of the last batches of each producer, joined, oldest first
- `producers.digest_ends` i64 `(n,)`: where the digests of each producer end
- `producers.floors` i64 `(2,)`: smallest epoch of an unknown producer, with a name and with a generated one

The last three are absent in files of earlier versions.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamlearn.errors import BadCheckpoint
from streamlearn.models.serialization import PRODUCER_PREFIX
from streamlearn_client.protocol.messages import WIDE_WINDOW

NAMES, ENDS, POSITIONS, DIGESTS, DIGEST_ENDS, FLOORS = (
    f"{PRODUCER_PREFIX}{name}" for name in ("names", "ends", "positions", "digests", "digest_ends", "floors")
)


class ProducerRow(NamedTuple):
    """One producer."""

    name: str
    epoch: int
    next_seq: int
    lsn: int
    digests: array[int]  # of at most WIDE_WINDOW batches before next_seq, oldest first


def encode(rows: Sequence[ProducerRow], floors: tuple[int, int]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a table."""
    names = [row.name.encode() for row in rows]
    return {
        NAMES: np.frombuffer(b"".join(names), np.uint8).copy(),
        ENDS: _ends(map(len, names)),
        POSITIONS: np.array([row[1:4] for row in rows], np.int64).reshape(-1, 3),
        DIGESTS: np.frombuffer(b"".join(row.digests for row in rows), np.uint64).copy(),
        DIGEST_ENDS: _ends(len(row.digests) for row in rows),
        FLOORS: np.array(floors, np.int64),
    }


def decode(arrays: Mapping[str, NDArray[Any]]) -> tuple[list[ProducerRow], tuple[int, int]]:
    """Return the rows and the floors in a checkpoint's arrays; none if it has no table.

    Raises `BadCheckpoint` if the arrays are not a table.
    """
    if ENDS not in arrays:
        return [], (0, 0)
    n = len(arrays[ENDS])
    names = _array(arrays, NAMES, np.uint8, 1).tobytes()
    positions = _array(arrays, POSITIONS, np.int64, 2)
    floors = _array(arrays, FLOORS, np.int64, 1, np.zeros(2, np.int64))
    digests = _array(arrays, DIGESTS, np.uint64, 1, np.zeros(0, np.uint64))
    ends = _array(arrays, DIGEST_ENDS, np.int64, 1, np.zeros(n, np.int64))
    name_bounds = _bounds(_array(arrays, ENDS, np.int64, 1), len(names))
    digest_bounds = _bounds(ends, len(digests))
    if positions.shape != (n, 3) or len(ends) != n or floors.shape != (2,):
        raise _bad("its arrays have different lengths")
    if (positions < 0).any() or (floors < 0).any():
        raise _bad("a number is negative")
    rows: dict[str, ProducerRow] = {}
    for (start, end), (first, last), (epoch, next_seq, lsn) in zip(
        name_bounds, digest_bounds, positions.tolist(), strict=True
    ):
        try:
            name = names[start:end].decode()
        except UnicodeDecodeError as error:
            raise _bad(f"a name is not UTF-8 ({error.reason})") from None
        if not name or name in rows or not last - first <= min(next_seq, WIDE_WINDOW):
            raise _bad(f"the entry of {name!r} is invalid")
        rows[name] = ProducerRow(name, epoch, next_seq, lsn, array("Q", digests[first:last].tobytes()))
    return list(rows.values()), (int(floors[0]), int(floors[1]))


def _ends(lengths: Any) -> NDArray[np.int64]:
    return np.fromiter(accumulate(lengths), np.int64)


def _bounds(ends: NDArray[np.int64], total: int) -> list[tuple[int, int]]:
    """Return start and end of each entry. Raise `BadCheckpoint` if they do not divide `total`."""
    bounds = list(pairwise([0, *ends.tolist()]))
    if any(start > end for start, end in bounds) or (bounds[-1][1] if bounds else 0) != total:
        raise _bad("the ends of its entries are wrong")
    return bounds


def _array(
    arrays: Mapping[str, NDArray[Any]],
    name: str,
    dtype: type[np.generic],
    axes: int,
    default: NDArray[Any] | None = None,
) -> NDArray[Any]:
    found = arrays.get(name, default)
    if found is None or found.dtype != dtype or found.ndim != axes:
        raise _bad(f"array {name!r} is missing or has a wrong type")
    return found


def _bad(problem: str) -> BadCheckpoint:
    return BadCheckpoint(
        f"the producer table of the checkpoint is damaged: {problem}; use another checkpoint"
    )
