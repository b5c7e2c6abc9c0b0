"""Cooperation of the units of a map: ε·h of the winner's neighbours, by their distance d on the grid.

    gaussian     h = exp(−d²/2σ²)
    mexican hat  h = (1 − d²/σ²)·exp(−d²/2σ²), the negative second derivative of a Gaussian
    triangle     h = 1 − d/σ
    bubble       h = 1

h is 0 beyond 5.25σ, and beyond σ for triangle and bubble. The exponentials take most of the time, so there
are as few as possible:

- Where all distances on the grid are whole numbers, h comes from a table of the distances 0 … 31.
- A Gaussian of the Euclidean distance on squares is a product, h = g(rows)·g(columns) with
  g(k) = exp(−k²/2σ²), and g comes from the same table.

The table is computed again only when σ changes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import allocating_device, device
from ..simd.elementary import exp
from ..simd.groups import look_up
from ..simd.lanes import WIDTH, absolute, anywhere, fma, iota, load, select, sqrt, store, zero
from . import lattice

GAUSSIAN, BUBBLE, TRIANGLE, MEXICAN_HAT = 0, 1, 2, 3
NEIGHBOURHOODS = {"gaussian": GAUSSIAN, "bubble": BUBBLE, "triangle": TRIANGLE, "mexican_hat": MEXICAN_HAT}
SMALLEST_SIGMA = np.float32(1e-3)  # only the winner learns; avoids a division by 0 as σ decays to 0
# Part of the rule: units farther than 5.25σ from the winner (h < 1.04e-6) do not learn
REACH = np.float32(5.25)

IN_REACH, OTHERS = 0, 1  # rows of ``order``

_0, _1, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_FAR = np.float32(WIDTH - 1)  # last entry of the first half of the table
_FARTHEST = np.float32(2 * WIDTH - 1)  # last entry of the table


class Cooperation(NamedTuple):
    """The grid of the units, the schedules of the samples, and what was computed for the last sample."""

    grid: Any  # (2, blocks, 16)
    geometry: Any  # see lattice.geometry
    neighbourhood: Any
    learning_rate: Any  # (n,): ε(t)
    sigma: Any  # (n,): σ(t)
    steps: Any  # (blocks, 16): ε·h of each unit
    order: Any  # (2, blocks + 1): numbers of the blocks in reach, and of the others
    table: Any  # (2, 16): h at the grid distances 0 … 31
    table_for: Any  # (1,): σ of the table


@allocating_device
def new_cooperation(grid, shape, neighbourhood, learning_rate, sigma):
    """The cooperation of one call."""
    number, geometry = grid.shape[1], lattice.geometry(shape)
    steps, order = np.empty((number, WIDTH), np.float32), np.empty((2, number + 1), np.int64)
    table, table_for = np.empty((2, WIDTH), np.float32), np.full(1, np.nan, np.float32)
    return Cooperation(grid, geometry, neighbourhood, learning_rate, sigma, steps, order, table, table_for)


@device
def _height(d2, sigma, reach, neighbourhood):
    """h at a squared grid distance; 0 beyond ``reach``."""
    h = zero() + _1
    if neighbourhood == TRIANGLE:
        h = h - sqrt(d2) / sigma
    elif neighbourhood != BUBBLE:
        exponent = d2 * (_HALF / (sigma * sigma))
        h = exp(-exponent)
        if neighbourhood == MEXICAN_HAT:
            h = h * (_1 - exponent - exponent)
    return select(d2 <= reach * reach, h, zero())


@device
def _update_table(c, sigma, reach):
    """Compute h at the grid distances 0 … 15 and 16 … 31."""
    if c.table_for[0] != sigma:
        c.table_for[0] = sigma
        for k in range(2):
            d = iota() + np.float32(k * WIDTH)
            store(c.table, k, _height(d * d, sigma, reach, c.neighbourhood))


@device
def _near(table, d):
    """h at the grid distances 0 … 15."""
    return look_up(load(table, 0), d)


@device
def _near_or_far(table, d):
    """h at the grid distances 0 … 31."""
    return select(d > _FAR, look_up(load(table, 1), d), look_up(load(table, 0), d))


@device
def _write(c, b, steps, reached):
    """Write ε·h of block ``b``, and its number. Returns ``reached``, the number of blocks in reach."""
    store(c.steps, b, steps)
    c.order[IN_REACH, reached] = c.order[OTHERS, b - reached] = b
    return reached + anywhere(absolute(steps) > _0)


@device
def _write_from_table(c, first, end, row, column, learning_rate, reach, height):
    """Write some blocks, with ``height(table, d)`` of the distance, or of rows and columns."""
    reached = 0
    for b in range(first, end):
        if lattice.has_whole_distances(c.geometry):
            d = lattice.distances(c.grid, b, row, column, c.geometry)
            inside, h = d <= reach, height(c.table, d)
        else:
            rows, columns = absolute(load(c.grid, 0, b) - row), absolute(load(c.grid, 1, b) - column)
            inside = fma(rows, rows, columns * columns) <= reach * reach
            h = height(c.table, rows) * height(c.table, columns)
        reached = _write(c, b, select(inside, learning_rate * h, zero()), reached)
    return reached


@device
def _write_all(c, first, end, row, column, learning_rate, reach, sigma):
    """`_write_from_table` without a table."""
    reached = 0
    for b in range(first, end):
        d2 = lattice.squares(lattice.distances(c.grid, b, row, column, c.geometry), c.geometry)
        reached = _write(c, b, learning_rate * _height(d2, sigma, reach, c.neighbourhood), reached)
    return reached


@device
def _complete_order(order, first, end, reached):
    """Add the blocks before ``first`` and from ``end`` on, which are not in reach. Returns ``reached``."""
    number = order.shape[1] - 1
    for b in range(first):
        order[OTHERS, b] = b
    for b in range(end, number):
        order[OTHERS, b - reached] = b
    order[IN_REACH, reached] = order[IN_REACH, max(reached, 1) - 1]
    order[OTHERS, number - reached] = order[OTHERS, max(number - reached, 1) - 1]
    return reached


@device
def write_steps(c, n, winner):
    """Write ε·h of the units that learn sample ``n`` to ``c.steps``, and the numbers of their blocks to
    ``c.order``.

    Returns the number of blocks in reach. An odd block is listed twice, so that two are done at a time.
    """
    grid, geometry, neighbourhood = c.grid, c.geometry, c.neighbourhood
    learning_rate, sigma = c.learning_rate[n], max(c.sigma[n], SMALLEST_SIGMA)
    reach = sigma * REACH if neighbourhood in (GAUSSIAN, MEXICAN_HAT) else sigma
    row, column = lattice.place(grid, winner)
    first, end = lattice.reachable_blocks(grid, row, reach, geometry)
    product = neighbourhood == GAUSSIAN and lattice.is_product(geometry)
    if reach < _FARTHEST and (product or lattice.has_whole_distances(geometry)):
        _update_table(c, sigma, reach)
        if reach < _FAR:
            reached = _write_from_table(c, first, end, row, column, learning_rate, reach, _near)
        else:
            reached = _write_from_table(c, first, end, row, column, learning_rate, reach, _near_or_far)
    else:
        reached = _write_all(c, first, end, row, column, learning_rate, reach, sigma)
    return _complete_order(c.order, first, end, reached)
