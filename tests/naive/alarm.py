"""Alarms in float64, from the documentation: evidence of two time scales, intervals, and runs of values."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

LADDER = (0.5, 0.8, 0.95, 0.98)
MOST = 30.0


def surprise(probability: float) -> float:
    return MOST if probability <= 0 else min(-math.log(probability), MOST)


@dataclass
class Tail:
    """The logarithms of relative values with a score above 0.98: their excess is exponential."""

    count: int = 0
    mean: float = 0.0
    variance: float = 0.0

    def __call__(self, value: float, score: float, learned: bool) -> float:
        if score <= 0.98:
            return surprise(1 - score)
        place, width = math.log(value + 0.01), max(math.sqrt(self.variance), 1e-3)
        found = surprise(1 - score)
        if self.count >= 20:
            excess = 1 + (place - self.mean) / width
            found = min(max(math.log(50) + excess, found), MOST)
        if learned:
            step = place - self.mean
            if self.count >= 20:
                step = min(step, 4 * width)
            gain = max(1 / 200, 1 / (self.count + 1))
            self.count += 1
            self.mean += gain * step
            self.variance = (1 - gain) * (self.variance + gain * step**2)
        return found


@dataclass
class Level:
    """The running mean of a value."""

    memory: int
    count: int = 0
    level: float = 0.0

    def relative(self, value: float, first: float) -> float:
        """The value as a multiple of the level; of the first level ``first`` before any sample."""
        level = self.level if self.count else first
        return value / level if level > 0 else (1.0 if value == 0 else 100.0)

    def learn(self, value: float) -> None:
        level = self.level if self.count else value
        self.count += 1
        step = (min(value, 4 * level) if level > 0 else value) - level
        self.level = level + max(1 / self.memory, 1 / self.count) * step


@dataclass
class Ladder:
    """Tracked quantiles of the logarithm of a positive relative value."""

    count: int = 0
    centre: float = 0.0
    width: float = 0.0
    excesses: int = 0
    excess: float = 0.0
    rungs: list[float] = field(default_factory=lambda: [0.0] * 4)

    def __call__(self, relative: float, learned: bool) -> float:
        place = math.log(relative + 0.01)
        if not self.count:
            self.centre, self.rungs = place, [place] * 4
        found = self.surprise(place)
        if learned:
            gain = max(1 / 4000, 1 / (self.count + 1))
            self.count += 1
            self.learn(place, gain)
        return found

    def surprise(self, place: float) -> float:
        levels = [-math.log(1 - p) for p in LADDER]
        if place >= self.rungs[-1]:
            beyond = (place - self.rungs[-1]) / self.excess if self.excess > 0 else 0.0
            return min(levels[-1] + beyond, MOST)
        above = next(r for r in range(4) if place < self.rungs[r])
        if above == 0:
            return 0.0
        low, high = self.rungs[above - 1 : above + 1]
        share = (place - low) / (high - low) if high > low else 0.5
        return levels[above - 1] + share * (levels[above] - levels[above - 1])

    def learn(self, place: float, gain: float) -> None:
        away, width, last = place - self.centre, self.width, self.rungs[-1]
        if self.count > 8:
            away = min(max(away, -4 * width), 4 * width)
        self.centre += gain * away
        self.width += gain * (abs(away) - self.width)
        if place > last:
            beyond = place - last if self.excesses < 8 else min(place - last, 4 * self.excess)
            self.excess += max(1 / 200, 1 / (self.excesses + 1)) * (beyond - self.excess)
            self.excesses += 1
        for r, p in enumerate(LADDER):
            step = min(self.width * max(5 / 4000, min(5 / self.count, 0.05)) / (1 - p), self.width / 2)
            self.rungs[r] += step * p if place > self.rungs[r] else -step * (1 - p)
            if r:
                self.rungs[r] = max(self.rungs[r], self.rungs[r - 1])


class Hours:
    """The evidence of the residual from the mean of the hour."""

    def __init__(self) -> None:
        self.means: dict[int, tuple[int, float]] = {}
        self.recent: deque[float] = deque(maxlen=8)
        self.one, self.mean, self.level = Ladder(), Ladder(), Level(4000)

    def __call__(self, value: float, time: int, learned: bool = True) -> float:
        hour = time // 3_600_000_000_000 % 24
        count, mean = self.means.get(hour, (0, 0.0))
        found = 0.0
        if count:
            self.recent.append(value - mean)
            size, smooth = abs(value - mean), abs(sum(self.recent) / len(self.recent))
            one = self.one(self.level.relative(size, size), learned)
            found = max(one, self.mean(self.level.relative(smooth, size), learned))
            if learned:
                self.level.learn(size)
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
        pooled: tuple[Tail, Ladder, Level, Level] | None = None,
    ) -> None:
        self.above, self.times, self.clear, self.quiet, self.after = above, times, clear, quiet, after
        self.tail, self.ladder, self.recent_level, self.level = pooled or (
            Tail(),
            Ladder(),
            Level(256),
            Level(4000),
        )
        self.threshold = Threshold(false_alarms)
        self.recent: deque[float] = deque(maxlen=8)
        self.high: deque[bool] = deque(maxlen=times[1])
        self.evidence = self.limit = math.nan
        self.since_high = math.inf  # samples since high evidence
        self.largest = 0.0  # evidence of the fault that is not over
        self.alarm: dict[str, float] | None = None
        self.low = 0

    def observe(
        self, value: float, score: float, number: int, learned: bool = True, other: float = 0.0
    ) -> tuple[str, dict | None]:
        """Return "none", "begin", "on" or "end", and the alarm that begins or ends.

        ``other`` is a second evidence of the sample. The larger one counts.
        """
        if math.isnan(score) or math.isnan(value):
            self.evidence = math.nan
            return ("on" if self.alarm else "none"), None
        self.recent.append(value)
        own = self.tail(self.recent_level.relative(value, value), score, learned)
        mean = sum(self.recent) / len(self.recent)
        smooth = self.ladder(self.level.relative(mean, value), learned)
        if learned:
            self.level.learn(value)
            self.recent_level.learn(value)
        self.evidence = e = max(own, smooth, other)
        settled = self.ladder.count > self.after
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
