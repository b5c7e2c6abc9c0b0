"""When checkpoints are taken, and when they and the journal's segments are removed.

All methods run on the loop's thread. A checkpoint is a copy made between two slices. It waits until the
journal is durable up to its lsn, since it must never be ahead of the journal; then the file worker writes it.
While the worker writes some, the next ones collect, so that many small ones share the syncs of the disk. Of
the checkpoints that are due, only so many are copied at once as the worker writes at once. Once a model has
two checkpoints, the journal before the older one is no longer needed.

No method looks at all models, except at the start, and when a segment of the journal was filled or removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any

from streamlearn import logs
from streamlearn.daemon.context import Context
from streamlearn.daemon.durability.checkpoint_writer import CheckpointWriter, Pending, Taken, typed
from streamlearn.daemon.durability.journal_needs import JournalNeeds
from streamlearn.daemon.limits.model_memory import WRITE_COPIES, state_bytes
from streamlearn.errors import (
    Busy,
    CheckpointExists,
    DiskFull,
    StreamlearnError,
    TooLarge,
    UnknownModel,
)
from streamlearn.recovery import first_needed_lsn, manifest_of
from streamlearn.replay import ModelKey
from streamlearn.shard import HostedModel
from streamlearn.store.checkpoint import CheckpointInfo, Written, check_unused
from streamlearn_client.protocol import EventMessage

log = logs.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _History:
    """The checkpoints of one model, newest first.

    `time` (s) belongs to the last checkpoint taken. Before the first one, it is when this process got the
    model.
    """

    checkpoints: Sequence[CheckpointInfo]
    time: float
    samples_due: int  # learned samples at which the next one is due
    scheduled: bool = False  # whether `Checkpointer._schedule` has an entry
    overdue: bool = False  # so much time has passed that the next one is due as soon as anything is new
    unwritten: int = 0  # checkpoints taken and not yet written
    newest: Pending | None = None  # the last one taken, while it is unwritten
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
        self._samples = context.settings.checkpoints.samples
        self._seconds = context.settings.checkpoints.seconds
        self._histories: dict[HostedModel, _History] = {}
        self._needs = JournalNeeds(self._first_needed)
        self._schedule: list[tuple[float, int, HostedModel]] = []  # heap of times (s), one entry per model
        self._sequence = count()
        self._segments = 0  # of the journal, at the last tick
        self._due: dict[HostedModel, None] = {}  # at the end of their current record, in this order
        self._writer = CheckpointWriter(context, self._finish, self._finished)
        self._removing: dict[HostedModel, int] = {}  # deleted models with remaining files → first needed lsn
        self._unremoved: dict[HostedModel, int] = {}  # those whose files could not be removed
        self._retired = 0
        self._after_hold: list[Callable[[], None]] = []
        for hosted in context.shard:
            history = self._add(hosted, checkpoints.get((hosted.name, hosted.create_lsn), []))
            if self._is_due(hosted, history):
                self._due[hosted] = None

    def checkpoints_of(self, hosted: HostedModel) -> Sequence[CheckpointInfo]:
        """The checkpoints of a model, newest first. The worker may have removed the oldest meanwhile."""
        return self._history(hosted).checkpoints

    @property
    def idle(self) -> bool:
        """Whether no checkpoint is being taken, written or removed."""
        return not (self._writer.copies or self._due or self._removing or self._context.file_worker.busy)

    @property
    def remaining(self) -> int:
        """Checkpoints that are due or taken, and not yet written."""
        return len(self._due) + self._writer.copies

    def tick(self, now: float) -> None:
        """Take the checkpoints that are due by time or by samples."""
        self._now = now
        self._notice_new_models()
        while self._schedule and self._schedule[0][0] <= now:
            _, _, hosted = heappop(self._schedule)
            history = self._histories.get(hosted)
            if history is None:
                continue  # deleted
            history.scheduled = False
            if history.time + self._seconds > now:
                self._plan(hosted, history)
            else:
                history.overdue = True
                self._consider(hosted, history)
        segments, self._segments = self._segments, self._context.journal.segments
        if self._segments > 1 >= segments:  # now idle models need a second checkpoint
            for hosted, history in self._histories.items():
                if history.overdue:
                    self._consider(hosted, history)
        self._take_due()

    def between_slices(self, hosted: HostedModel) -> None:
        """A slice of the model has ended: take a due checkpoint if a record has ended too."""
        history = self._history(hosted)
        if hosted not in self._due:
            if not history.overdue and hosted.learned < history.samples_due:
                return
            self._consider(hosted, history)
        self._take_if_due(hosted)

    def _consider(self, hosted: HostedModel, history: _History) -> None:
        if hosted.set_aside is None and not history.unwritten and self._is_due(hosted, history):
            self._due[hosted] = None

    def _take_due(self) -> None:
        """Take due checkpoints, as many as the worker writes at once."""
        for hosted in list(self._due):
            if self._writer.full:
                return
            self._take_if_due(hosted)

    def _take_if_due(self, hosted: HostedModel) -> None:
        if hosted not in self._due or not hosted.between_records:
            return
        history = self._history(hosted)
        if history.requests and history.newest is not None:
            return
        if not history.requests and self._writer.full:
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

    def _join(self, hosted: HostedModel, history: _History, newest: Pending, done: Taken) -> None:
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
        if self._writer.holds:
            raise Busy(
                "a backup is being made, or a state is being computed for restore; unpin later",
                limit="backups",
            )
        history, store = self._history(hosted), self._context.checkpoints

        def unpin() -> tuple[CheckpointInfo, Sequence[CheckpointInfo]]:
            info = store.unpin(hosted.name, hosted.create_lsn, name)
            return info, store.list(hosted.name, hosted.create_lsn)

        def unpinned(
            result: tuple[CheckpointInfo, Sequence[CheckpointInfo]] | None, problem: Exception | None
        ) -> None:
            if result is None:
                done(None, typed(problem, "the checkpoint could not be unpinned"))
            else:
                info, infos = result
                self._set_checkpoints(hosted, history, infos)
                done(info, None)

        self._context.file_worker.submit(unpin, unpinned)

    def hold(self, done: Callable[[Any, Exception | None], None]) -> None:
        """Remove no file until `release`: neither checkpoints nor segments of the journal. Calls nest.

        `done` is called when everything is removed that was to be removed before.
        """
        self._writer.holds += 1
        self._context.file_worker.submit(lambda: None, done)

    def release(self) -> None:
        """End one `hold`, and remove what was held back."""
        self._writer.holds -= 1
        if not self._writer.holds:
            held, self._after_hold = self._after_hold, []
            for run in held:
                run()
            self._retired = 0
            self._retire_journal()

    def take_all(self) -> None:
        """Take a checkpoint of every model that changed since its last one: the daemon is shutting down."""
        self._due.update(dict.fromkeys(self._unsaved()))
        self._take_due()

    def unsaved(self) -> list[str]:
        """Return the names of the models that changed since their last checkpoint."""
        return [hosted.name for hosted in self._unsaved()]

    def _unsaved(self) -> list[HostedModel]:
        return [
            hosted
            for hosted in self._context.shard
            if hosted.set_aside is None and self._is_new(hosted, self._history(hosted))
        ]

    def forget(self, hosted: HostedModel) -> None:
        """A model was deleted. `remove` removes its files once the deletion is durable."""
        self._due.pop(hosted, None)
        history = self._histories.pop(hosted, None) or self._new_history([])
        needed = first_needed_lsn(hosted, history.checkpoints)
        self._removing[hosted] = hosted.create_lsn if needed is None else needed
        cancelled = self._writer.cancel(hosted)
        requests, history.requests = history.requests, []
        gone = UnknownModel(
            f"model {hosted.name!r} was deleted before its checkpoint was written", model=hosted.name
        )
        for done in [*(pending.done for pending in cancelled), *requests]:
            done(None, gone)

    def remove(self, hosted: HostedModel) -> None:
        """The deletion of a model is durable: remove its checkpoints."""
        if self._writer.holds:
            self._after_hold.append(partial(self.remove, hosted))
            return

        def removed(_: None, error: Exception | None) -> None:
            needed = self._removing.pop(hosted)
            if error is not None:
                # The journal keeps the deletion: without it, the next start would find the model again.
                self._unremoved[hosted] = needed
                log.warning("can't remove the checkpoints of the deleted model %s: %s", hosted.name, error)
            self._retire_journal()

        remove_files = partial(self._context.checkpoints.drop, hosted.name, hosted.create_lsn)
        self._context.file_worker.submit(remove_files, removed)

    def _history(self, hosted: HostedModel) -> _History:
        found = self._histories.get(hosted)
        if found is None:
            return self._new_history([]) if hosted.deleted else self._add(hosted, [])
        return found

    def _new_history(self, checkpoints: Sequence[CheckpointInfo]) -> _History:
        return _History(checkpoints, self._now, self._samples)

    def _add(self, hosted: HostedModel, checkpoints: Sequence[CheckpointInfo]) -> _History:
        history = self._histories[hosted] = self._new_history(checkpoints)
        self._needs.add(hosted)
        self._plan(hosted, history)
        return history

    def _notice_new_models(self) -> None:
        """Add the models that were created. Every model of `_histories` is in the shard."""
        if len(self._histories) < len(self._context.shard):
            for hosted in self._context.shard:
                self._history(hosted)

    def _plan(self, hosted: HostedModel, history: _History) -> None:
        if not history.scheduled:
            history.scheduled = True
            heappush(self._schedule, (history.time + self._seconds, next(self._sequence), hosted))

    def _is_new(self, hosted: HostedModel, history: _History) -> bool:
        """Whether the model changed since its last checkpoint."""
        return not history.checkpoints or hosted.applied_lsn != history.checkpoints[0].lsn

    def _is_due(self, hosted: HostedModel, history: _History) -> bool:
        # Time counts from the start of this process. Replayed samples count as learned, so that a daemon
        # that is killed repeatedly does not replay more each time.
        if self._is_new(hosted, history):
            return history.overdue or hosted.learned >= history.samples_due
        # A second copy of an idle model's checkpoint, so that the model does not hold the journal.
        return (
            history.overdue and self._context.journal.segments > 1 and self._first_needed(hosted) is not None
        )

    def _first_needed(self, hosted: HostedModel) -> int | None:
        return first_needed_lsn(hosted, self._history(hosted).checkpoints)

    def _take(self, hosted: HostedModel, done: Taken, name: str = "") -> None:
        history = self._history(hosted)
        history.unwritten += 1
        history.time, history.samples_due, history.overdue = self._now, hosted.learned + self._samples, False
        self._plan(hosted, history)
        self._due.pop(hosted, None)
        requests, history.requests = [done, *history.requests], []
        history.newest = Pending(hosted, hosted.snapshot(), requests, name, state_bytes(hosted.model))
        self._writer.add(history.newest)

    def _finish(self, pending: Pending, result: Written | Exception) -> None:
        hosted, history = pending.hosted, self._history(pending.hosted)
        history.unwritten -= 1
        if history.newest is pending:
            history.newest = None
        if isinstance(result, Exception):
            snapshot = pending.snapshot
            log.warning("the checkpoint of %s at record %d failed: %s", snapshot.model, snapshot.lsn, result)
            self._context.metrics.checkpoint_failures += 1
            if isinstance(result, DiskFull):
                self._context.journal.remove_spares()  # the next attempt may need their space
            pending.done(None, typed(result, "the checkpoint could not be written"))
            return
        info = result.info
        self._set_checkpoints(hosted, history, result.infos)
        self._context.metrics.checkpoints += 1
        self._context.publisher.publish(EventMessage("checkpoint", info.model, info.lsn, time=info.time))
        pending.done(info, None)
        if history.overdue:
            self._consider(hosted, history)

    def _finished(self) -> None:
        """Several checkpoints were written."""
        self._take_due()
        self._retire_journal()

    def _set_checkpoints(
        self, hosted: HostedModel, history: _History, infos: Sequence[CheckpointInfo]
    ) -> None:
        before, history.checkpoints = history.checkpoints, infos
        if len(before) > 1 and (len(infos) < 2 or infos[1].lsn < before[1].lsn):  # bad ones were set aside
            self._needs.add(hosted)

    def _retire_journal(self) -> None:
        """Remove the journal's segments that no model needs."""
        journal = self._context.journal
        done = max(self._retired, journal.first_lsn)
        end = journal.segment_start(journal.durable_lsn + 1)
        if self._writer.holds or end <= done:
            return
        self._notice_new_models()
        needed = min([*self._removing.values(), *self._unremoved.values(), self._needs.lowest(end)])
        # It may be lower than before: an idle model needs no record, and its next record has a later lsn. The
        # manifest must not ask for segments that an earlier process removed meanwhile.
        before = journal.segment_start(needed)
        if before <= done:
            return
        self._retired = before
        checkpoints = {
            (hosted.name, hosted.create_lsn): history.checkpoints
            for hosted, history in self._histories.items()
        }
        manifest = manifest_of(journal.id, before, self._context.shard, checkpoints)

        def retire() -> int:
            """Runs on the file worker. The manifest first: see `store/manifest.py`."""
            if self._context.manifest is not None:
                self._context.manifest.write(manifest)
            return journal.retire(before)

        def retired(_: int | None, error: Exception | None) -> None:
            if error is not None:
                log.warning("can't remove old segments of the journal: %s", error)
            if journal.first_lsn < before:  # the segment after it was not durable yet
                self._retired = 0

        self._context.file_worker.submit(retire, retired)


def _ignore(info: CheckpointInfo | None, error: StreamlearnError | None) -> None:
    """No client waits for a checkpoint that was due."""
