"""What is done to a journal's files before it is used: cut off what is torn, refuse or cut what is damaged.

All of it is durable when it returns, and can be broken off by a crash at any point: the next start finds
either the same break, or the journal already cut there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamlearn.errors import DamagedJournal
from streamlearn.store.fs import FS, free_name
from streamlearn.store.reader import Break, Reader, first_uncertain, journal_id
from streamlearn.store.record import RecordKind
from streamlearn.store.segment import SegmentFile


@dataclass(slots=True)
class JournalEnd:
    """Where a mended journal ends; its id, if it has one; whether its last link is a CLOSE."""

    at: Break
    journal: int | None
    closed: bool


class JournalRepair:
    """Mends the journal in ``directory``; ``repair`` permits it to cut damage, not torn tails only."""

    def __init__(self, fs: FS, directory: Path, repair: bool, warn: Callable[[str], None]) -> None:
        self._fs = fs
        self._directory = directory
        self._repair = repair
        self._warn = warn

    def recover(self, segments: Sequence[SegmentFile]) -> JournalEnd:
        """Find the end of the valid records and cut the rest off; what stays is on the disk for sure.

        Raises ``DamagedJournal`` unless in repair.
        """
        journal = journal_id(self._fs, segments)
        reader = Reader(self._fs, segments, journal, first_uncertain(self._fs, segments, journal))
        uncertain: deque[tuple[int, int, int]] = deque()  # lsn, segment, byte of links not proven durable
        closed = False
        for link in reader.links():
            closed = link is not None and link.record.kind is RecordKind.CLOSE
            uncertain.append((reader.at.lsn, reader.at.index, reader.at.offset))
            while uncertain and uncertain[0][0] <= reader.durable:
                uncertain.popleft()
        at, rest = reader.at, reader.judge()
        if rest.evidence is not None:
            self.damage(segments, at, rest.evidence)
        elif rest.torn:
            self._warn(
                f"the journal in {self._directory} ended in {rest.torn} bytes that a crash left unfinished; "
                f"they were cut off, before record {at.lsn} at byte {at.offset} of "
                f"{segments[at.index].path.name}. Nothing in them had been acknowledged as durable"
            )
        if uncertain:
            _, index, offset = uncertain[0]
            self._write_again(segments[index : at.index + 1], offset, at.offset)
        self.cut(segments, at)
        return JournalEnd(at, journal, closed)

    def damage(self, segments: Sequence[SegmentFile], at: Break, evidence: str) -> None:
        """Raise ``DamagedJournal``; in repair, copy all from the break on, so that it can be cut there."""
        name = segments[at.index].path.name
        if not self._repair:
            raise DamagedJournal(
                f"the journal in {self._directory} is damaged: record {at.lsn} should be at byte {at.offset} "
                f"of {name}, but cannot be read, and {evidence}: acknowledged samples are missing. Bring the "
                "journal back from a backup; or start with --repair, which keeps copies of the segments "
                f"from {name} on, cuts the journal before record {at.lsn}, and goes on without what came "
                "after",
                segment=name,
                offset=at.offset,
                lsn=at.lsn,
            )
        for segment in segments[at.index :]:
            fd = self._fs.create(free_name(self._fs, segment.path, ".damaged"))
            self._fs.write(fd, [self._fs.read(segment.path)], 0)
            self._fs.fdatasync(fd)
            self._fs.close(fd)
        self._fs.fsync_dir(self._directory)
        self._warn(
            f"the journal in {self._directory} was damaged at record {at.lsn}, byte {at.offset} of {name} "
            f"({evidence}), and is cut there; the segments as they were are kept beside it as *.damaged"
        )

    def cut(self, segments: Sequence[SegmentFile], at: Break) -> None:
        """Remove all that is behind ``at``. A segment without a valid header goes as a whole."""
        whole = at.offset == 0
        self.remove(segments[at.index if whole else at.index + 1 :])
        if not whole:
            # Leftovers must be gone for good before new records take their place.
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

    def _write_again(self, segments: Sequence[SegmentFile], begin: int, end: int) -> None:
        """Write once more what is in ``segments``, from byte ``begin`` of the first to ``end`` of the last.

        An earlier process wrote it, but nothing proves that it is on the disk: if a sync failed then, the
        system may go on showing bytes that it has given up writing, and would leave out of the next sync.
        """
        for segment in segments:
            size = end - begin if segment is segments[-1] else None
            fd = self._fs.open(segment.path)
            self._fs.write(fd, [self._fs.read(segment.path, begin, size)], begin)
            self._fs.fdatasync(fd)
            self._fs.close(fd)
            begin = 0
