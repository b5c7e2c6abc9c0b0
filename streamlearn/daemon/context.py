"""The collaborators of one daemon, in one frozen object."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamlearn.daemon.config import Settings
from streamlearn.daemon.durability.watermarks import Watermarks
from streamlearn.daemon.limits.budget import Budget
from streamlearn.daemon.limits.model_memory import ModelMemory
from streamlearn.daemon.metrics import Metrics
from streamlearn.daemon.network.publisher import Publisher
from streamlearn.daemon.network.replies import Replies
from streamlearn.daemon.network.sockets import Sockets
from streamlearn.daemon.runtime import Runtime
from streamlearn.daemon.self_pipe import SelfPipe
from streamlearn.daemon.silence import Silences
from streamlearn.daemon.worker import Worker
from streamlearn.shard import Shard
from streamlearn.store.checkpoint import CheckpointStore
from streamlearn.store.flusher import Flusher
from streamlearn.store.journal import Journal
from streamlearn.store.manifest import ManifestFile
from streamlearn_client.protocol import Limits


@dataclass(frozen=True, slots=True)
class Context:
    """`daemon.py` builds one and passes it whole to every part of the daemon."""

    settings: Settings
    version: str
    limits: Limits
    budget: Budget  # memory
    model_memory: ModelMemory
    shard: Shard
    journal: Journal
    flusher: Flusher  # syncs the journal on its own thread
    checkpoints: CheckpointStore
    manifest: ManifestFile | None
    sockets: Sockets
    self_pipe: SelfPipe  # wakes the loop
    file_worker: Worker  # writes, reads and removes checkpoints, and retires journal segments
    query_worker: Worker  # answers long queries
    watermarks: Watermarks
    replies: Replies
    publisher: Publisher
    metrics: Metrics
    silences: Silences
    runtime: Runtime = field(default_factory=Runtime)
