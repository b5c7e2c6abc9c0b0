"""Every operation but `learn`: what is asked, what is answered. docs/protocol.md has the fields."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from streamlearn.daemon.checkpointer import Checkpointer
from streamlearn.daemon.events import Publisher
from streamlearn.daemon.metrics import Metrics
from streamlearn.daemon.replies import Asker, Replies
from streamlearn.daemon.waiting import WhenLearned
from streamlearn.daemon.writer import Writer
from streamlearn.errors import (
    BadSpec,
    FatalError,
    Internal,
    NoCheckpoint,
    StreamlearnError,
    UnknownModel,
    UnknownOp,
)
from streamlearn.shard import Entry, Shard
from streamlearn.store.checkpoint import CheckpointInfo
from streamlearn.store.journal import Journal
from streamlearn.store.record import Record
from streamlearn_client.protocol import VERSION, EventMessage, Limits, Request, Samples


class Operations:
    """`run` answers a request, now or when what it waits for has come about."""

    def __init__(
        self,
        shard: Shard,
        journal: Journal,
        writer: Writer,
        checkpointer: Checkpointer,
        replies: Replies,
        publisher: Publisher,
        metrics: Metrics,
        limits: Limits,
        endpoints: dict[str, str],
        version: str,
        most_models: int,
    ) -> None:
        self._shard = shard
        self._journal = journal
        self._writer = writer
        self._checkpointer = checkpointer
        self._replies = replies
        self._publisher = publisher
        self._metrics = metrics
        self._most_models = most_models
        self._started = time.monotonic()
        self._hello: dict[str, Any] = {
            "server": "streamlearn",
            "version": version,
            "protocol": VERSION,
            "limits": limits.to_map(),
            "endpoints": endpoints,
            "instance": secrets.token_hex(8),
        }
        self._ops: dict[str, Callable[[Asker, Request], None]] = {
            "hello": self._do_hello,
            "create": self._do_create,
            "delete": self._do_delete,
            "models": self._do_models,
            "describe": self._do_describe,
            "predict": self._do_predict,
            "checkpoint": self._do_checkpoint,
            "checkpoints": self._do_checkpoints,
            "restore": self._do_restore,
            "stats": self._do_stats,
            "position": self._do_position,
        }
        self.when_learned = WhenLearned()

    def run(self, asker: Asker, request: Request) -> None:
        """Raises what refuses the request."""
        do = self._ops.get(request.op)
        if do is None:
            raise UnknownOp(f"there is no op {request.op!r} here; there are: {', '.join(self._ops)}, learn")
        do(asker, request)

    def between_slices(self, entry: Entry) -> None:
        """A slice of the model has ended."""
        self.when_learned.between_slices(entry)
        self._checkpointer.between_slices(entry)

    def wrote_checkpoint(self, info: CheckpointInfo) -> None:
        """A checkpoint is there."""
        self._publisher.publish(EventMessage("checkpoint", info.model, info.lsn, time=info.time))

    # --------------------------------------------------------------------------------------------- asking

    def _do_hello(self, asker: Asker, request: Request) -> None:
        self._publisher.update()  # whoever subscribed before asking is heard before the answer
        self._replies.ok(asker, self._hello)

    def _do_models(self, asker: Asker, request: Request) -> None:
        self._replies.ok(asker, {"models": [_summary(entry) for entry in sorted(self._shard, key=_name)]})

    def _do_predict(self, asker: Asker, request: Request) -> None:
        began = time.perf_counter_ns()
        entry = self._shard.entry(request.model)
        outputs = entry.model.predict(_given(request.x))
        ok = {"applied_lsn": entry.applied_lsn, "samples": entry.model.samples}
        self._replies.ok(asker, ok, outputs.arrays)
        self._metrics.model(entry.name).queries += 1
        self._metrics.query_seconds.add(time.perf_counter_ns() - began)

    def _do_describe(self, asker: Asker, request: Request) -> None:
        """Shows everything that was accepted before it."""
        self._writer.commit()
        entry = self._shard.entry(request.model)
        self.when_learned.wait(entry, entry.accepted_lsn, partial(self._describe, asker))

    def _describe(self, asker: Asker, entry: Entry | None) -> None:
        if entry is None:
            self._replies.error(asker, _deleted())
            return
        model = entry.model
        self._replies.ok(
            asker,
            {
                **_summary(entry),
                "spec": model.spec_dict(),
                "target_dim": model.target_dim,
                "durable_lsn": self._journal.durable_lsn,
                "state_hash": model.state_hash(),
                "quality": model.quality(),
                "checkpoints": [_checkpoint(info) for info in self._checkpointer.kept(entry)],
            },
        )

    def _do_position(self, asker: Asker, request: Request) -> None:
        self._writer.commit()
        epoch, next_seq, lsn = self._shard.entry(request.model).ahead.position(request.fields["producer"])
        self._replies.ok(asker, {"epoch": epoch, "next_seq": next_seq, "lsn": lsn})

    def _do_stats(self, asker: Asker, request: Request) -> None:
        entries = [self._shard.entry(request.model)] if request.model else list(self._shard)
        models = {}
        for entry in entries:
            models[entry.name] = {
                "samples": entry.model.samples,
                "learned": entry.learned,
                "missing_batches": entry.missing,
                "backlog_rows": entry.backlog_rows,
                "microseconds_per_sample": entry.nanoseconds_per_row / 1e3,
                **self._metrics.model(entry.name).to_map(),
            }
        self._replies.ok(
            asker,
            {
                **self._metrics.to_map(),
                "uptime_seconds": time.monotonic() - self._started,
                "events": self._publisher.published,
                "backlog_rows": self._shard.backlog_rows,
                "backlog_bytes": self._shard.backlog_bytes,
                "written_lsn": self._journal.written_lsn,
                "durable_lsn": self._journal.durable_lsn,
                "journal_bytes": self._journal.bytes,
                "journal_segments": self._journal.segments,
                "models": models,
            },
        )

    # ------------------------------------------------------------------------------------------- changing

    def _do_create(self, asker: Asker, request: Request) -> None:
        if len(self._shard) >= self._most_models:
            raise BadSpec(
                f"there are {len(self._shard)} models already, as many as limits.models allows; "
                "delete one first"
            )
        self.create(request.model, request.fields["kind"], request.fields.get("spec", {}), asker)

    def create(self, name: str, kind: str, spec: dict[str, Any], asker: Asker | None = None) -> None:
        """Create a model; `asker` is answered once that is durable. Raises what refuses it."""
        accept = partial(self._shard.accept_create, name, kind, spec)
        record = self._writer.change(accept)
        entry = self._shard.entry(name)

        def created() -> None:
            self._tell("created", record)
            if asker is not None:
                ok = {**_summary(entry), "spec": entry.model.spec_dict(), "lsn": record.lsn}
                self._replies.ok(asker, ok | {"durable_lsn": self._journal.durable_lsn})

        self._writer.when_durable(record.lsn, created)

    def _do_delete(self, asker: Asker, request: Request) -> None:
        self._writer.commit()
        entry = self._shard.entry(request.model)
        record = self._writer.change(partial(self._shard.accept_delete, entry.name))
        self.when_learned.deleted(entry)
        self._writer.learned(entry)
        self._checkpointer.forget(entry)
        self._metrics.models.pop(entry.name, None)

        def deleted() -> None:
            self._checkpointer.remove(entry)
            self._tell("deleted", record)
            self._replies.ok(
                asker, {"model": entry.name, "lsn": record.lsn, "durable_lsn": self._journal.durable_lsn}
            )

        self._writer.when_durable(record.lsn, deleted)

    def _do_checkpoint(self, asker: Asker, request: Request) -> None:
        """Holds everything that was accepted before it."""

        def take(entry: Entry | None) -> None:
            if entry is None:
                self._replies.error(asker, _deleted())
            else:
                self._checkpointer.take(entry, taken)

        def taken(info: CheckpointInfo | None, error: StreamlearnError | None) -> None:
            if info is not None:
                self._replies.ok(asker, {"model": info.model, **_checkpoint(info)})
            else:
                self._replies.error(asker, error or Internal("the checkpoint failed"))

        self._writer.commit()
        entry = self._shard.entry(request.model)
        self.when_learned.wait(entry, entry.accepted_lsn, take)

    def _do_checkpoints(self, asker: Asker, request: Request) -> None:
        kept = self._checkpointer.kept(self._shard.entry(request.model))
        self._replies.ok(asker, {"checkpoints": [_checkpoint(info) for info in kept]})

    def _do_restore(self, asker: Asker, request: Request) -> None:
        entry = self._shard.entry(request.model)
        info = _choose(entry, self._checkpointer.kept(entry), request.fields.get("lsn"))

        def read(data: bytes | None, problem: Exception | None) -> None:
            try:
                if data is None:
                    raise problem if isinstance(problem, StreamlearnError) else Internal(f"{problem}")
                if self._shard.entry(entry.name) is not entry:
                    raise _deleted()
                restore(data)
            except FatalError:
                raise
            except StreamlearnError as error:
                self._replies.error(asker, error)

        def restore(data: bytes) -> None:
            record = self._writer.change(partial(self._shard.accept_restore, entry.name, data))
            self._writer.when_durable(record.lsn, partial(wait, record))

        def wait(record: Record) -> None:
            self.when_learned.wait(entry, record.lsn, partial(restored, record))

        def restored(record: Record, entry: Entry | None) -> None:
            if entry is None:
                self._replies.error(asker, _deleted())
                return
            self._tell("restored", record)
            ok = {**_summary(entry), "restored_lsn": info.lsn, "lsn": record.lsn}
            self._replies.ok(asker, ok | {"durable_lsn": self._journal.durable_lsn})

        self._checkpointer.read(info, read)

    def _tell(self, kind: str, record: Record) -> None:
        self._publisher.publish(EventMessage(kind, record.model, record.lsn, time=record.time))


def _given(x: Samples | None) -> Samples:
    assert x is not None  # the codec has seen to it
    return x


def _name(entry: Entry) -> str:
    return entry.name


def _summary(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "kind": entry.model.kind,
        "dim": entry.model.dim,
        "samples": entry.model.samples,
        "applied_lsn": entry.applied_lsn,
        "create_lsn": entry.create_lsn,
    }


def _checkpoint(info: CheckpointInfo) -> dict[str, Any]:
    return {"lsn": info.lsn, "bytes": info.bytes, "time": info.time}


def _choose(entry: Entry, kept: list[CheckpointInfo], lsn: int | None) -> CheckpointInfo:
    for info in kept:
        if lsn is None or info.lsn == lsn:
            return info
    there = ", ".join(str(info.lsn) for info in kept) or "none"
    asked = "a checkpoint" if lsn is None else f"a checkpoint as of record {lsn}"
    raise NoCheckpoint(
        f"model {entry.name!r} does not have {asked}; it has: {there}", lsns=[info.lsn for info in kept]
    )


def _deleted() -> UnknownModel:
    return UnknownModel("the model was deleted while this request waited")
