"""Models and records in, outputs out. No sockets, no files, no clock: the time comes with the record."""

from streamlearn.shard.applied import Applied
from streamlearn.shard.collaborators import ModelSource, Watch
from streamlearn.shard.hosted_model import BATCH_OVERHEAD, HostedModel, Snapshot, memory_bytes
from streamlearn.shard.joining import Joiner
from streamlearn.shard.producers import ProducerState
from streamlearn.shard.set_aside import SetAside
from streamlearn.shard.shard import Duplicate, Shard

__all__ = [
    "BATCH_OVERHEAD",
    "Applied",
    "Duplicate",
    "HostedModel",
    "Joiner",
    "ModelSource",
    "ProducerState",
    "SetAside",
    "Shard",
    "Snapshot",
    "Watch",
    "memory_bytes",
]
