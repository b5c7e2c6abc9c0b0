"""Robust online scaling, the slow way: float64, one channel at a time.

The first 16 values: mean and variance (for min–max the range) of the values, cut at their median ± 4·(16/n)
times their 1.4826·MAD. Later: a value is cut at ±4 widths, times a factor that grows while values stay
outside. A width is at least as large as the channel's last digit requires.
"""

from __future__ import annotations

import math
import statistics


class Channel:
    """One channel. ``decay``: what ewma keeps of the past per value."""

    def __init__(self, method: str | None, clip: float, decay: float) -> None:
        self.method, self.clip, self.decay = method, clip, decay
        self.count = 0
        self.first: list[float] = []  # the first 16 values
        self.mean = self.variance = self.low = self.high = 0.0
        self.outside = 0.0  # log2 of the limit's factor
        self.last: float | None = None
        self.resolution: float | None = None  # the smallest change of recent values
        self.width = self.widest = 0.0

    def scaled(self, x: float) -> float:
        """``x`` by the statistics of the values so far; NaN for NaN."""
        if self.method is None or math.isnan(x):
            return x
        offset, _ = self.offset_and_width()
        width = self.width_for(x)
        return max(-self.clip, min(self.clip, (x - offset) / width)) if width > 0 else 0.0

    def offset_and_width(self) -> tuple[float, float]:
        offset = self.low if self.method == "minmax" else self.mean
        if self.resolution is None:  # all values are equal
            return offset, 0.0
        return offset, self.width

    def width_for(self, x: float) -> float:
        offset, width = self.offset_and_width()
        if self.resolution is None and self.count >= 16:
            return max(abs(offset), abs(x)) / 64
        return width

    def floor(self) -> float:
        if self.resolution is None:
            return 0.0
        offset = self.low if self.method == "minmax" else self.mean
        levels = max(self.widest / 16, abs(offset) / 64)
        return min(2 * self.resolution, max(self.resolution / 2, levels))

    def observe(self, x: float) -> None:
        if math.isnan(x):
            return
        width = self.width_for(x)
        self.count += 1
        if self.last is not None and x != self.last:
            change = abs(x - self.last)
            known = change if self.resolution is None else self.resolution * (1 + 1 / 1024)
            self.resolution = min(known, change)
        self.last = x
        if self.count <= 16:
            self.begin(x)
        elif self.method == "minmax":
            shrink = min(1 - self.decay, 0.5) * (self.high - self.low)
            self.low, self.high = self.low + shrink, self.high - shrink
            if x > self.high:
                self.high += self.cut(x - self.high, width / 64)
            else:
                self.low += self.cut(min(x - self.low, 0.0), width / 64)
        else:
            gain = 1 / self.count if self.method == "standard" else max(1 - self.decay, 1 / self.count)
            step = self.cut(x - self.mean, 4 * width)
            self.mean += gain * step
            self.variance = (1 - gain) * (self.variance + gain * step**2)
        if self.method == "minmax":
            self.width = max(self.high - self.low, self.floor())
        else:
            self.variance = max(self.variance, self.floor() ** 2)
            self.width = math.sqrt(self.variance)
        self.widest = max(self.widest, self.width)

    def begin(self, x: float) -> None:
        """One of the first 16 values."""
        self.first.append(x)
        median = statistics.median(self.first)
        deviations = [abs(v - median) for v in self.first]
        width = 1.4826 * statistics.median(deviations) or statistics.fmean(deviations)
        limit = 4 * 16 / len(self.first) * width
        values = [min(max(v, median - limit), median + limit) for v in self.first]
        self.low, self.high = min(values), max(values)
        self.mean, self.variance = statistics.fmean(values), statistics.pvariance(values)

    def cut(self, difference: float, limit: float) -> float:
        """``difference`` within ±2^outside·limit; ``outside`` counts values beyond the limit, in eighths."""
        most = 2**self.outside * limit
        if abs(difference) > limit:
            self.outside = min(self.outside + 1 / 8, 64)
        else:
            self.outside = max(self.outside - 1 / 8, 0)
        return max(-most, min(most, difference))


class Scaler:
    """``dim`` channels."""

    def __init__(self, dim: int, method: str | None, clip: float = 6.0, decay: float = 1.0) -> None:
        self.channels = [Channel(method, clip, decay) for _ in range(dim)]

    def scaled(self, x: list[float]) -> list[float]:
        return [channel.scaled(value) for channel, value in zip(self.channels, x, strict=True)]

    def observe(self, x: list[float]) -> None:
        for channel, value in zip(self.channels, x, strict=True):
            channel.observe(value)
