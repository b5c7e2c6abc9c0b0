"""What changes models: requests become records, records are journalled in groups, then the shard has them.

A group is whatever one turn of the loop took from the sockets: one write for all of it. If that write
finds no room, the whole group is refused and the shard forgets it; nothing was kept.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from streamlearn.daemon.acks import Ack, HeldAcks
from streamlearn.daemon.config import Learning
from streamlearn.daemon.metrics import Metrics
from streamlearn.daemon.replies import Asker, Replies
from streamlearn.errors import Busy, DiskFull, JournalFailed, StreamlearnError
from streamlearn.shard import Duplicate, Entry, Shard
from streamlearn.store.flusher import Flusher
from streamlearn.store.journal import Journal
from streamlearn.store.record import Record
from streamlearn_client.protocol import Learn

NOBODY = Asker([], None)  # whoever sends into the firehose
RETRY_NS = 500_000_000  # how often a full disk is tried again for the firehose
BUSY_FACTOR = 2  # times learning.backlog_bytes is where batches are refused


class Writer:
    """The journal's only writer, on the loop's thread."""

    def __init__(
        self,
        shard: Shard,
        journal: Journal,
        flusher: Flusher,
        replies: Replies,
        metrics: Metrics,
        learning: Learning,
    ) -> None:
        self._shard = shard
        self._journal = journal
        self._flusher = flusher
        self._replies = replies
        self._metrics = metrics
        self._backlog_bytes = learning.backlog_bytes
        self._backlog_seconds = learning.backlog_seconds
        self._group: list[tuple[Record | Duplicate, Learn, Asker]] = []
        self._records = 0  # of the group
        self._acks = HeldAcks()
        self._commits: deque[tuple[int, int]] = deque()  # lsn and time of groups that are not yet durable
        self._when_durable: deque[tuple[int, Callable[[], None]]] = deque()
        self._stalled: list[Learn] = []  # from the firehose, while the disk is full
        self._retry_at = 0
        self._last_time = 0

    # ------------------------------------------------------------------------------------------ back-pressure

    def overloaded(self, entry: Entry) -> bool:
        """Whether a model has more before it than it should."""
        seconds = entry.backlog_rows * entry.nanoseconds_per_row / 1e9
        return entry.backlog_bytes > self._backlog_bytes or seconds > self._backlog_seconds

    @property
    def takes_firehose(self) -> bool:
        """Whether the firehose is to be read: it has no acks, so not reading it is its back-pressure."""
        return not self._stalled and not any(map(self.overloaded, self._shard.working))

    @property
    def settled(self) -> bool:
        """Whether everything journalled is durable and answered."""
        return not (self._group or self._acks or self._when_durable or self._commits)

    # ------------------------------------------------------------------------------------------------ batches

    def learn(self, learn: Learn, asker: Asker) -> None:
        """Take a batch into the group; its ack is sent by and by. Raises what refuses it."""
        from_firehose = asker is NOBODY
        counters = self._metrics.models.get(learn.model)
        try:
            entry = self._shard.entry(learn.model)
            if counters is None:
                counters = self._metrics.model(learn.model)
            counters.received += learn.rows
            if not from_firehose and entry.backlog_bytes > BUSY_FACTOR * self._backlog_bytes:
                raise Busy(
                    f"model {entry.name!r} has {entry.backlog_rows} samples still to learn; send this batch "
                    "again later",
                    backlog_rows=entry.backlog_rows,
                )
            lsn = self._journal.next_lsn + self._records
            accepted = self._shard.accept_learn(learn, lsn, self._now(), lossy=from_firehose)
        except StreamlearnError:
            if counters is not None:
                counters.refused += 1
            raise
        if isinstance(accepted, Duplicate):
            counters.duplicates += 1
        else:
            self._records += 1
        self._group.append((accepted, learn, asker))

    def commit(self) -> None:
        """Journal the group, and hand it to the shard. Raises `JournalFailed`."""
        if not self._group:
            return
        group, self._group, self._records = self._group, [], 0
        awaited = any(learn.ack == "durable" and asker is not NOBODY for _, learn, asker in group)
        records = [each for each, _, _ in group if isinstance(each, Record)]
        try:
            if records:
                self._append(records, awaited)
        except DiskFull as error:
            self._shard.forget_unqueued()
            self._metrics.disk_full += 1
            self._retry_at = time.monotonic_ns() + RETRY_NS
            for _, learn, asker in group:
                if asker is NOBODY:
                    self._stalled.append(learn)
                else:
                    self._replies.error(asker, error)
            return
        for accepted, learn, asker in group:
            if isinstance(accepted, Record):
                self._shard.enqueue(accepted)
            if learn.ack != "none" and asker is not NOBODY:
                self._owe(accepted, learn, asker)

    def _retry_stalled(self) -> None:
        """Try again what the firehose brought when the disk was full."""
        if self._stalled and time.monotonic_ns() >= self._retry_at:
            stalled, self._stalled = self._stalled, []
            for learn in stalled:
                try:
                    self.learn(learn, NOBODY)
                except StreamlearnError as error:
                    self.lose(error)

    def lose(self, error: StreamlearnError) -> None:
        """Something of the firehose was refused; there is nobody to tell."""
        self._metrics.firehose_lost += 1
        self._metrics.count_error(error.code)

    # ------------------------------------------------------------------------------------------ other changes

    def change(self, accept: Callable[[int, int], Record]) -> Record:
        """Journal one record made by `accept(lsn, time)`, and hand it to the shard at once.

        Raises what `accept` raises, and `DiskFull`.
        """
        self.commit()
        record = accept(self._journal.next_lsn, self._now())
        self._append([record], awaited=True)
        self._shard.enqueue(record)
        return record

    def when_durable(self, lsn: int, do: Callable[[], None]) -> None:
        """Call `do` once the record at `lsn` (of the last change) is durable."""
        self._when_durable.append((lsn, do))

    # ----------------------------------------------------------------------------------------- acknowledging

    def acknowledge(self) -> None:
        """Do everything, acks among it, that waited for what is durable by now."""
        durable = self._journal.durable_lsn
        while self._commits and self._commits[0][0] <= durable:
            self._metrics.commit_seconds.add(time.perf_counter_ns() - self._commits.popleft()[1])
        self._send(self._acks.durable(durable))
        while self._when_durable and self._when_durable[0][0] <= durable:
            self._when_durable.popleft()[1]()

    def learned(self, entry: Entry) -> None:
        """A model has learned, or is deleted: send the acks that waited for that."""
        self._send(self._acks.learned(entry))

    def tick(self, now: float) -> None:
        """Some time has passed: see to what should not wait for ever."""
        self._send(self._acks.overdue(now))
        if self._commits:
            self._flusher.request()
        self._retry_stalled()

    def _owe(self, accepted: Record | Duplicate, learn: Learn, asker: Asker) -> None:
        entry = self._shard.entry(learn.model)
        deadline = time.monotonic() + self._backlog_seconds
        ack = Ack(accepted.lsn, entry, asker, accepted.rows, isinstance(accepted, Duplicate), deadline)
        if learn.ack == "durable":
            self._acks.until_durable(ack)
        elif ack.lsn > entry.applied_lsn:
            self._acks.until_learned(ack)
        else:
            self._send([ack])

    def _send(self, acks: Iterable[Ack]) -> None:
        durable_lsn = self._journal.durable_lsn
        for ack in acks:
            self._replies.ok(
                ack.asker,
                {
                    "lsn": ack.lsn,
                    "durable_lsn": durable_lsn,
                    "applied_lsn": ack.entry.applied_lsn,
                    "duplicate": ack.duplicate,
                    "rows": ack.rows,
                },
            )

    def _append(self, records: list[Record], awaited: bool) -> None:
        """Write; and sync at once if that is `awaited`, else before long."""
        try:
            self._journal.append(records)
        except OSError as error:
            raise JournalFailed(
                f"can't write the journal: {error}; start again to see what was kept"
            ) from error
        self._metrics.records += len(records)
        self._metrics.bytes += sum(len(record.payload) for record in records)
        self._commits.append((records[-1].lsn, time.perf_counter_ns()))
        if awaited:
            self._flusher.request()

    def _now(self) -> int:
        """The time of arrival: nanoseconds since the epoch, never earlier than that of the record before."""
        self._last_time = max(self._last_time, time.time_ns())
        return self._last_time
