"""What a record of samples or targets holds, and how a record is made of that."""

from __future__ import annotations

from typing import Any

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

    Where it is ``timed``, every sample has arrived at the record's time.
    """
    if record.kind not in (RecordKind.LEARN, RecordKind.TARGETS):
        return None
    place = 0

    def take(there: bool, dtype: np.dtype[Any], *shape: int) -> Any:
        nonlocal place
        if not there:
            return None
        count = int(np.prod(shape))
        values = np.frombuffer(record.payload, dtype, count, place) if count else np.empty(0, dtype)
        place += values.nbytes
        return values.reshape(shape)

    rows = record.rows
    keys = take(bool(record.besides & KEYS), INTEGER, rows)
    ids = take(bool(record.besides & IDS), INTEGER, rows)
    x = take(record.kind is RecordKind.LEARN, FLOAT, rows, record.x_cols)
    y = take(record.y_cols > 0, FLOAT, rows, record.y_cols)
    if x is None:
        return Targets(ids, y, keys)
    times = np.full(rows, record.time / 1e9) if timed else None
    return Batch(x, y, keys, ids, times)
