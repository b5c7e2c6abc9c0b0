"""Encoding of samples and targets as a record's payload, and back (docs/journal.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from xxhash import xxh3_64, xxh3_64_intdigest

from streamlearn.errors import BadShape
from streamlearn.models.batch import Batch, Targets
from streamlearn.store.record import IDS, KEYS, TIMES, Record, RecordKind
from streamlearn_client.protocol import Request
from streamlearn_client.protocol.messages import RESEND_WINDOW, WIDE_WINDOW

if TYPE_CHECKING:
    from streamlearn.models.base import Model

NUMBER = frozenset({"producer", "epoch", "seq"})
FLOAT, INTEGER = np.dtype("<f4"), np.dtype("<i8")


def encode_payload(batch: Batch | Targets) -> bytes | memoryview:
    """Return the payload that `decode_batch` reads. Arrival times are not in it: the record has one."""
    samples = [batch.times, batch.x] if isinstance(batch, Batch) else []
    columns = [batch.keys, batch.ids, *samples, batch.y]
    present = [column for column in columns if column is not None]
    if len(present) == 1:
        return present[0].data.cast("B")
    return b"".join(column.tobytes() for column in present)


def has_only_x(batch: Batch | Targets) -> TypeGuard[Batch]:
    """Whether the payload of a batch is the memory of its samples, and nothing else."""
    if isinstance(batch, Targets):
        return False
    return batch.y is None and batch.keys is None and batch.ids is None and batch.times is None


def optional_columns(batch: Batch | Targets) -> int:
    """Return the record's flags for keys, ids and times."""
    times = isinstance(batch, Batch) and batch.times is not None
    return (batch.keys is not None) * KEYS + (batch.ids is not None) * IDS + times * TIMES


def resend_window(wide: bool) -> int:
    """Return how many of its last batches a producer may send again."""
    return WIDE_WINDOW if wide else RESEND_WINDOW


def content_digests(
    payload: bytes | memoryview, x_cols: int, y_cols: int, columns: int, batches: int = 1, wide: bool = False
) -> list[int]:
    """Return a hash of the content of each batch, never 0; with many batches, of the last `resend_window`.

    Two batches of one model with equal hashes are taken for equal. The digest of a batch does not depend on
    the batches that share its record. The arguments are the fields of the record, and determine its rows.
    """
    seed = x_cols | y_cols << 30 | columns << 60
    if batches == 1:
        return [xxh3_64_intdigest(payload, seed) or 1]
    bytes_of_row = 8 * columns.bit_count() + 4 * (x_cols + y_cols)
    size = len(payload) // batches
    first = max(0, batches - resend_window(wide))
    view = memoryview(payload)
    if bytes_of_row == 4 * x_cols:
        return [
            xxh3_64_intdigest(view[at : at + size], seed) or 1 for at in range(first * size, len(view), size)
        ]
    rows = len(payload) // bytes_of_row
    parts = [_split(column, batches) for column in _columns(view, rows, x_cols, y_cols, columns)]
    return [xxh3_64_intdigest(b"".join(batch), seed) or 1 for batch in list(zip(*parts, strict=True))[first:]]


def record_digests(record: Record) -> list[int]:
    """Return the digests of a record of the journal that has a producer."""
    if record.kind not in (RecordKind.LEARN, RecordKind.TARGETS):
        return [record.x_cols | record.y_cols << 32]
    return content_digests(
        record.payload, record.x_cols, record.y_cols, record.optional_columns, record.batches, record.wide
    )


def request_digest(request: Request) -> int:
    """Return a hash of a change that a client requests, never 0. Two changes with equal hashes are equal."""
    content = xxh3_64(f"{request.op} {json.dumps(_content(request), sort_keys=True)}".encode())
    if request.x is not None:
        content.update(request.x.tobytes())
    return content.intdigest() or 1


def _content(request: Request) -> dict[str, Any]:
    fields = {name: value for name, value in request.fields.items() if name not in NUMBER}
    return fields | {"channels": request.channels}


