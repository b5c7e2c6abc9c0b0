"""Samples that are not learned: after a drift alarm, or with too many missing values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.outputs import NamedArrays

from ..batch import Batch, Targets, joined_outputs, part
from ..state_checks import LARGEST_COUNT, Range

LEFT, COUNT = 0, 1  # samples until an alarm's freeze ends; samples not learned so far


class Steps(NamedTuple):
    """The operations of a model that ``Freeze.learn`` combines."""

    learn: Callable[[Batch | Targets], tuple[int, NamedArrays]]  # number of rows that were done, outputs
    skip: Callable[[Batch | Targets], tuple[int, NamedArrays]]  # the same without learning
    rows_to_reaction: Callable[[], int]  # number of rows after which the model may react to an alarm
    react: Callable[[], None]
    interrupted: Callable[[], bool]  # whether to end after this row


class Freeze:
    """Selects the samples that a model learns. Its array is part of the model's ``state``.

    A reaction takes effect with the next row. So rows are learned in runs that end where the model may react.
    """

    def __init__(self, samples: int, max_missing: float | None) -> None:
        self._samples = samples
        self._max_missing = 1.0 if max_missing is None else max_missing
        self._counts = np.zeros(2, np.int64)
        self.state: dict[str, NDArray[Any]] = {"freeze": self._counts}
        self.ranges = {"freeze": Range(0, (samples, LARGEST_COUNT))}

    def learn(self, batch: Batch | Targets, model: Steps) -> NamedArrays:
        """Learn or skip the rows of ``batch``, all of them unless the model is interrupted.

        Return the outputs of these rows.
        """
        incomplete = self._too_few_values(batch)
        parts: list[NamedArrays] = []
        row = 0
        while not parts or (row < batch.rows and not model.interrupted()):
            frozen = bool(self._counts[LEFT] > 0 or incomplete[row : row + 1].any())
            stop = self._end_of_run(batch, incomplete, row, model.rows_to_reaction())
            done, out = self._process(part(batch, row, stop), frozen, model)
            model.react()
            parts.append(out)
            row += done
        return joined_outputs(parts)

    def start(self) -> None:
        """Freeze from the next sample on."""
        self._counts[LEFT] = self._samples

    def thaw(self) -> None:
        """End a freeze."""
        self._counts[LEFT] = 0

    def quality(self) -> dict[str, int]:
        """``frozen``: samples until the freeze ends. ``frozen_samples``: samples not learned so far."""
        left, count = self._counts.tolist()
        return {"frozen": left, "frozen_samples": count}

    def _too_few_values(self, batch: Batch | Targets) -> NDArray[np.bool_]:
        """``(n,)``: whether too many values of a sample are missing."""
        if isinstance(batch, Targets) or self._max_missing == 1.0:
            return np.zeros(batch.rows, np.bool_)
        missing = np.count_nonzero(np.isnan(batch.x), axis=1)
        return np.asarray(missing / batch.x.shape[1] > self._max_missing)

    def _end_of_run(
        self, batch: Batch | Targets, incomplete: NDArray[np.bool_], row: int, longest: int
    ) -> int:
        """End of the run of rows from ``row`` on that are all learned or all skipped."""
        left = int(self._counts[LEFT])
        stop = min(row + longest, batch.rows)
        if left > 0:
            return stop if isinstance(batch, Targets) else min(row + left, stop)
        other = np.flatnonzero(incomplete[row:stop] != incomplete[row : row + 1])
        return row + int(other[0]) if other.size else stop

    def _process(self, batch: Batch | Targets, frozen: bool, model: Steps) -> tuple[int, NamedArrays]:
        """Learn or skip rows of ``batch``. Return how many, and their outputs."""
        rows, out = model.skip(batch) if frozen else model.learn(batch)
        if frozen and isinstance(batch, Batch):
            self._counts[COUNT] += rows
            self._counts[LEFT] = max(0, self._counts[LEFT] - rows)
        out.arrays.setdefault("frozen", np.full(len(out), frozen))  # a model with lookahead adds its own
        return rows, out
