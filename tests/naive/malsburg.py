"""Orientation columns (von der Malsburg 1973), a reference in float64, one cell and one connection at a time.

Cells are points on a hexagonal grid of unit steps, found and connected by their distance; every place has an
excitatory and an inhibitory cell. Ring 0 is the place itself, ring 1 its six neighbours.

    settling, from H = 0, in each step: I cells  H = r Σ_E H*
                                        E cells  H += δ(−H + p Σ_E H* − q Σ_I H* + Σ_i s_ik A_i)
                                        H* = max(0, H − θ)
    learning  s_ik += h A_i H*_k, then every cell's s are rescaled to their fixed sum
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.naive.score import Score

Point = tuple[float, float]


def hexagon(rings: int) -> list[Point]:
    """The points at most so many steps from the middle, row by row."""
    points = []
    for row in range(-rings, rings + 1):
        across = 2 * rings + 1 - abs(row)
        points += [(k - (across - 1) / 2, row * math.sqrt(3) / 2) for k in range(across)]
    return points


def rows_of(rows: int, columns: int) -> list[Point]:
    """Rows of points, the odd ones half a step to the right."""
    return [(c + (r % 2) / 2, r * math.sqrt(3) / 2) for r in range(rows) for c in range(columns)]


def ring(a: Point, b: Point) -> int:
    """How many steps along the grid from one point to the other."""
    right, up = abs(a[0] - b[0]), abs(a[1] - b[1]) / (math.sqrt(3) / 2)
    return round(up + max(0.0, right - up / 2))


@dataclass
class Response:
    winner: int
    activity: list[float]
    distance: float
    score: float
    present: int
    unsettled: float


class NaiveMalsburg:
    def __init__(
        self,
        weights,  # (cells, dim): s
        points: list[Point],
        p=0.4,
        r=0.286,
        q=0.3,
        p_rings=(1, 1),
        r_rings=(0, 1),
        q_rings=(2, 2),
        theta=1.0,
        s=0.25,
        h=0.05,
        steps=20,
        delta=1.0,
        half_life=10_000.0,
    ) -> None:
        self.s = [[float(v) for v in row] for row in weights]
        self.p, self.r, self.q, self.theta, self.h = p, r, q, theta, h
        self.steps, self.delta = steps, delta
        self.sum = len(self.s[0]) * s / 2
        cells = range(len(points))

        def connected(rings: tuple[int, int]) -> list[list[int]]:
            return [[j for j in cells if rings[0] <= ring(points[k], points[j]) <= rings[1]] for k in cells]

        self.from_e, self.to_i, self.from_i = connected(p_rings), connected(r_rings), connected(q_rings)
        self.score = Score(0.5 ** (1 / half_life))

    def settle(self, lines: list[float]) -> tuple[list[float], float]:
        """Every E cell's H*, and the largest change of one in the last step."""
        cells = range(len(self.s))
        drive = [math.fsum(s * a for s, a in zip(self.s[k], lines, strict=True)) for k in cells]
        H, sent, change = [0.0] * len(cells), [0.0] * len(cells), 0.0
        for _ in range(self.steps):
            inhibitory = [
                max(0.0, self.r * math.fsum(sent[j] for j in self.to_i[k]) - self.theta) for k in cells
            ]
            for k in cells:
                excitation = self.p * math.fsum(sent[j] for j in self.from_e[k])
                inhibition = self.q * math.fsum(inhibitory[j] for j in self.from_i[k])
                H[k] += self.delta * (-H[k] + excitation - inhibition + drive[k])
            before, sent = sent, [max(0.0, H[k] - self.theta) for k in cells]
            change = max(abs(new - old) for new, old in zip(sent, before, strict=True))
        return sent, change

    def predict(self, sample) -> Response:
        lines = [0.0 if math.isnan(v) else float(v) for v in sample]
        present = [i for i, v in enumerate(sample) if not math.isnan(v)]
        activity, unsettled = self.settle(lines)
        winner = activity.index(max(activity)) if max(activity) > 0 else -1
        distance = 1.0 if present else math.nan
        if winner >= 0:
            own = [self.s[winner][i] for i in present]
            given = [lines[i] for i in present]
            lengths = math.hypot(*own) * math.hypot(*given)
            if lengths > 0:
                distance = 1 - math.fsum(s * a for s, a in zip(own, given, strict=True)) / lengths
        return Response(winner, activity, distance, self.score.rank(distance), len(present), unsettled)

    def learn(self, sample) -> Response:
        response = self.predict(sample)
        for k, active in enumerate(response.activity):
            if active > 0:
                for i, a in enumerate(sample):
                    self.s[k][i] += self.h * (0.0 if math.isnan(a) else a) * active
                scale = self.sum / math.fsum(self.s[k])
                self.s[k] = [s * scale for s in self.s[k]]
        self.score.observe(response.distance)
        return response
