"""Checks of a journal, read-only and without its lock, so that a daemon may run on it meanwhile."""

from __future__ import annotations

from pathlib import Path

from streamlearn.errors import DamagedJournal
from streamlearn.store.diagnostic import Diagnostic
from streamlearn.store.fs import FS
from streamlearn.store.reader import Reader, journal_id
from streamlearn.store.scan import torn_tail
from streamlearn.store.segment import list_segments


def verify_journal(fs: FS, directory: Path) -> list[Diagnostic]:
    """Read every segment in ``directory`` and return all problems, oldest first.

    After damage the check continues with the next segment. Damage is reported only if a second read finds it
    too: a running daemon may have written the missing bytes during the first read.
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
            tail = reader.inspect_tail()
        except DamagedJournal as error:
            return [*findings, Diagnostic("damage", directory, error.message)]
        except OSError as error:
            if list_segments(fs, directory) != everything:
                continue  # a segment was removed during the check
            return [*findings, Diagnostic("damage", directory, f"cannot be read: {error.strerror or error}")]
        at = reader.at
        path = segments[at.index].path
        if tail.damage is None:
            message = torn_tail(directory, segments, at, tail, reader.durable)
            if message is not None:
                findings.append(Diagnostic("note", path, f"{message}. A running daemon may be writing them"))
            return findings
        if suspected != (path, at.offset):
            suspected = (path, at.offset)
            continue
        missing = f"record {at.lsn} should be at byte {at.offset}, but cannot be read, and {tail.damage}"
        findings.append(Diagnostic("damage", path, missing))
        begin = segments[at.index].first + 1
