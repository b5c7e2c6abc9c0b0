"""Models and records in, outputs out. No sockets, no files, no clock: time comes in with the record."""

from streamlearn.shard.delivery import Delivery
from streamlearn.shard.entry import RECORD_OVERHEAD, Applied, Entry, ModelSource, Snapshot
from streamlearn.shard.shard import Duplicate, Shard

__all__ = ["RECORD_OVERHEAD", "Applied", "Delivery", "Duplicate", "Entry", "ModelSource", "Shard", "Snapshot"]
