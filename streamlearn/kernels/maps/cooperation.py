"""Cooperation of the units of a map: ε·h of the winner's neighbours, by their distance d on the grid.

    gaussian     h = exp(−d²/2σ²)
    mexican hat  h = (1 − d²/σ²)·exp(−d²/2σ²), the negative second derivative of a Gaussian
    triangle     h = 1 − d/σ
    bubble       h = 1

h is 0 beyond 5.25σ, and beyond σ for triangle and bubble. The exponentials take most of the time, so there
are as few as possible:

- Where all distances on the grid are whole numbers, h comes from a table of the distances 0 … 31.
- A Gaussian of the Euclidean distance on squares is a product, h = g(rows)·g(columns) with
  g(k) = exp(−k²/2σ²), and g comes from the same table. On wide grids it has negative k too, so 16 columns of
  a row of the grid are 16 consecutive entries.

The table is computed again only when σ changes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import allocating_device, device
from ..simd.elementary import exp
from ..simd.groups import look_up
from ..simd.lanes import (
    WIDTH,
    absolute,
    anywhere,
    fma,
    iota,
    load,
    load_from,
    select,
    sqrt,
    store,
    store_from,
    zero,
)
from . import lattice

GAUSSIAN, BUBBLE, TRIANGLE, MEXICAN_HAT = 0, 1, 2, 3
NEIGHBOURHOODS = {"gaussian": GAUSSIAN, "bubble": BUBBLE, "triangle": TRIANGLE, "mexican_hat": MEXICAN_HAT}
SMALLEST_SIGMA = np.float32(1e-3)  # only the winner learns; avoids a division by 0 as σ decays to 0
# Part of the rule: units farther than 5.25σ from the winner (h < 1.04e-6) do not learn
REACH = np.float32(5.25)

IN_REACH, OTHERS = 0, 1  # rows of ``order``

_0, _1, _HALF, _INF = np.float32(0), np.float32(1), np.float32(0.5), np.float32(np.inf)
_NO_DISTANCE = 2 * WIDTH  # where the table has h(0)
_WIDE = np.float32(WIDTH)
_FAR, _FARTHEST = np.float32(WIDTH - 1), np.float32(2 * WIDTH - 1)


class Cooperation(NamedTuple):
    """The grid of the units, the schedules of the samples, and what was computed for the last sample."""

    grid: Any  # (2, blocks, 16)
    geometry: Any  # see lattice.geometry
    neighbourhood: Any
    learning_rate: Any  # (n,): ε(t)
    sigma: Any  # (n,): σ(t)
    steps: Any  # (used blocks + 1, 16): ε·h of each unit
    order: Any  # (2, used blocks + 1): numbers of the blocks in reach, and of the others
    table: Any  # (5·16,): h at −32, −31 … 47
    table_for: Any  # (1,): σ of the table


@allocating_device
def new_cooperation(grid, shape, neighbourhood, learning_rate, sigma):
    """The cooperation of one call."""
    number, geometry = lattice.used_blocks(shape), lattice.geometry(shape)
    steps, order = np.empty((number + 1, WIDTH), np.float32), np.empty((2, number + 1), np.int64)
    table, table_for = np.empty(5 * WIDTH, np.float32), np.full(1, np.nan, np.float32)
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
def _update_table(c, sigma, reach, first, end):
    """Compute parts ``first`` … ``end − 1`` of the table. Each has 16 entries; part 2 begins at h(0)."""
    if c.table_for[0] != sigma:
        c.table_for[0] = sigma
        for k in range(first, end):
            d = iota() + np.float32(k * WIDTH - _NO_DISTANCE)
            store_from(c.table, k * WIDTH, _height(d * d, sigma, reach, c.neighbourhood))


@device
def _near(table, d):
    """h at the grid distances 0 … 15."""
    return look_up(load_from(table, _NO_DISTANCE), d)


@device
def _near_or_far(table, d):
    """h at the grid distances 0 … 31."""
    far = look_up(load_from(table, _NO_DISTANCE + WIDTH), d)
    return select(d > _FAR, far, _near(table, d))


@device
def _write_by_distance(c, first, end, row, column, learning_rate, reach, height):
    """Write ε·h of some blocks, with ``height(table, d)`` of the distance."""
    for b in range(first, end):
        d = lattice.distances(c.grid, b, row, column, c.geometry)
        store(c.steps, b, select(d <= reach, learning_rate * height(c.table, d), zero()))


@device
def _write_product(c, first, end, row, column, learning_rate, reach):
    """Write ε·g(rows)·g(columns) of some blocks."""
    for b in range(first, end):
        rows, columns = absolute(load(c.grid, 0, b) - row), absolute(load(c.grid, 1, b) - column)
        h = _near(c.table, rows) * _near(c.table, columns)
        inside = fma(rows, rows, columns * columns) <= reach * reach
        store(c.steps, b, select(inside, learning_rate * h, zero()))


@device
def _write_rows(c, first, end, row, column, learning_rate, reach):
    """`_write_product` of a wide grid: 16 columns at a time, of all rows in reach.

    What is written beyond the end of a row is 0. The columns are written in descending order, so that it is
    never written over the beginning of the next row.
    """
    for b in range(first, end):
        store(c.steps, b, zero())
    height, width, far = np.int64(c.geometry[3]), np.int64(c.geometry[4]), np.int64(reach)
    row, column = np.int64(row), np.int64(column)
    left, right = max(column - far, 0), min(column + far + 1, width)
    for part in range((right - left - 1) // WIDTH, -1, -1):
        k = left + WIDTH * part
        columns, g = iota() + np.float32(k - column), load_from(c.table, _NO_DISTANCE + k - column)
        squares = select(iota() < np.float32(width - k), columns * columns, zero() + _INF)
        for i in range(max(row - far, 0), min(row + far + 1, height)):
            rows = np.float32(i - row)
            inside = squares + rows * rows <= reach * reach
            h = c.table[_NO_DISTANCE + i - row] * g
            store_from(c.steps, i * width + k, select(inside, learning_rate * h, zero()))


@device
def _write_all(c, first, end, row, column, learning_rate, reach, sigma):
    """Write ε·h of some blocks, without the table."""
    for b in range(first, end):
        d2 = lattice.squares(lattice.distances(c.grid, b, row, column, c.geometry), c.geometry)
        store(c.steps, b, learning_rate * _height(d2, sigma, reach, c.neighbourhood))


@device
def _list_blocks(c, first, end):
    """Write the numbers of all blocks to ``c.order``, and return the number of blocks in reach.

    The last one of an odd number is listed twice, so that passes may do two at a time.
    """
    reached, number = 0, c.order.shape[1] - 1
    for b in range(first):
        c.order[OTHERS, b] = b
    for b in range(first, end):
        c.order[IN_REACH, reached] = c.order[OTHERS, b - reached] = b
        reached += anywhere(absolute(load(c.steps, b)) > _0)
    for b in range(end, number):
        c.order[OTHERS, b - reached] = b
    c.order[IN_REACH, reached] = c.order[IN_REACH, max(reached, 1) - 1]
    c.order[OTHERS, number - reached] = c.order[OTHERS, max(number - reached, 1) - 1]
    return reached


@device
def write_steps(c, n, winner):
    """Write ε·h of the units that learn sample ``n`` to ``c.steps``, and list their blocks in ``c.order``.

    Returns the number of blocks in reach.
    """
    geometry, neighbourhood = c.geometry, c.neighbourhood
    learning_rate, sigma = c.learning_rate[n], max(c.sigma[n], SMALLEST_SIGMA)
    reach = sigma * REACH if neighbourhood in (GAUSSIAN, MEXICAN_HAT) else sigma
    row, column = lattice.place(c.grid, winner)
    first, end = lattice.reachable_blocks(row, reach, geometry, c.order.shape[1] - 1)
    product = neighbourhood == GAUSSIAN and lattice.is_product(geometry)
    if product and reach < _FAR and geometry[4] < _WIDE:
        _update_table(c, sigma, reach, 2, 3)
        _write_product(c, first, end, row, column, learning_rate, reach)
    elif product and reach < _FARTHEST:
        _update_table(c, sigma, reach, 0, 5)
        _write_rows(c, first, end, row, column, learning_rate, reach)
    elif reach < _FARTHEST and lattice.has_whole_distances(geometry):
        _update_table(c, sigma, reach, 2, 4)
        if reach < _FAR:
            _write_by_distance(c, first, end, row, column, learning_rate, reach, _near)
        else:
            _write_by_distance(c, first, end, row, column, learning_rate, reach, _near_or_far)
    else:
        _write_all(c, first, end, row, column, learning_rate, reach, sigma)
    return _list_blocks(c, first, end)
