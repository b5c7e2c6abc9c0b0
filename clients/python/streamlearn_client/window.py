"""A stream's unacknowledged batches, without any I/O: what to send, again, or no more.

The daemon takes the batches of one producer strictly in order, and what it promises of one it promises
of all before it. So one acknowledgement clears everything up to it, and there is a single place from
which to send again: the first batch that the daemon may not have.

* The connection broke: from the oldest batch on, as soon as there is a new one.
* ``GAP``: from the batch that the daemon expects. Every batch behind a hole is answered with the same
  ``GAP``, so only the first of these answers counts.
* ``BUSY``, ``DISK_FULL``, ``SHUTTING_DOWN``: from the refused batch, after a pause that doubles.
* No answer at all: from the oldest, after a pause that doubles.

Whatever is sent twice in the process the daemon answers as a duplicate.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import islice
from typing import Final, NamedTuple

from streamlearn_client.errors import Gap, StreamlearnError, StreamLost
from streamlearn_client.protocol import Frame, Learn, Reply, encode_request
from streamlearn_client.results import Ack, read_ack

__all__ = ["Batch", "Window"]

PAUSE: Final = (0.02, 2.0)
"""seconds to wait after a refusal: at first, at most"""
RETRY: Final = (2.0, 30.0)
"""seconds to wait for any answer before sending again: at first, at most"""


class Batch(NamedTuple):
    rows: int
    frames: list[Frame]


class Window:
    """Up to ``size`` encoded batches of one (producer, epoch). Times are of any one monotonic clock."""

    def __init__(self, model: str, producer: str, epoch: int, ack: str, size: int) -> None:
        self._model, self._producer, self._epoch, self._ack = model, producer, epoch, ack
        self._size = size
        self._batches: deque[Batch] = deque()
        self._base = 0  # the number of the oldest batch here
        self._cursor = 0  # the number of the batch to send next
        self._reached = 0  # the number up to which batches were sent at least once
        self._gap = -1  # the batch whose GAP was heeded
        self._hold_until = 0.0
        self._retry_at = math.inf
        self._pause, self._patience = PAUSE[0], RETRY[0]
        self.acknowledged = 0
        """samples"""
        self.pending = 0
        """samples"""
        self.resent = 0
        """batches"""
        self.last_ack: Ack | None = None
        self.failure: StreamlearnError | None = None

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def full(self) -> bool:
        return len(self._batches) >= self._size

    def add(self, batch: Learn) -> None:
        """Number a batch and keep it until it is acknowledged. The arrays must not change any more."""
        seq = self._base + len(self._batches)
        message = batch._replace(
            model=self._model,
            producer=self._producer,
            epoch=self._epoch,
            seq=seq,
            ack=self._ack,
            id=seq,
        )
        self._batches.append(Batch(batch.rows, encode_request(message)))
        self.pending += batch.rows

    def to_send(self, now: float) -> list[Batch]:
        """The batches whose turn it is, in order."""
        if self.failure is not None or now < self._hold_until:
            return []
        if now >= self._retry_at:
            self._rewind(self._base)
            self._gap = -1
            self._patience = min(self._patience * 2, RETRY[1])
        return list(islice(self._batches, self._cursor - self._base, None))

    def sent(self, count: int, now: float) -> None:
        """The first ``count`` of these went out."""
        if not count:
            return
        self.resent += max(0, min(self._reached, self._cursor + count) - self._cursor)
        self._cursor += count
        self._reached = max(self._reached, self._cursor)
        if self._retry_at == math.inf:
            self._retry_at = now + self._patience

    def wakeup(self) -> float:
        """When `to_send` will have something that it does not have now."""
        waits = self._cursor < self._base + len(self._batches)
        return self._hold_until if waits else self._retry_at

    def disconnected(self) -> None:
        """The connection broke, and with it went whatever was under way."""
        self._rewind(self._base)
        self._gap = -1
        self._hold_until = 0.0

    def receive(self, reply: Reply, now: float) -> None:
        """An answer came. What can't go on is then in ``failure``."""
        seq = reply.id
        if type(seq) is not int or not self._base <= seq < self._reached:
            return
        self._retry_at = now + self._patience
        if reply.error is None:
            self._acknowledge(seq, read_ack(reply.ok))
        elif isinstance(reply.error, Gap):
            self._fill_gap(reply.error)
        elif not reply.error.retryable:
            self.fail(reply.error, f"the daemon refused batch {seq} of the stream")
        elif seq < self._cursor:
            self._rewind(seq)
            self._gap = seq  # all behind it will be answered with a GAP
            self._hold_until = now + self._pause
            self._pause = min(self._pause * 2, PAUSE[1])

    def _acknowledge(self, seq: int, ack: Ack) -> None:
        for _ in range(seq + 1 - self._base):
            rows = self._batches.popleft().rows
            self.acknowledged += rows
            self.pending -= rows
        self._base = seq + 1
        self._cursor = max(self._cursor, self._base)
        self._pause, self._patience = PAUSE[0], RETRY[0]
        self.last_ack = ack
        if self._cursor == self._base:
            self._retry_at = math.inf

    def _fill_gap(self, gap: Gap) -> None:
        expected = gap.detail.get("expected_seq")
        if type(expected) is not int or expected >= self._reached:
            self.fail(
                gap, "the daemon expects a batch that was never made: somebody else is the same producer"
            )
        elif expected < self._base:
            lost = self._base - expected
            self.fail(
                gap,
                f"the daemon lost {lost} batches that it had acknowledged as {self._ack!r}: "
                "it crashed before they were durable, or the model was deleted and made again, or the data "
                "directory was replaced",
            )
        elif expected != self._gap and expected < self._cursor:
            self._rewind(expected)
            self._gap = expected

    def _rewind(self, seq: int) -> None:
        self._cursor = min(self._cursor, max(seq, self._base))
        self._retry_at = math.inf

    def fail(self, cause: StreamlearnError, reason: str) -> None:
        """The stream can't go on."""
        self.failure = StreamLost(
            f"{reason}. {cause.code}: {cause.message}. {self.pending} samples are not acknowledged",
            unacknowledged=self.pending,
            acknowledged=self.acknowledged,
            cause=cause.to_wire(),
        )
        self.failure.__cause__ = cause
