"""Samples that are not learned: after a drift alarm, or with too many missing values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.outputs import NamedArrays

from ..batch import Batch, Targets, joined_outputs, part
from ..state_checks import LARGEST_COUNT, Range

State = Mapping[str, NDArray[Any]]

LEFT, COUNT = 0, 1  # samples until an alarm's freeze ends; samples not learned so far

_RUN = 256  # rows learned before the test for an alarm among them


class Steps(NamedTuple):
    """The operations of a model that ``Freeze.learn`` combines."""

    learn: Callable[[Batch | Targets], tuple[int, NamedArrays]]  # number of rows that were done, outputs
    skip: Callable[[Batch | Targets], tuple[int, NamedArrays]]  # the same without learning
    copy_state: Callable[[], State]
    restore_state: Callable[[State], None]
    reheat: Callable[[], None]
    interrupted: Callable[[], bool]  # whether to end after this row


class Freeze:
    """Selects the samples that a model learns. Its array is part of the model's ``state``.

    An alarm takes effect with the next row, but it is known only after the rows of a call are learned. So
    rows are learned in runs. After an alarm in a run the state is restored, and the run is learned again row
    by row up to the alarm. The result has the same bits as learning one row at a time.
    """

    def __init__(
        self, on_drift: Literal["freeze", "reheat"] | None, samples: int, max_missing: float | None
    ) -> None:
        self._on_drift, self._samples = on_drift, samples
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
        full_run = batch.rows if self._on_drift is None else _RUN
        row, longest = 0, full_run
        while not parts or (row < batch.rows and not model.interrupted()):
            frozen = bool(self._counts[LEFT] > 0 or incomplete[row : row + 1].any())
            stop = self._end_of_run(batch, incomplete, row, longest)
            before = model.copy_state() if self._on_drift is not None and stop - row > 1 else None
            done, out = self._process(part(batch, row, stop), frozen, model)
            alarm = self._on_drift is not None and "drift" in out.arrays and out.arrays["drift"].any()
            if before is not None and alarm:
                model.restore_state(before)
                longest = 1
                continue
            if alarm:
                if self._on_drift == "freeze":
                    self._counts[LEFT] = self._samples
                else:
                    model.reheat()
                longest = full_run
            parts.append(out)
            row += done
        return joined_outputs(parts)

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
