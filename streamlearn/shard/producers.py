"""Exactly once (R5): the next batch expected from each producer.

A producer numbers its batches 0, 1, 2, … within an epoch. A number below the expected one is a resend, a
number above it is a gap, and an epoch below the known one belongs to a producer that was replaced.

The table is part of a model's checkpoints, so its size is bounded: beyond `CAPACITY` producers, the one with
the oldest last batch is removed and must begin a new epoch. Only journalled batches change the table, so
replay builds the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamlearn.errors import Fenced, Gap
from streamlearn.models.serialization import PRODUCER_PREFIX

CAPACITY = 4096

NAMES, ENDS, POSITIONS = f"{PRODUCER_PREFIX}names", f"{PRODUCER_PREFIX}ends", f"{PRODUCER_PREFIX}positions"

Position = tuple[int, int, int]  # epoch, next seq, lsn of the last batch


class ProducerState:
    """The producers of one model, ordered by their last batch, oldest first."""

    __slots__ = ("_positions",)

    def __init__(self, positions: Mapping[str, Position] | None = None) -> None:
        self._positions: dict[str, Position] = dict(positions or {})

    def __len__(self) -> int:
        return len(self._positions)

    def position(self, producer: str) -> Position:
        """Return (epoch, next seq, last lsn) of a producer; (0, 0, 0) if it is unknown."""
        return self._positions.get(producer, (0, 0, 0))

    def is_duplicate(self, producer: str, epoch: int, seq: int) -> bool:
        """Whether a batch is a resend; `False` means that it is the expected one.

        Raises
        ------
        Gap
            If batches before this one are missing.
        Fenced
            If the epoch is older than the producer's current one.
        """
        current, expected, _ = self.position(producer)
        if epoch < current:
            raise Fenced(
                f"epoch {epoch} of producer {producer!r} was replaced by epoch {current}; stop this "
                f"producer, or start it again with an epoch above {current}",
                epoch=current,
            )
        if epoch > current:
            expected = 0
        if seq > expected:
            raise Gap(
                f"batch {seq} of producer {producer!r} (epoch {epoch}) came where {expected} was expected; "
                f"send the batches from {expected} on, in order",
                expected_seq=expected,
            )
        return seq < expected

    def advance(self, producer: str, epoch: int, seq: int, lsn: int) -> None:
        """Record that the journal has this batch at `lsn`."""
        positions = self._positions
        positions.pop(producer, None)
        positions[producer] = (epoch, seq + 1, lsn)
        if len(positions) > CAPACITY:
            del positions[next(iter(positions))]

    def copy(self) -> ProducerState:
        """Return an independent copy."""
        return ProducerState(self._positions)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the table as arrays for a checkpoint; models ignore arrays with this prefix.

        `producers.names` u8, all names in UTF-8, joined; `producers.ends` i64 (n,), where each name ends;
        `producers.positions` i64 (n, 3).
        """
        names = [name.encode() for name in self._positions]
        return {
            NAMES: np.frombuffer(b"".join(names), np.uint8).copy(),
            ENDS: np.cumsum([len(name) for name in names], dtype=np.int64),
            POSITIONS: np.array(list(self._positions.values()), np.int64).reshape(-1, 3),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ProducerState:
        """Return the table of a checkpoint; an empty one if the file has none (a model saved by `save`)."""
        if ENDS not in arrays:
            return cls()
        names = arrays[NAMES].tobytes()
        bounds = pairwise([0, *arrays[ENDS].tolist()])
        positions = arrays[POSITIONS].tolist()
        return cls(
            {
                names[start:end].decode(): (epoch, seq, lsn)
                for (start, end), (epoch, seq, lsn) in zip(bounds, positions, strict=True)
            }
        )
