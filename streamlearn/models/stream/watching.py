"""Which samples a model learns. It only *watches* the others (``kernels/stream/gate.py``)."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.outputs import NamedArrays

from ...kernels.stream import gate
from ...kernels.stream.watch_words import COUNT, LEFT, PAUSED, WORDS
from ..batch import Batch, Targets, joined_outputs, part
from ..sharing import shared
from ..state_checks import LARGEST_COUNT, LARGEST_FLOAT, ByName, Range, Ranges
from .schedules import settling

EXPECTED_ABOVE = 20  # samples above the limit, before it counts
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


class Rules(NamedTuple):
    """The parameters of the spec that decide what is learned."""

    dim: int  # channels
    below: float | None  # a sample with a higher score is watched
    settling: float  # samples that are learned before ``below`` counts
    patience: int | None  # after so many watched in a row, samples are learned after all
    first: int | None  # only the first samples are learned
    missing: float | None  # a sample with a larger share of missing values is watched
    after_alarm: int  # samples that are watched after a drift alarm
    reacts: bool  # whether the model reacts to drift alarms

    @classmethod
    def of(cls, spec: Any) -> Rules:
        """Return the parameters of a spec."""
        below = spec.learn_below
        return cls(
            spec.dim,
            below,
            0.0 if below is None else max(EXPECTED_ABOVE / (1.0 - below), settling(spec.schedules)),
            spec.patience,
            spec.learn_for,
            spec.watch_missing,
            spec.watch_for,
            spec.on_drift is not None,
        )


class Learner(Protocol):
    """What ``Watching.learn`` needs of a model."""

    interrupt: NDArray[np.uint8]
    """Whether to end after this row."""

    @property
    def samples(self) -> int:
        """Number of samples so far."""

    def _learn_part(self, batch: Batch | Targets, watch: bool) -> tuple[int, NamedArrays]:
        """Learn or watch rows. Return how many were done, and their outputs."""

    def _rows_to_reaction(self) -> int:
        """Return the number of rows after which the model may react to an alarm."""

    def _react(self) -> None:
        """React to an alarm of the last rows."""


class Watching(ByName):
    """Selects the samples that a model learns. Its arrays are part of the model's ``state``.

    The kernels decide by score. All other reasons are known before a sample is processed, except that a drift
    alarm has an effect on the next sample. So rows are processed in runs that are all learned or all watched,
    and end where the model may react to an alarm.
    """

    def __init__(self, rules: Rules, columns: int, has_lookahead: bool) -> None:
        self._rules = rules
        self._has_lookahead = has_lookahead  # then a watched sample may have its outputs in a later run
        self._selects = rules.first is not None or rules.missing is not None or rules.reacts
        self._open = gate.LEARN if rules.below is None else gate.BELOW
        self.gate = np.zeros(gate.SIZE)
        constants = self._open, rules.below or 0.0, rules.settling, rules.patience or 0
        self.gate[: gate.CONSTANTS] = constants
        self.gate[gate.SQUARE] = gate.FIRST_SQUARE
        self._counts = np.zeros(WORDS, np.int64)
        self.state = {"gate": self.gate, "watch": self._counts}
        given = constants, columns, rules.after_alarm
        self.ranges = shared(("watching", given), partial(_ranges, *given))

    @property
    def paused(self) -> bool:
        """Whether all samples are watched until ``resume``."""
        return bool(self._counts[PAUSED])

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._counts[PAUSED] = paused

    @property
    def counts(self) -> NDArray[np.int64]:
        """``(3,)``: LEFT … PAUSED, for kernels."""
        return self._counts

    @property
    def shut(self) -> bool:
        """Whether the rows that are being processed are watched, whatever their scores are."""
        return bool(self.gate[gate.MODE] == gate.WATCH)

    def learn(self, batch: Batch | Targets, model: Learner) -> NamedArrays:
        """Learn or watch the rows of ``batch``, all of them unless the model is interrupted.

        Return the outputs of these rows.
        """
        if not self._selects:
            return self._process(batch, self.paused, model)[1]
        incomplete = self._too_few_values(batch)
        parts: list[NamedArrays] = []
        row = 0
        while not parts or (row < batch.rows and not model.interrupt[0]):
            watch, stop = self._run(batch, incomplete, row, model)
            done, out = self._process(part(batch, row, stop), watch, model)
            model._react()
            parts.append(out)
            row += done
        return joined_outputs(parts)

    def start(self) -> None:
        """Watch the next samples: the reaction ``on_drift="watch"`` to an alarm."""
        self._counts[LEFT] = self._rules.after_alarm

    def end(self) -> None:
        """End the reaction to an alarm."""
        self._counts[LEFT] = 0

    def accept(self) -> None:
        """Learn what the score's limit watches now, until a sample is usual again."""
        self.gate[gate.RUN] = LARGEST_COUNT if self._open == gate.BELOW else 0.0

    def begin_again(self) -> None:
        """Forget distances and errors: those from now on are of another level."""
        self.gate[gate.WAITING] = 0
        self.gate[gate.LATELY :] = 0

    def quality(self) -> dict[str, int | bool]:
        """Return the counts.

        ``paused``: whether learning is paused. ``watched``: samples that will still be watched after a drift
        alarm. ``watched_samples``: samples watched so far.
        """
        left, count, paused = self._counts.tolist()
        return {"paused": bool(paused), "watched": left, "watched_samples": count}

    def _too_few_values(self, batch: Batch | Targets) -> NDArray[np.bool_]:
        """``(n,)``: whether too many values of a sample are missing."""
        if isinstance(batch, Targets) or self._rules.missing is None:
            return np.zeros(batch.rows, np.bool_)
        missing = np.count_nonzero(np.isnan(batch.x[:, : self._rules.dim]), axis=1)  # without features
        return np.asarray(missing / self._rules.dim > self._rules.missing)

    def _run(
        self, batch: Batch | Targets, incomplete: NDArray[np.bool_], row: int, model: Learner
    ) -> tuple[bool, int]:
        """Return whether the rows from ``row`` on are watched, and the end of the run of such rows."""
        left, _, paused = self._counts.tolist()
        stop = min(row + model._rows_to_reaction(), batch.rows)
        before_end = batch.rows if self._rules.first is None else self._rules.first - model.samples
        if paused or before_end <= 0:
            return True, stop
        if left > 0:
            return True, stop if isinstance(batch, Targets) else min(row + left, stop)
        if isinstance(batch, Batch):
            stop = min(row + before_end, stop)
        other = np.flatnonzero(incomplete[row:stop] != incomplete[row : row + 1])
        return bool(incomplete[row : row + 1].any()), row + int(other[0]) if other.size else stop

    def _process(self, batch: Batch | Targets, watch: bool, model: Learner) -> tuple[int, NamedArrays]:
        """Learn or watch rows of ``batch``. Return how many, and their outputs."""
        self.gate[gate.MODE] = gate.WATCH if watch else self._open
        rows, out = model._learn_part(batch, watch)
        self.gate[gate.MODE] = self._open
        if isinstance(batch, Batch):
            if watch or self._open == gate.BELOW or self._has_lookahead:
                self._counts[COUNT] += np.count_nonzero(out.arrays["watched"])
            if watch:
                self._counts[LEFT] = max(0, self._counts[LEFT] - rows)
        return rows, out


def _ranges(constants: tuple[float, ...], columns: int, after_alarm: int) -> Ranges:
    low, high = np.zeros(gate.SIZE), np.full(gate.SIZE, LARGEST_FLOAT)
    low[: gate.CONSTANTS] = high[: gate.CONSTANTS] = constants
    high[[gate.RUN, gate.LEARNED]] = LARGEST_COUNT
    low[gate.SMOOTHED], high[gate.SMOOTHED] = -1, gate.MOST_SURPRISE
    high[gate.UNUSUAL] = 1
    high[[gate.CREDIT, gate.WAITING]] = gate.ROOM
    high[gate.VALUES : gate.PRESENT] = LARGEST_FLOAT32
    high[gate.PRESENT : gate.LATELY] = columns  # indices of rows of the score's reference
    high[gate.LATELY :] = LARGEST_FLOAT32
    high[[gate.EPISODE, gate.GAP]] = LARGEST_COUNT
    return Ranges(gate=Range(low, high), watch=Range(0, (after_alarm, LARGEST_COUNT, 1)))
