"""The rule of the template: author, title, year, equation.

    w_i += ε(t)·(x − w_i) for the winner i

``units.py`` defines the layout of the units.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.lanes import WIDTH, fma
from ..stream.scaling import Scaling
from ..stream.score import Score
from .units import Outputs, Progress, Units, begin_sample, finish_sample


@device
def _move(x, channels, count, weights, i, learning_rate):
    """w_i += ε·(x − w_i) in the present channels."""
    b, l = i // WIDTH, i % WIDTH
    for c in range(count):
        d = channels[c]
        w = weights[b, d, l]
        weights[b, d, l] = fma(learning_rate, x[d] - w, w)


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], i8, f8[:,::1], f8[::1], f8[::1], i8, f8,"
    " i8[::1], f8[::1], f8[::1], f8, f4[::1],"
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
    samples,  # (1,)
    hits,  # (units + 1,)
    quality,  # (2,)
    decay,
    learning_rate,  # (n,): ε(t)
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    present,  # (n,)
):
    """Learn the samples in order. Write the outputs of each sample before it is learned."""
    units, scale = Units(weights, pad, measure), Scaling(method, statistics, scale_clip)
    ranking, progress = Score(tree, head), Progress(samples, hits, quality, decay)
    outputs = Outputs(winner, distance, score, present)
    scaled = np.empty(x.shape[1], np.float32)
    channels = np.empty(x.shape[1], np.uint64)
    for n in range(x.shape[0]):
        i, _, _ = begin_sample(x, n, units, scale, ranking, progress, outputs, scaled, channels)
        if i >= 0:
            _move(scaled, channels, present[n], weights, i, learning_rate[n])
        finish_sample(x, n, scale, ranking, progress, outputs)