def row_bytes(record: Record) -> int:
    """Return the bytes of a row in the payload of a LEARN or TARGETS record."""
    return 8 * record.optional_columns.bit_count() + 4 * (record.x_cols + record.y_cols)


def joined_payload(records: Sequence[Record]) -> bytes:
    """Return the payload of the rows of records with the same columns.

    With more columns than x, the records must have the same number of rows.
    """
    first, payload = records[0], b"".join(record.payload for record in records)
    if row_bytes(first) == 4 * first.x_cols:
        return payload
    table = np.frombuffer(payload, np.uint8).reshape(len(records), -1)
    columns, at = [], 0
    for size in (*(8,) * first.optional_columns.bit_count(), 4 * first.x_cols, 4 * first.y_cols):
        columns.append(table[:, at : at + first.rows * size].tobytes())
        at += first.rows * size
    return b"".join(columns)


def _columns(view: memoryview, rows: int, x_cols: int, y_cols: int, columns: int) -> Iterator[memoryview]:
    """Yield the bytes of keys, ids, times, x and y, as far as a payload has them."""
    sizes = *(8,) * columns.bit_count(), 4 * x_cols, 4 * y_cols
    at = 0
    for size in sizes:
        if size:
            yield view[at : at + rows * size]
            at += rows * size


def _split(column: memoryview, parts: int) -> list[memoryview]:
    """Divide the bytes of a column into equal parts."""
    size = len(column) // parts
    return [column[at : at + size] for at in range(0, len(column), size)]


def check_layout(record: Record, model: Model) -> None:
    """Raise `BadShape` unless a LEARN or TARGETS record of a journal has the columns of the model's batches.

    A record that the daemon wrote has them. Kernels do not check the size of their arguments.
    """
    if record.kind not in (RecordKind.LEARN, RecordKind.TARGETS):
        return
    late = model.accepts_late_targets
    columns = model.needs_keys * KEYS + late * IDS
    x_cols = model.dim if record.kind is RecordKind.LEARN else 0
    if x_cols:
        columns |= record.optional_columns & TIMES
    if (
        (record.x_cols, record.y_cols, record.optional_columns) != (x_cols, model.target_dim, columns)
        or record.rows * row_bytes(record) != len(record.payload)
        or not record.rows
        or not record.batches
        or record.rows % record.batches
        or not (x_cols or late)
    ):
        raise BadShape(
            f"its {record.rows} rows of {record.x_cols} + {record.y_cols} columns ({record.batches} batches) "
            f"are not samples or targets of this {model.kind}, which has {model.dim} + {model.target_dim}"
        )


def decode_batch(record: Record, uses_time: bool) -> Batch | Targets | None:
    """Return the samples or targets of a record as views of its payload; `None` for other records.

    Samples without a time of their own get the record's arrival time if the model `uses_time`.
    """
    if record.kind not in (RecordKind.LEARN, RecordKind.TARGETS):
        return None
    rows, data, offset = record.rows, record.payload, 0
    keys = ids = times = None
    if record.optional_columns & KEYS:
        keys, offset = np.frombuffer(data, INTEGER, rows), INTEGER.itemsize * rows
    if record.optional_columns & IDS:
        ids, offset = np.frombuffer(data, INTEGER, rows, offset), offset + INTEGER.itemsize * rows
    if record.optional_columns & TIMES:
        times, offset = np.frombuffer(data, INTEGER, rows, offset), offset + INTEGER.itemsize * rows
    x_cells = rows * record.x_cols
    values = np.frombuffer(data, FLOAT, x_cells + rows * record.y_cols, offset)
    y = values[x_cells:].reshape(rows, record.y_cols) if record.y_cols else None
    if record.kind is RecordKind.TARGETS:
        assert ids is not None  # TARGETS records are made from Targets, which have ids and y
        assert y is not None
        return Targets(ids, y, keys)
    if uses_time and times is None:
        times = np.full(rows, record.time)
    return Batch(values[:x_cells].reshape(rows, record.x_cols), y, keys, ids, times)
