"""The calibrated score, the slow way, in float64 with the functions of ``math``.

Written from the rule: y = √d, divided by a level; z by location and width of the samples with the same number
k of present values; the share of earlier z below this one, among all samples and among those of the class of
k. All of it changes at the end of a block of samples. Forgetting multiplies every weight. A histogram is a
list of weights between explicit edges.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

LOW = [0.125 - 2.0 ** (octave - 3) * (1 + half / 2) for octave in range(6) for half in range(2)] + [-7.875]
HIGH = [2.0 ** (octave - 3) * (1 + eighth / 8) - 0.125 for octave in range(7) for eighth in range(8)]
EDGES = [*sorted(LOW)[:-1], *HIGH, *(2.0**octave - 0.125 for octave in (4, 8, 12, 16, 20))]  # of z + 1/50
BINS = len(EDGES) - 1

Place = tuple[int, float]  # a bin, and a position in it


def place_of(z: float) -> Place:
    """Positions are linear in z, but in the last bins they are linear in each of four octaves."""
    z += 0.02
    if z < EDGES[0]:
        return 0, 0.0
    if z >= EDGES[-1]:
        return BINS - 1, 1.0
    b = bisect.bisect_right(EDGES, z) - 1
    if z >= HIGH[-1] and z + 0.125 >= 16:
        octave = math.floor(math.log2((z + 0.125) / (EDGES[b] + 0.125)))
        lower = (EDGES[b] + 0.125) * 2**octave
        return b, (octave + (z + 0.125 - lower) / lower) / 4
    return b, (z - EDGES[b]) / (EDGES[b + 1] - EDGES[b])


def mean_gain(samples: float, memory: float) -> float:
    return samples / (samples + memory)


def part_below(position: float, mean: float, half: float) -> float:
    """Of a uniform distribution from mean − half to mean + half, and a thousandth over the whole bin."""
    return 0.999 * min(max((position - mean) / half + 1, 0.0), 2.0) / 2 + 0.001 * position


def share_of(weights: Sequence[float], b: int, part: float, more: float) -> float:
    """The share below a part of bin ``b``. ``more`` joins the weight of all samples."""
    return (math.fsum(weights[:b]) + part * weights[b]) / (math.fsum(weights) + more)


@dataclass
class Histogram:
    """Weights of earlier z, in units of the weight of the latest ones."""

    samples: float = 0.0
    weights: list[float] = field(default_factory=lambda: [0.0] * BINS)
    means: list[float] = field(default_factory=lambda: [0.5] * BINS)
    widths: list[float] = field(default_factory=lambda: [1.0] * BINS)

    def share_below(self, place: Place) -> float:
        b, position = place
        mean = self.means[b]
        half = min(self.widths[b] / 2, mean if position < mean else 1 - mean)  # within the bin
        return share_of(self.weights, b, part_below(position, mean, half), 1 / 4)

    def add(self, places: Sequence[Place], memory: float) -> None:
        memory = min(memory, self.samples / 3)
        self.samples += len(places)
        for b in range(BINS):
            here = [position for bin_, position in places if bin_ == b]
            old = self.weights[b] * (1 - mean_gain(len(places), memory))
            self.weights[b] = old + len(here)
            if self.weights[b] > 0:
                deviation = math.fsum(abs(position - self.means[b]) for position in here)
                self.widths[b] = (old * self.widths[b] + 4 * deviation) / self.weights[b]
                self.means[b] += math.fsum(position - self.means[b] for position in here) / self.weights[b]
            self.widths[b] = max(self.widths[b], 2e-6)

    def reduce_to(self, samples: float) -> None:
        self.samples = min(self.samples, samples)
        total = math.fsum(self.weights)
        self.weights = [w * samples / max(total, samples) for w in self.weights]


@dataclass
class Class:
    """The samples of one class of numbers of present values, in wider bins."""

    weights: list[float] = field(default_factory=lambda: [0.0] * (BINS // 2))
    means: list[float] = field(default_factory=lambda: [0.0] * (BINS // 2))

    def share_below(self, place: Place, share: float) -> float:
        """``share``: the share below the place among all samples."""
        b, position = self.wide(place)
        half = max(min(self.means[b], 1 - self.means[b]), 1e-6)
        own = share_of(self.weights, b, part_below(position, self.means[b], half), 1 / 4)
        borrowed = min(20 / (math.fsum(self.weights) + 1 / 4), 1) ** 2
        return (1 - borrowed) * own + borrowed * share

    @staticmethod
    def wide(place: Place) -> Place:
        """The place in bins of twice the width."""
        b, position = place
        return b // 2, (b % 2 + position) / 2

    def add(self, places: Sequence[Place], memory: float) -> None:
        if not places:
            return
        kept = 1 - mean_gain(len(places), min(memory, 4 / 3 * math.fsum(self.weights)))
        for b in range(BINS // 2):
            here = [position for bin_, position in map(self.wide, places) if bin_ == b]
            self.weights[b] = kept * self.weights[b] + len(here)
            if here:
                self.means[b] += math.fsum(position - self.means[b] for position in here) / self.weights[b]

    def reduce_to(self, samples: float) -> None:
        total = math.fsum(self.weights)
        self.weights = [w * samples / max(total, samples) for w in self.weights]


@dataclass
class Row:
    """The samples with one number of present values (or one class of numbers)."""

    samples: float = 0.0
    location: float = 0.0
    width: float = 0.0
    factor: float = 0.0
    offset: float = 0.0


class Score:
    """The score of distances or errors over at most ``columns`` values."""

    def __init__(self, columns: int = 1, half_life: float = 10_000.0) -> None:
        self.columns, self.memory = columns, 1 / (1 - 0.5 ** (1 / half_life))
        self.rows = [Row() for _ in range(min(columns, 32))]
        self.all = Histogram()
        self.own = [Class() for _ in range(min(columns, 4))]
        self.block: list[tuple[float, int]] = []  # y and number of its row
        self.length = 16
        self.numbers: set[int] = set()
        self.count = 0
        self.level = self.spread = 1.0
        self.limit, self.trend = 4.0, 0.0
        self.ranks: list[float] = []
        self.chi = 7.0

    def number(self, present: int) -> int:
        return math.ceil(present * len(self.rows) / self.columns) - 1

    def class_of(self, number: int) -> Class:
        return self.own[math.ceil((number + 1) * len(self.own) / len(self.rows)) - 1]

    def rank(self, value: float, present: int = 1) -> float:
        if math.isnan(value) or present < 1:
            return math.nan
        number = self.number(present)
        row = self.rows[number]
        if row.samples == 0:
            return 0.5
        z = self.root(value) * row.factor - row.offset
        place = place_of(z)
        share = self.all.share_below(place)
        if len(self.numbers) > 1:
            share = self.class_of(number).share_below(place, share)
        return min(share, 1 - 2**-24, 0.98 if z < 0 else 1.0)

    @staticmethod
    def root(value: float) -> float:
        return math.sqrt(min(value, 3.4028234663852886e38))

    def observe(self, value: float, present: int = 1) -> None:
        if math.isnan(value) or present < 1:
            return
        self.block.append((self.root(value), self.number(present)))
        if len(self.block) == self.length:
            self.end_block()
            self.block = []
            self.length = min(max(self.count // 8, 1), 32)

    def end_block(self) -> None:
        size, first, moving = len(self.block), self.count == 0, abs(self.trend) > 0.75
        numbers = {number for _, number in self.block}
        if first:
            median = sorted(y for y, _ in self.block)[(size - 1) // 2]
            self.block = [(min(y, 4 * median if median > 0 else math.inf), n) for y, n in self.block]
        self.numbers |= numbers
        if not first:
            for number in (number for _, number in self.block if self.rows[number].samples == 0):
                self.start(number)
        z, squares, relative, outside = 0.0, 0.0, 0.0, 0
        for number in sorted(numbers):
            sums = self.move(number, [y for y, own in self.block if own == number], moving)
            z, squares, relative, outside = (
                z + sums[0],
                squares + sums[1],
                relative + sums[2],
                outside + sums[3],
            )
        places = []
        for y, number in self.block:
            places.append(place_of(y * self.rows[number].factor - self.rows[number].offset))
        self.check(places)
        if not moving:
            self.all.add(places, self.memory)
            if len(self.numbers) > 1:
                for own in self.own:
                    chosen = zip(places, self.block, strict=True)
                    own.add([place for place, (_, n) in chosen if self.class_of(n) is own], self.memory)
        if not first:
            slower = 1 - (size - outside) * (1 - 2 ** (-1 / 2048))
            self.limit = min(max(self.limit * slower, 4) * 2 ** (outside / 8), 4 * 2**20)
        if self.count >= 80:
            self.trend += mean_gain(size, 48) * (z / size - self.trend)
            gain = mean_gain(size, 20 if moving else 240)
            self.level *= 1 + gain * relative / size
            if not moving:
                self.spread = max(self.spread + gain * (squares / size - self.spread), 1e-4)
        for row in self.rows:
            if row.samples > 0:
                self.renew(row)
        self.count += size

    def move(self, number: int, ys: Sequence[float], moving: bool) -> tuple[float, float, float, int]:
        """Move location and width. Return sums of z, its squares, relative deviations and z outside of ±4."""
        row = self.rows[number]
        scaled = [y / self.level for y in ys]
        width = max(row.width, 1e-6 * row.location, 1e-30)
        limit = self.limit if row.samples > 0 else math.inf
        z = [(y - row.location) / width for y in scaled]
        deviations = []
        for y in scaled:
            most = limit * max(row.width, 1e-6 * y)
            deviations.append(min(max(y - row.location, -most), most))
        relative = 0.0
        if row.location > 0:
            relative = math.fsum(min(max(d / row.location, -0.5), 1) for d in deviations)
        squares = math.fsum(d * d for d in deviations)
        if not moving:
            gain = mean_gain(len(ys), min(self.memory, row.samples / 2))
            step = gain * math.fsum(deviations) / len(ys)
            variance = (1 - gain) * row.width**2 + gain * squares / len(ys) - step**2
            row.location, row.width = row.location + step, math.sqrt(max(variance, 0.0))
            row.samples += len(ys)
        if row.factor == 0:
            self.renew(row)
        cut = [min(max(value, -4), 4) for value in z]
        squares = math.fsum(min((d / width) ** 2, 16 * self.spread) for d in deviations)
        return math.fsum(cut), squares, relative, sum(abs(value) >= 4 for value in z)

    def start(self, number: int) -> None:
        """Start a row from the nearest one."""
        row = self.rows[number]
        if row.samples == 0:
            known = [(abs(i - number), i) for i, other in enumerate(self.rows) if other.samples > 0]
            nearest = min(known)[1]
            row.samples = 8
            row.location = self.rows[nearest].location
            row.width = self.rows[nearest].width * math.sqrt((nearest + 1) / (number + 1))
            self.renew(row)

    def check(self, places: Sequence[Place]) -> None:
        """Reduce the weight of the histograms if the octiles of 256 ranks are not uniform.

        A rank is anywhere in the share of its bin, so that equal values have different ones.
        """
        total = max(math.fsum(self.all.weights), 1e-300)
        for b, _ in places:
            part = math.modf(len(self.ranks) * (math.sqrt(5) - 1) / 2)[0]
            self.ranks.append((math.fsum(self.all.weights[:b]) + part * self.all.weights[b]) / total)
        if len(self.ranks) < 256:
            return
        ranks, self.ranks = self.ranks, []
        if self.all.samples <= 1000:
            return
        octiles = [sum(int(8 * rank) == octile for rank in ranks) for octile in range(8)]
        expected = len(ranks) / 8
        chi = sum((number - expected) ** 2 / expected for number in octiles)
        if chi > 5 * max(self.chi, 7):
            for histogram in (self.all, *self.own):
                histogram.reduce_to(100)
        self.chi += (min(chi, 3 * self.chi) - self.chi) / 32

    def renew(self, row: Row) -> None:
        """Use the current transform if it differs from the one in use by 17 % (15 % with missing values)."""
        tolerance = 0.15 if len(self.numbers) > 1 else 0.17
        width = max(row.width * math.sqrt(self.spread), 1e-6 * row.location, 1e-30)
        factor = 1 / (self.level * width)
        place = row.location * self.level * row.factor - row.offset
        scale = row.factor / factor
        if abs(place) > tolerance or not 1 / (1 + tolerance) < scale < 1 + tolerance:
            row.factor, row.offset = factor, row.location / width
