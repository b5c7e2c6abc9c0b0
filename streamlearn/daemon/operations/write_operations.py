"""Operations that change models, or that write or read checkpoints (docs/protocol.md)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from streamlearn import logs
from streamlearn.access.identity import LOCAL
from streamlearn.daemon.context import Context
from streamlearn.daemon.durability.checkpointer import Checkpointer
from streamlearn.daemon.durability.group_commit import GroupCommit
from streamlearn.daemon.network.replies import (
    ReplyAddress,
    checkpoint_fields,
    deleted_while_waiting,
    model_fields,
)
from streamlearn.daemon.operations.backups import Backups
from streamlearn.daemon.operations.copies import Copies
from streamlearn.daemon.operations.restores import Restores
from streamlearn.errors import BadMessage, BadName, BadSpec, Internal, StreamlearnError, TooLarge
from streamlearn.history import Target
from streamlearn.shard import HostedModel
from streamlearn.shard.numbered import Accept, Number
from streamlearn.store.checkpoint import CheckpointInfo
from streamlearn.store.retention import UNDO_PREFIX
from streamlearn_client.protocol import Request, check_channels
from streamlearn_client.protocol.names import check_checkpoint, check_model

log = logs.get_logger(__name__)

MOST_NAMED = 100  # checkpoints with a name of one model: retention never removes them


class WriteOperations:
    """Handlers by the name of the operation.

    A change is answered, and published as an event, once it is durable and applied.
    """

    def __init__(
        self,
        context: Context,
        group_commit: GroupCommit,
        checkpointer: Checkpointer,
        restores: Restores,
        backups: Backups,
        copies: Copies,
    ) -> None:
        self._context = context
        self._group_commit = group_commit
        self._checkpointer = checkpointer
        self._restores = restores
        self._backups = backups
        self._copies = copies
        self.handlers: dict[str, Callable[[ReplyAddress, Request], None]] = {
            "create": self._do_create,
            "upload": copies.transfers.receive_part,
            "export": copies.export,
            "clone": copies.clone,
            "delete": self._do_delete,
            "checkpoint": self._do_checkpoint,
            "unpin": self._do_unpin,
            "restore": self._do_restore,
            "backup": self._do_backup,
            "reheat": self._do_reheat,
            "pause": self._do_pause,
            "resume": self._do_resume,
            "feedback": self._do_feedback,
            "label": self._do_label,
        }

    def _do_create(self, reply_to: ReplyAddress, request: Request) -> None:
        if not {"state", "parameters"}.isdisjoint(request.fields):
            self._copies.create(reply_to, request)
            return
        count = len(self._context.shard)
        if count >= self._context.settings.limits.models:
            raise BadSpec(
                f"the daemon has {count} models, and limits.models allows no more; delete a model first"
            )
        self.create(request.model, request.fields["kind"], request.fields.get("spec", {}), reply_to)

    def create(
        self, name: str, kind: str, spec: dict[str, Any], reply_to: ReplyAddress | None = None
    ) -> None:
        """Create a model, and reply once the creation is durable. Raises if the model is refused."""
        accept = partial(self._context.shard.accept_create, name, kind, spec)
        self._context.model_memory.check_spec(kind, spec)
        record = self._group_commit.change(accept)
        hosted = self._context.shard.hosted(name)
        self._context.model_memory.created(hosted)

        def created() -> None:
            identity = LOCAL if reply_to is None else reply_to.identity
            self._context.publisher.publish_change("created", record, identity, kind=kind)
            if reply_to is not None:
                self._reply(reply_to, record.lsn, model_fields(hosted) | {"spec": hosted.model.spec_dict()})

        self._context.watermarks.when_durable(record.lsn, created)

    def _do_delete(self, reply_to: ReplyAddress, request: Request) -> None:
        self._group_commit.commit()
        hosted = self._context.shard.hosted(request.model)
        record = self._group_commit.change(partial(self._context.shard.accept_delete, hosted.name))
        self._context.watermarks.model_deleted(hosted)
        self._checkpointer.forget(hosted)
        self._context.metrics.models.pop(hosted.name, None)
        self._context.silences.forget(hosted.name)
        self._context.model_memory.deleted(hosted)

        def deleted() -> None:
            self._checkpointer.remove(hosted)
            self._context.publisher.publish_change("deleted", record, reply_to.identity)
            self._reply(reply_to, record.lsn, {"model": hosted.name})

        self._context.watermarks.when_durable(record.lsn, deleted)

    def _do_checkpoint(self, reply_to: ReplyAddress, request: Request) -> None:
        """The checkpoint includes every batch that was accepted before this request."""
        name = request.fields.get("name")
        if name is not None:
            _check_new_name(name)

        def take(hosted: HostedModel | None) -> None:
            if hosted is None:
                self._context.replies.error(reply_to, deleted_while_waiting())
            else:
                reply = partial(self._reply_checkpoint, reply_to, "wrote a checkpoint")
                self._checkpointer.take(hosted, reply, name or "")

        self._group_commit.commit()
        hosted = self._context.shard.hosted(request.model)
        if name is not None:
            self._check_named(hosted, name)
        self._context.watermarks.when_applied(hosted, hosted.accepted_lsn, take, between_records=True)

    def _check_named(self, hosted: HostedModel, name: str) -> None:
        """Raise `TooLarge` if the model has as many checkpoints with a name as it may have."""
        names = {info.name for info in self._checkpointer.checkpoints_of(hosted) if info.pinned}
        if len(names) >= MOST_NAMED and name not in names:  # a known name is refused by the checkpointer
            raise TooLarge(
                f"model {hosted.name!r} has {len(names)} checkpoints with a name, and may have {MOST_NAMED}; "
                "unpin one first",
                limit="named checkpoints",
                most=MOST_NAMED,
            )

    def _do_unpin(self, reply_to: ReplyAddress, request: Request) -> None:
        hosted = self._context.shard.hosted(request.model)
        name = check_checkpoint(request.fields["name"])
        reply = partial(self._reply_checkpoint, reply_to, f"unpinned the checkpoint {name}")
        self._checkpointer.unpin(hosted, name, reply)

    def _reply_checkpoint(
        self,
        reply_to: ReplyAddress,
        event: str,
        info: CheckpointInfo | None,
        error: StreamlearnError | None,
    ) -> None:
        if info is None:
            self._context.replies.error(reply_to, error or Internal("the checkpoint failed"))
        else:
            facts = {"model": info.model, "lsn": info.lsn, "checkpoint": info.name}
            log.info(event, **facts, **reply_to.identity.to_log())
            fields = checkpoint_fields(info, self._context.runtime.wall_ns())
            self._context.replies.ok(reply_to, {"model": info.model, **fields})

    def _do_restore(self, reply_to: ReplyAddress, request: Request) -> None:
        hosted, fields = self._context.shard.hosted(request.model), request.fields
        name, lsn, into = fields.get("name"), fields.get("lsn"), fields.get("into")
        if name is not None and lsn is not None:
            raise BadMessage("restore takes the name of a checkpoint or an lsn, not both; leave one out")
        if name is not None:
            check_checkpoint(name)
        if into is not None:
            check_model(into)  # `Access` has checked the right on it
        number = Number.of(request)
        if number is not None and into is not None:
            raise BadMessage(
                "a restore into another model takes no number; leave out producer, epoch and seq"
            )
        self._restores.request(reply_to, hosted, Target(name or "", lsn), into or "", number)

    def _do_backup(self, reply_to: ReplyAddress, request: Request) -> None:
        self._backups.request(reply_to, request.fields["directory"])

    def _do_reheat(self, reply_to: ReplyAddress, request: Request) -> None:
        """The reheat takes effect behind every batch that was accepted before it."""
        hosted = self._context.shard.hosted(request.model)
        heat = request.fields.get("heat", 1.0)
        accept = partial(self._context.shard.accept_reheat, hosted.name, heat)
        self._change(reply_to, request, hosted, accept, "reheated")

    def _do_feedback(self, reply_to: ReplyAddress, request: Request) -> None:
        """The feedback takes effect behind every batch that was accepted before it."""
        hosted, fields, x = self._context.shard.hosted(request.model), request.fields, request.x
        if (x is None) == ("sample" not in fields):
            raise BadMessage(
                "feedback takes the values of a sample, x, or its number, sample; give one of them"
            )
        if x is not None and len(x) != 1:
            raise BadMessage(f"feedback judges one sample; x has {len(x)} rows")
        check_channels(request.channels, hosted.model.spec.channels, "the columns of x")
        sample = fields["sample"] if x is None else x[0]
        verdict, name = fields["verdict"], fields.get("name", "")
        accept = partial(self._context.shard.accept_feedback, hosted.name, sample, verdict, name)
        self._change(reply_to, request, hosted, accept, "judged")

    def _do_label(self, reply_to: ReplyAddress, request: Request) -> None:
        """The label takes effect behind every batch that was accepted before it."""
        hosted, fields, x = self._context.shard.hosted(request.model), request.fields, request.x
        if x is not None and len(x) != 1:
            raise BadMessage(f"label is for one sample; x has {len(x)} rows")
        check_channels(request.channels, hosted.model.spec.channels, "the columns of x")
        values = None if x is None else x[0]
        given = fields.get("label") or None, fields.get("unit"), fields.get("key"), values
        accept = partial(self._context.shard.accept_label, hosted.name, *given)
        self._change(reply_to, request, hosted, accept, "labelled")

    def _do_pause(self, reply_to: ReplyAddress, request: Request) -> None:
        """The pause takes effect behind every batch that was accepted before it."""
        self._set_paused(reply_to, request, True)

    def _do_resume(self, reply_to: ReplyAddress, request: Request) -> None:
        self._set_paused(reply_to, request, False)

    def _set_paused(self, reply_to: ReplyAddress, request: Request, paused: bool) -> None:
        hosted = self._context.shard.hosted(request.model)
        accept = partial(self._context.shard.accept_pause, hosted.name, paused)
        self._change(reply_to, request, hosted, accept, "paused" if paused else "resumed")

    def _change(
        self, reply_to: ReplyAddress, request: Request, hosted: HostedModel, accept: Accept, event: str
    ) -> None:
        """Journal a change. Publish `event` and reply once it is durable and applied.

        A change with a number that was accepted before is only answered.
        """
        number = Number.of(request)
        if number is not None:
            self._group_commit.commit()  # a group that the journal refuses leaves no number behind
            if (lsn := number.known_lsn(hosted, self._context.runtime.wall_ns())) is not None:
                self._when_applied(reply_to, hosted, lsn, lambda: None, {"duplicate": True})
                return
            accept = number.added_to(accept)
        record = self._group_commit.change(accept)
        publish = partial(self._context.publisher.publish_change, event, record, reply_to.identity)
        self._when_applied(reply_to, hosted, record.lsn, publish, {})

    def _when_applied(
        self,
        reply_to: ReplyAddress,
        hosted: HostedModel,
        lsn: int,
        then: Callable[[], None],
        fields: dict[str, Any],
    ) -> None:
        """Call `then` and reply once record `lsn` is durable and applied."""

        def applied(hosted: HostedModel | None) -> None:
            if hosted is None:
                self._context.replies.error(reply_to, deleted_while_waiting())
                return
            then()
            self._reply(reply_to, lsn, model_fields(hosted) | fields)

        watermarks = self._context.watermarks
        watermarks.when_durable(
            lsn, partial(watermarks.when_applied, hosted, lsn, applied, between_records=True)
        )

    def _reply(self, reply_to: ReplyAddress, lsn: int, fields: dict[str, Any]) -> None:
        durable_lsn = self._context.journal.durable_lsn
        self._context.replies.ok(reply_to, {**fields, "lsn": lsn, "durable_lsn": durable_lsn})


def _check_new_name(name: str) -> None:
    if check_checkpoint(name).startswith(UNDO_PREFIX):
        raise BadName(
            f"{name!r} is not a valid checkpoint name: names that start with {UNDO_PREFIX!r} belong to the "
            "checkpoints that restore writes; choose another name",
            name=name,
        )
