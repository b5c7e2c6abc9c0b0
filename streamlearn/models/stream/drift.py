"""Drift detection on the scores of a model. ``kernels/stream/drift.py`` defines the detectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import compiler
from ...kernels.stream import drift as kernels
from ..state_checks import LARGEST_COUNT, Range, State

DELTAS = {"page_hinkley": 0.005, "adwin": 0.002}


class DriftDetector:
    """A drift detector on the scores of one model. Its arrays are part of the model's ``state``."""

    may_hold_inf = ("drift.page",)  # the extremes before the first score

    def __init__(self, detector: str, delta: float | None, threshold: float) -> None:
        compiler.ready(kernels)
        page = np.zeros(6)
        page[[kernels.LEAST, kernels.LARGEST]] = np.inf, -np.inf
        self.state: dict[str, NDArray[Any]] = {
            "drift.page": page,
            "drift.window": np.zeros(4),
            "drift.buckets": np.zeros((kernels.ROWS, kernels.MOST + 1, 2)),
            "drift.sizes": np.zeros(kernels.ROWS, np.int64),
            "drift.alarms": np.array([0, -1], np.int64),
        }
        self.ranges = {
            "drift.sizes": Range(0, kernels.MOST),
            "drift.alarms": Range((0, -1), LARGEST_COUNT),
        }
        delta = DELTAS[detector] if delta is None else delta
        self._parameters = kernels.DETECTORS[detector], delta, threshold

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe a window of another length than its buckets."""
        values = sum(size << row for row, size in enumerate(state["drift.sizes"].tolist()))
        if state["drift.window"][kernels.LENGTH] != values:
            yield f"'drift.window' has another length than the {values} values of its buckets"

    def detect(self, score: NDArray[np.float32], sample: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether each sample raises an alarm, ``(n,)``. ``sample`` ``(n,)``: the samples' numbers."""
        drift = np.empty(len(score), np.bool_)
        kernels.detect(score, sample, *self._parameters, *self.state.values(), drift)
        return drift

    def quality(self) -> dict[str, int]:
        """Return ``drift_alarms`` and ``last_drift``: the sample number of the last alarm, −1 for none."""
        alarms, last = self.state["drift.alarms"].tolist()
        return {"drift_alarms": alarms, "last_drift": last}
