"""The parts of a daemon, put together."""

from __future__ import annotations

import time

from streamlearn.daemon.checkpointer import Checkpointer
from streamlearn.daemon.config import Settings
from streamlearn.daemon.events import Publisher
from streamlearn.daemon.loop import UNASKED, Loop
from streamlearn.daemon.metrics import Metrics
from streamlearn.daemon.operations import Operations
from streamlearn.daemon.queries import Queries
from streamlearn.daemon.replies import Replies
from streamlearn.daemon.sockets import Sockets
from streamlearn.daemon.wakeup import Helper, Wakeup
from streamlearn.daemon.writer import Writer
from streamlearn.errors import FatalError, JournalFailed
from streamlearn.recovery import Recovered
from streamlearn.store.checkpoint import CheckpointInfo, CheckpointStore
from streamlearn.store.flusher import Flusher
from streamlearn.store.journal import Journal
from streamlearn_client.protocol import Limits


class Daemon:
    """A recovered shard with sockets around it. `loop.run` serves; `close` ends the threads afterwards."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        checkpoints: CheckpointStore,
        recovered: Recovered,
        sockets: Sockets,
        version: str,
    ) -> None:
        shard = recovered.shard
        limits = Limits(frame_bytes=settings.limits.frame_bytes, rows=settings.limits.rows)
        metrics = Metrics()
        self._wakeup = Wakeup()
        self._helper = Helper(self._wakeup, "helper")
        self._flusher = Flusher(journal, self._durable, self._failed)
        replies = Replies(sockets.requests, metrics)
        publisher = Publisher(sockets.events)
        writer = Writer(shard, journal, self._flusher, replies, metrics, settings.learning)
        checkpointer = Checkpointer(
            shard,
            journal,
            checkpoints,
            self._helper,
            settings.checkpoints,
            metrics,
            recovered.kept,
            self._wrote,
            time.monotonic(),
        )
        longest = int(UNASKED * settings.learning.slice_milliseconds * 1e6)  # no longer than any slice
        self._queries = Queries(Helper(self._wakeup, "queries"), replies, metrics, longest)
        self.operations = Operations(
            shard,
            journal,
            writer,
            checkpointer,
            self._queries,
            replies,
            publisher,
            metrics,
            limits,
            sockets.endpoints(),
            version,
            settings.limits.models,
        )
        self.loop = Loop(
            shard,
            sockets,
            self._wakeup,
            self._helper,
            writer,
            checkpointer,
            self._queries,
            self.operations,
            replies,
            publisher,
            metrics,
            limits,
            settings.learning,
        )
        self._flusher.start()

    def close(self) -> None:
        """End the threads, once they have done what they must."""
        self._queries.close()
        self._helper.stop()
        self._flusher.stop()
        self._wakeup.close()

    def _wrote(self, info: CheckpointInfo) -> None:
        self.operations.wrote_checkpoint(info)

    def _durable(self, lsn: int) -> None:
        """On the flusher's thread."""
        self._wakeup.ring()

    def _failed(self, error: Exception) -> None:
        """On the flusher's thread."""
        self.loop.fail(
            error if isinstance(error, FatalError) else JournalFailed(f"syncing the journal failed: {error}")
        )
