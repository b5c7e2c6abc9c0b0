"""A journal as it is on disk: read and checked, never changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from streamlearn.errors import DamagedJournal
from streamlearn.store.dropped import dropped_lsns
from streamlearn.store.fs import FS, actionable_errors
from streamlearn.store.reader import ChainEnd, Reader, Tail, first_uncertain, journal_id, segment_of
from streamlearn.store.record import Record, RecordKind
from streamlearn.store.segment import SegmentFile, list_segments


class JournalScan:
    """The segments of a journal, and where its valid records end.

    Parameters
    ----------
    fs
        File access.
    directory
        Where the segments are.
    repair
        Accept a damaged journal: it ends before the damage.

    Raises
    ------
    DamagedJournal
        If durable records can't be read, unless `repair`. If segments of two journals are mixed.
    BadConfig
        If the files can't be read for lack of permission.
    """

    def __init__(self, fs: FS, directory: Path, *, repair: bool = False) -> None:
        self._fs = fs
        self.directory = directory
        self.id: int | None = None
        """The journal's id; `None` without a valid segment."""
        self.end = ChainEnd(0, 0, 1, 0)
        """Where the next record goes."""
        self.tail = Tail(None, 0)
        """What is behind the end."""
        self.durable = 0
        """The highest lsn that a link proves to be durable."""
        self.closed = False
        """Whether the last link is a CLOSE."""
        self.uncertain: tuple[int, int] | None = None
        """Segment and byte of the first record that nothing proves to be durable."""
        with actionable_errors(f"read the journal in {directory}"):
            self.segments = list_segments(fs, directory)
            if self.segments:
                self._find_end(repair)

    def _find_end(self, repair: bool) -> None:
        fs, segments = self._fs, self.segments
        self.id = journal_id(fs, segments)
        # With `repair`, damage to any segment is an end. Otherwise `replay` finds damage to earlier ones.
        start = 0 if repair else first_uncertain(fs, segments, self.id)
        reader = Reader(fs, segments, self.id, start)
        uncertain: deque[tuple[int, int, int]] = deque()  # lsn, segment, byte
        for link in reader.links():
            self.closed = link is not None and link.record.kind is RecordKind.CLOSE
            uncertain.append((reader.at.lsn, reader.at.index, reader.at.offset))
            while uncertain and uncertain[0][0] <= reader.durable:
                uncertain.popleft()
        self.end, self.durable = reader.at, reader.durable
        self.tail = reader.inspect_tail()
        if uncertain:
            self.uncertain = uncertain[0][1:]
        if self.tail.foreign is not None:
            raise foreign_segment(self.directory, segments, self.tail.foreign)
        if self.tail.damage is not None and not repair:
            raise damaged_journal(self.directory, segments, self.end, self.tail.damage)

    @property
    def first_lsn(self) -> int:
        """The first lsn of the oldest segment; that of the next record without segments."""
        return self.segments[0].first if self.segments else self.end.lsn

    @property
    def written_lsn(self) -> int:
        """The lsn of the last record; 0 without records."""
        return self.end.lsn - 1

    @property
    def paths(self) -> list[Path]:
        """The directory of the journal, and its segments."""
        return [self.directory, *(segment.path for segment in self.segments)]

    def replay(self, from_lsn: int | None = None) -> Iterator[Record]:
        """Iterate over the records from ``from_lsn`` on, in order; see ``Journal.replay``."""
        begin = self.first_lsn if from_lsn is None else from_lsn
        return read_records(self._fs, self.directory, self.segments, self.id, begin, self.written_lsn)

    def torn_tail(self) -> str | None:
        """Return a sentence about the incomplete bytes behind the end; ``None`` if there are none."""
        return torn_tail(self.directory, self.segments, self.end, self.tail, self.durable)


def torn_tail(
    directory: Path, segments: Sequence[SegmentFile], end: ChainEnd, tail: Tail, durable: int
) -> str | None:
    """Return a sentence about the incomplete bytes behind ``end``; ``None`` if there are none."""
    if tail.damage is not None or not tail.torn_bytes:
        return None
    name = segments[end.index].path.name
    proven = f"Records up to {durable} are proven to be durable. " if durable else ""
    return (
        f"the journal in {directory} ends in {tail.torn_bytes} bytes that are not a complete record, where "
        f"record {end.lsn} should be (byte {end.offset} of {name}); a start cuts them off. {proven}If only "
        "the process was killed, nothing in these bytes had been acknowledged. If the machine lost power, "
        "batches acknowledged as `written` may be among them. Batches acknowledged as `durable` are among "
        "them only if the disk lost what it had confirmed, or the file was damaged"
    )


def read_records(
    fs: FS, directory: Path, segments: Sequence[SegmentFile], journal: int | None, begin: int, last: int
) -> Iterator[Record]:
    """Yield the records ``begin`` … ``last``, with one segment in memory at a time.

    Payloads are read-only views. Numbers that ``Journal.advance`` skipped are missing. Raises
    ``DamagedJournal`` at the first record that can't be read.
    """
    if not segments or journal is None:
        return
    dropped = dropped_lsns(fs, directory)
    reader = Reader(fs, segments, journal, segment_of(fs, segments, journal, begin))
    for link in reader.links():
        if link is None or link.record.kind is RecordKind.CLOSE:
            continue
        if link.record.lsn > last:
            return
        if link.record.lsn >= begin:
            link.record.dropped = link.record.lsn in dropped
            yield link.record
    if reader.at.lsn <= last:
        reason = f"the records up to {last} were valid before"
        raise damaged_journal(directory, segments, reader.at, reason)


def damaged_journal(
    directory: Path, segments: Sequence[SegmentFile], at: ChainEnd, reason: str
) -> DamagedJournal:
    """Return the error of a journal whose record at ``at`` is lost."""
    name = segments[at.index].path.name
    return DamagedJournal(
        f"the journal in {directory} is damaged: record {at.lsn} should be at byte {at.offset} of {name}, "
        f"but cannot be read, and {reason}: acknowledged samples are missing. Nothing was changed. If a "
        "segment was moved away, move it back; otherwise restore the journal from a backup; or start with "
        f"--repair, which keeps copies of the segments from {name} on, cuts the journal before record "
        f"{at.lsn}, and continues without the later records",
        segment=name,
        offset=at.offset,
        lsn=at.lsn,
    )


def foreign_segment(directory: Path, segments: Sequence[SegmentFile], name: str) -> DamagedJournal:
    """Return the error of a directory with the segments of two journals."""
    return DamagedJournal(
        f"segment {name} in {directory} belongs to another journal than {segments[0].path.name}. Nothing was "
        "changed, and --repair does not change this: move the segments of one of the two journals to "
        "another directory. `streamlearn verify` shows what can be read",
        segment=name,
    )
