"""Alarms in float64, from the documentation: evidence of several values, intervals, and runs of values."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

MOST = 30.0


def one_in_four(number: int) -> bool:
    """Whether the sample is the one in four, which moves by one every 64 samples."""
    return (number + number // 64) % 4 == 0


@dataclass
class Tail:
    """The surprise of a value beyond its quantile at 0.98, which is a multiple of its running mean."""

    memory: int = 4000
    count: int = 0
    level: float = 0.0
    quantile: float = 1.0
    excess: float = 0.2
    beyond: int = 0

    def __call__(self, value: float, learned: bool = True) -> float:
        if not self.count:
            if not learned:
                return 0.0
            self.level = value
        high, found = value > self.quantile * self.level, 0.0
        if high and self.count >= 200:
            soft = 0.01 * self.level
            ratio = (value + soft) / (self.quantile * self.level + soft) if self.level > 0 else math.exp(5)
            found = min(math.log(50) + math.log(ratio) / max(self.excess, 0.02), MOST)
            if learned:
                self.beyond += 1
                step = min(math.log(ratio), 4 * self.excess) - self.excess
                self.excess += max(1 / 200, 1 / (self.beyond + 4)) * step
        if learned:
            self.count += 1
            rate = max(5 / 4000, min(5 / self.count, 0.05))
            step = min(50 * rate * max(self.excess, 0.02), 0.5)
            self.quantile = max(self.quantile * (1 + step * (0.98 if high else -0.02)), 1e-3)
            change = (min(value, 4 * self.level) if self.level > 0 else value) - self.level
            self.level += max(1 / self.memory, 1 / self.count) * change
        return found

    def cut(self, otherwise: float) -> float:
        """The largest value that joins a mean."""
        return 3 * self.quantile * self.level if self.count >= 100 else otherwise


@dataclass
class Pooled:
    """What several streams share."""

    of_sample: Tail = field(default_factory=lambda: Tail(256))
    of_mean: Tail = field(default_factory=Tail)
    of_deviation: Tail = field(default_factory=Tail)
    of_lasting: Tail = field(default_factory=Tail)


class Deviations:
    """The deviation of each channel from what its expected value and the other channels let expect."""

    def __init__(self, channels: int) -> None:
        self.count, self.limit, self.channels = 0, 6.0, channels
        self.mean, self.scale = np.zeros(channels), np.zeros(channels)
        self.covariance, self.weights = np.zeros((channels, channels)), np.zeros((channels, channels))

    def __call__(self, x: np.ndarray, expected: np.ndarray, learned: bool = True) -> np.ndarray | None:
        """The deviations, NaN for a missing channel; None if all are missing."""
        x, expected = x.astype(float), expected.astype(float)
        r = x - expected
        seen = np.isfinite(r)
        if not seen.any():
            return None
        r = np.where(np.abs(r) > 2.0**-20 * np.abs(x), r, 0)
        v = np.where(seen, r - self.mean, 0)
        z = np.clip(v * self.scale, -self.count, self.count)
        u = np.where(seen, z @ self.weights, np.nan)
        if learned:
            self.learn(v, float(np.abs(z).max()))
        return u

    def learn(self, v: np.ndarray, most: float) -> None:
        self.count += 1
        factor = 1.0
        if self.count > 16:
            limit, self.limit = self.limit, 6.0
            if most > limit:
                factor, self.limit = limit / most, limit * 2 ** (1 / 8)
        if self.count >= 256 and not one_in_four(self.count):
            return
        gain = max(1 / self.count, 1 / 4000) * (4 if self.count >= 256 else 1)
        self.mean = self.mean + gain * factor * v
        self.covariance = (1 - gain) * (self.covariance + gain * factor**2 * np.outer(v, v))
        if self.count in (4, 8, 16, 32, 64, 128, 256) or self.count % 512 == 0:
            self.scale = 1 / np.maximum(np.sqrt(np.diag(self.covariance)), 1e-30)
            correlations = self.covariance * np.outer(self.scale, self.scale)
            np.fill_diagonal(correlations, 1 + 1e-3 + self.channels * gain)
            inverse = np.linalg.inv(correlations)
            self.weights = inverse / np.sqrt(np.diag(inverse))


class Hours:
    """The evidence of the residual from the mean of the hour."""

    def __init__(self) -> None:
        self.means: dict[int, tuple[int, float]] = {}
        self.recent: deque[float] = deque(maxlen=8)
        self.one, self.mean = Tail(), Tail()

    def __call__(self, value: float, time: int, learned: bool = True) -> float:
        hour = time // 3_600_000_000_000 % 24
        count, mean = self.means.get(hour, (0, 0.0))
        found = 0.0
        if count:
            self.recent.append(value - mean)
            smooth = abs(sum(self.recent) / len(self.recent))
            found = max(self.one(abs(value - mean), learned), self.mean(smooth, learned))
        if learned:
            self.means[hour] = count + 1, mean + max(0.02, 1 / (count + 1)) * (value - mean)
        return found


class Threshold:
    """The evidence that ``rate`` alarms in 100,000 samples exceed."""

    def __init__(self, rate: float) -> None:
        self.factor = math.log(75 / rate)
        self.quantile, self.excess, self.peaks = 6.9, 0.75, 20
        self.blocks: int = 0
        self.block: list[float] = []
        self.was_high = False

    @property
    def above(self) -> float:
        return self.quantile + self.excess * self.factor

    def learn(self, evidence: float, above: float) -> None:
        self.block.append(evidence)
        if len(self.block) < 200:
            return
        peak, self.block = max(0.0, *self.block), []
        was_high, self.was_high = self.was_high, peak > above
        if was_high and peak > above:
            return
        self.blocks += 1
        step = max(0.05, 2 / (self.blocks + 10)) * self.excess
        if peak > self.quantile:
            self.peaks += 1
            excess = min(peak - self.quantile, 3 * self.excess) / (1 - math.exp(-3))
            self.excess += max(0.02, 1 / self.peaks) * (excess - self.excess)
            self.quantile += 0.8 * step
        else:
            self.quantile -= 0.2 * step


class Alarm:
    """The alarms of one stream. ``pooled`` may hold what several streams share."""

    def __init__(
        self,
        above: float | None = None,
        times: tuple[int, int] = (1, 1),
        clear: float = 3.0,
        quiet: int = 200,
        after: int = 500,
        false_alarms: float = 1.0,
        pooled: Pooled | None = None,
        channels: int = 0,
    ) -> None:
        self.above, self.times, self.clear, self.quiet, self.after = above, times, clear, quiet, after
        self.pooled = pooled or Pooled()
        self.threshold = Threshold(false_alarms)
        self.count, self.mean, self.lasting = 0, 0.0, np.zeros(channels)
        self.high: deque[bool] = deque(maxlen=times[1])
        self.evidence = self.limit = math.nan
        self.since_high = math.inf  # samples since high evidence
        self.largest = 0.0  # evidence of the fault that is not over
        self.alarm: dict[str, float] | None = None
        self.low = 0

    def observe(
        self,
        value: float,
        score: float,
        number: int,
        learned: bool = True,
        other: float = 0.0,
        u: np.ndarray | None = None,
    ) -> tuple[str, dict | None]:
        """Return "none", "begin", "on" or "end", and the alarm that begins or ends.

        ``other`` is a further evidence of the sample. The larger one counts. ``u``: the channels' deviations.
        """
        if math.isnan(score) or math.isnan(value):
            self.evidence = math.nan
            return ("on" if self.alarm else "none"), None
        pooled = self.pooled
        some = learned and (pooled.of_sample.count < 1000 or one_in_four(number))
        joins = min(value, pooled.of_sample.cut(math.inf))
        self.count += 1
        self.mean += (joins - self.mean) / min(self.count, 8)
        own = min(-math.log(1 - score) if score < 1 else MOST, math.log(10_000))
        own = max(own, pooled.of_sample(value, learned))
        smooth = pooled.of_mean(self.mean, some)
        if u is not None:
            cut = pooled.of_deviation.cut(1000.0)
            steps = np.clip(u, -cut, cut) - self.lasting
            self.lasting += np.where(np.isnan(u), 0, steps / 8)
            other = max(other, pooled.of_deviation(float(np.nanmax(np.abs(u))), learned))
            other = max(other, pooled.of_lasting(float(np.abs(self.lasting).max()), some))
        self.evidence = e = max(own, smooth, other)
        settled = pooled.of_sample.count > self.after
        self.limit = max(self.threshold.above, self.clear) if self.above is None else self.above
        high = settled and e > self.limit
        if settled and learned:
            self.threshold.learn(e, self.limit)
        self.high.append(high)
        self.since_high += 1
        if self.since_high > self.quiet:
            self.largest = 0.0
        before = self.largest
        reached = high and sum(self.high) >= self.times[0]
        if reached or (high and self.alarm is not None):
            self.largest, self.since_high = max(before, e), 0
        if self.alarm is not None:
            self.alarm["samples"] += 1
            self.low = self.low + 1 if e < self.clear else 0
            if not self.low:
                self._add(e, score, number)
            if self.low >= max(self.times[1], 8):
                ended, self.alarm = self.alarm, None
                ended["samples"] -= self.low
                return "end", ended
            return "on", None
        if reached and (before == 0 or e > before + 1):
            self.alarm = {"first": number, "samples": 1, "evidence": 0.0, "score": 0.0}
            self.low = 0
            self._add(e, score, number)
            return "begin", dict(self.alarm)
        return "none", None

    def _add(self, evidence: float, score: float, number: int) -> None:
        assert self.alarm is not None
        self.alarm["last"] = number
        if evidence > self.alarm["evidence"]:
            self.alarm["evidence"], self.alarm["peak"] = evidence, number
        self.alarm["score"] = max(self.alarm["score"], score)


@dataclass
class Runs:
    """Runs of equal values of one channel."""

    value: float = math.nan
    length: int = 0
    complete: int = 0
    longest: float = 0.0
    reported: bool = False

    def observe(self, value: float) -> str:
        """Return "", "begin" or "end"."""
        if math.isnan(value):
            return ""
        limit = max(16.0, 3 * self.longest)
        if self.length and value == self.value:
            self.length += 1
            if not self.reported and self.complete >= 20 and self.length > limit:
                self.reported = True
                return "begin"
            return ""
        ended = self.reported
        if self.length:
            length = min(self.length, limit) if ended else self.length
            self.longest = max(length, self.longest - length / 4096)
            self.complete += 1
        self.value, self.length, self.reported = value, 1, False
        return "end" if ended else ""
