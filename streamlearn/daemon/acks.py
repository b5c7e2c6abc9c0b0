"""Learn acks that wait: for the disk, and then for the model.

An ack is never sent before what it claims is true (R4). That the batch is learned too is not part of
the claim, but is worth a moment: whoever has an ack then finds the batch in the next answer, and a
producer with a bounded window is slowed down to the pace of its model. Only a moment, though: a model
that is far behind must not make producers believe that the daemon is gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from streamlearn.daemon.replies import Asker
from streamlearn.shard import Entry


class Ack(NamedTuple):
    """What to answer, and whom. `entry` is the model that the batch was for; it may be deleted since."""

    lsn: int
    entry: Entry
    asker: Asker
    rows: int
    duplicate: bool
    deadline: float  # when it no longer waits for the model, in seconds of any steady clock


class HeldAcks:
    """Acks in the order in which their batches came. Each method returns those that may be sent now."""

    def __init__(self) -> None:
        self._undurable: deque[Ack] = deque()
        self._unlearned: dict[Entry, deque[Ack]] = {}

    def __bool__(self) -> bool:
        return bool(self._undurable or self._unlearned)

    def until_durable(self, ack: Ack) -> None:
        """Hold an ack whose claim is not yet true."""
        self._undurable.append(ack)

    def until_learned(self, ack: Ack) -> None:
        """Hold an ack whose claim is true."""
        self._unlearned.setdefault(ack.entry, deque()).append(ack)

    def durable(self, lsn: int) -> Iterator[Ack]:
        """The journal is durable up to `lsn`."""
        undurable = self._undurable
        while undurable and undurable[0].lsn <= lsn:
            ack = undurable.popleft()
            if ack.lsn <= ack.entry.applied_lsn:
                yield ack
            else:
                self.until_learned(ack)

    def learned(self, entry: Entry) -> Iterator[Ack]:
        """A model has learned, or is deleted."""
        waiting = self._unlearned.get(entry)
        if waiting is not None:
            while waiting and waiting[0].lsn <= entry.applied_lsn:
                yield waiting.popleft()
            if not waiting:
                del self._unlearned[entry]

    def overdue(self, now: float) -> Iterator[Ack]:
        """Time has passed."""
        for entry, waiting in list(self._unlearned.items()):
            while waiting and waiting[0].deadline <= now:
                yield waiting.popleft()
            if not waiting:
                del self._unlearned[entry]
