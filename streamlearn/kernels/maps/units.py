"""The step that all learners with units share: scale the sample, find the winner, score the distance, count.

Layout: 16 units are the lanes of one block. ``weights`` float32 ``(blocks, dim, 16)``: unit 16b + l is lane l
of block b. ``pad`` ``(blocks, 16)`` is 0 for a unit and +inf for an unused lane of the last block, so that an
unused lane never wins.

An entry point takes flat arguments and groups them in the records below. A record costs nothing in a kernel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device, kernel
from ..stream import forgetting, scaling
from ..stream import score as scores
from ..stream.scaling import Scaling
from ..stream.score import Score
from .winner import as_distance, nearest_two, present_channels

# Live quality, float64 (2,) or longer: exponentially weighted count and Σ distance
COUNT, QUANTIZATION = 0, 1


class Units(NamedTuple):
    """The units and their distance measure."""

    weights: Any  # (blocks, dim, 16)
    pad: Any  # (blocks, 16)
    measure: Any


class Progress(NamedTuple):
    """What a learned sample is counted in."""

    samples: Any  # (1,)
    hits: Any  # (units + 1,): wins, as in stream/forgetting.py
    quality: Any  # (2,) or longer
    decay: Any


class Outputs(NamedTuple):
    """The outputs for n samples."""

    winner: Any  # (n,)
    distance: Any  # (n,)
    score: Any  # (n,)
    present: Any  # (n,)


@device
def locate(x, n, units, scale, score, outputs, scaled, channels):
    """Find the winner of sample ``n`` and write the outputs.

    Writes the scaled sample to ``scaled`` ``(dim,)`` and the indices of its present channels to ``channels``
    ``(dim,)``. Returns the winner, its dissimilarity over the present channels, and the second nearest unit.
    The winner is −1 if all channels are missing (distance NaN) or the distance overflows float32 (inf).
    """
    scaling.transform(scale, x, n, scaled)
    count = present_channels(scaled, channels)
    winner, nearest, second = nearest_two(scaled, channels, count, units.weights, units.pad, units.measure)
    if count == 0:
        winner, nearest = -1, np.float32(np.nan)
    outputs.present[n] = count
    outputs.winner[n] = winner
    outputs.distance[n] = as_distance(nearest, units.measure, scaled.size, max(count, 1))
    outputs.score[n] = scores.rank(score, outputs.distance[n])
    return np.int64(winner), nearest, second


@device
def _count_win(hits, quality, decay, winner, distance):
    forgetting.count(hits, winner, decay)
    quality[COUNT] = quality[COUNT] * decay + 1.0
    quality[QUANTIZATION] = quality[QUANTIZATION] * decay + np.float64(distance)


@device
def begin_sample(x, n, units, scale, score, progress, outputs, scaled, channels):
    """``locate``, then count the win and the live quality. The learner adapts its units after this."""
    winner, nearest, second = locate(x, n, units, scale, score, outputs, scaled, channels)
    if winner >= 0:
        _count_win(progress.hits, progress.quality, progress.decay, winner, outputs.distance[n])
    return winner, nearest, second


@device
def finish_sample(x, n, scale, score, progress, outputs):
    """Add sample ``n`` to the score's histogram and to the scaling statistics, and count it."""
    scores.observe(score, outputs.distance[n], progress.decay)
    scaling.update(scale, progress.decay, x, n)
    progress.samples[0] += 1


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], i8, f8[:,::1], f8[::1], f8[::1], i8, f8,"
    " i4[::1], f4[::1], f4[::1], i4[::1])"
)
def predict(
    x,  # (n, dim)
    weights,  # (blocks, dim, 16)
    pad,  # (blocks, 16)
    measure,
    statistics,  # (3, dim)
    tree,  # (3072,)
    head,  # (2,)
    method,
    scale_clip,
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    present,  # (n,)
):
    """Write the outputs for each sample. Changes no state."""
    units, scale = Units(weights, pad, measure), Scaling(method, statistics, scale_clip)
    histogram = Score(tree, head)
    outputs = Outputs(winner, distance, score, present)
    scaled = np.empty(x.shape[1], np.float32)
    channels = np.empty(x.shape[1], np.uint64)
    for n in range(x.shape[0]):
        locate(x, n, units, scale, histogram, outputs, scaled, channels)


@kernel("void(f4[:,::1], f8[:,::1], i8)")
def restore(
    weights,  # (units, dim)
    statistics,  # (3, dim)
    method,
):
    """Convert scaled weights to the stream's own units, in place."""
    scale = Scaling(method, statistics, np.inf)
    for unit in range(weights.shape[0]):
        for c in range(weights.shape[1]):
            weights[unit, c] = scaling.restore(scale, c, weights[unit, c])
