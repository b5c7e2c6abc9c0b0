"""Which messages of a partition are durable, and the offset to commit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable


class Offsets:
    """The messages of one assigned partition, in order."""

    def __init__(self) -> None:
        self._open: OrderedDict[int, int] = OrderedDict()  # parcels of a message that are not durable
        self._next: int | None = None  # after the last message
        self._committed: int | None = None

    def __len__(self) -> int:
        """Return the number of messages that are not durable."""
        return len(self._open)

    def receive(self, offset: int) -> None:
        """Record a message."""
        self._next = offset + 1
        if self._committed is None:  # the broker has the offset of the first message
            self._committed = offset

    def begin(self, offset: int) -> Callable[[], None]:
        """Return what is called when one parcel of a message is durable."""
        self._open[offset] = self._open.get(offset, 0) + 1

        def done() -> None:
            self._open[offset] -= 1
            if not self._open[offset]:
                del self._open[offset]

        return done

    def to_commit(self) -> int | None:
        """Return the offset of the first message that is not durable; ``None`` if it is committed."""
        durable = next(iter(self._open), self._next)
        return None if durable == self._committed else durable

    def committed(self, offset: int) -> None:
        """Record a commit."""
        self._committed = offset
