"""The batch that a stream is filling: rows are copied in as they come."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.protocol import Learn

__all__ = ["Gathering"]


class Gathering:
    """Up to ``size`` rows of one make-up: all of them samples or all of them later targets, and all of them
    with or all of them without targets, keys and ids."""

    def __init__(self, size: int) -> None:
        self.rows = 0
        self._size = size
        self._room: Learn | None = None  # arrays of ``size`` rows

    @property
    def full(self) -> bool:
        return self.rows >= self._size

    def takes(self, batch: Learn) -> bool:
        """Whether there is room for a row of ``batch``."""
        room = self._room
        return room is None or (
            self.rows < self._size
            and (room.x is None) is (batch.x is None)
            and (room.y is None) is (batch.y is None)
            and (room.keys is None) is (batch.keys is None)
            and (room.ids is None) is (batch.ids is None)
        )

    def fill(self, batch: Learn, start: int) -> int:
        """Copy its rows from ``start`` on, as many as there is room for; how many."""
        if self._room is None:
            empty = {name: _room(array, self._size) for name, array in batch.arrays.items()}
            self._room = batch._replace(**empty)
        room, at = self._room, self.rows
        more = min(self._size - at, batch.rows - start)
        _copy(batch.x, start, more, room.x, at)
        _copy(batch.y, start, more, room.y, at)
        _copy(batch.keys, start, more, room.keys, at)
        _copy(batch.ids, start, more, room.ids, at)
        self.rows += more
        return more

    def take(self) -> Learn:
        """What was gathered; what comes next begins another batch."""
        assert self._room is not None
        gathered = self._room.part(0, self.rows)
        self.rows, self._room = 0, None
        return gathered


def _copy(array: NDArray[Any] | None, start: int, count: int, room: NDArray[Any] | None, at: int) -> None:
    if array is not None and room is not None:
        room[at : at + count] = array[start : start + count]


def _room(array: NDArray[Any], size: int) -> Any:
    return np.empty((size, *array.shape[1:]), array.dtype)
