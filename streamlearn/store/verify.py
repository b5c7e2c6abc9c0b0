"""Checking a journal without changing it and without its lock: a daemon may be running on it."""

from __future__ import annotations

from pathlib import Path

from streamlearn.errors import DamagedJournal
from streamlearn.store.diagnostic import Diagnostic
from streamlearn.store.fs import FS
from streamlearn.store.reader import Reader, journal_id
from streamlearn.store.segment import list_segments


def verify_journal(fs: FS, directory: Path) -> list[Diagnostic]:
    """Read every segment in ``directory`` and say what is wrong, oldest first; nothing if all is well.

    After damage it goes on with the next segment. Damage is reported if it is there twice: while the
    first look took place, a running daemon may have written what seemed to be missing.
    """
    findings: list[Diagnostic] = []
    suspected: tuple[Path, int] | None = None
    begin = 0
    while True:
        everything = list_segments(fs, directory)
        segments = [segment for segment in everything if segment.first >= begin]
        if not segments:
            return findings
        try:
            reader = Reader(fs, segments, journal_id(fs, everything))
            for _ in reader.links():
                pass
            rest = reader.judge()
        except DamagedJournal as error:
            return [*findings, Diagnostic("damage", directory, error.message)]
        except OSError as error:
            if list_segments(fs, directory) != everything:
                continue  # one was retired while they were read
            return [*findings, Diagnostic("damage", directory, f"cannot be read: {error.strerror or error}")]
        at = reader.at
        path = segments[at.index].path
        if rest.evidence is None:
            if rest.torn:
                message = (
                    f"{rest.torn} bytes from byte {at.offset} on are not finished: a daemon is writing "
                    "them, or the next start cuts them off"
                )
                findings.append(Diagnostic("note", path, message))
            return findings
        if suspected != (path, at.offset):
            suspected = (path, at.offset)
            continue
        missing = f"record {at.lsn} should be at byte {at.offset}, but cannot be read, and {rest.evidence}"
        findings.append(Diagnostic("damage", path, missing))
        begin = segments[at.index].first + 1
