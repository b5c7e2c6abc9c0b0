"""The rows that a stream accepted and that no batch has yet.

The user's thread adds rows, the stream's thread takes batches. A signal handler may raise an exception in the
user's thread at any point. So rows are added by a single operation, which happens or does not happen.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from streamlearn_client.protocol import Learn
from streamlearn_client.protocol.identifiers import texts_of
from streamlearn_client.protocol.samples import F4

__all__ = ["Backlog", "Run"]


class Run:
    """Samples without targets, keys and ids that were added one by one.

    Attributes
    ----------
    timed : bool
        Whether the samples have times.
    data : bytearray
        The values of each sample, and its time if it has one. A sample is added by ``data += sample``.
    limit : int
        While ``data`` is shorter, one more sample may be added without any check.
    """

    __slots__ = ("_dtype", "data", "limit", "timed")

    def __init__(self, dtype: np.dtype[Any], timed: bool, sample: bytes) -> None:
        self._dtype = dtype
        self.timed = timed
        self.data = bytearray(sample)
        self.limit = 0

    @property
    def rows(self) -> int:
        """Number of samples."""
        return len(self.data) // self._dtype.itemsize

    def learn(self, model: str) -> Learn:
        """Return the samples as a batch. Nothing may be added afterwards."""
        samples: Any = np.ndarray(self.rows, self._dtype, self.data)  # faster than `frombuffer`
        if not self.timed:
            return Learn(model, samples["x"])
        return Learn(model, samples["x"].copy(), times=samples["time"].copy())


class _Piece:
    """Rows that were added together, or a run. ``begin``: the number of rows that were added before."""

    __slots__ = ("begin", "rows", "time")

    def __init__(self, begin: int, time: float, rows: Learn | Run) -> None:
        self.begin = begin
        self.time = time
        self.rows = rows

    @property
    def end(self) -> int:
        """The number of rows that were added up to and with these."""
        return self.begin + self.rows.rows


class Backlog:
    """Added rows in order. The caller holds the stream's lock."""

    def __init__(self, model: str, dim: int) -> None:
        self._model = model
        self._pieces: deque[_Piece] = deque()
        values = ("x", F4, (dim,))
        self._dtypes = np.dtype([values]), np.dtype([values, ("time", np.int64)])  # without and with a time
        self.taken = 0
        """Number of rows that `take` returned."""
        self.run: Run | None = None
        """The last rows, if they are a run and it is open."""

    @property
    def added(self) -> int:
        """Number of rows that were added."""
        return self._pieces[-1].end if self._pieces else self.taken

    @property
    def rows(self) -> int:
        """Number of rows that were added and not taken."""
        return self.added - self.taken

    @property
    def first_time(self) -> float:
        """Time at which the oldest row was added."""
        return self._pieces[0].time

    def add(self, rows: Learn, now: float) -> None:
        """Add rows. Their arrays must not change afterwards."""
        self.run = None
        self._pieces.append(_Piece(self.added, now, rows))

    def add_sample(self, sample: bytes, timed: bool, more: int, now: float) -> None:
        """Add a sample as a new run, to which ``more`` samples may be added without any check."""
        self.run = None
        run = Run(self._dtypes[timed], timed, sample)
        run.limit = (1 + more) * len(sample)
        self._pieces.append(_Piece(self.added, now, run))
        self.run = run

    def take(self, size: int) -> Learn:
        """Remove and return the oldest rows: at most ``size``, all with the same kinds of arrays."""
        self.run = None
        parts: list[Learn] = []
        count = 0
        while self._pieces and count < size:
            piece = self._pieces[0]
            rows = piece.rows
            if isinstance(rows, Run):
                piece.rows = rows = rows.learn(self._model)
            if parts and _layout(rows) != _layout(parts[0]):
                break
            end = piece.end
            left = end - self.taken
            taken = min(left, size - count)
            start = rows.rows - left
            parts.append(rows if taken == rows.rows else rows.part(start, start + taken))
            count += taken
            if taken == left:
                self._pieces.popleft()
            self.taken += taken
        return parts[0] if len(parts) == 1 else _joined(parts)


def _layout(rows: Learn) -> tuple[bool, ...]:
    """Return which of the arrays the rows lack."""
    return rows.x is None, rows.y is None, rows.keys is None, rows.ids is None, rows.times is None


def _joined(parts: list[Learn]) -> Learn:
    names = list(parts[0].arrays)
    arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    texts = texts_of([text for part in parts for text in part.key_names or ()])
    return parts[0]._replace(**arrays, key_names=texts or None)
