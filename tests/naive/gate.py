"""What a limit of the score lets a model learn, from scores and distances (``kernels/stream/gate.py``)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


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
    decay: float = 0.5 ** (1 / 10_000)  # of the score, per sample
    lately: float = 0.0
    watched: list[float] = field(default_factory=list)  # means of eight, in this episode
    gap: int = 0
    heights: list[float] = field(default_factory=list)  # of the episodes that ended by themselves
    passed: int = 0  # samples that were learned since they had passed before

    def watches(self, score: float) -> bool:
        """Return whether the sample with this score is watched."""
        unusual = score > self.limit or self.stretch
        if not math.isnan(score):
            self._gather(min(-math.log(1 - score), 7.0) - 1)
        if self.learned < self.first or not unusual:
            self.run = 0
            self.learned += 1
            return False
        if self.run >= 4 and len(self.heights) >= 3 and self.lately < min(self.heights[-3:]):
            self.learned += 1
            self.passed += 1
            return False
        self.run += 1
        return not self._has_no_patience()

    def follow(self, value: float, watched: bool) -> None:
        """Take the distance or error of the sample that ``watches`` decided about."""
        if math.isnan(value):
            return
        self.lately += (value - self.lately) / 8
        if watched:
            self.watched.append(self.lately)
            self.gap = 0
            return
        self.heights = [height * (1 - (1 - self.decay) / 4) for height in self.heights]
        self.gap += 1
        given_up = self._has_no_patience()
        if given_up or self.gap == 32:
            if len(self.watched) >= 64 and not given_up:
                self.heights.append(max(self.watched))
            self.watched = []

    def _has_no_patience(self) -> bool:
        default = self.learned if self.learned > 10_000 else min(2 * self.learned, 10_000)
        return self.run > (default if self.patience is None else self.patience)

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
