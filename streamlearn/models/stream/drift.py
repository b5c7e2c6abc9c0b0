"""Watching a model's own score for a change of the stream: the rule is in ``kernels/drift.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import compiler
from ...kernels.stream import drift as kernels

DELTAS = {"page_hinkley": 0.005, "adwin": 0.002}


class Watch:
    """A detector on the scores of one model. Its arrays are part of that model's ``state``."""

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
        self._rule = kernels.DETECTORS[detector], DELTAS[detector] if delta is None else delta, threshold

    def look(self, score: NDArray[np.float32], sample: NDArray[np.int64]) -> NDArray[np.bool_]:
        """``(n,)``: at which of the samples, whose numbers are ``sample`` ``(n,)``, there is an alarm."""
        drift = np.empty(len(score), np.bool_)
        kernels.detect(score, sample, *self._rule, *self.state.values(), drift)
        return drift

    def quality(self) -> dict[str, int]:
        """``drift_alarms`` so far, and the number of the sample of the last one (−1: none yet)."""
        alarms, last = self.state["drift.alarms"].tolist()
        return {"drift_alarms": alarms, "last_drift": last}
