"""Multiply-adds of the most expensive row of each rule, counted from the formulas of the papers.

Only products and sums of vectors and matrices are counted. Scaling, scores and copies are not.
"""

from __future__ import annotations

from collections.abc import Sequence

Shape = tuple[int, ...]


def units(count: int, dim: int, searches: int = 1, updated: int | None = None) -> int:
    """Distances of all units to the sample, once or more often; and the update of some units."""
    return searches * count * dim + (count if updated is None else updated) * dim


def ranks(count: int) -> int:
    """Compare every unit with every other one."""
    return sum(1 for _ in range(count)) * count


def graph(count: int, dim: int) -> int:
    """Distances; the update of all units as neighbours; the removal of all of them, with their edges."""
    return units(count, dim) + count * (dim + count)


def recurrent(shapes: Sequence[Shape], steps: int, updates: int, replays: bool) -> int:
    """Backpropagation through time: ``shapes`` are those of the parameters in PyTorch.

    Each step of an update takes the products of all matrices with the states (if it is replayed), with the
    gradients, and of gradients with states.
    """
    products = sum(shape[0] * shape[1] for shape in shapes if len(shape) == 2)
    return products + updates * steps * products * (3 if replays else 2)


def clusters(layers: Sequence[tuple[int, int]]) -> int:
    """Net input and update of every unit, from each of its lines."""
    return sum(2 * count * lines for count, lines in layers)


def maxnet(count: int, dim: int, iterations: int) -> int:
    """Matches of all patterns, and the sum over all units in every iteration."""
    return count * dim + iterations * count


def sheet(cells: int, dim: int, steps: int, neighbours: int) -> int:
    """Afferent input and its update; in every step the neighbours of every cell."""
    return 2 * cells * dim + steps * cells * neighbours


def layers_of_cells(layers: int, cells: int, area: int, vicinity: int) -> int:
    """Excitation, inhibition, the lateral stage, and the reinforcement of every connection."""
    return layers * cells * (4 * area + 2 * vicinity)
