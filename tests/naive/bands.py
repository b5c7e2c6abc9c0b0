"""The level of the errors of a forecast, see ``kernels/forecast/bands.py``."""

from __future__ import annotations


class Level:
    def __init__(self):
        self.total = self.count = self.recent = self.mean = 0.0
        self.patience = 1.0

    @property
    def value(self):
        if not self.count:
            return 0.0
        return max(self.total / self.count, self.recent / 2, self.mean / 10)

    def add(self, error, earlier):
        """``earlier``: errors so far that had a level."""
        limit = 6 * self.patience * self.value if self.value > 0 else float("inf")
        counted = min(error, limit)
        self.total, self.count = (
            self.total * 0.5 ** (1 / 100) + counted,
            self.count * 0.5 ** (1 / 100) + 1,
        )
        self.recent += max(1 - 0.5 ** (1 / 10), 1 / (earlier + 1)) * (counted - self.recent)
        self.mean += max(1e-4, 1 / (earlier + 1)) * (counted - self.mean)
        self.patience = self.patience * 2**0.25 if error > limit else max(self.patience / 2**0.25, 1.0)
