"""The batch that a stream is filling. Rows are copied into it as they arrive."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.protocol import Learn

__all__ = ["BatchBuffer"]


class BatchBuffer:
    """Up to ``size`` rows. The first row decides which of x, y, keys and ids all rows have."""

    def __init__(self, size: int) -> None:
        self.rows = 0
        self._size = size
        self._arrays: Learn | None = None  # arrays of ``size`` rows, filled up to ``rows``

    @property
    def full(self) -> bool:
        """Whether the buffer holds ``size`` rows."""
        return self.rows >= self._size

    def accepts(self, batch: Learn) -> bool:
        """Return whether a row of ``batch`` fits: there is space, and it has the same arrays."""
        arrays = self._arrays
        return arrays is None or (
            self.rows < self._size
            and (arrays.x is None) is (batch.x is None)
            and (arrays.y is None) is (batch.y is None)
            and (arrays.keys is None) is (batch.keys is None)
            and (arrays.ids is None) is (batch.ids is None)
        )

    def append(self, batch: Learn, start: int) -> int:
        """Copy as many rows of ``batch`` as fit, from row ``start`` on. Return how many were copied."""
        if self._arrays is None:
            empty: dict[str, Any] = {
                name: np.empty((self._size, *array.shape[1:]), array.dtype)
                for name, array in batch.arrays.items()
            }
            self._arrays = batch._replace(**empty)
        arrays, at = self._arrays, self.rows
        count = min(self._size - at, batch.rows - start)
        _copy(batch.x, start, count, arrays.x, at)
        _copy(batch.y, start, count, arrays.y, at)
        _copy(batch.keys, start, count, arrays.keys, at)
        _copy(batch.ids, start, count, arrays.ids, at)
        self.rows += count
        return count

    def pop(self) -> Learn:
        """Return the buffered rows and empty the buffer."""
        assert self._arrays is not None
        batch = self._arrays.part(0, self.rows)
        self.rows, self._arrays = 0, None
        return batch


def _copy(source: NDArray[Any] | None, start: int, count: int, target: NDArray[Any] | None, at: int) -> None:
    if source is not None and target is not None:
        target[at : at + count] = source[start : start + count]
