"""The journal: the append-only log of accepted records, in segment files (docs/journal.md has the bytes).

Two threads use it. The main thread appends; the flusher thread calls ``sync``. Appending writes to the last
segment, and begins a new one when it is full, without waiting for the disk. ``sync`` makes all open segments
durable, oldest first, then their names, and then advances ``durable_lsn``. So no record counts as durable
before all records in front of it are durable, whatever the order of the disk's writes.
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
from streamlearn.store.dropped import forget_before
from streamlearn.store.fs import FS, FULL, actionable_error, actionable_errors
from streamlearn.store.record import Record, RecordKind
from streamlearn.store.repair import make_durable, remove
from streamlearn.store.scan import JournalScan, read_records
from streamlearn.store.segment import HEADER_BYTES, Header, SegmentFile, list_segments, segment_path
from streamlearn.store.segment_files import SegmentFiles

SEGMENT_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class DurablePart:
    """The records up to ``lsn``, which are durable: the first bytes of each of these files.

    ``close`` is a CLOSE record that may follow them in a copy.
    """

    lsn: int
    files: list[tuple[SegmentFile, int]]
    close: bytes


@dataclass(slots=True, eq=False)
class _OpenSegment:
    """A segment that is being written, or that waits for its last sync."""

    file: SegmentFile
    fd: int
    end: int  # where the next record goes
    limit: int  # a record that would end beyond it goes to a new segment
    name_durable: bool


class Journal:
    """The journal in one directory. One process may have it open: the caller holds the directory's lock."""

    def __init__(self, fs: FS, directory: Path, segment_bytes: int) -> None:
        """Use ``Journal.open``."""
        self._fs = fs
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._state = Lock()  # guards the fields that both threads use; never held during file access
        self._syncing = Lock()  # one sync at a time
        self._sizes: dict[SegmentFile, int] = {}  # bytes in use of every segment, oldest first
        self._files = SegmentFiles(fs, directory, segment_bytes)
        self._open: list[_OpenSegment] = []  # the last one is being written
        self._failure: JournalFailed | None = None
        self._journal = 0  # the journal's id
        self._chain = 0  # the hash of the last link
        self._closed = False  # whether the last link is a CLOSE
        self._durable_end: tuple[SegmentFile, int, int] | None = None  # segment, byte, and hash of the link
        self.written_lsn = 0
        """The lsn of the last record appended, which survives kill -9; 0 if the journal is empty."""
        self.durable_lsn = 0
        """The lsn of the last record that survives a power loss."""

    # ------------------------------------------------------------------------------------------- opening

    @classmethod
    def open(
        cls,
        fs: FS,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        repair: bool = False,
        scan: JournalScan | None = None,
        warn: Callable[[str], None] = lambda message: None,
    ) -> Journal:
        """Open the journal in ``directory``, or create one. All its records are durable on return.

        A torn tail is truncated, with a warning. Nothing is changed if the journal is refused.

        Parameters
        ----------
        fs
            File access.
        directory
            Where the segments are.
        segment_bytes
            Size of a segment file.
        repair
            Truncate a damaged journal, after copying it, instead of raising.
        scan
            What the caller has read and checked; the journal must not have changed since.
        warn
            Called with each warning.

        Raises
        ------
        DamagedJournal
            If durable records can't be read. ``replay`` raises it too, for earlier segments.
        """
        self = cls(fs, directory, segment_bytes)
        with self._permanent_failure("opened"), actionable_errors(f"open the journal in {directory}"):
            found = JournalScan(fs, directory, repair=repair)
            if scan is not None and (scan.id, scan.end) != (found.id, found.end):
                raise JournalFailed(
                    f"the journal in {directory} changed while it was replayed: it ended before record "
                    f"{scan.end.lsn}, and now ends before record {found.end.lsn}. Another process writes "
                    "there, or the disk fails; find out, then start the daemon again"
                )
            self._files.remove_leftovers()
            if found.segments:
                make_durable(fs, found, warn)
                self._adopt(found)
            else:
                self._create()
        return self

    def _create(self) -> None:
        """Create the directory and the journal's first segment, or nothing."""
        existed = self._fs.exists(self._directory)
        try:
            self._fs.makedirs(self._directory)
            self._begin(1)
        except (OSError, DiskFull):
            with suppress(OSError):
                self._close_files()
                remove(self._fs, list_segments(self._fs, self._directory))
                if not existed:
                    self._fs.rmdir(self._directory)
            raise

    def _begin(self, first: int) -> None:
        """Create the journal's first segment."""
        self._journal, self._chain = secrets.randbits(64), 0
        self._begin_segment(first)

    def _begin_segment(self, first: int) -> None:
        """Create an empty segment; it is durable before any record is written."""
        segment = self._roll(first, 0, first - 1)
        self.written_lsn = self.durable_lsn = first - 1
        self._fs.fdatasync(segment.fd)
        self._fs.fsync_dir(self._directory)
        segment.name_durable = True
        self._durable_end = (segment.file, segment.end, self._chain)

    def _adopt(self, scan: JournalScan) -> None:
        """Continue at the end of a journal that has nothing behind its end."""
        at, segments = scan.end, scan.segments
        self._sizes = {segment: self._fs.stat(segment.path).size for segment in segments[: at.index]}
        if scan.id is None or at.offset == 0:
            self._begin(at.lsn)
            return
        last = segments[at.index]
        active = _OpenSegment(
            last, self._fs.open(last.path), at.offset, max(self._segment_bytes, at.offset), name_durable=True
        )
        with suppress(DiskFull), actionable_errors("reserve space"):
            self._fs.allocate(active.fd, active.limit)
        self._open = [active]
        self._sizes[last] = at.offset
        self._journal, self._chain, self._closed = scan.id, at.chain, scan.closed
        self.written_lsn = self.durable_lsn = at.lsn - 1
        self._durable_end = (last, at.offset, at.chain)

    # ----------------------------------------------------------------------------------------- appending

    @property
    def next_lsn(self) -> int:
        """The lsn of the next record."""
        return self.written_lsn + 1

    def append(self, records: Sequence[Record]) -> int:
        """Write ``records`` in one call and set their ``lsn``. Only one thread may append.

        The records survive kill -9 on return, and a power loss once ``durable_lsn`` has reached them.

        Returns
        -------
        int
            The lsn of the first record.

        Raises
        ------
        DiskFull, OSError
            No record was written; the journal remains usable.
        JournalFailed
            If a sync has failed before.
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
        for lsn, record in enumerate(records, first):
            record.lsn = lsn
        with self._state:
            self._chain, self._closed = chain, False
            segment.end += size
            self._sizes[segment.file] = segment.end
            self.written_lsn += len(records)
        return first

    def _encode(self, records: Sequence[Record], first: int) -> tuple[list[bytes], int, int]:
        """Return the bytes of ``records`` in parts, their total, and the hash of the last record."""
        parts: list[bytes] = []
        size, chain, durable = 0, self._chain, self.durable_lsn
        for lsn, record in enumerate(records, first):
            prefix, body, chain = record_format.encode(record, lsn, durable, chain, self._journal)
            parts += (prefix, body)
            size += len(prefix) + len(body)
        return parts, size, chain

    def _write(self, segment: _OpenSegment, parts: Sequence[bytes]) -> None:
        """Write all ``parts`` at the segment's end, or nothing. Does not advance ``segment.end``."""
        try:
            self._fs.write(segment.fd, parts, segment.end)
        except OSError as error:
            self._fs.truncate(segment.fd, segment.end)
            if error.errno in FULL:
                raise actionable_error(error, f"append to the journal segment {segment.file.path}") from error
            raise

    def _roll(self, first: int, size: int, durable: int) -> _OpenSegment:
        """Create the segment of record ``first``, with space for at least ``size`` bytes of records."""
        file = SegmentFile(first, segment_path(self._directory, first))
        needed = HEADER_BYTES + size
        limit = max(self._segment_bytes, needed)
        header = Header(self._journal, first, self._chain, durable)
        try:
            fd, limit, chain = self._files.create(file, header, limit, needed)
        except OSError as error:
            if error.errno in FULL:
                action = f"begin the journal segment {file.path} with {needed} bytes"
                raise actionable_error(error, action) from error
            raise
        segment = _OpenSegment(file, fd, HEADER_BYTES, limit, name_durable=False)
        with self._state:
            self._chain, self._closed = chain, False
            self._open.append(segment)
            self._sizes[file] = HEADER_BYTES
        return segment

    def advance(self, lsn: int) -> None:
        """Raise ``next_lsn`` to ``lsn`` if it is lower: a checkpoint may be ahead of a repaired journal."""
        if lsn > self.next_lsn:
            self.sync()
            with self._permanent_failure("continued"):
                self._begin_segment(lsn)

    # -------------------------------------------------------------------------------------------- syncing

    def sync(self) -> int:
        """Make all records appended before this call durable; return ``durable_lsn``. For any thread.

        Raises ``JournalFailed`` if the sync fails, and in every later call. A failed sync is never retried:
        the system may have dropped the bytes and would report success for the next sync.
        """
        with self._syncing:
            with self._state:
                if self._failure is not None:
                    raise self._failure
                target, segments = self.written_lsn, self._open[:]
                end = (segments[-1].file, segments[-1].end, self._chain) if segments else None
            if target == self.durable_lsn:
                return target
            with self._permanent_failure("synced"):
                for segment in segments[:-1]:  # full segments: release their unused space
                    self._fs.truncate(segment.fd, segment.end)
                for segment in segments:
                    self._fs.fdatasync(segment.fd)
                if not all(segment.name_durable for segment in segments):
                    self._fs.fsync_dir(self._directory)
            with self._state:
                for segment in segments:
                    segment.name_durable = True
                # The last one stays open: it is being written, or has records newer than this sync.
                del self._open[: len(segments) - 1]
                self.durable_lsn, self._durable_end = target, end
            for segment in segments[:-1]:
                self._fs.close(segment.fd)
            return target

    @contextmanager
    def _permanent_failure(self, action: str) -> Iterator[None]:
        """Turn an ``OSError`` into a ``JournalFailed`` that every later call raises."""
        try:
            yield
        except OSError as error:
            failure = JournalFailed(
                f"the journal in {self._directory} could not be {action} ({error.strerror or error}); "
                f"whether records after {self.durable_lsn} are on the disk is unknown, so nothing more is "
                "acknowledged. Look for disk errors in the system log, then start the daemon again: every "
                "record acknowledged as durable is kept",
                durable_lsn=self.durable_lsn,
            )
            with self._state:
                self._failure = failure
            raise failure from error

    def close(self) -> None:
        """Sync, write CLOSE, release the reserved space, and close the files. Stop the flusher first."""
        try:
            if self._failure is None and self._open:
                self.sync()
                self._close_last(self._open[-1])
                self.remove_spares()
        finally:
            self._close_files()

    def _close_files(self) -> None:
        for segment in self._open:
            self._fs.close(segment.fd)
        self._open = []

    def _close_last(self, segment: _OpenSegment) -> None:
        with self._permanent_failure("closed"):
            if not self._closed:
                mark = Record(RecordKind.CLOSE, 0, 0, "")
                prefix, body, _ = record_format.encode(
                    mark, self.next_lsn, self.durable_lsn, self._chain, self._journal
                )
                with suppress(DiskFull):  # CLOSE is optional: it only proves where the journal ends
                    self._write(segment, (prefix, body))
                    segment.end += len(prefix) + len(body)
            self._fs.truncate(segment.fd, segment.end)
            self._fs.fdatasync(segment.fd)

    # -------------------------------------------------------------------------------- reading and retiring

    @property
    def id(self) -> int:
        """The journal's random id, the same in all its segments."""
        return self._journal

    @property
    def first_lsn(self) -> int:
        """The first lsn of the oldest segment. Earlier records were retired."""
        return self.segment_start(0)

    def segment_start(self, lsn: int) -> int:
        """Return the first lsn of the segment that has or will have record ``lsn``; at least `first_lsn`."""
        with self._state:
            firsts = [file.first for file in self._sizes]
        return max((first for first in firsts if first <= lsn), default=firsts[0])

    @property
    def segments(self) -> int:
        """The number of segments."""
        return len(self._sizes)

    @property
    def bytes(self) -> int:
        """The number of bytes in use in all segments."""
        with self._state:
            return sum(self._sizes.values())

    def durable_part(self) -> DurablePart:
        """Return what a copy of the journal must contain to end at ``durable_lsn``. For any thread.

        The bytes do not change while no segment is removed.
        """
        with self._state:
            assert self._durable_end is not None
            last, end, chain = self._durable_end
            files = [(file, size) for file, size in self._sizes.items() if file.first < last.first]
            lsn = self.durable_lsn
        mark = Record(RecordKind.CLOSE, 0, 0, "")
        prefix, body, _ = record_format.encode(mark, lsn + 1, lsn, chain, self._journal)
        return DurablePart(lsn, [*files, (last, end)], prefix + body)

    def remove_spares(self) -> None:
        """Give the files that wait for later segments back to the disk. For any thread."""
        with suppress(OSError):  # a start removes what is left
            self._files.remove_spares()

    def replay(self, from_lsn: int | None = None) -> Iterator[Record]:
        """Iterate over the records from ``from_lsn`` to the last one written, in order.

        Reads lazily, with one segment in memory at a time; payloads are read-only views of it. Skips the
        numbers that ``advance`` skipped.

        Parameters
        ----------
        from_lsn
            The first record; ``None`` for the oldest.

        Raises
        ------
        DamagedJournal
            At once if ``from_lsn`` was retired; during the iteration if a record can't be read.
        """
        if from_lsn is None:
            from_lsn = self.first_lsn
        if from_lsn < self.first_lsn:
            raise DamagedJournal(
                f"the journal in {self._directory} begins at record {self.first_lsn}, but record {from_lsn} "
                "is asked for: earlier segments were retired or removed. Restore them, or a newer "
                "checkpoint, from a backup",
                lsn=from_lsn,
                first_lsn=self.first_lsn,
            )
        with self._state:
            segments = list(self._sizes)
        return read_records(self._fs, self._directory, segments, self._journal, from_lsn, self.written_lsn)

    def retire(self, before_lsn: int) -> int:
        """Remove the segments with no record at or after ``before_lsn``; return their number.

        Only one thread may call it. Keeps the segment being written, and all that are not durable. Some files
        are kept for later segments; they are not counted as ``bytes``.
        """
        removed = 0
        while True:
            with self._state:
                oldest = list(self._sizes)[:2]
                busy = any(
                    segment.file == oldest[0] or (segment.file in oldest and not segment.name_durable)
                    for segment in self._open
                )
            if len(oldest) < 2 or oldest[1].first > before_lsn or busy:
                if removed:
                    forget_before(self._fs, self._directory, self.first_lsn)
                return removed
            if not removed:
                self._files.plan_spares()
            # One at a time: after removing two at once, a power loss might restore only the older one.
            if not self._files.keep(oldest[0]):
                remove(self._fs, oldest[:1])
            with self._state:
                del self._sizes[oldest[0]]
            removed += 1
