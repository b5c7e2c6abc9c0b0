"""Orientation columns (von der Malsburg 1973) in float64, one cell and one connection at a time.

Each point of a hexagonal grid has an excitatory (E) and an inhibitory (I) cell. Ring 0 of a point is the
point itself; ring 1 is its six neighbours.

    dynamics, from H = 0, in each step:  I cells  H = r Σ_E H*
                                         E cells  H += δ(−H + p Σ_E H* − q Σ_I H* + Σ_i s_ik A_i)
                                         H* = max(0, H − θ)
    learning                             s_ik += h A_i H*_k; then rescale s of each cell to a fixed sum
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.naive.score import Score

Point = tuple[float, float]


def hexagon(rings: int) -> list[Point]:
    """Return the points of a hexagon: the centre and ``rings`` rings around it, row by row."""
    points = []
    for row in range(-rings, rings + 1):
        columns = 2 * rings + 1 - abs(row)
        points += [(k - (columns - 1) / 2, row * math.sqrt(3) / 2) for k in range(columns)]
    return points


def rectangle(rows: int, columns: int) -> list[Point]:
    """Return rows of points. Odd rows are shifted right by half a step."""
    return [(c + (r % 2) / 2, r * math.sqrt(3) / 2) for r in range(rows) for c in range(columns)]


def ring(a: Point, b: Point) -> int:
    """Return the number of grid steps between two points."""
    dx, dy = abs(a[0] - b[0]), abs(a[1] - b[1]) / (math.sqrt(3) / 2)
    return round(dy + max(0.0, dx - dy / 2))


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
    ) -> None:
        self.s = [[float(v) for v in row] for row in weights]
        self.p, self.r, self.q, self.theta, self.h = p, r, q, theta, h
        self.steps, self.delta = steps, delta
        self.sum = len(self.s[0]) * s / 2
        cells = range(len(points))

        def connected(rings: tuple[int, int]) -> list[list[int]]:
            return [[j for j in cells if rings[0] <= ring(points[k], points[j]) <= rings[1]] for k in cells]

        # The cells that each cell receives input from: E from E, I from E, E from I.
        self.e_to_e, self.e_to_i, self.i_to_e = connected(p_rings), connected(r_rings), connected(q_rings)
        self.score = Score(len(self.s[0]))

    def settle(self, A: list[float]) -> tuple[list[float], float]:
        """Return H* of the E cells after the last step, and the largest change in that step."""
        cells = range(len(self.s))
        afferent = [math.fsum(s * a for s, a in zip(self.s[k], A, strict=True)) for k in cells]
        H, H_star, change = [0.0] * len(cells), [0.0] * len(cells), 0.0
        for _ in range(self.steps):
            I_star = [
                max(0.0, self.r * math.fsum(H_star[j] for j in self.e_to_i[k]) - self.theta) for k in cells
            ]
            for k in cells:
                excitation = self.p * math.fsum(H_star[j] for j in self.e_to_e[k])
                inhibition = self.q * math.fsum(I_star[j] for j in self.i_to_e[k])
                H[k] += self.delta * (-H[k] + excitation - inhibition + afferent[k])
            before, H_star = H_star, [max(0.0, H[k] - self.theta) for k in cells]
            change = max(abs(new - old) for new, old in zip(H_star, before, strict=True))
        return H_star, change

    def predict(self, sample) -> Response:
        A = [0.0 if math.isnan(v) else float(v) for v in sample]
        present = [i for i, v in enumerate(sample) if not math.isnan(v)]
        activity, unsettled = self.settle(A)
        winner = activity.index(max(activity)) if max(activity) > 0 else -1
        distance = 1.0 if present else math.nan
        if winner >= 0:
            s, a = [self.s[winner][i] for i in present], [A[i] for i in present]
            norms = math.hypot(*s) * math.hypot(*a)
            if norms > 0:
                distance = 1 - math.fsum(x * y for x, y in zip(s, a, strict=True)) / norms
        score = self.score.rank(distance, len(present))
        return Response(winner, activity, distance, score, len(present), unsettled)

    def learn(self, sample) -> Response:
        response = self.predict(sample)
        for k, H_star in enumerate(response.activity):
            if H_star > 0:
                for i, a in enumerate(sample):
                    self.s[k][i] += self.h * (0.0 if math.isnan(a) else a) * H_star
                scale = self.sum / math.fsum(self.s[k])
                self.s[k] = [s * scale for s in self.s[k]]
        self.score.observe(response.distance, response.present)
        return response
