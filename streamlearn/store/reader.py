"""Reading a journal: the end of its valid part, and whether the bytes after it are a torn tail or damage.

A journal is a hash chain: header, records, next segment's header, and so on; each link has the hash of the
link before it. ``Reader`` follows the chain to the first missing link. ``inspect_tail`` then reads the rest.
If any valid link in it says that a record at or after the break was durable, an acknowledged record is lost:
that is damage. Otherwise the rest is a torn tail: incomplete writes that were never acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streamlearn.store import record as record_format
from streamlearn.store.fs import FS
from streamlearn.store.record import ALIGNMENT, DecodedRecord, RecordKind
from streamlearn.store.segment import HEADER_BYTES, SegmentFile, decode_header, read_header, stale_bytes

_ZEROS = bytes(1 << 16)


@dataclass(slots=True)
class ChainEnd:
    """Where the chain ends: in segment number ``index``, at byte ``offset``. Record ``lsn`` is missing there.

    ``offset`` is 0 if the segment's header is invalid. ``chain`` is the hash of the last link.
    """

    index: int
    offset: int
    lsn: int
    chain: int


@dataclass(slots=True)
class Tail:
    """The bytes after the end of the chain.

    ``damage`` says why a durable record is lost; ``None`` if none is. ``torn_bytes`` counts the bytes without
    zeros and without what an earlier segment left in the file; 0 for a clean end. ``foreign`` is the name of
    a segment of another journal.
    """

    damage: str | None
    torn_bytes: int
    foreign: str | None = None


def journal_id(fs: FS, segments: Sequence[SegmentFile]) -> int | None:
    """Return the journal's id from the first valid header of ``segments``; ``None`` without one."""
    for segment in segments:
        header = read_header(fs, segment)
        if header is not None:
            return header.journal
    return None


def first_uncertain(fs: FS, segments: Sequence[SegmentFile], journal: int | None) -> int:
    """Return the last segment that began when all segments before it were durable.

    The journal's end is in this segment or after it.
    """
    for index in range(len(segments) - 1, 0, -1):
        header = read_header(fs, segments[index])
        if header is not None and header.journal == journal and header.durable >= header.first - 1:
            return index
    return 0


def segment_of(fs: FS, segments: Sequence[SegmentFile], journal: int, lsn: int) -> int:
    """Return the last segment with a valid header that begins at or before record ``lsn``."""
    for index in range(len(segments) - 1, 0, -1):
        if segments[index].first <= lsn:
            header = read_header(fs, segments[index])
            if header is not None and header.journal == journal:
                return index
    return 0


class Reader:
    """Follows the chain from segment number ``start``, with one segment in memory at a time.

    ``at`` is the current position. ``durable`` is the highest durable lsn in any link read so far.
    """

    def __init__(self, fs: FS, segments: Sequence[SegmentFile], journal: int | None, start: int = 0) -> None:
        self._fs = fs
        self._segments = segments
        self._journal = journal
        self.durable = 0
        self.at = ChainEnd(start, 0, segments[start].first, 0)

    def links(self) -> Iterator[DecodedRecord | None]:
        """Yield every link in order: ``None`` for a segment's header, then its records, CLOSE included.

        While a link is yielded, ``at`` is its position, with its own lsn or, for a header or CLOSE, the next
        lsn. Afterwards ``at`` is the end of the chain.
        """
        at, journal = self.at, self._journal
        if journal is None:
            return
        for index in range(at.index, len(self._segments)):
            segment = self._segments[index]
            data = memoryview(self._fs.read(segment.path))
            header = decode_header(bytes(data[:HEADER_BYTES]), segment)
            follows = at.offset == 0 or (
                header is not None and header.prev == at.chain and header.first >= at.lsn
            )
            if header is None or header.journal != journal or not follows:
                return
            at.index, at.offset, at.lsn = index, 0, header.first
            self.durable = max(self.durable, header.durable)
            yield None
            at.offset, at.chain = HEADER_BYTES, header.digest
            while (framed := record_format.decode(data, at.offset, journal)) is not None:
                if framed.prev != at.chain or framed.record.lsn != at.lsn:
                    break
                if framed.durable > self.durable:
                    self.durable = framed.durable
                yield framed
                at.offset += framed.length
                at.chain = framed.digest
                if framed.record.kind is not RecordKind.CLOSE:
                    at.lsn += 1

    def inspect_tail(self) -> Tail:
        """Read all bytes after ``at`` and classify them."""
        torn = 0
        for segment in self._segments[self.at.index :]:
            header = read_header(self._fs, segment)
            if header is not None and header.journal != self._journal:
                name = segment.path.name
                return Tail(f"segment {name} belongs to another journal", torn, name)
        for index in range(self.at.index, len(self._segments)):
            offset = self.at.offset if index == self.at.index else 0
            content = self._fs.read(self._segments[index].path)
            stale = stale_bytes(content, self._segments[index], self._journal)
            data = content[offset:]
            torn += self._written_bytes(data, max(0, stale - offset), index == self.at.index)
            damage = self._proof_of_durability(index, offset, data)
            if damage is not None:
                return Tail(damage, torn)
        return Tail(None, torn)

    def _written_bytes(self, data: bytes, stale: int, follows: bool) -> int:
        """Return how many of the bytes after the end were written to this segment, as far as it shows.

        The first ``stale`` ones may be left from an earlier segment, whose records have smaller lsns.
        ``follows``: they come directly after the end of the chain.
        """
        if not stale:
            return len(without_zeros(data).lstrip(b"\0"))
        view, written = memoryview(data), 0
        first = record_format.claims(view, 0) if follows else None
        if first is not None and first.prev == self.at.chain:
            written = record_format.HEAD_BYTES
        for place in record_places(data):
            found = record_format.claims(view, place)
            if found is not None and found.lsn >= self.at.lsn:
                written = min(place + found.length, len(data))
        later = without_zeros(data[stale:])
        return stale + len(later) if later else written

    def _proof_of_durability(self, index: int, offset: int, data: bytes) -> str | None:
        """Return what in ``data``, a segment from ``offset`` on, says that a missing record was durable."""
        segment = self._segments[index]
        name = segment.path.name
        if offset == 0:
            header = decode_header(data[:HEADER_BYTES], segment)
            if header is None:
                # The header of a journal's first segment is durable before any record is written.
                if index == 0 and without_zeros(data[HEADER_BYTES:]):
                    return f"the header of {name} had been durable, and records follow it"
            elif header.durable >= self.at.lsn:
                return f"segment {name} says that record {header.durable} had been durable"
        if self._journal is None:
            return None
        view = memoryview(data)
        for place in record_places(data):
            found = record_format.claims(view, place)
            if found is not None and found.durable >= self.at.lsn:
                framed = record_format.decode(view, place, self._journal)
                if framed is not None:
                    return (
                        f"record {framed.record.lsn} at byte {offset + place} of {name} says that record "
                        f"{framed.durable} had been durable"
                    )
        return None


def without_zeros(data: bytes) -> bytes:
    """Return ``data`` without the zeros at its end. Most of a new segment is zeros, so they are compared."""
    end = len(data)
    while data.endswith(_ZEROS, 0, end):
        end -= len(_ZEROS)
    return data[:end].rstrip(b"\0")


def record_places(data: bytes) -> Iterator[int]:
    """Yield the places in the rest of a segment at which a record may begin."""
    place = data.find(record_format.MAGIC)
    while place >= 0:
        if place % ALIGNMENT == 0:
            yield place
        place = data.find(record_format.MAGIC, place + 1)
