"""Growing neural gas (Fritzke 1995), the slow way: float64, units in a list, edges in a dictionary.

Beyond the paper: where a unit is taken away the last takes its place in the list; the number of units is
bounded; there are no insertions while nothing is joined.
"""

from __future__ import annotations

from tests.naive.units import UnitOutputs, Units


class NaiveGrowingGas(Units):
    def __init__(
        self, weights, room, rate=0.2, neighbour_rate=0.006, age=50, every=100, alpha=0.5, d=0.995, **options
    ):
        super().__init__(weights, room=room, **options)
        assert len(self.weights) == 2
        self.room, self.rate, self.neighbour_rate = room, rate, neighbour_rate
        self.age, self.every, self.alpha, self.d = age, every, alpha, d
        self.edges: dict[frozenset[int], int] = {}  # the age of each
        self.errors = [0.0, 0.0]
        self.labels: list[str | None] = [None, None]  # by hand
        self.inserted = self.removed = 0

    def neighbours(self, i: int) -> list[int]:
        return sorted(j for edge in self.edges if i in edge for j in edge - {i})

    def grow(self) -> None:
        if (self.t + 1) % self.every == 0 and len(self.weights) < self.room and self.edges:
            self.insert()
        self.errors = [self.d * error for error in self.errors]

    def adapt(self, x: list[float], outputs: UnitOutputs) -> None:
        i = outputs.winner
        joined = self.neighbours(i)
        for j in joined:
            self.edges[frozenset((i, j))] += 1
        self.errors[i] += outputs.distance**2
        self.pull(i, x, self.rate)
        for j in joined:
            self.pull(j, x, self.neighbour_rate)
        self.edges[frozenset((i, outputs.second))] = 0
        self.edges = {edge: age for edge, age in self.edges.items() if age <= self.age}
        # From the last to the first, as the list closes up behind each.
        for j in reversed(range(len(self.weights))):
            if not self.neighbours(j):
                self.remove(j)

    def remove(self, j: int) -> None:
        last = len(self.weights) - 1
        for values in (self.weights, self.errors, self.labels, self.common.wins, self.common.common):
            values[j] = values[last]
            del values[last]
        self.edges = {frozenset(j if k == last else k for k in edge): age for edge, age in self.edges.items()}
        self.removed += 1

    def insert(self) -> None:
        q = max(range(len(self.errors)), key=lambda j: (self.errors[j], -j))
        f = max(self.neighbours(q), key=lambda j: (self.errors[j], -j))
        r = len(self.weights)
        self.weights.append([(a + b) / 2 for a, b in zip(self.weights[q], self.weights[f], strict=True)])
        del self.edges[frozenset((q, f))]
        self.edges[frozenset((q, r))] = self.edges[frozenset((r, f))] = 0
        self.errors[q] *= self.alpha
        self.errors[f] *= self.alpha
        self.errors.append(self.errors[q])
        self.labels.append(None)
        self.common.wins[q] /= 2
        self.common.wins.append(self.common.wins[q])
        self.common.common.append(self.common.common[q])
        self.inserted += 1
