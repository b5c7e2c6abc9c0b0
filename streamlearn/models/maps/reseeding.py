"""The samples after a drift alarm, from which units get new weights: see ``kernels/maps/reseed.py``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..batch import Float32
from ..state_checks import LARGEST_FLOAT, Range, State

WINDOW = 256  # samples
WINDOWS = 16  # after an alarm
TOLERANCE = 1.1  # the goal, relative to the level before the alarm

COLLECTED, LEFT = range(2)


class Reseeding:
    """Collects windows of samples after an alarm. Its arrays are part of the model's ``state``."""

    may_hold_nan = ("reseed.samples",)  # missing values

    def __init__(self, dim: int) -> None:
        self.samples = np.zeros((WINDOW, dim), np.float32)
        self._counts = np.zeros(2, np.int64)  # samples in the window; windows that will still be collected
        self._goal = np.zeros(1)
        self.state: dict[str, NDArray[Any]] = {
            "reseed.samples": self.samples,
            "reseed.counts": self._counts,
            "reseed.goal": self._goal,
        }
        self.ranges = {
            "reseed.counts": Range(0, (WINDOW, WINDOWS)),
            "reseed.goal": Range(0, LARGEST_FLOAT),
        }

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe infinite samples."""
        if np.isinf(state["reseed.samples"]).any():
            yield "'reseed.samples' has an infinite value"

    def begin(self, level: float) -> None:
        """Begin to collect windows. ``level``: that of the blocks before the alarm."""
        self._counts[:] = 0, WINDOWS
        self._goal[0] = TOLERANCE * level

    @property
    def goal(self) -> float:
        """The level of a window above which units move."""
        return float(self._goal[0])

    @property
    def rows_left(self) -> int:
        """Number of rows until the window is full."""
        return WINDOW - int(self._counts[COLLECTED]) if self._counts[LEFT] else sys.maxsize

    def add(self, x: Float32) -> None:
        """Add learned samples, ``rows_left`` at most."""
        collected, left = self._counts.tolist()
        if left:
            added = self.samples[collected : collected + len(x)]
            added[...] = x
            added[np.isnan(added)] = np.nan  # in the state a NaN has one bit pattern
            self._counts[COLLECTED] += len(x)

    def take_window(self) -> bool:
        """Return whether the window is full. Then the next one begins."""
        full = bool(self._counts[COLLECTED] == WINDOW)
        if full:
            self._counts[COLLECTED] = 0
            self._counts[LEFT] -= 1
        return full
