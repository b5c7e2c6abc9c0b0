"""Uninterrupted models: each learns the accepted records in order, in this process, and never stops."""

from __future__ import annotations

import json
from typing import Any

from streamlearn import models
from streamlearn.models import Model
from streamlearn.shard.record_codec import decode_batch
from streamlearn.store import tensors
from streamlearn.store.record import Record, RecordKind

KEEP_EVERY = 16  # records between two copies of the state, to go back to


class Reference:
    """The records of one model, and its state after any of them.

    ``records`` grows with the journal, and loses its end with it.
    """

    def __init__(self, record: Record, model: Model) -> None:
        self.create_lsn = record.lsn
        self.model = model
        self.records: list[Record] = []
        self._applied = 0  # records that ``model`` has learned
        self._copies: list[tuple[int, dict[str, Any]]] = [(0, model.copy_state())]  # records learned, state

    @classmethod
    def created(cls, record: Record) -> Reference:
        if record.kind is RecordKind.COPY:
            return cls(record, models.from_arrays(*tensors.decode(bytes(record.payload))))
        content = json.loads(bytes(record.payload))
        return cls(record, models.create(content["kind"], content["spec"]))

    def append(self, record: Record) -> None:
        self.records.append(record)

    def forget(self, lsn: int) -> None:
        """The records from ``lsn`` on never happened."""
        while self.records and self.records[-1].lsn >= lsn:
            self.records.pop()
        if self._applied > len(self.records):
            self._go_back(len(self.records))

    def hash_at(self, lsn: int) -> str:
        """The state's hash after the last record up to ``lsn``."""
        count = self._applied
        while count > 0 and self.records[count - 1].lsn > lsn:
            count -= 1
        if count < self._applied:
            self._go_back(count)
        while self._applied < len(self.records) and self.records[self._applied].lsn <= lsn:
            self._apply()
        return self.model.state_hash()

    def _go_back(self, count: int) -> None:
        while self._copies[-1][0] > count:
            self._copies.pop()
        self._applied, state = self._copies[-1]
        self.model.adopt({name: array.copy() for name, array in state.items()})

    def _apply(self) -> None:
        record = self.records[self._applied]
        if record.kind is RecordKind.RESTORE:
            self.model = models.from_arrays(*tensors.decode(bytes(record.payload)))
        elif record.kind is RecordKind.REHEAT:
            self.model.reheat(json.loads(bytes(record.payload)))
        elif record.kind is RecordKind.PAUSE:
            self.model.pause()
        elif record.kind is RecordKind.RESUME:
            self.model.resume()
        elif record.kind is not RecordKind.DELETE:
            batch = decode_batch(record, self.model.uses_time)
            assert batch is not None
            self.model.learn_validated(type(batch)(*[None if c is None else c.copy() for c in batch]))
        self._applied += 1
        if self._applied % KEEP_EVERY == 0:
            self._copies.append((self._applied, self.model.copy_state()))
