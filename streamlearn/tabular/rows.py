"""The rows of a table as samples, and where they stand in it."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray


class Rows(NamedTuple):
    """Consecutive samples, or late targets without ``x``.

    ``x`` (n, dim) float32, ``y`` (n, targets) float32, ``keys`` and ``ids`` n numbers or names, ``times``
    (n,) int64 nanoseconds since 1970. A part that is not selected is ``None``.
    """

    x: NDArray[np.float32] | None
    y: NDArray[np.float32] | None
    keys: list[Any] | None = None
    ids: list[Any] | None = None
    times: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        array = self.y if self.x is None else self.x
        return 0 if array is None else len(array)

    def sliced(self, start: int, stop: int | None = None) -> Rows:
        """Return the rows of a range."""
        parts: list[Any] = [None if each is None else each[start:stop] for each in tuple(self)]
        return Rows(*parts)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return all rows of ``parts`` in one. There is at least one part, and all have the same columns."""
        if len(parts) == 1:
            return parts[0]
        columns: list[Any] = []
        for column in zip(*(tuple(part) for part in parts), strict=True):
            if column[0] is None:
                columns.append(None)
            elif isinstance(column[0], list):
                columns.append([value for values in column for value in values])
            else:
                columns.append(np.concatenate(column))
        return cls(*columns)


class LineNumbers:
    """The line numbers of rows. Only those since the last `discard_before` are kept in memory."""

    def __init__(self) -> None:
        self._parts: deque[tuple[int, Sequence[int]]] = deque()  # number of the first row, lines of the rows
        self._count = 0

    def __len__(self) -> int:
        """Return the number of all rows so far."""
        return self._count

    def __getitem__(self, row: int) -> int:
        """Return the line of a row that was not discarded; rows count from 0."""
        place = bisect_right(self._parts, row, key=lambda part: part[0]) - 1
        first, lines = self._parts[place]
        return lines[row - first]

    def extend(self, lines: Sequence[int]) -> None:
        """Add the lines of the next rows."""
        if len(lines):
            self._parts.append((self._count, lines))
            self._count += len(lines)

    def discard_before(self, row: int) -> None:
        """Forget the lines of rows before ``row``."""
        while len(self._parts) > 1 and self._parts[1][0] <= row:
            self._parts.popleft()
