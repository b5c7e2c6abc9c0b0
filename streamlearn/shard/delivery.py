"""Exactly once (R5): which batch of each producer comes next.

A producer numbers its batches 0, 1, 2, … within an epoch. A number below the next one is a resend, one
above it is a hole, and an epoch below the known one is a predecessor that lives on after it was replaced.

The table travels in a model's checkpoints, so it must be bounded: beyond `CAPACITY` producers the one
whose last batch is oldest is forgotten, and has to begin a new epoch. Only journalled batches move a
producer, so replay makes the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamlearn.errors import Fenced, Gap
from streamlearn.models.serialization import BESIDES

CAPACITY = 4096

Position = tuple[int, int, int]  # epoch, next seq, lsn of the last batch


class Delivery:
    """The producers of one model, the one heard of longest ago first."""

    __slots__ = ("_positions",)

    def __init__(self, positions: Mapping[str, Position] | None = None) -> None:
        self._positions: dict[str, Position] = dict(positions or {})

    def __len__(self) -> int:
        return len(self._positions)

    def position(self, producer: str) -> Position:
        """(epoch, next seq, last lsn) of `producer`; (0, 0, 0) for one not known."""
        return self._positions.get(producer, (0, 0, 0))

    def is_duplicate(self, producer: str, epoch: int, seq: int) -> bool:
        """Whether this batch is a resend; `False` means that it is the very next one.

        Raises `Gap` for a batch further ahead and `Fenced` for one of an older epoch.
        """
        known, expected, _ = self.position(producer)
        if epoch < known:
            raise Fenced(
                f"epoch {epoch} of producer {producer!r} was replaced by epoch {known}; stop this producer, "
                f"or start it again with an epoch above {known}",
                epoch=known,
            )
        if epoch > known:
            expected = 0
        if seq > expected:
            raise Gap(
                f"batch {seq} of producer {producer!r} (epoch {epoch}) came where {expected} was expected; "
                f"send the batches from {expected} on, in order",
                expected_seq=expected,
            )
        return seq < expected

    def advance(self, producer: str, epoch: int, seq: int, lsn: int) -> None:
        """The batch is in the journal at `lsn`."""
        positions = self._positions
        positions.pop(producer, None)
        positions[producer] = (epoch, seq + 1, lsn)
        if len(positions) > CAPACITY:
            del positions[next(iter(positions))]

    def copy(self) -> Delivery:
        return Delivery(self._positions)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """`delivery.producers` u8, all names in UTF-8; where each ends, `delivery.ends` i64 (n,); and
        `delivery.positions` i64 (n, 3). A model passes over them."""
        names = [name.encode() for name in self._positions]
        return {
            f"{BESIDES}producers": np.frombuffer(b"".join(names), np.uint8).copy(),
            f"{BESIDES}ends": np.cumsum([len(name) for name in names], dtype=np.int64),
            f"{BESIDES}positions": np.array(list(self._positions.values()), np.int64).reshape(-1, 3),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Delivery:
        """The table in a checkpoint's arrays; an empty one when there is none (a model saved by hand)."""
        if f"{BESIDES}ends" not in arrays:
            return cls()
        names = arrays[f"{BESIDES}producers"].tobytes()
        bounds = pairwise([0, *arrays[f"{BESIDES}ends"].tolist()])
        positions = arrays[f"{BESIDES}positions"].tolist()
        return cls(
            {
                names[start:end].decode(): (epoch, seq, lsn)
                for (start, end), (epoch, seq, lsn) in zip(bounds, positions, strict=True)
            }
        )
