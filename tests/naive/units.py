"""What a map and a competitive net share, the slow way: units with a place in the space of the samples.

Missing channels (NaN) take no part; the distance is what it would be if they were as far as the others are
on average. Of units equally near the lowest index wins.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from tests.naive.scale import Scaler
from tests.naive.score import Score


def decayed(schedule: tuple[float, float, float], t: float) -> float:
    """v(t) = end + (start − end)·exp(−t/τ) of ``(start, end, τ)``."""
    start, end, tau = schedule
    return end + (start - end) * math.exp(-t / tau)


@dataclass
class UnitOutputs:
    """The outputs for one sample."""

    winner: int
    second: int
    distance: float
    score: float
    channels: int


class CommonUnits:
    """The units that the score compares with: those that have won often enough."""

    def __init__(self, units: int, room: int, rare_below: float) -> None:
        self.wins, self.common, self.learned = [0.0] * units, [True] * units, 0
        self.period, self.rare_below = max(room, 64), rare_below
        self.decay = 0.5 ** (1 / max(50 * room, 2000))

    def count(self, winner: int) -> None:
        self.wins = [self.decay * n for n in self.wins]
        self.wins[winner] += 1
        self.learned += 1

    def update(self) -> None:
        if self.learned % self.period == 0 and any(self.wins):
            typical = math.fsum(n * n for n in self.wins) / math.fsum(self.wins)
            self.common = [n >= self.rare_below * typical for n in self.wins]


class Units(ABC):
    """Weight vectors, a scaler and a score: what a map and a competitive net share."""

    def __init__(self, weights, scale=None, clip=6.0, half_life=10_000.0, room=None, rare_below=0.4) -> None:
        self.weights = [[float(v) for v in w] for w in weights]
        self.decay = 0.5 ** (1 / half_life)
        self.scaler = Scaler(len(self.weights[0]), scale, clip, self.decay)
        self.score = Score(len(self.weights[0]))
        self.equal_below = 1e-3 if scale else 0.0  # widths
        self.common = CommonUnits(len(self.weights), room or len(self.weights), rare_below)
        self.compared = math.nan  # the distance that the score of the latest sample compares
        self.t = 0

    def squared_distances(self, x: list[float]) -> list[float]:
        """‖x − w_j‖² for every unit j, over the channels that ``x`` has."""
        return [
            math.fsum((a - b) ** 2 for a, b in zip(x, w, strict=True) if not math.isnan(a))
            for w in self.weights
        ]

    def by_distance(self, x: list[float]) -> list[int]:
        """Return the units, the nearest first. Among equal distances the lower index is nearer."""
        squares = self.squared_distances(x)
        return sorted(range(len(squares)), key=lambda j: (squares[j], j))

    def predict(self, sample) -> UnitOutputs:
        x = self.scaler.scaled([float(v) for v in sample])
        channels = sum(not math.isnan(v) for v in x)
        self.compared = math.nan
        if channels == 0:
            return UnitOutputs(-1, -1, math.nan, math.nan, 0)
        squares, order = self.squared_distances(x), self.by_distance(x)
        distance = math.sqrt(squares[order[0]] * len(x) / channels)
        second = order[1] if len(order) > 1 else -1
        unit = next((j for j in order if self.common.common[j]), order[0])
        self.compared = max(math.sqrt(squares[unit] * len(x) / channels), self.equal_below)
        return UnitOutputs(order[0], second, distance, self.score.rank(self.compared, channels), channels)

    def learn(self, sample) -> UnitOutputs:
        """Learn one sample. Return its outputs from before it was learned."""
        outputs = self.predict(sample)
        if outputs.channels:
            self.common.count(outputs.winner)
            self.adapt(self.scaler.scaled([float(v) for v in sample]), outputs)
        self.grow()
        self.common.update()
        self.score.observe(self.compared, outputs.channels)
        self.scaler.observe([float(v) for v in sample])
        self.t += 1
        return outputs

    def grow(self) -> None:  # noqa: B027
        """Add units after a sample was learned."""

    @abstractmethod
    def adapt(self, x: list[float], outputs: UnitOutputs) -> None:
        """Move the weights for the scaled sample ``x``."""

    def pull(self, j: int, x: list[float], step: float) -> None:
        """w_j += step·(x − w_j) in the channels that ``x`` has."""
        for c, value in enumerate(x):
            if not math.isnan(value):
                self.weights[j][c] += step * (value - self.weights[j][c])
