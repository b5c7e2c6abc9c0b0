"""Self-organizing map (Kohonen 1982): competition, cooperation, adaptation, one sample after another.

    winner       i = argmin_j ‖x − w_j‖, the lowest index among equals
    cooperation  h_ij = neighbourhood(d_ij, σ(t)), d_ij the distance on the grid
    adaptation   w_j += ε(t)·h_ij·(x − w_j)

Units are laid out as in ``units.py``, row-major on the grid. ``grid`` ``(2, blocks, 16)`` holds every
unit's row and column, +inf where there is none.
"""

from __future__ import annotations

import numpy as np

from . import scale, schedule
from . import score as scores
from .compiler import device, kernel
from .lanes import WIDTH, absolute, anywhere, fma, load, select, store, zero
from .mathf import exp
from .units import locate

MANHATTAN, EUCLIDEAN, CHEBYSHEV = 0, 1, 2
GRID_DISTANCES = {"manhattan": MANHATTAN, "euclidean": EUCLIDEAN, "chebyshev": CHEBYSHEV}
GAUSSIAN, BUBBLE = 0, 1
NEIGHBOURHOODS = {"gaussian": GAUSSIAN, "bubble": BUBBLE}
SMALLEST_SIGMA = np.float32(1e-3)  # the winner alone: a σ that fades to 0 stays a number
REACH = np.float32(
    5.25
)  # units farther than 5.25σ from the winner (h < 1.04e-6) do not learn: part of the rule

# Live quality, float64 (3,): exponentially weighted count, Σ distance, Σ [the nearest two are not neighbours]
COUNT, QUANTIZATION, TOPOGRAPHIC = 0, 1, 2

_0, _1, _HALF = np.float32(0), np.float32(1), np.float32(0.5)


@device
def _squared_grid_distance(grid, b, row, column, metric):
    """d² on the grid from (row, column) to the 16 units of block ``b``."""
    rows = absolute(load(grid, 0, b) - row)
    columns = absolute(load(grid, 1, b) - column)
    if metric == EUCLIDEAN:
        return fma(rows, rows, columns * columns)
    if metric == MANHATTAN:
        d = rows + columns
    else:
        d = select(rows > columns, rows, columns)
    return d * d


@device
def _place(grid, i):
    """Row and column of unit ``i``."""
    return grid[0, i // WIDTH, i % WIDTH], grid[1, i // WIDTH, i % WIDTH]


@device
def _adapt(x, used, present, weights, grid, i, rate, sigma, metric, neighbourhood, step):
    """Move the winner ``i`` and its neighbours towards ``x`` ``(dim,)``, in the channels used.

    ``step`` ``(blocks, 16)`` is scratch: how far each unit goes, ε·h.
    """
    sigma = max(sigma, SMALLEST_SIGMA)
    row, column = _place(grid, i)
    reach = sigma * REACH if neighbourhood == GAUSSIAN else sigma
    reach *= reach
    sharpness = -_HALF / (sigma * sigma)
    blocks = weights.shape[0]
    for b in range(blocks):
        d2 = _squared_grid_distance(grid, b, row, column, metric)
        h = exp(d2 * sharpness) if neighbourhood == GAUSSIAN else zero() + _1
        store(step, b, rate * select(d2 <= reach, h, zero()))
    for b in range(blocks):
        epsilon_h = load(step, b)
        if anywhere(epsilon_h > _0):
            for k in range(present):
                d = used[k]
                w = load(weights, b, d)
                store(weights, b, d, fma(epsilon_h, x[d] - w, w))


@device
def _neighbours(grid, i, j):
    """Whether units i and j touch on the grid, diagonals included."""
    row, column = _place(grid, i)
    other_row, other_column = _place(grid, j)
    return abs(row - other_row) <= _1 and abs(column - other_column) <= _1


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], f8[:,::1], f8[::1], f8[::1], i8, f8,"
    " f4[:,:,::1], i8[::1], f8[::1], f8, f8[::1], f8[::1], i8, i8, i4[::1], f4[::1], f4[::1], i4[::1])"
)
def learn(
    x,  # (n, dim)
    weights,  # (blocks, dim, 16)
    pad,  # (blocks, 16)
    statistics,  # (3, dim)
    tree,  # (2048,)
    head,  # (2,)
    method,
    clip,
    grid,  # (2, blocks, 16)
    samples,  # (1,)
    quality,  # (3,)
    decay,
    learning_rate,  # schedule (3,)
    sigma,  # schedule (3,)
    metric,
    neighbourhood,
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    channels,  # (n,)
):
    """Learn ``x`` in order; report of each sample what ``predict`` would have said just before."""
    scaled = np.empty(x.shape[1], np.float32)
    used = np.empty(x.shape[1], np.uint64)
    step = np.empty((weights.shape[0], WIDTH), np.float32)
    for n in range(x.shape[0]):
        _, second = locate(
            x,
            n,
            weights,
            pad,
            statistics,
            tree,
            head,
            method,
            clip,
            scaled,
            used,
            winner,
            distance,
            score,
            channels,
        )
        t = np.float64(samples[0])
        i = np.int64(winner[n])
        if i >= 0:
            rate = schedule.at(learning_rate, t)
            radius = schedule.at(sigma, t)
            _adapt(scaled, used, channels[n], weights, grid, i, rate, radius, metric, neighbourhood, step)
            quality[COUNT] = quality[COUNT] * decay + 1.0
            quality[QUANTIZATION] = quality[QUANTIZATION] * decay + np.float64(distance[n])
            torn = second >= 0 and not _neighbours(grid, i, second)
            quality[TOPOGRAPHIC] = quality[TOPOGRAPHIC] * decay + (1.0 if torn else 0.0)
        scores.observe(tree, head, distance[n], decay)
        scale.update(method, statistics, decay, x, n)
        samples[0] += 1
