"""Repair of a journal's files before use: truncate a torn tail, and refuse or truncate damage.

All changes are durable on return. A crash at any point is safe: the next start finds the same end of the
chain, or the journal already truncated there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamlearn.errors import DamagedJournal
from streamlearn.store.fs import FS, unused_name
from streamlearn.store.reader import ChainEnd, Reader, first_uncertain, journal_id
from streamlearn.store.record import RecordKind
from streamlearn.store.segment import SegmentFile


@dataclass(slots=True)
class JournalEnd:
    """End of a repaired journal, its id (``None`` if empty), and whether its last link is a CLOSE."""

    at: ChainEnd
    journal: int | None
    closed: bool


class JournalRepair:
    """Repairs the journal in ``directory``. Damage, unlike a torn tail, is truncated only with ``repair``."""

    def __init__(self, fs: FS, directory: Path, repair: bool, warn: Callable[[str], None]) -> None:
        self._fs = fs
        self._directory = directory
        self._repair = repair
        self._warn = warn

    def recover(self, segments: Sequence[SegmentFile]) -> JournalEnd:
        """Find the end of the valid records, truncate there, and make the valid records durable.

        Raises ``DamagedJournal`` if durable records are missing, unless ``repair`` is set.
        """
        journal = journal_id(self._fs, segments)
        reader = Reader(self._fs, segments, journal, first_uncertain(self._fs, segments, journal))
        uncertain: deque[tuple[int, int, int]] = (
            deque()
        )  # lsn, segment, byte of links not known to be durable
        closed = False
        for link in reader.links():
            closed = link is not None and link.record.kind is RecordKind.CLOSE
            uncertain.append((reader.at.lsn, reader.at.index, reader.at.offset))
            while uncertain and uncertain[0][0] <= reader.durable:
                uncertain.popleft()
        at, tail = reader.at, reader.inspect_tail()
        if tail.damage is not None:
            self.report_damage(segments, at, tail.damage)
        elif tail.torn_bytes:
            self._warn(
                f"the journal in {self._directory} ended in {tail.torn_bytes} incomplete bytes of a crash; "
                f"they were cut off, before record {at.lsn} at byte {at.offset} of "
                f"{segments[at.index].path.name}. Nothing in them had been acknowledged as durable"
            )
        if uncertain:
            _, index, offset = uncertain[0]
            self._rewrite(segments[index : at.index + 1], offset, at.offset)
        self.cut(segments, at)
        return JournalEnd(at, journal, closed)

    def report_damage(self, segments: Sequence[SegmentFile], at: ChainEnd, reason: str) -> None:
        """Raise ``DamagedJournal``; with ``repair``, copy all segments from ``at`` on instead."""
        name = segments[at.index].path.name
        if not self._repair:
            raise DamagedJournal(
                f"the journal in {self._directory} is damaged: record {at.lsn} should be at byte {at.offset} "
                f"of {name}, but cannot be read, and {reason}: acknowledged samples are missing. Restore the "
                "journal from a backup; or start with --repair, which keeps copies of the segments from "
                f"{name} on, cuts the journal before record {at.lsn}, and continues without the later "
                "records",
                segment=name,
                offset=at.offset,
                lsn=at.lsn,
            )
        for segment in segments[at.index :]:
            fd = self._fs.create(unused_name(self._fs, segment.path, ".damaged"))
            self._fs.write(fd, [self._fs.read(segment.path)], 0)
            self._fs.fdatasync(fd)
            self._fs.close(fd)
        self._fs.fsync_dir(self._directory)
        self._warn(
            f"the journal in {self._directory} was damaged at record {at.lsn}, byte {at.offset} of {name} "
            f"({reason}), and is cut there; the original segments are kept as *.damaged"
        )

    def cut(self, segments: Sequence[SegmentFile], at: ChainEnd) -> None:
        """Remove everything after ``at``. A segment without a valid header is removed completely."""
        no_header = at.offset == 0
        self.remove(segments[at.index if no_header else at.index + 1 :])
        if not no_header:
            # Leftover bytes must be removed durably before new records are written there.
            fd = self._fs.open(segments[at.index].path)
            self._fs.truncate(fd, at.offset)
            self._fs.fdatasync(fd)
            self._fs.close(fd)
        self._fs.fsync_dir(self._directory)

    def remove(self, segments: Sequence[SegmentFile]) -> None:
        """Remove ``segments``."""
        for segment in segments:
            self._fs.unlink(segment.path)
        if segments:
            self._fs.fsync_dir(self._directory)

    def _rewrite(self, segments: Sequence[SegmentFile], begin: int, end: int) -> None:
        """Write ``segments`` again, from byte ``begin`` of the first to ``end`` of the last, and sync.

        A previous process wrote them, and nothing proves that they are on the disk. After a failed sync the
        system may still return bytes that it never wrote and does not include in the next sync.
        """
        for segment in segments:
            size = end - begin if segment is segments[-1] else None
            fd = self._fs.open(segment.path)
            self._fs.write(fd, [self._fs.read(segment.path, begin, size)], begin)
            self._fs.fdatasync(fd)
            self._fs.close(fd)
            begin = 0
