"""Backups of the running daemon's data directory, one at a time.

The file worker, which alone removes files, lists what the copy contains. A worker of its own copies. Until it
has ended, no checkpoint and no segment of the journal is removed. The loop only waits.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from streamlearn import logs
from streamlearn.daemon.context import Context
from streamlearn.daemon.durability.checkpointer import Checkpointer
from streamlearn.daemon.durability.group_commit import GroupCommit
from streamlearn.daemon.flow import Flow, run
from streamlearn.daemon.network.replies import ReplyAddress
from streamlearn.daemon.network.sockets import is_local
from streamlearn.daemon.worker import Worker
from streamlearn.errors import BadValue, Busy, Forbidden, ShuttingDown
from streamlearn.store.backup import BackupPlan, BackupSummary, check_destination, plan_backup, write_backup

log = logs.get_logger(__name__)


class Backups:
    """Makes backups. All methods are called on the loop's thread."""

    def __init__(self, context: Context, group_commit: GroupCommit, checkpointer: Checkpointer) -> None:
        self._context = context
        self._group_commit = group_commit
        self._checkpointer = checkpointer
        self._worker = Worker(context.self_pipe, "backup", context.runtime)
        self._running = False
        self._stopping = False

    @property
    def idle(self) -> bool:
        """Whether no backup is being made."""
        return not self._running

    def collect(self) -> None:
        """Continue with the results of the worker."""
        self._worker.collect()

    def shut_down(self) -> None:
        """Give up a backup that is being made; nothing of it is left."""
        self._stopping = True

    def close(self) -> None:
        """End the thread."""
        self._stopping = True
        self._worker.stop()

    def request(self, reply_to: ReplyAddress, destination: str) -> None:
        """Copy the data directory to `destination`; then reply.

        The copy contains at least everything that was accepted before this request.

        Raises
        ------
        Busy
            If a backup is being made.
        Forbidden
            If the daemon serves other hosts, and no setting says where backups may be written.
        """
        settings = self._context.settings
        if not settings.backup.directory and not is_local(settings.endpoints.requests):
            raise Forbidden(
                "the daemon serves other hosts, so it writes no backups unless the setting backup.directory "
                "says where; set it in the daemon's settings",
                directory=None,
            )
        if self._running:
            raise Busy("another backup is being made; send this request again later", limit="backups")
        self._running = True

        def finished(error: Exception | None) -> None:
            self._running = False
            if error is not None:
                if not isinstance(error, BadValue):  # a wrong path is the caller's mistake
                    log.warning("a backup failed: %s", error)
                self._context.replies.exception(reply_to, error)

        run(self._backup(reply_to, destination), finished)

    def _backup(self, reply_to: ReplyAddress, destination: str) -> Flow:
        context, began = self._context, self._context.runtime.steady()
        fs, settings = context.checkpoints.fs, context.settings
        within = Path(settings.backup.directory) if settings.backup.directory else None
        data_dir = settings.data_dir
        path: Path = yield partial(
            context.file_worker.submit, partial(check_destination, fs, destination, data_dir, within)
        )
        self._group_commit.commit()
        context.flusher.request()
        lsn = context.journal.written_lsn
        yield lambda resume: context.watermarks.when_durable(lsn, partial(resume, None, None))
        models = len(context.shard)
        yield self._checkpointer.hold
        try:
            plan: BackupPlan = yield partial(
                context.file_worker.submit,
                partial(plan_backup, fs, data_dir, context.journal, context.checkpoints),
            )
            summary: BackupSummary = yield partial(
                self._worker.submit, partial(write_backup, fs, plan, path, self._check_stopping)
            )
        finally:
            self._checkpointer.release()
        log.info("wrote a backup", directory=str(path), lsn=summary.lsn, **reply_to.identity.to_log())
        context.replies.ok(
            reply_to,
            {
                "directory": str(path),
                "lsn": summary.lsn,
                "models": models,
                "segments": summary.segments,
                "checkpoints": summary.checkpoints,
                "damaged": summary.damaged,
                "bytes": summary.bytes,
                "seconds": context.runtime.steady() - began,
            },
        )

    def _check_stopping(self) -> None:
        """Runs on the worker."""
        if self._stopping:
            raise ShuttingDown("the daemon is shutting down; nothing of the backup is kept")
