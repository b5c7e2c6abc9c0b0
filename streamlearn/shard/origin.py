"""Where the rows of outputs come from: the key, the id and the time of their samples.

Models return outputs in the order of the samples, or with the number of the sample of each row. Subscribers
also need to know which stream and which sample a row belongs to, and when it was taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamlearn.models.batch import Batch, Targets
from streamlearn_client.protocol import NO_TIME

Columns = dict[str, NDArray[np.int64]]
"""``key``, ``id`` and ``time`` (n,), as far as the rows have them."""

UNKNOWN = NO_TIME
"""Stands for the key, the id and the time of a sample that came before the daemon started."""


class Origin(NamedTuple):
    """The rows of one slice.

    ``arrived`` is the arrival time of each record, ``counts`` the number of its rows. ``first`` is the number
    of the first sample.
    """

    batch: Batch | Targets
    arrived: Sequence[int]
    counts: Sequence[int]
    first: int

    def columns(self, rows: int) -> Columns:
        """Return key, id and time of the first ``rows`` rows."""
        batch, found = self.batch, {}
        if batch.keys is not None:
            found["key"] = batch.keys[:rows]
        if batch.ids is not None:
            ids = batch.ids if isinstance(batch, Targets) else batch.numbered(self.first).ids
            assert ids is not None
            found["id"] = ids[:rows]
        times = None if isinstance(batch, Targets) else batch.times
        if times is None:
            times = np.repeat(np.array(self.arrived, np.int64), self.counts)
        found["time"] = times[:rows]
        return found


class WaitingRows:
    """The origin of samples whose outputs come later, for a model with look-ahead.

    It is not part of the model's state: outputs do not depend on it. Samples that were learned before the
    daemon started, or before a restore, have the origin ``UNKNOWN``.

    Parameters
    ----------
    most
        How many samples may wait at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._numbers = np.zeros(0, np.int64)
        self._columns: Columns = {}

    def take(self, origin: Origin, rows: int, numbers: NDArray[np.int64]) -> Columns:
        """Add the first ``rows`` samples of a slice. Return the origins of the samples with these numbers."""
        arrived = np.arange(origin.first, origin.first + rows)
        columns = origin.columns(rows)
        waiting = self._columns or {name: column[:0] for name, column in columns.items()}
        known = np.concatenate([self._numbers, arrived])
        joined = {name: np.concatenate([waiting[name], column]) for name, column in columns.items()}
        at = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
        found = known[at] == numbers
        kept = np.flatnonzero(~np.isin(known, numbers))[-self._most :]
        self._numbers = known[kept]
        self._columns = {name: column[kept] for name, column in joined.items()}
        return {name: np.where(found, column[at], UNKNOWN) for name, column in joined.items()}


def select(columns: Columns, rows: NDArray[Any]) -> Columns:
    """Return the columns of the rows with these indices."""
    return {name: column[rows] for name, column in columns.items()}
