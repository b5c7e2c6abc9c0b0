"""Self-organizing map (Kohonen 1982): competition, cooperation, adaptation for each sample in order.

    winner       i = argmin_j ‖x − w_j‖; among equal distances the lowest index
    cooperation  h_ij = neighbourhood(d_ij, σ(t)), d_ij the distance on the grid
    adaptation   w_j += ε(t)·h_ij·(x − w_j)

``units.py`` defines the layout of the units, in row-major order. ``lattice.py`` defines ``grid`` and
``shape``.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.elementary import exp
from ..simd.lanes import WIDTH, absolute, anywhere, fma, load, select, sqrt, store, zero
from ..stream.scaling import Scaling
from ..stream.score import Score
from . import lattice
from .units import Outputs, Progress, Units, begin_sample, finish_sample
from .winner import squared_distance

GAUSSIAN, BUBBLE, TRIANGLE, MEXICAN_HAT = 0, 1, 2, 3
NEIGHBOURHOODS = {"gaussian": GAUSSIAN, "bubble": BUBBLE, "triangle": TRIANGLE, "mexican_hat": MEXICAN_HAT}
SMALLEST_SIGMA = np.float32(1e-3)  # only the winner learns; avoids a division by 0 as σ decays to 0
# Part of the rule: units farther than 5.25σ from the winner (h < 1.04e-6) do not learn
REACH = np.float32(5.25)

# Live quality, float64 (3,): COUNT and QUANTIZATION of units.py, Σ [the nearest two are not neighbours]
TOPOGRAPHIC = 2

_0, _1, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_REPULSION_LIMIT = np.float32(1e30)  # squared distance


@device
def _cooperation(d2, sigma, reach, sharpness, neighbourhood):
    """h at a squared grid distance; 0 beyond ``reach``. Mexican hat: negative second derivative of a
    Gaussian."""
    h = zero() + _1
    if neighbourhood == TRIANGLE:
        h = h - sqrt(d2) / sigma
    elif neighbourhood != BUBBLE:
        exponent = d2 * sharpness
        h = exp(-exponent)
        if neighbourhood == MEXICAN_HAT:
            h = h * (_1 - exponent - exponent)
    return select(d2 <= reach, h, zero())


@device
def _adapt(x, channels, count, weights, grid, geometry, i, learning_rate, sigma, neighbourhood, step):
    """Move the winner ``i`` and its neighbours towards ``x`` ``(dim,)``, in the present channels.

    ``step`` ``(blocks, 16)`` is scratch: ε·h of each unit.
    """
    sigma = max(sigma, SMALLEST_SIGMA)
    reach = sigma * REACH if neighbourhood in (GAUSSIAN, MEXICAN_HAT) else sigma
    reach, sharpness = reach * reach, _HALF / (sigma * sigma)
    row, column = lattice.place(grid, i)
    for b in range(weights.shape[0]):
        d2 = lattice.squared_distances(grid, b, row, column, geometry)
        store(step, b, learning_rate * _cooperation(d2, sigma, reach, sharpness, neighbourhood))
    for b in range(weights.shape[0]):
        epsilon_h = load(step, b)
        if neighbourhood == MEXICAN_HAT:  # h < 0 does not move distant units, or their weights would diverge
            near = squared_distance(x, channels, count, weights, b, zero()) < _REPULSION_LIMIT
            epsilon_h = select(epsilon_h > _0, epsilon_h, select(near, epsilon_h, zero()))
        if anywhere(absolute(epsilon_h) > _0):
            for k in range(count):
                d = channels[k]
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
    scale_clip,
    grid,  # (2, blocks, 16)
    shape,  # (5,)
    samples,  # (1,)
    hits,  # (units + 1,)
    quality,  # (3,)
    decay,
    learning_rate,  # (n,): ε(t)
    sigma,  # (n,): σ(t)
    neighbourhood,
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    present,  # (n,)
):
    """Learn the samples in order. Write the outputs of each sample before it is learned."""
    units, scale = Units(weights, pad, measure), Scaling(method, statistics, scale_clip)
    histogram = Score(tree, head)
    progress = Progress(samples, hits, quality, decay)
    outputs = Outputs(winner, distance, score, present)
    scaled = np.empty(x.shape[1], np.float32)
    channels = np.empty(x.shape[1], np.uint64)
    step = np.empty((weights.shape[0], WIDTH), np.float32)
    geometry = lattice.geometry(shape)
    for n in range(x.shape[0]):
        i, _, second = begin_sample(x, n, units, scale, histogram, progress, outputs, scaled, channels)
        if i >= 0:
            _adapt(
                scaled, channels, present[n], weights, grid, geometry, i, learning_rate[n], sigma[n],
                neighbourhood, step,
            )  # fmt: skip
            torn = second >= 0 and not lattice.touch(grid, i, second, geometry)
            quality[TOPOGRAPHIC] = quality[TOPOGRAPHIC] * decay + (1.0 if torn else 0.0)
        finish_sample(x, n, scale, histogram, progress, outputs)
