"""A plain SOM in two passes over blocks of 16 units: the reference for the map's kernel.

The first pass measures every unit and keeps the nearest. The second computes h of every unit and moves those
in reach. It has no scaling, no score, no missing values and no live quality: it does less than ``sl.SOM``.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from streamlearn.kernels.simd.elementary import exp
from streamlearn.kernels.simd.lanes import anywhere, fma, iota, load, lowest, select, splat, store, zero

REACH = np.float32(5.25)  # in σ: units farther from the winner do not learn, as in sl.SOM
_0, _HALF, _INF, _16 = np.float32(0), np.float32(0.5), np.float32(np.inf), np.float32(16)
_OPTIONS = {"nogil": True, "error_model": "numpy"}


@nb.njit(_nrt=False, **_OPTIONS)
def nearest(x, n, weights):
    """argmin_j ‖x_n − w_j‖²; among equal distances the lowest index."""
    least, least_index, index = splat(_INF), zero(), iota()
    for b in range(weights.shape[0]):
        total = zero()
        for d in range(x.shape[1]):
            difference = x[n, d] - load(weights, b, d)
            total = fma(difference, difference, total)
        best = total < least
        least, least_index = select(best, total, least), select(best, index, least_index)
        index = index + _16
    return np.int64(lowest(select(least == lowest(least), least_index, _INF)))


@nb.njit("void(f4[:,::1], f4[:,:,::1], i4[::1])", **_OPTIONS)
def winners(
    x,  # (n, dim)
    weights,  # (blocks, dim, 16)
    winner,  # (n,)
):
    """Write the winner of each sample."""
    for n in range(x.shape[0]):
        winner[n] = nearest(x, n, weights)


@nb.njit("void(f4[:,::1], f4[:,:,::1], f4[:,:,::1], f4, f4)", **_OPTIONS)
def learn(
    x,  # (n, dim)
    weights,  # (blocks, dim, 16)
    grid,  # (2, blocks, 16): row and column of each unit
    learning_rate,
    sigma,
):
    """w_j += ε·exp(−d²/2σ²)·(x − w_j) for each sample in order, d the distance to the winner on the grid."""
    sharpness, reach = _HALF / (sigma * sigma), sigma * REACH * sigma * REACH
    for n in range(x.shape[0]):
        i = nearest(x, n, weights)
        row, column = grid[0, i // 16, i % 16], grid[1, i // 16, i % 16]
        for b in range(weights.shape[0]):
            rows, columns = load(grid, 0, b) - row, load(grid, 1, b) - column
            d2 = rows * rows + columns * columns
            step = select(d2 <= reach, learning_rate * exp(-(d2 * sharpness)), zero())
            if anywhere(step > _0):
                for d in range(x.shape[1]):
                    w = load(weights, b, d)
                    store(weights, b, d, fma(step, x[n, d] - w, w))
