"""The calibrated score, the slow way, in float64 with the functions of ``math``.

Written from the rule: y = d^(2/3), divided by a level; z by location and width of the samples with the same
number k of present values; the share of earlier z below this one, among all samples and among those of the
class of k. Forgetting multiplies every weight. A histogram is a list of weights between explicit edges.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field

QUARTERS = [2.0 ** (octave - 3) * (1 + quarter / 4) - 0.125 for octave in range(7) for quarter in range(4)]
UP = QUARTERS + [2.0**octave - 0.125 for octave in range(4, 17)]
EDGES = [-edge for edge in reversed(QUARTERS[:25])] + UP[1:]  # 65 edges


@dataclass
class Histogram:
    """Weights of earlier z, in units of the weight of the next one."""

    samples: float = 0.0
    weights: list[float] = field(default_factory=lambda: [0.0] * 64)
    positions: list[float] = field(default_factory=lambda: [0.0] * 64)
    squares: list[float] = field(default_factory=lambda: [0.0] * 64)

    def place(self, z: float) -> tuple[int, float]:
        z = 0.0 if abs(z) < 2.0**-27 else z  # float32 does not resolve |z| + 1/8 better
        if z < EDGES[0]:
            return 0, 0.0
        if z >= EDGES[-1]:
            return 63, 1.0
        b = bisect.bisect_right(EDGES, z) - 1
        return b, (z - EDGES[b]) / (EDGES[b + 1] - EDGES[b])

    def share_below(self, z: float) -> tuple[int, float, float]:
        """The bin of z, the part of its weight below z, and the share of all weight below z."""
        b, position = self.place(z)
        weight, part = self.weights[b], position
        if weight > 0:  # uniform with the mean and the variance of the positions
            mean = self.positions[b] / weight
            half = max(math.sqrt(3 * max(self.squares[b] / weight - mean**2, 0.0)), 1e-6)
            part = 0.999 * min(max((position - mean + half) / (2 * half), 0.0), 1.0) + 0.001 * position
        return b, part, (math.fsum(self.weights[:b]) + part * weight) / (math.fsum(self.weights) + 1)

    def add(self, z: float, decay: float) -> None:
        b, position = self.place(z)
        self.weights[b] += 1
        self.positions[b] += position
        self.squares[b] += position**2
        self.samples += 1
        self.multiply(min(decay, (self.samples + 1) / (self.samples + 4)))

    def multiply(self, factor: float) -> None:
        self.weights = [factor * w for w in self.weights]
        self.positions = [factor * p for p in self.positions]
        self.squares = [factor * s for s in self.squares]

    def reduce_to(self, samples: float) -> None:
        if self.samples > samples:
            self.samples = samples
            self.multiply(min(1.0, samples / math.fsum(self.weights)))


@dataclass
class Class:
    """The samples of one class of numbers of present values, in wider bins."""

    weights: list[float] = field(default_factory=lambda: [0.0] * 46)

    @staticmethod
    def bin_of(b: int) -> int:
        return b // 4 if b < 24 else b - 18

    def share_below(self, b: int, part: float, share: float) -> float:
        """``b``, ``part``, ``share``: bin, part of the bin below, and share below among all samples."""
        own = self.bin_of(b)
        part = (b % 4 + part) / 4 if b < 24 else part
        below = math.fsum(self.weights[:own]) + part * self.weights[own]
        return (below + 50 * share) / (math.fsum(self.weights) + 50)

    def add(self, b: int, decay: float) -> None:
        total = math.fsum(self.weights)
        self.weights = [min(decay, (4 * total + 1) / (4 * total + 4)) * w for w in self.weights]
        self.weights[self.bin_of(b)] += 1

    def reduce_to(self, samples: float) -> None:
        total = math.fsum(self.weights)
        self.weights = [w * samples / max(total, samples) for w in self.weights]


@dataclass
class Row:
    """The samples with one number of present values (or one class of numbers)."""

    samples: float = 0.0
    location: float = 0.0
    variance: float = 0.0
    factor: float = 0.0
    offset: float = 0.0

    def width(self, y: float = 0.0) -> float:
        return max(math.sqrt(self.variance), 1e-6 * max(self.location, y), 1e-30)


class Score:
    """The score of distances or errors over at most ``columns`` values."""

    def __init__(self, columns: int = 1, half_life: float = 10_000.0) -> None:
        self.columns, self.decay = columns, 0.5 ** (1 / half_life)
        self.rows = [Row() for _ in range(min(columns, 32))]
        self.all = Histogram()
        self.own = [Class() for _ in range(min(columns, 4))]
        self.numbers: set[int] = set()
        self.count = 0
        self.level = self.spread = 1.0
        self.limit, self.trend = 4.0, 0.0
        self.octiles: list[int] = []
        self.chi = 7.0

    def row(self, present: int) -> Row:
        return self.rows[math.ceil(present * len(self.rows) / self.columns) - 1]

    def class_of(self, present: int) -> Class:
        return self.own[math.ceil(present * len(self.own) / self.columns) - 1]

    def rank(self, value: float, present: int = 1) -> float:
        if math.isnan(value) or present < 1:
            return math.nan
        row = self.row(present)
        if self.count < 16 or row.samples == 0:
            return 0.5
        z = self.power(value) * row.factor - row.offset
        b, part, share = self.all.share_below(z)
        if len(self.numbers) > 1:
            share = self.class_of(present).share_below(b, part, share)
        return min(share, 1 - 2**-24, 0.98 if z < 0 else 1.0)

    @staticmethod
    def power(value: float) -> float:
        return (min(value, 3.4028234663852886e38) ** 2 + 1e-90) ** (1 / 3)

    def observe(self, value: float, present: int = 1) -> None:
        if math.isnan(value) or present < 1:
            return
        row, power = self.row(present), self.power(value)
        self.count += 1
        self.numbers.add(present)
        if row.samples == 0:
            self.start(row, power)
        else:
            row.samples += 1
        y = power / self.level
        width, location = row.width(y), row.location
        deviation, moving = y - location, False
        if self.count > 16:
            z = deviation / width
            used = power * row.factor - row.offset
            self.check(used)
            if self.count > 80:
                self.trend += max(1 / 64, 1 / (self.count - 16)) * (min(max(z, -4), 4) - self.trend)
            moving = abs(self.trend) > 0.75
            if not moving:
                if len(self.numbers) > 1:
                    self.class_of(present).add(self.all.place(used)[0], self.decay)
                self.all.add(used, self.decay)
            deviation = min(max(z, -self.limit), self.limit) * width
            more, less = self.limit * 2 ** (1 / 8), self.limit * 2 ** (-1 / 2048)
            self.limit = min(more, 4 * 2**20) if abs(z) > 4 else max(less, 4)
            if self.count > 80:
                self.move_level(deviation, location, z, moving)
        if not moving:
            gain = max(1 - self.decay, 2 / (row.samples + 1))
            row.location += gain * deviation
            row.variance = (1 - gain) * (row.variance + gain * deviation**2)
        if moving or row.samples < 16 or row.samples % 16 == 0:
            self.renew(row)

    def start(self, row: Row, power: float) -> None:
        """Start a row from the nearest one."""
        here = [other is row for other in self.rows].index(True)
        others = [(abs(i - here), i) for i, other in enumerate(self.rows) if other.samples > 0]
        if others:
            nearest = min(others)[1]
            row.samples = 8
            row.location = self.rows[nearest].location
            row.variance = self.rows[nearest].variance * (nearest + 1) / (here + 1)
        else:
            row.samples, row.location, row.variance = 1, power / self.level, 0.0
        self.renew(row)

    def check(self, z: float) -> None:
        """Reduce the weight of the histograms if the octiles of 256 ranks are not uniform.

        A rank is anywhere in the share of its bin, so that equal values have different ones.
        """
        if self.all.samples <= 1000:
            return
        b, _ = self.all.place(z)
        part = math.modf((len(self.octiles) + 1) * (math.sqrt(5) - 1) / 2)[0]
        share = math.fsum(self.all.weights[:b]) + part * self.all.weights[b]
        self.octiles.append(int(8 * share / math.fsum(self.all.weights)))
        if len(self.octiles) < 256:
            return
        chi = sum((self.octiles.count(octile) - 32) ** 2 / 32 for octile in range(8))
        if chi > 5 * max(self.chi, 7):
            for histogram in (self.all, *self.own):
                histogram.reduce_to(100)
        self.chi += (min(chi, 3 * self.chi) - self.chi) / 32
        self.octiles = []

    def move_level(self, deviation: float, location: float, z: float, moving: bool) -> None:
        gain = 1 / 32 if moving else max(1 / 256, 1 / self.count)
        if location > 0:
            self.level *= 1 + gain * max(-0.5, min(1.0, deviation / location))
        if not moving:
            square = min(z**2, 16 * self.spread)
            self.spread = max(self.spread + (square - self.spread) / 256, 1e-4)

    def renew(self, row: Row) -> None:
        """Use the current transform if it differs from the one in use by 15 %."""
        width = max(math.sqrt(row.variance * self.spread), 1e-6 * row.location, 1e-30)
        factor = 1 / (self.level * width)
        place = row.location * self.level * row.factor - row.offset
        if abs(place) > 0.15 or not 1 / 1.15 < row.factor / factor < 1.15:
            row.factor, row.offset = factor, row.location / width
