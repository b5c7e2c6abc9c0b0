"""Online scaling, the slow way: float64, one channel at a time, from the whole history at every step.

Standard scaling is (x − mean)/standard deviation (of the population) and min–max is (x − min)/(max − min),
over all values the channel has had. Exponentially weighted scaling takes mean and variance of the history
with weight ``decay``^age, except that while the history is short every value weighs alike.
"""

from __future__ import annotations

import math


class Channel:
    """One channel's history; ``decay`` is what ewma keeps of the past per value."""

    def __init__(self, method: str | None, clip: float, decay: float) -> None:
        self.method, self.clip, self.decay = method, clip, decay
        self.values: list[float] = []
        self.weights: list[float] = []  # of the values, for the exponentially weighted mean; they sum to 1

    def scaled(self, x: float) -> float:
        """``x`` by the statistics of the values so far; 0 while they have not varied, NaN for NaN."""
        if self.method is None or math.isnan(x):
            return x
        offset, width = self.offset_and_width()
        return max(-self.clip, min(self.clip, (x - offset) / width)) if width > 0 else 0.0

    def offset_and_width(self) -> tuple[float, float]:
        if not self.values:
            return 0.0, 0.0
        if self.method == "minmax":
            return min(self.values), max(self.values) - min(self.values)
        if self.method == "standard":
            weights = [1 / len(self.values)] * len(self.values)
        else:
            weights = self.weights
        mean = math.fsum(w * v for w, v in zip(weights, self.values, strict=True))
        variance = math.fsum(w * (v - mean) ** 2 for w, v in zip(weights, self.values, strict=True))
        return mean, math.sqrt(variance)

    def observe(self, x: float) -> None:
        if math.isnan(x):
            return
        self.values.append(x)
        gain = max(1 - self.decay, 1 / len(self.values))
        self.weights = [w * (1 - gain) for w in self.weights] + [gain]


class Scaler:
    """``dim`` channels."""

    def __init__(self, dim: int, method: str | None, clip: float = 6.0, decay: float = 1.0) -> None:
        self.channels = [Channel(method, clip, decay) for _ in range(dim)]

    def scaled(self, x: list[float]) -> list[float]:
        return [channel.scaled(value) for channel, value in zip(self.channels, x, strict=True)]

    def observe(self, x: list[float]) -> None:
        for channel, value in zip(self.channels, x, strict=True):
            channel.observe(value)
