"""Labels of units, the slow way: every label that ever came is kept, with the unit that had won its sample.

The count of a class at a unit is Σ decay^age over its labels that counted for the unit, age in labels that
came since. A class is strongest at the unit with the largest count, the first among equals. Of the classes
that are strongest at a unit, without one of all classes, its label is that of which it has the largest share.
Of equal shares the larger count wins, then the lowest class. A prediction by a unit without a label is wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Sample:
    """A sample that was learned: what is remembered of it."""

    number: int
    name: int
    winner: int
    reported: int
    waits: bool = True


class NaiveLabels:
    def __init__(self, units: int, classes: int, delay: int, half_life: float) -> None:
        self.units, self.classes, self.delay = units, classes, delay
        self.decay = 0.5 ** (1 / half_life)
        self.samples: list[Sample] = []
        self.came: list[tuple[int, int]] = []  # (unit, class) of each label that counted, in order
        self.right: list[bool] = []  # for each label, whether it was predicted
        self.unmatched = 0

    def count(self, unit: int, k: int) -> float:
        age = reversed(range(len(self.came)))
        return math.fsum(self.decay**a for a, each in zip(age, self.came, strict=True) if each == (unit, k))

    def label(self, unit: int) -> int:
        if unit not in {each for each, _ in self.came}:
            return -1
        counts = [[round(self.count(u, k), 9) for u in range(self.units)] for k in range(self.classes)]
        here = [k for k in range(self.classes) if counts[k][unit] > 0]
        strongest = [k for k in here if counts[k].index(max(counts[k])) == unit]
        return max(
            strongest or here, key=lambda k: (round(counts[k][unit] / sum(counts[k]), 9), counts[k][unit], -k)
        )

    def learn(self, winner: int, y: float, name: int | None) -> int:
        """Learn one sample; return its predicted label."""
        number = len(self.samples)
        reported = self.label(winner)
        self.samples.append(Sample(number, number if name is None else name, winner, reported))
        if not math.isnan(y):
            self.settle(self.samples[-1], y)
        return reported

    def learn_later(self, name: int, y: float) -> tuple[int, int, int]:
        """Learn one late label; return its sample, the winner and the predicted label."""
        for sample in reversed(self.samples[-self.delay :]):
            if sample.waits and sample.name == name:
                if not math.isnan(y):
                    self.settle(sample, y)
                return sample.number, sample.winner, sample.reported
        self.unmatched += 1
        return -1, -1, -1

    def settle(self, sample: Sample, y: float) -> None:
        sample.waits = False
        if sample.winner >= 0:
            self.came.append((sample.winner, int(y)))
            self.right.append(sample.reported == int(y))

    def accuracy(self) -> float:
        ages = [self.decay**age for age in reversed(range(len(self.right)))]
        return math.fsum(a for a, right in zip(ages, self.right, strict=True) if right) / math.fsum(ages)
