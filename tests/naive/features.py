"""Features of a stream in float64, one sample after another, as their definition says."""

from __future__ import annotations

import datetime
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np


class Features:
    """Keeps every value of every stream."""

    def __init__(self, dim: int, spec: dict[str, Any], keys: int | None = None) -> None:
        self.dim, self.spec, self.keys = dim, spec, keys
        self.earlier: dict[Any, list[np.ndarray]] = defaultdict(list)
        self.averages: dict[Any, np.ndarray] = {}  # by key: (memory, dim)
        self.recent: list[Any] = []  # keys, the least recently seen first

    def _back(self, history: Sequence[np.ndarray], k: int) -> np.ndarray:
        return history[-1 - k] if k < len(history) else np.full(self.dim, np.nan)

    def _remember(self, x: np.ndarray, key: Any) -> np.ndarray:
        """Return the running averages after ``x``, (memory, dim)."""
        constants = np.array(self.spec.get("memory", []), float)[:, None]
        before = self.averages.get(key, np.full((len(constants), self.dim), np.nan))
        now = np.where(np.isnan(before), x, before + (x - before) / constants)
        self.averages[key] = np.where(np.isnan(x), before, now)
        return self.averages[key]

    def next(self, x: np.ndarray, time: int | None = None, key: Any = None) -> np.ndarray:
        """Return the features of the next sample of a stream."""
        if self.keys is not None:
            if key not in self.recent and len(self.recent) == self.keys:
                forgotten = self.recent.pop(0)
                self.earlier.pop(forgotten)
                self.averages.pop(forgotten)
            self.recent = [other for other in self.recent if other != key] + [key]
        history = self.earlier[key]
        history.append(np.asarray(x, np.float64))
        averages = self._remember(history[-1], key)
        if np.isnan(history[-1]).all():
            terms = len(self.spec.get("lags", [])) + len(self.spec.get("differences", []))
            terms += 2 * len(self.spec.get("period", [])) + len(averages)
            return np.full(self.dim * (1 + terms) + 2 * len(self.spec.get("calendar", [])), np.nan)
        parts = [history[-1]]
        parts += [self._back(history, k) for k in self.spec.get("lags", [])]
        parts += [history[-1] - self._back(history, k) for k in self.spec.get("differences", [])]
        for m in self.spec.get("period", []):
            parts += [self._back(history, m), self._back(history, m - 1) - self._back(history, m)]
        parts += list(averages)
        for cycle in self.spec.get("calendar", []):
            assert time is not None
            zone = datetime.timezone(datetime.timedelta(hours=self.spec.get("utc_offset", 0)))
            clock = datetime.datetime.fromtimestamp(0, zone) + datetime.timedelta(microseconds=time / 1000)
            hours = clock.hour + clock.minute / 60 + (clock.second + clock.microsecond / 1e6) / 3600
            turn = hours / 24 if cycle == "hour" else (clock.weekday() + hours / 24) / 7
            parts.append(np.array([math.sin(2 * math.pi * turn), math.cos(2 * math.pi * turn)]))
        return np.concatenate(parts)
