"""The rows that a stream accepted and that no batch has yet.

The user's thread adds rows, the stream's thread takes batches. A signal handler may raise an exception in the
user's thread at any point. So rows are added by a single operation, which happens or does not happen.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from streamlearn_client.protocol import Learn
from streamlearn_client.protocol.identifiers import texts_of
from streamlearn_client.protocol.samples import F4

__all__ = ["Backlog", "Rows", "TimedSample"]


class TimedSample(NamedTuple):
    """One sample with a time, without targets, key and id."""

    values: bytes
    time: int


Rows: TypeAlias = Learn | bytes | TimedSample
"""Rows that were added together. The bytes are those of one sample without targets, key, id and time."""

Piece: TypeAlias = tuple[int, float, Rows]
"""The number of rows that were added up to and with these rows, the time of that, and the rows."""


class Backlog:
    """Added rows in order. The caller holds the stream's lock."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._pieces: deque[Piece] = deque()
        self.taken = 0
        """Number of rows that `take` returned."""

    @property
    def added(self) -> int:
        """Number of rows that were added."""
        return self._pieces[-1][0] if self._pieces else self.taken

    @property
    def rows(self) -> int:
        """Number of rows that were added and not taken."""
        return self.added - self.taken

    @property
    def first_time(self) -> float:
        """Time at which the oldest row was added."""
        return self._pieces[0][1]

    def add(self, rows: Rows, end: int, now: float) -> None:
        """Add rows, after which ``end`` rows were added. Their arrays must not change afterwards."""
        self._pieces.append((end, now, rows))

    def take(self, size: int) -> Learn:
        """Remove and return the oldest rows: at most ``size``, all with the same kinds of arrays."""
        parts: list[Learn] = []
        count = 0
        while self._pieces and count < size:
            end, _, rows = self._pieces[0]
            if not isinstance(rows, Learn):
                if parts and _layout(parts[0]) != (X_ONLY if isinstance(rows, bytes) else X_AND_TIMES):
                    break
                part = self._take_samples(type(rows), size - count)
                parts.append(part)
                count += part.rows
                continue
            if parts and _layout(rows) != _layout(parts[0]):
                break
            left = end - self.taken
            taken = min(left, size - count)
            start = rows.rows - left
            parts.append(rows if taken == rows.rows else rows.part(start, start + taken))
            count += taken
            if taken == left:
                self._pieces.popleft()
            self.taken += taken
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _take_samples(self, kind: type, size: int) -> Learn:
        """Remove and return at most ``size`` samples that were added one by one as objects of one kind."""
        samples: list[Any] = []
        pieces = self._pieces
        while pieces and len(samples) < size:
            rows = pieces[0][2]
            if type(rows) is not kind:
                break
            samples.append(rows)
            pieces.popleft()
        self.taken += len(samples)
        times = None
        if kind is TimedSample:
            times = np.array([sample.time for sample in samples], np.int64)
            samples = [sample.values for sample in samples]
        values = b"".join(samples)
        x = np.ndarray((len(samples), len(samples[0]) // F4.itemsize), F4, values)  # faster than `frombuffer`
        return Learn(self._model, x, times=times)


def _layout(rows: Learn) -> tuple[bool, ...]:
    """Return which of the arrays the rows lack."""
    return rows.x is None, rows.y is None, rows.keys is None, rows.ids is None, rows.times is None


X_ONLY, X_AND_TIMES = (False, True, True, True, True), (False, True, True, True, False)


def _joined(parts: list[Learn]) -> Learn:
    names = list(parts[0].arrays)
    arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    texts = texts_of([text for part in parts for text in part.key_names or ()])
    return parts[0]._replace(**arrays, key_names=texts or None)
