"""Competitive learning, the slow way: float64, one unit at a time.

hard  w_i += ε·(x − w_i) for the winner i alone
soft  y = softmax(−β‖x − w_j‖²), w_j += ε·y_j·(x − w_j)
"""

from __future__ import annotations

import math

from tests.naive.units import UnitOutputs, Units, decayed


class NaiveCompetitive(Units):
    def __init__(
        self,
        weights,  # (units, dim)
        mode: str,
        learning_rate: tuple[float, float, float],
        beta: tuple[float, float, float] = (1.0, 1.0, 1.0),
        **options,
    ) -> None:
        super().__init__(weights, **options)
        self.mode, self.learning_rate, self.beta = mode, learning_rate, beta

    def adapt(self, x: list[float], outputs: UnitOutputs) -> None:
        rate = decayed(self.learning_rate, self.t)
        if self.mode == "hard":
            self.pull(outputs.winner, x, rate)
            return
        squares = self.squared_distances(x)
        beta = decayed(self.beta, self.t)
        likely = [math.exp(-beta * (square - min(squares))) for square in squares]
        for j, y in enumerate(likely):
            self.pull(j, x, rate * y / math.fsum(likely))


class NaiveGas(Units):
    """Neural gas: w_j += ε·exp(−k_j/λ)·(x − w_j), k_j the number of units nearer than j."""

    def __init__(self, weights, learning_rate, spread, **options) -> None:
        super().__init__(weights, **options)
        self.learning_rate, self.spread = learning_rate, spread

    def adapt(self, x: list[float], outputs: UnitOutputs) -> None:
        rate, spread = decayed(self.learning_rate, self.t), decayed(self.spread, self.t)
        for k, j in enumerate(self.by_distance(x)):
            self.pull(j, x, rate * math.exp(-k / spread))


class NaiveOwnRate(Units):
    """The rate "1/n": each unit has the rate max(1/n, floor), n the sum of its shares in the samples.

    In modes hard and soft, a unit with n = 0 only gets a place: at a sample that it wins, or where the sum of
    ¼·d²/mean(d²) reaches 1, d the distance to the winner and the mean that of the last (units) samples.
    """

    def __init__(
        self, weights, mode: str, floor: float, learned=0.0, beta=1.0, spread=1.0, **options
    ) -> None:
        super().__init__(weights, **options)
        self.mode, self.floor, self.beta, self.spread = mode, floor, beta, spread
        self.n = [learned] * len(self.weights)
        self.sum, self.mean, self.count = 0.0, 0.0, 0

    def learn_share(self, j: int, x: list[float], share: float) -> None:
        self.n[j] += share
        self.pull(j, x, share * min(1.0, max(1 / self.n[j] if self.n[j] else 1.0, self.floor)))

    def unit_to_place(self, outputs: UnitOutputs) -> int | None:
        if self.n[outputs.winner] == 0:
            return outputs.winner
        if 0.0 not in self.n:
            return None
        square = outputs.distance**2
        self.count += 1
        self.mean += (square - self.mean) / min(self.count, len(self.n))
        if self.mean > 0:
            self.sum += square / self.mean / 4
        if self.sum < 1:
            return None
        self.sum = min(self.sum - 1, 1.0)
        return self.n.index(0.0)

    def adapt(self, x: list[float], outputs: UnitOutputs) -> None:
        if self.mode == "gas":
            for k, j in enumerate(self.by_distance(x)):
                self.learn_share(j, x, math.exp(-k / self.spread))
            return
        j = self.unit_to_place(outputs)
        if j is not None:
            winner = self.weights[outputs.winner]
            self.weights[j] = [w if math.isnan(v) else v for v, w in zip(x, winner, strict=True)]
            self.n[j] = 1.0
        elif self.mode == "hard":
            self.learn_share(outputs.winner, x, 1.0)
        else:
            squares = self.squared_distances(x)
            likely = [
                math.exp(-self.beta * (square - min(squares))) if n > 0 else 0.0
                for square, n in zip(squares, self.n, strict=True)
            ]
            for j, y in enumerate(likely):
                self.learn_share(j, x, y / math.fsum(likely))


class NaiveFair(Units):
    """Hard learning where another than the winner may learn, and losers may learn a little."""

    def __init__(
        self, weights, rate, leak=0.0, conscience=None, conscience_rate=1e-4, frequency=False, **options
    ):
        super().__init__(weights, **options)
        self.rate, self.leak, self.conscience, self.b = rate, leak, conscience, conscience_rate
        n = len(self.weights)
        self.p, self.n = [1 / n] * n, [1] * n
        self.frequency = frequency

    def learner(self, squares: list[float], winner: int) -> int:
        units = range(len(squares))
        if self.frequency:
            one = min(units, key=lambda j: (self.n[j] * math.sqrt(squares[j]), j))
            self.n[one] += 1
            return one
        if self.conscience is not None:
            one = min(units, key=lambda j: (squares[j] - self.conscience * (1 / len(squares) - self.p[j]), j))
            self.p = [p + self.b * ((j == winner) - p) for j, p in enumerate(self.p)]
            return one
        return winner

    def adapt(self, x: list[float], outputs: UnitOutputs) -> None:
        one = self.learner(self.squared_distances(x), outputs.winner)
        for j in range(len(self.weights)):
            self.pull(j, x, self.rate if j == one else self.leak)
