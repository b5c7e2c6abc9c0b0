"""What every learner with units says of a sample: its winner, the distance to it, and how unusual that is.

Units are lanes: ``weights`` float32 ``(blocks, dim, 16)``, unit 16b + l being lane l of block b. ``pad``
``(blocks, 16)`` is 0 for a unit and +inf where the last block has none, so that those never win.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..stream import scaling
from ..stream import score as scores
from .winner import as_distance, nearest_two, present_channels

_LARGE = 2.0**64


@device
def locate(
    x, n, weights, pad, measure, statistics, tree, head, method, clip, scaled, used,
    winner, distance, score, channels,
):  # fmt: skip
    """Scale sample ``n`` into ``scaled``, list its present channels in ``used``, write what is said of it.

    Returns the winner's dissimilarity over the channels present, and the second nearest unit. There is no
    winner (−1) where every channel is missing (distance NaN) or the distance is too large for float32 (inf).
    """
    scaling.transform(method, statistics, clip, x, n, scaled)
    present = present_channels(scaled, used)
    i, apart, second = nearest_two(scaled, used, present, weights, pad, measure)
    if present == 0:
        i, apart = -1, np.float32(np.nan)
    channels[n] = present
    winner[n] = i
    distance[n] = as_distance(apart, measure, scaled.size, max(present, 1))
    score[n] = scores.rank(tree, head, distance[n])
    return apart, second


@device
def count_win(hits, i, decay):
    """Count a win of unit ``i`` in ``hits`` float64 ``(units + 1,)``, where every win weighs more than the
    one before.

    The last entry is the next win's weight: ``hits[:units] / hits[units]`` are wins, exponentially forgotten.
    """
    following = hits.size - 1
    hits[i] += hits[following]
    hits[following] /= decay
    if hits[following] > _LARGE:
        for j in range(following):
            hits[j] /= hits[following]
        hits[following] = 1.0


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
    clip,
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    channels,  # (n,)
):
    """What the model, as it stands, says of each sample."""
    scaled = np.empty(x.shape[1], np.float32)
    used = np.empty(x.shape[1], np.uint64)
    for n in range(x.shape[0]):
        locate(
            x, n, weights, pad, measure, statistics, tree, head, method, clip, scaled, used,
            winner, distance, score, channels,
        )  # fmt: skip


@kernel("void(f4[:,::1], f8[:,::1], i8)")
def restore(
    weights,  # (units, dim)
    statistics,  # (3, dim)
    method,
):
    """Bring scaled weights back to the stream's own units."""
    for unit in range(weights.shape[0]):
        for c in range(weights.shape[1]):
            weights[unit, c] = scaling.restore(method, statistics, c, weights[unit, c])
