"""What a record of samples or targets holds, and how a record is made of that."""

from __future__ import annotations

import numpy as np

from streamlearn.models.batch import Batch, Targets
from streamlearn.store.record import IDS, KEYS, Record, RecordKind

FLOAT, INTEGER = np.dtype("<f4"), np.dtype("<i8")


def payload(batch: Batch | Targets) -> bytes | memoryview:
    """The bytes that `contents` reads; times are the record's own."""
    parts = [batch.keys, batch.ids, *([batch.x] if isinstance(batch, Batch) else []), batch.y]
    there = [part for part in parts if part is not None]
    return there[0].data.cast("B") if len(there) == 1 else b"".join(part.tobytes() for part in there)


def besides(batch: Batch | Targets) -> int:
    """What a row has besides x and y."""
    return (batch.keys is not None) * KEYS + (batch.ids is not None) * IDS


def contents(record: Record, timed: bool) -> Batch | Targets | None:
    """The samples or targets that a record's payload holds, as views; None for another kind of record.

    Where it is ``uses_time``, every sample has arrived at the record's time.
    """
    if record.kind not in (RecordKind.LEARN, RecordKind.TARGETS):
        return None
    rows, data, place = record.rows, record.payload, 0
    keys = ids = times = None
    if record.besides & KEYS:
        keys, place = np.frombuffer(data, INTEGER, rows), INTEGER.itemsize * rows
    if record.besides & IDS:
        ids, place = np.frombuffer(data, INTEGER, rows, place), place + INTEGER.itemsize * rows
    cells = rows * record.x_cols
    values = np.frombuffer(data, FLOAT, cells + rows * record.y_cols, place)
    y = values[cells:].reshape(rows, record.y_cols) if record.y_cols else None
    if record.kind is RecordKind.TARGETS:
        assert ids is not None  # every such record was made of Targets
        assert y is not None
        return Targets(ids, y, keys)
    if timed:
        times = np.full(rows, record.time / 1e9)
    return Batch(values[:cells].reshape(rows, record.x_cols), y, keys, ids, times)
