"""The journal: the append-only log of accepted records, in segment files (docs/journal.md has the bytes).

Two threads use it. The main thread appends; the flusher thread calls ``sync``. Appending writes to the
last segment, and begins a new one when it is full, without waiting for the disk; ``sync`` makes all open
segments durable, oldest first, then their names, and only then moves ``durable_lsn``. So in whatever
order the disk keeps things, nothing is called durable before all that stands in front of it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from streamlearn.errors import DamagedJournal, DiskFull, JournalFailed
from streamlearn.store import record as record_format
from streamlearn.store.fs import FS, FULL, explain, explained
from streamlearn.store.reader import Reader, segment_of
from streamlearn.store.record import Record, RecordKind
from streamlearn.store.repair import JournalEnd, JournalRepair
from streamlearn.store.segment import (
    HEADER_BYTES,
    Header,
    SegmentFile,
    encode_header,
    list_segments,
    segment_path,
)

SEGMENT_BYTES = 64 * 2**20


@dataclass(slots=True, eq=False)
class _Open:
    """A segment that is being written, or waits for its last sync."""

    file: SegmentFile
    fd: int
    end: int  # where the next record goes
    limit: int  # beyond which the next record goes to a new segment
    named: bool  # whether its name is known to be durable


class Journal:
    """The journal in one directory. One process may have it open: the caller holds the directory's lock."""

    def __init__(self, fs: FS, directory: Path, segment_bytes: int, repairer: JournalRepair) -> None:
        """Use ``Journal.open``."""
        self._fs = fs
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._mender = repairer
        self._state = Lock()  # guards what both threads use; never held while the disk works
        self._syncing = Lock()  # one sync at a time
        self._sizes: dict[SegmentFile, int] = {}  # bytes in use, of all segments, oldest first
        self._open: list[_Open] = []  # the last one is being written
        self._failure: JournalFailed | None = None
        self._journal = 0  # the journal's id
        self._chain = 0  # the hash of the last link
        self._closed = False  # whether the last link is a CLOSE
        self.written_lsn = 0
        """The lsn of the last record appended; it outlives the process. 0: there is none."""
        self.durable_lsn = 0
        """The lsn of the last record that outlives a power loss."""

    # ------------------------------------------------------------------------------------------- opening

    @classmethod
    def open(
        cls,
        fs: FS,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        repair: bool = False,
        warn: Callable[[str], None] = lambda message: None,
    ) -> Journal:
        """Open the journal in ``directory``, or begin one. All that is found in it is durable afterwards.

        A torn tail is cut off, with a warning. Damage raises ``DamagedJournal``, here or in ``replay``,
        whichever comes upon it; with ``repair`` the journal is cut there instead, after copies were made.
        """
        self = cls(fs, directory, segment_bytes, JournalRepair(fs, directory, repair, warn))
        with self._no_second_try("opened"), explained(f"open the journal in {directory}"):
            fs.makedirs(directory)
            segments = list_segments(fs, directory)
            if segments:
                self._adopt(segments, self._mender.recover(segments))
            else:
                self._begin(1)
        return self

    def _begin(self, first: int) -> None:
        """Make the journal's first segment."""
        self._journal, self._chain = secrets.randbits(64), 0
        self._begin_segment(first)

    def _begin_segment(self, first: int) -> None:
        """Make an empty segment, durable before anything is written behind its header."""
        segment = self._roll(first, 0, first - 1)
        self.written_lsn = self.durable_lsn = first - 1
        self._fs.fdatasync(segment.fd)
        self._fs.fsync_dir(self._directory)
        segment.named = True

    def _adopt(self, segments: Sequence[SegmentFile], end: JournalEnd) -> None:
        """Go on where the mended journal ends."""
        at = end.at
        self._close_files()
        self._sizes = {segment: self._fs.stat(segment.path).size for segment in segments[: at.index]}
        if end.journal is None or at.offset == 0:
            self._begin(at.lsn)
            return
        last = segments[at.index]
        active = _Open(
            last, self._fs.open(last.path), at.offset, max(self._segment_bytes, at.offset), named=True
        )
        with suppress(DiskFull), explained("reserve room"):
            self._fs.allocate(active.fd, active.limit)
        self._open = [active]
        self._sizes[last] = at.offset
        self._journal, self._chain, self._closed = end.journal, at.chain, end.closed
        self.written_lsn = self.durable_lsn = at.lsn - 1

    # ----------------------------------------------------------------------------------------- appending

    @property
    def next_lsn(self) -> int:
        """The lsn that the next record will have."""
        return self.written_lsn + 1

    def append(self, records: Sequence[Record]) -> int:
        """Write ``records`` in one go, set their ``lsn``, and return the first one's. For one thread.

        They outlive the process when this returns, and a power loss once ``durable_lsn`` has reached them.
        Raises ``DiskFull`` with none of them kept: the journal stays at its last whole record and can be
        used as before. Any other ``OSError`` likewise. ``JournalFailed`` for good once a sync has failed.
        """
        if self._failure is not None:
            raise self._failure
        first = self.written_lsn + 1
        parts, size, chain = self._encode(records, first)
        segment = self._open[-1]
        if segment.end + size > segment.limit and first > segment.file.first:
            segment = self._roll(first, size, self.durable_lsn)
            parts, size, chain = self._encode(records, first)
        self._write(segment, parts)
        self._chain, self._closed = chain, False
        for lsn, record in enumerate(records, first):
            record.lsn = lsn
        with self._state:
            segment.end += size
            self._sizes[segment.file] = segment.end
            self.written_lsn += len(records)
        return first

    def _encode(self, records: Sequence[Record], first: int) -> tuple[list[bytes], int, int]:
        """The bytes of ``records`` in parts, how many, and the hash of the last record."""
        parts: list[bytes] = []
        size, chain, durable = 0, self._chain, self.durable_lsn
        for lsn, record in enumerate(records, first):
            prefix, body, chain = record_format.encode(record, lsn, durable, chain, self._journal)
            parts += (prefix, body)
            size += len(prefix) + len(body)
        return parts, size, chain

    def _write(self, segment: _Open, parts: Sequence[bytes]) -> None:
        """Write ``parts`` at the segment's end, all or nothing; does not move the end."""
        try:
            self._fs.write(segment.fd, parts, segment.end)
        except OSError as error:
            self._fs.truncate(segment.fd, segment.end)
            if error.errno in FULL:
                raise explain(error, f"append to the journal segment {segment.file.path}") from error
            raise

    def _roll(self, first: int, size: int, durable: int) -> _Open:
        """Begin the segment of record ``first``, with room for ``size`` bytes of records or more."""
        file = SegmentFile(first, segment_path(self._directory, first))
        needed = HEADER_BYTES + size
        limit = max(self._segment_bytes, needed)
        header, chain = encode_header(Header(self._journal, first, self._chain, durable))
        fd = -1
        try:
            fd = self._fs.create(file.path)
            limit = self._reserve(fd, limit, needed)
            self._fs.write(fd, [header], 0)
        except OSError as error:
            if fd >= 0:
                self._fs.close(fd)
                self._fs.unlink(file.path)
            if error.errno in FULL:
                doing = f"begin the journal segment {file.path} with {needed} bytes"
                raise explain(error, doing) from error
            raise
        segment = _Open(file, fd, HEADER_BYTES, limit, named=False)
        self._chain, self._closed = chain, False
        with self._state:
            self._open.append(segment)
            self._sizes[file] = HEADER_BYTES
        return segment

    def _reserve(self, fd: int, limit: int, needed: int) -> int:
        """Reserve ``limit`` bytes or, on a nearly full disk, fewer, but ``needed`` at least; how many."""
        while True:
            try:
                self._fs.allocate(fd, limit)
                return limit
            except OSError as error:
                if error.errno not in FULL or limit == needed:
                    raise
                self._fs.truncate(fd, 0)  # give back what was reserved in vain
                limit = max(needed, limit // 8)

    def advance(self, lsn: int) -> None:
        """Let ``next_lsn`` be ``lsn`` at least: a checkpoint may be ahead of what is left of the journal."""
        if lsn > self.next_lsn:
            self.sync()
            with self._no_second_try("continued"):
                self._begin_segment(lsn)

    # -------------------------------------------------------------------------------------------- syncing

    def sync(self) -> int:
        """Make all that was appended before this call durable; returns ``durable_lsn``. For any thread.

        Raises ``JournalFailed`` if the disk refuses, and from then on always: a failed sync is not tried
        again, because the system may have dropped the bytes and would call the next one a success.
        """
        with self._syncing:
            with self._state:
                if self._failure is not None:
                    raise self._failure
                target, segments = self.written_lsn, self._open[:]
            if target == self.durable_lsn:
                return target
            with self._no_second_try("synced"):
                for segment in segments[:-1]:  # full ones: give back what is left of their room
                    self._fs.truncate(segment.fd, segment.end)
                for segment in segments:
                    self._fs.fdatasync(segment.fd)
                if not all(segment.named for segment in segments):
                    self._fs.fsync_dir(self._directory)
            with self._state:
                for segment in segments:
                    segment.named = True
                # The last one stays: it is being written, or was when this began and has bytes since.
                del self._open[: len(segments) - 1]
                self.durable_lsn = target
            for segment in segments[:-1]:
                self._fs.close(segment.fd)
            return target

    @contextmanager
    def _no_second_try(self, what: str) -> Iterator[None]:
        """Turn an ``OSError`` of syncing into the journal's end."""
        try:
            yield
        except OSError as error:
            failure = JournalFailed(
                f"the journal in {self._directory} could not be {what} ({error.strerror or error}); what is "
                f"on the disk after record {self.durable_lsn} is unknown, so nothing more is acknowledged. "
                "Look for the disk's errors in the system's log, then start again: all that was "
                "acknowledged as durable is kept",
                durable_lsn=self.durable_lsn,
            )
            with self._state:
                self._failure = failure
            raise failure from error

    def close(self) -> None:
        """Sync, note in the journal that all of it is durable, give back the room in reserve, and close.

        Stop the flusher first.
        """
        try:
            if self._failure is None and self._open:
                self.sync()
                self._close_last(self._open[-1])
        finally:
            self._close_files()

    def _close_files(self) -> None:
        for segment in self._open:
            self._fs.close(segment.fd)
        self._open = []

    def _close_last(self, segment: _Open) -> None:
        with self._no_second_try("closed"):
            if not self._closed:
                mark = Record(RecordKind.CLOSE, 0, 0, "")
                prefix, body, _ = record_format.encode(
                    mark, self.next_lsn, self.durable_lsn, self._chain, self._journal
                )
                with suppress(DiskFull):  # without it the journal is as whole, only less sure of its end
                    self._write(segment, (prefix, body))
                    segment.end += len(prefix) + len(body)
            self._fs.truncate(segment.fd, segment.end)
            self._fs.fdatasync(segment.fd)

    # -------------------------------------------------------------------------------- reading and retiring

    @property
    def first_lsn(self) -> int:
        """The lsn that the oldest segment begins with: what is before it was retired."""
        with self._state:
            return next(iter(self._sizes)).first

    @property
    def segments(self) -> int:
        """How many segments there are."""
        return len(self._sizes)

    @property
    def bytes(self) -> int:
        """How many bytes of the segments are in use."""
        with self._state:
            return sum(self._sizes.values())

    def replay(self, from_lsn: int | None = None) -> Iterator[Record]:
        """The records from ``from_lsn`` (``None``: from the oldest) to the last one written, in order.

        Lazy, with one segment in memory at a time; payloads are read-only views of it. Numbers that
        ``advance`` skipped are left out. Raises ``DamagedJournal`` if records were retired that are asked
        for, at once, or where one can't be read; in repair the journal is cut there and replay ends.
        """
        if from_lsn is None:
            from_lsn = self.first_lsn
        if from_lsn < self.first_lsn:
            raise DamagedJournal(
                f"the journal in {self._directory} begins at record {self.first_lsn}, but record {from_lsn} "
                "is asked for: earlier segments were retired or removed. Bring them, or a newer checkpoint, "
                "back from a backup",
                lsn=from_lsn,
                first_lsn=self.first_lsn,
            )
        return self._replay(from_lsn, self.written_lsn)

    def _replay(self, begin: int, last: int) -> Iterator[Record]:
        with self._state:
            segments = list(self._sizes)
        reader = Reader(
            self._fs, segments, self._journal, segment_of(self._fs, segments, self._journal, begin)
        )
        for link in reader.links():
            if link is None or link.record.kind is RecordKind.CLOSE:
                continue
            if link.record.lsn > last:
                return
            if link.record.lsn >= begin:
                yield link.record
        if reader.at.lsn <= last:
            self._mender.damage(segments, reader.at, f"record {last} was found behind it")
            with self._no_second_try("repaired"):
                self._mender.cut(segments, reader.at)
                self._adopt(segments, JournalEnd(reader.at, self._journal, closed=False))

    def retire(self, before_lsn: int) -> int:
        """Remove the segments whose records are all before ``before_lsn``; returns how many. For one thread.

        The segment being written always stays, and so does any that is not yet known to be durable.
        """
        removed = 0
        while True:
            with self._state:
                oldest = list(self._sizes)[:2]
                busy = any(
                    segment.file == oldest[0] or (segment.file in oldest and not segment.named)
                    for segment in self._open
                )
            if len(oldest) < 2 or oldest[1].first > before_lsn or busy:
                return removed
            # One by one: were two names removed at once, a power loss might bring back only the older one.
            self._mender.remove(oldest[:1])
            with self._state:
                del self._sizes[oldest[0]]
            removed += 1
