"""A record, and its bytes in the journal (docs/journal.md has the layout).

Three fields protect a record: the hash of the link before it (``prev``, so that leftover bytes are never
taken for the journal's next record), its own hash, and the lsn that was durable when it was written (so that
a reader distinguishes a torn tail from damage).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from xxhash import xxh3_64_intdigest

from streamlearn.errors import TooLarge

MAGIC = b"SLRC"
ALIGNMENT = 8
MAX_RECORD_BYTES = 2**32 - ALIGNMENT
LAST_LSN = 2**62  # a larger one can't have been reached

_PREFIX = struct.Struct("<4sIQ")  # magic, length of the whole record, hash of all bytes after it
_HEAD = struct.Struct("<QQQqQQIIIIBBBBI")
# prev, lsn, durable, time, epoch, seq, rows, x_cols, y_cols, payload bytes, kind, model bytes,
# producer bytes, optional columns, batches
HEAD_BYTES = _PREFIX.size + _HEAD.size
_PADDING = tuple(b"\0" * n for n in range(ALIGNMENT))


class RecordKind(IntEnum):
    """What a record does. ``CLOSE`` belongs to the journal: it has no lsn, and replay omits it."""

    CLOSE = 0
    LEARN = 1
    CREATE = 2
    DELETE = 3
    RESTORE = 4
    TARGETS = 5
    REHEAT = 6
    COPY = 7
    PAUSE = 8
    RESUME = 9
    FEEDBACK = 10
    LABEL = 11


CREATES = frozenset({RecordKind.CREATE, RecordKind.COPY})
"""The kinds that create a model."""


KEYS, IDS, TIMES = 1, 2, 4
"""Flags of ``Record.optional_columns``: rows have a key; rows have an id; rows have a time of their own."""
_WIDE = 128  # in the byte of these flags

_KINDS = {int(kind): kind for kind in RecordKind}


@dataclass(slots=True)
class Record:
    """One journalled event. Immutable, except that ``Journal.append`` sets ``lsn``.

    ``time`` is in ns since 1970. The payload depends on the kind:

    - LEARN, TARGETS: the optional columns keys, ids and times, ``(rows,)`` each, little-endian int64; then
      x ``(rows, x_cols)`` and y ``(rows, y_cols)``, little-endian float32 in C order
    - CREATE: the spec as JSON
    - DELETE: nothing
    - RESTORE: the content of the checkpoint file (``tensors.encode``)
    - COPY: the same; it creates a model with this spec and state
    - REHEAT: the heat as JSON
    - PAUSE, RESUME: nothing
    - FEEDBACK: values, verdict and name as a list in JSON
    - LABEL: the label, and a unit, a sample or its values, as a map in JSON

    A change with a producer (RESTORE, REHEAT, PAUSE, RESUME, FEEDBACK, LABEL) has the digest of its request
    in ``x_cols`` (the lower 32 bits) and ``y_cols``.

    A LEARN record has ``batches`` consecutive batches of its producer, with ``rows / batches`` rows each.
    ``seq`` is the number of the first one. ``wide``: the producer states a window above the
    usual one.

    ``digests``, ``dropped``, ``first_lsn`` and ``decoded`` are not in the record's bytes. A person has
    ``dropped`` the record (``dropped.py``), so models ignore it. A replay joins records; then ``first_lsn``
    is the first one.
    """

    kind: RecordKind
    lsn: int
    time: int
    model: str
    producer: str = ""
    epoch: int = 0
    seq: int = 0
    rows: int = 0
    x_cols: int = 0
    y_cols: int = 0
    payload: bytes | memoryview = b""
    optional_columns: int = 0
    batches: int = 1
    wide: bool = False
    digests: Sequence[int] = ()  # of its last batches, kept by the shard; empty: not computed
    dropped: bool = False
    first_lsn: int = 0
    decoded: Any = field(default=None, compare=False, repr=False)  # the payload's batch, if the shard has it


class Place(NamedTuple):
    """A part of the journal that is applied in one call.

    Either whole records of one model, ``lsn`` … ``last_lsn``; or, if these are equal, ``rows`` rows of one
    record from ``row`` on.
    """

    lsn: int
    row: int
    last_lsn: int
    rows: int

    def rows_before(self, lsn: int, row: int) -> int | None:
        """Return how many rows of record ``lsn`` from ``row`` on come before this place.

        ``None`` if the rest of the record is not in it.
        """
        if not self.lsn <= lsn <= self.last_lsn:
            return None
        if self.lsn != self.last_lsn or self.row <= row < self.row + max(self.rows, 1):
            return 0
        return self.row - row if row < self.row else None


@dataclass(slots=True)
class DecodedRecord:
    """A record with its length in the file, its own hash, and its ``prev`` and ``durable`` fields."""

    record: Record
    length: int
    digest: int
    prev: int
    durable: int


def encode(record: Record, lsn: int, durable: int, prev: int, seed: int) -> tuple[bytes, bytes, int]:
    """Return the record's bytes in two consecutive parts, and its hash.

    The payload is copied once. ``seed`` is the journal's id. Raises ``TooLarge`` beyond 4 GiB.
    """
    payload = record.payload
    payload_bytes = payload.nbytes if isinstance(payload, memoryview) else len(payload)
    if payload_bytes > MAX_RECORD_BYTES - 2**20:
        raise TooLarge(
            f"a record holds less than 4 GiB, but this payload has {payload_bytes} bytes; send less"
        )
    model = record.model.encode()
    producer = record.producer.encode()
    head = _HEAD.pack(
        prev,
        lsn,
        durable,
        record.time,
        record.epoch,
        record.seq,
        record.rows,
        record.x_cols,
        record.y_cols,
        payload_bytes,
        record.kind,
        len(model),
        len(producer),
        record.optional_columns | record.wide * _WIDE,
        record.batches,
    )
    names_pad = _PADDING[-(len(model) + len(producer)) % ALIGNMENT]
    body = b"".join((head, model, producer, names_pad, payload, _PADDING[-payload_bytes % ALIGNMENT]))
    digest = xxh3_64_intdigest(body, seed)
    return _PREFIX.pack(MAGIC, _PREFIX.size + len(body), digest), body, digest


def decode(data: memoryview, offset: int, seed: int) -> DecodedRecord | None:
    """Return the record at ``offset`` of a segment's bytes; ``None`` if it is incomplete or invalid.

    The payload is a view of ``data``, 8-aligned within it.
    """
    if offset + HEAD_BYTES > len(data):
        return None
    magic, length, digest = _PREFIX.unpack_from(data, offset)
    end = offset + length
    if magic != MAGIC or length < HEAD_BYTES or end > len(data) or length % ALIGNMENT:
        return None
    if xxh3_64_intdigest(data[offset + _PREFIX.size : end], seed) != digest:
        return None
    (
        prev,
        lsn,
        durable,
        time,
        epoch,
        seq,
        rows,
        x_cols,
        y_cols,
        payload_bytes,
        kind,
        model_bytes,
        producer_bytes,
        columns,
        batches,
    ) = _HEAD.unpack_from(data, offset + _PREFIX.size)
    model_at = offset + HEAD_BYTES
    producer_at = model_at + model_bytes
    names_end = producer_at + producer_bytes
    payload_at = names_end + -(model_bytes + producer_bytes) % ALIGNMENT
    record_kind = _KINDS.get(kind)
    if (
        record_kind is None
        or lsn > LAST_LSN
        or payload_at + payload_bytes + -payload_bytes % ALIGNMENT != end
    ):
        return None
    record = Record(
        record_kind,
        lsn,
        time,
        str(data[model_at:producer_at], "utf-8"),
        str(data[producer_at:names_end], "utf-8"),
        epoch,
        seq,
        rows,
        x_cols,
        y_cols,
        data[payload_at : payload_at + payload_bytes],
        columns & ~_WIDE,
        batches,
        bool(columns & _WIDE),
    )
    return DecodedRecord(record, length, digest, prev, durable)


class Claims(NamedTuple):
    """Fields of bytes that are read as a record, whether they are one or not."""

    length: int
    prev: int
    lsn: int
    durable: int


def claims(data: memoryview, offset: int) -> Claims | None:
    """Return the fields of the bytes at ``offset``; ``None`` if they are too few."""
    if offset + HEAD_BYTES > len(data):
        return None
    _, length, _ = _PREFIX.unpack_from(data, offset)
    prev, lsn, durable, *_ = _HEAD.unpack_from(data, offset + _PREFIX.size)
    return Claims(length, prev, lsn, durable)
