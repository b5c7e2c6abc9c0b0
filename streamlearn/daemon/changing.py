"""Operations that change models, or write them to disk."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from streamlearn.daemon.desk import Desk, deleted_meanwhile, summary, told
from streamlearn.daemon.replies import Asker
from streamlearn.errors import BadSpec, FatalError, Internal, StreamlearnError
from streamlearn.shard import Entry
from streamlearn.store.checkpoint import CheckpointInfo
from streamlearn.store.record import Record
from streamlearn_client.protocol import Request


class Changing:
    """A change is answered, and published as an event, once it is durable and has taken effect."""

    def __init__(self, desk: Desk, most_models: int) -> None:
        self._desk = desk
        self._most_models = most_models
        self.ops: dict[str, Callable[[Asker, Request], None]] = {
            "create": self._do_create,
            "delete": self._do_delete,
            "checkpoint": self._do_checkpoint,
            "restore": self._do_restore,
            "reheat": self._do_reheat,
        }

    def _do_create(self, asker: Asker, request: Request) -> None:
        if len(self._desk.shard) >= self._most_models:
            raise BadSpec(
                f"there are {len(self._desk.shard)} models already, as many as limits.models allows; "
                "delete one first"
            )
        self.create(request.model, request.fields["kind"], request.fields.get("spec", {}), asker)

    def create(self, name: str, kind: str, spec: dict[str, Any], asker: Asker | None = None) -> None:
        """Create a model; `asker` is answered once that is durable. Raises what refuses it."""
        accept = partial(self._desk.shard.accept_create, name, kind, spec)
        record = self._desk.writer.change(accept)
        entry = self._desk.shard.entry(name)

        def created() -> None:
            self._desk.tell("created", record)
            if asker is not None:
                ok = {**summary(entry), "spec": entry.model.spec_dict(), "lsn": record.lsn}
                self._desk.replies.ok(asker, ok | {"durable_lsn": self._desk.journal.durable_lsn})

        self._desk.writer.when_durable(record.lsn, created)

    def _do_delete(self, asker: Asker, request: Request) -> None:
        self._desk.writer.commit()
        entry = self._desk.shard.entry(request.model)
        record = self._desk.writer.change(partial(self._desk.shard.accept_delete, entry.name))
        self._desk.when_learned.deleted(entry)
        self._desk.writer.learned(entry)
        self._desk.checkpointer.forget(entry)
        self._desk.metrics.models.pop(entry.name, None)

        def deleted() -> None:
            self._desk.checkpointer.remove(entry)
            self._desk.tell("deleted", record)
            self._desk.replies.ok(
                asker, {"model": entry.name, "lsn": record.lsn, "durable_lsn": self._desk.journal.durable_lsn}
            )

        self._desk.writer.when_durable(record.lsn, deleted)

    def _do_checkpoint(self, asker: Asker, request: Request) -> None:
        """Holds everything that was accepted before it."""

        def take(entry: Entry | None) -> None:
            if entry is None:
                self._desk.replies.error(asker, deleted_meanwhile())
            else:
                self._desk.checkpointer.take(entry, taken)

        def taken(info: CheckpointInfo | None, error: StreamlearnError | None) -> None:
            if info is not None:
                self._desk.replies.ok(asker, {"model": info.model, **told(info)})
            else:
                self._desk.replies.error(asker, error or Internal("the checkpoint failed"))

        self._desk.writer.commit()
        entry = self._desk.shard.entry(request.model)
        self._desk.when_learned.wait(entry, entry.accepted_lsn, take)

    def _do_restore(self, asker: Asker, request: Request) -> None:
        entry = self._desk.shard.entry(request.model)

        def read(found: tuple[CheckpointInfo, bytes] | None, problem: Exception | None) -> None:
            try:
                if self._desk.shard.entry(entry.name) is not entry:
                    raise deleted_meanwhile()
                if found is None:
                    raise problem if isinstance(problem, StreamlearnError) else Internal(f"{problem}")
                restore(*found)
            except FatalError:
                raise
            except StreamlearnError as error:
                self._desk.replies.error(asker, error)

        def restore(info: CheckpointInfo, data: bytes) -> None:
            record = self._desk.writer.change(partial(self._desk.shard.accept_restore, entry.name, data))
            self._when_done(asker, entry, record, "restored", restored_lsn=info.lsn)

        self._desk.checkpointer.read(entry, request.fields.get("lsn"), read)

    def _do_reheat(self, asker: Asker, request: Request) -> None:
        """Takes effect behind everything that was accepted before it."""
        entry = self._desk.shard.entry(request.model)
        heat = request.fields.get("heat", 1.0)
        record = self._desk.writer.change(partial(self._desk.shard.accept_reheat, entry.name, heat))
        self._when_done(asker, entry, record, "reheated")

    def _when_done(self, asker: Asker, entry: Entry, record: Record, kind: str, **more: Any) -> None:
        """Once `record` is durable and has come to its turn: publish that, and answer."""

        def done(entry: Entry | None) -> None:
            if entry is None:
                self._desk.replies.error(asker, deleted_meanwhile())
                return
            self._desk.tell(kind, record)
            ok = {**summary(entry), **more, "lsn": record.lsn}
            self._desk.replies.ok(asker, ok | {"durable_lsn": self._desk.journal.durable_lsn})

        wait = partial(self._desk.when_learned.wait, entry, record.lsn, done)
        self._desk.writer.when_durable(record.lsn, wait)
