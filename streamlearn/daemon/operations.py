"""Every operation but `learn`, by name: what is asked, what is answered. docs/protocol.md has the fields."""

from __future__ import annotations

from typing import Any

from streamlearn.daemon.asking import Asking
from streamlearn.daemon.changing import Changing
from streamlearn.daemon.checkpointer import Checkpointer
from streamlearn.daemon.desk import Desk
from streamlearn.daemon.events import Publisher
from streamlearn.daemon.metrics import Metrics
from streamlearn.daemon.queries import Queries
from streamlearn.daemon.replies import Asker, Replies
from streamlearn.daemon.waiting import WhenLearned
from streamlearn.daemon.writer import Writer
from streamlearn.errors import UnknownOp
from streamlearn.shard import Entry, Shard
from streamlearn.store.checkpoint import CheckpointInfo
from streamlearn.store.journal import Journal
from streamlearn_client.protocol import EventMessage, Limits, Request


class Operations:
    """`run` answers a request, now or when what it waits for has come about."""

    def __init__(
        self,
        shard: Shard,
        journal: Journal,
        writer: Writer,
        checkpointer: Checkpointer,
        queries: Queries,
        replies: Replies,
        publisher: Publisher,
        metrics: Metrics,
        limits: Limits,
        endpoints: dict[str, str],
        version: str,
        most_models: int,
    ) -> None:
        self._checkpointer = checkpointer
        self._publisher = publisher
        self._when_learned = WhenLearned()
        waiting = self._when_learned
        desk = Desk(
            shard, journal, writer, checkpointer, waiting, queries, replies, publisher, metrics, limits
        )
        self._changing = Changing(desk, most_models)
        self._ops = Asking(desk, version, endpoints).ops | self._changing.ops

    def run(self, asker: Asker, request: Request) -> None:
        """Raises what refuses the request."""
        do = self._ops.get(request.op)
        if do is None:
            raise UnknownOp(f"there is no op {request.op!r} here; there are: {', '.join(self._ops)}, learn")
        do(asker, request)

    def create(self, name: str, kind: str, spec: dict[str, Any]) -> None:
        """Create a model that the configuration declares. Raises what refuses it."""
        self._changing.create(name, kind, spec)

    def between_slices(self, entry: Entry) -> None:
        """A slice of the model has ended."""
        self._when_learned.between_slices(entry)
        self._checkpointer.between_slices(entry)

    def wrote_checkpoint(self, info: CheckpointInfo) -> None:
        """A checkpoint is there."""
        self._publisher.publish(EventMessage("checkpoint", info.model, info.lsn, time=info.time))
