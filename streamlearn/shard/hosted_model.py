"""One model of a shard: its applied state, its accepted records, and the queue between them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamlearn.errors import Gap, Quarantined, UnknownProducer
from streamlearn.models.batch import Batch, Targets, joined, part
from streamlearn.models.row_cost import query_cost, row_cost
from streamlearn.models.stream.patterns import Feedback
from streamlearn.shard.applied import Applied
from streamlearn.shard.collaborators import Interrupts, ModelSource, Watch
from streamlearn.shard.key_texts import KeyTexts
from streamlearn.shard.origin import Origin, WaitingRows
from streamlearn.shard.producers import Position, ProducerState
from streamlearn.shard.record_codec import check_layout, decode_batch, record_digests
from streamlearn.shard.set_aside import SetAside
from streamlearn.store import tensors
from streamlearn.store.record import Place, Record, RecordKind
from streamlearn_client.outputs import NamedArrays

if TYPE_CHECKING:
    from streamlearn.models.base import Model

FIRST_SLICE = 256  # rows, until the model's speed is measured
LONGEST_SLICE = 65536  # rows
FIRST_SLICE_COST = 4_000_000  # multiply-adds, see `models/row_cost.py`
LONGEST_SLICE_COST = 200_000_000  # multiply-adds; a single row may cost more
LAST_COUNT = 2**63 - 1  # a counter that a client can advance by any number stops here
ARRIVAL = "arrival_time"  # in the metadata of a checkpoint: arrival time of its last record, ns since 1970
FASTER = 0.75  # times the usual duration of a row
CALL_NS = 500_000  # a shorter slice may consist of the overhead of its call
BATCH_OVERHEAD = 512  # bytes of memory that a queued batch takes in addition to its payload, about

Arrays = dict[str, NDArray[Any]]
_NO_MATCHES: dict[int, int] = {}  # of a model that no ack waits for; never changed
_EMPTY: deque[tuple[Record, Batch | Targets | None]] = deque(maxlen=0)  # a queue of its own takes 0.8 kB


def memory_bytes(record: Record) -> int:
    """Return the memory that a queued record takes, about."""
    return len(record.payload) + BATCH_OVERHEAD * record.batches


class Snapshot(NamedTuple):
    """A copy of one model as of `lsn`, to be written as a checkpoint."""

    model: str
    create_lsn: int
    lsn: int
    arrays: Arrays
    metadata: dict[str, str]


class HostedModel:
    """A model and its queue of records.

    `applied_producers` is the producer state as of `applied_lsn`, `accepted_producers` as of `accepted_lsn`.
    A model that is `set_aside` learns nothing and accepts nothing. Its state is that before the record at
    which the process died. `suspects` are the places where it may die: they are applied row by row.
    """

    __slots__ = (
        "_matches",
        "_queue",
        "_rows_done",
        "_samples",
        "_waiting_rows",
        "accepted_lsn",
        "accepted_producers",
        "applied_lsn",
        "applied_producers",
        "applied_time",
        "backlog_bytes",
        "backlog_rows",
        "create_lsn",
        "deleted",
        "key_texts",
        "learned",
        "matched_targets",
        "missing_batches",
        "model",
        "name",
        "nanoseconds_per_query_row",
        "nanoseconds_per_row",
        "query_cost",
        "reports_silence",
        "row_cost",
        "set_aside",
        "slice_rows",
        "suspects",
        "takes_only_x",
        "unmatched_targets",
    )

    def __init__(self, name: str, model: Model, create_lsn: int, lsn: int, producers: ProducerState) -> None:
        self.name = name
        self.model = model
        self.create_lsn = create_lsn
        self.deleted = False
        self.applied_lsn = self.accepted_lsn = lsn
        self.applied_time = 0  # arrival time of the last record, ns since 1970; 0 if it is not known
        self.applied_producers = producers
        self.accepted_producers = producers.copy()
        self.key_texts = KeyTexts()
        self.learned = 0  # rows, late targets included, since this process began; restores do not reset it
        self.missing_batches = 0  # lost by a lossy transport since this process began
        self.matched_targets = self.unmatched_targets = 0  # late targets since this process began
        alarm = getattr(model.spec, "alarm", None)
        self.reports_silence = alarm is not None and alarm.silent
        self.set_aside: SetAside | None = None
        self.suspects: Sequence[Place] = ()
        self.backlog_rows = 0
        self.backlog_bytes = 0
        self.row_cost, self.query_cost = row_cost(model.spec), query_cost(model.spec)
        self.takes_only_x = model.takes_only_x and not model.uses_time
        self.slice_rows = self._bounded(FIRST_SLICE, FIRST_SLICE_COST)
        self.nanoseconds_per_row = 0.0
        self.nanoseconds_per_query_row = 0.0  # a sample of a query, or a step of a forecast
        self._queue = _EMPTY
        self._waiting_rows = WaitingRows(model.most_waiting) if model.has_lookahead else None
        self._samples: int | None = None  # those of the model after the last slice, if it had samples
        self._rows_done = 0  # rows of the first queued record that are already learned
        self._matches = _NO_MATCHES  # matched late targets by lsn, of records whose ack waits for it

    @property
    def has_backlog(self) -> bool:
        """Whether records are enqueued and not yet applied."""
        return bool(self._queue)

    @property
    def next_lsn(self) -> int:
        """The lsn of the next record to apply."""
        return self._queue[0][0].lsn

    @property
    def between_records(self) -> bool:
        """Whether the state is exactly that of `applied_lsn`, with no part of the next record applied."""
        return self._rows_done == 0

    def check_number(
        self, producer: str, epoch: int, seq: int, digest: int, time: int, lossy: bool
    ) -> Position | None:
        """Check a batch's number; return the producer's position if the batch is a resend.

        A lossy transport never resends: its batches are accepted after a gap, and from a forgotten producer.
        Raises as `ProducerState.check` for everything else.
        """
        try:
            return self.accepted_producers.check(producer, epoch, seq, digest, time)
        except Gap as gap:
            if not lossy:
                raise
            missing = seq - int(gap.detail["expected_seq"])
            self.missing_batches = min(self.missing_batches + missing, LAST_COUNT)
        except UnknownProducer:
            if not lossy:
                raise
        return None

    def enqueue(self, record: Record) -> bool:
        """Append a journalled record to the queue. Return whether it is the only one there."""
        if record.lsn > self.accepted_lsn:  # in a replay; otherwise `accept_learn` has noted it
            check_layout(record, self.model)
            self.note_accepted(record)
        if self.set_aside is not None:
            return False
        batch = decode_batch(record, self.model.uses_time) if record.decoded is None else record.decoded
        if was_idle := not self._queue:
            self._queue = deque()
        self._queue.append((record, None if record.dropped else batch))
        self.backlog_rows += record.rows
        self.backlog_bytes += memory_bytes(record)
        return was_idle

    def note_accepted(self, record: Record) -> None:
        """Validate the next batches as if `record` were already applied."""
        self.accepted_lsn = record.lsn
        if record.producer:
            if not record.digests:  # in a replay
                record.digests = record_digests(record)
            _advance(self.accepted_producers, record)

    def forget_unqueued(self) -> None:
        """Undo the acceptance of every record that is not in the queue: the journal refused them."""
        enqueued_lsn = self._queue[-1][0].lsn if self._queue else self.applied_lsn
        if self.accepted_lsn == enqueued_lsn or self.set_aside is not None:
            return
        self.accepted_producers = self.applied_producers.copy()
        self.accepted_lsn = self.applied_lsn
        for record, _ in self._queue:
            self.note_accepted(record)

    def step(self, models: ModelSource, watch: Watch, interrupts: Interrupts) -> Applied:
        """Apply the next change, or learn up to `slice_rows` rows of the next batches."""
        record, batch = self._queue[0]
        if batch is not None:
            return self._learn(record, batch, watch, interrupts)
        if record.dropped:
            self.backlog_rows -= record.rows
            self._finish()
            return Applied(self, record.kind, record.lsn, record.time)
        self._samples = None
        watch.enter(self.create_lsn, Place(record.lsn, 0, record.lsn, 0))
        if record.kind is RecordKind.RESTORE:
            self._restore(models, *tensors.decode(bytes(record.payload)))
        elif record.kind is RecordKind.REHEAT:
            self.model.reheat(json.loads(bytes(record.payload)))
        elif record.kind is RecordKind.PAUSE:
            self.model.pause()
        elif record.kind is RecordKind.RESUME:
            self.model.resume()
        elif record.kind is RecordKind.FEEDBACK:
            self.model.apply_feedback(Feedback(*json.loads(bytes(record.payload))))
        elif record.kind is RecordKind.LABEL:
            self.model.apply_label(json.loads(bytes(record.payload)))
        self._finish()
        return Applied(self, record.kind, record.lsn, record.time)

    def _restore(self, models: ModelSource, arrays: Arrays, metadata: Mapping[str, str]) -> None:
        """Replace the state. A model is built only if the spec is written in another way."""
        if self._waiting_rows is not None:
            self._waiting_rows = WaitingRows(self.model.most_waiting)
        own = self.model.metadata()
        if all(metadata.get(name) == value for name, value in own.items()):
            self.model.adopt(arrays)
        else:
            self.model = models.from_arrays(arrays, metadata)

    def _learn(self, record: Record, batch: Batch | Targets, watch: Watch, interrupts: Interrupts) -> Applied:
        """Learn as many whole records as fit into a slice, or a part of one record.

        A slice that is interrupted ends anywhere, after one row or more. The next one then learns only the
        rest of that record. So a slice ends at the end of a record again, where a checkpoint can be taken.
        """
        kind, begin, model = record.kind, self._rows_done, self.model
        limit = self.slice_rows if not self.suspects else self._rows_before_suspects(record)
        rows = min(record.rows - begin, limit)
        records, arrived, counts = [record], [record.time], [rows]
        if rows < record.rows:
            batch = joined([part(batch, begin, begin + rows)])
        elif len(self._queue) > 1:
            records, batch = self._next_records(limit)
            arrived, counts = [each.time for each in records], [each.rows for each in records]
            rows = sum(counts)
        elif batch is not record.decoded:
            batch = joined([batch])
        last = records[-1]
        first = model.samples if self._samples is None else self._samples
        watch.enter(self.create_lsn, Place(record.first_lsn or record.lsn, begin, last.lsn, rows))
        model.interrupt = interrupts.begin_slice(rows, self.nanoseconds_per_row)
        outputs, late = model.learn_validated(batch), None
        done = 1 if rows == 1 else model.samples - first  # of one row, every model does one
        self._samples = first + done if kind is RecordKind.LEARN else None
        if kind is RecordKind.TARGETS:
            done = len(outputs)
            self._count_matches(records, counts, outputs)
        self.learned += done
        self.backlog_rows -= done
        if self._waiting_rows is not None and kind is RecordKind.LEARN:
            origin = Origin(batch, arrived, counts, first)
            late = self._waiting_rows.take(origin, done, outputs.arrays["sample"])
        if done == record.rows and len(records) == 1:  # one record: the usual case
            self._finish()
        else:
            last = self._advance(done, len(records))
        origins = batch, arrived, counts, late
        return Applied(self, kind, last.lsn, last.time, first, done, outputs, done < rows, *origins)

    def _next_records(self, limit: int) -> tuple[list[Record], Any]:
        """Return the first records of the queue that are learned in one slice, and their batches as one.

        They have at most `limit` rows, unless the first one alone has more.
        """
        first, batch = self._queue[0]
        records, rows = [first], first.rows
        batches: list[Any] = [batch]
        for record, next_batch in islice(self._queue, 1, None):
            rows += record.rows
            if next_batch is None or record.kind is not first.kind or rows > limit:
                break
            if any(place.rows_before(record.lsn, 0) is not None for place in self.suspects):
                break
            if record.optional_columns != first.optional_columns:
                break  # only a part of the samples has times of its own
            records.append(record)
            batches.append(next_batch)
        return records, joined(batches)

    def _advance(self, rows: int, most: int) -> Record:
        """Finish the records that the next `rows` rows end, `most` at most. Return the last one begun."""
        last = self._queue[0][0]
        self._rows_done += rows
        for _ in range(most):
            record, _ = self._queue[0]
            if self._rows_done < record.rows:
                return record if self._rows_done else last
            self._rows_done -= record.rows
            self._finish()
            last = record
        return last

    def _rows_before_suspects(self, record: Record) -> int:
        """Return how many rows of `record` may be learned in one slice; 1 within a suspect place."""
        rows = self.slice_rows
        for place in self.suspects:
            before = place.rows_before(record.lsn, self._rows_done)
            if before is not None:
                rows = min(rows, max(before, 1))
        return rows

    def put_aside(self, aside: SetAside) -> None:
        """Set the model aside, before it applies any part of record `aside.lsn`."""
        self.set_aside = aside
        self._queue = _EMPTY
        self._rows_done = self.backlog_rows = self.backlog_bytes = 0

    def check_usable(self) -> None:
        """Raise `Quarantined` if the model is set aside."""
        if self.set_aside is not None:
            raise Quarantined(
                f"model {self.name!r} is set aside: {self.set_aside.reason}. "
                "Its files are kept. Stop the daemon and run `streamlearn repair DATA_DIR`, which can drop "
                "this record or this model",
                model=self.name,
                lsn=self.set_aside.lsn,
                reason=self.set_aside.reason,
                time=self.set_aside.time,
            )

    def _finish(self) -> None:
        record, _ = self._queue.popleft()
        if self._queue:
            self.backlog_bytes -= memory_bytes(record)
        else:
            self._queue, self.backlog_bytes = _EMPTY, 0
        self.applied_lsn, self.applied_time = record.lsn, record.time
        if record.producer:
            _advance(self.applied_producers, record)

    def _count_matches(self, records: Sequence[Record], counts: Sequence[int], outputs: NamedArrays) -> None:
        """Count the late targets that had a sample. `counts`: number of outputs of each record."""
        matched = outputs.arrays["sample"] >= 0  # (rows,)
        start = 0
        for record, rows in zip(records, counts, strict=True):
            if record.lsn in self._matches:
                self._matches[record.lsn] += int(np.count_nonzero(matched[start : start + rows]))
            start += rows
        count = int(np.count_nonzero(matched))
        self.matched_targets += count
        self.unmatched_targets += len(matched) - count

    def await_matches(self, lsn: int) -> None:
        """Count the matches of record `lsn`, which is not yet applied, for `pop_matches`."""
        if self._matches is _NO_MATCHES:
            self._matches = {}
        self._matches[lsn] = 0

    def pop_matches(self, lsn: int) -> int | None:
        """Return how many late targets of record `lsn` had a sample; `None` if it is not applied."""
        matched = self._matches.pop(lsn, None)
        return matched if lsn <= self.applied_lsn else None

    def adapt_slice(self, rows: int, nanoseconds: int, target_ns: int, *, interrupted: bool = False) -> None:
        """Choose the rows of the next slice so that it takes `target_ns`. Results do not depend on it (R2).

        `rows` and `nanoseconds` are the size and the duration of the last slice. An `interrupted` slice has
        few rows, and most of its time may be that of the call. It counts only if it was too long. A short one
        counts only if its rows were clearly faster than those before, for the same reason.
        """
        measured, average = nanoseconds / max(rows, 1), self.nanoseconds_per_row
        if nanoseconds < CALL_NS and 0 < FASTER * average < measured:
            return
        if interrupted and nanoseconds < target_ns:
            return
        self.nanoseconds_per_row = 0.75 * average + 0.25 * measured if average else measured
        rows = min(int(target_ns / max(self.nanoseconds_per_row, 1.0)), LONGEST_SLICE)
        self.slice_rows = self._bounded(rows, LONGEST_SLICE_COST)

    def use_long_slices(self) -> None:
        """Learn in the longest slices. For a replay: nothing waits for the end of a slice."""
        self.slice_rows = self._bounded(LONGEST_SLICE, LONGEST_SLICE_COST)

    def use_first_slices(self) -> None:
        """Learn in short slices, until `adapt_slice` knows the speed of the model."""
        self.slice_rows = self._bounded(FIRST_SLICE, FIRST_SLICE_COST)

    def _bounded(self, rows: int, cost: int) -> int:
        """Return the rows of a slice, at most `rows`, that costs at most `cost` if every row is the worst.

        The measured pace is no bound: rows differ, and an expensive one may follow many cheap ones.
        """
        return max(1, min(rows, cost // self.row_cost))

    def record_query_pace(self, rows: int, nanoseconds: int) -> None:
        """Record the duration of a query. A shorter one counts fully, since other load only adds time."""
        measured = nanoseconds / max(rows, 1)
        average = 0.75 * self.nanoseconds_per_query_row + 0.25 * measured
        self.nanoseconds_per_query_row = min(measured, average)

    def snapshot(self) -> Snapshot:
        """Return a copy of the model as of `applied_lsn`. The model must be `between_records`."""
        arrays = self.model.copy_state() | self.applied_producers.to_arrays()
        metadata = self.model.metadata() | {ARRIVAL: str(self.applied_time)}
        return Snapshot(self.name, self.create_lsn, self.applied_lsn, arrays, metadata)

    def discard_queue(self, lsn: int) -> None:
        """Record `lsn` deletes the model: discard what it has not learned."""
        self.deleted = True
        self._queue = _EMPTY
        self._matches = _NO_MATCHES
        self.applied_lsn = self.accepted_lsn = lsn
        self._rows_done = self.backlog_rows = self.backlog_bytes = 0


def _advance(table: ProducerState, record: Record) -> None:
    """Advance a table by the batches of a record."""
    table.advance(
        record.producer, record.epoch, record.seq, record.lsn, record.digests, record.batches, record.wide
    )
