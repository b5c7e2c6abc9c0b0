"""One model of a shard: what it has learned, what it has accepted, and the records between the two."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from streamlearn.errors import Gap
from streamlearn.models.base import Model
from streamlearn.models.batch import Batch, Targets, joined, part
from streamlearn.shard.contents import contents
from streamlearn.shard.delivery import Delivery
from streamlearn.store import tensors
from streamlearn.store.record import Record, RecordKind
from streamlearn_client.outputs import Outputs

FIRST_SLICE = 256  # rows, before anything is known of the model's speed
LONGEST_SLICE = 65536  # rows
RECORD_OVERHEAD = 512  # bytes of memory that a queued record costs besides its payload, roughly

Arrays = dict[str, NDArray[Any]]


class ModelSource(Protocol):
    """Where models come from: `streamlearn.models`, or a stand-in for it."""

    def create(self, kind: str, spec: Mapping[str, Any]) -> Model: ...

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> Model:
        """Of all the arrays of a checkpoint."""


class Applied(NamedTuple):
    """One slice, up to or into record `lsn`: a change, or `rows` samples from the model's `first`-th (from 0)
    on, or as many targets of earlier samples. The outputs may have more rows than that, or fewer."""

    entry: Entry
    kind: RecordKind
    lsn: int
    time: int
    first: int = 0
    rows: int = 0
    outputs: Outputs | None = None


class Snapshot(NamedTuple):
    """A copy of one model as of `lsn`, ready to be written as a checkpoint."""

    model: str
    create_lsn: int
    lsn: int
    arrays: Arrays
    metadata: dict[str, str]


class Entry:
    """A model and its queue. Its producers: `delivery` is as of `applied_lsn`, `ahead` of `accepted_lsn`."""

    __slots__ = (
        "_done",
        "_queue",
        "accepted_lsn",
        "ahead",
        "applied_lsn",
        "backlog_bytes",
        "backlog_rows",
        "create_lsn",
        "delivery",
        "learned",
        "missing",
        "model",
        "name",
        "nanoseconds_per_answer",
        "nanoseconds_per_row",
        "slice_rows",
    )

    def __init__(self, name: str, model: Model, create_lsn: int, lsn: int, delivery: Delivery) -> None:
        self.name = name
        self.model = model
        self.create_lsn = create_lsn
        self.applied_lsn = self.accepted_lsn = lsn
        self.delivery = delivery
        self.ahead = delivery.copy()
        self.learned = 0  # rows (later targets too) since this process began; a restore turns nothing back
        self.missing = 0  # batches that a lossy transport lost, since this process began
        self.backlog_rows = 0
        self.backlog_bytes = 0
        self.slice_rows = FIRST_SLICE
        self.nanoseconds_per_row = 0.0
        self.nanoseconds_per_answer = 0.0  # for a row that is asked about, or a step of a forecast
        self._queue: deque[tuple[Record, Batch | Targets | None]] = deque()
        self._done = 0  # rows of the queue's first record that are learned already

    @property
    def waiting(self) -> bool:
        """Whether records are accepted but not yet learned."""
        return bool(self._queue)

    @property
    def next_lsn(self) -> int:
        """The lsn of the record that is applied next."""
        return self._queue[0][0].lsn

    @property
    def between_records(self) -> bool:
        """Whether the state is that of `applied_lsn` exactly, not of somewhere inside the next record."""
        return self._done == 0

    def is_duplicate(self, producer: str, epoch: int, seq: int, lossy: bool) -> bool:
        """Whether a batch was accepted before. Raises `Fenced`, and `Gap` unless the transport is `lossy`."""
        try:
            return self.ahead.is_duplicate(producer, epoch, seq)
        except Gap as gap:
            if not lossy:
                raise
            self.missing += seq - int(gap.detail["expected_seq"])
            return False

    def enqueue(self, record: Record) -> None:
        if record.lsn > self.accepted_lsn:  # replay; live records were counted when they were accepted
            self.note_accepted(record)
        self._queue.append((record, contents(record, self.model.uses_time)))
        self.backlog_rows += record.rows
        self.backlog_bytes += len(record.payload) + RECORD_OVERHEAD

    def note_accepted(self, record: Record) -> None:
        """Batches that come next are judged as if `record` were learned already."""
        self.accepted_lsn = record.lsn
        if record.producer:
            self.ahead.advance(record.producer, record.epoch, record.seq, record.lsn)

    def forget_unqueued(self) -> None:
        """The journal refused what was accepted but never enqueued: judge as if it had not come."""
        self.ahead = self.delivery.copy()
        self.accepted_lsn = self.applied_lsn
        for record, _ in self._queue:
            self.note_accepted(record)

    def step(self, models: ModelSource) -> Applied:
        """Apply one change, or learn up to `slice_rows` rows of the batches at the head of the queue."""
        record, batch = self._queue[0]
        if batch is not None:
            return self._learn(record, batch)
        if record.kind is RecordKind.RESTORE:
            arrays, metadata = tensors.decode(bytes(record.payload))
            self.model = models.from_arrays(arrays, metadata)
        elif record.kind is RecordKind.REHEAT:
            self.model.reheat(json.loads(bytes(record.payload)))
        self._finish()
        return Applied(self, record.kind, record.lsn, record.time)

    def _learn(self, last: Record, batch: Batch | Targets) -> Applied:
        """Whole records as far as they fit; one that is longer than a slice is learned in parts.

        So the end of every record is the end of some slice, where a checkpoint can be taken.
        """
        kind = last.kind
        stop = min(last.rows, self._done + self.slice_rows)
        parts, rows = [part(batch, self._done, stop)], stop - self._done
        finished = 0
        if stop == last.rows:
            finished = 1
            for record, more in islice(self._queue, 1, None):
                if more is None or record.kind is not kind or rows + record.rows > self.slice_rows:
                    break
                parts.append(more)
                rows += record.rows
                last = record
                finished += 1
        first = self.model.samples
        outputs = self.model.learn_validated(joined(parts))
        self.learned += rows
        self.backlog_rows -= rows
        self._done = 0 if finished else stop
        for _ in range(finished):
            self._finish()
        return Applied(self, kind, last.lsn, last.time, first, rows, outputs)

    def _finish(self) -> None:
        record, _ = self._queue.popleft()
        self.applied_lsn = record.lsn
        self.backlog_bytes -= len(record.payload) + RECORD_OVERHEAD
        if record.producer:
            self.delivery.advance(record.producer, record.epoch, record.seq, record.lsn)

    def pace(self, rows: int, nanoseconds: int, goal: int) -> None:
        """A slice of `rows` took so long; fit the next to `goal`. Results don't depend on it (R2)."""
        measured = nanoseconds / max(rows, 1)
        known = self.nanoseconds_per_row
        self.nanoseconds_per_row = 0.75 * known + 0.25 * measured if known else measured
        self.slice_rows = min(max(int(goal / max(self.nanoseconds_per_row, 1.0)), 1), LONGEST_SLICE)

    def answered(self, rows: int, nanoseconds: int) -> None:
        """So many rows were answered in such a time. What disturbs that makes it longer, never shorter."""
        measured = nanoseconds / max(rows, 1)
        self.nanoseconds_per_answer = min(measured, 0.75 * self.nanoseconds_per_answer + 0.25 * measured)

    def snapshot(self) -> Snapshot:
        """A copy of the model as of `applied_lsn`; only to be taken `between_records`."""
        arrays = self.model.copy_state() | self.delivery.to_arrays()
        return Snapshot(self.name, self.create_lsn, self.applied_lsn, arrays, self.model.metadata())

    def discard_queue(self, lsn: int) -> None:
        """The model is deleted by record `lsn`: there is nothing more to learn."""
        self._queue.clear()
        self.applied_lsn = self.accepted_lsn = lsn
        self._done = self.backlog_rows = self.backlog_bytes = 0
