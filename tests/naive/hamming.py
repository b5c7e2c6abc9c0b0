"""Hamming net and MaxNet (Lippmann 1987) in exact fractions: rounding neither makes nor breaks a tie.

    matching score   y_j = ½·Σ_i w_ij x_i + N/2   over the N present lines
    MaxNet           y_j ← max(0, y_j − ε·Σ_{k≠j} y_k)

The iteration ends when all positive y are equal (often only one is positive), or at the iteration limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass
class Response:
    winner: int
    distance: float
    iterations: int
    tie: bool
    capped: bool


def matching_score(x: list[float], w) -> Fraction:
    """Return ½·Σ w_i x_i + N/2. If all w_i are ±1, this is N minus the Hamming distance."""
    present = [(int(v), Fraction(float(a))) for v, a in zip(x, w, strict=True) if not math.isnan(v)]
    return sum((v * a for v, a in present), Fraction(len(present))) / 2


def maxnet(y: list[Fraction], epsilon: Fraction, max_iterations: int) -> tuple[list[Fraction], int]:
    """Return the final activities and the number of iterations."""
    for iterations in range(max_iterations):
        if len({v for v in y if v > 0}) <= 1:
            return y, iterations
        total = sum(y)
        y = [max(Fraction(0), v - epsilon * (total - v)) for v in y]
    return y, max_iterations


def respond(sample, weights, epsilon: float, max_iterations: int = 10_000) -> Response:
    x = [float(v) for v in sample]
    present = sum(not math.isnan(v) for v in x)
    if present == 0:
        return Response(-1, math.nan, 0, False, False)
    y = [matching_score(x, w) for w in weights]
    final, iterations = maxnet(y, Fraction(epsilon), max_iterations)
    winner = final.index(max(final))
    distance = float(present - y[winner]) * len(x) / present
    positive = {v for v in final if v > 0}
    return Response(winner, distance, iterations, final.count(max(final)) > 1, len(positive) > 1)


def learn(sample, weights: list[list[float]], epsilon: float, rate: float) -> Response:
    """w_i += rate·(x_i − w_i) for the winner, in place. Return the response before the update."""
    response = respond(sample, weights, epsilon)
    if response.winner >= 0:
        w = weights[response.winner]
        for i, v in enumerate(sample):
            if not math.isnan(v):
                w[i] += rate * (float(v) - w[i])
    return response
