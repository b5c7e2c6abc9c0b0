"""What the daemon's operations work with, and what several of them tell."""

from __future__ import annotations

from typing import Any, NamedTuple

from streamlearn.daemon.checkpointer import Checkpointer
from streamlearn.daemon.events import Publisher
from streamlearn.daemon.metrics import Metrics
from streamlearn.daemon.queries import Queries
from streamlearn.daemon.replies import Replies
from streamlearn.daemon.waiting import WhenLearned
from streamlearn.daemon.writer import Writer
from streamlearn.errors import UnknownModel
from streamlearn.shard import Entry, Shard
from streamlearn.store.checkpoint import CheckpointInfo
from streamlearn.store.journal import Journal
from streamlearn.store.record import Record
from streamlearn_client.protocol import EventMessage, Limits


class Desk(NamedTuple):
    """The parts of a daemon that operations use."""

    shard: Shard
    journal: Journal
    writer: Writer
    checkpointer: Checkpointer
    when_learned: WhenLearned
    queries: Queries
    replies: Replies
    publisher: Publisher
    metrics: Metrics
    limits: Limits

    def tell(self, kind: str, record: Record) -> None:
        """Publish that a record has taken effect for good."""
        self.publisher.publish(EventMessage(kind, record.model, record.lsn, time=record.time))


def summary(entry: Entry) -> dict[str, Any]:
    """A model in a few words, as ``models`` lists it."""
    return {
        "name": entry.name,
        "kind": entry.model.kind,
        "dim": entry.model.dim,
        "samples": entry.model.samples,
        "applied_lsn": entry.applied_lsn,
        "create_lsn": entry.create_lsn,
    }


def told(info: CheckpointInfo) -> dict[str, Any]:
    """A checkpoint, as ``checkpoints`` lists it."""
    return {"lsn": info.lsn, "bytes": info.bytes, "time": info.time}


def deleted_meanwhile() -> UnknownModel:
    return UnknownModel("the model was deleted while this request waited")
