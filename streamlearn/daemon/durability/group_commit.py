"""From requests to journal records, in groups.

A group is everything that one turn of the loop read from the sockets. It is journalled in one write, then
enqueued for learning. If the disk is full, the whole group is refused and the shard forgets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from streamlearn.daemon.context import Context
from streamlearn.daemon.durability.clock import ArrivalClock
from streamlearn.daemon.intake.run import Run
from streamlearn.daemon.network.replies import ReplyAddress, as_typed
from streamlearn.errors import Busy, DiskFull, JournalFailed, StreamlearnError
from streamlearn.shard import BATCH_OVERHEAD, Duplicate, HostedModel, memory_bytes
from streamlearn.store.record import Record, RecordKind
from streamlearn_client.protocol import Id, Learn

RETRY_NS = 500_000_000  # between two attempts to journal firehose batches on a full disk
MOST_BACKLOGGED = 256  # models with a backlog, beyond which the firehose waits: a turn learns about so many
BUSY_FACTOR = 2  # batches are refused beyond this many times learning.backlog_bytes


class _Pending(NamedTuple):
    """A batch or a run of the current group."""

    accepted: Record | Duplicate
    learn: Learn  # of a run of samples only what the headers say
    hosted: HostedModel
    reply_to: ReplyAddress | None  # `None` for the firehose
    ids: Sequence[Id] = ()  # of a run, one per request

    def singles(self) -> Iterator[tuple[Learn, ReplyAddress | None]]:
        """Return the batches one by one."""
        accepted, learn = self.accepted, self.learn
        batches = accepted.batches if isinstance(accepted, Record) else 1
        if isinstance(accepted, Record) and learn.x is None and learn.y is None:
            last_id = self.ids[-1] if self.ids else None
            learn = learn._replace(model=accepted.model, x=accepted.decoded.x, seq=accepted.seq, id=last_id)
        return _singles(learn, batches, self.reply_to, self.ids)


class _Ack(NamedTuple):
    lsn: int
    hosted: HostedModel  # the batch's model, even if it is deleted meanwhile
    reply_to: ReplyAddress
    ids: Sequence[Id]  # of a run, one per request
    numbered: bool
    rows: int  # of each batch
    duplicate: bool
    targets: bool  # whether to report how many late targets had a sample
    deadline: float  # when the ack stops waiting for the model, monotonic s


class GroupCommit:
    """The only writer of the journal. Used on the loop's thread.

    Parameters
    ----------
    context
        The daemon's collaborators.
    last_arrival
        The last arrival time in the data directory, in ns since 1970.
    """

    def __init__(self, context: Context, last_arrival: int = 0) -> None:
        self._context = context
        self._backlog_bytes = context.settings.learning.backlog_bytes
        self._backlog_seconds = context.settings.learning.backlog_seconds
        self._group: list[_Pending] = []
        self._group_records = 0
        self._group_bytes: dict[HostedModel, int] = {}
        self._overloaded: dict[HostedModel, None] = {}  # those that were overloaded after the last group
        self._queued = context.budget.queued
        self._deferred: list[Learn] = []  # firehose batches that wait for room on the disk
        self._retry_at = 0  # monotonic ns
        self._clock = ArrivalClock(context.runtime, last_arrival)

    # ------------------------------------------------------------------------------------------ back-pressure

    def is_overloaded(self, hosted: HostedModel) -> bool:
        """Whether a model is further behind than `learning.backlog_…` allows."""
        seconds = hosted.backlog_rows * hosted.nanoseconds_per_row / 1e9
        return hosted.backlog_bytes > self._backlog_bytes or seconds > self._backlog_seconds

    @property
    def reads_firehose(self) -> bool:
        """Whether to read the firehose. It has no acks, so not reading it is its back-pressure."""
        if self._deferred or 2 * self._queued.used > self._queued.limit:
            return False
        if len(self._context.shard.backlogged) > MOST_BACKLOGGED:  # samples are read faster than learned
            return False
        overloaded = self._overloaded
        if overloaded:
            self._overloaded = overloaded = dict.fromkeys(filter(self.is_overloaded, overloaded))
        return not overloaded

    @property
    def idle(self) -> bool:
        """Whether every batch is journalled, durable and acknowledged."""
        return not self._group and self._context.watermarks.idle

    # ------------------------------------------------------------------------------------------------ batches

    def learn(self, learn: Learn, reply_to: ReplyAddress | None) -> None:
        """Validate a batch and add it to the group.

        Parameters
        ----------
        learn
            The batch.
        reply_to
            Where the ack goes; `None` for the firehose.

        Raises
        ------
        StreamlearnError
            If the batch is refused. `Busy` if the model has more than twice `learning.backlog_bytes` to
            learn, the current group included.
        """
        context = self._context
        counters = context.metrics.models.get(learn.model)
        try:
            hosted = context.shard.hosted(learn.model)
            if counters is None:
                counters = context.metrics.model(learn.model)
            counters.received += learn.rows
            if reply_to is not None:
                self._check_backlog(hosted)
            accepted = self._accept(learn, reply_to)
        except StreamlearnError:
            if counters is not None:
                counters.refused += 1
            raise
        if isinstance(accepted, Duplicate):
            counters.duplicates += 1
        self._add(_Pending(accepted, learn, hosted, reply_to))

    def learn_run(self, run: Learn, batches: int, reply_to: ReplyAddress | None, ids: Sequence[Id]) -> None:
        """Validate consecutive batches of one producer, and add them to the group as one record.

        If one of them is refused, they are handled one by one, as `learn` does, and errors are answered.

        Parameters
        ----------
        run
            All samples, with the number of the first batch. The first must have the next number of its
            producer, if it has one.
        batches
            The number of batches, with equally many rows.
        reply_to
            Where the acks go; `None` for the firehose.
        ids
            The ids of the requests.
        """
        context = self._context
        try:
            accepted = self._accept(run, reply_to, batches)
            hosted = context.shard.find(run.model)
        except Exception:  # noqa: BLE001 - raised again below, by the batch that is the cause
            for learn, address in _singles(run, batches, reply_to, ids):
                self._learn_or_answer(learn, address)
            return
        context.metrics.model(run.model).received += accepted.rows
        self._add(_Pending(accepted, run, hosted, reply_to, ids))

    def learn_samples(self, run: Run, reply_to: ReplyAddress | None) -> bool:
        """Add a run to the group as one record, if it has only samples and the model takes them as they are.

        The first batch must have the next number of its producer, if it has one. Return whether it was added.
        """
        context, learn = self._context, run.template.without_arrays
        hosted, x = context.shard.get(run.model), run.samples()
        if hosted is None or hosted.set_aside is not None or x is None:
            return False
        lsn = context.journal.next_lsn + self._group_records
        record = context.shard.accept_samples(
            hosted, x, learn, run.first_seq, lsn, self._clock.now(), run.batches
        )
        if record is None:
            return False
        context.metrics.model(run.model).received += record.rows
        self._add(_Pending(record, learn, hosted, reply_to, run.ids))
        return True

    def _learn_or_answer(self, learn: Learn, reply_to: ReplyAddress | None) -> None:
        """Handle one batch; answer an error."""
        try:
            self.learn(learn, reply_to)
        except Exception as error:  # noqa: BLE001 - the client gets it as an error reply
            if reply_to is None:
                self.count_lost(as_typed(error))
            else:
                self._context.replies.exception(reply_to, error)

    def _accept(self, learn: Learn, reply_to: ReplyAddress | None, batches: int = 1) -> Record | Duplicate:
        context = self._context
        lsn = context.journal.next_lsn + self._group_records
        return context.shard.accept_learn(
            learn, lsn, self._clock.now(), lossy=reply_to is None, batches=batches
        )

    def _add(self, pending: _Pending) -> None:
        accepted, hosted = pending.accepted, pending.hosted
        if isinstance(accepted, Record):
            self._group_records += 1
            size = memory_bytes(accepted)
            self._group_bytes[hosted] = self._group_bytes.get(hosted, 0) + size
            self._queued.used += 2 * size  # the batch as received, and as a record
        self._group.append(pending)

    def room(self, hosted: HostedModel, batch_bytes: int) -> int:
        """Return how many requests with batches of this size `learn` would not refuse as `Busy`."""
        if 2 * self._queued.used > self._queued.limit:
            return 0
        used = hosted.backlog_bytes + self._group_bytes.get(hosted, 0)
        return max(0, (BUSY_FACTOR * self._backlog_bytes - used) // (batch_bytes + BATCH_OVERHEAD) + 1)

    def _check_backlog(self, hosted: HostedModel) -> None:
        """Refuse a batch while the model has too much to learn, this turn's batches included."""
        if hosted.backlog_bytes + self._group_bytes.get(hosted, 0) > BUSY_FACTOR * self._backlog_bytes:
            group = [pending.accepted for pending in self._group if pending.hosted is hosted]
            rows = hosted.backlog_rows + sum(each.rows for each in group if isinstance(each, Record))
            raise Busy(
                f"model {hosted.name!r} has {rows} samples still to learn; send this batch again later",
                limit="learning.backlog_bytes",
                backlog_rows=rows,
            )
        if self._queued.used > self._queued.limit:
            self._queued.check(0, "this batch", "send fewer samples at a time")

    def count_queued(self) -> None:
        """Count the memory of the records that are not learned yet."""
        self._queued.used = 0
        self._queued.add(self._context.shard.backlog_bytes)

    def commit(self) -> None:
        """Journal the group in one write and enqueue it for learning. Raises `JournalFailed`."""
        if not self._group:
            return
        group, self._group, self._group_records = self._group, [], 0
        self._group_bytes.clear()
        records = [pending.accepted for pending in group if isinstance(pending.accepted, Record)]
        sync = any(pending.learn.ack == "durable" and pending.reply_to is not None for pending in group)
        try:
            if records:
                self._append(records, sync)
        except DiskFull as error:
            self._refuse(group, error)
            return
        enqueue = self._context.shard.enqueue
        now = self._context.runtime.steady()
        deadline = now + self._backlog_seconds
        for accepted, learn, hosted, reply_to, ids in group:
            duplicate = isinstance(accepted, Duplicate)
            if isinstance(accepted, Record):
                enqueue(accepted)
                if hosted.reports_silence and accepted.kind is RecordKind.LEARN:
                    self._context.silences.arrived(hosted.name, learn.keys, now)
                if self.is_overloaded(hosted):
                    self._overloaded[hosted] = None
            if learn.ack != "none" and reply_to is not None:
                targets = isinstance(accepted, Record) and accepted.kind is RecordKind.TARGETS
                if targets:
                    hosted.await_matches(accepted.lsn)
                rows = accepted.rows // max(len(ids), 1)
                ack = _Ack(
                    accepted.lsn,
                    hosted,
                    reply_to,
                    ids,
                    bool(learn.producer),
                    rows,
                    duplicate,
                    targets,
                    deadline,
                )
                self._acknowledge(ack, learn.ack)

    def _refuse(self, group: list[_Pending], error: DiskFull) -> None:
        """Answer every request of the group with `DiskFull`; keep the firehose's batches for a retry."""
        self._context.shard.forget_unqueued()
        self._context.metrics.disk_full += 1
        self._retry_at = self._context.runtime.steady_ns() + RETRY_NS
        for pending in group:
            for learn, reply_to in pending.singles():
                if reply_to is None:
                    self._deferred.append(learn)
                else:
                    self._context.replies.error(reply_to, error)

    def _retry_deferred(self) -> None:
        """Try again to accept the firehose batches that a full disk deferred."""
        if self._deferred and self._context.runtime.steady_ns() >= self._retry_at:
            deferred, self._deferred = self._deferred, []
            for learn in deferred:
                self._learn_or_answer(learn, None)

    def count_lost(self, error: StreamlearnError) -> None:
        """Count a firehose message that was refused. The firehose has no replies."""
        self._context.metrics.firehose_lost += 1
        self._context.metrics.count_error(error.code)

    # ------------------------------------------------------------------------------------------ other changes

    def change(self, accept: Callable[[int, int], Record]) -> Record:
        """Journal one change and enqueue it, behind everything accepted before it.

        Parameters
        ----------
        accept
            Called with the lsn and the arrival time; makes the record, or raises if the change is refused.

        Returns
        -------
        Record
            The record, not yet durable.

        Raises
        ------
        DiskFull
            The record was not accepted.
        StreamlearnError
            As raised by `accept`.
        """
        self.commit()
        record = accept(self._context.journal.next_lsn, self._clock.now())
        self._append([record], sync=True)
        self._context.shard.enqueue(record)
        return record

    # ------------------------------------------------------------------------------------------------ waiting

    def tick(self) -> None:
        """Every `loop.TICK_SECONDS`: sync what no ack asked to sync, and retry deferred batches."""
        journal = self._context.journal
        if journal.durable_lsn < journal.written_lsn:
            self._context.flusher.request()
        self._retry_deferred()

    def _acknowledge(self, ack: _Ack, level: str) -> None:
        """Send the ack once its level is reached (R4) and the model has learned the batch.

        The second wait makes reads after the ack see the batch, and slows a producer with a bounded window
        to the pace of its model. It ends after `learning.backlog_seconds`, so that a model that is far
        behind does not look like a dead daemon.
        """
        if level == "durable":
            self._context.watermarks.when_durable(ack.lsn, partial(self._ack_when_applied, ack))
        else:
            self._ack_when_applied(ack)

    def _ack_when_applied(self, ack: _Ack) -> None:
        send = partial(self._send_ack, ack)
        self._context.watermarks.when_applied(ack.hosted, ack.lsn, send, deadline=ack.deadline)

    def _send_ack(self, ack: _Ack, _: HostedModel | None) -> None:
        """A deleted model's batches are acknowledged too: they are in the journal."""
        fields: dict[str, Any] = {
            "lsn": ack.lsn,
            "durable_lsn": self._context.journal.durable_lsn,
            "applied_lsn": ack.hosted.applied_lsn,
            "duplicate": ack.duplicate,
            "rows": ack.rows,
        }
        matched = ack.hosted.pop_matches(ack.lsn) if ack.targets else None
        if matched is not None:
            fields |= {"matched": matched, "unmatched": ack.rows - matched}
        if len(ack.ids) > 1:
            self._context.replies.run_ok(ack.reply_to, ack.ids, fields, cumulative=ack.numbered)
        else:
            self._context.replies.ok(ack.reply_to, fields)

    def _append(self, records: list[Record], sync: bool) -> None:
        """Write the records; request a sync now if `sync`, else at the next tick."""
        context = self._context
        try:
            context.journal.append(records)
        except OSError as error:
            raise JournalFailed(
                f"can't write the journal: {error}; start the daemon again to see what was kept"
            ) from error
        context.metrics.records += len(records)
        context.metrics.bytes += sum(len(record.payload) for record in records)
        context.watermarks.when_durable(
            records[-1].lsn, partial(self._record_commit_time, self._context.runtime.steady_ns())
        )
        if sync:
            context.flusher.request()

    def _record_commit_time(self, began: int) -> None:
        self._context.metrics.commit_seconds.add(self._context.runtime.steady_ns() - began)


def _singles(
    run: Learn, batches: int, reply_to: ReplyAddress | None, ids: Sequence[Id]
) -> Iterator[tuple[Learn, ReplyAddress | None]]:
    """Return the batches of a run one by one, each with its number, its id and where its answer goes."""
    if batches == 1:
        yield run, reply_to
        return
    rows = run.rows // batches
    for index in range(batches):
        part = run.part(index * rows, (index + 1) * rows)._replace(seq=run.seq + index if run.producer else 0)
        if reply_to is None:
            yield part, None
        else:
            yield part._replace(id=ids[index]), reply_to._replace(id=ids[index])
