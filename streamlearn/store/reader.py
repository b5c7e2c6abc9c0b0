"""Reading a journal: where its valid part ends, and whether what follows is a torn tail or damage.

A journal is a chain: header, records, next segment's header, and so on, each link carrying the hash of
the one before. ``Reader`` follows it until a link is missing. Then ``judge`` looks at what is left: if
anything after the break says that a record at or after the break had been durable, an acknowledged
record can't be read, which is damage. Otherwise the rest is what a crash left of writes that nobody was
told of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streamlearn.store import record as record_format
from streamlearn.store.fs import FS
from streamlearn.store.record import ALIGNMENT, DecodedRecord, RecordKind
from streamlearn.store.segment import HEADER_BYTES, SegmentFile, decode_header, read_header


@dataclass(slots=True)
class Break:
    """Where the chain ends: in segment number ``index``, at byte ``offset``, where record ``lsn`` would be.

    ``offset`` is 0 if not even the segment's header is valid. ``chain`` is the hash of the last link.
    """

    index: int
    offset: int
    lsn: int
    chain: int


@dataclass(slots=True)
class Rest:
    """What follows the break: ``evidence`` says why it is damage, ``None`` if it is not.

    ``torn`` counts the bytes, leading and trailing zeros aside, that are neither (0: a clean end).
    """

    evidence: str | None
    torn: int


def journal_id(fs: FS, segments: Sequence[SegmentFile]) -> int | None:
    """The id in the first valid header of ``segments``; ``None`` if there is none."""
    for segment in segments:
        header = read_header(fs, segment)
        if header is not None:
            return header.journal
    return None


def first_uncertain(fs: FS, segments: Sequence[SegmentFile], journal: int | None) -> int:
    """Which segment to read from to find the journal's end: all before it were durable when it was made."""
    for index in range(len(segments) - 1, 0, -1):
        header = read_header(fs, segments[index])
        if header is not None and header.journal == journal and header.durable >= header.first - 1:
            return index
    return 0


def segment_of(fs: FS, segments: Sequence[SegmentFile], journal: int, lsn: int) -> int:
    """Which segment to read from to find record ``lsn``: the last valid one that begins at or before it."""
    for index in range(len(segments) - 1, 0, -1):
        if segments[index].first <= lsn:
            header = read_header(fs, segments[index])
            if header is not None and header.journal == journal:
                return index
    return 0


class Reader:
    """Follows the chain through ``segments`` from segment number ``start``; one segment in memory at a time.

    ``at`` is where it has come to; ``durable`` the highest durable lsn that any link so far spoke of.
    """

    def __init__(self, fs: FS, segments: Sequence[SegmentFile], journal: int | None, start: int = 0) -> None:
        self._fs = fs
        self._segments = segments
        self._journal = journal
        self.durable = 0
        self.at = Break(start, 0, segments[start].first, 0)

    def links(self) -> Iterator[DecodedRecord | None]:
        """Every link in order: ``None`` for a segment's header, then its records (CLOSE among them).

        When a link is handed out, ``at`` is where it begins, with the lsn that it has or, for a header or
        CLOSE, the one that comes next. At the end ``at`` is the break.
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

    def judge(self) -> Rest:
        """What follows the break at ``at``."""
        torn = 0
        for index in range(self.at.index, len(self._segments)):
            offset = self.at.offset if index == self.at.index else 0
            data = self._fs.read(self._segments[index].path, offset)
            filled = len(data.strip(b"\0"))
            if filled:
                torn += filled
                evidence = self._evidence(index, offset, data)
                if evidence is not None:
                    return Rest(evidence, torn)
        return Rest(None, torn)

    def _evidence(self, index: int, offset: int, data: bytes) -> str | None:
        """What in ``data``, a segment from byte ``offset`` on, says that a missing record was durable."""
        segment = self._segments[index]
        name = segment.path.name
        if offset == 0:
            header = decode_header(data[:HEADER_BYTES], segment)
            if header is None:
                # The header of a journal's first segment is durable before anything is written behind it.
                if index == 0 and data[HEADER_BYTES:].strip(b"\0"):
                    return f"the header of {name} had been durable, and records stand behind it"
            elif header.journal != self._journal:
                return f"segment {name} belongs to another journal"
            elif header.durable >= self.at.lsn:
                return f"segment {name} says that record {header.durable} had been durable"
        if self._journal is None:
            return None
        view = memoryview(data)
        place = data.find(record_format.MAGIC)
        while place >= 0:
            if place % ALIGNMENT == 0 and record_format.durable_claim(view, place) >= self.at.lsn:
                framed = record_format.decode(view, place, self._journal)
                if framed is not None:
                    return (
                        f"record {framed.record.lsn} at byte {offset + place} of {name} says that record "
                        f"{framed.durable} had been durable"
                    )
            place = data.find(record_format.MAGIC, place + 1)
        return None
