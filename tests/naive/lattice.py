"""How far apart units are on a grid, by walking: breadth-first search along the edges of its graph.

Euclidean distances are between the units' places in the plane; on a torus to the nearest of nine copies.
Odd rows of a hexagonal grid stand half a step to the right.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import product

EDGES = [(0, 1), (0, -1), (1, 0), (-1, 0)]
CORNERS = [(1, 1), (1, -1), (-1, 1), (-1, -1)]


class Lattice:
    def __init__(self, rows: int, columns: int, topology: str = "rectangular", torus: bool = False) -> None:
        self.rows, self.columns = rows, columns
        self.hexagonal, self.torus = topology == "hexagonal", torus

    def around(self, unit: tuple[int, int], *, corners: bool = False) -> set[tuple[int, int]]:
        """The units that share an edge with ``unit`` (squares: ``corners`` too)."""
        row, column = unit
        if self.hexagonal:
            side = 1 if row % 2 else -1  # where the rows above and below have their second neighbour
            ways = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, side), (-1, side)]
        else:
            ways = EDGES + (CORNERS if corners else [])
        found = set()
        for down, right in ways:
            r, c = row + down, column + right
            if self.torus:
                r, c = r % self.rows, c % self.columns
            if 0 <= r < self.rows and 0 <= c < self.columns:
                found.add((r, c))
        return found - {unit}

    def steps(self, start: tuple[int, int], *, corners: bool = False) -> dict[tuple[int, int], int]:
        """How many steps it is from ``start`` to every unit."""
        walked, waiting = {start: 0}, deque([start])
        while waiting:
            here = waiting.popleft()
            for there in self.around(here, corners=corners):
                if there not in walked:
                    walked[there] = walked[here] + 1
                    waiting.append(there)
        return walked

    def place(self, row: int, column: int) -> tuple[float, float]:
        return (row * math.sqrt(3) / 2, column + row % 2 / 2) if self.hexagonal else (row, column)

    def euclidean(self, a: tuple[int, int], b: tuple[int, int]) -> float:
        y, x = self.place(*a)
        copies = product((-1, 0, 1), repeat=2) if self.torus else [(0, 0)]
        height = self.rows * (math.sqrt(3) / 2 if self.hexagonal else 1)
        return min(
            math.hypot(y - v + down * height, x - u + right * self.columns)
            for down, right in copies
            for v, u in [self.place(*b)]
        )

    def distance(self, a: tuple[int, int], b: tuple[int, int], metric: str) -> float:
        if metric == "euclidean":
            return self.euclidean(a, b)
        return self.steps(a, corners=metric == "chebyshev")[b]
