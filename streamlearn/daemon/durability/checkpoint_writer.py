"""Checkpoints that were taken: they wait for the journal, then for the file worker.

While the worker writes some, the next ones collect. So one checkpoint is written at once, and many small ones
share the syncs of the disk. All methods run on the loop's thread, except one that says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from streamlearn.daemon.context import Context
from streamlearn.errors import Internal, StreamlearnError
from streamlearn.shard import HostedModel, Snapshot
from streamlearn.store.checkpoint import CheckpointInfo, Content, Written

BATCH = 512  # checkpoints that are written at once
BATCH_BYTES = 16 << 20  # of their states
FEW = 8  # so few are synced one by one: a sync of the whole file system may have more to write

Taken = Callable[[CheckpointInfo | None, StreamlearnError | None], None]


@dataclass(slots=True, eq=False)
class Pending:
    """A copy that is not written yet. `name` pins it; "" does not."""

    hosted: HostedModel
    snapshot: Snapshot
    requests: list[Taken]  # to answer when it is written
    name: str
    bytes: int  # of the copy
    cancelled: bool = False  # the model was deleted before the worker had it

    def done(self, info: CheckpointInfo | None, error: StreamlearnError | None) -> None:
        """Answer all requests."""
        for request in self.requests:
            request(info, error)


class CheckpointWriter:
    """Writes copies once the journal is durable up to them.

    Parameters
    ----------
    context
        The daemon's collaborators.
    written
        Called with each copy, and with the result of its write.
    finished
        Called after the last of several copies that were written at once.
    """

    def __init__(
        self,
        context: Context,
        written: Callable[[Pending, Written | Exception], None],
        finished: Callable[[], None],
    ) -> None:
        self._context = context
        self._report = written
        self._finished = finished
        self._undurable: dict[Pending, None] = {}  # they wait for the journal
        self._unwritten: deque[Pending] = deque()  # they wait for the worker
        self._writing = False  # whether the worker writes some
        self._bytes = 0  # of all copies
        self.few = FEW
        self.copies = 0  # that are not written yet
        self.holds = 0  # while it is not 0, no older checkpoint is removed

    @property
    def full(self) -> bool:
        """Whether there are as many copies as are written at once."""
        return self.copies >= BATCH or self._bytes >= BATCH_BYTES

    def add(self, pending: Pending) -> None:
        """Write a copy once the journal is durable up to it."""
        self._context.budget.checkpoints.add(pending.bytes)
        self._bytes += pending.bytes
        self.copies += 1
        self._undurable[pending] = None
        self._context.watermarks.when_durable(pending.snapshot.lsn, partial(self._durable, pending))

    def cancel(self, hosted: HostedModel) -> list[Pending]:
        """Forget the copies of a deleted model that the worker does not have yet, and return them."""
        waiting = [*self._undurable, *self._unwritten]
        cancelled = [each for each in waiting if each.hosted is hosted and not each.cancelled]
        for pending in cancelled:
            pending.cancelled = True
            self._undurable.pop(pending, None)
            self._release(pending)
        return cancelled

    def _release(self, pending: Pending) -> None:
        self._context.budget.checkpoints.release(pending.bytes)
        self._bytes -= pending.bytes
        self.copies -= 1

    def _durable(self, pending: Pending) -> None:
        if not pending.cancelled:
            del self._undurable[pending]
            self._unwritten.append(pending)
            self._write_next()

    def _write_next(self) -> None:
        """Let the worker write what has collected: at most one checkpoint of each model."""
        if self._writing:
            return
        batch: dict[HostedModel, Pending] = {}
        size = 0
        while self._unwritten and len(batch) < BATCH and size < BATCH_BYTES:
            pending = self._unwritten[0]
            if pending.hosted in batch:
                break
            self._unwritten.popleft()
            if not pending.cancelled:
                batch[pending.hosted] = pending
                size += pending.bytes
        if batch:
            self._writing = True
            pendings = list(batch.values())
            self._context.file_worker.submit(
                partial(self._write, pendings, not self.holds), partial(self._written, pendings)
            )

    def _write(self, pendings: Sequence[Pending], retire: bool) -> Sequence[Written | Exception]:
        """Runs on the file worker."""
        store = self._context.checkpoints
        if len(pendings) > self.few:
            contents = [Content(*pending.snapshot, pending.name) for pending in pendings]
            return store.write_all(contents, retire=retire)
        results: list[Written | Exception] = []
        for pending in pendings:
            snapshot = pending.snapshot
            try:
                info = store.write(*snapshot, pending.name, retire=retire)
                results.append(Written(info, store.list(snapshot.model, snapshot.create_lsn)))
            except Exception as error:  # noqa: BLE001 - passed on to its requests
                results.append(error)
        return results

    def _written(
        self,
        pendings: Sequence[Pending],
        results: Sequence[Written | Exception] | None,
        problem: Exception | None,
    ) -> None:
        self._writing = False
        if results is None:
            results = [typed(problem, "the checkpoints could not be written")] * len(pendings)
        for pending, result in zip(pendings, results, strict=True):
            self._release(pending)
            self._report(pending, result)
        self._write_next()
        self._finished()


def typed(problem: Exception | None, what: str) -> StreamlearnError:
    """Return an error that a client may get."""
    return problem if isinstance(problem, StreamlearnError) else Internal(f"{what}: {problem}")
