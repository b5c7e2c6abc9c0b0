"""Hamming net and MaxNet (Lippmann 1987), a reference in exact fractions, so that a tie is a tie.

y_j = ½·Σ_i w_ij x_i + N/2 over the lines present, then y_j ← max(0, y_j − ε·Σ_{k≠j} y_k) until one is
positive, or those that are stay equal for ever, or the iterations run out.
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


def matching(x: list[float], w) -> Fraction:
    """N less the Hamming distance, if w is a pattern of ±1."""
    here = [(int(v), Fraction(float(a))) for v, a in zip(x, w, strict=True) if not math.isnan(v)]
    return sum((v * a for v, a in here), Fraction(len(here))) / 2


def maxnet(y: list[Fraction], epsilon: Fraction, most: int) -> tuple[list[Fraction], int]:
    """The activities at the end, and after how many iterations."""
    for iterations in range(most):
        if len({v for v in y if v > 0}) <= 1:
            return y, iterations
        total = sum(y)
        y = [max(Fraction(0), v - epsilon * (total - v)) for v in y]
    return y, most


def respond(sample, weights, epsilon: float, most: int = 10_000) -> Response:
    x = [float(v) for v in sample]
    present = sum(not math.isnan(v) for v in x)
    if present == 0:
        return Response(-1, math.nan, 0, False, False)
    y = [matching(x, w) for w in weights]
    end, iterations = maxnet(y, Fraction(epsilon), most)
    winner = end.index(max(end))
    distance = float(present - y[winner]) * len(x) / present
    positive = {v for v in end if v > 0}
    return Response(winner, distance, iterations, end.count(max(end)) > 1, len(positive) > 1)


def learn(sample, weights: list[list[float]], epsilon: float, rate: float) -> Response:
    """w_i += rate·(x − w_i) for the winner, in place; returns the response before the update."""
    response = respond(sample, weights, epsilon)
    if response.winner >= 0:
        w = weights[response.winner]
        for i, v in enumerate(sample):
            if not math.isnan(v):
                w[i] += rate * (float(v) - w[i])
    return response
