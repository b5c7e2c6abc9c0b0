"""The cognitron (Fukushima 1975), a reference in float64, one cell and one connection at a time.

e = Σ a_i u_i, v = Σ c_i u_i, h = b v         over the square of cells within ``area`` in the layer below
w = (1 + e)/(1 + h) − 1, z = (1 + w)/(1 + Σ g_j w_j) − 1 over the square within ``vicinity``; 0 where faint
fires strongest in its vicinity (no neighbour stronger): Δa_i = q c_i u_i, Δb = q Σ c_i u_i²/(2v)
nobody in its vicinity fires:                            Δa_i = q′ c_i u_i, Δb = q′ v
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.naive.score import Score

FAINTEST = 2.0**-14


@dataclass
class Response:
    winner: int
    activity: list[float]
    distance: float
    score: float
    present: int


def shunted(e: float, h: float) -> float:
    output = (1 + e) / (1 + h) - 1
    return output if output >= FAINTEST else 0.0


class NaiveCognitron:
    def __init__(
        self, rows, columns, layers, area=2, vicinity=2, falloff=0.9, q=16.0, q_prime=2.0, half_life=10_000.0
    ) -> None:
        self.rows, self.columns, self.layers = rows, columns, layers
        self.q, self.q_prime = q, q_prime
        cells = range(rows * columns)
        self.area = [self.around(k, area) for k in cells]
        self.vicinity = [self.around(k, vicinity) for k in cells]
        self.c = [self.fading(k, self.area[k], falloff) for k in cells]
        self.g = [self.fading(k, self.vicinity[k], falloff) for k in cells]
        self.a = [[[0.0] * len(self.area[k]) for k in cells] for _ in range(layers)]
        self.b = [[0.0 for _ in cells] for _ in range(layers)]
        self.score = Score(0.5 ** (1 / half_life))
        self.won = self.recruited = 0

    def around(self, cell: int, radius: int) -> list[int]:
        """The cells of the square around ``cell``, as far as there are any, row by row."""
        row, column = divmod(cell, self.columns)
        return [
            r * self.columns + c
            for r in range(max(0, row - radius), min(self.rows, row + radius + 1))
            for c in range(max(0, column - radius), min(self.columns, column + radius + 1))
        ]

    def fading(self, cell: int, around: list[int], falloff: float) -> list[float]:
        row, column = divmod(cell, self.columns)
        weights = [falloff ** (abs(j // self.columns - row) + abs(j % self.columns - column)) for j in around]
        return [w / math.fsum(weights) for w in weights]

    def respond(self, u: list[float], layer: int) -> tuple[list[float], list[float]]:
        """Layer ``layer``'s z and v from ``u``, the layer below it."""
        w, inhibition = [], []
        for k, area in enumerate(self.area):
            e = math.fsum(a * u[i] for a, i in zip(self.a[layer][k], area, strict=True))
            v = math.fsum(c * u[i] for c, i in zip(self.c[k], area, strict=True))
            w.append(shunted(e, self.b[layer][k] * v))
            inhibition.append(v)
        z = [
            shunted(w[k], math.fsum(g * w[j] for g, j in zip(self.g[k], self.vicinity[k], strict=True)))
            for k in range(len(w))
        ]
        return z, inhibition

    def reinforce(self, u: list[float], z: list[float], v: list[float], layer: int) -> None:
        for k, area in enumerate(self.area):
            most = max(z[j] for j in self.vicinity[k])
            if v[k] == 0 or 0 < most > z[k]:
                continue
            strongest = z[k] > 0
            gain = self.q if strongest else self.q_prime
            added = [gain * c * u[i] for c, i in zip(self.c[k], area, strict=True)]
            self.a[layer][k] = [a + more for a, more in zip(self.a[layer][k], added, strict=True)]
            if strongest:
                self.won += 1
                grown = math.fsum(more * u[i] for more, i in zip(added, area, strict=True))
                self.b[layer][k] += grown / (2 * v[k])
            else:
                self.recruited += 1
                self.b[layer][k] += gain * v[k]

    def layers_of(self, sample) -> list[tuple[list[float], list[float], list[float]]]:
        """(u, z, v) of every layer."""
        u = [0.0 if math.isnan(value) else float(value) for value in sample]
        found = []
        for layer in range(self.layers):
            z, v = self.respond(u, layer)
            found.append((u, z, v))
            u = z
        return found

    def predict(self, sample) -> Response:
        activity = self.layers_of(sample)[-1][1]
        present = sum(not math.isnan(value) for value in sample)
        winner = activity.index(max(activity)) if max(activity) > 0 else -1
        distance = 1 / (1 + max(activity)) if present else math.nan
        return Response(winner, activity, distance, self.score.rank(distance), present)

    def learn(self, sample) -> Response:
        response, layers = self.predict(sample), self.layers_of(sample)
        for layer, (u, z, v) in enumerate(layers):
            self.reinforce(u, z, v, layer)
        self.score.observe(response.distance)
        return response
