"""Waiting until the journal is durable up to an lsn, or until a model has applied a record.

Everything in the daemon that waits for an lsn waits here: acks, replies to changes, events, reads that must
see all earlier batches, and checkpoints. The loop reports progress; waiters run on the loop's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from streamlearn.shard import HostedModel

WhenDurable = Callable[[], None]
WhenApplied = Callable[[HostedModel | None], None]  # gets None if the model was deleted


class _Waiter:
    """A call that waits for a model. `run` is `None` once it was called."""

    __slots__ = ("between_records", "run")

    def __init__(self, run: WhenApplied, between_records: bool) -> None:
        self.run: WhenApplied | None = run
        self.between_records = between_records


class Watermarks:
    """Waiters by lsn. Each waiter is called exactly once.

    Parameters
    ----------
    durable_lsn
        The journal's durable lsn at the start.
    """

    def __init__(self, durable_lsn: int = 0) -> None:
        self._durable_lsn = durable_lsn
        self._sequence = count()  # keeps waiters of the same lsn in order
        self._durable: deque[tuple[int, WhenDurable]] = deque()
        self._applied: dict[HostedModel, list[tuple[int, int, _Waiter]]] = {}  # heaps by lsn
        self._deadlines: list[tuple[float, int, HostedModel, _Waiter]] = []  # heap
        self._unapplied = 0  # waiters that wait for a model

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""
        return not self._durable and not self._unapplied

    def when_durable(self, lsn: int, run: WhenDurable) -> None:
        """Call `run()` once the journal is durable up to `lsn`.

        Waiters run in the order of registration, so that acks keep the order of their batches. The call is
        immediate if the lsn is durable and no earlier waiter is pending.
        """
        if lsn <= self._durable_lsn and not self._durable:
            run()
        else:
            self._durable.append((lsn, run))

    def when_applied(
        self,
        hosted: HostedModel,
        lsn: int,
        run: WhenApplied,
        *,
        deadline: float | None = None,
        between_records: bool = False,
    ) -> None:
        """Call `run(hosted)` once the model has applied record `lsn`; at once if it already has.

        Parameters
        ----------
        hosted
            The model to wait for. If it is deleted first, or already, the call is `run(None)`.
        lsn
            The record to wait for.
        run
            What to call.
        deadline
            Call at this time even if the record is not applied; seconds of the clock of `expire`.
        between_records
            Call only when the model is not inside a record, so that its state is that of `applied_lsn`.
        """
        if hosted.deleted:
            run(None)
            return
        if hosted.applied_lsn >= lsn and (hosted.between_records or not between_records):
            run(hosted)
            return
        waiter, number = _Waiter(run, between_records), next(self._sequence)
        heappush(self._applied.setdefault(hosted, []), (lsn, number, waiter))
        if deadline is not None:
            heappush(self._deadlines, (deadline, number, hosted, waiter))
        self._unapplied += 1

    def advance_durable(self, lsn: int) -> None:
        """The journal is durable up to `lsn`: call the waiters up to it."""
        self._durable_lsn = lsn
        while self._durable and self._durable[0][0] <= lsn:
            self._durable.popleft()[1]()

    def advance_applied(self, hosted: HostedModel) -> None:
        """A slice of the model has ended: call the waiters that are due."""
        waiters = self._applied.get(hosted)
        if waiters is None:
            return
        # The first waiter cannot hold back a later one that is due: `applied_lsn` advances only at the end
        # of a record, and a waiter without `between_records` waits only if its lsn is not yet applied.
        while waiters and waiters[0][0] <= hosted.applied_lsn:
            if waiters[0][2].between_records and not hosted.between_records:
                return
            self._call(heappop(waiters)[2], hosted)
        if not waiters:
            self._applied.pop(hosted, None)

    def model_deleted(self, hosted: HostedModel) -> None:
        """The model was deleted: notify its waiters with `None`."""
        for _, _, waiter in sorted(self._applied.pop(hosted, []), key=lambda item: item[:2]):
            self._call(waiter, None)

    def expire(self, now: float) -> None:
        """Call the waiters that are past their deadline."""
        deadlines = self._deadlines
        while deadlines and (deadlines[0][0] <= now or deadlines[0][3].run is None):
            _, _, hosted, waiter = heappop(deadlines)
            self._call(waiter, hosted)

    def _call(self, waiter: _Waiter, hosted: HostedModel | None) -> None:
        run, waiter.run = waiter.run, None
        if run is not None:
            self._unapplied -= 1
            run(hosted)
