"""Regions of units and limits of durations, in float64 and by the definition."""

from __future__ import annotations

import math

import numpy as np


def find(flow: np.ndarray, most: int = 24, lift: float = 0.5, fewest: float = 8.0) -> list[set[int]]:
    """Return the regions for the transitions ``flow`` ``(nodes, nodes)``, ordered by their first node."""
    nodes = np.flatnonzero(flow.sum(axis=0) + flow.sum(axis=1) > 0)
    groups = [{int(node)} for node in nodes]

    def between(a: set[int], b: set[int]) -> float:
        return float(flow[np.ix_(sorted(a), sorted(b))].sum())

    def size(a: set[int]) -> float:
        return float(flow[sorted(a)].sum() + flow[:, sorted(a)].sum()) / 2

    def lift_of(a: set[int], b: set[int]) -> float:
        return float(min(between(a, b), between(b, a)) * flow.sum() / (size(a) * size(b)))

    while len(groups) > 1:
        small = [group for group in groups if size(group) < fewest]
        if small:
            first = small[0]
            others = [group for group in groups if group is not first]
            second = max(others, key=lambda group: between(first, group) + between(group, first))
        else:
            pairs = [(a, b) for n, a in enumerate(groups) for b in groups[n + 1 :]]
            first, second = max(pairs, key=lambda pair: lift_of(*pair))
            if lift_of(first, second) < lift and len(groups) <= most:
                break
        groups = [group for group in groups if group is not first and group is not second]
        groups.append(first | second)
        groups.sort(key=min)
    return groups


def limit(durations: list[float], visits: float, rate: float) -> float:
    """Return the limit of a region's durations, all of them usual. ``visits``: V in 100,000 samples."""
    longest = 0.0
    for duration in durations:
        longest = max(duration, longest * (1 - 1 / 4096))
    last = sorted(durations[-64:])
    tail = len(last) // 5
    u, larger = last[-tail - 1], last[-tail:]
    beta = sum(value - u for value in larger) / tail
    return max(u + 1.25 * (1 + 16 / len(durations)) * beta * math.log(visits / rate / 5), 1.25 * longest)
