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
from streamlearn.store.fs import FS

MAGIC = b"SLJOURNL"
VERSION = 2  # 1: a record had one batch

_PREFIX = struct.Struct("<8sQ")  # magic, hash of all bytes after it
_BODY = struct.Struct("<IIQQQQQ")  # version, zero, journal id, first lsn, prev, durable, stale
HEADER_BYTES = _PREFIX.size + _BODY.size

_NAME = re.compile(r"\d{20}\.log")


class SegmentFile(NamedTuple):
    """A segment by its name, which has the lsn of its first record (even before that is written)."""

    first: int
    path: Path


@dataclass(slots=True)
class Header:
    """The fields of a segment's header.

    ``journal`` is one random number for all segments of a journal. ``stale`` is the size that the file had
    when it was a spare (`segment_files.py`): up to there it may hold records of an earlier segment.
    """

    journal: int
    first: int
    prev: int
    durable: int
    digest: int = 0
    stale: int = 0


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
    body = _BODY.pack(VERSION, 0, header.journal, header.first, header.prev, header.durable, header.stale)
    digest = xxh3_64_intdigest(body)
    return _PREFIX.pack(MAGIC, digest) + body, digest


def decode_header(data: bytes, segment: SegmentFile) -> Header | None:
    """Return the header of ``segment``; ``None`` if it is incomplete, invalid, or of another segment.

    Raises ``DamagedJournal`` if the file has another format version; such a file is never changed.
    """
    header = _decode(data, segment)
    return header if header is not None and header.first == segment.first else None


def stale_bytes(data: bytes, segment: SegmentFile, journal: int | None) -> int:
    """Return the size of the part of ``segment`` that may hold records of an earlier segment.

    ``data`` begins with the bytes of the file. If its header is that of an earlier segment, the header of
    this one was not written: all bytes may be stale.
    """
    header = _decode(data[:HEADER_BYTES], segment)
    if header is None or header.journal != journal or header.first > segment.first:
        return 0
    return header.stale if header.first == segment.first else len(data)


def _decode(data: bytes, segment: SegmentFile) -> Header | None:
    """Return the header in ``data``, the first bytes of ``segment``; ``None`` if it is not valid."""
    if len(data) < HEADER_BYTES:
        return None
    magic, digest = _PREFIX.unpack_from(data)
    if magic != MAGIC or xxh3_64_intdigest(data[_PREFIX.size : HEADER_BYTES]) != digest:
        return None
    version, _, journal, first, prev, durable, stale = _BODY.unpack_from(data, _PREFIX.size)
    if version != VERSION:
        raise DamagedJournal(
            f"{segment.path} is written in journal format {version}, but this streamlearn reads format "
            f"{VERSION} only; use the version that wrote it",
            segment=segment.path.name,
            version=version,
        )
    return Header(journal, first, prev, durable, digest, stale)


def read_header(fs: FS, segment: SegmentFile) -> Header | None:
    """Read a segment's header from its file; see ``decode_header``."""
    return decode_header(fs.read(segment.path, 0, HEADER_BYTES), segment)
