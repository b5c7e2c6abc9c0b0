"""Small journals on the lossy file system, and what they should hold."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from streamlearn.store import FS, Journal, Record, RecordKind
from tests.faults.lossyfs import LossyFS

PLACE = Path("/data/journal")
SEGMENT_BYTES = 700


def learn(number: int, size: int = 24) -> Record:
    payload = Random(number).randbytes(size)
    return Record(RecordKind.LEARN, 0, number, "pump", "plant", 1, number, 1, 6, 0, payload)


def contents(journal: Journal) -> list[tuple[int, int, bytes]]:
    return [(record.lsn, record.seq, bytes(record.payload)) for record in journal.replay()]


def reopen(fs: FS, **options: Any) -> tuple[Journal, list[str]]:
    warnings: list[str] = []
    return Journal.open(fs, PLACE, segment_bytes=SEGMENT_BYTES, warn=warnings.append, **options), warnings


def expected(count: int) -> list[tuple[int, int, bytes]]:
    return [(number + 1, number, learn(number).payload) for number in range(count)]


def journal_of(count: int, *, close: bool) -> LossyFS:
    """A journal of ``count`` records in several segments, each synced before the next was written."""
    fs = LossyFS()
    journal, _ = reopen(fs)
    for number in range(count):
        journal.append([learn(number)])
        journal.sync()
    if close:
        journal.close()
    return fs
