"""Models that are copied: exported, created from a file or from a network's parameters, and cloned.

A worker encodes, decodes and checks, from copies; so the loop goes on. A new model becomes a COPY record,
which holds the spec and the whole state. So replay needs no other file, and a recovered model has the same
bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from streamlearn.daemon.context import Context
from streamlearn.daemon.durability.group_commit import GroupCommit
from streamlearn.daemon.flow import Flow, Resume, Wait, run
from streamlearn.daemon.limits.model_memory import state_bytes
from streamlearn.daemon.network.replies import ReplyAddress, deleted_while_waiting, model_fields
from streamlearn.daemon.operations.transfers import ADVICE, Transfers, check_digest
from streamlearn.daemon.worker import Worker
from streamlearn.errors import BadMessage, BadSpec, Busy, ShuttingDown
from streamlearn.shard import HostedModel
from streamlearn.store import tensors
from streamlearn_client.protocol import Request

if TYPE_CHECKING:
    from streamlearn.models import incoming
    from streamlearn.models.base import Model

MOST_RUNNING = 100  # copies that are made
FACTOR = 2  # copies of a state in memory, beside the one that is reserved already: arrays, and their file


class _New(NamedTuple):
    """A model that is not created yet, and the content of its record."""

    model: Model
    content: bytes


class Copies:
    """Copies of models. All methods are called on the loop's thread."""

    def __init__(self, context: Context, group_commit: GroupCommit) -> None:
        self._context = context
        self._group_commit = group_commit
        self._account = context.budget.queries
        self._worker = Worker(context.self_pipe, "copies", context.runtime)
        self.transfers = Transfers(context)
        self._running = 0
        self._stopping = False

    @property
    def idle(self) -> bool:
        """Whether every request is answered."""
        return self._running == 0

    def collect(self) -> None:
        """Continue with the results of the worker, and forget transfers that nobody continues."""
        self._worker.collect()
        self.transfers.expire()

    def shut_down(self) -> None:
        """Refuse what has changed nothing yet."""
        self._stopping = True
        self.transfers.clear()

    def close(self) -> None:
        """End the thread."""
        self._worker.stop()

    # --------------------------------------------------------------------------------------------- requests

    def export(self, reply_to: ReplyAddress, request: Request) -> None:
        """Send the first part of a model's file, or a later one of an export that began."""
        hosted, fields = self._context.shard.hosted(request.model), request.fields
        if "export" in fields:
            self.transfers.send_part(reply_to, hosted.name, fields["export"], fields.get("offset", 0))
            return
        if "offset" in fields:
            raise BadMessage("offset needs export, the id of the export in the first answer", field="offset")
        self.transfers.check_room()
        self._run(reply_to, self._export(reply_to, hosted))

    def create(self, reply_to: ReplyAddress, request: Request) -> None:
        """Create a model from an upload: the file of a model (`state`), or `parameters` of a network."""
        fields = request.fields
        if "state" in fields and not {"spec", "parameters"}.isdisjoint(fields):
            raise BadMessage(
                "state is the file of a model, which contains its spec; leave out spec and parameters",
                field="state",
            )
        content = self.transfers.take_upload(request.model, fields.get("state") or fields["parameters"])
        self._run(reply_to, self._create(reply_to, request, content), len(content))

    def clone(self, reply_to: ReplyAddress, request: Request) -> None:
        """Create a model with the state of another one."""
        hosted = self._context.shard.hosted(request.model)
        self._context.shard.check_unused(request.fields["into"])
        self._run(reply_to, self._clone(reply_to, hosted, request.fields["into"]))

    def _run(self, reply_to: ReplyAddress, flow: Flow, reserved: int = 0) -> None:
        """Run a flow; report its error. `reserved`: bytes of memory to release at its end."""

        def finished(error: Exception | None) -> None:
            self._running -= 1
            self._account.release(reserved)
            if error is not None:
                self._context.replies.exception(reply_to, error)

        if self._running >= MOST_RUNNING:
            self._account.release(reserved)
            raise Busy(
                f"{MOST_RUNNING} copies of models are being made; send this again later",
                limit="copies of models",
                most=MOST_RUNNING,
            )
        self._running += 1
        run(flow, finished)

    # ------------------------------------------------------------------------------------------------ flows

    def _export(self, reply_to: ReplyAddress, hosted: HostedModel) -> Flow:
        yield from self._settled(hosted)
        size = FACTOR * state_bytes(hosted.model)
        self._account.reserve(size, "this export", ADVICE)
        kept = 0
        try:
            arrays, metadata = hosted.model.copy_state(), hosted.model.metadata()
            lsns = {"lsn": hosted.applied_lsn, "samples": hosted.model.samples}
            content, digest = yield partial(self._worker.submit, partial(_encoded, arrays, metadata))
            kept = len(content)
        finally:
            self._account.release(size)
            self._account.add(kept)
        fields = {"model": hosted.name, "kind": hosted.model.kind, "bytes": kept, "sha256": digest, **lsns}
        name = self.transfers.add_export(hosted.name, content, fields)
        self.transfers.send_part(reply_to, hosted.name, name, 0)

    def _create(self, reply_to: ReplyAddress, request: Request, content: bytearray) -> Flow:
        fields, shard = request.fields, self._context.shard
        kind, is_state = fields["kind"], "state" in fields
        shard.check_unused(request.model)

        def decode() -> incoming.Incoming:
            """Runs on the worker."""
            from streamlearn.models import incoming

            check_digest(content, fields.get("sha256"))
            if is_state:
                return incoming.of_state(content, kind)
            return incoming.of_parameters(content, kind, fields.get("spec", {}))

        size = FACTOR * len(content)
        self._account.reserve(size, "this model", ADVICE)
        try:
            decoded: incoming.Incoming = yield partial(self._worker.submit, decode)
            decoded.check(shard.max_row_cost)
            self._context.model_memory.check_spec(kind, decoded.spec)
            new: _New = yield partial(self._worker.submit, partial(_built, decoded))
        finally:
            self._account.release(size)
        yield from self._created(reply_to, request.model, new, {"kind": kind})

    def _clone(self, reply_to: ReplyAddress, hosted: HostedModel, into: str) -> Flow:
        yield from self._settled(hosted)
        size = FACTOR * state_bytes(hosted.model)
        self._account.reserve(size, "this clone", ADVICE)
        try:
            arrays, metadata, lsn = hosted.model.copy_state(), hosted.model.metadata(), hosted.applied_lsn
            source = self._context.shard.source

            def build() -> _New:
                """Runs on the worker."""
                return _New(source.from_arrays(arrays, metadata), tensors.encode(arrays, metadata))

            new: _New = yield partial(self._worker.submit, build)
        finally:
            self._account.release(size)
        yield from self._created(reply_to, into, new, {"cloned_lsn": lsn}, {"cloned_lsn": lsn})

    def _created(
        self,
        reply_to: ReplyAddress,
        name: str,
        new: _New,
        facts: Mapping[str, Any],
        fields: Mapping[str, Any] | None = None,
    ) -> Flow:
        """Journal the new model, and reply when it is durable. `facts` are for the log."""
        context = self._context
        if self._stopping:
            raise ShuttingDown("the daemon is shutting down; create the model again after its restart")
        limit = context.settings.limits.models
        if len(context.shard) >= limit:
            raise BadSpec(
                f"the daemon has {limit} models, and limits.models allows no more; delete a model first"
            )
        accept = partial(context.shard.accept_copy, name, new.content, model=new.model)
        record = self._group_commit.change(accept)
        hosted = context.shard.hosted(name)
        context.model_memory.created(hosted)
        yield lambda resume: context.watermarks.when_durable(record.lsn, partial(resume, None, None))
        context.publisher.publish_change("created", record, reply_to.identity, **facts)
        lsns = {"lsn": record.lsn, "durable_lsn": context.journal.durable_lsn}
        spec = {"spec": hosted.model.spec_dict()}
        context.replies.ok(reply_to, model_fields(hosted) | spec | dict(fields or {}) | lsns)

    def _settled(self, hosted: HostedModel) -> Flow:
        """Wait until the model has learned everything that was accepted before."""
        self._group_commit.commit()
        yield self._applied(hosted, hosted.accepted_lsn)

    def _applied(self, hosted: HostedModel, lsn: int) -> Wait:
        def wait(resume: Resume) -> None:
            def applied(found: HostedModel | None) -> None:
                resume(None, deleted_while_waiting() if found is None else None)

            self._context.watermarks.when_applied(hosted, lsn, applied, between_records=True)

        return wait


def _encoded(arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> tuple[bytes, str]:
    """Return the content of a model's file and its SHA-256. Runs on the worker."""
    content = tensors.encode(arrays, metadata)
    return content, hashlib.sha256(content).hexdigest()


def _built(decoded: incoming.Incoming) -> _New:
    """Create the model. Runs on the worker."""
    model = decoded.build()
    return _New(model, tensors.encode(model.state, model.metadata()))
