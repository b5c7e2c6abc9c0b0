"""A set of models, and the records that change them.

A change goes one way: `accept_…` judges a request against everything accepted before it and makes a
record of it, the caller journals the record, `enqueue` takes it. Replay is the last step alone, so a live
shard and a recovered one run the same code over the same records. `step` then learns slice by slice.

`accept_learn` may be called many times before the journal is written. If the journal refuses,
`forget_unqueued` takes all of them back. The other changes (create, delete, restore, reheat) are accepted
and enqueued one at a time, with none in between.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from streamlearn.errors import BadCheckpoint, ModelExists, UnknownModel
from streamlearn.models.base import Model
from streamlearn.models.batch import Batch, Targets
from streamlearn.shard.contents import besides, payload
from streamlearn.shard.delivery import Delivery
from streamlearn.shard.entry import Applied, Entry, ModelSource, Snapshot
from streamlearn.store import tensors
from streamlearn.store.record import Record, RecordKind
from streamlearn_client.protocol.messages import Learn
from streamlearn_client.protocol.names import check_model


class Duplicate(NamedTuple):
    """A resend. Whatever it repeats is in the journal, at the latest at `lsn`."""

    lsn: int
    rows: int


class Shard:
    """Models by name. One thread owns it (R6)."""

    def __init__(self, models: ModelSource) -> None:
        self._source = models
        self._entries: dict[str, Entry] = {}
        self._ready: deque[Entry] = deque()  # entries with a queue, the one to go next first

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def entry(self, name: str) -> Entry:
        """Raises `UnknownModel` naming the models there are."""
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownModel(
                f"there is no model {name!r}; {_there_are(self._entries)}",
                model=name,
                models=sorted(self._entries)[:50],
            ) from None

    @property
    def waiting(self) -> bool:
        """Whether `step` has something to do."""
        return bool(self._ready)

    @property
    def working(self) -> Iterable[Entry]:
        """The entries that have something to learn."""
        return self._ready

    @property
    def backlog_rows(self) -> int:
        return sum(entry.backlog_rows for entry in self._ready)

    @property
    def backlog_bytes(self) -> int:
        return sum(entry.backlog_bytes for entry in self._ready)

    # ------------------------------------------------------------------------------------ requests to records

    def accept_learn(self, learn: Learn, lsn: int, time: int, *, lossy: bool = False) -> Record | Duplicate:
        """Judge a batch that the journal is to keep at `lsn`; changes only how the next batches are judged.

        A `lossy` transport can't send again: what it lost is counted, and the stream goes on behind the hole.
        Raises `UnknownModel`; `BadShape`, `BadDtype`, `BadValue` for the samples; `Gap` and `Fenced`.
        """
        entry = self._entries.get(learn.model) or self.entry(learn.model)
        batch: Batch | Targets
        if learn.x is None:
            assert learn.y is not None  # the codec has seen to it
            batch = entry.model.validate_targets(learn.ids, learn.y, learn.keys)
        else:
            batch = entry.model.validate(learn.x, learn.y, learn.keys, learn.ids)
        if learn.producer and entry.is_duplicate(learn.producer, learn.epoch, learn.seq, lossy):
            return Duplicate(entry.ahead.position(learn.producer)[2], batch.rows)
        record = Record(
            kind=RecordKind.TARGETS if learn.x is None else RecordKind.LEARN,
            lsn=lsn,
            time=time,
            model=entry.name,
            producer=learn.producer,
            epoch=learn.epoch,
            seq=learn.seq,
            rows=batch.rows,
            x_cols=0 if learn.x is None else entry.model.dim,
            y_cols=0 if batch.y is None else batch.y.shape[1],
            payload=payload(batch),
            besides=besides(batch),
        )
        entry.note_accepted(record)
        return record

    def forget_unqueued(self) -> None:
        """The journal refused; every batch accepted since the last `enqueue` counts as never sent."""
        for entry in self._entries.values():
            entry.forget_unqueued()

    def accept_create(self, name: str, kind: str, spec: Mapping[str, Any], lsn: int, time: int) -> Record:
        """Raises `BadName`, `ModelExists`, `BadSpec`."""
        check_model(name)
        if name in self._entries:
            raise ModelExists(
                f"there is a model {name!r} already, a {self._entries[name].model.kind}; delete it first, "
                "or take another name",
                model=name,
            )
        model = self._source.create(kind, spec)
        payload = json.dumps({"kind": model.kind, "spec": model.spec_dict()}, sort_keys=True).encode()
        return Record(kind=RecordKind.CREATE, lsn=lsn, time=time, model=name, payload=payload)

    def accept_delete(self, name: str, lsn: int, time: int) -> Record:
        """Raises `UnknownModel`."""
        return Record(kind=RecordKind.DELETE, lsn=lsn, time=time, model=self.entry(name).name)

    def accept_restore(self, name: str, checkpoint: bytes, lsn: int, time: int) -> Record:
        """`checkpoint`, a file's content, goes into the record, so that replay needs no other file.

        Raises `UnknownModel`, and `BadCheckpoint` for one that can't be decoded or is of another spec.
        """
        entry = self.entry(name)
        arrays, metadata = tensors.decode(checkpoint)
        model = self._source.from_arrays(arrays, metadata)
        if (model.kind, model.spec_dict()) != (entry.model.kind, entry.model.spec_dict()):
            raise BadCheckpoint(
                f"that checkpoint is of a model with another spec than {name!r} has", model=name
            )
        return Record(kind=RecordKind.RESTORE, lsn=lsn, time=time, model=name, payload=checkpoint)

    def accept_reheat(self, name: str, heat: float, lsn: int, time: int) -> Record:
        """Raises `UnknownModel`, and `BadValue` for a heat that the model does not take."""
        entry = self.entry(name)
        payload = json.dumps(entry.model.validate_heat(heat)).encode()
        return Record(kind=RecordKind.REHEAT, lsn=lsn, time=time, model=name, payload=payload)

    # --------------------------------------------------------------------------------------- records to state

    def enqueue(self, record: Record) -> bool:
        """The journal has `record`. A model that is already past it (it came from a checkpoint) ignores it.

        Models come and go at once; all else waits for `step`. What a deleted model had still to learn is
        gone with it. Returns whether the record was taken. Raises `UnknownModel` and `ModelExists` for
        records that `accept_…` would not have made.
        """
        entry = self._entries.get(record.model)
        if entry is not None and record.lsn <= entry.applied_lsn:
            return False
        if record.kind is RecordKind.CREATE:
            if entry is not None:
                raise ModelExists(f"record {record.lsn} creates {record.model!r}, which is there already")
            self._entries[record.model] = self._created(record)
            return True
        entry = self.entry(record.model)
        if record.kind is RecordKind.DELETE:
            entry.discard_queue(record.lsn)
            if entry in self._ready:
                self._ready.remove(entry)
            del self._entries[record.model]
            return True
        if not entry.waiting:
            self._ready.append(entry)
        entry.enqueue(record)
        return True

    def step(self) -> Applied | None:
        """Learn one slice of the model whose turn it is; `None` when nothing waits."""
        if not self._ready:
            return None
        entry = self._ready.popleft()
        applied = entry.step(self._source)
        if entry.waiting:
            self._ready.append(entry)
        return applied

    def drain(self) -> None:
        """Learn everything that waits."""
        while self.step() is not None:
            pass

    def install(self, snapshot: Snapshot) -> Entry:
        """Put a model in as a checkpoint has it. Raises `BadCheckpoint` when its content makes no model."""
        model = self._source.from_arrays(snapshot.arrays, snapshot.metadata)
        delivery = Delivery.from_arrays(snapshot.arrays)
        entry = Entry(snapshot.model, model, snapshot.create_lsn, snapshot.lsn, delivery)
        self._entries[snapshot.model] = entry
        return entry

    def _created(self, record: Record) -> Entry:
        content = json.loads(bytes(record.payload))
        model: Model = self._source.create(content["kind"], content["spec"])
        return Entry(record.model, model, record.lsn, record.lsn, Delivery())


def _there_are(entries: Mapping[str, Entry]) -> str:
    if not entries:
        return "none was created yet"
    names = sorted(entries)
    return (
        f"there {'is' if len(names) == 1 else 'are'} {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
    )
