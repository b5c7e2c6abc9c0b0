"""Journals of small numbered records, on any file system."""

from __future__ import annotations

from pathlib import Path

from streamlearn.store import FS, Journal, Record, RecordKind


def learn(number: int, size: int = 40) -> Record:
    return Record(
        RecordKind.LEARN, 0, 1000 + number, "pump", "plant", 1, number, 1, 8, 2, bytes([number % 251]) * size
    )


def numbers(journal: Journal, from_lsn: int | None = None) -> list[int]:
    found = list(journal.replay(from_lsn))
    for record in found:
        assert bytes(record.payload) == bytes([record.seq % 251]) * len(record.payload)
    return [record.seq for record in found]


def filled(directory: Path, count: int, segment_bytes: int = 512, fs: FS | None = None) -> Journal:
    journal = Journal.open(fs or FS(), directory, segment_bytes=segment_bytes)
    for number in range(count):
        assert journal.append([learn(number)]) == number + 1
        journal.sync()
    return journal
