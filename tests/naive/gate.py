"""What a limit of the score lets a model learn, from the scores alone (``kernels/stream/gate.py``)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Gate:
    """Which samples are watched."""

    limit: float
    first: float  # samples that are learned in any case
    patience: int | None = None
    run: int = 0
    learned: int = 0
    mean: float = 0.0
    square: float = 0.25
    evidence: float = 0.0
    stretch: bool = False

    def watches(self, score: float) -> bool:
        """Return whether the sample with this score is watched."""
        unusual = score > self.limit or self.stretch
        if not math.isnan(score):
            self._gather(min(-math.log(1 - score), 7.0) - 1)
        if self.learned < self.first or not unusual:
            self.run = 0
            self.learned += 1
            return False
        self.run += 1
        default = self.learned if self.learned > 10_000 else min(2 * self.learned, 10_000)
        return self.run <= (default if self.patience is None else self.patience)

    def _gather(self, excess: float) -> None:
        self.mean += (excess - self.mean) / 64
        if not self.stretch:
            self.square += (self.mean**2 - self.square) / min(self.learned + 128, 20_000)
        if self.learned < self.first:
            return
        square = max(self.square, 1 / 72)
        slack, limit = 3 * math.sqrt(square), 2000 * square
        if self.stretch:
            slack = max(slack, 1.0)
        self.evidence = min(max(self.evidence + excess - slack, 0.0), 3 * limit)
        self.stretch = self.evidence > (0.0 if self.stretch else limit)
