"""Records that a person has dropped: models ignore them in every replay.

``journal/<lsn>.dropped`` has a copy of the record's bytes. The record stays in the journal, so the hash chain
and the sequence numbers of its producer are unchanged.
"""

from __future__ import annotations

import re
from pathlib import Path

from streamlearn.store import record as record_format
from streamlearn.store.fs import FS, write_atomically
from streamlearn.store.record import Record

_NAME = re.compile(r"(\d{20})\.dropped")


def dropped_lsns(fs: FS, directory: Path) -> frozenset[int]:
    """Return the lsns of the dropped records of the journal in ``directory``."""
    return frozenset(int(match[1]) for name in fs.listdir(directory) if (match := _NAME.fullmatch(name)))


def dropped_files(fs: FS, directory: Path) -> dict[str, bytes]:
    """Return the notes of dropped records in ``directory``, by name."""
    return {
        path.name: fs.read(path) for path in (_path(directory, lsn) for lsn in dropped_lsns(fs, directory))
    }


def drop(fs: FS, directory: Path, record: Record, journal: int) -> Path:
    """Drop a record, durably; return the path of its copy."""
    prefix, body, _ = record_format.encode(record, record.lsn, 0, 0, journal)
    path = _path(directory, record.lsn)
    write_atomically(fs, path, prefix + body)
    return path


def forget_before(fs: FS, directory: Path, first_lsn: int) -> None:
    """Remove the notes of records that the journal no longer has."""
    for lsn in dropped_lsns(fs, directory):
        if lsn < first_lsn:
            fs.unlink(_path(directory, lsn))


def _path(directory: Path, lsn: int) -> Path:
    return directory / f"{lsn:020d}.dropped"
