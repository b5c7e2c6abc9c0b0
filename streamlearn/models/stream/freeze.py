"""Samples that are answered but not learned: after an alarm of drift, or with too many values missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.outputs import Outputs

from ..batch import Batch, Targets, joined_outputs, part

if TYPE_CHECKING:
    from ..base import Model

LEFT, COUNT = 0, 1  # samples that an alarm still keeps from being learned; samples not learned so far

_RUN = 256  # rows that are learned before anybody looks whether there was an alarm among them


class Freeze:
    """What of a stream a model learns. Its array is part of that model's ``state``.

    An alarm counts from the next row on, but whether there is one shows only when a row's batch is learned.
    So rows are learned in runs; if there was an alarm, the state is put back and the run is learned again row
    by row, up to the alarm. That gives the same bits as one row at a time.
    """

    def __init__(
        self, on_drift: Literal["freeze", "reheat"] | None, samples: int, most_missing: float | None
    ) -> None:
        self._on_drift, self._samples = on_drift, samples
        self._most_missing = 1.0 if most_missing is None else most_missing
        self._counts = np.zeros(2, np.int64)
        self.state: dict[str, NDArray[Any]] = {"freeze": self._counts}

    def learn(self, model: Model, batch: Batch | Targets) -> Outputs:
        """Return the outputs of ``model`` for all rows. Rows that are not frozen are learned."""
        poor = self._too_few_values(batch)
        said: list[Outputs] = []
        usual = batch.rows if self._on_drift is None else _RUN
        row, longest = 0, usual
        while row < batch.rows or not said:
            frozen = bool(self._counts[LEFT] > 0 or poor[row : row + 1].any())
            stop = self._end_of_run(batch, poor, row, longest)
            before = model.copy_state() if self._on_drift is not None and stop - row > 1 else None
            out = self._take(model, part(batch, row, stop), frozen)
            alarm = self._on_drift is not None and "drift" in out.arrays and out.drift.any()
            if before is not None and alarm:
                model.adopt(before)
                longest = 1
                continue
            if alarm:
                self._answer(model)
                longest = usual
            said.append(out)
            row = stop
        return joined_outputs(said)

    def thaw(self) -> None:
        """End a freeze."""
        self._counts[LEFT] = 0

    def quality(self) -> dict[str, int]:
        """``frozen``: how many samples are still not to be learned; ``frozen_samples``: how many were not."""
        left, count = self._counts.tolist()
        return {"frozen": left, "frozen_samples": count}

    def _too_few_values(self, batch: Batch | Targets) -> NDArray[np.bool_]:
        """``(n,)``: the samples of which too many values are missing."""
        if isinstance(batch, Targets) or self._most_missing == 1.0:
            return np.zeros(batch.rows, np.bool_)
        missing = np.count_nonzero(np.isnan(batch.x), axis=1)
        return np.asarray(missing / batch.x.shape[1] > self._most_missing)

    def _end_of_run(self, batch: Batch | Targets, poor: NDArray[np.bool_], row: int, longest: int) -> int:
        """Up to where rows are all learned like ``row``, or all frozen like it."""
        left = int(self._counts[LEFT])
        stop = min(row + longest, batch.rows)
        if left > 0:
            return stop if isinstance(batch, Targets) else min(row + left, stop)
        other = np.flatnonzero(poor[row:stop] != poor[row : row + 1])
        return row + int(other[0]) if other.size else stop

    def _take(self, model: Model, batch: Batch | Targets, frozen: bool) -> Outputs:
        """Learn all of ``batch``, or pass it by."""
        first = model.samples
        if not frozen:
            out = model._take(batch)
        elif isinstance(batch, Targets):
            out = model._learn_late_targets(batch, learning=False)
        else:
            model._schedules.advance(batch)
            out = model._skip(batch)
            self._counts[COUNT] += batch.rows
            self._counts[LEFT] = max(0, self._counts[LEFT] - batch.rows)
        out.arrays.setdefault("frozen", np.full(len(out), frozen))  # a model that answers later knows best
        return model._watched(out, first)

    def _answer(self, model: Model) -> None:
        """React to an alarm: freeze, or reheat the schedules."""
        if self._on_drift == "freeze":
            self._counts[LEFT] = self._samples
        else:
            model.reheat()
