"""Segment files: names, headers, and the list of those in a directory (docs/journal.md).

The header is a link of the hash chain: its ``prev`` is the hash of the last link of the previous segment, and
its own hash is the ``prev`` of its first record.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from streamlearn.errors import DamagedJournal
from streamlearn.store.fs import FS, FULL

MAGIC = b"SLJOURNL"
VERSION = 1

_PREFIX = struct.Struct("<8sQ")  # magic, hash of all bytes after it
_BODY = struct.Struct("<IIQQQQQ")  # version, zero, journal id, first lsn, prev, durable, zero
HEADER_BYTES = _PREFIX.size + _BODY.size

_NAME = re.compile(r"\d{20}\.log")


class SegmentFile(NamedTuple):
    """A segment by its name, which has the lsn of its first record (even before that is written)."""

    first: int
    path: Path


@dataclass(slots=True)
class Header:
    """The fields of a segment's header. ``journal`` is one random number for all segments of a journal."""

    journal: int
    first: int
    prev: int
    durable: int
    digest: int = 0


def segment_path(directory: Path, first: int) -> Path:
    """Return the path of the segment that begins at lsn ``first``."""
    return directory / f"{first:020d}.log"


def list_segments(fs: FS, directory: Path) -> list[SegmentFile]:
    """Return the segments in ``directory``, oldest first. Files with other names are ignored."""
    return [
        SegmentFile(int(name[:20]), directory / name)
        for name in fs.listdir(directory)
        if _NAME.fullmatch(name)
    ]


def encode_header(header: Header) -> tuple[bytes, int]:
    """Return the header's bytes and its hash."""
    body = _BODY.pack(VERSION, 0, header.journal, header.first, header.prev, header.durable, 0)
    digest = xxh3_64_intdigest(body)
    return _PREFIX.pack(MAGIC, digest) + body, digest


def decode_header(data: bytes, segment: SegmentFile) -> Header | None:
    """Return the header of ``segment``; ``None`` if it is incomplete, invalid, or of another segment.

    Raises ``DamagedJournal`` if the file has another format version; such a file is never changed.
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
    """Read a segment's header from its file; see ``decode_header``."""
    return decode_header(fs.read(segment.path, 0, HEADER_BYTES), segment)


def reserve(fs: FS, fd: int, limit: int, needed: int) -> int:
    """Reserve ``limit`` bytes, or fewer on a nearly full disk, but at least ``needed``; return the number."""
    while True:
        try:
            fs.allocate(fd, limit)
            return limit
        except OSError as error:
            if error.errno not in FULL or limit == needed:
                raise
            fs.truncate(fd, 0)  # release what was reserved
            limit = max(needed, limit // 8)
