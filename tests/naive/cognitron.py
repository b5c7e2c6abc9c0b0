"""The cognitron (Fukushima 1975) in float64, one cell and one connection at a time.

    excitation      e = Σ_i a_i u_i        over the connecting area in the layer below
    inhibition      h = b v, v = Σ_i c_i u_i
    output          w = max(0, (1 + e)/(1 + h) − 1)
    lateral stage   z = max(0, (1 + w)/(1 + Σ_j g_j w_j) − 1)   over the vicinity
    reinforcement   Δa_i = q c_i u_i,  Δb = q Σ_i c_i u_i²/(2v)   if z > 0 and no z in the vicinity is larger
                    Δa_i = q′ c_i u_i, Δb = q′ v                  if all z in the vicinity are 0

Outputs below 2⁻¹⁴ are 0, so that rounding errors do not count as activity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.naive.score import Score

SMALLEST_OUTPUT = 2.0**-14


@dataclass
class Response:
    winner: int
    activity: list[float]
    distance: float
    score: float
    present: int


def shunting_inhibition(e: float, h: float) -> float:
    output = (1 + e) / (1 + h) - 1
    return output if output >= SMALLEST_OUTPUT else 0.0


class NaiveCognitron:
    def __init__(self, rows, columns, layers, area=2, vicinity=2, falloff=0.9, q=16.0, q_prime=2.0) -> None:
        self.rows, self.columns, self.layers = rows, columns, layers
        self.q, self.q_prime = q, q_prime
        cells = range(rows * columns)
        self.area = [self.square(k, area) for k in cells]
        self.vicinity = [self.square(k, vicinity) for k in cells]
        self.c = [self.fixed_weights(k, self.area[k], falloff) for k in cells]
        self.g = [self.fixed_weights(k, self.vicinity[k], falloff) for k in cells]
        self.a = [[[0.0] * len(self.area[k]) for k in cells] for _ in range(layers)]
        self.b = [[0.0 for _ in cells] for _ in range(layers)]
        self.score = Score(rows * columns)
        self.reinforced = self.recruited = 0

    def square(self, cell: int, radius: int) -> list[int]:
        """Return the cells of the layer within ``radius`` rows and columns of ``cell``."""
        row, column = divmod(cell, self.columns)
        return [
            r * self.columns + c
            for r in range(max(0, row - radius), min(self.rows, row + radius + 1))
            for c in range(max(0, column - radius), min(self.columns, column + radius + 1))
        ]

    def fixed_weights(self, cell: int, square: list[int], falloff: float) -> list[float]:
        """Return c or g of a cell: falloff to the power of the city-block distance, with sum 1."""
        row, column = divmod(cell, self.columns)
        weights = [falloff ** (abs(j // self.columns - row) + abs(j % self.columns - column)) for j in square]
        return [w / math.fsum(weights) for w in weights]

    def respond(self, u: list[float], layer: int) -> tuple[list[float], list[float]]:
        """Return z and v of a layer; ``u`` is the output of the layer below."""
        w, all_v = [], []
        for k, area in enumerate(self.area):
            e = math.fsum(a * u[i] for a, i in zip(self.a[layer][k], area, strict=True))
            v = math.fsum(c * u[i] for c, i in zip(self.c[k], area, strict=True))
            w.append(shunting_inhibition(e, self.b[layer][k] * v))
            all_v.append(v)
        z = [
            shunting_inhibition(
                w[k], math.fsum(g * w[j] for g, j in zip(self.g[k], self.vicinity[k], strict=True))
            )
            for k in range(len(w))
        ]
        return z, all_v

    def reinforce(self, u: list[float], z: list[float], v: list[float], layer: int) -> None:
        for k, area in enumerate(self.area):
            largest = max(z[j] for j in self.vicinity[k])
            if v[k] == 0 or 0 < largest > z[k]:
                continue
            strongest = z[k] > 0
            q = self.q if strongest else self.q_prime
            delta_a = [q * c * u[i] for c, i in zip(self.c[k], area, strict=True)]
            self.a[layer][k] = [a + delta for a, delta in zip(self.a[layer][k], delta_a, strict=True)]
            if strongest:
                self.reinforced += 1
                excitation = math.fsum(delta * u[i] for delta, i in zip(delta_a, area, strict=True))
                self.b[layer][k] += excitation / (2 * v[k])
            else:
                self.recruited += 1
                self.b[layer][k] += q * v[k]

    def propagate(self, sample) -> list[tuple[list[float], list[float], list[float]]]:
        """Return (u, z, v) of each layer."""
        u = [0.0 if math.isnan(value) else float(value) for value in sample]
        result = []
        for layer in range(self.layers):
            z, v = self.respond(u, layer)
            result.append((u, z, v))
            u = z
        return result

    def predict(self, sample) -> Response:
        activity = self.propagate(sample)[-1][1]
        present = sum(not math.isnan(value) for value in sample)
        winner = activity.index(max(activity)) if max(activity) > 0 else -1
        distance = 1 / (1 + max(activity)) if present else math.nan
        return Response(winner, activity, distance, self.score.rank(distance, present), present)

    def learn(self, sample) -> Response:
        response, layers = self.predict(sample), self.propagate(sample)
        for layer, (u, z, v) in enumerate(layers):
            self.reinforce(u, z, v, layer)
        self.score.observe(response.distance, response.present)
        return response
