"""Cooperation of the units of a map: ε·h of the winner's neighbours, by their distance d on the grid.

    gaussian     h = exp(−d²/2σ²)
    mexican hat  h = (1 − d²/σ²)·exp(−d²/2σ²), the negative second derivative of a Gaussian
    triangle     h = 1 − d/σ
    bubble       h = 1

h is 0 beyond 5.25σ, and beyond σ for triangle and bubble. The exponentials take most of the time, so there
are as few as possible:

- Where all distances on the grid are whole numbers, h comes from a table of the distances 0 … 31.
- A Gaussian of the Euclidean distance on squares is a product, h = g(rows)·g(columns) with
  g(k) = exp(−k²/2σ²), and g comes from the same table. It has negative k too, so 16 columns of a row of the
  grid are 16 consecutive entries.

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

_0, _1, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_NO_DISTANCE = 2 * WIDTH  # where the table has h(0)
_FAR, _FARTHEST = np.float32(WIDTH - 1), np.float32(2 * WIDTH - 1)


class Cooperation(NamedTuple):
    """The grid of the units, the schedules of the samples, and what was computed for the last sample."""

    grid: Any  # (2, blocks, 16)
    geometry: Any  # see lattice.geometry
    neighbourhood: Any
    learning_rate: Any  # (n,): ε(t)
    sigma: Any  # (n,): σ(t)
    steps: Any  # (blocks + 1, 16): ε·h of each unit
    order: Any  # (2, blocks + 1): numbers of the blocks in reach, and of the others
    table: Any  # (5, 16): h at −32, −31 … 47
    table_for: Any  # (1,): σ of the table


@allocating_device
def new_cooperation(grid, shape, neighbourhood, learning_rate, sigma):
    """The cooperation of one call."""
    number, geometry = grid.shape[1], lattice.geometry(shape)
    steps, order = np.empty((number + 1, WIDTH), np.float32), np.empty((2, number + 1), np.int64)
    table, table_for = np.empty((5, WIDTH), np.float32), np.full(1, np.nan, np.float32)
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
    """Compute some rows of the table."""
    if c.table_for[0] != sigma:
        c.table_for[0] = sigma
        for k in range(first, end):
            d = iota() + np.float32(k * WIDTH - _NO_DISTANCE)
            store(c.table, k, _height(d * d, sigma, reach, c.neighbourhood))


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
    """Write ε·g(rows)·g(columns) of some blocks: of 16 columns of a row of the grid at a time.

    What is written beyond the end of a row is 0, and the next rows are written over it.
    """
    for b in range(first, end):
        store(c.steps, b, zero())
    height, width, far = np.int64(c.geometry[3]), np.int64(c.geometry[4]), np.int64(reach)
    row, column = np.int64(row), np.int64(column)
    for i in range(max(row - far, 0), min(row + far + 1, height)):
        rows, at = np.float32(i - row), _NO_DISTANCE + i - row
        factor = c.table[at // WIDTH, at % WIDTH]
        for k in range(max(column - far, 0), min(column + far + 1, width), WIDTH):
            columns = iota() + np.float32(k - column)
            h = factor * load_from(c.table, _NO_DISTANCE + k - column)
            inside = (fma(columns, columns, rows * rows) <= reach * reach) & (iota() < np.float32(width - k))
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
    reached, number = 0, c.grid.shape[1]
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
    first, end = lattice.reachable_blocks(c.grid, row, reach, geometry)
    if reach < _FARTHEST and neighbourhood == GAUSSIAN and lattice.is_product(geometry):
        _update_table(c, sigma, reach, 0, c.table.shape[0])
        _write_product(c, first, end, row, column, learning_rate, reach)
    elif reach < _FARTHEST and lattice.has_whole_distances(geometry):
        _update_table(c, sigma, reach, _NO_DISTANCE // WIDTH, c.table.shape[0] - 1)
        if reach < _FAR:
            _write_by_distance(c, first, end, row, column, learning_rate, reach, _near)
        else:
            _write_by_distance(c, first, end, row, column, learning_rate, reach, _near_or_far)
    else:
        _write_all(c, first, end, row, column, learning_rate, reach, sigma)
    return _list_blocks(c, first, end)
