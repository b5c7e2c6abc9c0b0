"""The rule of the template in float64, one unit at a time.

w_j += ε(t)·(x − w_j) for the winner j
"""

from __future__ import annotations

from tests.naive.units import UnitOutputs, Units, decayed


class NaiveTemplate(Units):
    def __init__(self, weights, learning_rate: tuple[float, float, float], **options) -> None:
        super().__init__(weights, **options)
        self.learning_rate = learning_rate  # (start, end, τ)

    def adapt(self, x: list[float], outputs: UnitOutputs) -> None:
        self.pull(outputs.winner, x, decayed(self.learning_rate, self.t))
