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

``UNKNOWN_PRODUCER`` means that the daemon forgot the producer. It did not learn the refused batch, nor the
batches after it. When all batches before it are acknowledged, the remaining ones get new numbers in a new
epoch. This is safe only if the refused batch was sent once: the daemon may have learned an earlier attempt
that has no answer. Then the stream fails.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import islice
from typing import Any, Final, NamedTuple

from streamlearn_client.epochs import needs_new_epoch, next_epoch
from streamlearn_client.errors import BadValue, Gap, StreamlearnError, StreamLost
from streamlearn_client.protocol import Frame, Learn, Reply
from streamlearn_client.protocol.learn_header import LearnHeader
from streamlearn_client.protocol.messages import RESEND_WINDOW
from streamlearn_client.protocol.wire import frames_of
from streamlearn_client.replies import check_reply
from streamlearn_client.results import Ack, read_ack

__all__ = ["Batch", "Window"]

PAUSE: Final = (0.02, 2.0)
"""Seconds to wait after a refusal: first, and longest."""
ANSWER_TIMEOUT: Final = (2.0, 30.0)
"""Seconds to wait for an answer before a resend: first, and longest."""
MAX_RENEWALS: Final = 4
"""Refused epochs without an ack in between, after which the stream fails."""


class Batch(NamedTuple):
    """A batch and its frames."""

    message: Learn
    frames: list[Frame]


