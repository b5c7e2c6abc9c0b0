"""Which part of the journal the models need, found without looking at every model."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush, heapreplace
from itertools import count

from streamlearn.shard import HostedModel

FirstNeeded = Callable[[HostedModel], int | None]


class JournalNeeds:
    """A lower bound of the first lsn that each model needs, in a heap.

    What a model needs only rises: with its checkpoints, and, while it is idle, with the journal, since its
    next record has a later lsn. So a bound is never too high, and is corrected only when it is the lowest one
    and below the lsn in question. Between two such lsns, each bound is corrected at most once per checkpoint
    of its model.

    Parameters
    ----------
    first_needed
        Returns the first lsn that a model needs; `None` if it needs no record that exists.
    """

    def __init__(self, first_needed: FirstNeeded) -> None:
        self._first_needed = first_needed
        self._sequence = count()  # no two entries are equal, so models are never compared
        self._bounds: list[tuple[int, int, HostedModel]] = []

    def add(self, hosted: HostedModel) -> None:
        """Add a model, also again if it may need more than before. A deleted one is removed by itself."""
        heappush(self._bounds, (hosted.create_lsn, next(self._sequence), hosted))

    def lowest(self, limit: int) -> int:
        """Return the first lsn that any model needs, `limit` at most. Later records have higher lsns."""
        bounds = self._bounds
        while bounds and bounds[0][0] < limit:
            bound, number, hosted = bounds[0]
            if hosted.deleted:
                heappop(bounds)
                continue
            needed = self._first_needed(hosted)
            needed = limit if needed is None else needed
            if needed <= bound:
                return needed
            heapreplace(bounds, (needed, number, hosted))
        return limit
