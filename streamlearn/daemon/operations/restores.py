"""Restores, one at a time: so only one state is in memory.

1. A worker reads the state: a checkpoint, or a checkpoint and the journal's records after it (`history.py`).
   Meanwhile no checkpoint and no segment of the journal is removed.
2. Unless the state goes into another model, a checkpoint named `undo-<lsn>` is written. If this fails,
   nothing is restored.
3. The state becomes a RESTORE record (into another model: a COPY record). So replay needs no other file.
4. If batches arrived during step 2, another checkpoint is taken when they are learned, just before the
   RESTORE record is applied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from streamlearn.daemon.context import Context
from streamlearn.daemon.durability.checkpointer import Checkpointer
from streamlearn.daemon.durability.group_commit import GroupCommit
from streamlearn.daemon.flow import Flow, Resume, Wait, run
from streamlearn.daemon.limits.model_memory import RESTORE_COPIES, state_bytes
from streamlearn.daemon.network.replies import ReplyAddress, deleted_while_waiting, model_fields
from streamlearn.daemon.worker import Worker
from streamlearn.errors import BadSpec, Busy, ShuttingDown, StreamlearnError
from streamlearn.history import EarlierState, History, Target
from streamlearn.shard import HostedModel
from streamlearn.shard.numbered import Accept, Number
from streamlearn.store.checkpoint import CheckpointInfo
from streamlearn.store.retention import UNDO_PREFIX

if TYPE_CHECKING:
    from streamlearn.models.base import Model

MAX_WAITING = 100  # restores


class _Restore(NamedTuple):
    """A request. `into` is the name of the new model; "" restores `hosted` itself."""

    reply_to: ReplyAddress
    hosted: HostedModel
    target: Target
    into: str
    number: Number | None


class _Read(NamedTuple):
    """A state. If it becomes another model, also the model that the worker decoded from it."""

    state: EarlierState
    model: Model | None


class Restores:
    """The queue of restores. All methods are called on the loop's thread."""

    def __init__(self, context: Context, group_commit: GroupCommit, checkpointer: Checkpointer) -> None:
        self._context = context
        self._group_commit = group_commit
        self._checkpointer = checkpointer
        self._worker = Worker(context.self_pipe, "restores", context.runtime)
        self._queue: deque[_Restore] = deque()  # the first one is running
        self._stopping = False

    @property
    def idle(self) -> bool:
        """Whether every restore is answered."""
        return not self._queue

    def collect(self) -> None:
        """Continue with the results of the worker."""
        self._worker.collect()

    def shut_down(self) -> None:
        """Refuse the restores that have not changed a model yet."""
        self._stopping = True

    def close(self) -> None:
        """End the thread."""
        self._stopping = True
        self._worker.stop()

    def request(
        self,
        reply_to: ReplyAddress,
        hosted: HostedModel,
        target: Target,
        into: str = "",
        number: Number | None = None,
    ) -> None:
        """Restore a model, or create the model `into` with its earlier state; then reply.

        A restore with a `number` that was accepted before is only answered.

        Raises `Busy` if too many restores wait.
        """
        if len(self._queue) >= MAX_WAITING:
            raise Busy(f"{MAX_WAITING} restores wait; send this one again later", limit="waiting restores")
        self._queue.append(_Restore(reply_to, hosted, target, into, number))
        if len(self._queue) == 1:
            self._run_first()

    def _run_first(self) -> None:
        run(self._restore(self._queue[0]), self._finished)

    def _finished(self, error: Exception | None) -> None:
        restore = self._queue.popleft()
        if error is not None:
            self._context.replies.exception(restore.reply_to, error)
        if self._queue:
            self._run_first()

    def _restore(self, restore: _Restore) -> Flow:
        hosted, number = restore.hosted, restore.number
        if number is not None:  # restores run one after the other, so an earlier attempt has ended
            self._group_commit.commit()
            lsn = number.known_lsn(hosted, self._context.runtime.wall_ns())
            if lsn is not None:
                yield from self._reply_again(restore, lsn)
                return
        size = RESTORE_COPIES * state_bytes(hosted.model)
        self._context.budget.checkpoints.add(size)  # there is always room: `ModelMemory.largest`
        try:
            yield from self._restore_held(restore)
        finally:
            self._context.budget.checkpoints.release(size)

    def _restore_held(self, restore: _Restore) -> Flow:
        hosted = restore.hosted
        yield self._checkpointer.hold
        try:
            read: _Read = yield partial(self._worker.submit, self._reading(restore))
        finally:
            self._checkpointer.release()
        if hosted.deleted:
            raise deleted_while_waiting()
        if restore.into:
            yield from self._copy(restore, read)
        else:
            yield from self._replace(restore, read.state)

    def _reading(self, restore: _Restore) -> Callable[[], _Read]:
        """Return the worker's job. The state includes what was accepted before this request."""
        self._group_commit.commit()
        context, hosted = self._context, restore.hosted
        history = History(
            context.journal,
            context.checkpoints,
            context.shard.source,
            hosted.name,
            hosted.create_lsn,
            context.journal.written_lsn,
        )

        def read() -> _Read:
            """Runs on the worker."""
            state = history.state(restore.target, self._check_stopping)
            model = context.shard.check_restore(hosted, state.content)
            return _Read(state, model if restore.into else None)

        return read

    def _check_stopping(self) -> None:
        if self._stopping:
            raise ShuttingDown("the daemon is shutting down; restore again after its restart")

    def _copy(self, restore: _Restore, read: _Read) -> Flow:
        """Create the model `into` with the state."""
        state = read.state
        shard, limit = self._context.shard, self._context.settings.limits.models
        if len(shard) >= limit:
            raise BadSpec(
                f"the daemon has {limit} models, and limits.models allows no more; delete a model first"
            )
        record = self._group_commit.change(
            partial(shard.accept_copy, restore.into, state.content, model=read.model)
        )
        copy = shard.hosted(restore.into)
        self._context.model_memory.created(copy)
        yield self._durable(record.lsn)
        self._context.publisher.publish_change(
            "created", record, restore.reply_to.identity, restored_lsn=state.lsn
        )
        self._reply(restore, copy, record.lsn, {"restored_lsn": state.lsn})

    def _replace(self, restore: _Restore, state: EarlierState) -> Flow:
        """Replace the state of the model."""
        hosted = restore.hosted
        self._group_commit.commit()
        yield self._applied(hosted, hosted.accepted_lsn)
        undo: CheckpointInfo = yield self._undo(hosted)
        if hosted.deleted:
            raise deleted_while_waiting()
        self._group_commit.commit()
        last_lsn = hosted.accepted_lsn
        accept: Accept = partial(self._context.shard.accept_restore, hosted.name, state.content, checked=True)
        if restore.number is not None:
            accept = restore.number.added_to(accept)
        record = self._group_commit.change(accept)
        if last_lsn > undo.lsn:
            yield self._applied(hosted, last_lsn)
            try:
                undo = yield self._undo(hosted)
            except StreamlearnError:
                if hosted.deleted:
                    raise
                # The log has the reason. The restore cannot be taken back any more, and `undo` still exists.
        yield self._durable(record.lsn)
        yield self._applied(hosted, record.lsn)
        self._context.publisher.publish_change(
            "restored", record, restore.reply_to.identity, restored_lsn=state.lsn
        )
        facts = {"restored_lsn": state.lsn, "undo_lsn": undo.lsn, "undo_name": undo.name}
        self._reply(restore, hosted, record.lsn, facts)

    def _reply_again(self, restore: _Restore, lsn: int) -> Flow:
        """Answer a restore that was accepted as record `lsn`. What it restored is not known any more."""
        yield self._durable(lsn)
        yield self._applied(restore.hosted, lsn)
        infos = self._checkpointer.checkpoints_of(restore.hosted)
        before = [info for info in infos if info.name.startswith(UNDO_PREFIX) and info.lsn < lsn]
        facts: dict[str, Any] = {"duplicate": True}
        if before:
            undo = max(before, key=lambda info: info.lsn)
            facts |= {"undo_lsn": undo.lsn, "undo_name": undo.name}
        self._reply(restore, restore.hosted, lsn, facts)

    def _undo(self, hosted: HostedModel) -> Wait:
        """Take the checkpoint that undoes the restore. The model is between two records."""
        name = f"{UNDO_PREFIX}{hosted.applied_lsn}"

        def take(resume: Resume) -> None:
            for info in self._checkpointer.checkpoints_of(hosted):
                if info.name == name:  # of a restore that was refused afterwards
                    resume(info, None)
                    return
            self._checkpointer.take(hosted, resume, name)

        return take

    def _durable(self, lsn: int) -> Wait:
        return lambda resume: self._context.watermarks.when_durable(lsn, partial(resume, None, None))

    def _applied(self, hosted: HostedModel, lsn: int) -> Wait:
        def wait(resume: Resume) -> None:
            def applied(found: HostedModel | None) -> None:
                resume(None, deleted_while_waiting() if found is None else None)

            self._context.watermarks.when_applied(hosted, lsn, applied, between_records=True)

        return wait

    def _reply(self, restore: _Restore, hosted: HostedModel, lsn: int, facts: dict[str, Any]) -> None:
        lsns = {"lsn": lsn, "durable_lsn": self._context.journal.durable_lsn}
        self._context.replies.ok(restore.reply_to, model_fields(hosted) | facts | lsns)