class Window:
    """Up to ``size`` encoded batches of one (producer, epoch). Times are seconds of one monotonic clock.

    ``first_seq``: the number of the first batch. ``first_id``: the id of the request with number 0, so that
    several windows can share a connection. ``renews``: whether a new epoch may follow; without it the numbers
    of the batches have a meaning, and a refused epoch is a failure.
    """

    def __init__(
        self,
        model: str,
        producer: str,
        epoch: int,
        ack: str,
        size: int,
        endpoint: str = "the endpoint",
        *,
        first_seq: int = 0,
        first_id: int = 0,
        renews: bool = True,
    ) -> None:
        self._endpoint = endpoint
        self._model, self._producer, self._ack = model, producer, ack
        self._size = size
        self._wide = size if size > RESEND_WINDOW else 0  # to be stated in each batch
        self._header: LearnHeader | None = None  # of the last batch, without its number
        self._header_fits: Any = None  # the arrays and names of keys that it has
        self._first_id = first_id  # of the request with sequence number 0; ids are never used again
        self._max_renewals = MAX_RENEWALS if renews else 0
        self._batches: deque[Batch] = deque()
        self._base = first_seq  # sequence number of the oldest unacknowledged batch
        self._cursor = first_seq  # sequence number of the next batch to send
        self._sent_end = first_seq  # all batches below this sequence number were sent at least once
        self._doubt_end = first_seq  # batches below it have an earlier attempt without an answer
        self._handled_gap = -1  # expected_seq of the GAP that moved the cursor; -1: none
        self._refusal: StreamlearnError | None = None  # of the epoch; the batches from _refused_seq on wait
        self._refused_seq = 0
        self._renewals = 0  # refused epochs since the last ack
        self._paused_until = 0.0
        self._resend_at = math.inf
        self._pause, self._answer_timeout = PAUSE[0], ANSWER_TIMEOUT[0]
        self.epoch = epoch
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
        self._batches.append(self._encoded(batch, self._base + len(self._batches)))
        self.pending += batch.rows

    def _encoded(self, batch: Learn, seq: int) -> Batch:
        _, x, y, *_, keys, ids, times, channels, names, _ = batch
        producer, epoch, id = self._producer, self.epoch, self._first_id + seq
        # For a single sample, `_replace` and `array_frames` would take as long as all the rest.
        model, ack, wide = self._model, self._ack, self._wide
        message = Learn(model, x, y, producer, epoch, seq, ack, id, keys, ids, times, channels, names, wide)
        arrays = x, y, keys, ids, times
        fits = [array if array is None else (array.dtype, array.shape) for array in arrays], names
        if self._header is None or fits != self._header_fits:
            self._header, self._header_fits = LearnHeader(message), fits
        return Batch(message, [self._header.encode(id, seq), *frames_of(arrays)])

    def to_send(self, now: float) -> list[Batch]:
        """Return the batches to send now, in order."""
        if self.failure is not None or now < self._paused_until:
            return []
        if now >= self._resend_at:
            self._rewind_all()
            self._answer_timeout = min(self._answer_timeout * 2, ANSWER_TIMEOUT[1])
        return list(islice(self._batches, self._cursor - self._base, self._end() - self._base))

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
        unsent = self._cursor < self._end()
        return self._paused_until if unsent else self._resend_at

    def disconnected(self) -> None:
        """Record that the connection was lost, and with it all messages in transit."""
        self._rewind_all()
        self._paused_until = 0.0

    def receive(self, reply: Reply, now: float) -> None:
        """Process an answer. Sets ``failure`` if the stream can't continue.

        Raise ``ProtocolError`` for an invalid answer.
        """
        if type(reply.id) is not int:
            return
        seq = reply.id - self._first_id
        if not self._base <= seq < self._sent_end:
            return
        check_reply(self._batches[seq - self._base].message, reply, self._endpoint)
        self._resend_at = now + self._answer_timeout
        if reply.error is None:
            ack = read_ack(reply.ok)
            self.matched += ack.matched or 0
            self.unmatched += ack.unmatched or 0
            self._acknowledge(seq, ack)
        elif isinstance(reply.error, Gap):
            self._process_gap(reply.error)
        elif needs_new_epoch(reply.error):
            self._process_refused_epoch(seq, reply.error)
        elif not reply.error.retryable:
            self.fail(reply.error, f"the daemon refused batch {seq} of the stream")
        elif seq < self._cursor:
            self._rewind(seq)
            self._handled_gap = seq  # the daemon will answer all later batches with a GAP at seq
            self._paused_until = now + self._pause
            self._pause = min(self._pause * 2, PAUSE[1])

    def _acknowledge(self, seq: int, ack: Ack) -> None:
        for _ in range(seq + 1 - self._base):
            rows = self._batches.popleft().message.rows
            self.acknowledged += rows
            self.pending -= rows
        self._base = seq + 1
        self._cursor = max(self._cursor, self._base)
        self._pause, self._answer_timeout = PAUSE[0], ANSWER_TIMEOUT[0]
        self._renewals = 0
        self.last_ack = ack
        if self._cursor == self._base:
            self._resend_at = math.inf
        self._begin_epoch()

    def _process_gap(self, gap: Gap) -> None:
        expected = gap.detail["expected_seq"]
        if expected >= self._sent_end:
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

    def _process_refused_epoch(self, seq: int, refusal: StreamlearnError) -> None:
        """Keep the refusal of the oldest batch. The batches before it will be acknowledged."""
        if self._refusal is not None and seq >= self._refused_seq:
            return
        self._renewals += 1
        if seq < self._doubt_end:
            resent = islice(self._batches, seq - self._base, self._doubt_end - self._base)
            rows = sum(batch.message.rows for batch in resent)
            self.fail(
                refusal,
                f"it is unknown whether the daemon learned {rows} of the samples: they were sent before, the "
                "answer was lost, and the daemon has forgotten the position of this producer",
            )
        elif self._renewals > self._max_renewals:
            self.fail(refusal, "the daemon refuses every new epoch of the stream")
        else:
            self._refusal, self._refused_seq = refusal, seq
            self._cursor = min(self._cursor, seq)
            self._begin_epoch()

    def _begin_epoch(self) -> None:
        """Begin a new epoch after a refusal, when the batches before the refused one are acknowledged."""
        if self._refusal is None or self._base < self._refused_seq:
            return
        try:
            self.epoch = next_epoch(self._producer, self.epoch, self._refusal)
        except BadValue as error:
            self.fail(error, "the stream can't begin a new epoch")
            return
        self._header = None
        self._first_id += self._sent_end
        self._base = self._cursor = self._sent_end = self._doubt_end = 0
        self._handled_gap = -1
        self._resend_at = math.inf
        self._refusal = None
        self._batches = deque(self._encoded(batch.message, seq) for seq, batch in enumerate(self._batches))

    def _end(self) -> int:
        """Return the sequence number after the last batch that may be sent."""
        end = self._base + len(self._batches)
        return end if self._refusal is None else min(end, self._refused_seq)

    def _rewind_all(self) -> None:
        """Move the cursor back because the attempts so far have no answer."""
        self._doubt_end = max(self._doubt_end, self._cursor)
        self._rewind(self._base)
        self._handled_gap = -1

    def _rewind(self, seq: int) -> None:
        self._cursor = min(self._cursor, max(seq, self._base))
        self._resend_at = math.inf

    def fail(self, cause: StreamlearnError, reason: str) -> None:
        """Set ``failure``: the stream can't continue. The first failure stays."""
        if self.failure is not None:
            return
        self.failure = StreamLost(
            f"{reason}. {cause.code}: {cause.message}. {self.pending} samples are not acknowledged",
            unacknowledged=self.pending,
            acknowledged=self.acknowledged,
            cause=cause.to_wire(),
        )
        self.failure.__cause__ = cause
