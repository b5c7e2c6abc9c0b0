"""Layers of inhibitory clusters (Rumelhart & Zipser 1985) in float64, one unit and one line at a time.

In each cluster the unit with the largest Σ_i w_ij x_i + bias_j wins; n is the number of active lines.

    winner   Δw_ij = ε·(x_i/n − w_ij)
    losers   the same with the leak instead of ε

With missing lines (NaN), only the weights on present lines change, and their sum S_j stays the same:
Δw_ij = ε·(S_j·x_i/n − w_ij). Without missing lines S_j is 1, and the rule is that of the paper.
"""

from __future__ import annotations

import math

from tests.naive.score import Score
from tests.naive.units import decayed


class NaiveGrossberg:
    def __init__(
        self,
        weights,  # one array (units, lines) per layer
        layers,  # sizes of the clusters, one list per layer
        learning_rate: tuple[float, float, float],
        leak: tuple[float, float, float] = (0.0, 0.0, 1.0),
        sensitivity: float = 0.0,
    ) -> None:
        self.weights = [[[float(w) for w in unit] for unit in layer] for layer in weights]
        self.layers = layers
        self.learning_rate, self.leak, self.sensitivity = learning_rate, leak, sensitivity
        self.bias = [[0.0] * sum(sizes) for sizes in layers]
        self.score = Score(len(self.weights[0][0]))
        self.t = 0

    def learn(self, sample) -> tuple[list[int], float, float]:
        """Learn one sample. Return (winners, distance, score) of the net before the update."""
        response = self.predict(sample, learning=True)
        self.score.observe(response[1], self.present(sample))
        self.t += 1
        return response

    def predict(self, sample, learning: bool = False) -> tuple[list[int], float, float]:
        x = [float(v) for v in sample]
        winners: list[int] = []
        distances: list[float] = []
        for k, sizes in enumerate(self.layers):
            n = sum(v == 1 for v in x)
            output: list[float] = []
            for size in sizes:
                units = range(len(output), len(output) + size)
                winner = self.winner(k, units, x) if n else None
                winners.append(-1 if winner is None else winner - units.start)
                output += [float(j == winner) for j in units]
                if winner is not None:
                    distances.append(self.distance(self.weights[k][winner], x, n))
                    if learning:
                        self.adapt(k, units, winner, x, n)
            x = output
        without_winner = math.nan if all(math.isnan(float(v)) for v in sample) else 1.0
        distance = sum(distances) / len(distances) if distances else without_winner
        return winners, distance, self.score.rank(distance, self.present(sample))

    @staticmethod
    def present(sample) -> int:
        return sum(not math.isnan(float(v)) for v in sample)

    def winner(self, k: int, units: range, x: list[float]) -> int:
        def net(j: int) -> float:
            return self.bias[k][j] + math.fsum(
                w for w, v in zip(self.weights[k][j], x, strict=True) if v == 1
            )

        return max(units, key=lambda j: (net(j), -j))

    def distance(self, w: list[float], x: list[float], n: int) -> float:
        """½ Σ_i |x_i/n − w_i/S| over the present lines."""
        S = math.fsum(a for a, v in zip(w, x, strict=True) if not math.isnan(v))
        if S == 0:
            return 1.0
        return 0.5 * math.fsum(abs(v / n - a / S) for a, v in zip(w, x, strict=True) if not math.isnan(v))

    def adapt(self, k: int, units: range, winner: int, x: list[float], n: int) -> None:
        for j in units:
            w = self.weights[k][j]
            rate = decayed(self.learning_rate if j == winner else self.leak, self.t)
            S = math.fsum(a for a, v in zip(w, x, strict=True) if not math.isnan(v))
            for i, v in enumerate(x):
                if not math.isnan(v):
                    w[i] += rate * (S * v / n - w[i])
            self.bias[k][j] += self.sensitivity * (1 / len(units) - (j == winner))
