"""The self-organizing map (Kohonen 1982), the slow way: float64, one unit at a time.

winner       i = argmin_j ‖x − w_j‖, the lowest index among equals
cooperation  h_ij = exp(−d_ij²/2σ²) up to d = 5.25σ (gaussian), 1 up to d = σ (bubble), else 0
adaptation   w_j += ε·h_ij·(x − w_j)
"""

from __future__ import annotations

import math

from tests.naive.units import UnitOutputs, Units, decayed

REACH = 5.25  # in σ
SMALLEST_SIGMA = 1e-3


class NaiveSOM(Units):
    def __init__(
        self,
        weights,  # (rows, columns, dim)
        sigma: tuple[float, float, float],
        learning_rate: tuple[float, float, float],
        grid_distance: str = "manhattan",
        neighbourhood: str = "gaussian",
        **options,
    ) -> None:
        super().__init__([w for row in weights for w in row], **options)
        self.columns = len(weights[0])
        self.sigma, self.learning_rate = sigma, learning_rate
        self.metric, self.neighbourhood = grid_distance, neighbourhood
        self.torn: list[bool] = []  # of each sample: whether its two nearest units do not touch
        self.distances: list[float] = []

    def grid_distance(self, i: int, j: int) -> float:
        down = abs(i // self.columns - j // self.columns)
        right = abs(i % self.columns - j % self.columns)
        return {
            "manhattan": down + right,
            "euclidean": math.hypot(down, right),
            "chebyshev": max(down, right),
        }[self.metric]

    def h(self, i: int, j: int, sigma: float) -> float:
        sigma = max(sigma, SMALLEST_SIGMA)
        d = self.grid_distance(i, j)
        if self.neighbourhood == "bubble":
            return float(d <= sigma)
        return math.exp(-(d**2) / (2 * sigma**2)) if d <= REACH * sigma else 0.0

    def adapt(self, x: list[float], outputs: UnitOutputs) -> None:
        rate, sigma = decayed(self.learning_rate, self.t), decayed(self.sigma, self.t)
        for j in range(len(self.weights)):
            self.pull(j, x, rate * self.h(outputs.winner, j, sigma))
        self.distances.append(outputs.distance)
        if outputs.second >= 0:
            rows_apart = abs(outputs.winner // self.columns - outputs.second // self.columns)
            columns_apart = abs(outputs.winner % self.columns - outputs.second % self.columns)
            self.torn.append(max(rows_apart, columns_apart) > 1)
        else:
            self.torn.append(False)

    def quality(self) -> tuple[float, float]:
        """Quantization and topographic error: means of all samples with a winner, weighted by decay^age."""
        ages = [self.decay**age for age in reversed(range(len(self.distances)))]
        total = math.fsum(ages)
        quantization = math.fsum(a * d for a, d in zip(ages, self.distances, strict=True)) / total
        return quantization, math.fsum(a * t for a, t in zip(ages, self.torn, strict=True)) / total

    def u_matrix(self) -> list[list[float]]:
        """Every unit's mean distance to the (up to eight) units that touch it."""
        rows = len(self.weights) // self.columns
        matrix = []
        for r in range(rows):
            matrix.append([])
            for c in range(self.columns):
                around = [
                    math.dist(self.weights[r * self.columns + c], self.weights[y * self.columns + x])
                    for y in range(max(0, r - 1), min(rows, r + 2))
                    for x in range(max(0, c - 1), min(self.columns, c + 2))
                    if (y, x) != (r, c)
                ]
                matrix[-1].append(math.fsum(around) / len(around) if around else 0.0)
        return matrix
