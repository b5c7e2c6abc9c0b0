"""When checkpoints are taken, and when they and the journal's segments are removed.

All methods run on the loop's thread. A checkpoint is a copy made between two slices. It waits until the
journal is durable up to its lsn, since it must never be ahead of the journal; then the file worker writes it.
Once a model has two checkpoints, the journal before the older one is no longer needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from streamlearn.daemon import logs
from streamlearn.daemon.context import Context
from streamlearn.daemon.limits.model_memory import WRITE_COPIES, state_bytes
from streamlearn.errors import (
    Busy,
    CheckpointExists,
    DiskFull,
    Internal,
    StreamlearnError,
    TooLarge,
    UnknownModel,
)
from streamlearn.recovery import first_needed_lsn, manifest_of
from streamlearn.replay import ModelKey
from streamlearn.shard import HostedModel, Snapshot
from streamlearn.store.checkpoint import CheckpointInfo, check_unused
from streamlearn_client.protocol import EventMessage

log = logs.get_logger(__name__)

Taken = Callable[[CheckpointInfo | None, StreamlearnError | None], None]


@dataclass(slots=True, eq=False)
class _Pending:
    """A copy that waits for the journal. `name` pins it; "" does not."""

    snapshot: Snapshot
    requests: list[Taken]  # to answer when it is written
    name: str
    bytes: int  # of the copy

    def done(self, info: CheckpointInfo | None, error: StreamlearnError | None) -> None:
        """Answer all requests."""
        for request in self.requests:
            request(info, error)


@dataclass(slots=True, eq=False)
class _History:
    """The checkpoints of one model, newest first.

    `time` (s) and `learned` (rows) belong to the last checkpoint taken. Before the first one, `time` is when
    this process got the model.
    """

    checkpoints: list[CheckpointInfo]
    time: float
    learned: int = 0
    unwritten: int = 0  # checkpoints taken and not yet written, those in `undurable` included
    undurable: list[_Pending] = field(default_factory=list)
    newest: _Pending | None = None  # the last one taken, while it is unwritten
    requests: list[Taken] = field(default_factory=list)  # they wait for the next checkpoint


class Checkpointer:
    """Takes checkpoints by time, by samples, and on request.

    Parameters
    ----------
    context
        The daemon's collaborators.
    checkpoints
        The checkpoints that recovery found, newest first.
    now
        Seconds of a steady clock; `tick` takes the same clock.
    """

    def __init__(
        self, context: Context, checkpoints: Mapping[ModelKey, list[CheckpointInfo]], now: float
    ) -> None:
        self._context = context
        self._now = now
        self._histories = {key: _History(infos, now) for key, infos in checkpoints.items()}
        self._due: dict[HostedModel, None] = {}  # at the end of their current record, in this order
        self._removing: dict[ModelKey, int] = {}  # deleted models with remaining files → first needed lsn
        self._unremoved: dict[ModelKey, int] = {}  # those whose files could not be removed
        self._retired = 0
        self._holds = 0
        self._after_hold: list[Callable[[], None]] = []

    def checkpoints_of(self, hosted: HostedModel) -> list[CheckpointInfo]:
        """The checkpoints of a model, newest first. The worker may have removed the oldest meanwhile."""
        return self._history(hosted).checkpoints

    @property
    def idle(self) -> bool:
        """Whether no checkpoint is being taken, written or removed."""
        undurable = any(history.undurable for history in self._histories.values())
        return not (undurable or self._due or self._removing or self._context.file_worker.busy)

    def tick(self, now: float) -> None:
        """Take the checkpoints that are due by time or by samples."""
        self._now = now
        for hosted in self._context.shard:
            history = self._history(hosted)
            if hosted.set_aside is None and not history.unwritten and self._is_due(hosted, history):
                self._due[hosted] = None
        for hosted in list(self._due):
            self.between_slices(hosted)

    def between_slices(self, hosted: HostedModel) -> None:
        """A slice of the model has ended: take a due checkpoint if a record has ended too."""
        if hosted not in self._due or not hosted.between_records:
            return
        history = self._history(hosted)
        if history.requests and history.newest is not None:
            return
        if self._lack_of_memory(hosted) is not None:
            return  # it stays due
        self._take(hosted, _ignore)

    def take(self, hosted: HostedModel, done: Taken, name: str = "") -> None:
        """Take a checkpoint now, and call `done` when it is written.

        The model must be between two records. Without a `name`, a checkpoint of the same lsn is used if there
        is one. A `name` pins the checkpoint; `done` gets `CheckpointExists` if the model has it already.
        """
        history = self._history(hosted)
        newest = history.checkpoints[0] if history.checkpoints else None
        if not name and not history.unwritten and newest is not None and newest.lsn == hosted.applied_lsn:
            done(newest, None)
            return
        try:
            check_unused(name, history.checkpoints)
        except CheckpointExists as error:
            done(None, error)
            return
        if not name and history.newest is not None:
            self._join(hosted, history, history.newest, done)
            return
        lack = self._lack_of_memory(hosted)
        if lack is not None:
            done(None, lack)
            return
        self._take(hosted, done, name)

    def _join(self, hosted: HostedModel, history: _History, newest: _Pending, done: Taken) -> None:
        """Answer a request with the checkpoint that is being written, or with the next one."""
        if newest.snapshot.lsn == hosted.applied_lsn:
            newest.requests.append(done)
        else:
            history.requests.append(done)
            self._due[hosted] = None

    def _lack_of_memory(self, hosted: HostedModel) -> Busy | None:
        """Why a copy of the model may not be made now; `None` if it may."""
        account, size = self._context.budget.checkpoints, state_bytes(hosted.model)
        try:
            account.check(WRITE_COPIES * size, "this checkpoint", "wait for the ones that are being written")
        except (Busy, TooLarge) as error:
            # One checkpoint at a time is always possible, even of a model that is too large to be created.
            return Busy(error.message, **error.detail) if account.used else None
        return None

    def unpin(self, hosted: HostedModel, name: str, done: Taken) -> None:
        """Take the name of a checkpoint away, so that it is removed in its turn, perhaps at once.

        `done` gets the checkpoint without its name, or `NoCheckpoint`. Raises `Busy` during a backup.
        """
        if self._holds:
            raise Busy(
                "a backup is being made, or a state is being computed for restore; unpin later",
                limit="backups",
            )
        history, store = self._history(hosted), self._context.checkpoints

        def unpin() -> tuple[CheckpointInfo, list[CheckpointInfo]]:
            info = store.unpin(hosted.name, hosted.create_lsn, name)
            return info, store.list(hosted.name, hosted.create_lsn)

        def unpinned(
            result: tuple[CheckpointInfo, list[CheckpointInfo]] | None, problem: Exception | None
        ) -> None:
            if result is None:
                done(None, _typed(problem, "the checkpoint could not be unpinned"))
            else:
                info, history.checkpoints = result
                done(info, None)

        self._context.file_worker.submit(unpin, unpinned)

    def hold(self, done: Callable[[Any, Exception | None], None]) -> None:
        """Remove no file until `release`: neither checkpoints nor segments of the journal. Calls nest.

        `done` is called when everything is removed that was to be removed before.
        """
        self._holds += 1
        self._context.file_worker.submit(lambda: None, done)

    def release(self) -> None:
        """End one `hold`, and remove what was held back."""
        self._holds -= 1
        if not self._holds:
            held, self._after_hold = self._after_hold, []
            for run in held:
                run()
            self._retired = 0
            self._retire_journal()

    def take_all(self) -> None:
        """Take a checkpoint of every model that changed since its last one: the daemon is shutting down."""
        for hosted in self._unsaved():
            self._due[hosted] = None
            self.between_slices(hosted)

    def unsaved(self) -> list[str]:
        """Return the names of the models that changed since their last checkpoint."""
        return [hosted.name for hosted in self._unsaved()]

    def _unsaved(self) -> list[HostedModel]:
        return [
            hosted
            for hosted in self._context.shard
            if hosted.set_aside is None
            and max((info.lsn for info in self._history(hosted).checkpoints), default=0) != hosted.applied_lsn
        ]

    def forget(self, hosted: HostedModel) -> None:
        """A model was deleted. `remove` removes its files once the deletion is durable."""
        self._due.pop(hosted, None)
        history = self._history(hosted)
        needed = first_needed_lsn(hosted, history.checkpoints)
        key = (hosted.name, hosted.create_lsn)
        self._removing[key] = hosted.create_lsn if needed is None else needed
        self._histories.pop(key)
        undurable, history.undurable = history.undurable, []
        requests, history.requests = history.requests, []
        for pending in undurable:
            self._context.budget.checkpoints.release(pending.bytes)
        gone = UnknownModel(
            f"model {hosted.name!r} was deleted before its checkpoint was written", model=hosted.name
        )
        for done in [*(pending.done for pending in undurable), *requests]:
            done(None, gone)

    def remove(self, hosted: HostedModel) -> None:
        """The deletion of a model is durable: remove its checkpoints."""
        if self._holds:
            self._after_hold.append(partial(self.remove, hosted))
            return

        def removed(_: None, error: Exception | None) -> None:
            key = (hosted.name, hosted.create_lsn)
            needed = self._removing.pop(key)
            if error is not None:
                # The journal keeps the deletion: without it, the next start would find the model again.
                self._unremoved[key] = needed
                log.warning("can't remove the checkpoints of the deleted model %s: %s", hosted.name, error)
            self._retire_journal()

        remove_files = partial(self._context.checkpoints.drop, hosted.name, hosted.create_lsn)
        self._context.file_worker.submit(remove_files, removed)

    def _history(self, hosted: HostedModel) -> _History:
        key = (hosted.name, hosted.create_lsn)
        found = self._histories.get(key)
        if found is None:
            found = self._histories[key] = _History([], self._now)
        return found

    def _is_due(self, hosted: HostedModel, history: _History) -> bool:
        settings, infos = self._context.settings.checkpoints, history.checkpoints
        # Time counts from the start of this process. Replayed samples count as learned, so that a daemon
        # that is killed repeatedly does not replay more each time.
        due_by_time = self._now - history.time >= settings.seconds
        if not infos or hosted.applied_lsn > infos[0].lsn:
            return due_by_time or hosted.learned - history.learned >= settings.samples
        # A second copy of an idle model's checkpoint, so that the model does not hold the journal.
        return (
            due_by_time and self._context.journal.segments > 1 and first_needed_lsn(hosted, infos) is not None
        )

    def _take(self, hosted: HostedModel, done: Taken, name: str = "") -> None:
        history = self._history(hosted)
        history.unwritten += 1
        history.time, history.learned = self._now, hosted.learned
        self._due.pop(hosted, None)
        requests, history.requests = [done, *history.requests], []
        pending = _Pending(hosted.snapshot(), requests, name, state_bytes(hosted.model))
        history.newest = pending
        self._context.budget.checkpoints.add(pending.bytes)
        history.undurable.append(pending)
        self._context.watermarks.when_durable(pending.snapshot.lsn, partial(self._submit, history, pending))

    def _submit(self, history: _History, pending: _Pending) -> None:
        """The journal is durable up to the checkpoint: write it, unless the model was deleted."""
        if pending not in history.undurable:
            return
        history.undurable.remove(pending)
        self._context.file_worker.submit(
            partial(self._write, pending.snapshot, pending.name, not self._holds),
            partial(self._written, history, pending),
        )

    def _write(
        self, snapshot: Snapshot, name: str, retire: bool
    ) -> tuple[CheckpointInfo, list[CheckpointInfo]]:
        """Runs on the file worker."""
        info = self._context.checkpoints.write(*snapshot, name, retire=retire)
        return info, self._context.checkpoints.list(snapshot.model, snapshot.create_lsn)

    def _written(
        self,
        history: _History,
        pending: _Pending,
        result: tuple[CheckpointInfo, list[CheckpointInfo]] | None,
        problem: Exception | None,
    ) -> None:
        history.unwritten -= 1
        if history.newest is pending:
            history.newest = None
        self._context.budget.checkpoints.release(pending.bytes)
        if result is None:
            snapshot = pending.snapshot
            log.warning("the checkpoint of %s at record %d failed: %s", snapshot.model, snapshot.lsn, problem)
            self._context.metrics.checkpoint_failures += 1
            if isinstance(problem, DiskFull):
                self._context.journal.remove_spares()  # the next attempt may need their space
            pending.done(None, _typed(problem, "the checkpoint could not be written"))
            return
        info, history.checkpoints = result
        self._context.metrics.checkpoints += 1
        self._context.publisher.publish(EventMessage("checkpoint", info.model, info.lsn, time=info.time))
        pending.done(info, None)
        self._retire_journal()

    def _retire_journal(self) -> None:
        """Remove the journal's segments that no model needs."""
        if self._holds:
            return
        journal = self._context.journal
        needed = [
            first_needed_lsn(hosted, self._history(hosted).checkpoints) for hosted in self._context.shard
        ]
        needed += [*self._removing.values(), *self._unremoved.values()]
        before = min((lsn for lsn in needed if lsn is not None), default=journal.durable_lsn + 1)
        # It may be lower than before: an idle model needs no record, and its next record has a later lsn. The
        # manifest must not ask for segments that an earlier process removed meanwhile.
        if before > max(self._retired, journal.first_lsn) and journal.segments > 1:
            self._retired = before
            checkpoints = {key: history.checkpoints for key, history in self._histories.items()}
            manifest = manifest_of(journal.id, before, self._context.shard, checkpoints)

            def retire() -> int:
                """Runs on the file worker. The manifest first: see `store/manifest.py`."""
                if self._context.manifest is not None:
                    self._context.manifest.write(manifest)
                return journal.retire(before)

            def retired(_: int | None, error: Exception | None) -> None:
                if error is not None:
                    log.warning("can't remove old segments of the journal: %s", error)

            self._context.file_worker.submit(retire, retired)


def _ignore(info: CheckpointInfo | None, error: StreamlearnError | None) -> None:
    """No client waits for a checkpoint that was due."""


def _typed(problem: Exception | None, what: str) -> StreamlearnError:
    return problem if isinstance(problem, StreamlearnError) else Internal(f"{what}: {problem}")
