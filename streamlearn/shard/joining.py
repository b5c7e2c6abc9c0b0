"""Joining the records of a replay: consecutive batches of one producer become one record, as runs do.

A single sample per record would otherwise cost many times the kernel call: a check, a decoding, a hash and an
entry in the queue each. Any split of the samples gives the same state (R2), and `ProducerState` has the same
digests for batches of one record or of many.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamlearn.shard.hosted_model import HostedModel, memory_bytes
from streamlearn.shard.record_codec import joined_payload, record_digests, resend_window, row_bytes
from streamlearn.store.record import TIMES, Record, RecordKind

MOST_BYTES = 1 << 21  # of memory of the records that become one
MOST_BATCHES = 1 << 12


class Joiner:
    """The open joins, one per model at most."""

    def __init__(self) -> None:
        self._open: dict[str, _Join] = {}
        self.bytes = 0
        """Memory of all records that are not joined yet, about."""

    def add(self, record: Record, hosted: HostedModel) -> Iterator[tuple[Record, int]]:
        """Take the next record of a model. Yield what is complete now, in order.

        Yields
        ------
        record : Record
            A record, or several as one.
        count : int
            How many they were.
        """
        join = self._open.get(record.model)
        if join is not None and not join.accepts(record):
            yield self._close(record.model)
            join = None
        if join is not None:
            join.add(record)
        elif _is_complete(record) and record.lsn > hosted.applied_lsn and _has_times(record, hosted):
            self._open[record.model] = _Join(record)
        else:
            yield record, 1
            return
        self.bytes += memory_bytes(record)

    def close(self) -> Iterator[tuple[Record, int]]:
        """Yield the records of all joins, as `add` does."""
        while self._open:
            yield self._close(next(iter(self._open)))

    def _close(self, model: str) -> tuple[Record, int]:
        join = self._open.pop(model)
        self.bytes -= join.bytes
        return join.record(), join.count


class _Join:
    """Records that become one."""

    def __init__(self, first: Record) -> None:
        self._first = first
        self._rows_of_batch = first.rows // first.batches
        self._records = [first]
        self._batches, self.bytes = first.batches, memory_bytes(first)

    def accepts(self, record: Record) -> bool:
        """Whether the record is the next one, with batches of the same size."""
        first = self._first
        return (
            _is_complete(record)
            and record.producer == first.producer
            and record.epoch == first.epoch
            and record.wide == first.wide
            and (not first.producer or record.seq == first.seq + self._batches)
            and _columns(record) == _columns(first)
            and (record.rows == first.rows or row_bytes(record) == 4 * record.x_cols)
            and record.rows == record.batches * self._rows_of_batch
            and self._batches < MOST_BATCHES
            and self.bytes < MOST_BYTES
        )

    def add(self, record: Record) -> None:
        """Join a record that `accepts` is true of."""
        self._records.append(record)
        self._batches += record.batches
        self.bytes += memory_bytes(record)

    @property
    def count(self) -> int:
        """The number of records."""
        return len(self._records)

    def record(self) -> Record:
        """Return the joined record. Its lsn is that of the last one."""
        first, last = self._first, self._records[-1]
        if first is last:
            return first
        return Record(
            RecordKind.LEARN,
            last.lsn,
            last.time,
            first.model,
            first.producer,
            first.epoch,
            first.seq,
            self._batches * self._rows_of_batch,
            first.x_cols,
            first.y_cols,
            joined_payload(self._records),
            first.optional_columns,
            batches=self._batches,
            wide=first.wide,
            digests=self._digests(),
            first_lsn=first.lsn,
        )

    def _digests(self) -> list[int]:
        """Return those of the last batches, from the payloads as they were: that is faster."""
        found: list[int] = []
        window = resend_window(self._first.wide)
        for record in reversed(self._records):
            found = [*record_digests(record), *found]
            if len(found) >= window:
                break
        return found[-window:]


def _columns(record: Record) -> tuple[int, int, int]:
    return record.x_cols, record.y_cols, record.optional_columns


def _is_complete(record: Record) -> bool:
    """Whether a record has samples, as many as it states."""
    return (
        record.kind is RecordKind.LEARN
        and not record.dropped
        and 0 < record.batches <= record.rows
        and not record.rows % record.batches
        and record.rows * row_bytes(record) == len(record.payload)
    )


def _has_times(record: Record, hosted: HostedModel) -> bool:
    """Whether the rows have all times that the model uses: the arrival time is that of the record."""
    return not hosted.model.uses_time or bool(record.optional_columns & TIMES)
