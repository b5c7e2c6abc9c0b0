"""Encoding of samples and targets as a record's payload, and back (docs/journal.md)."""

from __future__ import annotations

import numpy as np
from xxhash import xxh3_64_intdigest

from streamlearn.errors import BadShape
from streamlearn.models.base import Model
from streamlearn.models.batch import Batch, Targets
from streamlearn.store.record import IDS, KEYS, Record, RecordKind

FLOAT, INTEGER = np.dtype("<f4"), np.dtype("<i8")


def encode_payload(batch: Batch | Targets) -> bytes | memoryview:
    """Return the payload that `decode_batch` reads. The times are not in it: the record has one."""
    columns = [batch.keys, batch.ids, *([batch.x] if isinstance(batch, Batch) else []), batch.y]
    present = [column for column in columns if column is not None]
    if len(present) == 1:
        return present[0].data.cast("B")
    return b"".join(column.tobytes() for column in present)


def optional_columns(batch: Batch | Targets) -> int:
    """Return the record's flags for keys and ids."""
    return (batch.keys is not None) * KEYS + (batch.ids is not None) * IDS


def content_digest(payload: bytes | memoryview, x_cols: int, y_cols: int, columns: int) -> int:
    """Return a hash of a batch's content, never 0. Two batches of one model with equal content are equal.

    The arguments are the fields of its record. They determine the number of rows.
    """
    return xxh3_64_intdigest(payload, x_cols | y_cols << 31 | columns << 62) or 1


def check_layout(record: Record, model: Model) -> None:
    """Raise `BadShape` unless a LEARN or TARGETS record of a journal has the columns of the model's batches.

    A record that the daemon wrote has them. Kernels do not check the size of their arguments.
    """
    if record.kind not in (RecordKind.LEARN, RecordKind.TARGETS):
        return
    late = model.accepts_late_targets
    columns = model.needs_keys * KEYS + late * IDS
    x_cols = model.dim if record.kind is RecordKind.LEARN else 0
    row_bytes = 8 * (model.needs_keys + late) + 4 * (x_cols + model.target_dim)
    if (
        (record.x_cols, record.y_cols, record.optional_columns) != (x_cols, model.target_dim, columns)
        or record.rows * row_bytes != len(record.payload)
        or not record.rows
        or not (x_cols or late)
    ):
        raise BadShape(
            f"its {record.rows} rows of {record.x_cols} + {record.y_cols} columns are not samples or targets "
            f"of this {model.kind}, which has {model.dim} + {model.target_dim}"
        )


def decode_batch(record: Record, uses_time: bool) -> Batch | Targets | None:
    """Return the samples or targets of a record as views of its payload; `None` for other records.

    If the model `uses_time`, every sample gets the record's arrival time.
    """
    if record.kind not in (RecordKind.LEARN, RecordKind.TARGETS):
        return None
    rows, data, offset = record.rows, record.payload, 0
    keys = ids = times = None
    if record.optional_columns & KEYS:
        keys, offset = np.frombuffer(data, INTEGER, rows), INTEGER.itemsize * rows
    if record.optional_columns & IDS:
        ids, offset = np.frombuffer(data, INTEGER, rows, offset), offset + INTEGER.itemsize * rows
    x_cells = rows * record.x_cols
    values = np.frombuffer(data, FLOAT, x_cells + rows * record.y_cols, offset)
    y = values[x_cells:].reshape(rows, record.y_cols) if record.y_cols else None
    if record.kind is RecordKind.TARGETS:
        assert ids is not None  # TARGETS records are made from Targets, which have ids and y
        assert y is not None
        return Targets(ids, y, keys)
    if uses_time:
        times = np.full(rows, record.time / 1e9)
    return Batch(values[:x_cells].reshape(rows, record.x_cols), y, keys, ids, times)
