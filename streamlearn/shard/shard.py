"""A set of models, and the records that change them.

A change takes three steps: `accept_…` validates a request against everything accepted before it and makes
a record, the caller journals the record, and `enqueue` takes it. Replay calls `enqueue` only, so a live shard
and a recovered one run the same code on the same records. `step` then learns slice by slice.

`accept_learn` and `accept_samples` may be called many times before the journal is written. If the journal
refuses the records, `forget_unqueued` undoes all these calls. The other changes (create, delete, restore,
reheat) are accepted and enqueued one at a time, with no other change between the two steps.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, NamedTuple

from streamlearn.errors import BadCheckpoint, BadValue, ModelExists, StreamlearnError, UnknownModel
from streamlearn.models.batch import Batch, Float32, Targets
from streamlearn.shard.applied import Applied
from streamlearn.shard.collaborators import Interrupts, ModelSource, NoInterrupts, NoWatch, Watch
from streamlearn.shard.hosted_model import ARRIVAL, HostedModel, Snapshot
from streamlearn.shard.producers import ProducerState
from streamlearn.shard.record_codec import content_digests, encode_payload, has_only_x, optional_columns
from streamlearn.shard.set_aside import SetAside
from streamlearn.store import tensors
from streamlearn.store.record import CREATES, Record, RecordKind
from streamlearn_client.protocol.frames import check_channels
from streamlearn_client.protocol.messages import RESEND_WINDOW, Learn
from streamlearn_client.protocol.names import check_model

if TYPE_CHECKING:
    from streamlearn.models.base import Model


class Duplicate(NamedTuple):
    """A resend. The original batch is in the journal, at `lsn` or before."""

    lsn: int
    rows: int


class Shard:
    """Models by name. One thread owns it (R6)."""

    def __init__(self, models: ModelSource, watch: Watch | None = None) -> None:
        self.source = models
        self.check_new: Callable[[Model], None] = lambda model: None  # raises to refuse a new model
        self.max_row_cost: int | None = None  # multiply-adds of a row of a new model; a replay has no limit
        self.interrupts: Interrupts = NoInterrupts()  # a host that answers queries replaces it
        self._watch = watch or NoWatch()
        self._accepted: tuple[Record, Model] | None = None  # the last new model, until its record is enqueued
        self._hosted: dict[str, HostedModel] = {}
        self._backlogged: deque[HostedModel] = deque()  # models with a queue; the next to learn comes first
        self.backlog_bytes = 0  # memory of the records that are not learned yet

    def __iter__(self) -> Iterator[HostedModel]:
        return iter(self._hosted.values())

    def __len__(self) -> int:
        return len(self._hosted)

    def __contains__(self, name: str) -> bool:
        return name in self._hosted

    def hosted(self, name: str) -> HostedModel:
        """Return a model by name.

        Raises `UnknownModel`, which names the existing models, and `Quarantined` if the model is set aside.
        """
        hosted = self.find(name)
        hosted.check_usable()
        return hosted

    def find(self, name: str) -> HostedModel:
        """Return a model by name, also if it is set aside. Raises `UnknownModel`."""
        try:
            return self._hosted[name]
        except KeyError:
            raise UnknownModel(
                f"there is no model {name!r}; {_describe_names(self._hosted)}",
                model=name,
                models=nsmallest(50, self._hosted),
            ) from None

    def get(self, name: str) -> HostedModel | None:
        """Return a model by name, also if it is set aside; `None` if there is none."""
        return self._hosted.get(name)

    @property
    def has_backlog(self) -> bool:
        """Whether any model has records to apply."""
        return bool(self._backlogged)

    @property
    def backlogged(self) -> Collection[HostedModel]:
        """The models that have records to apply."""
        return self._backlogged

    @property
    def backlog_rows(self) -> int:
        """Accepted rows that no model has learned yet."""
        return sum(hosted.backlog_rows for hosted in self._backlogged)

    # ------------------------------------------------------------------------------------ requests to records

    def accept_learn(
        self, learn: Learn, lsn: int, time: int, *, lossy: bool = False, batches: int = 1
    ) -> Record | Duplicate:
        """Validate a batch, or a run of batches, and make the record that the journal will have at `lsn`.

        Changes nothing except the validation of the next batches.

        Parameters
        ----------
        learn
            The batch.
        lsn
            The lsn that the journal will give the record.
        time
            Arrival time, ns since 1970.
        lossy
            Whether the transport neither answers nor resends. Then a gap is counted, and the batch is
            accepted. A batch whose number is out of range is accepted without its number.
        batches
            How many batches `learn` consists of: consecutive ones of one producer, with equally many rows.
            Above 1, the first one must have the next number of its producer, if it has one.

        Raises
        ------
        UnknownModel
            If the shard has no such model.
        BadShape, BadDtype, BadValue
            If the model refuses the samples.
        Gap, Fenced, Conflict, UnknownProducer
            If the producer's number or epoch is wrong. `BadValue` if its epoch is too far in the future.
        """
        found = self._hosted.get(learn.model)
        hosted = self.hosted(learn.model) if found is None or found.set_aside is not None else found
        model = hosted.model
        batch: Batch | Targets
        if learn.x is None:
            assert learn.y is not None  # the codec guarantees it
            batch = model.validate_targets(learn.ids, learn.y, learn.keys)
        else:
            if learn.channels is not None:
                check_channels(learn.channels, model.spec.channels, "the columns of x")
            batch = model.validate(learn.x, learn.y, learn.keys, learn.ids, learn.times)
        if only_x := has_only_x(batch):
            payload: bytes | memoryview = batch.x.data.cast("B")
            columns = 0
        else:
            payload, columns = encode_payload(batch), optional_columns(batch)
        rows, x_cols = batch.rows, 0 if learn.x is None else model.dim
        y_cols = 0 if batch.y is None else batch.y.shape[1]
        digests: Sequence[int] = ()
        wide = learn.window > RESEND_WINDOW
        if learn.producer:
            digests = content_digests(payload, x_cols, y_cols, columns, batches, wide)
            try:
                known = hosted.check_number(learn.producer, learn.epoch, learn.seq, digests[0], time, lossy)
            except BadValue:
                if not lossy:
                    raise
                learn = learn._replace(producer="", epoch=0, seq=0)
                known, wide = None, False
            if known is not None:
                return Duplicate(known.lsn, rows)
        record = Record(
            kind=RecordKind.TARGETS if learn.x is None else RecordKind.LEARN,
            lsn=lsn,
            time=time,
            model=hosted.name,
            producer=learn.producer,
            epoch=learn.epoch,
            seq=learn.seq,
            rows=rows,
            x_cols=x_cols,
            y_cols=y_cols,
            payload=payload,
            optional_columns=columns,
            batches=batches,
            wide=wide,
            digests=digests,
            decoded=batch if only_x and not model.uses_time else None,
        )
        hosted.note_accepted(record)
        if learn.key_names and batch.keys is not None:
            hosted.key_texts.add(learn.key_names)
        return record

    def accept_samples(
        self, hosted: HostedModel, x: Float32, learn: Learn, seq: int, lsn: int, time: int, batches: int
    ) -> Record | None:
        """Make the record of samples as `accept_learn` does. `None` if that must do it: nothing has changed.

        Parameters
        ----------
        hosted
            The model.
        x
            The samples ``(rows, dim)``. The record keeps them.
        learn
            The header of the batches: the producer and its epoch.
        seq
            The number of the first batch: the next one of its producer, if it has one.
        lsn, time, batches
            As for `accept_learn`.
        """
        if not hosted.takes_only_x:
            return None
        try:
            x = hosted.model.read(x)
        except StreamlearnError:
            return None
        rows, columns = x.shape
        payload, producer, wide = x.data.cast("B"), learn.producer, learn.window > RESEND_WINDOW
        digests = content_digests(payload, columns, 0, 0, batches, wide) if producer else ()
        record = Record(
            RecordKind.LEARN,
            lsn,
            time,
            hosted.name,
            producer,
            learn.epoch,
            seq,
            rows,
            columns,
            payload=payload,
            batches=batches,
            wide=wide,
            digests=digests,
            decoded=Batch(x),
        )
        hosted.note_accepted(record)
        return record

    def forget_unqueued(self) -> None:
        """Undo `accept_learn` for every batch that was not enqueued: the journal refused them."""
        for hosted in self._hosted.values():
            hosted.forget_unqueued()

    def accept_create(self, name: str, kind: str, spec: Mapping[str, Any], lsn: int, time: int) -> Record:
        """Make the record of a new model. Raises `BadName`, `ModelExists`, `BadSpec`."""
        self.check_unused(name)
        model = self.source.create(kind, spec, self.max_row_cost)
        self.check_new(model)
        payload = json.dumps({"kind": model.kind, "spec": model.spec_dict()}, sort_keys=True).encode()
        record = Record(kind=RecordKind.CREATE, lsn=lsn, time=time, model=name, payload=payload)
        self._accepted = (record, model)
        return record

    def accept_delete(self, name: str, lsn: int, time: int) -> Record:
        """Make the record that deletes a model. Raises `UnknownModel`."""
        return Record(kind=RecordKind.DELETE, lsn=lsn, time=time, model=self.hosted(name).name)

    def check_restore(self, hosted: HostedModel, checkpoint: bytes) -> Model:
        """Return the model in a checkpoint file. For any thread.

        Raises `BadCheckpoint` if the content can't be decoded or has another spec.
        """
        model = self._decode(checkpoint)
        if (model.kind, model.spec_dict()) != (hosted.model.kind, hosted.model.spec_dict()):
            raise BadCheckpoint(
                f"the checkpoint belongs to a model with another spec than {hosted.name!r}", model=hosted.name
            )
        return model

    def accept_restore(
        self, name: str, checkpoint: bytes, lsn: int, time: int, *, checked: bool = False
    ) -> Record:
        """Make the record that restores a model from the content of a checkpoint file.

        The record contains the whole file, so that replay needs no other file. Raises `UnknownModel`, and
        the errors of `check_restore` unless the caller has `checked` the content.
        """
        hosted = self.hosted(name)
        if not checked:
            self.check_restore(hosted, checkpoint)
        return Record(kind=RecordKind.RESTORE, lsn=lsn, time=time, model=name, payload=checkpoint)

    def accept_copy(
        self, name: str, checkpoint: bytes, lsn: int, time: int, *, model: Model | None = None
    ) -> Record:
        """Make the record that creates a model with the spec and the state of a checkpoint file.

        The new model has no producers. `model` is the model in the file, if the caller has it.

        Raises `BadName`, `ModelExists`, `BadCheckpoint`, and the errors of `check_new`.
        """
        self.check_unused(name)
        model = self._decode(checkpoint) if model is None else model
        self.check_new(model)
        record = Record(kind=RecordKind.COPY, lsn=lsn, time=time, model=name, payload=checkpoint)
        self._accepted = (record, model)
        return record

    def accept_reheat(self, name: str, heat: float, lsn: int, time: int) -> Record:
        """Make the record that restarts a model's schedules at `heat`. Raises `UnknownModel`, `BadValue`."""
        hosted = self.hosted(name)
        payload = json.dumps(hosted.model.validate_heat(heat)).encode()
        return Record(kind=RecordKind.REHEAT, lsn=lsn, time=time, model=name, payload=payload)

    def accept_feedback(
        self, name: str, sample: Any, verdict: object, fault: object, lsn: int, time: int
    ) -> Record:
        """Make the record of a judged sample: its values, or its number if the model keeps them.

        The record contains the values. Raises `UnknownModel`, `BadShape`, `BadDtype`, `BadValue`.
        """
        hosted = self.hosted(name)
        feedback = hosted.model.validate_feedback(sample, verdict, fault)
        payload = json.dumps(feedback).encode()
        return Record(kind=RecordKind.FEEDBACK, lsn=lsn, time=time, model=name, payload=payload)

    def accept_label(
        self, name: str, label: Any, unit: Any, sample: Any, x: Any, lsn: int, time: int
    ) -> Record:
        """Make the record of a label by hand. Raises `UnknownModel`, `BadShape`, `BadDtype`, `BadValue`."""
        hosted = self.hosted(name)
        payload = json.dumps(hosted.model.validate_label(label, unit, sample, x)).encode()
        return Record(kind=RecordKind.LABEL, lsn=lsn, time=time, model=name, payload=payload)

    def accept_pause(self, name: str, paused: bool, lsn: int, time: int) -> Record:
        """Make the record that pauses or resumes a model. Raises `UnknownModel`."""
        kind = RecordKind.PAUSE if paused else RecordKind.RESUME
        return Record(kind=kind, lsn=lsn, time=time, model=self.hosted(name).name)

    # --------------------------------------------------------------------------------------- records to state

    def enqueue(self, record: Record) -> bool:
        """Take a journalled record.

        CREATE, COPY and DELETE take effect at once, all other records in `step`. A deletion discards what the
        model has not yet learned.

        Returns
        -------
        bool
            Whether the record was taken. A model that was loaded from a checkpoint ignores the records that
            the checkpoint covers.

        Raises
        ------
        UnknownModel, ModelExists
            If `accept_…` would not have made this record.
        """
        hosted = self._hosted.get(record.model)
        if hosted is not None and record.lsn <= hosted.applied_lsn:
            return False
        if record.kind in CREATES:
            if hosted is not None:
                raise ModelExists(f"record {record.lsn} creates {record.model!r}, which exists already")
            self._hosted[record.model] = self._created(record)
            return True
        if hosted is None:
            hosted = self.find(record.model)  # raises
        if record.kind is RecordKind.DELETE:
            self.backlog_bytes -= hosted.backlog_bytes
            hosted.discard_queue(record.lsn)
            if hosted in self._backlogged:
                self._backlogged.remove(hosted)
            del self._hosted[record.model]
            return True
        size = hosted.backlog_bytes
        if hosted.enqueue(record):
            self._backlogged.append(hosted)
        self.backlog_bytes += hosted.backlog_bytes - size
        return hosted.set_aside is None

    def step(self) -> Applied | None:
        """Apply one slice of the next model in turn; return `None` if no model has a backlog."""
        if not self._backlogged:
            return None
        hosted = self._backlogged.popleft()
        size = hosted.backlog_bytes
        try:
            applied = hosted.step(self.source, self._watch, self.interrupts)
        except BaseException as error:
            # A refusal by the model, or a signal that ends the process: not a death at this record.
            if isinstance(error, StreamlearnError) or not isinstance(error, Exception):
                self._watch.leave()
            raise
        self._watch.leave()
        self.backlog_bytes += hosted.backlog_bytes - size
        if hosted.has_backlog:
            self._backlogged.append(hosted)
        return applied

    def put_aside(self, hosted: HostedModel, aside: SetAside) -> None:
        """Set a model aside before record `aside.lsn`. Its later records are only counted."""
        self.backlog_bytes -= hosted.backlog_bytes
        hosted.put_aside(aside)
        if hosted in self._backlogged:
            self._backlogged.remove(hosted)

    def drain(self) -> None:
        """Apply all enqueued records."""
        while self.step() is not None:
            pass

    def install(self, snapshot: Snapshot) -> HostedModel:
        """Add the model of a checkpoint. Raises `BadCheckpoint` if its content is not a valid model."""
        model = self.source.from_arrays(snapshot.arrays, snapshot.metadata)
        producers = ProducerState.from_arrays(snapshot.arrays)
        hosted = HostedModel(snapshot.model, model, snapshot.create_lsn, snapshot.lsn, producers)
        hosted.applied_time = int(snapshot.metadata.get(ARRIVAL, 0))
        self._hosted[snapshot.model] = hosted
        return hosted

    def check_unused(self, name: str) -> None:
        """Raise `BadName` or `ModelExists` if no model can be created under this name."""
        check_model(name)
        if name in self._hosted:
            raise ModelExists(
                f"there is a model {name!r} already, a {self._hosted[name].model.kind}; delete it first, "
                "or choose another name",
                model=name,
            )

    def _decode(self, checkpoint: bytes) -> Model:
        return self.source.from_arrays(*tensors.decode(checkpoint))

    def _created(self, record: Record) -> HostedModel:
        accepted, self._accepted = self._accepted, None
        if accepted is not None and accepted[0] is record:
            model = accepted[1]
        elif record.kind is RecordKind.COPY:
            model = self._decode(bytes(record.payload))
        else:
            content = json.loads(bytes(record.payload))
            model = self.source.create(content["kind"], content["spec"])
        return HostedModel(record.model, model, record.lsn, record.lsn, ProducerState())


def _describe_names(hosted: Mapping[str, HostedModel]) -> str:
    if not hosted:
        return "none was created yet"
    count, names = len(hosted), nsmallest(5, hosted)
    return f"there {'is' if count == 1 else 'are'} {', '.join(names)}{', …' if count > 5 else ''}"
