"""The unacknowledged batches of a stream, without any I/O: which batches to send and when to resend them.

The daemon accepts the batches of one producer in order. An acknowledgement of a batch therefore acknowledges
all batches before it. One cursor, the sequence number of the next batch to send, is enough. It moves back as
follows:

* Connection lost: back to the oldest unacknowledged batch. Sending continues after the next handshake.
* ``GAP``: back to the batch that the daemon expects. The daemon answers every batch after the missing one
  with the same ``GAP``, so only the first of these answers moves the cursor.
* ``BUSY``, ``DISK_FULL``, ``SHUTTING_DOWN``: back to the refused batch, after a pause that doubles.
* No answer: back to the oldest unacknowledged batch, after a delay that doubles.

The daemon answers a batch that it already has as a duplicate and does not learn it again.
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
"""Seconds to wait after a refusal: first, and longest."""
ANSWER_TIMEOUT: Final = (2.0, 30.0)
"""Seconds to wait for an answer before a resend: first, and longest."""


class Batch(NamedTuple):
    """An encoded batch: its number of rows and its frames."""

    rows: int
    frames: list[Frame]


class Window:
    """Up to ``size`` encoded batches of one (producer, epoch). Times are seconds of one monotonic clock."""

    def __init__(self, model: str, producer: str, epoch: int, ack: str, size: int) -> None:
        self._model, self._producer, self._epoch, self._ack = model, producer, epoch, ack
        self._size = size
        self._batches: deque[Batch] = deque()
        self._base = 0  # sequence number of the oldest unacknowledged batch
        self._cursor = 0  # sequence number of the next batch to send
        self._sent_end = 0  # all batches below this sequence number were sent at least once
        self._handled_gap = -1  # expected_seq of the GAP that moved the cursor; -1: none
        self._paused_until = 0.0
        self._resend_at = math.inf
        self._pause, self._answer_timeout = PAUSE[0], ANSWER_TIMEOUT[0]
        self.acknowledged = 0
        """Acknowledged samples."""
        self.pending = 0
        """Samples in the window."""
        self.resent = 0
        """Batches that were sent again, counted once per resend."""
        self.matched = self.unmatched = 0
        """Acknowledged late targets that had a waiting sample, and that had none, where the acks say so."""
        self.last_ack: Ack | None = None
        self.failure: StreamlearnError | None = None

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def full(self) -> bool:
        """Whether the window holds ``size`` batches."""
        return len(self._batches) >= self._size

    def add(self, batch: Learn) -> None:
        """Assign a number to a batch and keep it until the ack. Its arrays must not change afterwards."""
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
        """Return the batches to send now, in order."""
        if self.failure is not None or now < self._paused_until:
            return []
        if now >= self._resend_at:
            self._rewind(self._base)
            self._handled_gap = -1
            self._answer_timeout = min(self._answer_timeout * 2, ANSWER_TIMEOUT[1])
        return list(islice(self._batches, self._cursor - self._base, None))

    def sent(self, count: int, now: float) -> None:
        """Record that the first ``count`` batches of `to_send` were sent."""
        if not count:
            return
        self.resent += max(0, min(self._sent_end, self._cursor + count) - self._cursor)
        self._cursor += count
        self._sent_end = max(self._sent_end, self._cursor)
        if self._resend_at == math.inf:
            self._resend_at = now + self._answer_timeout

    def next_send_time(self) -> float:
        """Return the time at which `to_send` has batches to send that it does not have now."""
        unsent = self._cursor < self._base + len(self._batches)
        return self._paused_until if unsent else self._resend_at

    def disconnected(self) -> None:
        """Record that the connection was lost, and with it all messages in transit."""
        self._rewind(self._base)
        self._handled_gap = -1
        self._paused_until = 0.0

    def receive(self, reply: Reply, now: float) -> None:
        """Process an answer. Sets ``failure`` if the stream can't continue."""
        seq = reply.id
        if type(seq) is not int or not self._base <= seq < self._sent_end:
            return
        self._resend_at = now + self._answer_timeout
        if reply.error is None:
            ack = read_ack(reply.ok)
            self.matched += ack.matched or 0
            self.unmatched += ack.unmatched or 0
            self._acknowledge(seq, ack)
        elif isinstance(reply.error, Gap):
            self._process_gap(reply.error)
        elif not reply.error.retryable:
            self.fail(reply.error, f"the daemon refused batch {seq} of the stream")
        elif seq < self._cursor:
            self._rewind(seq)
            self._handled_gap = seq  # the daemon will answer all later batches with a GAP at seq
            self._paused_until = now + self._pause
            self._pause = min(self._pause * 2, PAUSE[1])

    def _acknowledge(self, seq: int, ack: Ack) -> None:
        for _ in range(seq + 1 - self._base):
            rows = self._batches.popleft().rows
            self.acknowledged += rows
            self.pending -= rows
        self._base = seq + 1
        self._cursor = max(self._cursor, self._base)
        self._pause, self._answer_timeout = PAUSE[0], ANSWER_TIMEOUT[0]
        self.last_ack = ack
        if self._cursor == self._base:
            self._resend_at = math.inf

    def _process_gap(self, gap: Gap) -> None:
        expected = gap.detail.get("expected_seq")
        if type(expected) is not int or expected >= self._sent_end:
            self.fail(
                gap,
                "the daemon expects a batch that this stream never sent: another program uses the same "
                "producer name and epoch. Give each program its own producer name",
            )
        elif expected < self._base:
            count = self._base - expected
            lost = "1 batch" if count == 1 else f"{count} batches"
            self.fail(
                gap,
                f"the daemon lost {lost} that it had acknowledged as {self._ack!r}: it crashed "
                "before they were durable, or the model was deleted and created again, or the data directory "
                "was replaced. Send these samples again on a new stream",
            )
        elif expected != self._handled_gap and expected < self._cursor:
            self._rewind(expected)
            self._handled_gap = expected

    def _rewind(self, seq: int) -> None:
        self._cursor = min(self._cursor, max(seq, self._base))
        self._resend_at = math.inf

    def fail(self, cause: StreamlearnError, reason: str) -> None:
        """Set ``failure``: the stream can't continue."""
        self.failure = StreamLost(
            f"{reason}. {cause.code}: {cause.message}. {self.pending} samples are not acknowledged",
            unacknowledged=self.pending,
            acknowledged=self.acknowledged,
            cause=cause.to_wire(),
        )
        self.failure.__cause__ = cause
