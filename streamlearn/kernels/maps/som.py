"""Self-organizing map (Kohonen 1982): competition, cooperation, adaptation, one sample after another.

    winner       i = argmin_j ‖x − w_j‖, the lowest index among equals
    cooperation  h_ij = neighbourhood(d_ij, σ(t)), d_ij the distance on the grid
    adaptation   w_j += ε(t)·h_ij·(x − w_j)

Units are laid out as in ``units.py``, row-major; ``grid`` and ``shape`` are those of ``lattice.py``.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.elementary import exp
from ..simd.lanes import WIDTH, absolute, anywhere, fma, load, select, sqrt, store, zero
from ..stream import scaling
from ..stream import score as scores
from . import lattice
from .units import count_win, locate
from .winner import squared_distance

GAUSSIAN, BUBBLE, TRIANGLE, MEXICAN_HAT = 0, 1, 2, 3
NEIGHBOURHOODS = {"gaussian": GAUSSIAN, "bubble": BUBBLE, "triangle": TRIANGLE, "mexican_hat": MEXICAN_HAT}
SMALLEST_SIGMA = np.float32(1e-3)  # the winner alone: a σ that fades to 0 stays a number
REACH = np.float32(
    5.25
)  # units farther than 5.25σ from the winner (h < 1.04e-6) do not learn: part of the rule

# Live quality, float64 (3,): exponentially weighted count, Σ distance, Σ [the nearest two are not neighbours]
COUNT, QUANTIZATION, TOPOGRAPHIC = 0, 1, 2

_0, _1, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_OUT_OF_SIGHT = np.float32(1e30)  # squared


@device
def _cooperation(d2, sigma, reach, sharpness, neighbourhood):
    """h at a squared grid distance; 0 out of reach. Mexican hat: a Gaussian's negative second derivative."""
    h = zero() + _1
    if neighbourhood == TRIANGLE:
        h = h - sqrt(d2) / sigma
    elif neighbourhood != BUBBLE:
        share = d2 * sharpness
        h = exp(-share)
        if neighbourhood == MEXICAN_HAT:
            h = h * (_1 - share - share)
    return select(d2 <= reach, h, zero())


@device
def _adapt(x, used, present, weights, grid, geometry, i, rate, sigma, neighbourhood, step):
    """Move the winner ``i`` and its neighbours towards ``x`` ``(dim,)``, in the channels used.

    ``step`` ``(blocks, 16)`` is scratch: how far each unit goes, ε·h.
    """
    sigma = max(sigma, SMALLEST_SIGMA)
    reach = sigma * REACH if neighbourhood in (GAUSSIAN, MEXICAN_HAT) else sigma
    reach, sharpness = reach * reach, _HALF / (sigma * sigma)
    row, column = lattice.place(grid, i)
    for b in range(weights.shape[0]):
        d2 = lattice.squared_distances(grid, b, row, column, geometry)
        store(step, b, rate * _cooperation(d2, sigma, reach, sharpness, neighbourhood))
    for b in range(weights.shape[0]):
        epsilon_h = load(step, b)
        if (
            neighbourhood == MEXICAN_HAT
        ):  # what is out of sight is pushed no farther, or it would go to infinity
            seen = squared_distance(x, used, present, weights, b, zero()) < _OUT_OF_SIGHT
            epsilon_h = select(epsilon_h > _0, epsilon_h, select(seen, epsilon_h, zero()))
        if anywhere(absolute(epsilon_h) > _0):
            for k in range(present):
                d = used[k]
                w = load(weights, b, d)
                store(weights, b, d, fma(epsilon_h, x[d] - w, w))


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], i8, f8[:,::1], f8[::1], f8[::1], i8, f8,"
    " f4[:,:,::1], i8[::1], i8[::1], f8[::1], f8[::1], f8, f4[::1], f4[::1], i8,"
    " i4[::1], f4[::1], f4[::1], i4[::1])"
)
def learn(
    x,  # (n, dim)
    weights,  # (blocks, dim, 16)
    pad,  # (blocks, 16)
    measure,
    statistics,  # (3, dim)
    tree,  # (3072,)
    head,  # (2,)
    method,
    clip,
    grid,  # (2, blocks, 16)
    shape,  # (5,)
    samples,  # (1,)
    hits,  # (units + 1,)
    quality,  # (3,)
    decay,
    rate,  # (n,): ε(t)
    sigma,  # (n,): σ(t)
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
    geometry = lattice.geometry(shape)
    for n in range(x.shape[0]):
        _, second = locate(
            x, n, weights, pad, measure, statistics, tree, head, method, clip, scaled, used,
            winner, distance, score, channels,
        )  # fmt: skip
        i = np.int64(winner[n])
        if i >= 0:
            _adapt(
                scaled, used, channels[n], weights, grid, geometry, i, rate[n], sigma[n], neighbourhood, step,
            )  # fmt: skip
            count_win(hits, i, decay)
            quality[COUNT] = quality[COUNT] * decay + 1.0
            quality[QUANTIZATION] = quality[QUANTIZATION] * decay + np.float64(distance[n])
            torn = second >= 0 and not lattice.touch(grid, i, second, geometry)
            quality[TOPOGRAPHIC] = quality[TOPOGRAPHIC] * decay + (1.0 if torn else 0.0)
        scores.observe(tree, head, distance[n], decay)
        scaling.update(method, statistics, decay, x, n)
        samples[0] += 1
