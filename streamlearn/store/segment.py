"""Segment files: their names, their header, and which of them a directory holds (docs/journal.md).

The header is the first link of the segment's chain: it carries the hash of what the segment before ends
with (``prev``), and its own hash is what the segment's first record carries.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from streamlearn.errors import DamagedJournal
from streamlearn.store.fs import FS

MAGIC = b"SLJOURNL"
VERSION = 1

_PREFIX = struct.Struct("<8sQ")  # magic, hash of all that follows
_BODY = struct.Struct("<IIQQQQQ")  # version, zero, journal id, first lsn, prev, durable, zero
HEADER_BYTES = _PREFIX.size + _BODY.size

_NAME = re.compile(r"\d{20}\.log")


class SegmentFile(NamedTuple):
    """A segment by its name: the lsn of its first record, whether or not that is written yet."""

    first: int
    path: Path


@dataclass(slots=True)
class Header:
    """What a segment says of itself. ``journal`` is the same random number in all segments of a journal."""

    journal: int
    first: int
    prev: int
    durable: int
    digest: int = 0


def segment_path(directory: Path, first: int) -> Path:
    """Where the segment that begins at lsn ``first`` is kept."""
    return directory / f"{first:020d}.log"


def list_segments(fs: FS, directory: Path) -> list[SegmentFile]:
    """The segments in ``directory``, oldest first. Files of other names are not looked at."""
    return [
        SegmentFile(int(name[:20]), directory / name)
        for name in fs.listdir(directory)
        if _NAME.fullmatch(name)
    ]


def encode_header(header: Header) -> tuple[bytes, int]:
    """The header's bytes, and its hash."""
    body = _BODY.pack(VERSION, 0, header.journal, header.first, header.prev, header.durable, 0)
    digest = xxh3_64_intdigest(body)
    return _PREFIX.pack(MAGIC, digest) + body, digest


def decode_header(data: bytes, segment: SegmentFile) -> Header | None:
    """The header that ``segment`` begins with; ``None`` if it is not whole, not valid, or of another one.

    Raises ``DamagedJournal`` for a format that this version does not read: such a file is not touched.
    """
    if len(data) < HEADER_BYTES:
        return None
    magic, digest = _PREFIX.unpack_from(data)
    if magic != MAGIC or xxh3_64_intdigest(data[_PREFIX.size : HEADER_BYTES]) != digest:
        return None
    version, _, journal, first, prev, durable, _ = _BODY.unpack_from(data, _PREFIX.size)
    if version != VERSION:
        raise DamagedJournal(
            f"{segment.path} is written in journal format {version}, but this streamlearn reads format "
            f"{VERSION} only; use the version that wrote it",
            segment=segment.path.name,
            version=version,
        )
    return Header(journal, first, prev, durable, digest) if first == segment.first else None


def read_header(fs: FS, segment: SegmentFile) -> Header | None:
    """``decode_header`` of the file."""
    return decode_header(fs.read(segment.path, 0, HEADER_BYTES), segment)
