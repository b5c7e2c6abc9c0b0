"""Contributions in float64: shares of deviations, and the usual size of forecast errors."""

from __future__ import annotations

import numpy as np


def shares(deviations: np.ndarray) -> np.ndarray:
    """Each deviation over the sum of those that are not NaN; 0 for NaN."""
    total = np.nansum(deviations)
    present = ~np.isnan(deviations)
    return np.where(present, deviations / total if total > 0 else 1 / present.sum(), 0)


class ErrorScale:
    """Mean of |error| of each channel, exponentially weighted, without outliers.

    An error counts with at most u·6 means, where u grows by 2^(1/8) with every outlier and is 1 after any
    other error. An error below 2^-20 of the value has no meaning.
    """

    def __init__(self, columns: int, decay: float) -> None:
        self.decay = decay
        self.count = np.zeros(columns)
        self.mean = np.zeros(columns)
        self.limit = np.full(columns, 6.0)

    def usual(self, values: np.ndarray) -> np.ndarray:
        floor = np.abs(values.astype(float)) * 2.0**-20
        return np.where(self.count > 0, np.maximum(self.mean, floor), 1.0)

    def observe(self, errors: np.ndarray, values: np.ndarray) -> None:
        for c, error in enumerate(np.abs(errors)):
            if not np.isfinite(error):
                continue
            self.count[c] += 1
            if self.count[c] == 1:
                self.mean[c] = error
                continue
            most = self.limit[c] * max(self.mean[c], abs(float(values[c])) * 2.0**-20)
            self.limit[c] = self.limit[c] * 2**0.125 if error > most else 6.0
            gain = max(1 - self.decay, 1 / self.count[c])
            self.mean[c] += gain * (min(error, most) - self.mean[c])
