"""Construction of a daemon from its parts."""

from __future__ import annotations

from streamlearn.daemon.config import Settings
from streamlearn.daemon.context import Context
from streamlearn.daemon.durability.checkpointer import Checkpointer
from streamlearn.daemon.durability.group_commit import GroupCommit
from streamlearn.daemon.durability.watermarks import Watermarks
from streamlearn.daemon.kernels import KernelLoader
from streamlearn.daemon.limits.budget import Budget, frame_bytes, memory_bytes
from streamlearn.daemon.limits.model_memory import ModelMemory
from streamlearn.daemon.loop import Loop
from streamlearn.daemon.metrics import Metrics
from streamlearn.daemon.network.publisher import Publisher
from streamlearn.daemon.network.replies import Replies
from streamlearn.daemon.network.sockets import Sockets
from streamlearn.daemon.network.subscriptions import Subscriptions
from streamlearn.daemon.operations.backups import Backups
from streamlearn.daemon.operations.copies import Copies
from streamlearn.daemon.operations.queries import Queries
from streamlearn.daemon.operations.read_operations import ReadOperations
from streamlearn.daemon.operations.restores import Restores
from streamlearn.daemon.operations.write_operations import WriteOperations
from streamlearn.daemon.runtime import Runtime
from streamlearn.daemon.silence import Silence, Silences
from streamlearn.daemon.worker import Worker
from streamlearn.errors import FatalError, JournalFailed
from streamlearn.recovery import Recovered
from streamlearn.store.checkpoint import CheckpointStore
from streamlearn.store.flusher import Flusher
from streamlearn.store.journal import Journal
from streamlearn_client.protocol import Limits
from streamlearn_client.protocol.messages import WIDE_WINDOW


class Daemon:
    """A recovered shard behind its sockets. `loop.run` serves; `close` ends the threads afterwards."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        checkpoints: CheckpointStore,
        recovered: Recovered,
        sockets: Sockets,
        version: str,
        runtime: Runtime | None = None,
        budget: Budget | None = None,
    ) -> None:
        runtime = runtime or Runtime()
        metrics, self_pipe = Metrics(), runtime.self_pipe()
        budget = budget or Budget(memory_bytes(settings))
        self.context = context = Context(
            settings=settings,
            version=version,
            limits=Limits(
                frame_bytes=frame_bytes(settings), rows=settings.limits.rows, wide_window=WIDE_WINDOW
            ),
            budget=budget,
            model_memory=ModelMemory(budget, recovered.shard),
            shard=recovered.shard,
            journal=journal,
            flusher=Flusher(
                journal,
                lambda _: self_pipe.wake(),
                self._sync_failed,
                thread=runtime.thread,
                event=runtime.event,
            ),
            checkpoints=checkpoints,
            manifest=recovered.manifest,
            sockets=sockets,
            self_pipe=self_pipe,
            file_worker=Worker(self_pipe, "files", runtime),
            query_worker=Worker(self_pipe, "queries", runtime),
            watermarks=Watermarks(journal.durable_lsn),
            replies=Replies(sockets.requests, metrics, budget.replies, settings.limits.unread_bytes),
            publisher=Publisher(
                sockets.events,
                Subscriptions(
                    sockets.events,
                    sockets.access,
                    budget.subscriptions,
                    settings.limits.subscriptions,
                ),
            ),
            metrics=metrics,
            silences=Silences(self._report_silence),
            runtime=runtime,
        )
        group_commit = GroupCommit(context, recovered.last_arrival)
        self._checkpointer = checkpointer = Checkpointer(context, recovered.checkpoints, runtime.steady())
        inline_ns = int(settings.learning.slice_milliseconds * 1e6 / 2)
        self._queries = Queries(context, inline_ns)
        read_operations = ReadOperations(context, group_commit, checkpointer, self._queries)
        self._backups = Backups(context, group_commit, checkpointer)
        self._restores = Restores(context, group_commit, checkpointer)
        self._copies = Copies(context, group_commit)
        self.write_operations = WriteOperations(
            context, group_commit, checkpointer, self._restores, self._backups, self._copies
        )
        self.kernels = KernelLoader(context)
        handlers = read_operations.handlers | self.write_operations.handlers
        self.loop = Loop(
            context,
            group_commit,
            checkpointer,
            self._queries,
            self.kernels,
            [self._restores, self._backups, self._copies],
            handlers,
        )
        context.flusher.start()

    def unsaved_models(self) -> list[str]:
        """Return the names of the models whose last changes are in no checkpoint."""
        return self._checkpointer.unsaved()

    def close(self) -> None:
        """End the threads after their last jobs."""
        self.kernels.close()
        self._queries.close()
        self._backups.close()
        self._restores.close()
        self._copies.close()
        self.context.file_worker.stop()
        self.context.flusher.stop()
        self.context.self_pipe.close()

    def _report_silence(self, silence: Silence) -> None:
        """Publish that a stream became silent, or is no longer."""
        context = self.context
        hosted = context.shard.get(silence.model)
        if hosted is not None:
            context.publisher.publish_silence(silence, hosted, context.runtime.wall_ns())

    def _sync_failed(self, error: Exception) -> None:
        """Runs on the flusher's thread."""
        self.loop.fail(
            error if isinstance(error, FatalError) else JournalFailed(f"syncing the journal failed: {error}")
        )
