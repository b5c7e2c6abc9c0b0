"""What the daemon promised and what must therefore be true: the independent account of a simulation.

The ledger knows every batch that a client sent, reads every record from the simulated disk as it is written,
and knows from the disk, not from the daemon, which records would survive a power loss. From this it checks
every answer when the daemon sends it, and every recovery.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from streamlearn import models
from streamlearn.models.batch import NUMBER, Batch, Targets, part
from streamlearn.shard.record_codec import decode_batch
from streamlearn.store import record as record_format
from streamlearn.store import tensors
from streamlearn.store.reader import Reader
from streamlearn.store.record import CREATES, DecodedRecord, Record, RecordKind
from streamlearn.store.segment import HEADER_BYTES, SegmentFile, decode_header, list_segments
from streamlearn_client.protocol import Learn
from tests.faults.lossyfs import File
from tests.simulation.disk import Disk
from tests.simulation.references import Reference


class Violation(AssertionError):
    """The code under test broke a promise."""

    first: ClassVar[Violation | None] = None  # found inside a task, whose code may catch it or go on

    def __init__(self, message: str) -> None:
        super().__init__(message)
        Violation.first = Violation.first or self


def require(condition: object, message: str) -> None:
    if not condition:
        raise Violation(message)


@dataclass(eq=False)
class SentBatch:
    """A batch of a client. Its values are random, so no other batch has the same content."""

    message: Learn
    client: str
    order: int  # in which batches were first sent
    lsn: int | None = None  # its record in the journal as it is now
    refused: bool = False  # its client knows that the daemon has not accepted it

    @property
    def level(self) -> str:
        return self.message.ack

    def __str__(self) -> str:
        return f"the batch of {self.message.rows} rows of {self.client} to {self.message.model}"


@dataclass(eq=False, slots=True)
class Entry:
    """A record in the journal, and where it is on the disk."""

    record: Record
    digest: int
    data: bytes  # as written
    file: File
    offset: int
    batches: list[SentBatch]

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


class Ledger:
    """One per simulation; it outlives the daemon's processes."""

    def __init__(self, disk: Disk, directory: Path) -> None:
        self.entries: list[Entry] = []  # the record with lsn n is at n − 1
        self.references: dict[tuple[str, int], Reference] = {}  # by name and create lsn
        self.current: dict[str, Reference] = {}  # by name
        self.observing = False
        self.certain = 0  # records up to here were written completely, before the last crash
        self._disk = disk
        self._directory = directory
        self.longest_run = 0  # batches in one record
        self._batches: dict[bytes, SentBatch] = {}
        self._durable = 0
        self._parsed: dict[File, tuple[int, int]] = {}  # segment: its journal's id, end of the last record
        disk.observe = self._observe
        disk.observe_size = self._observe_size
        disk.observe_rename = self._observe_rename

    @property
    def written(self) -> int:
        """The last record in the file, as a program sees it."""
        return len(self.entries)

    # ------------------------------------------------------------------------------------------- batches

    def register(self, message: Learn, client: str) -> SentBatch:
        """A client begins to send a batch."""
        content = _content(message.x, message.y)
        batch = self._batches.get(content)
        if batch is None:
            batch = self._batches[content] = SentBatch(message, client, len(self._batches))
        return batch

    def refuse(self, batch: SentBatch) -> None:
        """The call ended with an error that is not in doubt."""
        require(batch.lsn is None, f"{batch} was refused, but it is record {batch.lsn}")
        batch.refused = True

    # ------------------------------------------------------------------------------------ the journal's files

    def _observe(self, file: File, offset: int, size: int) -> None:
        """Bytes were written: read the records that are complete now."""
        if not self.observing or file.path.parent != self._directory:
            return
        if file not in self._parsed:
            segment = SegmentFile(int(file.path.name[:20]), file.path)
            header = decode_header(bytes(file.seen[:HEADER_BYTES]), segment)
            if header is None:
                return
            self._parsed[file] = header.journal, HEADER_BYTES
        journal, end = self._parsed[file]
        if offset < end:
            self._forget(file, offset)
            end = max(offset, HEADER_BYTES)
        data = memoryview(bytes(file.seen[end : offset + size]))
        at = 0
        while (framed := record_format.decode(data, at, journal)) is not None:
            if framed.record.kind is not RecordKind.CLOSE:
                self._add(framed, bytes(data[at : at + framed.length]), file, end + at)
            at += framed.length
        self._parsed[file] = journal, end + at

    def _observe_size(self, file: File, size: int) -> None:
        """A file was truncated."""
        if self.observing and file in self._parsed and size < self._parsed[file][1]:
            self._forget(file, size)
            self._parsed[file] = self._parsed[file][0], max(size, HEADER_BYTES)

    def _observe_rename(self, path: Path) -> None:
        """A checkpoint is published under its name, which begins with its lsn."""
        if path.suffix == ".safetensors":
            lsn = int(path.name[:20])
            require(
                lsn <= self.durable(),
                f"a checkpoint as of record {lsn} is published, but only {self.durable()} is durable",
            )

    def _forget(self, file: File, offset: int) -> None:
        """The end of a segment was removed: a write that did not fit."""
        while self.entries and self.entries[-1].file is file and self.entries[-1].end > offset:
            require(len(self.entries) > self._durable, f"durable record {len(self.entries)} was truncated")
            self._drop_last()

    def _add(self, framed: DecodedRecord, data: bytes, file: File, offset: int) -> None:
        record = framed.record
        require(record.lsn == len(self.entries) + 1, f"record {record.lsn} follows {len(self.entries)}")
        batches = []
        if record.kind in (RecordKind.LEARN, RecordKind.TARGETS):
            batches = self._match(record)
        self.entries.append(Entry(record, framed.digest, data, file, offset, batches))
        if record.kind in CREATES:
            require(record.model not in self.current, f"{record.model} was created twice")
            reference = Reference.created(record)
            self.references[record.model, record.lsn] = self.current[record.model] = reference
        else:
            self.current[record.model].append(record)
        if record.kind is RecordKind.DELETE:
            del self.current[record.model]

    def _match(self, record: Record) -> list[SentBatch]:
        """Find the batches of a record, which must be exactly what a client sent, for the first time."""
        reference = self.current.get(record.model)
        require(reference is not None, f"record {record.lsn} is of {record.model}, which does not exist")
        assert reference is not None
        made = decode_batch(record, reference.model.uses_time)
        assert made is not None
        rows = made.rows // record.batches
        require(rows * record.batches == made.rows, f"record {record.lsn} has batches of different sizes")
        batches: list[SentBatch] = []
        self.longest_run = max(self.longest_run, record.batches)
        for index in range(record.batches):
            batch = self._match_batch(record, part(made, index * rows, (index + 1) * rows))
            require(
                not batches or (batches[-1].client == batch.client and batches[-1].order < batch.order),
                f"record {record.lsn} has batches in another order than they were sent",
            )
            batch.lsn = record.lsn
            batches.append(batch)
        return batches

    def _match_batch(self, record: Record, made: Batch | Targets) -> SentBatch:
        x = made.x if isinstance(made, Batch) else None
        batch = self._batches.get(_content(x, made.y))
        require(batch is not None, f"record {record.lsn} has samples that no client sent")
        assert batch is not None
        message = batch.message
        require(not batch.refused, f"{batch} is record {record.lsn}, but its client knows it as refused")
        require(batch.lsn is None, f"{batch} is in the journal twice: records {batch.lsn} and {record.lsn}")
        require(
            record.model == message.model
            and _same(made.keys, message.keys)
            and _same(made.ids, message.ids)
            and (x is None or _same(made.y, message.y)),
            f"record {record.lsn} differs from {batch}",
        )
        return batch

    def _drop_last(self) -> None:
        entry = self.entries.pop()
        record = entry.record
        for batch in entry.batches:
            batch.lsn = None
        if record.kind in CREATES:
            del self.references[record.model, record.lsn], self.current[record.model]
        elif record.kind is RecordKind.DELETE:
            reference = next(r for r in self.references.values() if r.records and r.records[-1] is record)
            self.current[record.model] = reference
            reference.forget(record.lsn)
        else:
            self.current[record.model].forget(record.lsn)

    def durable(self) -> int:
        """The last record that survives a power loss now, with all before it."""
        named: set[int] | None = None
        while self._durable < len(self.entries):
            entry = self.entries[self._durable]
            file = entry.file
            if file.disk[entry.offset : entry.end] != entry.data:
                break
            if named is None:  # a file may have had another name as an earlier segment
                names = self._disk.directory(self._directory).disk
                named = {id(node) for name, node in names.items() if name.endswith(".log")}
            if id(file) not in named or file.disk[:HEADER_BYTES] != file.seen[:HEADER_BYTES]:
                break
            self._durable += 1
        return self._durable

    # ------------------------------------------------------------------------------------------ recovery

    def crashed(self, power: bool) -> None:
        """The process ended. ``power``: and the disk lost what was not durable."""
        if self.observing:
            self.certain = self.written
            self.durable()
        if power:  # during a recovery too, whatever it had made durable
            self.certain = min(self.certain, self._durable)
        self.observing = False

    def recovered(self, journal_id: int) -> int:
        """The journal was opened again: it must hold a beginning of the same records, and no less than was
        certain. Return its last lsn."""
        segments = list_segments(self._disk, self._directory)
        reader = Reader(self._disk, segments, journal_id)
        last = segments[0].first - 1
        self._parsed = {}
        for link in reader.links():
            file = self._disk.file(segments[reader.at.index].path)
            if link is None:
                self._parsed[file] = journal_id, HEADER_BYTES
                continue
            if link.record.kind is RecordKind.CLOSE:
                continue
            last, end = link.record.lsn, reader.at.offset + link.length
            self._parsed[file] = journal_id, end
            require(last <= self.written, f"recovery invented record {last}")
            entry = self.entries[last - 1]
            require(link.digest == entry.digest, f"recovery changed record {last}")
            entry.file, entry.offset = file, reader.at.offset
        require(
            last >= self.certain,
            f"recovery ends at record {last}, but {self.certain} records were certain",
        )
        while self.written > last:
            self._drop_last()
        self._durable = self.certain = last
        self.observing = True
        return last

    # ----------------------------------------------------------------------------------------- promises

    def check_ack(self, batch: SentBatch, ok: dict[str, Any]) -> None:
        """The daemon sends an ack."""
        lsn = ok["lsn"]
        require(batch.lsn is not None, f"{batch} is acknowledged ({ok}), but it is not in the journal")
        assert batch.lsn is not None
        require(batch.lsn <= lsn, f"{batch} is record {batch.lsn}, but its ack says {ok}")
        if batch.level == "durable":
            require(
                lsn <= self.durable(), f"{batch} is acknowledged ({ok}), but only {self.durable()} is durable"
            )
        self.check_durable_lsn(ok)

    def check_durable_lsn(self, ok: dict[str, Any]) -> None:
        """Any answer that states what is durable."""
        claimed = ok.get("durable_lsn", 0)
        require(claimed <= self.durable(), f"durable_lsn is {claimed}, but only {self.durable()} is durable")

    def check_change(self, ok: dict[str, Any]) -> None:
        """The answer to a change of a model."""
        require(ok["lsn"] <= self.durable(), f"a change is answered ({ok}) before it is durable")
        self.check_durable_lsn(ok)

    def check_restored(self, name: str, ok: dict[str, Any]) -> None:
        """A model got an earlier state of the model ``name``, or another model was created with it."""
        record = self.entries[ok["lsn"] - 1].record
        reference = self.current.get(name)
        if reference is None or reference.create_lsn > ok["restored_lsn"]:
            return  # the model was deleted meanwhile
        restored = models.from_arrays(*tensors.decode(bytes(record.payload))).state_hash()
        require(
            restored == reference.hash_at(ok["restored_lsn"]),
            f"{record.model} was restored to the state {restored}, which {name} did not have ({ok})",
        )

    def check_producers(self, name: str, create_lsn: int, position: Callable[[str], Any]) -> None:
        """The producer table of a model must be that of its records."""
        newest = {
            record.producer: record
            for record in self.references[name, create_lsn].records
            if record.producer and not record.producer.startswith("hose")
        }
        for producer, record in newest.items():
            known = position(producer)
            require(
                (known.epoch, known.next_seq) == (record.epoch, record.seq + record.batches),
                f"{name} expects batch {known.next_seq} of {producer}, whose last record is {record.lsn}",
            )

    def check_state(self, name: str, create_lsn: int, lsn: int, state_hash: str) -> None:
        """A model must have learned exactly the records up to ``lsn``."""
        reference = self.references.get((name, create_lsn))
        require(reference is not None, f"there is no model {name} of record {create_lsn}")
        assert reference is not None
        expected = reference.hash_at(lsn)
        require(
            state_hash == expected,
            f"{name} as of record {lsn} has the state {state_hash}, but an uninterrupted run has {expected}",
        )


def _content(x: Any, y: Any) -> bytes:
    return b"x" + x.tobytes() if x is not None else b"y" + y.tobytes()


def _same(journalled: Any, sent: Any) -> bool:
    if sent is None:
        return journalled is None or bool((journalled == NUMBER).all() or np.isnan(journalled).all())
    return journalled is not None and bool(np.array_equal(journalled, sent, equal_nan=sent.dtype.kind == "f"))
